# SPDX-License-Identifier: Apache-2.0
"""Matching of events: one to one, nearest first, and figures that follow from the counts."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.statistics.matching import count_matches, event_scores, match_events


def nearest_first(found, marked, tolerance):
    """Derive the pairs the slow way: the closest pair of all, then the closest of the rest, and so on."""
    pairs, a, b = [], set(range(len(found))), set(range(len(marked)))
    while a and b:
        distance, i, j = min((abs(found[i] - marked[j]), i, j) for i in a for j in b)
        if distance > tolerance:
            break
        pairs.append((i, j))
        a.remove(i)
        b.remove(j)
    return sorted(pairs)


def test_pairs_are_those_of_always_taking_the_closest():
    generator = np.random.default_rng(0)
    for _ in range(200):
        found, marked = (np.sort(generator.uniform(0, 3, generator.integers(0, 12))) for _ in range(2))
        assert list(map(tuple, match_events(found, marked, 0.2))) == nearest_first(found, marked, 0.2)


def test_one_found_event_is_not_counted_for_two_marks():
    counts = count_matches([1.0], [0.95, 1.04], 0.15)
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == (1, 0, 1)
    np.testing.assert_allclose(counts.errors, [-0.04])


def test_the_tolerance_itself_is_inside():
    assert count_matches([1.15], [1.0], 0.15).true_positives == 1
    assert count_matches([1.151], [1.0], 0.15).true_positives == 0


def test_an_edge_does_not_part_a_pair_and_what_is_left_out_does_not_count():
    found, marked = [4.99, 6.0, 7.0, 9.0], [5.01, 6.5, 8.0]
    counts = count_matches(found, marked, 0.1, start=5.0, stop=8.5, left_out=[(6.4, 6.6), (6.9, 7.1)])
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == (1, 1, 1)


def test_figures_follow_from_the_counts_and_intervals_hold_them():
    generator = np.random.default_rng(1)
    marked = [np.arange(1, 30.0) for _ in range(40)]
    found = [np.sort(times[generator.random(29) < 0.9] + generator.normal(0.01, 0.02)) for times in marked]
    matches = [count_matches(a, b) for a, b in zip(found, marked, strict=True)]
    table = event_scores(matches, np.arange(40) // 2, n_resamples=300).set_index("metric")
    tp = sum(len(times) for times in found)
    assert table.loc["sensitivity", "value"] == pytest.approx(tp / (40 * 29))
    assert table.loc["ppv", "value"] == 1.0
    assert table.loc["f1", "value"] == pytest.approx(2 * tp / (tp + 40 * 29))
    errors = np.concatenate([record.errors for record in matches])
    assert table.loc["error_mean", "value"] == pytest.approx(errors.mean())
    assert table.loc["error_sd", "value"] == pytest.approx(errors.std())
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert table.loc["f1", "n_patients"] == 20


def test_nothing_marked_and_nothing_found_is_not_a_figure():
    table = event_scores([count_matches([], [])], ["a"], n_resamples=50)
    assert table["value"].isna().all()


def test_times_out_of_order_are_refused():
    with pytest.raises(UsageError, match="in order"):
        match_events([2.0, 1.0], [1.0], 0.1)
