# SPDX-License-Identifier: Apache-2.0
"""What the readers of clinical files share: who was recorded and when, without a name, and checks of the leads."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import Finding, printable
from ecglens.formats.wfdb_header import USUAL_FS
from ecglens.leads import OTHER_LEADS, STANDARD_LEADS, canonical_lead, derivable, limb_residual
from ecglens.shapes import Signal

MAX_AGE = 130.0
LONE = 0.3  # mV
_YEARS = {"years": 1.0, "year": 1.0, "a": 1.0, "y": 1.0, "months": 1 / 12, "mo": 1 / 12, "weeks": 7 / 365.25,
          "wk": 7 / 365.25, "days": 1 / 365.25, "d": 1 / 365.25, "hours": 1 / 8766, "h": 1 / 8766}  # fmt: skip
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}


def sex(word: str) -> str | None:
    """Return "female" or "male", or None where the file says neither.

    >>> sex("F"), sex("MALE"), sex("UNKNOWN")
    ('female', 'male', None)
    """
    return _SEXES.get(word.strip().lower())


def age(value: str, unit: str) -> float | None:
    """Return an age in years, or None where the file states none.

    >>> age("46", "a"), age("6", "MONTHS"), age("", "a"), age("460", "a")
    (46.0, 0.5, None, None)
    """
    if not value.isascii() or not value.isdigit() or len(value) > 6 or unit.strip().lower() not in _YEARS:
        return None
    years = int(value) * _YEARS[unit.strip().lower()]
    return round(years, 3) if 0 < years <= MAX_AGE else None


def moment(*parts: str) -> datetime.datetime | None:
    """Return year, month, day and, where there are, hour, minute, second as a time, or None where they are none.

    >>> moment("2002", "11", "22", "9", "10").isoformat(), moment("2002", "13", "1")
    ('2002-11-22T09:10:00', None)
    """
    if not all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        return None
    try:
        when = datetime.datetime(*map(int, parts))  # type: ignore[arg-type]
    except ValueError:
        return None
    return when if when.year >= 1900 else None


def facts(
    file_format: str,
    device: str = "",
    recorded: datetime.datetime | None = None,
    born: datetime.datetime | None = None,
    stated_age: float | None = None,
    stated_sex: str | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Return (metadata, findings). The date of birth gives the age, where none is stated, and is then forgotten."""
    metadata: dict[str, Any] = {"format": file_format}
    findings = []
    lived = None
    if born is not None and recorded is not None:
        lived = recorded.year - born.year - ((recorded.month, recorded.day) < (born.month, born.day))
        if not 0 <= lived <= MAX_AGE:
            findings.append(Finding("age", "warning", "recorded before the date of birth, or too long after it"))
            lived = None
    if stated_age is not None and lived is not None and abs(stated_age - lived) > 1:
        reason = f"stated age {stated_age:g}, by the date of birth {lived}: the stated one is used"
        findings.append(Finding("age", "warning", reason))
    years = stated_age if stated_age is not None else lived
    if years is not None:
        metadata["age"] = years
    if stated_sex is not None:
        metadata["sex"] = stated_sex
    if device:
        metadata["device"] = printable(device, 64)
    if recorded is not None:
        metadata["date"] = recorded.isoformat(" ", "seconds")
    return metadata, findings


def rate_findings(fs: float) -> list[Finding]:
    """Flag a sampling rate, in Hz, that recorders do not commonly use: more often a damaged file than a rare one."""
    if fs in USUAL_FS:
        return []
    return [Finding("unusual_fs", "warning", f"{fs:g} Hz is no rate that recorders commonly use")]


def lead_findings(leads: Sequence[str]) -> list[Finding]:
    """Flag lead names that are not known."""
    names = [canonical_lead(name) for name in leads]
    return [
        Finding("unknown_lead", "warning", f"{name!r} is not a lead name we know", name)
        for name in names
        if name not in STANDARD_LEADS and name not in OTHER_LEADS
    ]


def scale_findings(leads: Sequence[str], scales: Sequence[float], zeros: Sequence[float]) -> list[Finding]:
    """Flag a resolution (mV per unit) or zero (mV) that differs where most leads agree."""
    findings = []
    for kind, values in (("odd_gain", scales), ("odd_baseline", zeros)):
        usual, n = Counter(values).most_common(1)[0]
        if n > len(values) / 2:
            findings += [
                Finding(kind, "warning", f"{value:g} mV where most leads have {usual:g} mV", lead)
                for lead, value in zip(leads, values, strict=True)
                if value != usual
            ]
    return findings


def limb_findings(signal: Signal, leads: Sequence[str], step: float) -> list[Finding]:
    """Flag stored limb leads, in mV, that contradict each other by more than rounding to steps of `step` mV explains.

    What Einthoven's and Goldberger's laws cannot see: changes of I and II alike, and of the chest leads.
    """
    residual = limb_residual(signal, [canonical_lead(name) for name in leads])
    allowed = 3 * step + 0.002
    if residual is None or residual <= allowed:
        return []
    reason = f"limb leads contradict each other by up to {residual:.3g} mV, where rounding explains {allowed:.2g} mV"
    return [Finding("limb_leads", "warning", reason)]


def lone_findings(signal: Signal, leads: Sequence[str]) -> list[Finding]:
    """Flag single samples, in mV, far off neighbours that agree: a digit that changed, or a pacing spike.

    For formats that write samples as text without a checksum, where one damaged character changes one sample.
    """
    if signal.shape[1] < 3:
        return []
    before, here, after = signal[:, :-2], signal[:, 1:-1], signal[:, 2:]
    off = np.abs(here - (before + after) / 2)
    lone = (off > LONE) & (off > 10 * np.abs(after - before))
    return [
        Finding(
            "lone_sample", "warning", f"sample {int(np.argmax(row)) + 1} stands alone: damage or a pacing spike", lead
        )
        for lead, row in zip(leads, lone, strict=True)
        if row.any()
    ]


def with_limb_leads(ecg: ECG) -> ECG:
    """Return the ECG with the limb leads that its file left to the reader, in standard order; they are noted."""
    present = [name for name in STANDARD_LEADS if name in ecg.leads or derivable(ecg.leads, name)]
    if set(present) <= set(ecg.leads):
        return ecg
    return ecg.select((*present, *(name for name in ecg.leads if name not in present)))
