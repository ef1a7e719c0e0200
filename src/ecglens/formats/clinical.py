# SPDX-License-Identifier: Apache-2.0
"""What the readers of clinical files share: who was recorded and when, without a name, and the limb leads."""

from __future__ import annotations

import datetime
from typing import Any

from ecglens.ecg import ECG
from ecglens.errors import Finding, printable
from ecglens.leads import STANDARD_LEADS, derivable

MAX_AGE = 120.0  # years; beyond is a code for "unknown", or a slip
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


def with_limb_leads(ecg: ECG) -> ECG:
    """Return the ECG with the limb leads that its file left to the reader, in standard order; they are noted."""
    present = [name for name in STANDARD_LEADS if name in ecg.leads or derivable(ecg.leads, name)]
    if set(present) <= set(ecg.leads):
        return ecg
    return ecg.select((*present, *(name for name in ecg.leads if name not in present)))
