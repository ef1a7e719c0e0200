# SPDX-License-Identifier: Apache-2.0
"""`ecglens convert`: what is written, what is left out and why, and what is never replaced."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecglens.cli.app import run
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from samples import small_ecg
from samples.dicom import make_foreign_dicom
from samples.edf import make_edf
from samples.npy import make_npy
from samples.table import make_table

Cli = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def convert(capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        code = run(["convert", *map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, json.loads(out)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recording in five formats, one of them in a folder below."""
    made = tmp_path / "in"
    (made / "ward 3").mkdir(parents=True)
    make_foreign_dicom(made, small_ecg(), "dicom")
    make_edf(made, small_ecg(), "edf")
    make_table(made / "ward 3", small_ecg(), "table")
    make_npy(made, small_ecg(), "npy")
    write_wfdb(small_ecg(name="wfdb"), made)
    return made


@pytest.mark.parametrize(("to", "suffix"), [("wfdb", ".hea"), ("dicom", ".dcm")])
def test_one_recording_through_every_format_gives_the_same_samples(
    folder: Path, tmp_path: Path, convert: Cli, to: str, suffix: str
) -> None:
    code, told = convert(folder, tmp_path / "out", "--to", to)
    assert (code, told["left_out"], told["format"]) == (0, [], to)
    names = sorted(str(Path(row["to"]).relative_to(tmp_path / "out")) for row in told["written"])
    assert names == sorted(f"{name}{suffix}" for name in ("dicom", "edf", "npy", "ward_3/table", "wfdb"))
    for row in told["written"]:
        ecg = read(row["to"])
        np.testing.assert_array_equal(ecg.signal, small_ecg().signal)
        assert (ecg.fs, list(ecg.leads)) == (row["fs"], row["leads"])
    assert not list((tmp_path / "out").rglob("*.part"))


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on(folder: Path, tmp_path: Path, convert: Cli) -> None:
    (folder / "bad.dcm").write_bytes((folder / "dicom.dcm").read_bytes()[:-100])
    code, told = convert(folder, tmp_path / "out")
    assert code == 7
    assert len(told["written"]) == 5
    assert [error["kind"] for error in told["left_out"]] == ["dicom"]
    code, told = convert(folder / "bad.dcm", tmp_path / "alone")
    assert (code, told["written"]) == (3, [])
    assert not (tmp_path / "alone").exists()


def test_nothing_is_replaced_unasked(folder: Path, tmp_path: Path, convert: Cli) -> None:
    out = tmp_path / "out"
    assert convert(folder / "edf.edf", out)[0] == 0
    (out / "edf.hea").write_text("mine")
    code, told = convert(folder / "edf.edf", out)
    assert (code, told["left_out"][0]["kind"], (out / "edf.hea").read_text()) == (3, "exists", "mine")
    assert convert(folder / "edf.edf", out, "--overwrite")[0] == 0
    np.testing.assert_array_equal(read(out / "edf.hea").signal, small_ecg().signal)


def test_never_the_source_and_never_twice(folder: Path, tmp_path: Path, convert: Cli) -> None:
    before = (folder / "wfdb.dat").read_bytes()
    code, told = convert(folder / "wfdb.hea", folder, "--overwrite", "--gain", "200")
    assert (code, told["left_out"][0]["kind"], (folder / "wfdb.dat").read_bytes()) == (3, "exists", before)
    make_npy(folder, small_ecg(), "edf")
    code, told = convert(folder / "edf.edf", folder / "edf.npy", tmp_path / "out", "--overwrite")
    assert (code, len(told["written"]), told["left_out"][0]["kind"]) == (7, 1, "exists")


def test_numbers_instead_of_names(folder: Path, tmp_path: Path, convert: Cli) -> None:
    make_npy(folder, small_ecg(), "Doe, Jane")
    code, told = convert(folder / "Doe, Jane.npy", folder / "edf.edf", tmp_path / "out", "--number", "--to", "dicom")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ecg-00001.dcm", "ecg-00002.dcm"]
    assert not any(b"Doe" in path.read_bytes() for path in (tmp_path / "out").iterdir())
    _, told = convert(folder / "Doe, Jane.npy", tmp_path / "named")
    assert Path(told["written"][0]["to"]).name == "Doe_Jane.hea"


def test_gain(folder: Path, tmp_path: Path, convert: Cli) -> None:
    assert convert(folder / "npy.npy", tmp_path / "out", "--gain", "100000")[0] == 3  # 1.5 mV no longer fits
    assert convert(folder / "npy.npy", tmp_path / "out", "--gain", "0")[0] == 2
    assert not (tmp_path / "out").exists()
