# SPDX-License-Identifier: Apache-2.0
"""The sidecar: a small JSON file beside a file that cannot say itself what its numbers mean.

`rec.npy` or `rec.csv` has `rec.json`:

    {"fs": 500, "leads": ["I", "II"], "unit": "uV", "gain": 1, "baseline": 0, "gap": -32768, "start": 0,
     "age": 63, "sex": "female", "device": "...", "date": "2024-05-17", "sha256": "..."}

mV = (value - baseline) / gain in `unit`; with `sha256` the file beside it is verified. Other keys are refused:
a misspelled one would change the meaning of the numbers without a word, and a name has no place here.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecglens.ecg import MAX_FS, MIN_FS
from ecglens.errors import FormatError
from ecglens.formats.channels import MAX_LEADS, Scale, per_millivolt
from ecglens.formats.clinical import MAX_AGE
from ecglens.runs.files import open_regular, read_json

MAX_BYTES = 2**20
KEYS = ("fs", "leads", "unit", "gain", "baseline", "gap", "start", "age", "sex", "device", "date", "sha256")


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says; None where it does not. `scale` is None where neither unit nor gain is given."""

    path: Path
    fs: float | None = None
    leads: tuple[str, ...] | None = None
    scale: Scale | None = None
    gap: int | None = None
    start: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    def fault(self, key: str, found: object, allowed: str) -> FormatError:
        """Return the error that names a key of this sidecar."""
        return FormatError(self.path, key, found, allowed, "correct the sidecar", kind="sidecar")


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a file is."""
    return path.with_suffix(".json")


def read_sidecar(path: Path) -> Sidecar | None:
    """Read the sidecar of the file `path`, None where there is none. Raises FormatError (kind `sidecar`, `json`)."""
    place = sidecar_path(path)
    if not os.path.lexists(place):
        return None
    with open_regular(place):  # no link, no pipe
        told = read_json(place, MAX_BYTES)
    blank = Sidecar(place)
    if not isinstance(told, dict):
        raise blank.fault("content", type(told).__name__, "an object with the keys " + ", ".join(KEYS))
    unknown = sorted(set(told) - set(KEYS))
    if unknown:
        raise blank.fault("keys", ", ".join(unknown), ", ".join(KEYS))
    return Sidecar(
        place,
        _number(blank, told, "fs", MIN_FS, MAX_FS),
        _leads(blank, told.get("leads")),
        _scale(blank, told),
        _gap(blank, told.get("gap")),
        _number(blank, told, "start", -1e9, 1e9) or 0.0,
        _metadata(blank, told),
        _digest(blank, told.get("sha256")),
    )


def verify(path: Path, content: bytes | memoryview, sidecar: Sidecar) -> None:
    """Raise FormatError (kind `checksum`) where a file is not the one its sidecar was written for."""
    found = hashlib.sha256(content).hexdigest()
    if sidecar.sha256 is not None and found != sidecar.sha256:
        raise FormatError(
            path, "SHA-256", found, f"{sidecar.sha256}, as {sidecar.path.name} says",
            "one of the two files is damaged: copy both again", kind="checksum",
        )  # fmt: skip


def _number(blank: Sidecar, told: dict[str, Any], key: str, low: float, high: float) -> float | None:
    value = told.get(key)
    if value is None:
        return None
    # `true` is a number to Python, and a whole number may be too large to become a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise blank.fault(key, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _leads(blank: Sidecar, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 0 < len(value) <= MAX_LEADS:
        raise blank.fault("leads", type(value).__name__, f"a list of 1 to {MAX_LEADS} lead names")
    wrong = [lead for lead in value if not isinstance(lead, str) or not lead.strip() or not lead.isprintable()]
    if wrong:
        raise blank.fault("leads", repr(wrong[0]), "lead names")
    return tuple(value)


def _scale(blank: Sidecar, told: dict[str, Any]) -> Scale | None:
    gain, baseline = _number(blank, told, "gain", -1e9, 1e9), _number(blank, told, "baseline", -1e9, 1e9)
    unit = told.get("unit")
    if unit is None and gain is None and baseline is None:
        return None
    parts = per_millivolt(unit) if isinstance(unit, str) else None
    if parts is None:
        raise blank.fault("unit", unit, "mV, uV, V or nV")
    if gain is not None and abs(gain) < 1e-9:
        raise blank.fault("gain", gain, "steps per unit, not 0")
    slope = 1 / (gain or 1.0)
    return Scale(slope, -(baseline or 0.0) * slope, parts)


def _gap(blank: Sidecar, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise blank.fault("gap", value, "the whole number that stands for a missing sample")
    return value


def _digest(blank: Sidecar, value: Any) -> str | None:
    if value is not None and not (
        isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    ):
        raise blank.fault("sha256", value, "64 hexadecimal digits")
    return value


def _metadata(blank: Sidecar, told: dict[str, Any]) -> dict[str, Any]:
    metadata = {"age": _number(blank, told, "age", 0, MAX_AGE), "sex": told.get("sex"), "device": told.get("device"),
                "date": told.get("date")}  # fmt: skip
    if metadata["sex"] not in (None, "female", "male"):
        raise blank.fault("sex", metadata["sex"], "female or male")
    device = metadata["device"]
    if device is not None and not (isinstance(device, str) and device.isprintable() and len(device) <= 64):
        raise blank.fault("device", device, "up to 64 letters")
    if metadata["date"] is not None and not _is_day(metadata["date"]):
        raise blank.fault("date", metadata["date"], "a day as in 2024-05-17")
    return {key: value for key, value in metadata.items() if value is not None}


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
