# SPDX-License-Identifier: Apache-2.0
"""`ecglens explain --data`, and everything that can be typed wrongly: one line, the right code, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.explainers.explain import explain
from ecglens.explainers.explained import ExplainedCohort
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb

Cli = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="module")
def ecg_file(data_folder: Path, small_cohort: Cohort) -> Path:
    return data_folder / f"{small_cohort.where(fold=10).record_ids[0]}.hea"


def test_a_cohort(
    cli: Cli, data_folder: Path, tiny_folder: Path, tiny_bundle: Bundle, small_cohort: Cohort, tmp_path: Path
) -> None:
    strangers = sorted(f"{name}.hea" for name in small_cohort.where(fold=10).record_ids)
    out = tmp_path / "maps"
    command = ["explain", tiny_folder, "--data", data_folder, "--method", "saliency,occlusion_lead", "--out", out]
    code, told, _ = cli(*command)
    assert (code, told["fold"], told["left_out"]) == (0, "10", {})
    assert (told["records"], told["explained"], told["maps"]) == (len(strangers), len(strangers), 6 * len(strangers))
    assert told["targets"] == list(tiny_bundle.classes)
    found = ExplainedCohort.open(out)
    assert sorted(found.records.index) == strangers
    one = found.explanation(strangers[0], "MI", "saliency")
    expected = explain(tiny_bundle, read(data_folder / strangers[0]), ["MI"])[0]
    np.testing.assert_allclose(one.values, expected.values, atol=2**-10 * np.abs(expected.values).max())
    code, told, err = cli(*command)
    assert (code, "--resume" in err) == (2, True)
    assert cli(*command, "--resume")[0] == 0
    code, told, _ = cli(
        "explain", "--bundle", tiny_folder, "--data", data_folder, "--limit", 2, "--out", tmp_path / "b"
    )
    assert (code, told["records"], told["methods"]) == (0, 2, ["saliency"])


def test_parameters_and_output_reach_the_map(cli: Cli, ecg_file: Path, tiny_folder: Path, tmp_path: Path) -> None:
    code, told, _ = cli(
        "explain", ecg_file, "--bundle", tiny_folder, "--target", "all", "--method", "occlusion", "--set", "length=2",
        "--set", "stride=2", "--set", "filler=matched_noise", "--output", "probability", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert [e["target"] for e in told["explanations"]] == list(Bundle.load(tiny_folder).classes)
    for entry in told["explanations"]:
        assert (entry["unit"], entry["output"], entry["resolution_ms"]) == ("probability", "probability", 2000)
        assert entry["parameters"]["filler"] == "matched_noise"


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--target", "NRM"], 2, "did you mean NORM"),
        (["--method", "oclusion"], 2, "did you mean occlusion"),
        (["--method", "attention"], 6, "no attention"),
        (["--set", "filler=zero"], 2, "allowed: none"),
        (["--method", "occlusion", "--set", "fillr=zero"], 2, "did you mean filler"),
        (["--method", "occlusion", "--set", "zero"], 2, "NAME=VALUE"),
        (["--output", "odds"], 2, "logit, probability"),
        (["--method", "lrp", "--output", "probability"], 6, "--output logit"),
        (["--fold", "10"], 2, "without --data"),
        (["--limit", "3"], 2, "without --data"),
        (["--resume"], 2, "without --data"),
    ],
)
def test_bad_input_of_files(
    cli: Cli, ecg_file: Path, tiny_folder: Path, tmp_path: Path, given: list[str], code: int, words: str
) -> None:
    found, told, err = cli("explain", ecg_file, "--bundle", tiny_folder, *given, "--out", tmp_path / "out")
    assert (found, words in err, err.count("\n")) == (code, True, 1), err
    assert told["error"]["message"] == err.strip()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["ECG"], 2, "either files or --data"),
        (["BUNDLE", "BUNDLE"], 2, "one bundle or none"),
        (["BUNDLE", "--bundle", "BUNDLE"], 2, "one bundle"),
        (["nowhere"], 3, "a bundle, a run, or one of"),
        (["BUNDLE", "--target", "predicted"], 2, "the same for all records"),
        (["BUNDLE", "--target", "NRM"], 2, "did you mean NORM"),
        (["BUNDLE", "--method", "attention"], 6, "no attention"),
        (["BUNDLE", "--start", "1"], 2, "--start"),
        (["BUNDLE", "--fold", "77"], 2, "77"),
    ],
)
def test_bad_input_of_cohorts(
    cli: Cli, ecg_file: Path, data_folder: Path, tiny_folder: Path, tmp_path: Path, given: list[str], code: int,
    words: str,
) -> None:  # fmt: skip
    named = [{"ECG": ecg_file, "BUNDLE": tiny_folder}.get(word, word) for word in given]
    found, _, err = cli("explain", *named, "--data", data_folder, "--out", tmp_path / "out")
    assert (found, words in err, err.count("\n")) == (code, True, 1), err
    assert not (tmp_path / "out").exists()


def test_recordings_the_bundle_has_seen_under_other_names(
    cli: Cli, data_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """In this folder patients have other keys than in training: the recordings themselves give them away."""
    command = ("explain", tiny_folder, "--data", data_folder, "--out", tmp_path / "out", "--fold")
    code, told, err = cli(*command, "1")
    assert (code, told["error"]["kind"]) == (3, "no_records")
    assert "who trained this bundle" in err


def test_an_ecg_without_beats(cli: Cli, ecg_file: Path, tiny_folder: Path, tmp_path: Path) -> None:
    whole = read(ecg_file)
    noise = np.random.default_rng(0).normal(scale=0.3, size=whole.signal.shape).astype(np.float32)
    silent = write_wfdb(ECG(noise, whole.fs, whole.leads, "noise"), tmp_path).with_suffix(".hea")
    for method in ("occlusion_segment", "shapley"):
        code, told, err = cli(
            "explain", silent, "--bundle", tiny_folder, "--method", method, "--out", tmp_path / "out"
        )  # fmt: skip
        assert (code, told["rejected"][0]["kind"]) == (3, "no_beats")
        assert "left out: noise: beats" in err


def test_no_files(cli: Cli) -> None:
    code, _, err = cli("explain")
    assert (code, "--data" in err) == (2, True)
