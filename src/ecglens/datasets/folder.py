# SPDX-License-Identifier: Apache-2.0
"""A user's own ECGs: a folder with one CSV of file, patient_id, labels, age, sex, device, site, fold."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Lazy
from ecglens.datasets.tables import read_cells
from ecglens.ecg import ECG
from ecglens.errors import InputError, TableError
from ecglens.formats.read import read
from ecglens.runs.files import contained

COLUMNS = ("file", "patient_id", "labels", "age", "sex", "device", "site", "fold", "date")
_MAX_HEADER = 10_000  # characters of a table's first line
_NOTHING = ("", "na", "n/a", "<na>", "nan", "null", "none")
_LABEL_RULE = "labels as given in "
_EXAMPLE = "file,patient_id,labels (classes joined by ';'), and if known age,sex,device,site,fold"


def load_folder(folder: str | Path, classes: Sequence[str] | None = None) -> Cohort:
    """Load a folder that holds ECG files and one CSV table.

    The table's columns: `file` (inside the folder), `patient_id` (empty where unknown), `labels` (classes joined by
    `;`; the word `none` for none of them; empty where unknown), and where known age (years), sex (female, male),
    device, site, fold (number), date. Ids are text: 007 and 7 are two people.

    classes   the classes to expect, in order; a label outside them is refused. None: those that occur

    Raises InputError for an empty folder or one without a table, TableError for a wrong table, UnsafeError for a
    file name that leaves the folder.
    """
    folder = Path(folder)
    path = find_table(folder)
    table = _read_text(path)
    names = table["file"].tolist()
    if "" in names:
        raise TableError(path, "file", f"nothing in row {names.index('') + 1}", "a file name in each row")
    paths = [contained(folder, name, path) for name in names]
    files = [_files_of(file) for file in paths]
    _refuse_doubled(path, names, files)
    texts = table["labels"].tolist() if "labels" in table else [""] * len(table)
    labels = _labels(path, names, texts, classes)
    known = {name: [_known(text) for text in table[name]] for name in COLUMNS if name in table}
    metadata = pd.DataFrame({name: known[name] for name in COLUMNS[3:] if name in known}, index=names, dtype=object)
    metadata["patient_id"] = [_patient(p) for p in known["patient_id"]] if "patient_id" in known else None
    _check_metadata(path, metadata)
    return Cohort(
        folder.resolve().name,
        Lazy(_read, list(zip(names, paths, strict=True))),
        labels,
        metadata,
        label_rule=f"{_LABEL_RULE}{path.name}",
        files=files,
    )


def table_of(cohort: Cohort) -> str | None:
    """Return the name of the table that a cohort of one's own was loaded by; None for any other cohort."""
    rule = cohort.label_rule
    return rule.removeprefix(_LABEL_RULE) if rule.startswith(_LABEL_RULE) else None


def find_table(folder: Path) -> Path:
    """Return the one CSV of a folder that has a column `file`; where none has, the one CSV there is.

    So the ECGs themselves may be CSVs, with their leads as columns.
    """
    if not folder.is_dir():
        raise InputError(folder, "folder", "no such folder", "an existing folder", kind="missing_folder")
    if not any(folder.iterdir()):
        raise InputError(folder, "folder", "nothing in it", "ECG files and a CSV table", f"columns: {_EXAMPLE}",
                         kind="empty_folder")  # fmt: skip
    tables = _tables(folder)
    chosen = [path for path in tables if _has_file_column(path)] or tables
    if len(chosen) != 1:
        shown = ", ".join(path.name for path in chosen[:5])
        found = f"{len(chosen)} CSV tables ({shown}{', ...' if len(chosen) > 5 else ''})" if chosen else "no CSV table"
        raise InputError(folder, "table", found, "exactly one CSV table with a column `file`",
                         f"if this is a published data set, name it (--dataset); else columns: {_EXAMPLE}",
                         kind="no_table")  # fmt: skip
    return chosen[0]


