# SPDX-License-Identifier: Apache-2.0
"""Errors of verification and ranks of identification, against counting by hand, drawn galleries and other formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import interval
from ecglens.statistics.identification import (
    OpenSet,
    Ranked,
    chance,
    detection_and_identification,
    gallery_curve,
    identification,
    open_set,
    random_gallery_hits,
    ranked,
)
from ecglens.statistics.people import mean_over_people, numbered_on, people_drawn
from ecglens.statistics.verification import (
    Trials,
    equal_error_rate,
    error_rates,
    fnmr_at,
    joined,
    pair_weights,
    pairs,
    person_weights,
    verification,
)


def some_trials(seed: int = 0, n: int = 300, people: int = 12, decimals: int = 2) -> Trials:
    random = np.random.default_rng(seed)
    first, second = random.integers(people, size=(2, n))
    return Trials(np.round(random.normal(first == second, 1.0), decimals), first, second)


def rates_by_hand(trials: Trials, threshold: float, weights: np.ndarray | None = None) -> tuple[float, float]:
    weights = np.ones(len(trials.scores)) if weights is None else weights
    accepted = impostors = refused = own = 0.0
    for score, first, second, weight in zip(trials.scores, trials.first, trials.second, weights, strict=True):
        if first == second:
            own += weight
            refused += weight * (score < threshold)
        else:
            impostors += weight
            accepted += weight * (score >= threshold)
    return accepted / impostors, refused / own


def test_both_errors_are_counted_at_each_threshold():
    trials = some_trials()
    found = error_rates(trials)
    assert found.thresholds[0] == np.inf
    assert found.thresholds[1:].tolist() == sorted(set(trials.scores.tolist()), reverse=True)
    for threshold, fmr, fnmr in zip(*found, strict=True):
        assert (fmr, fnmr) == pytest.approx(rates_by_hand(trials, threshold), abs=1e-12)
    fpr, tpr, _ = roc_curve(trials.genuine, trials.scores, drop_intermediate=False)
    np.testing.assert_allclose(found.fmr, fpr)
    np.testing.assert_allclose(found.fnmr, 1 - tpr, atol=1e-12)


def test_the_equal_error_rate_is_where_the_curves_cross():
    trials = some_trials(1)
    fpr, tpr, _ = roc_curve(trials.genuine, trials.scores, drop_intermediate=False)
    # Independent: the straight pieces of the ROC curve meet the line tpr = 1 - fpr in exactly one point.
    grid = np.linspace(0, 1, 200_001)
    height = np.interp(grid, *map(np.asarray, zip(*[(f, t) for f, t in _last_of_each(fpr, tpr)], strict=True)))
    expected = grid[np.argmin(np.abs(height - (1 - grid)))]
    vertical = _vertical_crossing(fpr, tpr)
    assert equal_error_rate(trials) == pytest.approx(expected if vertical is None else vertical, abs=2e-5)


def _last_of_each(fpr, tpr):
    return [(f, max(t for g, t in zip(fpr, tpr, strict=True) if g == f)) for f in sorted(set(fpr))]


def _vertical_crossing(fpr, tpr):
    for f in set(fpr):
        heights = [t for g, t in zip(fpr, tpr, strict=True) if g == f]
        if min(heights) <= 1 - f <= max(heights) and len(heights) > 1:
            return f
    return None


def test_of_two_normal_distributions_the_equal_error_rate_is_known():
    random = np.random.default_rng(3)
    n, shift = 60_000, 2.0
    scores = np.concatenate([random.normal(shift, 1, n), random.normal(0, 1, n)])
    people = np.zeros(2 * n, int)
    trials = Trials(scores, people, np.repeat([0, 1], n))
    assert equal_error_rate(trials) == pytest.approx(norm.cdf(-shift / 2), abs=0.004)
    assert fnmr_at(trials, 0.01) == pytest.approx(norm.cdf(norm.ppf(0.99) - shift), abs=0.01)


def test_separated_reversed_and_constant_scores():
    first, second = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 2])
    assert equal_error_rate(Trials([2, 2, 1, 1], first, second)) == 0
    assert equal_error_rate(Trials([1, 1, 2, 2], first, second)) == 1
    assert equal_error_rate(Trials([1, 1, 1, 1], first, second)) == 0.5  # says nothing: chance


def test_the_lowest_miss_rate_that_keeps_to_a_false_match_rate():
    trials = some_trials(2, n=600)
    expected = min(fnmr for fmr, fnmr in (rates_by_hand(trials, t) for t in set(trials.scores)) if fmr <= 0.05)
    assert fnmr_at(trials, 0.05) == pytest.approx(expected, abs=1e-12)
    impostors = int((~trials.genuine).sum())
    assert np.isnan(fnmr_at(trials, 2.99 / impostors))
    assert not np.isnan(fnmr_at(trials, 3.01 / impostors))
    for wrong in (0.0, 1.0):
        with pytest.raises(UsageError, match="fmr"):
            fnmr_at(trials, wrong)


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_rows_of_one_kind_of_score_taken_as_one_step_change_no_figure(levels: int):
    """Each resample by sums over every score, each kind by itself; of few people some resamples lack a kind."""
    for seed in range(12):
        random, people = np.random.default_rng(seed), np.repeat(np.arange(3), 7 + seed % 5)
        alike = random.integers(levels, size=(len(people), len(people))) + (people == people[:, None]) * levels // 3
        trials = pairs(alike.astype(float), people)
        told = verification(trials, fmrs=(0.2,), n_resamples=60, seed=seed)
        each_person = person_weights(trials)
        resampled: dict[str, list[float]] = {name: [] for name in told}
        for row in people_drawn(3, 60, seed):
            weights = pair_weights(trials, row[None])[0]
            fmr, fnmr = rates_of_all(trials, weights)
            resampled["eer"].append(crossing(fmr, fnmr))
            resampled["eer_each_person"].append(crossing(*rates_of_all(trials, weights * each_person)))
            lowest = np.where(fmr <= 0.2, fnmr, np.inf).min()
            resampled["fnmr_at_0.2"].append(lowest if np.isfinite(lowest) else np.nan)
        for name, values in resampled.items():
            expected = interval(np.array(values))
            assert expected.usable < 60  # one person alone has no impostor
            assert f"{expected.usable} of 60" in told[name].method, name
            assert (told[name].low, told[name].high) == pytest.approx((expected.low, expected.high), abs=1e-9), name
        assert equal_error_rate(trials) == pytest.approx(
            crossing(*rates_of_all(trials, np.ones(len(trials.scores)))), abs=1e-9
        )


def rates_of_all(trials: Trials, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FMR and FNMR at every threshold, most alike first; NaN without a kind of trial."""
    cuts = [np.inf, *sorted(set(trials.scores.tolist()), reverse=True)]
    accepted = trials.scores[None] >= np.array(cuts)[:, None]
    own, others = np.where(trials.genuine, weights, 0), np.where(trials.genuine, 0, weights)
    if not own.any() or not others.any():
        return np.full(len(cuts), np.nan), np.full(len(cuts), np.nan)
    return accepted @ others / others.sum(), 1 - accepted @ own / own.sum()


