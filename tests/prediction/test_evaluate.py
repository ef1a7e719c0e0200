# SPDX-License-Identifier: Apache-2.0
"""`evaluate` gives scikit-learn's figures with intervals over patients, changes nothing, and refuses to cheat."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, InputError, LeakError
from ecglens.prediction.evaluate import Evaluation, evaluate, people_of
from ecglens.prediction.predict import predict
from ecglens.simulation.cohort import simulate_cohort


@pytest.fixture(scope="module")
def strangers() -> Cohort:
    """Other people than those of the bundle: another seed."""
    cohort = simulate_cohort(48, classes=("NORM", "IMI", "CLBBB"), seed=11)
    return replace(cohort, records=list(cohort.records))


@pytest.fixture(scope="module")
def found(tiny_bundle: Bundle, strangers: Cohort) -> Evaluation:
    return evaluate(tiny_bundle, strangers, n_resamples=200)


def test_figures_are_those_of_scikit_learn(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    scores = np.array([list(predict(tiny_bundle, ecg).probabilities.values()) for ecg in strangers.records])
    np.testing.assert_allclose(found.probabilities.to_numpy(), scores, rtol=0, atol=1e-6)
    told, labels = found.as_dict(), strangers.labels.to_numpy()
    np.testing.assert_allclose(told["macro_auroc"]["value"], roc_auc_score(labels, scores), rtol=0, atol=1e-12)
    for k, name in enumerate(tiny_bundle.classes):
        figures, y, decided = told["per_class"][name], labels[:, k], scores[:, k] >= tiny_bundle.thresholds[k]
        for metric, expected in (
            ("auroc", roc_auc_score(y, scores[:, k])), ("average_precision", average_precision_score(y, scores[:, k])),
            ("f1", f1_score(y, decided, zero_division=0)), ("sensitivity", recall_score(y, decided)),
            ("specificity", recall_score(1 - y, ~decided)),
        ):  # fmt: skip
            np.testing.assert_allclose(figures[metric]["value"], expected, rtol=0, atol=1e-12, err_msg=metric)


def test_the_interval_holds_the_value_and_comes_from_patients(strangers: Cohort, found: Evaluation) -> None:
    assert (found.n, found.n_patients) == (48, strangers.n_patients)
    assert found.n_patients < found.n
    for name in (*strangers.classes, "macro"):
        for metric in ("auroc", "f1"):
            rows = found.scores[(found.scores["class"] == name) & (found.scores["metric"] == metric)]
            row = rows.iloc[0]
            assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1, (name, metric)
            assert "patient" in row["method"]


def test_same_seed_same_interval(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    again = evaluate(tiny_bundle, strangers, n_resamples=200)
    pd.testing.assert_frame_equal(again.scores, found.scores)
    other = evaluate(tiny_bundle, strangers, n_resamples=200, seed=1)
    assert not other.scores["low"].equals(found.scores["low"])
    assert other.scores["value"].equals(found.scores["value"])


def test_the_default_is_2000_resamples(tiny_bundle: Bundle, strangers: Cohort) -> None:
    told = evaluate(tiny_bundle, strangers.take(range(24))).as_dict()
    assert "2000 patient resamples" in told["macro_auroc"]["method"]


def test_as_dict_has_the_documented_keys(found: Evaluation, tiny_bundle: Bundle) -> None:
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert {"label_rule", "n", "n_patients", "macro_auroc", "per_class"} <= set(told)
    assert told["label_rule"] == "simulated truth (seed 11)"
    assert {"value", "low", "high"} <= set(told["macro_auroc"])
    assert list(told["per_class"]) == list(tiny_bundle.classes)
    for name, threshold in zip(tiny_bundle.classes, tiny_bundle.thresholds, strict=True):
        figures = told["per_class"][name]
        assert figures["threshold"] == threshold
        for metric in ("auroc", "average_precision", "f1", "sensitivity", "specificity"):
            assert {"value", "low", "high"} <= set(figures[metric]), metric


def test_evaluating_changes_neither_thresholds_nor_weights(tiny_bundle: Bundle, strangers: Cohort) -> None:
    before = tiny_bundle.outputs, tiny_bundle.weights_sha256
    # Labels turned round would move every threshold that is fitted here.
    turned = replace(strangers, labels=1 - strangers.labels)
    told = evaluate(tiny_bundle, turned, n_resamples=20)
    assert (tiny_bundle.outputs, tiny_bundle.weights_sha256) == before
    assert tuple(told.thresholds.values()) == tiny_bundle.thresholds


def test_unknown_labels_are_left_out_of_the_figures(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    labels = strangers.labels.copy()
    labels.iloc[::3, 0] = np.nan
    labels.iloc[1, :] = np.nan
    told = evaluate(tiny_bundle, replace(strangers, labels=labels), n_resamples=20)
    known = labels[tiny_bundle.classes[0]].notna().to_numpy()
    scores = found.probabilities.to_numpy()[:, 0]
    expected = roc_auc_score(labels.iloc[:, 0][known], scores[known])
    figure = told.as_dict()["per_class"][tiny_bundle.classes[0]]["auroc"]
    np.testing.assert_allclose(figure["value"], expected, rtol=0, atol=1e-12)
    assert figure["n"] == known.sum()
    assert told.n == 47  # a record without a single known label does not count


def test_a_class_nobody_has_cannot_be_estimated(tiny_bundle: Bundle, strangers: Cohort) -> None:
    name = tiny_bundle.classes[1]
    told = evaluate(tiny_bundle, strangers.take(np.flatnonzero(strangers.labels[name] == 0)), n_resamples=20).as_dict()
    assert told["per_class"][name]["auroc"]["value"] is None  # neither 0 nor 0.5 nor 1
    assert told["macro_auroc"]["value"] is not None
    assert "2 of 3 classes" in told["macro_auroc"]["method"]


def test_classes_in_another_order_and_more_of_them(tiny_bundle: Bundle, strangers: Cohort, found: Evaluation) -> None:
    labels = strangers.labels[[*strangers.classes[::-1]]].assign(OTHER=1.0)
    told = evaluate(tiny_bundle, replace(strangers, labels=labels), n_resamples=200).as_dict()
    assert told == found.as_dict()


def test_missing_classes_are_refused(tiny_bundle: Bundle, strangers: Cohort) -> None:
    with pytest.raises(ContractError, match="no CD among NORM, MI") as caught:
        evaluate(tiny_bundle, replace(strangers, labels=strangers.labels[["NORM", "MI"]]))
    assert caught.value.kind == "labels"


def test_outputs_without_a_yes_or_no_are_refused(tiny_bundle: Bundle, strangers: Cohort) -> None:
    outputs = (Output("NORM", "regression"), *tiny_bundle.outputs[1:])
    with pytest.raises(ContractError, match="NORM"):
        evaluate(replace(tiny_bundle, outputs=outputs), strangers)


def test_a_leak_is_refused_before_anything_is_read(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    class Unread:
        def __len__(self) -> int:
            return len(small_cohort)

        def __getitem__(self, index: int) -> None:
            raise AssertionError("read")

    with pytest.raises(LeakError):
        evaluate(tiny_bundle, replace(small_cohort, records=Unread()))


def test_bad_records_are_left_out_and_listed(tiny_bundle: Bundle, strangers: Cohort) -> None:
    records = list(strangers.records)
    records[5] = records[5].crop(0, 3)
    told = evaluate(tiny_bundle, replace(strangers, records=records), n_resamples=20)
    assert [(e.record_id, e.kind) for e in told.excluded] == [(strangers.record_ids[5], "too_short")]
    assert told.n == 47
    assert told.as_dict()["excluded"][0]["kind"] == "too_short"
    with pytest.raises(InputError) as caught:
        evaluate(tiny_bundle, replace(strangers, records=[ecg.crop(0, 3) for ecg in records[:5]] + records[5:]).take(
            range(5)))  # fmt: skip
    assert caught.value.kind == "no_records"


def test_people_without_an_id_stand_for_themselves(strangers: Cohort) -> None:
    metadata = strangers.metadata.assign(patient_id=None)
    assert len(set(people_of(replace(strangers, metadata=metadata)))) == len(strangers)
    assert len(set(people_of(strangers))) == strangers.n_patients