def has_own_table(folder: Path) -> bool:
    """Tell whether a folder has exactly one CSV with a column `file`: then it is somebody's own."""
    return sum(map(_has_file_column, _tables(folder))) == 1


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))


def _has_file_column(path: Path) -> bool:
    """Tell whether the first line of a table names a column `file`, whatever parts the columns."""
    if not (path.is_file() and os.access(path, os.R_OK)):
        return False
    with path.open("rb") as file:
        header = file.readline(_MAX_HEADER).decode("utf-8-sig", errors="replace")
    return "file" in {cell.strip().strip('"') for cell in re.split(r"[,;\t]", header)}


def _read_text(path: Path) -> pd.DataFrame:
    """Return the table with every cell as stripped text, "" where empty."""
    # Without a header, for pandas would rename a second column of one name, and shift rows with too many values.
    cells = read_cells(path)
    cells = cells.fillna("").apply(lambda column: column.str.strip())  # a short row has no cells at its end
    names = [name for name in cells.iloc[0] if name]
    if "file" not in names or len(set(names)) < len(names):
        fix = "separate the columns by commas" if len(names) == 1 and ";" in names[0] else ""
        raise TableError(path, "columns", ", ".join(names), _EXAMPLE, fix, kind="columns")
    table = cells.iloc[1:].set_axis(cells.iloc[0].tolist(), axis=1)
    return table[(table != "").any(axis=1)]


def _read(item: tuple[str, Path]) -> ECG:
    name, path = item
    return replace(read(path), record_id=name)


def _files_of(path: Path) -> tuple[Path, ...]:
    record = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    beside = [record.with_suffix(".hea"), record.with_suffix(".dat")] if path.suffix in ("", ".hea", ".dat") else [path]
    return tuple(file for file in beside if file.exists()) or (path,)


def _labels(path: Path, names: list[str], texts: list[str], classes: Sequence[str] | None) -> pd.DataFrame:
    sets = [_classes_in(text) for text in texts]
    found = sorted({name for labels in sets if labels for name in labels})
    order = list(classes) if classes is not None else found
    for name, text, labels in zip(names, texts, sets, strict=True):
        if labels and any(label.lower() == "none" for label in labels):
            raise TableError(path, f"labels of {name}", text, "classes, or the word none by itself")
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


def _classes_in(text: str) -> set[str] | None:
    """Return the classes that a cell names, or None where it says that they are unknown."""
    if text.lower() == "none":
        return set()
    parts = {part.strip() for part in text.replace("|", ";").split(";")} - {""}
    return parts if parts and _known(text) is not None else None


def _known(text: str) -> str | None:
    """Return a cell, or None for the words that tables have for nothing."""
    return None if text.lower() in _NOTHING else text


def _patient(text: str | None) -> str | None:
    """Return a patient id; 15709.0, as a table of numbers with an empty cell is exported, is 15709."""
    return text[:-2] if text is not None and text.endswith(".0") and text[:-2].isdigit() else text


def _refuse_doubled(path: Path, names: list[str], files: list[tuple[Path, ...]]) -> None:
    first: dict[Path, str] = {}
    for name, (file, *_) in zip(names, files, strict=True):
        if file in first:
            found = f"{name} more than once" if first[file] == name else f"{first[file]} and {name}, the same record"
            raise TableError(path, "file", found, "each file once", kind="duplicate_id")
        first[file] = name


def _check_metadata(path: Path, metadata: pd.DataFrame) -> None:
    if "sex" in metadata:
        wrong = set(metadata["sex"].dropna()) - {"female", "male"}
        if wrong:
            raise TableError(path, "sex", ", ".join(sorted(wrong)), "female, male, or empty")
    for column in ("age", "fold"):
        if column in metadata:
            numbers = pd.to_numeric(metadata[column], errors="coerce")
            if (numbers.isna() & metadata[column].notna()).any() or (numbers < 0).any() or np.isinf(numbers).any():
                raise TableError(path, column, "no number, or a negative one", "numbers, or empty")
            metadata[column] = numbers