def crossing(fmr: np.ndarray, fnmr: np.ndarray) -> float:
    if np.isnan(fmr).any():
        return float("nan")
    after = int(np.argmax(fmr - fnmr >= -1e-12))
    low, high = (fmr - fnmr)[[after - 1, after]]
    return float(fmr[after - 1] - low / (high - low) * (fmr[after] - fmr[after - 1]))


def test_a_pair_counts_as_often_as_its_people_were_drawn():
    trials = Trials([0.1, 0.2, 0.3], [0, 0, 1], [0, 1, 1])
    assert pair_weights(trials, np.array([[2, 3], [0, 1]])).tolist() == [[2, 6, 3], [0, 0, 1]]


def test_intervals_resample_people_of_both_kinds_of_trials():
    trials = some_trials(4, n=150, people=8)
    told = verification(trials, fmrs=(0.05,), n_resamples=60, seed=7)
    random, eers, misses = np.random.default_rng(7), [], []
    for _ in range(60):  # the same, trial by trial, with copies instead of weights
        drawn = np.bincount(random.integers(8, size=8), minlength=8)
        kept = [
            i
            for i, (a, b) in enumerate(zip(trials.first, trials.second, strict=True))
            for _ in range(drawn[a] if a == b else drawn[a] * drawn[b])
        ]
        copied = Trials(trials.scores[kept], trials.first[kept], trials.second[kept])
        eers.append(equal_error_rate(copied))
        misses.append(min(f for m, f in (rates_by_hand(copied, t) for t in [*copied.scores, np.inf]) if m <= 0.05))
    for name, values in (("eer", eers), ("fnmr_at_0.05", misses)):
        assert (told[name].low, told[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]))
        assert told[name].low < told[name].value < told[name].high
        assert told[name].n_patients == 8


