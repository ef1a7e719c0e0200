# SPDX-License-Identifier: Apache-2.0
"""Age and sex from the comments of a WFDB header. Nothing else in them is kept: comments may name people.

Understood are the forms that data sets were published with: `#Age: 56` and `# Sex: Male` (PhysioNet Challenges,
ECG-ID), `#<age>: 69 <sex>: M` (LUDB and others), `# 69 M 1085 1629 x1` (MIT-BIH).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecglens.formats.clinical import MAX_AGE, sex
from ecglens.formats.wfdb_header import MAX_HEADER_BYTES, decode_header, header_path
from ecglens.runs.files import read_bytes

_AGE = re.compile(r"(?<![^\s#;,])<?age>?\s*[:=]\s*(\S+)", re.IGNORECASE)
_SEX = re.compile(r"(?<![^\s#;,])<?(?:sex|gender)>?\s*[:=]\s*([^\s;,<]+)", re.IGNORECASE)
_MIT_BIH = re.compile(r"(-?\d{1,3})\s+([MF?])\s+(?:\d+|N/A)\s+(?:\d+|N/A)\s+x\d+", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3})?", re.ASCII)


def comments(path: str | Path) -> list[str]:
    """Return the comments of a header, without their `#`, one a line. Raises what `read_bytes` raises."""
    lines = decode_header(read_bytes(header_path(path), MAX_HEADER_BYTES)).split("\n")
    return [line.strip()[1:].strip() for line in lines if line.strip().startswith("#")]


def is_tape(lines: Sequence[str]) -> bool:
    """Tell whether the first comment is that of mitdb: age, sex, two numbers of tapes, recorder."""
    return bool(lines) and _MIT_BIH.fullmatch(lines[0]) is not None


def age_and_sex(lines: Sequence[str]) -> tuple[float | None, str | None]:
    """Return age (years) and sex (female, male) as the comments of a header give them.

    What is missing, impossible or told in two ways is unknown: None.

    >>> age_and_sex(["Age: 71  Sex: M  NYHA class: III-IV"]), age_and_sex(["-1 M 742 654 x1"])
    ((71.0, 'male'), (None, 'male'))
    """
    ages: set[float | None] = set()
    sexes: set[str | None] = set()
    for line in lines:
        both = _MIT_BIH.fullmatch(line)
        ages.update(map(_age, [both[1]] if both else _AGE.findall(line)))
        sexes.update(map(sex, [both[2]] if both else _SEX.findall(line)))
    return ages.pop() if len(ages) == 1 else None, sexes.pop() if len(sexes) == 1 else None


def header_person(path: str | Path) -> dict[str, Any]:
    """Return `{"age": years or None, "sex": "female" | "male" | None}` from the comments of a header."""
    return dict(zip(("age", "sex"), age_and_sex(comments(path)), strict=True))


def _age(word: str) -> float | None:
    word = word.rstrip(";,.")
    age = float(word) if _NUMBER.fullmatch(word) else None
    return age if age is not None and age <= MAX_AGE else None
