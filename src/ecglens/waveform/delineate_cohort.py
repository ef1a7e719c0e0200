# SPDX-License-Identifier: Apache-2.0
"""The marks, and on request the soft segmentation, of a whole cohort as a run folder that any stop can interrupt.

`tables/marks.csv` has a row per record, lead and beat; `tables/records.csv` a row per record. The soft segmentation
is `arrays/segments.npy`, uint8 [record, lead, time, 24] at 100 Hz (divide by 255), which `np.load(..., mmap_mode="r")`
opens without reading it. Records are worked on in blocks; a finished block is never done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import EcglensError, InputError, SignalError, UnsafeError
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run
from ecglens.segments import SEGMENTS, segment_probabilities
from ecglens.waveform.delineate import marks_from_map
from ecglens.waveform.soft_segments import SEGMENT_RATE, mark_deviations
from ecglens.waveform.wave_map import WaveMap, map_all

BLOCK = 64  # records
_COLUMNS = ("record_id", "row", "n_beats", "reason")


@dataclass(frozen=True, eq=False)
class Delineated:
    """What `delineate_cohort` wrote.

    records   record_id, row (of `segments.npy`), n_beats, reason (why a record has no beats or was left out)
    n_beats   over all records
    left_out  the reasons of records that could not be used, in the words of their errors
    """

    folder: Path
    records: pd.DataFrame
    n_beats: int
    left_out: tuple[str, ...]


def delineate_cohort(
    cohort: Cohort,
    folder: str | Path,
    *,
    soft: bool = False,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Delineated:
    """Delineate every record of `cohort` into the run folder `folder`.

    soft       write the soft segmentation too: 24 bytes a lead and 10 ms, as long as the first record; a longer
               record is left out, a shorter one filled up with 0, like a lead that a record does not have
    resume     go on where such a run was cut off
    arguments  what to note in `run.json`

    Raises UsageError where the folder holds something else, ContractError where a resumed run was another one.
    """
    told = dict(arguments or {}) | {"soft": soft, "n_records": len(cohort), "cohort": cohort.name}
    run = Run.create(Path(folder), "delineate", told, 0, resume)
    with run.writing(), run.journal() as journal:
        done = journal.entries("block")
        array = _soft_array(run, cohort, bool(done)) if soft else None
        for first in range(0, len(cohort), BLOCK):
            if str(first) not in done:
                rows, marks = _block(cohort, range(first, min(first + BLOCK, len(cohort))), array)
                run.write_table(_part(first), marks)
                if array is not None:
                    array.flush()
                journal.record("block", str(first), rows)
            progress("delineating", min(first + BLOCK, len(cohort)), len(cohort), "")
        entries = journal.entries("block")
    blocks = sorted(entries, key=int)
    records = pd.DataFrame([row for key in blocks for row in entries[key]], columns=[*_COLUMNS, "left_out"])
    run.write_table("records", records[list(_COLUMNS)])
    if (run.folder / "tables" / f"{_part(0)}.csv").exists():
        _gather(run, [int(key) for key in blocks])
    left_out = tuple(records.loc[records["left_out"].astype(bool), "reason"])
    n_beats = int(records["n_beats"].sum())
    run.note(finished=True, n_beats=n_beats, left_out=len(left_out), segments=list(SEGMENTS), fs=SEGMENT_RATE)
    return Delineated(run.folder, records[list(_COLUMNS)], n_beats, left_out)


def _part(first: int) -> str:
    return f"marks-{first:07d}"


def _gather(run: Run, firsts: list[int]) -> None:
    """Put the tables of the blocks together, then remove them."""
    parts = [run.folder / "tables" / f"{_part(first)}.csv" for first in firsts]
    run.write_table("marks", pd.concat([pd.read_csv(path, dtype={"record_id": str}) for path in parts]))
    for path in reversed(parts):  # the first one last: while it is there, the rest has to be done again
        path.unlink()


def _soft_array(run: Run, cohort: Cohort, begun: bool) -> np.memmap:
    """Open the array of the soft segmentation, or make it, as long as the first record that can be read."""
    path = run.folder / "arrays" / "segments.npy"
    if begun:
        return np.lib.format.open_memmap(path, "r+")
    seconds = next((ecg.duration for ecg in _readable(cohort)), 10.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(cohort), len(STANDARD_LEADS), int(np.ceil(seconds * SEGMENT_RATE - 1e-6)), len(SEGMENTS))
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def _readable(cohort: Cohort) -> list[ECG]:
    for i in range(len(cohort)):
        try:
            return [cohort[i]]
        except (InputError, UnsafeError):
            continue
    return []


def _block(cohort: Cohort, indices: range, array: np.memmap | None) -> tuple[list[list[Any]], pd.DataFrame]:
    """Return the rows of `records.csv` and `marks.csv`, and fill in the array."""
    ecgs: dict[int, ECG] = {}
    faults: dict[int, EcglensError] = {}
    for i in indices:
        try:
            ecgs[i] = cohort[i]
            if array is not None:
                _refuse_long(ecgs[i], array.shape[2])
        except (InputError, UnsafeError) as error:
            faults[i] = error
            ecgs.pop(i, None)
    rows: dict[int, list[Any]] = {i: [cohort.record_ids[i], i, 0, str(error), 1] for i, error in faults.items()}
    tables = []
    for (i, ecg), wave_map in zip(ecgs.items(), map_all(list(ecgs.values())), strict=True):
        marks = marks_from_map(ecg, wave_map)
        rows[i] = [cohort.record_ids[i], i, marks.n_beats, _why_none(marks), 0]
        tables.append(_table(cohort.record_ids[i], marks))
        if array is not None:
            _lay(array[i], ecg, wave_map, marks)
    empty = pd.DataFrame(columns=["record_id", "lead", "beat", *MARKS])
    return [rows[i] for i in indices], pd.concat(tables) if tables else empty


def _refuse_long(ecg: ECG, n_samples: int) -> None:
    if int(np.ceil(ecg.duration * SEGMENT_RATE - 1e-6)) > n_samples:
        raise SignalError(
            ecg.record_id or "ECG", "length", f"{ecg.duration:g} s",
            f"up to {n_samples / SEGMENT_RATE:g} s, as the first", "delineate records of one length together",
            kind="too_long",
        )  # fmt: skip


def _why_none(marks: Fiducials) -> str:
    return "" if marks.n_beats else next(iter(marks.absent.values()), "")


def _table(record_id: str, marks: Fiducials) -> pd.DataFrame:
    n_leads, n_beats, _ = marks.times.shape
    table = pd.DataFrame(marks.times.reshape(-1, len(MARKS)).round(5), columns=list(MARKS))
    table.insert(0, "beat", np.tile(np.arange(n_beats), n_leads))
    table.insert(0, "lead", np.repeat(marks.leads, n_beats))
    table.insert(0, "record_id", record_id)
    return table


def _lay(row: np.ndarray, ecg: ECG, wave_map: WaveMap, marks: Fiducials) -> None:
    times = ecg.start + np.arange(int(np.ceil(ecg.duration * SEGMENT_RATE - 1e-6))) / SEGMENT_RATE
    soft = segment_probabilities(marks, times, mark_deviations(wave_map, marks))
    for lead, values in zip(ecg.leads, soft, strict=True):
        if lead in STANDARD_LEADS:
            row[STANDARD_LEADS.index(lead), : len(times)] = np.rint(255 * values)