def test_each_person_counts_alike_however_often_recorded():
    """Recordings shown again change the rate of comparisons, not that of people; by hand on the very recordings."""
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(12), 3)
    similarity = random.normal(size=(36, 36)) + 1.2 * (people[:, None] == people)
    trials = pairs(similarity, people)
    told = verification(trials, n_resamples=50)
    assert told["eer_each_person"].value == pytest.approx(told["eer"].value), "all were recorded as often"
    often = np.flatnonzero((trials.first == 0) & (trials.second == 0))
    again = np.concatenate([np.arange(len(trials.scores)), np.repeat(often, 40)])
    more = Trials(trials.scores[again], trials.first[again], trials.second[again])
    heard = verification(more, n_resamples=50)
    assert heard["eer_each_person"].value == pytest.approx(told["eer"].value)
    assert heard["eer"].value != pytest.approx(told["eer"].value, abs=0.01)
    uneven = Trials(trials.scores[again[3:]], trials.first[again[3:]], trials.second[again[3:]])
    thresholds = np.unique(uneven.scores)
    refused = [
        np.mean([(uneven.scores[(uneven.first == k) & uneven.genuine] < t).mean() for k in range(12)])
        for t in thresholds
    ]  # fmt: skip
    keys = uneven.first * 100 + uneven.second
    accepted = [
        np.mean([(uneven.scores[keys == key] >= t).mean() for key in np.unique(keys[~uneven.genuine])])
        for t in thresholds
    ]  # fmt: skip
    nearest = int(np.argmin(np.abs(np.array(refused) - accepted)))
    expected = (refused[nearest] + accepted[nearest]) / 2
    assert verification(uneven, n_resamples=50)["eer_each_person"].value == pytest.approx(expected, abs=0.02)


def test_intervals_over_people_are_wider_than_over_trials_where_people_differ():
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(6), 30)
    own = Trials(
        np.concatenate([random.normal(people % 3, 0.1), random.normal(0, 1, 180)]),
        np.concatenate([people, people]), np.concatenate([people, (people + 1) % 6]),
    )  # fmt: skip
    told = verification(own, n_resamples=300)["eer"]
    flat = [equal_error_rate(Trials(own.scores[i], own.first[i], own.second[i])) for i in _draws(own, 300)]
    assert told.high - told.low > 2 * np.diff(np.quantile(flat, [0.025, 0.975]))[0]


def _draws(trials: Trials, n: int):
    random = np.random.default_rng(1)
    for _ in range(n):
        yield random.integers(len(trials.scores), size=len(trials.scores))


def test_people_of_folds_are_numbered_on_whatever_their_numbers():
    folds = [np.array([3, 0, 3]), np.empty(0, np.int64), np.array([[1, 0], [0, 0]])]
    numbered = numbered_on(folds)
    assert [each.tolist() for each in numbered] == [[3, 0, 3], [], [[5, 4], [4, 4]]]
    assert not set(numbered[0].tolist()) & set(numbered[2].ravel().tolist())


