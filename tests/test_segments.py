# SPDX-License-Identifier: Apache-2.0
"""The 24 segments: exact marks give exact segments, uncertain ones probabilities that can be derived by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from ecglens.errors import UsageError
from ecglens.fiducials import MARKS, Fiducials
from ecglens.segments import SEGMENTS, segment_probabilities
from ecglens.simulation import segment_samples, simulate_ecg

BEAT = np.array([0.10, 0.15, 0.20, 0.26, 0.28, 0.30, 0.32, 0.35, 0.45, 0.55, 0.65])
TIMES = np.arange(200) / 100


def marks_of(*beats: np.ndarray, leads: int = 1, absent: dict | None = None) -> Fiducials:
    times = np.broadcast_to(np.stack(beats), (leads, len(beats), len(MARKS)))
    return Fiducials(times, ("I", "II", "III")[:leads], "by hand", absent=absent or {})


def by_hand(beats: list[np.ndarray], times: np.ndarray) -> list[str]:
    """Name the segment of each sample by walking through the marks one after the other."""
    points = sorted((t, name) for beat in beats for t, name in zip(beat, MARKS, strict=True))
    points += [(beat[MARKS.index("QRS_offset")] + 0.01, "J_point") for beat in beats]
    names = []
    for t in times:
        at = [name for when, name in points if round(100 * when) == round(100 * t)]
        before = [name for when, name in sorted(points) if round(100 * when) < round(100 * t)]
        if at:
            names.append(at[-1])
        else:
            names.append(SEGMENTS[(SEGMENTS.index(before[-1]) + 1) % 24] if before else "TP")
    return names


def test_exact_marks_give_one_segment_a_sample() -> None:
    beats = [BEAT, BEAT + 0.9]
    late = [np.where(np.arange(11) == 7, beat + 0.01, beat) for beat in beats]  # QRS ends 10 ms later in the other lead
    times = np.stack([np.stack(beats), np.stack(late)])
    soft = segment_probabilities(Fiducials(times, ("I", "II"), "by hand"), TIMES)
    assert set(np.unique(soft)) <= {0.0, 0.5, 1.0}
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0, atol=1e-6)
    assert [SEGMENTS[k] for k in soft[0].argmax(axis=-1)] == by_hand(beats, TIMES)


def test_exact_marks_of_a_simulated_ecg_give_its_own_segments() -> None:
    """The simulator names one segment a sample, by another way; where two marks share a sample, either is right."""
    made = simulate_ecg("a", "CLBBB", fs=250)
    soft, one = segment_probabilities(made.fiducials, made.ecg.times), segment_samples(made.fiducials, made.ecg.times)
    known = (one >= 0) & (soft.max(axis=-1) > 0.99)
    assert known.mean() > 0.85
    assert (soft.argmax(axis=-1)[known] == one[known]).mean() > 0.995


def test_an_uncertain_onset_is_a_normal_distribution() -> None:
    marks = marks_of(BEAT)
    deviation = np.zeros_like(marks.times)
    deviation[..., 0] = 0.02
    soft = segment_probabilities(marks, TIMES, deviation)[0]
    onset, rise = SEGMENTS.index("P_onset"), SEGMENTS.index("P_rise")
    for k in (6, 9, 10, 12):
        edges = norm.cdf((TIMES[k] + np.array([-0.005, 0.005]) - 0.10) / 0.02)
        assert soft[k, onset] == pytest.approx(edges[1] - edges[0], abs=2e-3)
        assert soft[k, rise] == pytest.approx(edges[0], abs=2e-3)
    assert soft[:, onset].sum() == pytest.approx(1.0, abs=0.01)  # one sample in all, however uncertain


@pytest.mark.parametrize("deviation", [0.0, 0.004, 0.015, 0.05])
def test_always_adds_up_to_one(deviation: float) -> None:
    soft = segment_probabilities(marks_of(BEAT, BEAT + 0.8, leads=2), TIMES, deviation)
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0, atol=1e-5)
    assert soft.min() >= 0


def test_pieces_make_no_difference() -> None:
    """A long stretch is worked on in pieces: each sample is as if computed with its neighbourhood alone."""
    beats = [BEAT + 0.8 * k for k in range(60)]
    times = np.arange(4800) / 100
    whole = segment_probabilities(marks_of(*beats), times, 0.01)
    part = segment_probabilities(marks_of(*beats[20:40]), times[1700:3000], 0.01)
    np.testing.assert_allclose(whole[0, 1700:3000], part[0], atol=1e-6)


def test_what_is_absent_leaves_no_trace() -> None:
    beat = BEAT.copy()
    beat[:3] = np.nan
    soft = segment_probabilities(
        marks_of(beat, beat + 0.9, absent={("I", 0, "P"): "none", ("I", 1, "P"): "none"}), TIMES
    )
    assert soft[0, :, : SEGMENTS.index("QRS_onset")].sum() == 0
    assert SEGMENTS[int(soft[0, 90].argmax())] == "TP"
    nothing = Fiducials(np.full((1, 0, len(MARKS)), np.nan), ("I",), "none")
    assert not segment_probabilities(nothing, TIMES).any()


def test_refuses_what_has_no_meaning() -> None:
    with pytest.raises(UsageError, match="equally spaced"):
        segment_probabilities(marks_of(BEAT), np.array([0.0, 0.1, 0.3]))
    with pytest.raises(UsageError, match="deviation"):
        segment_probabilities(marks_of(BEAT), TIMES, -0.01)
