# SPDX-License-Identifier: Apache-2.0
"""The promises of Attribution, Explanation and CohortExplanation."""

from __future__ import annotations

import pickle
from dataclasses import fields
from itertools import permutations

import numpy as np
import pytest

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.explanation import NOT_TESTED, Attribution, CohortExplanation, Explanation, Summary

LEADS, CELLS = ("I", "V1"), ("P", "QRS", "T")


# ---------------------------------------------------------------- Attribution


def test_attribution_has_four_axes_and_an_error_alike():
    values = np.zeros((2, 1, 12, 50), np.float32)
    assert Attribution(values, values).error is values
    with pytest.raises(SignalError, match="batch, target, lead, time"):
        Attribution(values[0])
    with pytest.raises(SignalError, match="error"):
        Attribution(values, values[:1])


# ---------------------------------------------------------------- Explanation


def explanation(**change) -> Explanation:
    given = {
        "values": np.arange(200, dtype=np.float32).reshape(2, 100), "fs": 50.0, "leads": LEADS, "record_id": "r1",
        "target": "MI", "target_row": np.array([0.0, 1.0]), "outputs": ("NORM", "MI"), "method": "saliency",
    }  # fmt: skip
    return Explanation(**(given | change))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"values": np.zeros((3, 10), np.float32)}, "2 leads"),
        ({"values": np.zeros(10, np.float32)}, "2 leads"),
        ({"values": np.full((2, 10), np.nan, np.float32)}, "not finite"),
        ({"target_row": np.array([1.0])}, "one per output"),
        ({"verdict": "believed"}, "passes, fails, not tested"),
    ],
)
def test_explanation_is_checked_at_birth(change, match):
    with pytest.raises(SignalError, match=match) as caught:
        explanation(**change)
    assert caught.value.where == "explanation of r1"


def test_explanation_is_not_believed_until_tested():
    assert explanation().verdict == NOT_TESTED


def test_lead_by_name():
    made = explanation()
    np.testing.assert_array_equal(made["C1"], made.values[1])
    with pytest.raises(SignalError, match="no V2"):
        made["V2"]


def test_map_lands_on_the_ecg_grid_linear_in_time_and_zero_where_nothing_was_seen():
    made = explanation(start=2.0)  # samples from 2 s to 3.98 s
    ecg = ECG(np.zeros((3, 600)), fs=100, leads=("V1", "II", "I"), start=0.0)
    on_grid = made.to_ecg_grid(ecg)
    inside = (ecg.times >= 2.0 - 1e-9) & (ecg.times <= 3.98 + 1e-9)
    # value k of lead I lies at 2 + k / 50 s, so at time t it is 50 (t - 2)
    np.testing.assert_allclose(on_grid[2, inside], 50 * (ecg.times[inside] - 2), atol=1e-4)
    np.testing.assert_allclose(on_grid[0, inside], 100 + 50 * (ecg.times[inside] - 2), atol=1e-4)
    assert not on_grid[:, ~inside].any()
    assert not on_grid[1].any()
    assert (on_grid.dtype, on_grid.shape) == (np.float32, ecg.signal.shape)


def test_shares_sum_to_one_and_an_empty_map_to_zero():
    shares = explanation(values=np.array([[1.0, -1.0], [0.0, -2.0]], np.float32)).share_by_lead()
    assert shares == {"I": 0.5, "V1": 0.5}
    assert explanation(values=np.zeros((2, 5), np.float32)).share_by_lead() == {"I": 0.0, "V1": 0.0}


def test_explanation_survives_pickling():
    again = pickle.loads(pickle.dumps(explanation(parameters={"n": 3})))
    assert (again.target, dict(again.parameters)) == ("MI", {"n": 3})


# ---------------------------------------------------------------- CohortExplanation


def empty(**change) -> CohortExplanation:
    return CohortExplanation(**({"target": "MI", "method": "saliency", "leads": LEADS, "cells": CELLS} | change))


def records(n: int = 12, seed: int = 0) -> list[tuple[str, str, np.ndarray]]:
    """Each of n / 3 patients three times; some beats without P; values of very different size."""
    draw = np.random.default_rng(seed)
    made = []
    for i in range(n):
        values = draw.normal(size=(4 + i % 3, 2, 3)) * 10.0 ** draw.integers(-6, 7)
        values[draw.random(len(values)) < 0.3, :, 0] = np.nan
        made.append((f"r{i}", f"p{i // 3}", values))
    return made


def summarised(*parts: list[tuple[str, str, np.ndarray]]) -> Summary:
    whole = empty()
    for part in parts:
        worker = empty()
        for record in part:
            worker.update(*record)
        whole.merge(worker)
    return whole.compute(n_resamples=200)


def assert_identical(a: Summary, b: Summary) -> None:
    for f in fields(Summary):
        x, y = getattr(a, f.name), getattr(b, f.name)
        assert x.tobytes() == y.tobytes() if isinstance(x, np.ndarray) else x == y, f.name


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order_of_records_and_workers_gives_the_same_bits(order):
    made = records()
    thirds = [made[i::3] for i in range(3)]
    assert_identical(summarised(*(thirds[i] for i in order)), summarised(made[::-1]))