def test_folds_are_joined_with_people_of_their_own():
    part = Trials([0.1, 0.9], [0, 1], [2, 1])
    both = joined([part, part])
    assert both.first.tolist() == [0, 1, 3, 4]
    assert both.second.tolist() == [2, 1, 5, 4]
    assert both.n_people == 6


def test_every_pair_of_recordings_once():
    similarity = np.arange(9.0).reshape(3, 3)
    made = pairs(similarity, np.array([4, 4, 5]))
    assert list(zip(made.scores, made.first, made.second, strict=True)) == [(1, 4, 4), (2, 4, 5), (5, 4, 5)]


@pytest.mark.parametrize("same", [True, False])
def test_without_both_kinds_of_trials_there_is_nothing_to_verify(same: bool):
    with pytest.raises(InputError, match="two recordings of a person") as caught:
        Trials([0.1, 0.2], [0, 1], [0, 1] if same else [1, 0])
    assert caught.value.kind == "no_trials"


def test_bad_scores_are_refused():
    with pytest.raises(InputError, match="finite"):
        Trials([np.nan, 1.0], [0, 1], [0, 0])
    with pytest.raises(UsageError, match="numbered from 0"):
        Trials([0.0, 1.0], [-1, 1], [-1, 0])
    with pytest.raises(UsageError, match="one value"):
        Trials([0.0, 1.0], [1], [1])


# ------------------------------------------------------------------------------------------------------ identification


def test_ranks_are_counted_with_the_best_template_of_each_person():
    similarity = np.array([[0.5, 0.9, 0.7, 0.7], [0.1, 0.2, 0.3, 0.4]])
    gallery = np.array([0, 1, 2, 0])
    found = ranked(similarity, np.array([0, 1]), gallery)  # person 0 has 0.7 and 0.4
    assert found.better.tolist() == [1, 2]
    assert found.ties.tolist() == [1, 0]
    assert found.n_others == 2
    with pytest.raises(InputError, match="open-set"):
        ranked(similarity, np.array([0, 7]), gallery)


@pytest.mark.parametrize("k", [1, 2])
def test_random_galleries_in_closed_form_are_those_that_are_drawn(k: int):
    random = np.random.default_rng(5)
    similarity = np.round(random.normal(size=(6, 9)), 1)
    people = np.arange(6)
    similarity[people, people] += 1.0
    similarity = np.round(similarity, 1)
    found = ranked(similarity, people, np.arange(9))
    assert found.ties.any()
    size, n_draws = 4, 1500
    hits = np.zeros(6)
    for person in people:
        others = [j for j in range(9) if j != person]
        for _ in range(n_draws):
            drawn = random.choice(others, size - 1, replace=False)
            scores = similarity[person, [person, *drawn]] + 1e-9 * random.normal(size=size)  # ties by chance
            hits[person] += (scores[1:] > scores[0]).sum() < k
    np.testing.assert_allclose(random_gallery_hits(found.better, found.ties, 8, size, k), hits / n_draws, atol=0.05)


def test_the_whole_gallery_is_the_plain_rank():
    better, ties = np.array([0, 1, 4, 5, 0]), np.array([0, 0, 0, 0, 3])
    found = Ranked(better, ties, np.arange(5), 9)
    told = identification(found, ks=(1, 5), n_resamples=50)
    assert told["rank1"].value == pytest.approx((1 + 0 + 0 + 0 + 0.25) / 5)
    assert told["rank5"].value == pytest.approx((1 + 1 + 1 + 0 + 1) / 5)


def test_scores_that_say_nothing_are_at_chance_in_every_gallery():
    found = ranked(np.zeros((4, 20)), np.arange(4), np.arange(20))
    curve = gallery_curve(found, [1, 2, 5, 20], n_resamples=40)
    np.testing.assert_allclose(curve["value"], curve["chance"])
    np.testing.assert_allclose(curve["chance"], [1, 0.5, 0.2, 0.05])
    assert gallery_curve(found, [3], k=5, n_resamples=40)["chance"].tolist() == [1.0]


