# SPDX-License-Identifier: Apache-2.0
"""A user's own ECGs: a folder with one CSV of file, patient_id, labels, age, sex, device, site, fold."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Lazy
from ecglens.datasets.ptbxl import read_table
from ecglens.ecg import ECG
from ecglens.errors import InputError, TableError
from ecglens.formats.read import read
from ecglens.runs.files import contained

COLUMNS = ("file", "patient_id", "labels", "age", "sex", "device", "site", "fold", "date")
_EXAMPLE = "file,patient_id,labels (classes joined by ';'), and if known age,sex,device,site,fold"


def load_folder(folder: str | Path, classes: Sequence[str] | None = None) -> Cohort:
    """Load a folder that holds ECG files and one CSV table.

    The table's columns: `file` (inside the folder), `patient_id` (empty where unknown), `labels` (classes joined by
    `;`; the word `none` for none of them; empty where unknown), and where known age (years), sex (female, male),
    device, site, fold (number), date.

    classes   the classes to expect, in order; a label outside them is refused. None: those that occur

    Raises InputError for an empty folder or one without a table, TableError for a wrong table, UnsafeError for a
    file name that leaves the folder.
    """
    folder = Path(folder)
    path = find_table(folder)
    table = read_table(path, index=None, needed=()).reset_index()
    if "file" not in table:
        raise TableError(path, "columns", ", ".join(map(str, table.columns)), _EXAMPLE, kind="columns")
    names = [str(name) for name in table["file"]]
    _refuse_doubled(path, names)
    files = [contained(folder, name, path) for name in names]
    texts = table["labels"] if "labels" in table else pd.Series([np.nan] * len(table))
    labels = _labels(path, names, texts, classes)
    present = {name: table[name].to_numpy() for name in COLUMNS[3:] if name in table}
    metadata = pd.DataFrame(present, index=names)
    metadata["patient_id"] = [_patient(p) for p in table["patient_id"]] if "patient_id" in table else None
    _check_metadata(path, metadata)
    return Cohort(
        folder.resolve().name,
        Lazy(partial(_read), list(zip(names, files, strict=True))),
        labels,
        metadata,
        label_rule=f"labels as given in {path.name}",
        files=[_files_of(file) for file in files],
    )


def find_table(folder: Path) -> Path:
    """Return the one CSV of a folder."""
    if not folder.is_dir():
        raise InputError(folder, "folder", "no such folder", "an existing folder", kind="missing_folder")
    if not any(folder.iterdir()):
        raise InputError(folder, "folder", "nothing in it", "ECG files and a CSV table", f"columns: {_EXAMPLE}",
                         kind="empty_folder")  # fmt: skip
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        found = "no CSV table" if not tables else f"{len(tables)} CSV tables ({', '.join(t.name for t in tables[:5])})"
        raise InputError(folder, "table", found, "exactly one CSV table", f"columns: {_EXAMPLE}", kind="no_table")
    return tables[0]


def _read(item: tuple[str, Path]) -> ECG:
    from dataclasses import replace

    name, path = item
    return replace(read(path), record_id=name)


def _files_of(path: Path) -> tuple[Path, ...]:
    record = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    beside = [record.with_suffix(".hea"), record.with_suffix(".dat")] if path.suffix in ("", ".hea", ".dat") else [path]
    return tuple(file for file in beside if file.exists()) or (path,)


def _labels(path: Path, names: list[str], texts: pd.Series, classes: Sequence[str] | None) -> pd.DataFrame:
    sets = [None if pd.isna(t) or not str(t).strip() else _classes_in(str(t)) for t in texts]
    found = sorted({name for labels in sets if labels for name in labels})
    order = list(classes) if classes is not None else found
    for name, labels in zip(names, sets, strict=True):
        unknown = sorted((labels or set()) - set(order))
        if unknown:
            near = difflib.get_close_matches(unknown[0], order, 1)
            raise TableError(
                path, f"labels of {name}", ", ".join(unknown), ", ".join(order),
                f"did you mean {near[0]}?" if near else "map the labels to the bundle's classes", kind="unknown_code",
            )  # fmt: skip
    values = np.full((len(names), len(order)), np.nan)
    for row, labels in enumerate(sets):
        if labels is not None:
            values[row] = [name in labels for name in order]
    return pd.DataFrame(values, index=names, columns=order)


def _classes_in(text: str) -> set[str]:
    parts = {part.strip() for part in text.replace("|", ";").split(";")} - {""}
    return set() if parts == {"none"} else parts


def _patient(value: object) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_doubled(path: Path, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise TableError(path, "file", f"{doubled[0]} more than once", "each file once", kind="duplicate_id")


def _check_metadata(path: Path, metadata: pd.DataFrame) -> None:
    if "sex" in metadata:
        wrong = set(metadata["sex"].dropna()) - {"female", "male"}
        if wrong:
            raise TableError(path, "sex", ", ".join(map(str, sorted(wrong, key=str))), "female, male, or empty")
    for column in ("age", "fold"):
        if column in metadata:
            numbers = pd.to_numeric(metadata[column], errors="coerce")
            if (numbers.isna() & metadata[column].notna()).any() or (numbers < 0).any():
                raise TableError(path, column, "no number, or a negative one", "numbers, or empty")
            metadata[column] = numbers
