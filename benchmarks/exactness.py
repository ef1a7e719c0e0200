# SPDX-License-Identifier: Apache-2.0
"""Every WFDB record and annotation file below a folder, sample by sample and mark by mark, against the wfdb package.

    python benchmarks/exactness.py --data DIR    # DIR holds one folder per data set

Seconds are those of the processor, in ecglens alone, checksums compared. Writes benchmarks/exactness.json.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from ecglens import EcglensError, read
from ecglens.datasets.load import load_cohort, recognise
from ecglens.formats.annotations import read_marks
from ecglens.formats.read import record_paths
from ecglens.runs.files import write_json

RESULTS = Path(__file__).with_name("exactness.json")
NO_MARKS = {".hea", ".dat", ".mat", ".csv", ".txt", ".md", ".json"}


def records(folder: Path) -> dict[str, Any]:
    """Return records, people, seconds to read them, how many are exact, and why others were refused."""
    paths = [path for path in record_paths(folder) if path.suffix == ".hea"]
    exact, spent, refused = 0, 0.0, Counter[str]()
    for path in paths:
        begin = time.process_time()
        try:
            signal = read(path).signal
        except EcglensError as error:
            refused[error.kind] += 1
            continue
        finally:
            spent += time.process_time() - begin
        reference = wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T.astype(np.float32)
        exact += np.array_equal(signal, reference, equal_nan=True)
    return {
        "data_set": folder.name, "records": len(paths), "patients": patients(folder), "seconds": round(spent, 2),
        "exact": exact, "refused": dict(refused),
    }  # fmt: skip


def patients(folder: Path) -> int | None:
    """Return how many people the data set shows, None where nobody knows whose a record is."""
    if recognise(folder) == "folder":
        return None
    cohort = load_cohort(folder)
    return cohort.n_patients if cohort.metadata["patient_id"].notna().all() else None


def annotations(folder: Path) -> dict[str, Any]:
    """Return annotation files, marks, and how many files are exact."""
    stems = {path.with_suffix("") for path in record_paths(folder) if path.suffix == ".hea"}
    files = [p for p in folder.rglob("*.*") if p.with_suffix("") in stems and p.suffix not in NO_MARKS]
    exact, n_marks, spent = 0, 0, 0.0
    for path in files:
        begin = time.process_time()
        found = read_marks(path)
        spent += time.process_time() - begin
        reference = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        n_marks += len(found.sample)
        exact += (
            np.array_equal(found.sample, reference.sample) and list(found.symbol) == list(reference.symbol)
            and np.array_equal(found.subtype, reference.subtype) and np.array_equal(found.channel, reference.chan)
            and list(found.aux) == [note.rstrip("\0") for note in reference.aux_note]
        )  # fmt: skip
    return {"data_set": folder.name, "files": len(files), "marks": n_marks, "seconds": round(spent, 2), "exact": exact}


def main() -> None:
    """Measure, print and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folders = [f for f in sorted(parser.parse_args().data.iterdir()) if f.is_dir() and any(f.rglob("*.hea"))]
    found: dict[str, list[dict[str, Any]]] = {"records": [], "annotations": []}
    for name, measure in (("records", records), ("annotations", annotations)):
        for folder in folders:
            found[name].append(measure(folder))
            print(found[name][-1], flush=True)
    write_json(RESULTS, found)


if __name__ == "__main__":
    main()
