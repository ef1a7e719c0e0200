# SPDX-License-Identifier: Apache-2.0
"""The measurements of a whole cohort as one CSV, one row a record, finished records kept through any interruption."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecglens import __version__
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError, InputError, UnsafeError
from ecglens.fiducials import Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.files import write_text
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.waveform.criteria import CRITERIA, decide_all
from ecglens.waveform.delineate import delineate
from ecglens.waveform.measure import measure
from ecglens.waveform.measurements import LEAD, WHOLE

COLUMNS = (
    "record_id", "patient_id", "fs", "left_out", "beats_found", "beats_used",
    *(column for name in WHOLE for column in (name, f"{name}_se")),
    *(f"{lead}_{name}" for lead in STANDARD_LEADS for name in LEAD),
    *(f"criterion_{name}" for name in CRITERIA),
)  # fmt: skip
Marker = Callable[[ECG], Fiducials]


@dataclass(frozen=True)
class Tabulated:
    """How many records were measured, and the errors, as in JSON, that kept the others from it."""

    measured: int
    left_out: tuple[dict[str, Any], ...]


def measure_cohort(
    cohort: Cohort,
    out: str | Path,
    *,
    marker: Marker = delineate,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Tabulated:
    """Measure all records and write the CSV `out`: the columns `COLUMNS`, empty where not measured.

    marker     what gives the marks of an ECG
    resume     go on with what an interrupted call left in the journal beside `out`
    overwrite  replace a table that is there

    A record that cannot be read has a row that says why. Raises InputError where `out` or the journal of another call
    is there, ContractError where that journal is of other records or another version.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise InputError(out, "output", "is there", "a new file", "give another name, or --overwrite", kind="exists")
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f"{out.name}.journal")
    with Journal(path) as journal:
        _agree(journal, cohort, resume)
        done: dict[str, dict[str, Any]] = journal.entries("record")
        for i, record_id in enumerate(cohort.record_ids):
            if record_id not in done:
                done[record_id] = _measured(cohort, i, marker)
                journal.record("record", record_id, done[record_id])
            progress("measure", i + 1, len(cohort), "")
        entries = [done[record_id] for record_id in cohort.record_ids]
        write_text(out, _as_csv([entry["row"] for entry in entries]))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    left_out = tuple(entry["error"] for entry in entries if entry["error"] is not None)
    return Tabulated(len(entries) - len(left_out), left_out)


def _agree(journal: Journal, cohort: Cohort, resume: bool) -> None:
    """Note what this table is of; refuse to go on with another one."""
    ids = hashlib.sha256("\n".join(cohort.record_ids).encode()).hexdigest()
    asked = {"cohort": cohort.name, "records": ids, "version": __version__, "columns": list(COLUMNS)}
    found = journal.entries("table").get("asked")
    if found is not None and not resume:
        raise InputError(
            journal.path, "output", "an unfinished table", "none", "--resume, or delete it", kind="exists"
        )  # fmt: skip
    if found is not None and found != asked:
        different = [name for name, value in asked.items() if found.get(name) != value]
        raise ContractError(journal.path, ", ".join(different), "another", "the same as before", "delete it")
    journal.record("table", "asked", asked)


def _measured(cohort: Cohort, index: int, marker: Marker) -> dict[str, Any]:
    """Return a record's row, and the error that kept it from being read, or None."""
    row: dict[str, Any] = {"record_id": cohort.record_ids[index], "patient_id": cohort.patient_keys[index]}
    try:
        ecg = cohort[index]
    except (InputError, UnsafeError) as error:
        return {"row": row | {"left_out": str(error)}, "error": error.as_dict()}
    about = cohort.metadata.iloc[index]
    known = {name: about[name] for name in ("age", "sex") if name in about and about[name] == about[name]}
    ecg = replace(ecg, metadata={**ecg.metadata, **{k: v for k, v in known.items() if v is not None}})
    found = measure(ecg, marker(ecg))
    row |= {"fs": ecg.fs, "left_out": ""} | found.as_row()
    row |= {f"criterion_{name}": decision.met for name, decision in decide_all(ecg, found).items()}
    return {"row": {name: value for name, value in row.items() if name in COLUMNS}, "error": None}


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
