# SPDX-License-Identifier: Apache-2.0
"""Cells of a record: the same means as by hand, nothing where nothing is, doubt shared among neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.aggregation.cells import AFTER, BEFORE, beat_cells, cell_means, coarse, segment_cells
from ecglens.fiducials import MARKS, Fiducials
from ecglens.segments import SEGMENTS

TIMES = np.arange(400) / 100
BEATS = np.array([0.80, 1.60, 2.40, 3.20])
OFFSETS = np.array([-0.20, -0.15, -0.10, -0.05, -0.03, 0.0, 0.03, 0.06, 0.20, 0.28, 0.36])


def marks(beats: np.ndarray = BEATS, without: str = "") -> Fiducials:
    times = np.broadcast_to(beats[:, None] + OFFSETS, (2, len(beats), len(MARKS))).copy()
    absent = {}
    if without:
        times[1][:, [k for k, mark in enumerate(MARKS) if mark.startswith(without)]] = np.nan
        absent = {("V1", None, without): "fibrillation"}
    return Fiducials(times, ("II", "V1"), "by hand", absent=absent)


def values(seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=(2, TIMES.size)))


def test_a_segment_is_the_mean_of_its_samples() -> None:
    cells = segment_cells(marks(), np.zeros((2, 4, len(MARKS))), TIMES, ("II", "V1"))
    found = cell_means(values(), cells)
    for lead in range(2):
        for k, name in enumerate(SEGMENTS):
            own = values()[lead][cells.weights[lead, :, k] == 1]
            if name in MARKS:  # one sample a beat, there where the mark is
                at = np.rint((BEATS + OFFSETS[MARKS.index(name)]) * 100).astype(int)
                assert found[lead, k] == pytest.approx(values()[lead, at].mean())
            elif own.size:
                assert found[lead, k] == pytest.approx(own.mean())


def test_an_absent_wave_is_unknown_and_not_zero() -> None:
    cells = segment_cells(marks(without="P"), np.zeros((2, 4, len(MARKS))), TIMES, ("II", "V1", "V9"))
    found = cell_means(np.zeros((3, TIMES.size)), cells)
    p = [k for k, name in enumerate(SEGMENTS) if name.startswith("P")]
    assert np.isnan(found[1, p]).all()
    assert (found[0, p] == 0).all()
    assert np.isfinite(found[1, SEGMENTS.index("R_peak")])
    assert np.isnan(found[2]).all()  # a lead that nobody marked


def test_beats_enough_or_none() -> None:
    cells = segment_cells(marks(), np.zeros((2, 4, len(MARKS))), TIMES, ("II", "V1"))
    assert np.isfinite(cell_means(values(), cells, 4)[0, SEGMENTS.index("R_peak")])
    assert np.isnan(cell_means(values(), cells, 5)).all()


def test_doubt_is_shared_among_neighbours() -> None:
    """A spike at R: with sure marks all of it is R's, with unsure ones its neighbours hold some."""
    spike = np.zeros((2, TIMES.size))
    spike[:, np.rint(BEATS * 100).astype(int)] = 1.0
    r, neighbours = SEGMENTS.index("R_peak"), [SEGMENTS.index("QR"), SEGMENTS.index("RS")]
    sure, unsure = (
        cell_means(spike, segment_cells(marks(), np.full((2, 4, len(MARKS)), s), TIMES, ("II", "V1")))
        for s in (0.0, 0.01)
    )
    assert sure[0, r] == 1.0
    assert (sure[0, neighbours] == 0).all()
    assert 0.2 < unsure[0, r] < 0.7
    assert (unsure[0, neighbours] > 0.05).all()


def test_phases_are_the_mean_of_windows() -> None:
    beats = np.array([0.1, 0.80, np.nan, 1.60, 2.40, 3.9])  # the first and the last are cut off
    cells = beat_cells(beats, TIMES)
    n = round((BEFORE + AFTER) * 100)
    windows = [values()[:, round(b * 100) - 30 : round(b * 100) - 30 + n] for b in (0.80, 1.60, 2.40)]
    np.testing.assert_allclose(cell_means(values(), cells), np.mean(windows, axis=0), rtol=1e-6)
    assert (cells.names[0], cells.names[-1], cells.n_beats.max()) == ("-300", "490", 3)
    assert np.isnan(cell_means(values(), beat_cells(np.zeros(0), TIMES))).all()


def test_six_segments_hold_what_the_24_hold() -> None:
    fine = segment_cells(marks(without="P"), np.full((2, 4, len(MARKS)), 0.01), TIMES, ("II", "V1"))
    six = coarse(fine)
    np.testing.assert_allclose(six.weights.sum(axis=2), fine.weights.sum(axis=2), atol=1e-6)
    whole, parts = six.weights[0, :, 2], fine.weights[0, :, SEGMENTS.index("QRS_onset") : SEGMENTS.index("QJ")]
    np.testing.assert_allclose(whole, parts.sum(axis=1), atol=1e-6)
    assert six.names == ("P", "PQ", "QRS", "ST", "T", "rest")
    assert six.there()[:, 0].tolist() == [True, False]
