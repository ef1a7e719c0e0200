# SPDX-License-Identifier: Apache-2.0
"""Planted attention is found with the enrichment that follows from its place; attention that knows no beat is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ecglens.privacy.enrichment import (
    Laid,
    concordance,
    enrichment,
    masses,
    rank_agreement,
    shares_among,
    shift_p,
    shifted,
)
from ecglens.privacy.intervals import INTERVALS, PARTITION, overlap, stretches_of

from .test_intervals import FS, marks

N, PATCH = 2000, 20


@pytest.fixture(scope="module")
def laid() -> Laid:
    """Eight people of two windows, each with a rate of their own."""
    rates = np.linspace(0.7, 1.0, 8).repeat(2)
    overlaps = [overlap(stretches_of(marks(13, rr), FS, N), n_samples=N, patch=PATCH) for rr in rates]
    return Laid(np.stack(overlaps).astype(np.float32), np.repeat(list("abcdefgh"), 2))


def test_uniform_attention_has_no_preference(laid: Laid):
    mass = masses(np.full((16, N // PATCH), 0.3), laid.overlaps)
    np.testing.assert_allclose(mass, laid.shares, rtol=1e-5)
    for told in enrichment(mass, laid, n_resamples=100):
        assert (told.value, told.low, told.high) == pytest.approx((1, 1, 1), rel=1e-5)


def test_attention_on_qrs_alone_is_found_there(laid: Laid):
    qrs = INTERVALS.index("QRS")
    attention = laid.overlaps[:, qrs].astype(float)
    mass = masses(attention, laid.overlaps)
    told = enrichment(mass, laid, n_resamples=400)
    # Attention in proportion to the overlap o has of QRS sum o^2 / sum o, and QRS has sum o / n of the time.
    expected = np.mean([(o**2).sum() / o.sum() for o in attention]) / attention.mean()
    assert told[qrs].value == pytest.approx(expected, rel=1e-5)
    assert told[qrs].low > 3
    turned = shifted(attention, laid)
    assert shift_p(told[qrs].value, turned[:, qrs]) == pytest.approx(2 / 1000)
    assert told[INTERVALS.index("T-P")].value == 0
    assert shift_p(0.0, turned[:, INTERVALS.index("T-P")]) == pytest.approx(2 / 1000)


def test_turned_maps_are_the_maps_turned(laid: Laid):
    attention = np.random.default_rng(0).random((16, N // PATCH))
    turned = shifted(attention, laid, n_shifts=3, seed=4)
    shifts = np.random.default_rng(4).integers(1, N // PATCH, size=(3, 8))
    for k, shift in enumerate(shifts):
        by_hand = np.stack([np.roll(attention[i], shift[i // 2]) for i in range(16)])
        told = enrichment(masses(by_hand, laid.overlaps), laid, n_resamples=1)
        np.testing.assert_allclose(turned[k], [each.value for each in told], rtol=1e-5)


def test_false_alarms_are_as_rare_as_promised(laid: Laid):
    """Attention with a rhythm of its own, at a phase of its own: p below 0.1 one time in ten."""
    at, alarms = np.arange(N // PATCH), []
    for seed in range(250):
        random = np.random.default_rng(seed)
        phase, period = random.uniform(0, 2 * np.pi, 8).repeat(2), random.uniform(8, 13, 8).repeat(2)
        attention = np.exp(2 * np.cos(2 * np.pi * at / period[:, None] + phase[:, None]))
        told = enrichment(masses(attention, laid.overlaps), laid, n_resamples=1)
        turned = shifted(attention, laid, n_shifts=199, seed=seed)
        alarms.append([shift_p(told[k].value, turned[:, k]) <= 0.1 for k in range(len(PARTITION))])
    # 250 draws of a chance of 0.1: 0.04 to 0.16 is more than three deviations to either side.
    assert ((np.mean(alarms, axis=0) > 0.04) & (np.mean(alarms, axis=0) < 0.16)).all(), np.mean(alarms, axis=0)


def test_a_window_without_an_interval_counts_for_nothing(laid: Laid):
    overlaps = laid.overlaps.copy()
    overlaps[:8] = 0  # four people without any marked wave
    half = Laid(overlaps, laid.people)
    attention = laid.overlaps[:, 1].astype(float) + 0.01
    told = enrichment(masses(attention, overlaps), half, n_resamples=50)[1].value
    alone = Laid(laid.overlaps[8:], laid.people[8:])
    assert told == pytest.approx(enrichment(masses(attention[8:], alone.overlaps), alone, n_resamples=50)[1].value)
    nowhere = Laid(np.zeros_like(overlaps), laid.people)
    assert np.isnan(enrichment(masses(attention, nowhere.overlaps), nowhere, n_resamples=50)[0].value)
    assert np.isnan(shift_p(float("nan"), shifted(attention, nowhere)[:, 0]))


def test_shares_among_three_depend_on_length_unless_told_per_time(laid: Laid):
    names = ("QRS", "S-T", "P-Q")
    uniform = laid.shares
    by_mass = shares_among(uniform, laid, names, per_time=False, n_resamples=50, seed=0)
    per_time = shares_among(uniform, laid, names, per_time=True, n_resamples=50, seed=0)
    assert sum(each.value for each in by_mass) == pytest.approx(1)
    assert [each.value for each in per_time] == pytest.approx([1 / 3] * 3)
    assert by_mass[1].value == pytest.approx(0.2 / (0.1 + 0.2 + 0.14), rel=0.02)  # seconds of each


def test_agreement_of_ranks_is_spearmans_and_kendalls():
    random = np.random.default_rng(1)
    one, other, people = random.random((12, 5)), random.random((12, 5)), np.arange(12) // 2
    one[3, 2] = np.nan
    other[5] = 1.0
    told = rank_agreement(one, other, people, n_resamples=50, seed=0)
    kept = [i for i in range(12) if i not in (3, 5)]
    assert told.value == pytest.approx(np.mean([spearmanr(one[i], other[i]).statistic for i in kept]))
    assert rank_agreement(one, np.ones((12, 5)), people, n_resamples=50, seed=0).n == 0
    assert concordance(np.tile(random.random(6), (12, 1)), people, n_resamples=50, seed=0).value == pytest.approx(1)
    noise = concordance(random.random((400, 6)), np.arange(400), n_resamples=300, seed=0)
    assert noise.low < noise.value < noise.high < 0.05  # no order, though people drawn twice agree with themselves
    ranks = np.argsort(np.argsort(other + 0.1 * random.random((12, 5)))) + 1.0
    by_hand = 12 * ((ranks.sum(axis=0) - 12 * 3) ** 2).sum() / (12**2 * (5**3 - 5))
    assert concordance(ranks, people, n_resamples=50, seed=0).value == pytest.approx(by_hand)
