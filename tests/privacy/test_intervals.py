# SPDX-License-Identifier: Apache-2.0
"""The beat is divided without gaps or overlaps, and a stretch that is taken away is taken away, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.privacy.intervals import (
    COMPOSITES,
    INTERVALS,
    PARTITION,
    Marked,
    bridged,
    elsewhere,
    flattened,
    measure_windows,
    median_lengths,
    overlap,
    share_taken,
    stretches_of,
)
from ecglens.privacy.windows import cut_windows

from .conftest import people_cohort

FS = 250.0
AT = {
    "P_peak": 0.0,
    "QRS_onset": 0.12,
    "Q_peak": 0.14,
    "R_peak": 0.16,
    "S_peak": 0.2,
    "QRS_offset": 0.22,
    "T_peak": 0.4,
}


def marks(n_beats: int = 3, rr: float = 0.8, without: tuple[str, ...] = ()) -> Fiducials:
    """Beats every `rr` s, the first P at 0."""
    times = np.full((1, n_beats, len(MARKS)), np.nan)
    for name, at in AT.items():
        if name not in without:
            times[0, :, MARKS.index(name)] = at + rr * np.arange(n_beats)
    absent = {("I", None, wave): "none" for wave, names in WAVES.items() if not (set(names) & set(AT)) - set(without)}
    return Fiducials(times, ("I",), "planted", absent=absent)


@pytest.mark.parametrize("patch", [20, 5, 7])
def test_the_partition_covers_each_patch_once(patch: int):
    found = stretches_of(marks(3), FS, 400)  # the third P lies where the window ends
    laid = overlap(found, n_samples=400, patch=patch)
    np.testing.assert_allclose(laid[: len(PARTITION)].sum(axis=0), 1)
    lengths = {name: np.diff(found[name], axis=1).sum() for name in PARTITION}
    assert sum(lengths.values()) == pytest.approx(400)
    for name, length in lengths.items():
        kept = 400 // patch * patch  # samples that belong to a patch
        assert laid[INTERVALS.index(name)].sum() * patch == pytest.approx(length, abs=400 - kept + 1e-9)


def test_composites_are_sums_of_the_partition():
    laid = dict(zip(INTERVALS, overlap(stretches_of(marks(3), FS, 400), n_samples=400, patch=20), strict=True))
    parts = {
        "P-R": ("P-Q", "Q-R"), "Q-S": ("Q-R", "R-S"), "Q-T": ("Q-R", "R-S", "S-T"), "P-T": PARTITION[:4],
        "R-T": ("R-S", "S-T"), "T-Q": ("T-P", "P-Q"),
    }  # fmt: skip
    assert set(parts) | {"QRS"} == set(COMPOSITES)
    for name, of in parts.items():
        whole = np.sum([laid[part] for part in of], axis=0)
        if name == "T-Q":  # the P-Q of the first beat has no T before it
            whole[:2] = laid[name][:2] = 0
        np.testing.assert_allclose(laid[name], whole, atol=1e-9)
    np.testing.assert_allclose(laid["QRS"].sum() * 20 / FS, 0.1 * 2)


def test_what_is_absent_is_absent_and_qrs_stands_in_for_q_and_s():
    found = stretches_of(marks(2, without=("Q_peak", "S_peak")), FS, 400)
    assert found["P-Q"][0].tolist() == [0, 30]  # to the onset of QRS
    assert found["R-S"][0].tolist() == [40, 55]
    without_t = stretches_of(marks(2, without=("T_peak",)), FS, 400)
    assert {name for name in PARTITION if len(without_t[name])} == {"P-Q", "Q-R", "R-S"}
    lengths = median_lengths([found, without_t], FS)
    assert lengths["Q-R"] == pytest.approx(0.03)  # 0.04 without a Q, 0.02 with one
    assert lengths["T-P"] == pytest.approx(0.4)


def test_a_bridge_is_straight_and_touches_nothing_else():
    random = np.random.default_rng(0)
    signal = random.normal(size=(1, 300)).astype(np.float32)
    where = np.array([[20.0, 60.0], [100.4, 140.6], [280.0, 300.0]])
    out = bridged(signal, where)
    touched = np.zeros(300, bool)
    for begin, end in np.rint(where).astype(int):
        last = min(end, 299)
        assert np.abs(np.diff(out[0, begin : last + 1], n=2)).max() < 1e-5
        touched[begin + 1 : last] = True
    np.testing.assert_array_equal(out[0, ~touched], signal[0, ~touched])
    assert (out[0, touched] != signal[0, touched]).all()


def test_the_control_has_the_same_lengths_elsewhere():
    where = np.array([[20.0, 60.0], [120.0, 150.0], [220.0, 260.0]])
    covered = np.zeros(400)
    for seed in range(300):
        other = elsewhere(where, 400, np.random.default_rng(seed))
        assert sorted(np.diff(other, axis=1)[:, 0]) == [30, 40, 40]
        ordered = other[np.argsort(other[:, 0])]
        assert (ordered[1:, 0] >= ordered[:-1, 1]).all()
        assert ordered[0, 0] >= 0
        assert ordered[-1, 1] <= 399
        for begin, end in other.astype(int):
            covered[begin:end] += 1 / 300
    assert np.ptp(covered[60:340]) < 0.2  # no place is preferred, but for the ends
    assert elsewhere(np.array([[0.0, 399.5]]), 400, np.random.default_rng(0)).tolist() == [[0.0, 399.5]]  # no room


@pytest.fixture(scope="module")
def measured():
    windowed = cut_windows([people_cohort(3, 1)], per_person=2)
    return windowed, measure_windows(windowed)


def test_windows_are_flattened_where_their_waves_are(measured):
    windowed, marked = measured
    flat = flattened(windowed, marked, "S-T")
    assert flat.table is windowed.table
    for i, each in enumerate(marked.stretches):
        assert len(each["S-T"]) >= 8  # a beat every 0.8 s for 8 s
        changed = np.abs(flat.signal[i, 0] - windowed.signal[i, 0]) > 1e-6
        inside = np.zeros(windowed.signal.shape[-1], bool)
        for begin, end in np.rint(each["S-T"]).astype(int):
            inside[begin : end + 1] = True
        assert not (changed & ~inside).any()
        assert changed[inside].mean() > 0.8
    assert 0 < share_taken(windowed, flat) < 1
    assert share_taken(windowed, windowed) == 0


def test_where_the_control_lies_depends_on_the_window_alone(measured):
    windowed, marked = measured
    order = np.array([3, 0, 2])
    whole = flattened(windowed, marked, "S-T", control=True, seed=1)
    part = flattened(windowed.take(order), marked.take(order), "S-T", control=True, seed=1)
    np.testing.assert_array_equal(part.signal, whole.signal[order])
    other = flattened(windowed, marked, "S-T", control=True, seed=2)
    assert (other.signal != whole.signal).any()
    assert isinstance(marked.take(order), Marked)
