# SPDX-License-Identifier: Apache-2.0
"""The page of a risk assessment says what was found, what may be owed to something else, and when it is void."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecglens.errors import InputError, UsageError
from ecglens.plotting.identification import plot_det, plot_gallery
from ecglens.privacy.identify import MODELS
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.runs.files import write_json
from ecglens.runs.run import Run


def figure(value: float | None, chance: float = 0.5) -> dict[str, Any]:
    return {"value": value, "low": None if value is None else value - 0.05, "high": value, "chance": chance}


def a_run(folder: Path, **changed: Any) -> Run:
    run = Run.create(folder, "identify", {
        "task": "person", "protocol": "paper", "models": ["transecg"], "lead": "auto", "preparation": "paper",
        "per_person": 20, "n_folds": 5, "data": ["mitdb"],
    }, 0)  # fmt: skip
    controls = {
        "duplicate_people": {"n": 2, "n_windows": 90, "n_windows_in_all": 900},
        "database_prediction": figure(0.97), "label_from_database": None,
        "shuffled_labels": None, "leave_one_database_out": {"mitdb": None}, "within_database": None, "inflated": True,
        "attack_alive": False,
    }  # fmt: skip
    data = {"task": "person", "protocol": "paper", "n_people": 47, "n_records": 48, "gallery_size": 47,
            "models": {"transecg": {"accuracy": figure(0.7, 0.03)}}, "controls": controls}  # fmt: skip
    write_json(folder / "identification.json", data | changed)
    run.note(finished=True, seconds=60.0, n_trials={}, splits=[], data={
        "people_by_database": {"mitdb": 47}, "leads": {"mitdb MLII": 45}, "sex": {"male": 25},
        "age_groups": {"66+": 12}, "excluded": {"too_short": 3}, "n_people": 47, "n_records": 48, "n_windows": 900,
        "preparation": "as told",
        "citation": "whom to credit",
    })  # fmt: skip
    return run


def test_a_weak_attack_is_void_and_an_inflated_one_says_so(tmp_path: Path):
    page = render(identification_report(a_run(tmp_path / "run")))
    for words in ("VOID", "These figures are inflated", "0.700 [0.650, 0.700]", "2 pairs of people",
                  "90 of 900 windows", "3 (no 8 s without a blank)", "0.970 [0.920, 0.970]", "mitdb MLII",
                  "--purpose risk-assessment"):  # fmt: skip
        assert words in page, words
    assert "The attack is alive" not in page


def test_shuffled_labels_are_told_in_words_and_flagged(tmp_path: Path):
    def page(name: str, **told: Any) -> str:
        none = {"database_prediction": None, "label_from_database": None, "leave_one_database_out": None}
        controls = none | {"duplicate_people": {"n": 0, "n_windows": 9, "n_windows_in_all": 9}, "inflated": False,
                           "attack_alive": None, "shuffled_labels": figure(0.442, 0.25) | told}  # fmt: skip
        return render(identification_report(a_run(tmp_path / name, controls=controls)))

    fair = page("fair", n_deals=40, far_from_chance=False)
    assert "after labels were shuffled among people (mean of 40 deals, and where 95 % lie)" in fair
    assert "As by chance with labels shuffled among people 40 times" in fair
    assert "FAR FROM CHANCE" not in fair
    assert "FAR FROM CHANCE with labels shuffled among people 40 times" in page("far", n_deals=40, far_from_chance=True)
    old = page("old")  # one deal, 0.442 where chance is 0.25, proves nothing either way
    assert "shuffled among people (once)" in old
    assert "FAR FROM CHANCE" not in old


def test_attackers_that_were_not_asked_are_named(tmp_path: Path):
    def said(models: list[str]) -> str:
        told = {model: {"accuracy": figure(0.7)} for model in models}
        report = identification_report(a_run(tmp_path / str(len(models)), models=told))
        return next(section for section in report.sections if section.title == "What was not tried").text[0]

    one = said(["transecg"])
    assert "not asked (--model): transecg-patch5, cnn, cnn-beats," in one
    assert "transecg," not in one.partition("not asked")[2]
    assert "not asked" not in said(list(MODELS))


def test_what_is_not_finished_has_no_page(tmp_path: Path):
    run = Run.create(tmp_path / "run", "identify", {}, 0)
    with pytest.raises(InputError, match="--resume"):
        identification_report(run)


def test_curves_lie_where_the_figures_do():
    points = pd.DataFrame(
        {"size": [2, 10], "value": [0.9, 0.5], "low": [0.8, 0.4], "high": [1, 0.6], "chance": [0.5, 0.1]}
    )
    axes = plot_gallery({"cnn": {c: points[c].tolist() for c in points}}).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "cnn")
    assert line.get_ydata().tolist() == [0.9, 0.5]
    chance = next(line for line in axes.lines if line.get_label() == "chance")
    assert chance.get_xdata() * chance.get_ydata() == pytest.approx(1)
    assert axes.get_ylabel() == "Share found first (rank 1)"
    of_five = plot_gallery({"rank 5": {c: points[c].tolist() for c in points}}, {"rank 5": 5}).axes[0]
    assert "first 5" in of_five.get_ylabel()
    chance = next(line for line in of_five.lines if line.get_label() == "chance")
    assert chance.get_ydata() == pytest.approx([min(1, 5 / size) for size in chance.get_xdata()])
    drawn = plot_det({"cnn": ([0, 0.01, 0.1, 1], [1, 0.2, 0.05, 0])}).axes[0]
    line = next(line for line in drawn.lines if line.get_label() == "cnn")
    assert line.get_xdata().tolist() == [0.01, 0.1]  # zeros have no place on a logarithmic axis
    for plot in (plot_gallery, plot_det):
        with pytest.raises(UsageError):
            plot({})
