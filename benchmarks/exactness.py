# SPDX-License-Identifier: Apache-2.0
"""Every WFDB record and annotation file below a folder, sample by sample and mark by mark, against the wfdb package.

python benchmarks/exactness.py --data DIR    # DIR holds one folder per data set
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import wfdb

from ecglens import EcglensError, read
from ecglens.formats.annotations import read_marks
from ecglens.formats.read import record_paths

NO_MARKS = {".hea", ".dat", ".mat", ".csv", ".txt", ".md", ".json"}


def records(folder: Path) -> str:
    """Return one row of the table: records, seconds to read them, how many are exact, why others were refused."""
    paths = [path for path in record_paths(folder) if path.suffix == ".hea"]
    exact, spent, refused = 0, 0.0, Counter[str]()
    for path in paths:
        begin = time.perf_counter()
        try:
            signal = read(path).signal
        except EcglensError as error:
            refused[error.kind] += 1
            continue
        finally:
            spent += time.perf_counter() - begin
        reference = wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T.astype(np.float32)
        exact += np.array_equal(signal, reference, equal_nan=True)
    why = ", ".join(f"{n} {kind}" for kind, n in refused.items()) or "none"
    return f"| {folder.name} | {len(paths)} | {spent:.1f} | {exact} | {why} |"


def annotations(folder: Path) -> str:
    """Return one row: annotation files, marks, how many files are exact."""
    stems = {path.with_suffix("") for path in record_paths(folder) if path.suffix == ".hea"}
    files = [p for p in folder.rglob("*.*") if p.with_suffix("") in stems and p.suffix not in NO_MARKS]
    exact, n_marks, spent = 0, 0, 0.0
    for path in files:
        begin = time.perf_counter()
        found = read_marks(path)
        spent += time.perf_counter() - begin
        reference = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        n_marks += len(found.sample)
        exact += (
            np.array_equal(found.sample, reference.sample) and list(found.symbol) == list(reference.symbol)
            and np.array_equal(found.subtype, reference.subtype) and np.array_equal(found.channel, reference.chan)
            and list(found.aux) == [note.rstrip("\0") for note in reference.aux_note]
        )  # fmt: skip
    return f"| {folder.name} | {len(files)} | {n_marks} | {spent:.1f} | {exact} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folders = [f for f in sorted(parser.parse_args().data.iterdir()) if f.is_dir() and any(f.rglob("*.hea"))]
    print("| data set | records | read in s | exact | refused |\n| --- | --- | --- | --- | --- |")
    for folder in folders:
        print(records(folder), flush=True)
    print("\n| data set | annotation files | marks | read in s | exact |\n| --- | --- | --- | --- | --- |")
    for folder in folders:
        print(annotations(folder), flush=True)


if __name__ == "__main__":
    main()
