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


Record = tuple[str, str, np.ndarray, int, float]


def records(n: int = 12, seed: int = 0) -> list[Record]:
    """Each of n / 3 patients three times; some records without P; values of very different size."""
    draw = np.random.default_rng(seed)
    made = []
    for i in range(n):
        values = draw.normal(size=(2, 3)) * 10.0 ** draw.integers(-6, 7)
        values[:, 0] = np.where(draw.random() < 0.3, np.nan, values[:, 0])
        made.append((f"r{i}", f"p{i // 3}", values, 4 + i % 3, float(draw.uniform(0.5, 2.0))))
    return made


def add(whole: CohortExplanation, record: Record) -> None:
    record_id, patient, values, n_beats, level = record
    whole.update(record_id, patient, values, n_beats=n_beats, level=level)


def summarised(*parts: list[Record]) -> Summary:
    whole = empty()
    for part in parts:
        worker = empty()
        for record in part:
            add(worker, record)
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


def test_mean_spread_band_and_lift_are_over_records_and_skip_missing_cells():
    made = records()
    summary = summarised(made)
    values = np.stack([record[2] for record in made])
    levels = np.where(np.isnan(values), np.nan, np.array([record[4] for record in made])[:, None, None])
    np.testing.assert_allclose(summary.mean, np.nanmean(values, axis=0), rtol=1e-9)
    np.testing.assert_allclose(summary.spread, np.nanstd(values, axis=0), rtol=1e-6)
    np.testing.assert_allclose(summary.band_high, np.nanquantile(values, 0.95, axis=0), rtol=1e-9)
    np.testing.assert_allclose(summary.lift, np.nanmean(values, axis=0) / np.nanmean(levels, axis=0), rtol=1e-9)
    assert (summary.n_beats, summary.n_records, summary.n_patients) == (60, 12, 4)
    assert summary.n[:, 0].tolist() == [np.isfinite(values[:, 0, 0]).sum()] * 2


def test_a_cell_that_nobody_has_is_nan_and_not_zero():
    summary = summarised([(r, p, np.where(np.arange(3) == 0, np.nan, v), n, x) for r, p, v, n, x in records()])
    for array in (summary.mean, summary.spread, summary.low, summary.high, summary.lift, summary.band_low):
        assert np.isnan(array[:, 0]).all()
        assert np.isfinite(array[:, 1:]).all()
    assert (summary.n[:, 0] == 0).all()


def test_one_patient_gives_a_mean_but_no_interval():
    made = records(6)
    for _, patient, values, _, _ in made:
        if patient == "p1":
            values[:, 2] = np.nan  # T was seen in p0 only
    summary = summarised(made)
    assert np.isfinite(summary.mean[:, 1:]).all()
    assert np.isnan(summary.low[:, 2]).all()
    assert np.isnan(summary.lift_high[:, 2]).all()
    assert np.isfinite(summary.low[:, 1]).all()
    assert np.isnan(summarised(made[:3]).low).all()


def test_interval_contains_the_mean_and_counts_patients_not_records():
    draw = np.random.default_rng(1)
    people = draw.normal(5.0, 1.0, 40)
    made = [
        (f"r{i}-{k}", f"p{i}", np.full((2, 3), person) + 0.01 * draw.normal(size=(2, 3)), 9, 1.0)
        for i, person in enumerate(people)
        for k in range(30)
    ]
    summary = summarised(made)
    assert ((summary.low < summary.mean) & (summary.mean < summary.high)).all()
    # 40 people, sd 1: a 95 % interval is about 4 x sd / sqrt(40) wide; of 1200 records it would be 5 times narrower
    expected = 2 * 1.96 * people.std() / np.sqrt(40)
    np.testing.assert_allclose(summary.high - summary.low, expected, rtol=0.25)
    np.testing.assert_allclose(summary.lift_high, summary.high, rtol=1e-9)  # every level is 1


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = []
    for trial in range(60):
        draw = np.random.default_rng(trial)
        whole = CohortExplanation("MI", "m", leads=("I",), cells=("QRS",))
        for i in range(30):
            whole.update(f"r{i}", f"p{i}", draw.normal(size=(1, 1)), n_beats=9, level=1.0)
        summary = whole.compute(n_resamples=300, seed=trial)
        hits.append(bool(summary.low[0, 0] <= 0.0 <= summary.high[0, 0]))
    assert 0.83 <= np.mean(hits) <= 1.0


def test_a_record_counts_once():
    whole = empty()
    record = records(1)[0]
    add(whole, record)
    other = empty()
    other.exclude("r0", "flat")
    for again in (
        lambda: add(whole, record),
        lambda: whole.exclude("r0", "flat"),
        lambda: whole.merge(other),
        lambda: add(other, record),
        lambda: other.merge(whole),
        lambda: whole.merge(whole),
    ):
        with pytest.raises(SignalError, match="a second time") as caught:
            again()
        assert caught.value.kind == "duplicate_record"


def test_who_was_left_out_and_why():
    whole = empty()
    add(whole, records(1)[0])
    whole.update("r8", "p8", np.full((2, 3), np.nan), n_beats=0, level=1.0)
    whole.exclude("r7", "gap of 3 s")
    summary = whole.compute(n_resamples=50)
    assert dict(summary.excluded) == {"r7": "gap of 3 s", "r8": "no beats"}
    assert summary.n_records == 1


def test_some_of_the_records():
    whole = empty()
    for record in records():
        add(whole, record)
    some = whole.rows(["r3", "r11", "nobody"])
    assert some.record_ids == ("r11", "r3")  # by name
    assert some.patients == ("p3", "p1")
    np.testing.assert_array_equal(some.values[1], records()[3][2])
    assert len(whole) == 12


@pytest.mark.parametrize(
    "change", [{"target": "CD"}, {"method": "lrp"}, {"leads": ("V1", "I")}, {"cells": ("P", "QRS", "ST")}]
)
def test_merging_another_grid_is_refused(change):
    with pytest.raises(SignalError, match="grid"):
        empty().merge(empty(**change))


def test_values_are_checked():
    with pytest.raises(SignalError, match="2 leads, 3 cells"):
        empty().update("r", "p", np.zeros((3, 2)), n_beats=1, level=1.0)
    for values, level in ((np.inf, 1.0), (1.0, np.nan)):
        with pytest.raises(SignalError, match="infinite"):
            empty().update("r", "p", np.full((2, 3), values), n_beats=1, level=level)


def test_nothing_to_compute_is_an_error():
    with pytest.raises(SignalError, match="none") as caught:
        empty().compute()
    assert caught.value.kind == "empty"


def test_partial_result_comes_back_from_a_worker():
    worker = empty()
    for record in records():
        add(worker, record)
    whole = empty()
    whole.merge(pickle.loads(pickle.dumps(worker)))
    assert_identical(whole.compute(n_resamples=100), worker.compute(n_resamples=100))
