# SPDX-License-Identifier: Apache-2.0
"""PhysioNet/CinC Challenge 2011, set A: 12-lead ECGs of 10 s taken with phones, judged acceptable or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.records import Recording, age_and_sex, cohort_of_parts, comments, divided, headers
from ecglens.datasets.tables import read_cells
from ecglens.errors import InputError, TableError, UnsafeError
from ecglens.runs.files import read_bytes

TABLE = "labels.csv"
LISTS = {"RECORDS-acceptable": "acceptable", "RECORDS-unacceptable": "unacceptable"}
CLASS = "unacceptable"
_QUALITIES = {"acceptable": 0.0, "unacceptable": 1.0, "indeterminate": np.nan}
_MAX_LIST = 2**20


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds set A: the organisers' two lists of records, or a table of record and quality."""
    root = _root(folder)
    if all((root / name).exists() for name in LISTS):
        return True
    return (root / TABLE).exists() and bool(headers(root)) and _first_row(root / TABLE) == ["record", "quality"]


def load_cinc2011(root: str | Path) -> Cohort:
    """Load set A, or as much of it as lies in `root` or its `set-a`.

    One class, `unacceptable`: 1 or 0 as the organisers' annotators decided, unknown where they did not agree. Nobody
    is known: no patient_id is published, age and sex only where a header gives them. The order of the leads in the
    files is not the usual one (aVF before aVL): take them by name.

    Raises TableError where neither lists nor table say which record is which.
    """
    root = _root(Path(root))
    quality = _qualities(root)
    paths = {path.stem: path for path in headers(root)}
    excluded = [Excluded(r, "absent", "its files are not in this copy") for r in quality if r not in paths]
    recordings = [Recording(record, path, _person(path)) for record, path in paths.items()]
    parts, unreadable = divided(recordings, None)
    ids = [part.record_id for _, part in parts]
    labels = pd.DataFrame({CLASS: [quality.get(record, np.nan) for record in ids]}, index=ids, dtype=float)
    return cohort_of_parts(
        "cinc2011", parts, labels,
        "CinC 2011 set A: unacceptable = 1, acceptable = 0, as the organisers judged; unknown where they did not agree",
        excluded=[*excluded, *unreadable],
    )  # fmt: skip


def _person(path: Path) -> dict[str, object]:
    try:
        age, sex = age_and_sex(comments(path))
    except (InputError, UnsafeError):  # the header is read again for the recording, and the reason told then
        return {"patient_id": None}
    return {"patient_id": None, "age": age or None, "sex": sex}  # the organisers write an unknown age as 0


def _root(folder: Path) -> Path:
    return folder / "set-a" if (folder / "set-a").is_dir() else folder


def _first_row(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [cell.strip() for cell in file.readline(1000).decode("latin-1").split(",")]


def _qualities(root: Path) -> dict[str, float]:
    """Return {record: 1 unacceptable, 0 acceptable, NaN undecided}."""
    lists = {root / name: value for name, value in LISTS.items() if (root / name).exists()}
    if len(lists) == len(LISTS):
        return {
            record: _QUALITIES[value]
            for path, value in lists.items()
            for record in read_bytes(path, _MAX_LIST, follow_links=True).decode("latin-1").split()
        }
    cells = read_cells(root / TABLE)
    found = {}
    for record, quality in cells.iloc[1:, :2].itertuples(index=False):
        if quality.strip() not in _QUALITIES:
            raise TableError(root / TABLE, f"quality of {record}", quality, ", ".join(_QUALITIES))
        found[record.strip()] = _QUALITIES[quality.strip()]
    return found
