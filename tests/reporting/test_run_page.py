# SPDX-License-Identifier: Apache-2.0
"""The page of a run shows every figure of its evaluations, says what a label map did, and warns."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ecglens.cli.app import run as ecglens
from ecglens.cli.evaluate import _write
from ecglens.prediction.evaluate import evaluate
from ecglens.report import Section
from ecglens.reporting.evaluation import evaluation_sections
from ecglens.reporting.html import render
from ecglens.reporting.run import build_run_report
from ecglens.runs.run import Run
from ecglens.simulation.cohort import simulate_cohort
from ecglens.statistics.figures import interval
from ecglens.training.train import Trained


@pytest.fixture(scope="module")
def folder(trained: Trained, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, evaluated on 60 records of strangers, on a handful in a folder, and on these through a label map."""
    folder = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(trained.run.folder, folder)
    other = tmp_path_factory.mktemp("other") / "clinic"
    shutil.copytree(data_folder, other)
    table = pd.read_csv(other / "table.csv")
    table["labels"] = table["labels"].map({"NORM": "healthy", "MI": "infarct", "CD": "block"})
    table.to_csv(other / "table.csv", index=False)
    label_map = other.with_name("map.csv")
    label_map.write_text("label,class,reason\ninfarct,MI,\nblock,CD,\nhealthy,NORM,\n")
    strangers = evaluate(
        trained.bundle, simulate_cohort(60, classes=("NORM", "IMI", "CLBBB"), seed=12), n_resamples=200
    )
    found = strangers.as_dict() | {"bundle": "tiny", "data": "simulated", "fold": "10"}
    _write(strangers, found, folder, None, "simulated-fold-10")
    assert ecglens(["evaluate", str(folder), "--data", str(data_folder), "--fold", "10"]) == 0
    assert ecglens(["evaluate", str(folder), "--data", str(other), "--fold", "10", "--label-map",
                    str(label_map), "--thresholds", "specificity-0.90"]) == 0  # fmt: skip
    return folder


def evaluation(folder: Path, name: str) -> tuple[dict, pd.DataFrame]:
    path = folder / "evaluations" / name
    return json.loads((path / "evaluation.json").read_text()), pd.read_csv(path / "predictions.csv")


def section(sections, title: str) -> Section:
    return next(s for s in sections if s.title.startswith(title))


def test_every_figure_of_the_evaluation_stands_on_the_page(folder: Path) -> None:
    told, predictions = evaluation(folder, "simulated-fold-10")
    sections = evaluation_sections(told, predictions)
    apart, decided = section(sections, "How good").tables
    for name, figures in told["per_class"].items():
        row = next(row for row in decided.rows if row[0] == name)
        wanted = [interval(figures[m]) for m in ("ppv", "sensitivity", "specificity", "f1")]
        assert list(row[3:7]) == wanted
        assert row[1] == str(figures["auroc"]["n_positive"])
        assert interval(figures["auroc"]) in next(row for row in apart.rows if row[0] == name)
    errors, lines = section(sections, "Are the probabilities").tables
    for name, about in told["calibration"]["per_class"].items():
        assert interval(about["brier"]) in next(row for row in errors.rows if row[0] == name)
        row = next(row for row in lines.rows if row[0] == name)
        for metric, cell in zip(("slope", "intercept", "level"), row[1:], strict=True):
            value = about[metric]["value"]
            assert cell.startswith("n/a" if value is None else f"{value:.2f} [")
    points = section(sections, "Is acting").tables[-1]
    assert len(points.rows) == 3 * len(told["per_class"])
    assert len(section(sections, "Labels that come").figures) == 2
    assert section(sections, "For whom").text


def test_pages_warn_of_few_records(folder: Path) -> None:
    told, predictions = evaluation(folder, "clinic-fold-10")
    assert told["warnings"]  # a handful of records
    assert set(told["warnings"]) <= set(section(evaluation_sections(told, predictions), "How good").text)


def test_a_label_map_is_told(folder: Path) -> None:
    told, predictions = evaluation(folder, "clinic-fold-10-specificity-0.90-map")
    sections = evaluation_sections(told, predictions)
    words = " ".join(section(sections, "How good").text)
    assert "not the labels the network was trained on" in words
    own, _ = evaluation(folder, "clinic-fold-10")
    assert (
        told["per_class"]["MI"]["auroc"] == own["per_class"]["MI"]["auroc"]
    )  # the map says the same of the same people
    point = next(p for p in own["operating_points"] if (p["rule"], p["class"]) == ("specificity-0.90", "MI"))
    assert told["per_class"]["MI"]["threshold"] == point["threshold"]
    assert told["thresholds_by"] == "specificity-0.90"


def test_the_page_holds_the_evaluation_with_its_own_labels_first(folder: Path) -> None:
    page = build_run_report(Run.open(folder))
    titles = [s.title for s in page.sections]
    assert titles.count("How good: clinic, fold 10") == 2
    assert titles.count("For whom: simulated, fold 10") == 1
    first = next(s for s in page.sections if s.title.startswith("How good"))
    assert not any("map" in words for words in first.text)
    text = render(page)
    assert len(re.findall("<figure>", text)) > 20
    assert not re.search(r"\bnan\b", re.sub(r'src="[^"]*"', "", text))


def test_evaluations_of_earlier_versions_still_have_a_page(folder: Path) -> None:
    told, predictions = evaluation(folder, "simulated-fold-10")
    new = ("calibration", "decision_curves", "operating_points", "subgroups", "cooccurrence", "warnings")
    old = {key: value for key, value in told.items() if key not in new}
    sections = evaluation_sections(old, predictions)
    assert [s.title.split(":")[0] for s in sections] == ["How good", "Curves and decisions"]


def test_what_cannot_be_scored_is_no_picture(folder: Path) -> None:
    told, predictions = evaluation(folder, "simulated-fold-10")
    told = json.loads(json.dumps(told))
    for about in told["calibration"]["per_class"].values():
        for metric in ("brier", "slope", "intercept", "level", "mean_probability", "ece"):
            about[metric] |= {"value": None, "low": None, "high": None}
    for curve in told["decision_curves"]["per_class"].values():
        curve |= {key: [] for key in curve}
    told["subgroups"] = []
    titles = [s.title.split(":")[0] for s in evaluation_sections(told, predictions)]
    assert titles == ["How good", "Curves and decisions", "Labels that come together"]
