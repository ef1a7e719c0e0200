# SPDX-License-Identifier: Apache-2.0
"""PTB-XL (Wagner et al. 2020), whole or partial copies: 12 leads, 10 s, SCP-ECG statements, ten folds by patient."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.datasets.labels import class_order, label_matrix, parse_codes, rule_in_words, task_classes
from ecglens.datasets.records import credit
from ecglens.datasets.tables import read_table
from ecglens.ecg import ECG
from ecglens.errors import Finding, FormatError, TableError, UsageError
from ecglens.formats.wfdb import read_wfdb
from ecglens.preprocessing.resample import resample
from ecglens.runs.files import contained

TABLE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
_NEEDED = ("patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr")


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds PTB-XL: its table of records."""
    return (folder / TABLE).exists()


def load_ptbxl(
    root: str | Path,
    fs: int | None = None,
    task: str = "superdiagnostic",
    min_likelihood: float = 0,
    *,
    keep_unlabelled: bool = False,
) -> Cohort:
    """Load PTB-XL, or as much of it as lies under `root`.

    fs               500 reads records500; 100 derives from the same files for every record alike (polyphase
                     resampling), because the published 100 Hz files differ from their own 500 Hz ones by 7-24 uV.
                     None: 500. A copy that holds records100 alone is read from there, at 100 Hz, and each ECG says so
    task             superdiagnostic (5 classes), subdiagnostic (23), diagnostic (44), form (19), rhythm (12), all (71)
    min_likelihood   0: every statement counts (the benchmark's rule); 50: TrustECG's rule. Form and rhythm
                     statements are not graded (their likelihood is 0), so only diagnostic ones are held to it
    keep_unlabelled  keep records without a label of the task, as all-negative, instead of leaving them out

    Raises TableError where the tables are missing or wrong, UsageError for an unknown task or rate.
    """
    root = Path(root)
    if fs not in (None, 100, 500):
        raise UsageError("load_ptbxl", "fs", f"{fs} Hz", "100 or 500")
    table = read_table(root / TABLE, index="ecg_id", needed=_NEEDED)
    statements = read_table(root / STATEMENTS, index=None, needed=("diagnostic", "form", "rhythm"))
    classes = task_classes(statements, task, root / STATEMENTS)
    order = class_order(classes)
    codes = parse_codes(table["scp_codes"], statements.index, root / TABLE)
    graded = set(task_classes(statements, "diagnostic", root / STATEMENTS))
    labels = label_matrix(_held_to(codes, graded, min_likelihood), classes, order, -np.inf)
    published = 500
    paths = [_record_path(root, str(name)) for name in table["filename_hr"]]
    present = np.array([_exists(path) for path in paths], bool)
    if not present.any() and fs != 500 and "filename_lr" in table:
        published = 100
        paths = [_record_path(root, str(name)) for name in table["filename_lr"]]
        present = np.array([_exists(path) for path in paths], bool)
    labelled = labels.any(axis=1) | keep_unlabelled
    excluded = [*_left_out(table.index[~present], "absent", "its files are not in this copy")]
    excluded += _left_out(table.index[present & ~labelled], "no_label", f"no {task} statement under the label rule")
    chosen = [int(i) for i in np.flatnonzero(present & labelled)]
    if len(chosen) == 0:
        _refuse_empty(root, table, present)
    ids = [str(table.index[i]) for i in chosen]
    files = [(paths[i], paths[i].with_suffix(".dat")) for i in chosen]
    return Cohort(
        "ptbxl",
        Lazy(partial(_read, published=published, fs=fs or published), [(ids[k], files[k][0]) for k in range(len(ids))]),
        pd.DataFrame(labels[chosen], index=ids, columns=list(order)),
        _metadata(table.iloc[chosen]).set_axis(ids),
        label_rule=rule_in_words(task, min_likelihood, keep_unlabelled),
        excluded=tuple(excluded),
        citation=credit("ptbxl"),
        files=files if fs in (None, published) else None,
    )


def _held_to(codes: list[dict[str, float]], graded: set[str], min_likelihood: float) -> list[dict[str, float]]:
    return [{c: v for c, v in record.items() if c not in graded or v >= min_likelihood} for record in codes]


def _record_path(root: Path, name: str) -> Path:
    # Not resolved against links record by record (slow for 21,799): the reader refuses links in the folder.
    folder, _, record = name.rpartition("/")
    if ".." in name.split("/") or name.startswith("/") or "\x00" in name or "\\" in name:
        return contained(root, name, root / TABLE)  # raises, and says why
    return root / folder / f"{record}.hea"


def _exists(path: Path) -> bool:
    return os.path.exists(path)


def _refuse_empty(root: Path, table: pd.DataFrame, present: np.ndarray) -> NoReturn:
    if present.any():
        raise TableError(root, "records", f"none of {present.sum()} has a label", "a record with a label of the task")
    names = [str(name) for column in ("filename_hr", "filename_lr") if column in table for name in table[column][:1]]
    raise TableError(
        root, "records", "none of the table's records", f"files such as {' or '.join(f'{n}.hea' for n in names)}"
    )


def _read(item: tuple[str, Path], published: int, fs: int) -> ECG:
    """Read one record, published at one rate, at `fs` Hz."""
    record_id, path = item
    ecg = read_wfdb(path)
    if ecg.fs != published:
        found, allowed = f"{ecg.fs:g} Hz", f"{published} Hz in records{published}"
        raise FormatError(path, "sampling rate", found, allowed, kind="sampling_rate")
    if published == 100:
        reason = "the published 100 Hz file, which differs by 7 to 24 uV from 100 Hz derived from 500 Hz"
        return replace(ecg, record_id=record_id, findings=(*ecg.findings, Finding("low_rate_copy", "note", reason)))
    if fs == published:
        return replace(ecg, record_id=record_id)
    return replace(ecg, record_id=record_id, signal=resample(ecg.signal, 500, 100), fs=100.0)


def _left_out(ids: pd.Index, kind: str, reason: str) -> list[Excluded]:
    return [Excluded(str(record), kind, reason) for record in ids]


def _text(value: Any) -> str | None:
    # A column of whole numbers with an empty cell comes as 15709.0: the id is 15709 all the same.
    if pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _metadata(table: pd.DataFrame) -> pd.DataFrame:
    sex = table["sex"].map({0: "male", 1: "female"})
    age = pd.to_numeric(table["age"], errors="coerce")
    return pd.DataFrame(
        {
            "patient_id": [_text(p) for p in table["patient_id"]],
            "age": age.where(age <= 89, 90.0).where(age.notna()),  # the table codes ages over 89 as 300
            "sex": sex,
            "fold": table["strat_fold"],
            "device": table.get("device"),
            "site": [_text(s) for s in table["site"]] if "site" in table else None,
            "date": table.get("recording_date"),
        },
        index=table.index,
    )
