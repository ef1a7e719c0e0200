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


@dataclass(frozen=True, eq=False)
class Fiducials:
    """Marks of one ECG.

    times      float64 [lead, beat, mark], in s on the ECG's clock; NaN where a mark is absent; marks as in `MARKS`
    leads      lead names, as in the ECG
    method     who or what marked them
    certainty  [lead, beat, mark] in 0..1 (NaN where a mark is absent), or None where the method gives none
    absent     reason by (lead, beat, wave) for each wave without any mark; required, so that absence is never silent
    """

    times: np.ndarray
    leads: tuple[str, ...]
    method: str
    certainty: np.ndarray | None = None
    absent: Mapping[tuple[str, int, str], str] = field(default_factory=dict)

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
        self._check_order()
        self._check_absences()

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and workers receive marks by pickle.
        return Fiducials, (self.times, self.leads, self.method, self.certainty, dict(self.absent))

    @property
    def n_beats(self) -> int:
        """Beats marked."""
        return int(self.times.shape[1])

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
        for lead, beats in zip(self.leads, self.times, strict=True):
            for beat, marks in enumerate(beats):
                present = marks[~np.isnan(marks)]
                if (np.diff(present) < 0).any():
                    raise SignalError(
                        "Fiducials", f"lead {lead}, beat {beat}", "marks out of order", " <= ".join(MARKS), lead=lead
                    )

    def _check_absences(self) -> None:
        for wave, marks in WAVES.items():
            columns = [MARKS.index(mark) for mark in marks]
            missing = np.isnan(self.times[:, :, columns]).all(axis=2)
            for row, beat in np.argwhere(missing):
                if (self.leads[row], int(beat), wave) not in self.absent:
                    raise SignalError(
                        "Fiducials", f"lead {self.leads[row]}, beat {beat}", f"no {wave} and no reason",
                        "a reason in `absent` for each wave that is not there", lead=self.leads[row],
                    )  # fmt: skip


def _certainty(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    certainty = np.array(values, dtype=np.float64)
    if certainty.shape != shape:
        raise SignalError("Fiducials", "certainty", f"shape {certainty.shape}", f"{shape}")
    if not np.logical_or(np.isnan(certainty), (certainty >= 0) & (certainty <= 1)).all():
        raise SignalError("Fiducials", "certainty", "values outside 0..1", "0 to 1, NaN where a mark is absent")
    certainty.flags.writeable = False
    return certainty
