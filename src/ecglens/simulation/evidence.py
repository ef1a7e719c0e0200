# SPDX-License-Identifier: Apache-2.0
"""Evidence: where in an ECG a diagnosis is, known because the ECG was made with and without it.

Amplitude evidence is the difference of the same record with and without the lesion, from the same draws, before noise.
Timing is shared by both. So what only timing tells (PR, RR, a P that is missing) has no amplitude anywhere; it is
given as intervals, a kind of its own.

A dipole has rank 3: any lead is, noise and a small share of the chest's own apart, a linear function of three others.
Where in *time* evidence lies is well defined; in which *lead* it lies is not unique in a dipolar record, since a
network may read an inferior Q from V1, V3 and I alone. Score leads there softly, with `weight`, or use planted
evidence, which is in one lead only.

>>> made = Evidence.of({"IMI": np.full((12, 4), 0.2)}, threshold=0.05)
>>> made.kind, float(made.mask.mean()), made["IMI"].kind, Evidence.of({}, 0.05, shape=(12, 4)).kind
('amplitude', 1.0, 'amplitude', 'none')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ecglens.errors import UsageError
from ecglens.shapes import Signal

LEAST = 0.05  # mV: half a millimetre on paper
NOISE_MULTIPLE = 2.0
Kind = Literal["none", "amplitude", "interval", "both"]


@dataclass(frozen=True)
class Interval:
    """A stretch whose length, or whose emptiness, is evidence, in all leads alike.

    what    "PR", "RR", or "no P": where a P would have been
    source  the condition
    start, stop  in s on the ECG's clock, inside the recording
    """

    what: Literal["PR", "RR", "no P"]
    source: str
    start: float
    stop: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """Where a diagnosis is.

    weight     float32 [lead, time], in mV: |with - without| before noise
    mask       bool [lead, time]: weight above max(0.05 mV, twice the standard deviation of the lead's fast noise)
    intervals  evidence in timing, of no lead and of no amplitude
    parts      the same for each condition alone, by its name; "shortcut" is the planted mark, no part of the rest
    """

    weight: Signal
    mask: np.ndarray
    intervals: tuple[Interval, ...] = ()
    parts: Mapping[str, Evidence] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        differences: Mapping[str, np.ndarray],
        threshold: np.ndarray | float,
        intervals: Sequence[Interval] = (),
        mark: np.ndarray | None = None,
        shape: tuple[int, int] = (12, 0),
    ) -> Evidence:
        """Return the evidence of signed differences [lead, time] by condition; `threshold` in mV, one or [lead]."""
        total = sum(differences.values(), np.zeros(next(iter(differences.values())).shape if differences else shape))
        parts = {
            name: _one(difference, threshold, [i for i in intervals if i.source == name])
            for name, difference in differences.items()
        }
        if mark is not None:
            parts["shortcut"] = _one(mark, threshold, ())
        whole = _one(total, threshold, intervals)
        return cls(whole.weight, whole.mask, whole.intervals, parts)

    @property
    def kind(self) -> Kind:
        """What sort of evidence there is."""
        amplitude = bool(self.mask.any())
        if self.intervals:
            return "both" if amplitude else "interval"
        return "amplitude" if amplitude else "none"

    def __getitem__(self, name: str) -> Evidence:
        """Return the part of one condition, or of the planted mark ("shortcut")."""
        if name not in self.parts:
            raise UsageError("Evidence", "part", name, ", ".join(self.parts) or "none here")
        return self.parts[name]

    def interval_mask(self, times: np.ndarray, what: Sequence[str] = ("PR", "RR", "no P")) -> np.ndarray:
        """Return which samples at `times`, in s, lie in an interval of these sorts, bool [time]."""
        inside = np.zeros(len(times), bool)
        for interval in self.intervals:
            if interval.what in what:
                inside |= (times >= interval.start) & (times < interval.stop)
        return inside


def threshold_of(noise_sd: np.ndarray) -> np.ndarray:
    """Return from which weight on something can be seen, in mV, for fast noise of this standard deviation."""
    return np.maximum(LEAST, NOISE_MULTIPLE * noise_sd)


def _one(difference: np.ndarray, threshold: np.ndarray | float, intervals: Sequence[Interval]) -> Evidence:
    weight = np.abs(difference).astype(np.float32)
    level = np.broadcast_to(threshold, (len(weight),))[:, None]
    return Evidence(weight, np.abs(difference) > level, tuple(intervals))
