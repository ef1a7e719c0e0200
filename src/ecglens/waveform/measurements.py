# SPDX-License-Identifier: Apache-2.0
"""The measurements of an ECG as they are handed on: names with units, values with errors, reasons for what is missing.

>>> Measured(92.4, "ms", 1.6, 9), Measured(None, "mV", reason="flat", status="unknown").as_dict()["value"]
(Measured(value=92.4, unit='ms', uncertainty=1.6, n_beats=9, reason='', status='measured'), None)
>>> print(Measured(1.234, "mV", 0.021, 9))
1.23 ± 0.02 mV
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecglens.errors import UsageError
from ecglens.leads import canonical_lead
from ecglens.waveform.beats import MedianBeats

# What is measured of the whole ECG, and of each lead: name -> what it is.
WHOLE = {
    "heart_rate_bpm": "60 over the mean RR interval of all beats, per minute",
    "rr_ms": "mean RR interval of all beats",
    "rr_sd_ms": "standard deviation of these intervals",
    "p_ms": "earliest onset to latest offset of P over the leads",
    "pr_ms": "earliest onset of P to earliest onset of QRS",
    "qrs_ms": "earliest onset to latest offset of QRS",
    "qt_ms": "earliest onset of QRS to latest offset of T",
    "qtc_bazett_ms": "QT over the square root of RR in s",
    "qtc_fridericia_ms": "QT over the cube root of RR in s",
    "p_axis_deg": "axis of P in the frontal plane",
    "qrs_axis_deg": "axis of QRS in the frontal plane",
    "t_axis_deg": "axis of T in the frontal plane",
    "p_terminal_force_mvms": "depth times duration of the negative end of P in V1",
}
LEAD = {
    "p_mv": "P at its summit, over the chord from its onset to its offset",
    "p_ms": "onset to offset of P",
    "q_mv": "Q",
    "q_ms": "Q",
    "r_mv": "R",
    "r_ms": "R",
    "s_mv": "S, the deepest of several",
    "s_ms": "S",
    "r2_mv": "R'",
    "r2_ms": "R'",
    "qs_mv": "QS: a complex without R",
    "qs_ms": "QS",
    "qrs_ms": "onset to offset of QRS in this lead",
    "st_j_mv": "level at the J point (the latest offset of QRS over the leads)",
    "st_60_mv": "level 60 ms later",
    "t_mv": "T at its summit, over the level before the QRS",
    "t_ms": "onset to offset of T",
}
UNITS = {"ms": "ms", "mv": "mV", "deg": "deg", "bpm": "1/min", "mvms": "mV ms"}


@dataclass(frozen=True)
class Measured:
    """One value: None where it could not be measured ("unknown", with a reason) or is not there ("none").

    uncertainty  standard error, in the same unit; None where a single beat is behind the value
    n_beats      beats behind it
    """

    value: float | None
    unit: str
    uncertainty: float | None = None
    n_beats: int = 0
    reason: str = ""
    status: str = "measured"

    def as_dict(self) -> dict[str, Any]:
        """Return the value as it stands in JSON."""
        return {
            "value": _rounded(self.value), "unit": self.unit, "uncertainty": _rounded(self.uncertainty),
            "n_beats": self.n_beats, "status": self.status, "reason": self.reason or None,
        }  # fmt: skip

    def __str__(self) -> str:
        """Say the value with its standard error."""
        if self.value is None:
            return f"{'none' if self.status == 'none' else 'not measured'} ({self.reason})"
        digits = 2 if self.unit == "mV" else 0
        error = "" if self.uncertainty is None else f" \u00b1 {self.uncertainty:.{digits}f}"
        return f"{self.value:z.{digits}f}{error} {self.unit}"


@dataclass(frozen=True, eq=False)
class Measurements:
    """All measurements of one ECG: `measurements["qrs_ms"]`, `measurements["r_mv", "V5"]`.

    whole   name -> value, the names of `WHOLE`
    leads   lead -> name -> value, the names of `LEAD`
    beats   the median beat they were made on, or None
    ends    wave (P, QRS, T) -> its outermost onset and offset over the leads, in s from the beat's time; those known
    """

    whole: Mapping[str, Measured]
    leads: Mapping[str, Mapping[str, Measured]]
    beats: MedianBeats | None
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __getitem__(self, key: str | tuple[str, str]) -> Measured:
        """Return one value, by name or by (name, lead). Raises UsageError for another name or lead."""
        name, lead = (key, None) if isinstance(key, str) else (key[0], canonical_lead(key[1]))
        table = self.whole if lead is None else self.leads.get(lead)
        if table is None or name not in table:
            raise UsageError("Measurements", "key", key, f"{', '.join(WHOLE)}, or one of {', '.join(LEAD)} and a lead")
        return table[name]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as it stands in JSON."""
        return {
            **{name: value.as_dict() for name, value in self.whole.items()},
            "beats": self._told_beats(),
            "leads": {lead: {name: value.as_dict() for name, value in table.items()}
                      for lead, table in self.leads.items()},
        }  # fmt: skip

    def as_row(self) -> dict[str, float | int | None]:
        """Return the values alone as one row of a table: `pr_ms`, its error `pr_ms_se`, ..., `V5_r_mv`, ..."""
        told = self._told_beats()
        row: dict[str, float | int | None] = {"beats_found": told["found"], "beats_used": told["used"]}
        for name, value in self.whole.items():
            row |= {name: _rounded(value.value), f"{name}_se": _rounded(value.uncertainty)}
        for lead, table in self.leads.items():
            row |= {f"{lead}_{name}": _rounded(value.value) for name, value in table.items()}
        return row

    def _told_beats(self) -> dict[str, Any]:
        if self.beats is None:
            return {"found": 0, "used": 0, "left_out": []}
        out = [
            {"time": None if np.isnan(time) else round(float(time), 4), "reason": reason}
            for time, reason in zip(self.beats.times, self.beats.why_not, strict=True) if reason
        ]  # fmt: skip
        return {"found": len(self.beats.times), "used": int(self.beats.used.sum()), "left_out": out}


def unknown(name: str, reason: str) -> Measured:
    """Return what could not be measured."""
    return Measured(None, unit_of(name), None, 0, reason, "unknown")


def none(name: str, reason: str, n: int) -> Measured:
    """Return what was looked for in `n` beats and is not there."""
    return Measured(None, unit_of(name), None, n, reason, "none")


def unit_of(name: str) -> str:
    """Return the unit that stands at the end of a name."""
    return UNITS[name.rpartition("_")[2]]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
