# SPDX-License-Identifier: Apache-2.0
"""Features of ECG Unveiled by hand, and models of them that use what they are given and nothing else."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ecglens.errors import InputError
from ecglens.fiducials import MARKS, Fiducials
from ecglens.privacy.intervals import measure_windows
from ecglens.privacy.unveiled import (
    FEATURES,
    MODELS,
    PER_BEAT,
    beat_features,
    fit_readable,
    pair_features,
    pairs_to_learn,
    summarized,
    window_features,
)
from ecglens.privacy.windows import cut_windows

from .conftest import people_cohort

PEAK_TIMES = {"P": 0.10, "Q": 0.24, "R": 0.28, "S": 0.32, "T": 0.60}


def marks(beats: int = 3, rr: float = 0.8, without: tuple[str, int] | None = None) -> Fiducials:
    times = np.full((1, beats, len(MARKS)), np.nan)
    absent = {}
    for beat in range(beats):
        for name, at in {
            **{f"{k}_peak": v for k, v in PEAK_TIMES.items()},
            "P_onset": 0.06,
            "P_offset": 0.14,
            "QRS_onset": 0.22,
            "QRS_offset": 0.34,
            "T_onset": 0.5,
            "T_offset": 0.7,
        }.items():
            times[0, beat, MARKS.index(name)] = at + rr * beat
    if without:
        wave, beat = without
        for name in MARKS:
            if name.startswith(wave):
                times[0, beat, MARKS.index(name)] = np.nan
        absent[("I", beat, wave)] = "hidden"
    return Fiducials(times, ("I",), "by hand", absent=absent)


def heights(fs: float = 250.0, beats: int = 3, rr: float = 0.8) -> np.ndarray:
    signal = np.zeros(int(fs * rr * beats) + 10)
    for beat in range(beats):
        for value, at in zip((1, 2, 5, 3, 4), PEAK_TIMES.values(), strict=True):
            signal[round((at + rr * beat) * fs)] = value + 10 * beat
    return signal


def test_ten_intervals_and_ten_differences_of_amplitude_between_the_peaks():
    assert len(PER_BEAT) == 22
    assert len(set(FEATURES)) == 44
    found = beat_features(marks(), heights(), 250.0)
    told = dict(zip(PER_BEAT, found[1], strict=True))
    levels = dict(zip("PQRST", (1, 2, 5, 3, 4), strict=True))
    for a, b in combinations("PQRST", 2):
        assert told[f"{a}-{b} interval"] == pytest.approx(PEAK_TIMES[b] - PEAK_TIMES[a])
        assert told[f"{a}-{b} amplitude"] == levels[b] - levels[a]
    assert told["RR"] == pytest.approx(0.8)
    assert told["QTc"] == pytest.approx((0.7 - 0.22) / np.sqrt(0.8))
    assert np.isnan(found[0, PER_BEAT.index("RR")])  # nothing before the first beat


def test_what_is_absent_stays_absent_and_is_left_out_of_the_summary():
    found = beat_features(marks(without=("P", 1)), heights(), 250.0)
    assert np.isnan(found[1, PER_BEAT.index("P-R interval")])
    assert not np.isnan(found[1, PER_BEAT.index("Q-R interval")])
    beats = np.full((3, len(PER_BEAT)), np.nan)
    beats[:, 0], beats[:2, 1] = [1, 2, 6], [4, 8]
    told = dict(zip(FEATURES, summarized(beats), strict=True))
    names = [f"{how} {PER_BEAT[k]}" for how in ("median", "spread") for k in (0, 1)]
    assert [told[name] for name in names] == [2, 6, 2.5, 2]
    assert np.isnan(told[f"median {PER_BEAT[2]}"])
    assert np.isnan(summarized(np.empty((0, len(PER_BEAT))))).all()


def test_windows_are_measured_in_their_own_amplitudes():
    cohort = people_cohort(2, 1)
    kept, scaled = (cut_windows([cohort], preparation=name, per_person=1) for name in ("amplitude", "paper"))
    in_mv, in_ranges = (window_features(each, measure_windows(each).marks) for each in (kept, scaled))
    intervals = [i for i, name in enumerate(FEATURES) if name.endswith("interval")]
    np.testing.assert_allclose(in_mv[:, intervals], in_ranges[:, intervals])
    span = kept.signal.max(axis=(1, 2)) - kept.signal.min(axis=(1, 2))
    column = FEATURES.index("median R-T amplitude")
    assert np.isfinite(in_mv[:, column]).all()
    np.testing.assert_allclose(in_mv[:, column] / span, in_ranges[:, column], rtol=1e-4)
    assert (np.abs(in_mv[:, FEATURES.index("median RR")] - 0.8) < 0.1).all()


def test_how_far_two_recordings_are_apart():
    features = np.array([[1.0, 5], [4, 3]])
    assert pair_features(features, np.array([0]), np.array([1])).tolist() == [[3, 2]]


def test_pairs_to_learn_are_of_different_recordings_where_there_are_some():
    people, recordings = np.array([0, 0, 0, 1, 2]), ["a", "a", "b", "c", "d"]
    first, second = pairs_to_learn(people, recordings, 0)
    own = people[first] == people[second]
    assert sorted(zip(first[own], second[own], strict=True)) == [(0, 2), (1, 2)]
    assert (~own).sum() == 7  # all there are: fewer than five for each
    first, second = pairs_to_learn(np.repeat(np.arange(20), 2), [str(i) for i in range(40)], 0)
    assert len(first) == 20 + 5 * 20
    first, second = pairs_to_learn(np.array([0, 0, 1]), ["a", "a", "c"], 0)
    assert (np.array([0, 0, 1])[first] == np.array([0, 0, 1])[second]).sum() == 1


@pytest.mark.parametrize("model", MODELS)
def test_each_model_learns_and_gaps_are_filled_from_training_alone(model: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ecglens.privacy.unveiled._TREES", 20)
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 4))
    y = 2 * (x[:, 0] > 0).astype(np.int64)  # classes 0 and 2 of three
    x[5, 1] = np.nan
    fitted = fit_readable(model, (x[:80], y[:80]), (x[80:], y[80:]))
    assert fitted.centre[1] == pytest.approx(np.nanmedian(x[:80, 1]))
    told = fitted.probabilities(x[80:], 3)
    assert told[:, 1].max() == 0
    np.testing.assert_allclose(told.sum(axis=1), 1)
    assert (told.argmax(axis=1) == y[80:]).mean() > 0.9
    missing = np.full((1, 4), np.nan)
    np.testing.assert_allclose(fitted.probabilities(missing, 3), fitted.probabilities(fitted.centre[None], 3))


def test_validation_chooses_the_depth_of_the_tree():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    y = (x[:, 0] > 0).astype(np.int64)
    noisy = np.where(random.random(300) < 0.25, 1 - y, y)
    fitted = fit_readable("unveiled-tree", (x[:200], noisy[:200]), (x[200:], y[200:]))
    assert fitted.estimator.get_depth() == 3


def test_without_a_single_wave_there_is_nothing_to_learn():
    with pytest.raises(InputError, match="no wave"):
        fit_readable("unveiled-lr", (np.full((3, 2), np.nan), np.array([0, 1, 0])), (np.empty((0, 2)), np.empty(0)))