def test_a_larger_gallery_never_helps():
    random = np.random.default_rng(0)
    found = ranked(random.normal(size=(30, 50)) + 2 * np.eye(30, 50), np.arange(30), np.arange(50))
    values = gallery_curve(found, range(1, 51), n_resamples=2)["value"].to_numpy()
    assert (np.diff(values) <= 1e-12).all()
    assert values[0] == 1


@pytest.mark.parametrize(("size", "k"), [(0, 1), (11, 1), (3, 0)])
def test_impossible_galleries_are_refused(size: int, k: int):
    with pytest.raises(UsageError, match="size"):
        random_gallery_hits(np.array([0]), np.array([0]), 9, size, k)


def test_a_mean_over_people_resamples_whole_people():
    values, people = np.array([1.0, 1, 1, 1, 0, 0]), ["a", "a", "a", "a", "b", "c"]
    told = mean_over_people(values, people, n_resamples=100, seed=3)
    random, means = np.random.default_rng(3), []
    for _ in range(100):
        drawn = random.integers(3, size=3)
        taken = np.concatenate([values[[p == "abc"[d] for p in people]] for d in drawn])
        means.append(taken.mean())
    assert (told.low, told.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
    assert (told.value, told.n, told.n_patients) == (pytest.approx(4 / 6), 6, 3)
    alone = mean_over_people(np.ones(4), ["a"] * 4)
    assert np.isnan(alone.low)
    assert "one person" in alone.method


# ------------------------------------------------------------------------------------------------------------ open set


def test_detection_and_identification_by_hand():
    random = np.random.default_rng(8)
    people, gallery = np.repeat(np.arange(40), 5), np.arange(20)
    similarity = np.round(random.normal(size=(200, 20)), 2)
    known = people < 20
    similarity[np.flatnonzero(known), people[known]] += 1.5
    found = open_set(similarity, people, gallery)
    assert found.known.tolist() == known.tolist()
    assert found.right[~known].sum() == 0
    best = 0.0
    for threshold in [*found.scores, np.inf]:
        false_alarms = np.mean(similarity[~known].max(axis=1) >= threshold)
        named = [
            s.argmax() == p and s.max() >= threshold for s, p in zip(similarity[known], people[known], strict=True)
        ]
        if false_alarms <= 0.1:
            best = max(best, np.mean(named))
    told = detection_and_identification(found, 0.1, n_resamples=80)
    assert told.value == pytest.approx(best)
    assert 0 < told.low < told.value < told.high < 1
    assert told.n_patients == 40
    assert np.isnan(detection_and_identification(found, 0.02, n_resamples=40).value)  # 100 unknown probes: 3 % at least


def test_an_open_set_needs_known_and_unknown_people():
    closed = OpenSet(np.ones(2), np.ones(2, bool), np.ones(2, bool), np.arange(2), 2)
    with pytest.raises(InputError, match="use verification or closed-set"):
        detection_and_identification(closed)


def test_chance_is_what_random_scores_reach():
    random = np.random.default_rng(9)
    people = np.repeat(np.arange(60), 20)
    similarity = random.normal(size=(1200, 30))
    known = people < 30
    found = open_set(similarity, people, np.arange(30))
    assert detection_and_identification(found, 0.3, n_resamples=40).value == pytest.approx(
        chance("dir_at_0.3", gallery_size=30), abs=0.015
    )
    ranks = identification(ranked(similarity[known], people[known], np.arange(30)), n_resamples=40)
    assert ranks["rank5"].value == pytest.approx(chance("rank5", gallery_size=30), abs=0.05)
    trials = Trials(random.normal(size=20_000), np.zeros(20_000), np.repeat([0, 1], 10_000))
    assert equal_error_rate(trials) == pytest.approx(chance("eer"), abs=0.02)
    assert fnmr_at(trials, 0.1) == pytest.approx(chance("fnmr_at_0.1"), abs=0.01)
    for wrong in ("auc", "rank", "eer2"):
        with pytest.raises(UsageError, match="metric"):
            chance(wrong, gallery_size=3)
    with pytest.raises(UsageError, match="gallery_size"):
        chance("rank1")
