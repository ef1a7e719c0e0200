# SPDX-License-Identifier: Apache-2.0
"""`ecglens aggregate`, and everything that can be typed wrongly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from ecglens.aggregation import glocal
from ecglens.auditing.verdicts import AUDIT_FILE, write_audit
from ecglens.bundle import Bundle, Output, TrainedOn
from ecglens.cli.app import run
from ecglens.cohort import Cohort
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import Attended, ECGNet
from ecglens.models.lenet import LeNet, initialized
from ecglens.runs.files import write_json
from ecglens.runs.run import Run
from ecglens.training.recipes import PREPROCESSING

Cli = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="module")
def stranger(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle as of somebody else's patients, so that the whole small cohort can be explained."""
    folder = tmp_path_factory.mktemp("stranger") / "bundle"
    replace(tiny_bundle, trained_on=TrainedOn.of("salt", train=(["nobody"], ["none"]))).save(folder)
    return folder


@pytest.fixture(scope="module")
def maps(stranger: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps") / "run"
    code = run(["explain", str(stranger), "--data", str(data_folder), "--fold", "all", "--target", "all", "--method",
                "saliency", "--out", str(out)])  # fmt: skip
    assert code == 0
    return out


def test_from_a_bundle_to_a_page(cli: Cli, stranger: Path, data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("aggregate", stranger, "--data", data_folder, "--fold", "all", "--target", "MI", "--out", out)
    code, told, err = cli(*command)
    assert code == 0, err
    assert {"target", "method", "n_records", "n_patients", "excluded", "cells"} <= set(told)
    assert (told["target"], told["method"], told["verdict"]) == ("MI", "saliency", "not tested")
    assert len(told["cells"]) == 12 * 24
    assert list(told["cells"][0]) == ["lead", "segment", "value", "low", "high", "lift", "q", "rank"]
    assert (told["n_records"], told["excluded"]) == (22, {})
    table = pd.read_csv(out / "tables" / "cells-MI.csv")
    assert len(table) == 12 * 24
    assert "NOT TESTED" in (out / "index.html").read_text()
    kept = json.loads((out / "aggregate.json").read_text())
    assert kept["cells"] == told["cells"]
    assert cli(*command)[0] == 2  # a run is there
    before = (out / "maps" / "arrays" / "saliency.npy").stat().st_mtime_ns
    code, again, _ = cli(*command, "--resume")
    assert (code, again["cells"]) == (0, told["cells"])
    assert (out / "maps" / "arrays" / "saliency.npy").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def attending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ECGNet that nobody trained, with an attention per class."""
    sizes = {"n_outputs": 3, "widths": [4, 4, 8], "hidden": 4, "lead_embedding": True, "per_class": True}
    network, folder = initialized(ECGNet, sizes, 2), tmp_path_factory.mktemp("attending") / "bundle"
    Bundle(network, tuple(map(Output, ("NORM", "MI", "CD"))), PREPROCESSING, 100.0, "ECGNet", sizes).save(folder)
    return folder


def test_attention_of_an_ecgnet_is_averaged_class_by_class_and_beat_by_beat(
    cli: Cli, attending: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead x time; and where the network attends to V2 for NORM and to aVF for MI, that is what the averages say."""
    monkeypatch.setattr(glocal, "N_SHIFTS", {glocal.SEGMENT: 200, glocal.BEAT: 200})
    attend, looked_at = ECGNet.attend, {"NORM": "V2", "MI": "aVF"}

    def planted(self: ECGNet, signal: Tensor) -> Attended:
        found = attend(self, signal)
        lead = torch.zeros_like(found.lead)
        for k, name in enumerate((*looked_at.values(), "I")):
            lead[:, k, STANDARD_LEADS.index(name)] = 1.0
        return found._replace(lead=lead)

    monkeypatch.setattr(ECGNet, "attend", planted)
    code, told, err = cli("aggregate", attending, "--data", data_folder, "--fold", "all", "--method", "attention",
                          "--target", "NORM,MI", "--by", "beat", "--even-if-failed",
                          "--out", tmp_path / "out")  # fmt: skip
    assert code == 0, err
    labels = pd.read_csv(data_folder / "table.csv", dtype=str)["labels"]
    for one in told["targets"]:
        assert (one["method"], one["by"], one["unit"]) == ("attention", "beat", "share of attention")
        assert one["n_records"] == (labels == one["target"]).sum()
        phases = {str(phase) for phase in range(-300, 500, 10)}
        assert {(cell["lead"], cell["segment"]) for cell in one["cells"]} == set(product(STANDARD_LEADS, phases))
        for cell in one["cells"]:
            assert (cell["value"] > 0) == (cell["lead"] == looked_at[one["target"]])


def test_too_few_labelled_records_are_refused_before_any_map_is_made(
    cli: Cli, stranger: Path, data_folder: Path, tmp_path: Path
) -> None:
    command = ("aggregate", stranger, "--data", data_folder, "--fold", "all", "--out", tmp_path / "out", "--limit", 30)
    for target in ("MI", "all"):
        code, told, _ = cli(*command, "--target", target)
        assert (code, told["error"]["kind"]) == (3, "too_few")
        assert not (tmp_path / "out" / "maps").exists()
    assert cli(*command, "--target", "MI", "--select", "predicted")[0] in (0, 3, 7)
    assert (tmp_path / "out" / "maps").exists()  # whom the network calls MI is known by then alone


def test_from_explained_maps(cli: Cli, maps: Path, data_folder: Path, tmp_path: Path, small_cohort: Cohort) -> None:
    code, told, err = cli("aggregate", maps, "--data", data_folder, "--by", "beat", "--target", "MI",
                          "--out", tmp_path / "beat")  # fmt: skip
    assert code == 0, err
    assert (told["by"], len(told["cells"])) == ("beat", 12 * 80)
    code, told, err = cli("aggregate", maps, "--data", data_folder, "--compare", maps, "--out", tmp_path / "pair")
    assert code == 0, err
    assert [one["target"] for one in told["targets"]] == list(small_cohort.classes)
    for one in told["targets"]:
        (between,) = one["comparisons"]
        assert (between["a"], between["n_a"], between["cells"]) == ("this run", one["n_records"], [])


@pytest.fixture(scope="module")
def patchy(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder with a flat lead in one record of MI, and the names of two records of MI: that one, and another."""
    folder = tmp_path_factory.mktemp("patchy") / "clinic"
    shutil.copytree(data_folder, folder)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    flat, other = sorted(table.loc[table["labels"] == "MI", "file"])[:2]
    ecg = read(folder / flat)
    signal = ecg.signal.copy()
    signal[0] = 0.0
    write_wfdb(replace(ecg, signal=signal, record_id=Path(flat).stem), folder)
    return folder, [flat, other]


@pytest.fixture(scope="module")
def family(patchy: tuple[Path, list[str]], stranger: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of two folds; the second record of `patchy` is in nobody's test fold."""
    folder, (_, other) = patchy
    run_folder = tmp_path_factory.mktemp("family") / "run"
    names = pd.read_csv(folder / "table.csv", dtype=str)["file"]
    for name in ("fold-1", "fold-2", "final"):
        Bundle.load(stranger).save(run_folder / "bundles" / name)
    write_json(run_folder / "run.json", {
        "schema": 1, "verb": "train", "bundles": {"fold-1": "", "fold-2": ""}, "data": {"name": folder.name},
        "folds": {name: 1 + k % 2 for k, name in enumerate(names) if name != other},
    })  # fmt: skip
    return run_folder


def test_who_could_not_be_explained_is_listed_whoever_explained(
    cli: Cli, stranger: Path, family: Path, patchy: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """By a bundle, by a family out of fold, and of their finished maps: each has the same 22 records to answer for."""
    folder, (flat, other) = patchy
    of_bundle, of_family = {flat: "flat_lead"}, {flat: "flat_lead", other: "new_record"}
    for number, (where, expected) in enumerate(((stranger, of_bundle), (family, of_family))):
        out, again = tmp_path / f"{number}", tmp_path / f"{number}-again"
        for source, run_folder in ((where, out), (out / "maps", again)):
            fold = ["--fold", "all"] if source == where else []
            code, told, err = cli("aggregate", source, "--data", folder, "--target", "MI", *fold, "--out", run_folder)
            assert code == 7, err
            assert (told["n_records"], told["not_judged"]) == (22 - len(expected), {})
            assert told["excluded"] == dict.fromkeys(expected.values(), 1)
            named = pd.read_csv(run_folder / "tables" / "excluded-MI.csv", dtype=str).set_index("record_id")["reason"]
            assert named.to_dict() == expected
            page = (run_folder / "index.html").read_text()
            assert all(f"record: {why}" in page for why in expected.values())


def test_labels_of_another_rule_are_not_taken_for_those_of_the_run(
    cli: Cli, maps: Path, patchy: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Whom the run left out may or may not carry its label: it is counted as not known."""
    folder, (flat, _) = patchy
    run_folder = tmp_path / "maps"
    shutil.copytree(maps, run_folder)
    for name in ("records", "maps"):
        table = pd.read_csv(run_folder / "tables" / f"{name}.csv", dtype=str)
        table[table["record_id"] != flat].to_csv(run_folder / "tables" / f"{name}.csv", index=False)
    (run_folder / "tables" / "excluded.csv").write_text(f"record_id,part,kind,reason\n{flat},preparing,flat_lead,I\n")
    Run(run_folder).note(label_rule="MI is what a committee says")
    code, told, err = cli("aggregate", run_folder, "--data", folder, "--target", "MI", "--out", tmp_path / "out")
    assert (code, told["n_records"], told["excluded"]) == (0, 21, {}), err
    assert told["not_judged"] == {"flat_lead": 1}
    assert "not known whether it counts: flat_lead" in (tmp_path / "out" / "index.html").read_text()


def test_a_method_that_failed_is_stamped_or_not_used(
    cli: Cli, maps: Path, data_folder: Path, tmp_path: Path, stranger: Path
) -> None:
    run_folder = tmp_path / "maps"
    shutil.copytree(maps, run_folder)
    weights = Bundle.load(stranger).weights_sha256
    methods = {"saliency": {"verdict": "fails", "reason": "fails planted truth"}}
    write_audit(
        run_folder / AUDIT_FILE,
        {"bundle": "b", "weights_sha256": weights, "methods": methods, "default_method": None},
    )
    command = ("aggregate", run_folder, "--data", data_folder, "--target", "MI", "--out", tmp_path / "out")
    code, told, _ = cli(*command)
    assert (code, told["error"]["kind"]) == (4, "failed_audit")
    code, told, _ = cli(*command, "--even-if-failed")
    assert (code, told["verdict"]) == (0, "fails")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "FAILED the audit" in page


def test_an_audit_of_other_weights_is_not_taken_for_one_of_these(
    cli: Cli, maps: Path, data_folder: Path, tmp_path: Path
) -> None:
    about = {"bundle": "b", "weights_sha256": "0" * 64, "methods": {}, "default_method": None}
    write_audit(tmp_path / AUDIT_FILE, about)
    code, told, _ = cli(
        "aggregate", maps, "--data", data_folder, "--target", "MI", "--audit", tmp_path, "--out", tmp_path / "out"
    )
    assert (code, told["error"]["kind"]) == (3, "missing_audit")


def test_records_of_the_same_names_but_other_people_are_refused(
    cli: Cli, maps: Path, data_folder: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "maps"
    shutil.copytree(maps, run_folder)
    table = pd.read_csv(run_folder / "tables" / "records.csv", dtype=str)
    table.loc[0, "patient"] = "somebody else"
    table.to_csv(run_folder / "tables" / "records.csv", index=False)
    code, told, _ = cli("aggregate", run_folder, "--data", data_folder, "--target", "MI", "--out", tmp_path / "out")
    assert code == 6
    assert "another patient's" in told["error"]["message"]


@pytest.fixture
def failed_maps(maps: Path, tmp_path: Path) -> Path:
    """The same maps, which note that their method failed."""
    run_folder = tmp_path / "maps"
    shutil.copytree(maps, run_folder)
    Run(run_folder).note(verdicts={"saliency": "fails"})
    return run_folder


def test_the_verdict_of_an_audit_that_is_gone_travels_with_the_maps(
    cli: Cli, failed_maps: Path, data_folder: Path, tmp_path: Path
) -> None:
    command = ("aggregate", failed_maps, "--data", data_folder, "--target", "MI", "--out", tmp_path / "out")
    code, told, _ = cli(*command)
    assert (code, told["error"]["kind"]) == (4, "failed_audit")
    assert "as these maps note" in told["error"]["message"]
    code, told, _ = cli(*command, "--even-if-failed")
    assert (code, told["verdict"]) == (0, "fails")


def test_the_other_run_of_a_comparison_is_asked_for_its_verdict_too(
    cli: Cli, maps: Path, failed_maps: Path, data_folder: Path, tmp_path: Path
) -> None:
    command = (
        "aggregate",
        maps,
        "--data",
        data_folder,
        "--target",
        "MI",
        "--compare",
        failed_maps,
        "--out",
        tmp_path / "out",
    )
    code, told, _ = cli(*command)
    assert (code, told["error"]["kind"]) == (4, "failed_audit")
    code, told, _ = cli(*command, "--even-if-failed")
    assert (code, told["verdict"]) == (0, "fails")
    assert "FAILED" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--target", "IMI"], 2, "NORM, MI, CD"),
        (["--by", "lead"], 2, "segment, beat"),
        (["--select", "all"], 2, "labelled, predicted, top100"),
        (["--compare", "height"], 2, "age:YEARS"),
        (["--method", "occlusion"], 2, "saliency"),
        (["--fold", "10"], 2, "none with maps that are made"),
        (["--limit", "5"], 2, "none with maps that are made"),
        (["--compare", "age:old"], 2, "age:65"),
        (["--compare", "age:nan"], 2, "age:65"),
        (["--target", "MI", "--compare", "device"], 3, "no device is known"),
        (["--target", "MI", "--min-beats", "60"], 3, "20 or more"),
    ],
)
def test_what_can_be_typed_wrongly(
    cli: Cli, maps: Path, data_folder: Path, tmp_path: Path, given: list[str], code: int, words: str
) -> None:
    found, told, _ = cli("aggregate", maps, "--data", data_folder, "--out", tmp_path / "out", *given)
    assert (found, words in told["error"]["message"]) == (code, True), told
    assert "\n" not in told["error"]["message"]


def test_a_comparison_that_is_left_out_is_said(
    cli: Cli, maps: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("aggregate", maps, "--data", data_folder, "--target", "MI", "--compare", "age:65", "--out")
    code, told, _ = cli(*command, tmp_path / "out")
    assert (code, told["n_records"], told["comparisons"]) == (7, 22, [])
    (few,) = told["not_compared"]
    assert (few["a"], few["b"]) == ("65 years and older", "younger than 65")
    assert "Not compared" in (tmp_path / "out" / "index.html").read_text()


def test_all_subclasses_large_and_small(
    cli: Cli, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each class below the least group is left out with its counts, one whose name holds a slash is not."""
    monkeypatch.setattr(glocal, "N_SHIFTS", {glocal.SEGMENT: 200, glocal.BEAT: 200})
    folder, classes = tmp_path / "subclasses", ("NORM", "IMI", "LAFB/LPFB", "WPW")
    shutil.copytree(data_folder, folder)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    labels = table["labels"].replace({"MI": "IMI", "CD": "LAFB/LPFB"})
    labels[labels.index[labels == "IMI"][19:]] = "none"
    table.assign(labels=labels).to_csv(folder / "table.csv", index=False)
    network = initialized(LeNet, {"n_outputs": len(classes)}, 1)
    arguments = {"arguments": {"task": "subdiagnostic"}}
    Bundle(network, tuple(map(Output, classes)), PREPROCESSING, 100.0, "LeNet", {"n_outputs": len(classes)},
           details=arguments).save(tmp_path / "bundle")  # fmt: skip
    out = tmp_path / "out"
    code, told, err = cli("aggregate", tmp_path / "bundle", "--data", folder, "--fold", "all", "--out", out)
    assert code == 7, err
    assert {one["target"]: one["n_records"] for one in told["targets"]} == {
        name: (labels == name).sum() for name in ("NORM", "LAFB/LPFB")
    }
    page = (out / "index.html").read_text()
    assert set(told["left_out"]) == {"IMI", "WPW"}
    for name, n in (("IMI", 19), ("WPW", 0)):
        why = f"{name}: group: found {n} records of "
        assert told["left_out"][name].startswith(why)
        assert why in page
    assert len(pd.read_csv(out / "tables" / "cells-LAFB-LPFB.csv")) == 12 * 24


def test_another_cohort_is_refused(cli: Cli, maps: Path, tmp_path: Path) -> None:
    code, told, _ = cli("aggregate", maps, "--data", "simulated", "--out", tmp_path / "out")
    assert (code, told["error"]["error"]) == (6, "ContractError")