def test_mean_and_spread_are_over_beats_and_skip_missing_cells():
    made = records()
    summary = summarised(made)
    beats = np.concatenate([values for _, _, values in made])
    np.testing.assert_allclose(summary.mean, np.nanmean(beats, axis=0), rtol=1e-9)
    np.testing.assert_allclose(summary.spread, np.nanstd(beats, axis=0), rtol=1e-6)
    assert (summary.n_beats, summary.n_records, summary.n_patients) == (len(beats), 12, 4)


def test_a_cell_that_nobody_has_is_nan_and_not_zero():
    summary = summarised([(r, p, np.where(np.arange(3) == 0, np.nan, v)) for r, p, v in records()])
    for array in (summary.mean, summary.spread, summary.low, summary.high):
        assert np.isnan(array[:, 0]).all()
        assert np.isfinite(array[:, 1:]).all()


def test_one_patient_gives_a_mean_but_no_interval():
    made = records(6)
    for _, patient, values in made:
        if patient == "p1":
            values[:, :, 2] = np.nan  # T was seen in p0 only
    summary = summarised(made)
    assert np.isfinite(summary.mean).all()
    assert np.isnan(summary.low[:, 2]).all()
    assert np.isnan(summary.high[:, 2]).all()
    assert np.isfinite(summary.low[:, 1]).all()
    assert np.isnan(summarised(made[:3]).low).all()


def test_interval_contains_the_mean_and_counts_patients_not_beats():
    draw = np.random.default_rng(1)
    people = draw.normal(5.0, 1.0, 40)
    made = [
        (f"r{i}-{k}", f"p{i}", np.full((30, 2, 3), person) + 0.01 * draw.normal(size=(30, 2, 3)))
        for i, person in enumerate(people)
        for k in range(2)
    ]
    summary = summarised(made)
    assert ((summary.low < summary.mean) & (summary.mean < summary.high)).all()
    # 40 people, sd 1: a 95 % interval is about 4 x sd / sqrt(40) wide; of 2400 beats it would be 8 times narrower
    expected = 2 * 1.96 * people.std() / np.sqrt(40)
    np.testing.assert_allclose(summary.high - summary.low, expected, rtol=0.25)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = []
    for trial in range(60):
        draw = np.random.default_rng(trial)
        whole = CohortExplanation("MI", "m", leads=("I",), cells=("QRS",))
        for i in range(30):
            values = draw.normal(0.0, 1.0) + 0.1 * draw.normal(size=(5, 1, 1))
            whole.update(f"r{i}", f"p{i}", values)
        summary = whole.compute(n_resamples=300, seed=trial)
        hits.append(bool(summary.low[0, 0] <= 0.0 <= summary.high[0, 0]))
    assert 0.83 <= np.mean(hits) <= 1.0


def test_a_record_counts_once():
    whole = empty()
    record = records(1)[0]
    whole.update(*record)
    other = empty()
    other.exclude("r0", "flat")
    for again in (
        lambda: whole.update(*record),
        lambda: whole.exclude("r0", "flat"),
        lambda: whole.merge(other),
        lambda: other.update(*record),
        lambda: other.merge(whole),
        lambda: whole.merge(whole),
    ):
        with pytest.raises(SignalError, match="a second time") as caught:
            again()
        assert caught.value.kind == "duplicate_record"


def test_who_was_left_out_and_why():
    whole = empty()
    whole.update(*records(1)[0])
    whole.update("r8", "p8", np.zeros((0, 2, 3)))
    whole.exclude("r7", "gap of 3 s")
    summary = whole.compute(n_resamples=50)
    assert dict(summary.excluded) == {"r7": "gap of 3 s", "r8": "no beats"}
    assert summary.n_records == 1


@pytest.mark.parametrize(
    "change", [{"target": "CD"}, {"method": "lrp"}, {"leads": ("V1", "I")}, {"cells": ("P", "QRS", "ST")}]
)
def test_merging_another_grid_is_refused(change):
    with pytest.raises(SignalError, match="grid"):
        empty().merge(empty(**change))


def test_values_are_checked():
    with pytest.raises(SignalError, match="2 leads, 3 cells"):
        empty().update("r", "p", np.zeros((4, 3, 2)))
    with pytest.raises(SignalError, match="infinite"):
        empty().update("r", "p", np.full((4, 2, 3), np.inf))


def test_nothing_to_compute_is_an_error():
    with pytest.raises(SignalError, match="none") as caught:
        empty().compute()
    assert caught.value.kind == "empty"


def test_partial_result_comes_back_from_a_worker():
    worker = empty()
    for record in records():
        worker.update(*record)
    whole = empty()
    whole.merge(pickle.loads(pickle.dumps(worker)))
    assert_identical(whole.compute(n_resamples=100), worker.compute(n_resamples=100))
