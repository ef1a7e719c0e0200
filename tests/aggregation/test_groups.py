# SPDX-License-Identifier: Apache-2.0
"""Two groups: the difference is found where it is, chance rarely is, and pairs are surer than strangers."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.aggregation.groups import difference
from ecglens.explanation import Rows

SHAPE = (4, 6)


def rows(n: int, seed: int, scale: float = 1.0, people: int = 2, first: int = 0, lack_from: int | None = None) -> Rows:
    """Records of n / people patients, who differ; cells of lift 1 but for one of 2."""
    draw = np.random.default_rng(seed)
    values = draw.lognormal(0.0, 0.4, (n, *SHAPE))
    patients = [f"p{first + k // people:03d}" for k in range(n)]
    of_patient = {name: draw.lognormal(0.0, 0.3, SHAPE) for name in sorted(set(patients))}
    values *= np.stack([of_patient[name] for name in patients])
    values[:, 0, 0] *= 2.0
    if lack_from is not None:
        values[lack_from:, 3, 3] = np.nan
    level = scale * np.nanmean(values[:, 1:], axis=(1, 2))
    return Rows(tuple(f"r{k}" for k in range(n)), tuple(patients), scale * values, level, np.full(n, 9))


def test_a_planted_difference_is_found_in_its_cell_whatever_the_unit() -> None:
    a, b = rows(80, 1), rows(80, 2, scale=1000.0, first=500)
    a.values[:, 2, 4] *= 2.0
    found = difference("a", a, "b", b, n_resamples=500)
    assert found.differs()[2, 4]
    assert found.differs().sum() <= 2
    assert found.low[2, 4] < found.value[2, 4] < found.high[2, 4]
    assert found.low[2, 4] > 0
    expected = a.values[:, 2, 4].sum() / a.level.sum() - b.values[:, 2, 4].sum() / b.level.sum()
    assert np.isclose(found.value[2, 4], expected)
    assert (found.n_a, found.n_patients_a, found.n_b) == (80, 40, 80)
    swapped = difference("b", b, "a", a, n_resamples=500)
    np.testing.assert_allclose(swapped.value, -found.value)


def test_equal_groups_rarely_differ() -> None:
    alarms, small = [], []
    for seed in range(60):
        found = difference("a", rows(40, 2 * seed), "b", rows(40, 2 * seed + 1, first=500), n_resamples=300)
        alarms.append(found.differs().any())
        small.append(np.mean(found.p < 0.05))
    assert np.mean(alarms) <= 0.12
    assert 0.01 < np.mean(small) < 0.09


def test_the_same_records_are_compared_pair_by_pair() -> None:
    a = rows(60, 3)
    b = Rows(a.record_ids, a.patients, 3.0 * a.values * 1.05, 3.0 * a.level, a.n_beats)
    paired = difference("a", a, "b", b, n_resamples=300)
    strangers = Rows(b.record_ids, tuple(f"x{p}" for p in b.patients), b.values, b.level, b.n_beats)
    apart = difference("a", a, "b", strangers, n_resamples=300)
    assert paired.differs().all()  # 5 % more, in every pair
    assert not apart.differs().any()
    assert np.nanmean(paired.high - paired.low) < 0.2 * np.nanmean(apart.high - apart.low)


@pytest.mark.parametrize(
    ("n", "people", "compared"), [(18, 1, False), (19, 1, False), (20, 1, True), (20, 2, True), (24, 3, False)]
)
def test_a_cell_of_fewer_than_20_records_or_10_patients_is_not_compared(n: int, people: int, compared: bool) -> None:
    a = rows(60, 1, people=people, lack_from=n)
    found = difference("a", a, "b", rows(40, 2, first=500), n_resamples=200)
    there = np.isfinite([found.value[3, 3], found.low[3, 3], found.p[3, 3], found.q[3, 3]])
    assert there.all() if compared else not there.any()
    assert np.isfinite(found.value[0]).all()
