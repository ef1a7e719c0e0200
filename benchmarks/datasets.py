# SPDX-License-Identifier: Apache-2.0
"""Load each data set in a folder of data sets and read every record once.

    python benchmarks/datasets.py --data DIR

DIR holds one folder per data set, under any names. Printed: what was loaded, what was left out and why, what the
records carry as findings, and how long it took. Nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort, recognise
from ecglens.errors import EcglensError

LINE = "{:<10} {:>7} {:>8}  {:<24} {:>6} {:>7}  {}"


def main() -> None:
    """Print one line per data set, then what its records carry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds a folder per data set")
    print(LINE.format("data set", "records", "patients", "left out", "load s", "read s", "labels"))
    notes = []
    for folder in sorted(path for path in parser.parse_args().data.iterdir() if path.is_dir()):
        name = recognise(folder)
        if name == "folder":
            notes.append(f"{folder.name}: no data set that ecglens knows")
            continue
        notes.append(measure(folder))
    print("\n".join(["", *notes]))


def measure(folder: Path) -> str:
    """Print the line of one data set and return what its records carry."""
    begin = time.perf_counter()
    cohort = load_cohort(folder)
    loaded = time.perf_counter()
    findings, unread = read_all(cohort)
    done = time.perf_counter()
    left_out = Counter(entry.kind for entry in cohort.excluded) + Counter(f"{kind} (reading)" for kind in unread)
    labels = cohort.labels.sum().astype(int).sort_values(ascending=False)
    told = ", ".join(f"{name} {count}" for name, count in labels.head(5).items()) or "none"
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    print(LINE.format(
        cohort.name, len(cohort), cohort.n_patients if cohort.metadata["patient_id"].notna().any() else "unknown",
        ", ".join(f"{kind} {n}" for kind, n in left_out.items()) or "none", f"{loaded - begin:.2f}",
        f"{done - loaded:.2f}", told + more,
    ))  # fmt: skip
    return f"{cohort.name}: {', '.join(f'{kind} {n}' for kind, n in findings.most_common()) or 'no findings'}"


def read_all(cohort: Cohort) -> tuple[Counter[str], list[str]]:
    """Return the findings by kind, in records, and the kinds of error of the records that could not be read."""
    findings: Counter[str] = Counter()
    unread = []
    for index in range(len(cohort)):
        try:
            findings.update({found.kind for found in cohort[index].findings})
        except EcglensError as error:
            unread.append(error.kind)
    return findings, unread


if __name__ == "__main__":
    main()
