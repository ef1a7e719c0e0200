# SPDX-License-Identifier: Apache-2.0
"""The events of a WFDB annotation file, one by one: for labels that data sets keep there (rhythms, kinds of beats)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ecglens.formats.annotations import read_marks


class Event(NamedTuple):
    """One annotation: at which sample, the symbol of its code, and the note that may come with it."""

    sample: int
    symbol: str
    note: str = ""


def read_events(path: Path) -> list[Event]:
    """Return the annotations of a file, in its order. Raises what `read_marks` raises where it is damaged."""
    marks = read_marks(path)
    return list(map(Event, marks.sample.tolist(), marks.symbol, marks.aux))
