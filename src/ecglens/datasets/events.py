# SPDX-License-Identifier: Apache-2.0
"""The events of a WFDB annotation file as they stand in it: sample, symbol, note.

For labels that data sets keep in annotations (rhythms, kinds of beats). The format is that of annot(5) of the WFDB
Applications Guide: words of 16 bits, the upper six the code, the lower ten the samples since the event before.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ecglens.errors import FormatError
from ecglens.runs.files import read_bytes

_MAX_BYTES = 2**26
_END, _SKIP, _NUMBER, _SUBTYPE, _CHANNEL, _NOTE = 0, 59, 60, 61, 62, 63
# Codes 1 to 41; a blank where none is assigned.
_SYMBOLS = dict(enumerate('NLRaVFJASEj/Q~ | sT*D"=pB^t+u?![]en@xf()r', 1))


class Event(NamedTuple):
    """One annotation: at which sample, the symbol of its code, and the note that may come with it."""

    sample: int
    symbol: str
    note: str = ""


def read_events(path: Path) -> list[Event]:
    """Return the annotations of a file, in its order. Raises FormatError where it breaks off or has an unknown code."""
    raw = read_bytes(path, _MAX_BYTES)
    events: list[Event] = []
    at = time = 0
    while at + 2 <= len(raw):
        word = int.from_bytes(raw[at : at + 2], "little")
        code, value = word >> 10, word & 0x3FF
        at += 2
        if code == _END and value == 0:
            return events
        if code == _SKIP:  # 32 bits, the upper half first
            high, low = (int.from_bytes(raw[at + k : at + k + 2], "little") for k in (0, 2))
            time += ((high << 16 | low) + 2**31) % 2**32 - 2**31
            at += 4
        elif code == _NOTE:
            if not events:
                raise FormatError(
                    path, f"byte {at - 2}", "a note without an event", "an annotation file", kind="content"
                )
            note = raw[at : at + value].split(b"\0")[0].decode("latin-1").strip()
            events[-1] = events[-1]._replace(note=note)
            at += value + value % 2
        elif code not in (_NUMBER, _SUBTYPE, _CHANNEL):
            time += value
            if _SYMBOLS.get(code, " ") == " " or time < 0:
                raise FormatError(path, f"byte {at - 2}", f"code {code} at sample {time}", "a code from 1 to 41",
                                  "this is no annotation file, or a damaged one", kind="content")  # fmt: skip
            events.append(Event(time, _SYMBOLS[code]))
    raise FormatError(path, "length", f"{len(raw)} bytes without an end mark", "an end mark", "copy the file again",
                      kind="truncated")  # fmt: skip
