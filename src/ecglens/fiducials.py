# SPDX-License-Identifier: Apache-2.0
"""Fiducials: the marks of P, QRS and T, per lead and beat. What is absent is absent, with a reason, never 0.

>>> import numpy as np
>>> times = np.full((1, 1, len(MARKS)), np.nan)
>>> times[0, 0, MARKS.index("QRS_onset"):MARKS.index("QRS_offset") + 1] = [0.95, 0.96, 1.0, 1.03, 1.05]
>>> marks = Fiducials(times, ("II",), "by hand", absent={("II", 0, "P"): "hidden", ("II", 0, "T"): "cut off"})
>>> float(marks["II", "R_peak"][0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from ecglens.errors import SignalError, UsageError
from ecglens.leads import canonical_lead

MARKS = (
    "P_onset", "P_peak", "P_offset",
    "QRS_onset", "Q_peak", "R_peak", "S_peak", "QRS_offset",
    "T_onset", "T_peak", "T_offset",
)  # fmt: skip
WAVES = {
    "P": ("P_onset", "P_peak", "P_offset"),
    "QRS": ("QRS_onset", "Q_peak", "R_peak", "S_peak", "QRS_offset"),
    "T": ("T_onset", "T_peak", "T_offset"),
}
_SAME = 1e-9  # s; times that differ by less are the same sample


@dataclass(frozen=True, eq=False)
class Fiducials:
    """Marks of one ECG.

    times      float64 [lead, beat, mark], in s on the ECG's clock; NaN where a mark is absent; marks as in `MARKS`
    leads      lead names, as in the ECG
    method     who or what marked them
    certainty  [lead, beat, mark] in 0..1 (NaN where a mark is absent), or None where the method gives none
    absent     reason by (lead, beat, wave) for each wave without any mark, beat None for all beats of the lead that
               lack the wave; required, so that absence is never silent
    beat_labels  what each beat is, as its marker wrote it (N, V, A, ...), or None where nobody said
    rhythms    stretches (start, stop, name), in s on the ECG's clock, half-open, in order of time
    """

    times: np.ndarray
    leads: tuple[str, ...]
    method: str
    certainty: np.ndarray | None = None
    absent: Mapping[tuple[str, int | None, str], str] = field(default_factory=dict)
    beat_labels: tuple[str, ...] | None = None
    rhythms: tuple[tuple[float, float, str], ...] = ()

    def __post_init__(self) -> None:
        times = np.array(self.times, dtype=np.float64)
        leads = tuple(canonical_lead(name) for name in self.leads)
        if times.ndim != 3 or times.shape[0] != len(leads) or times.shape[2] != len(MARKS):
            raise SignalError(
                "Fiducials", "times", f"shape {times.shape}", f"[{len(leads)} leads, beat, {len(MARKS)} marks]"
            )
        if np.isinf(times).any():
            raise SignalError("Fiducials", "times", "infinite marks", "times in s, NaN where absent")
        doubled = sorted({name for name in leads if leads.count(name) > 1})
        if doubled:
            raise SignalError("Fiducials", "leads", f"{', '.join(doubled)} more than once", "each lead once")
        if self.certainty is not None:
            object.__setattr__(self, "certainty", _certainty(self.certainty, times.shape))
        times.flags.writeable = False
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "leads", leads)
        object.__setattr__(self, "absent", MappingProxyType(dict(self.absent)))
        if self.beat_labels is not None:
            object.__setattr__(self, "beat_labels", tuple(self.beat_labels))
            if len(self.beat_labels) != times.shape[1]:
                raise SignalError(
                    "Fiducials", "beat_labels", f"{len(self.beat_labels)}", f"{times.shape[1]}, one a beat"
                )
        object.__setattr__(self, "rhythms", tuple((float(a), float(b), str(name)) for a, b, name in self.rhythms))
        self._check_order()
        self._check_absences()
        self._check_rhythms()

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and workers receive marks by pickle.
        absent = dict(self.absent)
        return Fiducials, (
            self.times, self.leads, self.method, self.certainty, absent, self.beat_labels, self.rhythms
        )  # fmt: skip

    @property
    def n_beats(self) -> int:
        """Beats marked."""
        return int(self.times.shape[1])

    def crop(self, start: float, stop: float) -> Fiducials:
        """Return the marks of `ecg.crop(start, stop)`: what lies in start <= t < stop, in s on the same clock.

        A beat lies where its QRS does (the first R peak of any lead; without one, its first mark). Its marks outside
        the stretch become absent, with that reason; rhythms end with the stretch. Infinite ends are allowed.
        Raises SignalError where `start` is not before `stop`.
        """
        if not start < stop:  # NaN compares as not before
            raise SignalError("Fiducials", "crop", f"[{start:g}, {stop:g}) s", "start < stop", kind="crop")
        begin, end = start - _SAME, stop - _SAME
        at = self._beat_times
        kept = np.flatnonzero((at >= begin) & (at < end))
        times = self.times[:, kept].copy()
        outside = (times < begin) | (times >= end)
        times[outside] = np.nan
        certainty = None if self.certainty is None else np.where(outside, np.nan, self.certainty[:, kept])
        return Fiducials(
            times, self.leads, self.method, certainty, self._absences_of(kept, outside, times),
            None if self.beat_labels is None else tuple(self.beat_labels[beat] for beat in kept),
            tuple((max(a, start), min(b, stop), name) for a, b, name in self.rhythms if a < end and b > start + _SAME),
        )  # fmt: skip

    @cached_property
    def _beat_times(self) -> np.ndarray:
        """Return when each beat is [beat], in s."""
        at = np.fmin.reduce(self.times[:, :, MARKS.index("R_peak")], axis=0)
        without = np.isnan(at)
        at[without] = np.fmin.reduce(self.times[:, without], axis=(0, 2))
        return at  # kept: a day is cropped a thousand times

    def _absences_of(
        self, kept: np.ndarray, outside: np.ndarray, times: np.ndarray
    ) -> dict[tuple[str, int | None, str], str]:
        """Return the reasons of these beats, and one for each wave that lies wholly outside the stretch."""
        number = {int(beat): new for new, beat in enumerate(kept)}
        absent = {
            (lead, None if beat is None else number[beat], wave): reason
            for (lead, beat, wave), reason in self.absent.items()
            if beat is None or beat in number
        }
        for wave, marks in WAVES.items():
            columns = [MARKS.index(mark) for mark in marks]
            lost = outside[:, :, columns].any(axis=2) & np.isnan(times[:, :, columns]).all(axis=2)
            for row, beat in np.argwhere(lost).tolist():
                absent[self.leads[row], beat, wave] = "outside the stretch"
        return absent

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        """Return one mark in one lead [beat], in s: `fiducials["V2", "R_peak"]`."""
        lead, mark = canonical_lead(key[0]), key[1]
        if lead not in self.leads:
            raise SignalError("Fiducials", "leads", f"no {lead}", ", ".join(self.leads), kind="missing_lead", lead=lead)
        if mark not in MARKS:
            raise UsageError("Fiducials", "mark", mark, ", ".join(MARKS))
        return self.times[self.leads.index(lead), :, MARKS.index(mark)]

    def _check_order(self) -> None:
        # Onset before peak before offset, wave after wave: a mark out of order is a mistake of the marker.
        # NaN compares as in order, and the latest mark so far is carried past it.
        latest = np.fmax.accumulate(self.times, axis=2)
        late = (self.times[:, :, 1:] < latest[:, :, :-1]).any(axis=2)
        if late.any():
            row, beat = np.argwhere(late)[0].tolist()
            lead = self.leads[row]
            raise SignalError(
                "Fiducials", f"lead {lead}, beat {beat}", "marks out of order", " <= ".join(MARKS), lead=lead
            )

    def _check_absences(self) -> None:
        for wave, marks in WAVES.items():
            columns = [MARKS.index(mark) for mark in marks]
            missing = np.isnan(self.times[:, :, columns]).all(axis=2)
            missing[[(lead, None, wave) in self.absent for lead in self.leads]] = False
            for row, beat in np.argwhere(missing):
                if (self.leads[row], int(beat), wave) not in self.absent:
                    raise SignalError(
                        "Fiducials", f"lead {self.leads[row]}, beat {beat}", f"no {wave} and no reason",
                        "a reason in `absent` for each wave that is not there", lead=self.leads[row],
                    )  # fmt: skip

    def _check_rhythms(self) -> None:
        times = [time for start, stop, _ in self.rhythms for time in (start, stop)]
        if not all(a <= b for a, b in pairwise(times)):  # NaN compares as out of order
            raise SignalError("Fiducials", "rhythms", "stretches out of order", "start <= stop <= next start")


def _certainty(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    certainty = np.array(values, dtype=np.float64)
    if certainty.shape != shape:
        raise SignalError("Fiducials", "certainty", f"shape {certainty.shape}", f"{shape}")
    if not np.logical_or(np.isnan(certainty), (certainty >= 0) & (certainty <= 1)).all():
        raise SignalError("Fiducials", "certainty", "values outside 0..1", "0 to 1, NaN where a mark is absent")
    certainty.flags.writeable = False
    return certainty
