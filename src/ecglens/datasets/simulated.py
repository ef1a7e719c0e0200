# SPDX-License-Identifier: Apache-2.0
"""A simulated cohort on disk: WFDB records and a table as in one's own folder, and beside them the truth.

DIR/records.csv                 file, patient_id, labels, age, sex, device, fold, date, session, conditions, fault
DIR/sim-00001.hea, .dat         WFDB, format 16, 1 uV steps
DIR/truth/sim-00001.npy         weight of the evidence, float16 [lead, time], in mV
DIR/truth/sim-00001.mask.npy    mask of the evidence, bool [lead, time]
DIR/truth/sim-00001.marks.npy   exact fiducials, float64 [lead, beat, mark], in s
DIR/truth/sim-00001.json        reasons of absent waves, evidence in intervals
DIR/simulation.json             how all of it was made
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.cohort import Cohort, Lazy
from ecglens.datasets.folder import load_folder
from ecglens.errors import FormatError, InputError, UsageError
from ecglens.fiducials import Fiducials
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.files import open_regular, read_json, write_json, write_npy, write_text
from ecglens.simulation.evidence import Evidence, Interval

FACTS, TABLE, TRUTH = "simulation.json", "records.csv", "truth"
SCHEMA = 1
_COLUMNS = ("patient_id", "age", "sex", "device", "fold", "date", "session", "conditions", "fault")


def write_simulated(
    cohort: Cohort,
    folder: str | Path,
    *,
    workers: int = 1,
    facts: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a simulated cohort with its truth into a new or empty `folder`, and return the path of its table.

    workers   processes that make and write records; the files are the same for any number
    facts     what `simulation.json` is to say besides
    progress  called with (done, total)

    Raises InputError where the folder holds something, EnvironmentFault where it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(folder, "folder", "not empty", "a new or empty folder", kind="not_empty")
    n = len(cohort)
    chunks = [list(range(i, min(i + 25, n))) for i in range(0, n, 25)]
    write = partial(_write_records, cohort, folder)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            _count(pool.map(write, chunks), n, progress)
    else:
        _count(map(write, chunks), n, progress)
    write_text(folder / TABLE, _table(cohort))
    about = {"schema": SCHEMA, "label_rule": cohort.label_rule, "classes": list(cohort.classes), "records": n}
    write_json(folder / FACTS, about | (facts or {}) | {"citation": cohort.citation})
    return folder / TABLE


def recognises(folder: Path) -> bool:
    """Tell whether `write_simulated` wrote this folder."""
    return (folder / FACTS).is_file()


def load_simulated(folder: str | Path, classes: Sequence[str] | None = None) -> Cohort:
    """Load what `write_simulated` wrote, with evidence and fiducials. Raises as `load_folder`."""
    folder = Path(folder)
    facts = read_json(folder / FACTS)
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise FormatError(folder / FACTS, "schema", "another or none", str(SCHEMA), "write the folder anew")
    cohort = load_folder(folder, classes if classes is not None else [str(name) for name in facts["classes"]])
    truth = [folder / TRUTH / Path(name).stem for name in cohort.record_ids]
    return replace(
        cohort,
        label_rule=str(facts.get("label_rule", "simulated truth")),
        evidence=Lazy(_read_evidence, truth),
        fiducials=Lazy(_read_fiducials, truth),
        citation=str(facts.get("citation", "")),
    )


def _count(done: Any, total: int, progress: Callable[[int, int], None] | None) -> None:
    written = 0
    for number in done:
        written += number
        if progress is not None:
            progress(written, total)


def _write_records(cohort: Cohort, folder: Path, indices: Sequence[int]) -> int:
    for index in indices:
        write_wfdb(cohort[index], folder)
        _write_truth(folder / TRUTH / cohort.record_ids[index], cohort, index)
    return len(indices)


def _write_truth(path: Path, cohort: Cohort, index: int) -> None:
    if cohort.evidence is None or cohort.fiducials is None:
        raise UsageError("write_simulated", "cohort", cohort.name, "one of simulate_cohort, with evidence and marks")
    evidence, marks = cohort.evidence[index], cohort.fiducials[index]
    # Not durable: a thousand waits for the disk are as long as making the ECGs, and the seed makes them again.
    write_npy(path.with_name(f"{path.name}.npy"), evidence.weight.astype(np.float16), durable=False)
    write_npy(path.with_name(f"{path.name}.mask.npy"), evidence.mask, durable=False)
    write_npy(path.with_name(f"{path.name}.marks.npy"), marks.times, durable=False)
    about = {
        "schema": SCHEMA,
        "intervals": [asdict(interval) for interval in evidence.intervals],
        "absent": [[lead, beat, wave, reason] for (lead, beat, wave), reason in marks.absent.items()],
        "method": marks.method,
    }
    write_json(path.with_name(f"{path.name}.json"), about, durable=False)


def _table(cohort: Cohort) -> str:
    known = [name for name in _COLUMNS if name in cohort.metadata]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "labels", *known])
    for name, labels, (_, about) in zip(
        cohort.record_ids, cohort.labels.to_numpy(), cohort.metadata.iterrows(), strict=True
    ):
        given = ";".join(c for c, yes in zip(cohort.classes, labels, strict=True) if yes == 1) or "none"
        rows.writerow([name, given, *(about[column] for column in known)])
    return text.getvalue()


def _read_evidence(path: Path) -> Evidence:
    about = read_json(path.with_name(f"{path.name}.json"))
    weight = _read_npy(path.with_name(f"{path.name}.npy"), np.dtype(np.float16)).astype(np.float32)
    mask = _read_npy(path.with_name(f"{path.name}.mask.npy"), np.dtype(bool))
    return Evidence(weight, mask, tuple(Interval(**interval) for interval in about["intervals"]))


def _read_fiducials(path: Path) -> Fiducials:
    about = read_json(path.with_name(f"{path.name}.json"))
    absent = {(lead, beat, wave): reason for lead, beat, wave, reason in about["absent"]}
    times = _read_npy(path.with_name(f"{path.name}.marks.npy"), np.dtype(np.float64))
    return Fiducials(times, STANDARD_LEADS, str(about["method"]), absent=absent)


def _read_npy(path: Path, dtype: np.dtype) -> np.ndarray:
    with open_regular(path) as file:
        try:
            array = np.load(file, allow_pickle=False)
        except ValueError as error:
            raise FormatError(path, "content", f"no array ({error})", f"{dtype} in .npy", kind="npy") from None
    if array.dtype != dtype:
        raise FormatError(path, "type", array.dtype, str(dtype), kind="npy")
    return np.asarray(array)
