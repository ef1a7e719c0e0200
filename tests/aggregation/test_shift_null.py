# SPDX-License-Identifier: Apache-2.0
"""The shift null: the same as rolling by hand, the same bits in any order, fair to maps that know nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.aggregation.cells import SoftCells, beat_cells, cell_means
from ecglens.aggregation.shift_null import ShiftNull, all_shifts
from ecglens.errors import UsageError
from ecglens.runs.draws import record_keys, uniform
from ecglens.statistics.multiplicity import false_discovery

TIMES = np.arange(500) / 50
N_LEADS = 3


def cells_of(seed: int) -> SoftCells:
    beats = np.cumsum(np.random.default_rng(seed).uniform(0.7, 1.1, 9))
    return beat_cells(beats, TIMES)


def smooth(seed: int) -> np.ndarray:
    """A map that knows nothing of the beat: smoothed noise, other levels in other leads."""
    noise = np.random.default_rng(1000 + seed).normal(size=(N_LEADS, TIMES.size))
    spectrum = np.fft.rfft(noise, axis=1) / (1 + np.arange(TIMES.size // 2 + 1) / 30)
    return np.abs(np.fft.irfft(spectrum, TIMES.size, axis=1)) * np.array([[1.0], [2.0], [5.0]])


def gathered(records: range, n_shifts: int = 200, plant: float = 0.0) -> ShiftNull:
    null = ShiftNull(N_LEADS, 40, n_shifts)
    for seed in records:
        values, cells = smooth(seed), cells_of(seed)
        if plant:
            at = np.flatnonzero(cells.weights[0, :, 12])
            values[1, at] += plant
        null.update(f"r{seed}", values, cells)
    return null


def test_all_shifts_are_those_of_rolling() -> None:
    values, cells = smooth(0), cells_of(0)
    found = all_shifts(values, cells)
    for shift in (0, 1, 7, 499):
        expected = cell_means(np.roll(values, -shift, axis=1), cells)
        np.testing.assert_allclose(found[:, shift], expected, rtol=1e-4, atol=1e-5)


def test_each_record_is_shifted_by_its_own_time_all_leads_together() -> None:
    null = gathered(range(4), n_shifts=5)
    expected = np.zeros((5, N_LEADS, 40))
    for seed in range(4):
        shifts = (uniform(0, "shift", record_keys([f"r{seed}"]), 5)[0] * TIMES.size).astype(int)
        for k, shift in enumerate(shifts):
            expected[k] += cell_means(np.roll(smooth(seed), -shift, axis=1), cells_of(seed)) / 4
    np.testing.assert_allclose(null.shifted(), expected, rtol=1e-4, atol=1e-5)
    own = np.mean([cell_means(smooth(seed), cells_of(seed)) for seed in range(4)], axis=0)
    np.testing.assert_allclose(null.observed(), own, rtol=1e-4, atol=1e-5)


def test_any_order_and_any_workers_give_the_same_bits() -> None:
    whole = gathered(range(9))
    parts = [gathered(range(6, 9)), gathered(range(3)), gathered(range(3, 6))]
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].p_values().tobytes() == whole.p_values().tobytes()
    assert parts[0].shifted().tobytes() == whole.shifted().tobytes()
    with pytest.raises(UsageError):
        whole.merge(gathered(range(2), n_shifts=7))


def test_maps_that_know_nothing_are_as_often_found_as_promised() -> None:
    """Over 60 cohorts of 12 records: p below 0.05 in about 5 % of cells, q below 0.05 anywhere in few cohorts."""
    small, alarms = [], []
    for cohort in range(60):
        p = gathered(range(100 * cohort, 100 * cohort + 12)).p_values()
        small.append((p <= 0.05).mean())
        alarms.append((false_discovery(p) <= 0.05).any())
    assert 0.025 < np.mean(small) < 0.08
    assert np.mean(alarms) <= 0.12


def test_a_planted_cell_is_found_and_its_lead_and_time_alone() -> None:
    p = gathered(range(20), n_shifts=10_000, plant=3.0).p_values()
    assert p[1, 12] <= 0.001
    assert false_discovery(p)[1, 12] <= 0.05
    assert (false_discovery(p) <= 0.05).sum() <= 3


def test_a_lead_that_is_preferred_all_the_time_is_no_finding() -> None:
    """Lead 3 has five times the level of lead 1, in time it prefers nothing."""
    p = gathered(range(30)).p_values()
    assert 0.2 < p[2].mean() < 0.8


def test_a_cell_that_nobody_has_has_no_p() -> None:
    null = ShiftNull(1, 40, 10)
    null.update("r", np.ones((1, TIMES.size)), beat_cells(np.zeros(0), TIMES))
    assert np.isnan(null.p_values()).all()
    null.update("s", np.ones((1, TIMES.size)), cells_of(0))
    assert (null.p_values() == 1.0).mean() > 0.4  # an even map: as large in every shift, up to rounding
