# SPDX-License-Identifier: Apache-2.0
"""MIT-BIH Arrhythmia Database (Moody, Mark): 48 recordings of 47 people, 30 min, two leads at 360 Hz, every beat read.

201 and 202 are one man. 102 and 104 have no MLII, 114 has its channels the other way round: take leads by name. The
release's `x_mitdb/` holds excerpts of the same recordings and is left aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ecglens.cohort import Cohort
from ecglens.datasets.events import Event, read_events
from ecglens.datasets.records import (
    Part,
    Recording,
    cohort_of_parts,
    comments,
    divided,
    found_recordings,
    is_record,
    is_tape,
    left_out,
)
from ecglens.errors import InputError, UnsafeError, UsageError
from ecglens.formats.wfdb import read_header

RECORDS = (
    *(str(n) for n in range(100, 125) if n not in (110, 120)),
    *(str(n) for n in range(200, 235) if n not in (204, 206, 211, 216, 218, 224, 225, 226, 227, 229)),
)
SAME_PERSON = {"202": "201"}
TASKS = ("rhythm", "beat")
# Classes of beats of AAMI EC57 and the symbols that they take in; noise, rhythms and flutter waves are no beats.
BEATS = {"N": "NLRej", "S": "aAJS", "V": "VE", "F": "F", "Q": "/fQ"}
_RULES = {
    "rhythm": "MIT-BIH rhythm: 1 where the annotators note this rhythm anywhere in the record or stretch, else 0",
    "beat": "MIT-BIH beat: 1 where a beat of this AAMI EC57 class (N, S, V, F, Q) is annotated anywhere in the record "
    "or stretch, else 0",
}


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds mitdb: a record of its number at 360 Hz with beats, its header naming the tape."""
    try:
        return any(
            is_record(folder / f"{name}.hea", 360, "atr") and is_tape(comments(folder / f"{name}.hea"))
            for name in RECORDS
        )
    except (InputError, UnsafeError):
        return False


def load_mitdb(root: str | Path, task: str = "rhythm", *, stretch: float | None = None) -> Cohort:
    """Load mitdb, or as much of it as lies in `root`.

    task     rhythm: the rhythms that the annotators note (N, AFIB, VT, ...); beat: the AAMI classes of beats. Either
             way several may hold for one record, and classes that do not occur are no columns
    stretch  seconds per record of the cohort; None: whole recordings

    A recording without its annotations is excluded. Raises UsageError for an unknown task.
    """
    if task not in TASKS:
        raise UsageError("load_mitdb", "task", task, ", ".join(TASKS))
    recordings, excluded = found_recordings(Path(root), RECORDS, SAME_PERSON)
    events: dict[str, list[Event]] = {}
    for recording in recordings:
        try:
            events[recording.record_id] = read_events(recording.path.with_suffix(".atr"))
        except (InputError, UnsafeError) as error:
            excluded.append(left_out(recording.record_id, error))
    parts, unreadable = divided([r for r in recordings if r.record_id in events], stretch)
    found = [_classes(recording, part, events[recording.record_id], task) for recording, part in parts]
    order = list(BEATS) if task == "beat" else sorted({name for classes in found for name in classes})
    ids = [part.record_id for _, part in parts]
    labels = pd.DataFrame([[float(name in classes) for name in order] for classes in found], ids, order)
    return cohort_of_parts(
        "mitdb", parts, labels, _RULES[task], excluded=[*excluded, *unreadable], marks="atr", cacheable=stretch is None
    )


def _classes(recording: Recording, part: Part, events: Sequence[Event], task: str) -> set[str]:
    header = read_header(recording.path)
    first = 0.0 if part.start is None else (part.start - header.start) * header.fs
    last = float("inf") if part.stop is None else (part.stop - header.start) * header.fs
    if task == "rhythm":
        return rhythms(events, first, last)
    within = {event.symbol for event in events if first <= event.sample < last}
    return {name for name, symbols in BEATS.items() if within & set(symbols)}


def rhythms(events: Sequence[Event], first: float, last: float) -> set[str]:
    """Return the rhythms in force somewhere in first <= sample < last: each lasts until the next one is noted."""
    changes = [(event.sample, event.note[1:]) for event in events if event.symbol == "+" and event.note[:1] == "("]
    ends = [sample for sample, _ in changes[1:]] + [float("inf")]
    return {name for (begin, name), end in zip(changes, ends, strict=True) if begin < last and end > first}
