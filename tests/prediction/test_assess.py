# SPDX-License-Identifier: Apache-2.0
"""What `evaluate` says beyond scores: the same figures as the statistics give, JSON without NaN, warnings that show."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.prediction.calibration import RULES, thresholds_of
from ecglens.prediction.evaluate import Evaluation, evaluate, score_prepared
from ecglens.preprocessing.prepare import prepare
from ecglens.simulation.cohort import simulate_cohort


@pytest.fixture(scope="module")
def strangers() -> Cohort:
    cohort = simulate_cohort(60, classes=("NORM", "IMI", "CLBBB"), seed=12)
    return replace(cohort, records=list(cohort.records))


@pytest.fixture(scope="module")
def found(tiny_bundle: Bundle, strangers: Cohort) -> Evaluation:
    return evaluate(tiny_bundle, strangers, n_resamples=100)


def test_json_holds_everything_and_no_nan(found: Evaluation, tiny_bundle: Bundle) -> None:
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert {"calibration", "decision_curves", "operating_points", "subgroups", "cooccurrence", "warnings"} <= set(told)
    said, labels = found.probabilities.to_numpy(), found.labels.to_numpy()
    for k, name in enumerate(tiny_bundle.classes):
        about = told["calibration"]["per_class"][name]
        assert about["brier"]["value"] == pytest.approx(brier_score_loss(labels[:, k], said[:, k]))
        assert sum(point["n"] for point in about["reliability"]) == 60
        curve = told["decision_curves"]["per_class"][name]
        assert {len(values) for values in curve.values()} == {40}
        cells = confusion_matrix(labels[:, k], said[:, k] >= tiny_bundle.thresholds[k])
        together = told["cooccurrence"]
        assert together["true_and_called"][k][k] == cells[1, 1]
        assert together["true_and_true"][k][k] == labels[:, k].sum()


def test_operating_points_are_those_of_validation(found: Evaluation, tiny_bundle: Bundle) -> None:
    told = found.as_dict()["operating_points"]
    assert [point["rule"] for point in told] == [rule for rule in RULES for _ in tiny_bundle.classes]
    kept, said, labels = thresholds_of(tiny_bundle), found.probabilities, found.labels
    for point in told:
        name, cut = point["class"], kept[point["rule"]][point["class"]]
        assert point["threshold"] == cut
        called = said[name] >= cut
        value = float((~called[labels[name] == 0]).mean())
        assert point["specificity"]["value"] == pytest.approx(value)
        assert point["specificity"]["low"] <= value <= point["specificity"]["high"]
    same = [p for p in told if p["rule"] == "f1"]
    scores = found.as_dict()["per_class"]
    assert [p["sensitivity"]["value"] for p in same] == [
        scores[name]["sensitivity"]["value"] for name in tiny_bundle.classes
    ]


def test_test_labels_choose_no_threshold(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    turned = evaluate(tiny_bundle, replace(strangers, labels=1 - strangers.labels), n_resamples=20).as_dict()
    before = {(p["rule"], p["class"]): p["threshold"] for p in found.as_dict()["operating_points"]}
    assert {(p["rule"], p["class"]): p["threshold"] for p in turned["operating_points"]} == before


def test_few_positives_are_warned_of(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    assert found.warnings == ()
    labels = strangers.labels.copy()
    name, other, third = tiny_bundle.classes
    labels[name] = 0.0
    labels.iloc[:4, labels.columns.get_loc(name)] = 1.0
    labels[other] = np.nan
    labels[third] = 1.0
    labels.iloc[:3, labels.columns.get_loc(third)] = 0.0
    of_two = strangers.metadata["patient_id"].copy()
    of_two.iloc[:4] = ["a", "a", "a", "b"]  # four records, but two people
    few = replace(strangers, labels=labels, metadata=strangers.metadata.assign(patient_id=of_two))
    told = evaluate(tiny_bundle, few, n_resamples=20)
    assert told.warnings == (
        f"No label is known for {other}: not scored.",
        f"Fewer than 10 patients with {name} (2): their intervals are too short, and too sure.",
        f"Fewer than 10 patients without {third} (1): their intervals are too short, and too sure.",
    )
    assert told.as_dict()["warnings"] == list(told.warnings)


def test_subgroups_by_sex_and_age(found: Evaluation, strangers: Cohort) -> None:
    told = found.as_dict()["subgroups"]
    assert {entry["by"] for entry in told} >= {"sex", "age"}
    by_sex = {(e["group"], e["class"]): e for e in told if e["by"] == "sex"}
    for (sex, name), entry in by_sex.items():
        inside = (strangers.metadata["sex"] == sex).to_numpy()
        if name != "macro":
            assert (entry["n"], entry["n_positive"]) == (inside.sum(), strangers.labels[name][inside].sum())
        assert entry["method"]


def test_scores_alone_where_only_scores_were_asked_for(tiny_bundle: Bundle, strangers: Cohort) -> None:
    scored = score_prepared(tiny_bundle, prepare(strangers, tiny_bundle.preprocessing), n_resamples=20, seed=0)
    assert scored.assessment is None
    assert "calibration" not in scored.as_dict()
    assert scored.as_dict()["warnings"] == []


def test_bundles_without_rules_have_no_operating_points(tiny_bundle: Bundle, strangers: Cohort) -> None:
    old = replace(tiny_bundle, details={})
    told = evaluate(old, strangers.take(range(40)), n_resamples=50).as_dict()
    assert told["operating_points"] == []
    first, *rest = tiny_bundle.outputs
    undecided = replace(old, outputs=(replace(first, threshold=None), *rest))
    told = evaluate(undecided, strangers.take(range(40)), n_resamples=50).as_dict()
    assert [row[0] for row in told["cooccurrence"]["true_and_called"]] == [0, 0, 0]  # nothing decided, nothing called
