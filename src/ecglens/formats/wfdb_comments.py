# SPDX-License-Identifier: Apache-2.0
"""Age and sex from the comments of a WFDB header. Nothing else in them is kept: comments may name people.

Understood are the forms that data sets were published with: `#Age: 56` and `# Sex: Male` (PhysioNet Challenges,
ECG-ID), `#<age>: 69 <sex>: M` (LUDB and others), `# 69 M 1085 1629 x1` (MIT-BIH).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ecglens.formats.wfdb_header import MAX_HEADER_BYTES, decode_header, header_path
from ecglens.runs.files import read_bytes

MAX_AGE = 120.0  # years; beyond is a code for "unknown", or a slip

_AGE = re.compile(r"(?<![^\s#;,])<?age>?\s*[:=]\s*(\S+)", re.IGNORECASE)
_SEX = re.compile(r"(?<![^\s#;,])<?(?:sex|gender)>?\s*[:=]\s*([^\s;,<]+)", re.IGNORECASE)
_MIT_BIH = re.compile(r"#\s*(-?\d{1,3})\s+([MF?])\s+(?:\d+|N/A)\s+(?:\d+|N/A)\s+x\d+\s*", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3})?", re.ASCII)
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}


def header_person(path: str | Path) -> dict[str, Any]:
    """Return `{"age": years or None, "sex": "female" | "male" | None}` from the comments of a header.

    What is missing, impossible or told in two ways is unknown: None. Raises what `read_header` raises for a file
    that cannot be opened.
    """
    path = header_path(path)
    ages: set[float | None] = set()
    sexes: set[str | None] = set()
    for line in decode_header(read_bytes(path, MAX_HEADER_BYTES)).split("\n"):
        line = line.strip()
        if not line.startswith("#"):
            continue
        both = _MIT_BIH.fullmatch(line)
        ages.update(map(_age, [both[1]] if both else _AGE.findall(line)))
        sexes.update(_SEXES.get(word.lower()) for word in ([both[2]] if both else _SEX.findall(line)))
    return {"age": ages.pop() if len(ages) == 1 else None, "sex": sexes.pop() if len(sexes) == 1 else None}


def _age(word: str) -> float | None:
    word = word.rstrip(";,.")
    age = float(word) if _NUMBER.fullmatch(word) else None
    return age if age is not None and age <= MAX_AGE else None
