# SPDX-License-Identifier: Apache-2.0
"""Draws lie in their ranges, depend on (seed, epoch, record) alone, and are applied as described."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta as beta_distribution
from scipy.stats import kstest

from ecglens.runs.draws import record_keys
from ecglens.training.augmentation import Augmentation, apply, draw

N, LEADS, SAMPLES = 4000, 12, 1000
NAMES = [f"record {k}" for k in range(N)]
KEYS = record_keys(NAMES)
FULL = Augmentation(crop=250, gain=0.1, noise=0.02, lead_dropout=0.05, mixup=0.2)


def test_crops_cover_every_start() -> None:
    start = draw(FULL, KEYS, LEADS, SAMPLES, 0, 1).start
    assert start.min() >= 0
    assert start.max() <= SAMPLES - 250
    assert kstest(start / 751, "uniform").pvalue > 1e-3
    assert set(draw(Augmentation(998), KEYS, LEADS, SAMPLES, 0, 1).start) == {0, 1, 2}
    assert set(draw(Augmentation(SAMPLES), KEYS, LEADS, SAMPLES, 0, 1).start) == {0}


def test_gain_and_dropout_stay_in_range() -> None:
    scale = draw(FULL, KEYS, LEADS, SAMPLES, 0, 1).scale
    kept = scale[scale != 0]
    assert kept.min() >= 0.9 - 1e-6
    assert kept.max() <= 1.1 + 1e-6
    assert kept.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.02)
    assert (scale == 0).mean() == pytest.approx(0.05, abs=0.004)  # 48,000 leads, standard error 0.001
    plain = draw(Augmentation(250), KEYS, LEADS, SAMPLES, 0, 1)
    assert (plain.scale == 1).all()
    assert (plain.share == 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_keeps_the_record_the_larger_part(alpha: float) -> None:
    share = draw(Augmentation(250, mixup=alpha), KEYS, LEADS, SAMPLES, 0, 1).share.astype(float)
    assert share.min() >= 0.5
    assert share.max() <= 1.0
    folded = beta_distribution(alpha, alpha)
    assert kstest(share, lambda x: folded.cdf(x) - folded.cdf(1 - x)).pvalue > 1e-3


def test_draws_depend_on_seed_epoch_and_record_alone() -> None:
    one = draw(FULL, KEYS, LEADS, SAMPLES, 3, 5)
    order = np.random.default_rng(0).permutation(N)
    shuffled = draw(FULL, KEYS[order], LEADS, SAMPLES, 3, 5)
    np.testing.assert_array_equal(shuffled.start, one.start[order])
    np.testing.assert_array_equal(shuffled.scale, one.scale[order])
    np.testing.assert_array_equal(shuffled.share, one.share[order])
    np.testing.assert_array_equal(order[shuffled.partner], one.partner[order])  # the same partner, wherever it stands
    for other in (draw(FULL, KEYS, LEADS, SAMPLES, 4, 5), draw(FULL, KEYS, LEADS, SAMPLES, 3, 6)):
        assert (other.start != one.start).mean() > 0.9
        assert (other.partner != one.partner).mean() > 0.9


def test_partners_are_drawn_from_all() -> None:
    partner = draw(FULL, KEYS, LEADS, SAMPLES, 0, 1).partner
    assert partner.min() >= 0
    assert partner.max() < N
    assert len(set(partner)) > 0.6 * N  # 1 - 1/e of them


def small() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    signals = generator.normal(size=(6, 3, 40)).astype(np.float32)
    labels = generator.integers(0, 2, (6, 2)).astype(float)
    labels[2, 1] = np.nan
    return signals, labels, record_keys([f"s{k}" for k in range(6)])


def test_applied_as_described() -> None:
    signals, labels, keys = small()
    how = Augmentation(crop=16, gain=0.2, lead_dropout=0.3, mixup=0.4)
    drawn = draw(how, keys, 3, 40, 0, 1)
    batch = np.array([4, 0, 2])
    x, y = apply(how, drawn, signals, labels, keys, batch, 0, 1)

    def cropped(k: int) -> np.ndarray:
        return signals[k, :, drawn.start[k] : drawn.start[k] + 16] * drawn.scale[k][:, None]

    for row, k in enumerate(batch):
        share, other = float(drawn.share[k]), int(drawn.partner[k])
        np.testing.assert_allclose(x[row], share * cropped(k) + (1 - share) * cropped(other), rtol=0, atol=1e-6)
        np.testing.assert_allclose(y[row], share * labels[k] + (1 - share) * labels[other], rtol=0, atol=1e-6)
    assert np.isnan(y[2, 1])  # unknown stays unknown in a mixture
    assert (x.dtype, y.dtype) == (np.float32, np.float32)


def test_noise_is_white_and_its_own_for_each_record() -> None:
    keys = record_keys(NAMES[:50])
    signals = np.zeros((50, 12, 300), np.float32)
    how = Augmentation(crop=250, noise=0.02)
    drawn = draw(how, keys, 12, 300, 0, 1)
    labels = np.zeros((50, 1))
    x, _ = apply(how, drawn, signals, labels, keys, np.arange(50), 0, 1)
    assert x.std() == pytest.approx(0.02, rel=0.01)
    assert abs(np.corrcoef(x[0].ravel(), x[1].ravel())[0, 1]) < 0.1
    alone, _ = apply(how, drawn, signals, labels, keys, np.array([7]), 0, 1)
    np.testing.assert_array_equal(alone[0], x[7])  # whatever else is in the batch
    later, _ = apply(how, drawn, signals, labels, keys, np.array([7]), 0, 2)
    assert not np.array_equal(later[0], x[7])


def test_the_records_themselves_are_not_changed() -> None:
    signals, labels, keys = small()
    before = signals.copy(), labels.copy()
    how = Augmentation(crop=40, gain=0.5, noise=1.0, lead_dropout=0.5, mixup=1.0)
    for epoch in range(3):
        apply(how, draw(how, keys, 3, 40, 0, epoch), signals, labels, keys, np.arange(6), 0, epoch)
    np.testing.assert_array_equal(signals, before[0])
    np.testing.assert_array_equal(labels, before[1])
