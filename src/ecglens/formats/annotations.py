# SPDX-License-Identifier: Apache-2.0
"""WFDB annotation files (`.atr`, `.qrs`, LUDB's `.i` to `.v6`): what somebody marked in a record, and where.

One file in the MIT format of annot(5), WFDB Applications Guide, is decoded strictly; `delineations` makes `Fiducials`
of a record's files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecglens.errors import FormatError
from ecglens.formats.contents import refuse_other_content
from ecglens.runs.files import read_bytes

MAX_BYTES = 64 * 2**20  # a day of beats takes 0.3 MB
MAX_SAMPLE = 10**12

# Code of annot(5) -> its one-letter symbol.
SYMBOLS = {
    1: "N", 2: "L", 3: "R", 4: "a", 5: "V", 6: "F", 7: "J", 8: "A", 9: "S", 10: "E", 11: "j", 12: "/", 13: "Q",
    14: "~", 16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B", 26: "^", 27: "t",
    28: "+", 29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@", 37: "x", 38: "f", 39: "(",
    40: ")", 41: "r",
}  # fmt: skip
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
_LAST_CODE = 49  # 42 to 49 are for the file's own use
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63


@dataclass(frozen=True)
class Annotations:
    """The marks of one file, in order of time; each field has one entry per mark.

    sample   int64, counted from the record's first sample
    symbol   one letter, as in `SYMBOLS`; `#42` to `#49` for a file's own kinds
    subtype  int8; of `~` (quality) which channels are noisy
    channel  uint8, 0 where the file does not say
    number   int8
    aux      text that belongs to a mark: of `+` the rhythm, as in `(AFIB`
    fs       rate that `sample` counts in, in Hz, or None: that of the record
    """

    sample: np.ndarray
    symbol: tuple[str, ...]
    subtype: np.ndarray
    channel: np.ndarray
    number: np.ndarray
    aux: tuple[str, ...]
    fs: float | None = None


def read_marks(path: str | Path) -> Annotations:
    """Read one annotation file. Raises FormatError (kind `annotations`) where it is damaged, cut off or none."""
    path = Path(path)
    raw = read_bytes(path, MAX_BYTES)
    refuse_other_content(path, raw[:512], "a WFDB annotation file")
    if len(raw) % 2:
        raise _error(path, "size", f"{len(raw)} bytes", "an even number of bytes")
    marks, end = _decode(path, np.frombuffer(raw, "<u2").tolist(), raw)
    if any(raw[end:]):
        raise _error(path, "content", f"{len(raw) - end} bytes behind its end", "an end mark at the end")
    fs, marks = _own_definitions(path, marks)
    samples, symbols, subtypes, channels, numbers, notes = zip(*marks, strict=True) if marks else ((),) * 6
    return Annotations(
        np.array(samples, np.int64), symbols, np.array(subtypes, np.int8), np.array(channels, np.uint8),
        np.array(numbers, np.int8), notes, fs,
    )  # fmt: skip


_Mark = tuple[int, str, int, int, int, str]  # the fields of Annotations up to aux


def _decode(path: Path, words: list[int], raw: bytes) -> tuple[list[_Mark], int]:
    """Return the marks and the number of the byte behind the end mark.

    A word is a code in its upper 6 bits and a number in its lower 10: of a mark, the samples since the one before;
    the codes from 59 on change the mark before them (SKIP: the one behind it). Channel and number hold until changed.
    """
    marks: list[_Mark] = []
    at, time, channel, number = 0, 0, 0, 0
    while at < len(words):
        code, value = words[at] >> 10, words[at] & 0x3FF
        at += 1
        if code == 0 and value == 0:
            return marks, 2 * at
        if code == _SKIP:
            if at + 2 > len(words):
                break
            interval = words[at] << 16 | words[at + 1]
            time += interval - (interval >> 31 << 32)
            at += 2
        elif code <= _LAST_CODE:
            time += value
            if not (marks[-1][0] if marks else 0) <= time <= MAX_SAMPLE:
                raise _error(path, f"mark {len(marks)}", f"sample {time}", "marks in order of time")
            if code:
                marks.append((time, SYMBOLS.get(code, f"#{code}"), 0, channel, number, ""))
        elif code < _SKIP or not marks:
            raise _error(path, f"word {at - 1}", f"code {code}", "codes of annot(5), a mark before its properties")
        else:
            sample, symbol, subtype, channel, number, note = marks[-1]
            if code == _AUX:
                if value > 255 or 2 * at + value > len(raw):
                    break
                note = raw[2 * at : 2 * at + value].rstrip(b"\0").decode("latin-1")
                at += (value + 1) // 2
            subtype = _signed(value) if code == _SUB else subtype
            channel = value & 0xFF if code == _CHN else channel
            number = _signed(value) if code == _NUM else number
            marks[-1] = (sample, symbol, subtype, channel, number, note)
    raise _error(path, "size", f"{len(raw)} bytes without an end mark", "a whole file", "truncated")


def _signed(value: int) -> int:
    return (value & 0xFF) - (value >> 7 & 1) * 256


def _own_definitions(path: Path, marks: list[_Mark]) -> tuple[float | None, list[_Mark]]:
    """Return the rate that the file declares, in Hz (None: none), and the marks without such declarations."""
    declared = [mark[5] for mark in marks if mark[:2] == (0, '"')]
    fs = None
    for note in declared:
        if note.startswith("## time resolution:"):
            text = note.split(":", 1)[1].strip()
            fs = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else 0.0
            if not 1e-3 <= fs <= 1e9:
                raise _error(path, "time resolution", text, "a rate in Hz")
    inside = ("## annotation type definitions", "## end of definitions")
    if inside[0] in declared and inside[1] in declared:
        first, last = declared.index(inside[0]), declared.index(inside[1])
        defined = set(declared[first : last + 1])
    else:
        defined = set()
    return fs, [m for m in marks if m[:2] != (0, '"') or not (m[5].startswith("## ") or m[5] in defined)]


def _error(path: Path, field: str, found: str, allowed: str, kind: str = "annotations") -> FormatError:
    return FormatError(path, field, found, allowed, "copy or download the file again", kind=kind)
