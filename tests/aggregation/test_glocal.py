# SPDX-License-Identifier: Apache-2.0
"""A cohort averaged: the same as by hand, in any order; who is left out; what is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.aggregation import marks as marks_module
from ecglens.aggregation.glocal import BEAT, Averaging, Glocal, aggregate, refuse_other_data
from ecglens.aggregation.marks import mark
from ecglens.aggregation.tables import as_dict, cell_rows, sentence, table_rows
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import InputError, UsageError
from ecglens.explainers.cohort import explain_cohort
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explainers.methods import find_methods
from ecglens.reporting.glocal import glocal_report
from ecglens.reporting.html import render
from ecglens.runs.cache import Cache
from ecglens.segments import SEGMENTS, segment_probabilities

FAST = Averaging(n_shifts=200, n_resamples=200)


@pytest.fixture(scope="package")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("marks"))


@pytest.fixture(scope="package")
def averaged(explained: ExplainedCohort, small_cohort: Cohort, cache: Cache) -> Glocal:
    return aggregate(explained, small_cohort, ["MI"], "saliency", FAST, cache=cache)[0][0]


def labelled(cohort: Cohort, name: str) -> list[int]:
    return [k for k in range(len(cohort)) if cohort.labels[name].iloc[k] == 1]


def test_the_average_is_that_of_a_loop(averaged: Glocal, explained: ExplainedCohort, small_cohort: Cohort) -> None:
    """Sample by sample: the sum of |map| x weight over the sum of weights, then the mean over records."""
    r, c = averaged.leads.index("V2"), SEGMENTS.index("R_peak")
    own, levels = [], []
    for k in labelled(small_cohort, "MI"):
        name = small_cohort.record_ids[k]
        explanation = explained.explanation(name, "MI", "saliency")
        marked = mark(small_cohort[k])
        soft = segment_probabilities(marked.marks, explanation.times, marked.deviation)[r, :, c].astype(float)
        values = np.abs(explanation.values[r].astype(float))
        own.append(sum(v * w for v, w in zip(values, soft, strict=True)) / soft.sum())
        levels.append(np.abs(explanation.values.astype(float)).mean())
    assert averaged.summary.n_records == len(own)
    assert averaged.summary.mean[r, c] == pytest.approx(np.mean(own), rel=1e-5)
    assert averaged.summary.lift[r, c] == pytest.approx(np.mean(own) / np.mean(levels), rel=1e-5)
    np.testing.assert_allclose(
        averaged.null.observed()[np.isfinite(averaged.summary.mean)],
        averaged.summary.mean[np.isfinite(averaged.summary.mean)], rtol=2e-3,
    )  # fmt: skip


def test_any_order_of_the_cohort_gives_the_same_bits(
    averaged: Glocal, explained: ExplainedCohort, small_cohort: Cohort, cache: Cache
) -> None:
    order = np.random.default_rng(0).permutation(len(small_cohort))
    again = aggregate(explained, small_cohort.take(order), ["CD", "MI"], "saliency", FAST, cache=cache)[0][1]
    for name in ("p", "q", "rank"):
        assert getattr(again, name).tobytes() == getattr(averaged, name).tobytes()
    for name in ("mean", "low", "high", "lift"):
        assert getattr(again.summary, name).tobytes() == getattr(averaged.summary, name).tobytes()
    assert again.against is not None
    assert averaged.against is not None
    assert again.against.p.tobytes() == averaged.against.p.tobytes()


def test_marks_are_found_once(
    averaged: Glocal, small_cohort: Cohort, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = mark(small_cohort[0])
    assert mark(small_cohort[0], cache).marks.n_beats == fresh.marks.n_beats
    monkeypatch.setattr(marks_module, "_mark", None)
    kept = mark(small_cohort[0], cache)
    np.testing.assert_allclose(kept.marks.times, fresh.marks.times, atol=1e-5)
    np.testing.assert_allclose(kept.usual, fresh.usual, atol=1e-5)
    assert (kept.why_not, dict(kept.marks.absent)) == (fresh.why_not, dict(fresh.marks.absent))


def test_phases_of_the_beat(explained: ExplainedCohort, small_cohort: Cohort, cache: Cache) -> None:
    how = replace(FAST, by=BEAT)
    found = aggregate(explained, small_cohort, ["MI"], "saliency", how, cache=cache)[0][0]
    assert found.summary.mean.shape == (12, 80)
    assert found.trace is not None
    r = found.leads.index("II")
    assert abs(int(found.cells[int(found.trace.mean_beat[r].argmax())])) <= 40  # R of II at the beat
    assert (found.trace.band_low <= found.trace.median_beat).all()
    assert "80 ms" in render(glocal_report([found], {}, "simulated")) or "ms" in sentence(found)


def test_who_is_left_out(explained: ExplainedCohort, small_cohort: Cohort, cache: Cache) -> None:
    """A record without beats and one with too few, each by name and reason; the others stay."""
    records = list(small_cohort.records)
    first, second = labelled(small_cohort, "MI")[:2]
    flat = np.zeros_like(records[first].signal)
    records[first] = replace(records[first], signal=flat)
    records[second] = replace(records[second], signal=np.where(np.arange(5000) < 700, records[second].signal, flat))
    cohort = replace(small_cohort, records=records)
    names = [small_cohort.record_ids[k] for k in (first, second)]
    found = aggregate(explained, cohort, ["MI"], "saliency", FAST, cache=cache)[0][0]
    assert found.excluded == {names[0]: "no beats", names[1]: "fewer than 3 beats"}
    assert found.summary.n_records == len(labelled(small_cohort, "MI")) - 2


def test_few_records_are_refused_and_other_targets_go_on(
    explained: ExplainedCohort, small_cohort: Cohort, cache: Cache
) -> None:
    labels = small_cohort.labels.copy()
    labels.iloc[labelled(small_cohort, "CD")[5:], labels.columns.get_loc("CD")] = 0.0
    cohort = replace(small_cohort, labels=labels)
    with pytest.raises(InputError, match="at least 20 records and 10 patients") as caught:
        aggregate(explained, cohort, ["CD"], "saliency", FAST, cache=cache)
    assert caught.value.kind == "too_few"
    found, left_out = aggregate(explained, cohort, ["CD", "NORM"], "saliency", FAST, cache=cache)
    assert [one.target for one in found] == ["NORM"]
    assert "5 records" in left_out["CD"]


def test_a_group_that_is_too_small_costs_the_comparison_and_not_the_target(
    explained: ExplainedCohort, small_cohort: Cohort, cache: Cache, averaged: Glocal
) -> None:
    for compare in ("sex", "age:65", "correct"):
        (found,), left_out = aggregate(
            explained, small_cohort, ["MI"], "saliency", replace(FAST, compare=compare), cache=cache
        )
        assert (found.groups, left_out) == ((), {})
        np.testing.assert_array_equal(found.summary.mean, averaged.summary.mean)
        (few,) = found.not_compared
        assert few.n_a + few.n_b <= found.summary.n_records
        assert "at least 20 records and 10 patients" in few.reason
        assert as_dict(found)["not_compared"] == [vars(few)]
        page = render(glocal_report([found], {}, "simulated"))
        assert f"Not compared: {few.a} ({few.n_a} records of {few.n_patients_a} patients)" in page
    sex = small_cohort.metadata["sex"].loc[small_cohort.labels["MI"] == 1]
    (found,), _ = aggregate(explained, small_cohort, ["MI"], "saliency", replace(FAST, compare="sex"), cache=cache)
    (few,) = found.not_compared
    assert (few.n_a, few.n_b) == ((sex == "female").sum(), (sex == "male").sum())
    nobody = replace(small_cohort, metadata=small_cohort.metadata.assign(device=None))
    with pytest.raises(InputError, match="no device is known"):
        aggregate(explained, nobody, ["MI"], "saliency", replace(FAST, compare="device"), cache=cache)


def test_runs_with_few_records_or_people_in_common_are_not_compared(
    explained: ExplainedCohort, small_cohort: Cohort, cache: Cache
) -> None:
    mine = [small_cohort.record_ids[k] for k in labelled(small_cohort, "MI")]
    for kept in (0, 19, 20):
        gone = mine[kept:]
        other = replace(explained, maps=explained.maps.drop(index=gone, level="record_id"))
        (found,), _ = aggregate(explained, small_cohort, ["MI"], "saliency", FAST, cache=cache, other=other)
        assert found.summary.n_records == len(mine)
        if kept == 20:
            assert (found.groups[0].n_a, found.groups[0].n_left_out, found.not_compared) == (20, len(mine) - 20, ())
        else:
            (few,) = found.not_compared
            assert (found.groups, few.a, few.n_a, few.n_b) == ((), "this run", kept, kept)
    people = explained.records.index.to_series().where(~explained.records.index.isin(mine[:13]), "one")
    crowd = replace(explained, records=explained.records.assign(patient=people))
    other = replace(explained, maps=explained.maps.drop(index=mine[20:], level="record_id"))
    (found,), _ = aggregate(crowd, small_cohort, ["MI"], "saliency", FAST, cache=cache, other=other)
    assert (found.not_compared[0].n_a, found.not_compared[0].n_patients_a) == (20, 8)


def test_few_normal_records_cost_the_comparison_with_them(
    explained: ExplainedCohort, small_cohort: Cohort, cache: Cache
) -> None:
    labels = small_cohort.labels
    names = list(labels.index[(labels["NORM"] == 1) & (labels["MI"] == 0)])
    for gone, left in ((len(names) - 20, 20), (len(names) - 19, 19)):
        lost = replace(explained, maps=explained.maps.drop(index=names[:gone], level="record_id"))
        (found,), _ = aggregate(lost, small_cohort, ["MI"], "saliency", FAST, cache=cache)
        if left >= 20:
            assert found.against is not None
            assert (found.against.n_b, found.against.n_left_out, found.not_compared) == (left, gone, ())
        else:
            assert found.against is None
            assert (found.not_compared[0].b, found.not_compared[0].n_b) == ("NORM", left)


def test_words_that_are_not_known(explained: ExplainedCohort, small_cohort: Cohort) -> None:
    for how, targets in (
        (replace(FAST, select="some"), ["MI"]), (replace(FAST, compare="height"), ["MI"]), (FAST, ["IMI"]),
        (replace(FAST, compare="age:old"), ["MI"]),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            aggregate(explained, small_cohort, targets, "saliency", how)
    with pytest.raises(UsageError):
        Averaging(by="lead")


def test_groups_and_another_run(
    explained: ExplainedCohort, small_cohort: Cohort, cache: Cache, bundle: Bundle, tmp_path: Path
) -> None:
    cohort = replace(small_cohort, labels=small_cohort.labels.assign(MI=1.0))
    found = aggregate(explained, cohort, ["MI"], "saliency", replace(FAST, compare="sex"), cache=cache)[0][0]
    (between,) = found.groups
    sexes = small_cohort.metadata["sex"].value_counts()
    assert (between.a, between.b) == ("female", "male")
    assert (between.n_a, between.n_b) == (sexes["female"], sexes["male"])
    same = aggregate(explained, cohort, ["MI"], "saliency", FAST, cache=cache, other=explained)[0][0]
    assert not same.groups[0].differs().any()
    assert np.nanmax(np.abs(same.groups[0].value)) == 0.0
    other = explain_cohort(bundle, small_cohort.take(range(4)), ["CD"], find_methods("random", {}), tmp_path / "random")
    for targets, method, word in ((["MI"], "random", "targets"), (["CD"], "saliency", "methods")):
        with pytest.raises(UsageError, match=word):
            refuse_other_data(other, explained, targets, method)
    refuse_other_data(other, explained, ["CD"], "random")


def test_top_and_predicted(explained: ExplainedCohort, small_cohort: Cohort, cache: Cache) -> None:
    top = aggregate(explained, small_cohort, ["MI"], "saliency", replace(FAST, select="top100"), cache=cache)[0][0]
    assert top.summary.n_records == len(small_cohort)  # fewer than 100
    assert not top.excluded
    p = explained.records["probability MI"].astype(float)
    first = str(p.idxmax())
    passed = replace(explained, maps=explained.maps.drop(index=first, level="record_id"))
    found = aggregate(passed, small_cohort, ["MI"], "saliency", replace(FAST, select="top100"), cache=cache)[0][0]
    assert found.excluded == {first: "not explained"}  # it would be among them
    assert found.summary.n_records == len(small_cohort) - 1
    for target in small_cohort.classes:
        called = explained.called(target)
        if len(called) >= 30:
            found = aggregate(explained, small_cohort, [target], "saliency", replace(FAST, select="predicted"),
                              cache=cache)[0][0]  # fmt: skip
            assert found.summary.n_records == len(called)


def test_what_is_told(averaged: Glocal) -> None:
    told = as_dict(averaged)
    assert {"target", "method", "n_records", "n_patients", "excluded", "cells"} <= set(told)
    rows = cell_rows(averaged)
    assert len(rows) == 12 * 24
    assert set(rows[0]) == {"lead", "segment", "value", "low", "high", "lift", "q", "rank"}
    known = sorted(row["rank"] for row in rows if row["rank"] is not None)
    assert known == list(range(1, len(known) + 1))
    largest = max((row for row in rows if row["value"] is not None), key=lambda row: row["value"])
    assert largest["rank"] == 1
    for row in rows:
        assert (row["value"] is None) == (row["rank"] is None) == (row["lift"] is None)
    assert all(row["n"] >= 20 for row in table_rows(averaged) if row["value"] is not None)
    page = render(glocal_report([averaged], {"CD": "too few"}, "simulated"))
    for words in ("NOT TESTED", "MI against NORM", "Shift null", "too few"):
        assert words in page
