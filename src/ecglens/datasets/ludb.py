# SPDX-License-Identifier: Apache-2.0
"""LUDB (Kalyakulina et al. 2020): 200 people, 12 leads, 10 s at 500 Hz; P, QRS and T marked by hand in every lead."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path

import pandas as pd

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.records import Recording, cohort_of_parts, divided, headers, known_age
from ecglens.datasets.tables import read_table
from ecglens.errors import UsageError

TABLE = "ludb.csv"
# Task -> column of ludb.csv.
TASKS = {
    "rhythm": "Rhythms",
    "axis": "Electric axis of the heart",
    "conduction": "Conduction abnormalities",
    "extrasystole": "Extrasystolies",
    "hypertrophy": "Hypertrophies",
    "pacing": "Cardiac pacing",
    "ischemia": "Ischemia",
    "repolarization": "Non-specific repolarization abnormalities",
    "other": "Other states",
}
ALL = "all"


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds LUDB: its table, and records in `data/`."""
    return (folder / TABLE).exists() and bool(headers(folder / "data"))


def load_ludb(root: str | Path, task: str = ALL) -> Cohort:
    """Load LUDB, or as much of it as lies under `root`; every record is another person.

    task  which columns of `ludb.csv` make the labels: rhythm, axis, conduction, extrasystole, hypertrophy, pacing,
          ischemia, repolarization, other, or all of them. A class is a statement up to its first ':' or ',' (place
          and type are left off, the axis is kept whole); classes that nobody has are no columns

    Raises TableError where the table is missing or wrong, UsageError for an unknown task.
    """
    root = Path(root)
    if task not in (*TASKS, ALL):
        raise UsageError("load_ludb", "task", task, ", ".join((*TASKS, ALL)))
    columns = list(TASKS.values()) if task == ALL else [TASKS[task]]
    table = read_table(root / TABLE, index="ID", needed=("Sex", "Age", *columns))
    table.index = table.index.astype(str)
    paths = {path.stem: path for path in headers(root / "data")}
    recordings = [
        Recording(record, paths[record], _person(record, row)) for record, row in table.iterrows() if record in paths
    ]
    excluded = [Excluded(r, "absent", "its files are not in this copy") for r in table.index if r not in paths]
    excluded += [Excluded(r, "no_label", f"not in {TABLE}") for r in paths if r not in table.index]
    parts, unreadable = divided(recordings, None)
    cells = table[columns].astype(object).where(table[columns].notna(), "").to_dict("index")
    statements = [_classes(cells[recording.record_id]) for recording, _ in parts]
    order = sorted({name for found in statements for name in found})
    ids = [part.record_id for _, part in parts]
    labels = pd.DataFrame([[float(name in found) for name in order] for found in statements], index=ids, columns=order)
    return cohort_of_parts(
        "ludb", parts, labels,
        f"LUDB {task}: statements of {TABLE} up to their first ':' or ',', the axis whole; 0 where not stated "
        f"(columns {', '.join(columns)})",
        excluded=[*excluded, *unreadable], marks="leads",
    )  # fmt: skip


def _person(record: str, row: pd.Series) -> dict[str, object]:
    age, sex = str(row["Age"]).strip(), str(row["Sex"]).strip()
    return {
        "patient_id": record,
        "age": 90.0 if age == ">89" else known_age(age),  # as PTB-XL: 90 stands for all above 89
        "sex": {"F": "female", "M": "male"}.get(sex),
        "device": "Schiller Cardiovit AT-101",
    }


def _classes(cells: Mapping[Hashable, str]) -> set[str]:
    """Return the classes that the cells of a row name; a cell holds one statement a line."""
    found = set()
    for column, cell in cells.items():
        for line in cell.splitlines():
            if column == TASKS["axis"]:  # its "normal" is the axis's, not the ECG's
                name = line.replace("Electric axis of the heart", "Axis")
            else:
                name = line.replace(",", ":").partition(":")[0]
            found |= {name.strip()} - {""}
    return found
