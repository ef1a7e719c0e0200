# SPDX-License-Identifier: Apache-2.0
"""What is refused leaves no network behind; whom a run leaves out is counted and not named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecglens.cli.identify import _in_words
from ecglens.cohort import Cohort
from ecglens.errors import InputError
from ecglens.privacy.identify import identify
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.windows import cut_windows
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.runs.files import read_json

from .conftest import people_cohort

HOW = {"n_folds": 3, "n_resamples": 60, "models": ["cnn"]}


def unlearnable(toy: Cohort) -> tuple[Cohort, int]:
    """People of whom three have a second recording, and a seed under which no readable model could learn in a fold."""
    cohort = toy.take([0, 1, 3, 4, 6, 7, 9, 12, 15, 18])
    table = cut_windows([cohort]).table
    for seed in range(300):
        split = make_splits(table, "verification", n_folds=2, seed=seed)[0]
        if table.iloc[split.train].groupby("person")["recording"].nunique().max() == 1:
            return cohort, seed
    raise AssertionError("no such seed")


def test_what_an_attacker_cannot_learn_from_is_refused_before_another_is_trained(toy: Cohort, tmp_path: Path):
    cohort, seed = unlearnable(toy)
    stages = []
    with pytest.raises(InputError, match="pairs of one person and pairs of two"):
        identify([cohort], tmp_path / "run", models=["cnn", "unveiled-lr"], n_folds=2, seed=seed,
                 progress=lambda stage, *_: stages.append(stage))  # fmt: skip
    assert not [stage for stage in stages if "training" in stage]
    assert not [path for path in (tmp_path / "run").iterdir() if path.name != ".lock"]


def test_no_network_is_left_behind_where_data_are_refused_late(
    toy: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(model, changed, split, labels, classes, where, **how):
        where.mkdir(parents=True)
        (where / "weights.safetensors").write_bytes(b"of somebody")
        raise fault

    monkeypatch.setattr("ecglens.privacy.identify.hear", refuse)
    fault: Exception = InputError("unveiled", "features", "none", "some", kind="no_beats")
    with pytest.raises(InputError):
        identify([toy], tmp_path / "refused", **HOW)
    assert not list((tmp_path / "refused").rglob("*.safetensors"))
    assert not (tmp_path / "refused" / "run.json").exists()
    fault = KeyboardInterrupt()  # what was cut off may go on
    with pytest.raises(KeyboardInterrupt):
        identify([toy], tmp_path / "cut", **HOW)
    assert list((tmp_path / "cut").rglob("*.safetensors"))


def test_whom_a_protocol_leaves_out_is_counted_and_not_named(toy: Cohort, tmp_path: Path):
    once = people_cohort(4, 1, name="once", first=50)
    run = identify([toy, once], tmp_path / "run", protocol="closed-set", **HOW | {"models": ["unveiled-lr"]}).run
    told = read_json(run.folder / "identification.json")
    (entry,) = told["people_left_out"]
    assert (told["n_people"], entry["kind"], entry["n"]) == (12, "undivided", 4)
    words = f"4 ({entry['reason']})"
    assert f"People left out: {words}." in render(identification_report(run))
    assert f"People left out: {words}" in _in_words(told, 1.0, tmp_path)
    assert "once:" not in json.dumps(told)
