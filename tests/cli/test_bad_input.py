# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong with what one is given: a typed error in one line, and the batch goes on without it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecglens.cli.app import run
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb

Answer = tuple[int, dict[str, Any], str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command with --json; return its exit code, its object and stderr. It must not take long."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        begin = time.perf_counter()
        code = run([*map(str, arguments), "--json"])
        assert time.perf_counter() - begin < 30
        out, err = capsys.readouterr()
        assert out.count("\n") == 1, out
        assert "Traceback" not in err
        return code, json.loads(out), err

    return call


# --- one bad file --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """How a good record is spoilt, the kind of the finding, and the exit code where there is nothing else."""

    spoil: Callable[[Path, ECG], object]
    kind: str
    code: int = 3
    ok: bool = False


def edit(old: str, new: str, count: int = -1) -> Callable[[Path, ECG], object]:
    def apply(header: Path, _: ECG) -> None:
        text = header.read_text()
        assert old in text, f"{old!r} is not in the header: the test would test nothing"
        header.write_text(text.replace(old, new, count))

    return apply


def rewrite(change: Callable[[ECG], ECG]) -> Callable[[Path, ECG], object]:
    return lambda header, ecg: write_wfdb(change(ecg), header.parent)


def with_signal(change: Callable[[np.ndarray], object]) -> Callable[[Path, ECG], object]:
    def changed(ecg: ECG) -> ECG:
        signal = ecg.signal.copy()
        change(signal)
        return ECG(signal, ecg.fs, ecg.leads, ecg.record_id)

    return rewrite(changed)


def leads(*names: str) -> Callable[[Path, ECG], object]:
    return rewrite(lambda ecg: ecg.select(names))


def renamed_signal(name: str) -> Callable[[Path, ECG], object]:
    return edit("bad.dat", name)


def linked(header: Path, _: ECG) -> None:
    header.with_suffix(".dat").rename(header.parent / "bad.real")
    header.with_suffix(".dat").symlink_to(header.parent / "bad.real")


def piped(header: Path, _: ECG) -> None:
    header.with_suffix(".dat").unlink()
    os.mkfifo(header.with_suffix(".dat"))


def flipped(header: Path, _: ECG) -> None:
    raw = bytearray(header.with_suffix(".dat").read_bytes())
    raw[len(raw) // 2] ^= 4
    header.with_suffix(".dat").write_bytes(bytes(raw))


def cut(header: Path, _: ECG) -> None:
    raw = header.with_suffix(".dat").read_bytes()
    header.with_suffix(".dat").write_bytes(raw[: len(raw) // 3])


def gap(signal: np.ndarray) -> None:
    signal[3, 1000:2000] = np.nan


def short_gap(signal: np.ndarray) -> None:
    signal[3, 1000:1020] = np.nan


def flat(signal: np.ndarray) -> None:
    signal[8] = 0.1


BAD = {
    "a lead missing": Bad(leads("I", "II", "V1", "V2", "V3", "V4", "V5"), "missing_lead"),
    "a lead twice": Bad(edit(" V2\n", " V1\n"), "duplicate_lead"),
    "NaN for 2 s": Bad(with_signal(gap), "gap"),
    "a flat lead": Bad(with_signal(flat), "flat_lead"),
    "uV called mV": Bad(edit("1000(0)/mV", "1(0)/mV"), "amplitude"),
    "3 s": Bad(rewrite(lambda ecg: ecg.crop(0, 3)), "too_short", 6),
    "truncated": Bad(cut, "truncated"),
    "one flipped byte": Bad(flipped, "checksum"),
    "no signal file": Bad(lambda header, _: header.with_suffix(".dat").unlink(), "missing_file"),
    "an empty header": Bad(lambda header, _: header.write_bytes(b""), "content"),
    "a page of HTML": Bad(lambda header, _: header.write_text("<!DOCTYPE html><html>404"), "content"),
    "10^12 samples": Bad(edit(" 5000\n", " 1000000000000\n"), "declared_size", 4),
    "..": Bad(renamed_signal("../other/bad.dat"), "path", 4),
    "an absolute path": Bad(renamed_signal("/etc/passwd"), "path", 4),
    "a symbolic link": Bad(linked, "link", 4),
    "a pipe": Bad(piped, "not_regular", 4),
    "fs 0": Bad(edit(" 500 ", " 0 "), ""),
    "fs negative": Bad(edit(" 500 ", " -500 "), ""),
    "fs nan": Bad(edit(" 500 ", " nan "), ""),
    "fs 1e30": Bad(edit(" 500 ", " 1e30 "), ""),
    "a rate nobody can resample": Bad(edit(" 500 ", " 487.1234567 "), "signal"),
    "gain 0 in all leads": Bad(edit("1000(0)/mV", "0(0)/mV"), "gain"),
    "gain nan": Bad(edit("1000(0)/mV", "nan(0)/mV"), ""),
    "unknown unit": Bad(edit("(0)/mV", "(0)/furlong"), ""),
    "other order of leads": Bad(
        rewrite(lambda ecg: ecg.select(ecg.leads[::-1])), "", ok=True
    ),
    "an extra lead": Bad(
        rewrite(lambda ecg: ECG(np.vstack([ecg.signal, ecg.signal[:1]]), ecg.fs, (*ecg.leads, "V7"), ecg.record_id)),
        "extra_leads", ok=True,
    ),
    "NaN for 40 ms": Bad(with_signal(short_gap), "bridged_gaps", ok=True),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, small_cohort: Cohort) -> Path:
    """Two good records, `good` and `fine`, and one, `bad`, that is still good."""
    picked = small_cohort.where(fold=10)
    for name, ecg in zip(("good", "fine", "bad"), (picked[0], picked[1], picked[2]), strict=True):
        write_wfdb(ECG(ecg.signal, ecg.fs, ecg.leads, name), tmp_path / "ecgs")
    return tmp_path / "ecgs"


@pytest.fixture
def spoilt(folder: Path) -> Callable[[str], Path]:
    def spoil(case: str) -> Path:
        header = folder / "bad.hea"
        BAD[case].spoil(header, read(header))
        return header

    return spoil


@pytest.mark.parametrize("case", BAD)
def test_check_and_predict_one_bad_file(
    case: str, spoilt: Callable[[str], Path], folder: Path, cli: Callable[..., Answer], tiny_folder: Path
) -> None:
    bad, path = BAD[case], spoilt(case)
    code, told, _ = cli("check", path, "--bundle", tiny_folder)
    (record,) = told["records"]
    assert record["ok"] == bad.ok
    assert code == (0 if bad.ok else bad.code)
    for finding in record["findings"]:
        assert set(finding) == {"kind", "lead", "severity", "reason"}
        assert "\n" not in finding["reason"]
    assert [f for f in record["findings"] if f["severity"] == "error"] or bad.ok
    assert not bad.kind or bad.kind in [f["kind"] for f in record["findings"]]

    code, told, err = cli("predict", path, "--bundle", tiny_folder)
    (record,) = told["records"]
    assert code == (0 if bad.ok else bad.code)  # what check says is what predict does
    left_out = [line for line in err.splitlines() if line.startswith("left out: ")]
    if bad.ok:
        assert record["rejected"] is None
        assert [f["kind"] for f in record["flags"]] == ([bad.kind] if bad.kind else [])
        assert left_out == []
    else:
        assert record["probabilities"] == record["decisions"] == {}
        assert left_out == [f"left out: {record['rejected']}"]  # one line

    # Among others: they are used as if it were not there.
    alone = {
        name: cli("predict", folder / f"{name}.hea", "--bundle", tiny_folder)[1]["records"][0]["probabilities"]
        for name in ("good", "fine")
    }
    for verb in ("check", "predict"):
        code, told, _ = cli(verb, folder, "--bundle", tiny_folder)
        assert code == (0 if bad.ok else 7), verb
        assert len(told["records"]) == 3
    found = {record["record_id"]: record["probabilities"] for record in told["records"]}
    assert found["good"] == alone["good"]
    assert found["fine"] == alone["fine"]


@pytest.mark.parametrize("case", ["one flipped byte", "3 s", "a pipe", "..", "a lead missing"])
def test_explain_goes_on_without_it(
    case: str,
    spoilt: Callable[[str], Path],
    folder: Path,
    cli: Callable[..., Answer],
    tiny_folder: Path,
    tmp_path: Path,
) -> None:
    path, bad = spoilt(case), BAD[case]
    given = ["--target", "MI", "--bundle", tiny_folder, "--out", tmp_path / "out"]
    code, told, err = cli("explain", folder / "good.hea", path, *given)
    assert code == 7
    assert [Path(e["file"]).stem for e in told["explanations"]] == ["good"]
    (rejected,) = told["rejected"]
    assert rejected["kind"] == bad.kind
    assert f"left out: {rejected['message']}" in err.splitlines()
    code, told, _ = cli("explain", path, *given)
    assert (code, told["explanations"]) == (bad.code, [])


def test_things_that_are_no_ecg(cli: Callable[..., Answer], folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    os.mkfifo(tmp_path / "pipe.hea")
    (tmp_path / "link.hea").symlink_to(folder / "good.hea")
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "evil\n\x1b[31m.hea").write_text("x")
    things = {
        "empty": ("empty_folder", 3), "nothing.hea": ("missing_file", 3), "nothing": ("missing_file", 3),
        "pipe.hea": ("not_regular", 4), "link.hea": ("link", 4), "table.csv": ("no_lead_name", 3),
        "evil\n\x1b[31m.hea": (None, 3), "x" * 300: ("unreadable", 3),
    }  # fmt: skip
    for name, (kind, expected) in things.items():
        code, told, _ = cli("check", tmp_path / name, "--bundle", tiny_folder)
        (finding,) = told["records"][0]["findings"]
        assert code == expected, name
        assert kind in (None, finding["kind"]), name
        code, told, err = cli("predict", tmp_path / name, "--bundle", tiny_folder)
        assert code == expected, name
        assert "\x1b" not in err
        assert [line for line in err.splitlines() if line.startswith("left out: ")] == [
            f"left out: {told['records'][0]['rejected']}"
        ]
    everything = [folder, *(tmp_path / name for name in things)]
    code, told, _ = cli("predict", *everything, "--bundle", tiny_folder)
    assert code == 7
    assert [record["rejected"] is None for record in told["records"]] == [True] * 3 + [False] * len(things)


# --- a bad bundle --------------------------------------------------------------------------------------------------


def test_a_bad_bundle_stops_every_verb(
    cli: Callable[..., Answer], folder: Path, data_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_folder, tmp_path / "bundle"))
    raw = bytearray((bundle / "weights.safetensors").read_bytes())
    raw[-5] ^= 1
    (bundle / "weights.safetensors").write_bytes(bytes(raw))
    for where, code, kind in ((bundle, 4, "altered"), (tmp_path / "none", 3, "missing_bundle")):
        for verb in (
            ["check", folder, "--bundle", where], ["predict", folder, "--bundle", where],
            ["explain", folder, "--target", "MI", "--bundle", where, "--out", tmp_path / "out"],
            ["evaluate", where, "--data", data_folder],
        ):  # fmt: skip
            found, told, err = cli(*verb)
            assert (found, told["error"]["kind"]) == (code, kind), verb
            assert err.count("\n") == 1
            assert err.strip() == told["error"]["message"]
    assert not (tmp_path / "out").exists()


# --- a bad data set ------------------------------------------------------------------------------------------------


def table(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        lines = (folder / "table.csv").read_text().splitlines()
        (folder / "table.csv").write_text("\n".join(change(lines)) + "\n")

    return apply


def first_file(name: str) -> Callable[[Path], object]:
    return table(lambda lines: [lines[0], ",".join([name, *lines[1].split(",")[1:]]), *lines[2:]])


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


BAD_DATA: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "no folder": (lambda folder: shutil.rmtree(folder), "missing_folder", 3),
    "an empty folder": (emptied, "empty_folder", 3),
    "no table": (lambda folder: (folder / "table.csv").unlink(), "no_table", 3),
    "two tables": (lambda folder: (folder / "other.csv").write_text("file\n"), "no_table", 3),
    "no column for files": (table(lambda lines: ["record" + lines[0][4:], *lines[1:]]), "columns", 3),
    "an empty table": (table(lambda lines: [""]), "csv", 3),
    "a file twice": (table(lambda lines: [*lines, lines[1]]), "duplicate_id", 3),
    "..": (first_file("../x.hea"), "path", 4),
    "an absolute path": (first_file("/etc/passwd"), "path", 4),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_sets(
    case: str, cli: Callable[..., Answer], data_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    spoil, kind, code = BAD_DATA[case]
    folder = Path(shutil.copytree(data_folder, tmp_path / "clinic"))
    spoil(folder)
    for verb in (
        ["data", "info", folder], ["evaluate", tiny_folder, "--data", folder],
        ["train", "--data", folder, "--epochs", 1, "--out", tmp_path / "run"],
    ):  # fmt: skip
        found, told, err = cli(*verb)
        assert (found, told["error"]["kind"]) == (code, kind), (verb, told)
        assert err.count("\n") == 1
        assert err.strip() == told["error"]["message"]
    assert not (tmp_path / "run" / "bundles").exists()


def test_unknown_codes(cli: Callable[..., Answer], data_folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "clinic"))
    table(lambda lines: [line.replace(",NORM,", ",NROM,") for line in lines])(folder)
    code, told, _ = cli("evaluate", tiny_folder, "--data", folder)
    assert (code, told["error"]["kind"]) == (3, "unknown_code")
    assert "did you mean NORM" in told["error"]["message"]


def test_a_class_without_positives(cli: Callable[..., Answer], data_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "clinic"))
    table(lambda lines: [line for line in lines if not line.endswith(",9") or ",CD," not in line])(folder)
    code, told, _ = cli("train", "--data", folder, "--epochs", 1, "--out", tmp_path / "run")
    assert (code, told["error"]["kind"]) == (3, "no_positives")


def test_training_and_evaluating_go_on_without_bad_records(
    cli: Callable[..., Answer], data_folder: Path, tiny_folder: Path, tmp_path: Path, small_cohort: Cohort
) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "clinic"))
    bad = {fold: small_cohort.where(fold=fold).record_ids[0] for fold in (1, 10)}
    for name in bad.values():
        raw = bytearray((folder / f"{name}.dat").read_bytes())
        raw[100] ^= 1
        (folder / f"{name}.dat").write_bytes(bytes(raw))
    code, told, _ = cli("train", "--data", folder, "--epochs", 1, "--out", tmp_path / "run")
    assert code == 7
    assert [(e["record_id"], e["kind"]) for e in told["excluded"]] == [(f"{bad[1]}.hea", "checksum")]
    assert (tmp_path / "run" / "bundles" / "final" / "hashes.json").exists()
    code, told, _ = cli("evaluate", tmp_path / "run", "--data", folder)
    assert code == 7
    assert [(e["record_id"], e["kind"]) for e in told["excluded"]] == [(f"{bad[10]}.hea", "checksum")]
    assert told["n"] == len(small_cohort.where(fold=10)) - 1


def test_nothing_usable_at_all(
    cli: Callable[..., Answer], data_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "clinic"))
    for path in folder.glob("*.dat"):
        path.write_bytes(b"")
    for verb in (["evaluate", tiny_folder, "--data", folder], ["train", "--data", folder, "--out", tmp_path / "run"]):
        code, told, _ = cli(*verb)
        assert (code, told["error"]["kind"]) == (3, "no_records")
