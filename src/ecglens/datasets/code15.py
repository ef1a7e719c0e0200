# SPDX-License-Identifier: Apache-2.0
"""CODE-15 % (Ribeiro et al. 2021): 345,779 exams of 12 leads at 400 Hz in HDF5 parts, six abnormalities.

Written to the published layout (`exams.csv`, `exams_part0.hdf5` to `exams_part17.hdf5`) without a real part at hand;
reading HDF5 needs the package h5py, which ecglens does not install.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.datasets.records import credit, known_age
from ecglens.datasets.tables import read_table
from ecglens.ecg import ECG
from ecglens.errors import EnvironmentFault, Finding, FormatError, InputError, SignalError, UnsafeError, UsageError
from ecglens.runs.files import contained, open_regular

TABLE = "exams.csv"
CLASSES = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
LEADS = ("DI", "DII", "DIII", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
FS = 400.0
_MAX_EXAMS = 10**6  # in one part; the published ones hold 20,000
_NEEDED = ("patient_id", "age", "is_male", "trace_file", *CLASSES)


class _Exam(NamedTuple):
    record_id: str
    path: Path
    row: int


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds CODE-15 %: its table, which names the HDF5 part of each exam."""
    if not (folder / TABLE).exists():
        return False
    with (folder / TABLE).open("rb") as file:
        columns = [cell.strip() for cell in file.readline(2000).decode("latin-1").split(",")]
    return {"exam_id", "trace_file"} <= set(columns)


def load_code15(root: str | Path, *, scale: float = 1.0) -> Cohort:
    """Load CODE-15 %, or the parts of it that lie in `root`.

    scale  millivolts per stored unit. The release does not say: its authors' programs speak of 1e-4 V, of a factor of
           1000, and measurements lie in between, so every ECG carries a warning (`units_assumed`)

    Stored tracings are padded with zeros to 4,096 samples: samples before the first and behind the last at which any
    lead is not 0 are removed. Exams without a tracing in the parts at hand are excluded and listed.

    Raises TableError for a wrong table, EnvironmentFault where h5py is missing, UsageError for a scale <= 0.
    """
    root = Path(root)
    if not (np.isfinite(scale) and scale > 0):
        raise UsageError("load_code15", "scale", scale, "mV per stored unit, above 0")
    table = read_table(root / TABLE, index="exam_id", needed=_NEEDED)
    rows, excluded = _rows_of_parts(root, sorted({str(name) for name in table["trace_file"].dropna()}))
    exams: list[_Exam] = []
    for exam, name in table["trace_file"].items():
        row = rows.get(str(name), {}).get(int(str(exam)))
        if row is None:
            reason = f"not in {name}" if str(name) in rows else f"{name} is not in this copy, or not readable"
            excluded.append(Excluded(str(exam), "absent", reason))
        else:
            exams.append(_Exam(str(exam), root / str(name), row))
    if not exams:
        raise InputError(root, "exams", "no tracing of any exam", "exams_part*.hdf5 beside exams.csv",
                         excluded[0].reason if excluded else "", kind="no_records")  # fmt: skip
    ids = [exam.record_id for exam in exams]
    chosen = table.loc[[int(exam) for exam in ids]]
    return Cohort(
        "code15",
        Lazy(partial(_read, scale=scale), exams),
        pd.DataFrame({name: [_truth(v) for v in chosen[name]] for name in CLASSES}, index=ids),
        _metadata(chosen).set_axis(ids),
        label_rule=f"CODE-15 %: {', '.join(CLASSES)} as given in {TABLE}",
        excluded=tuple(excluded),
        citation=credit("code15"),
        files=[(exam.path,) for exam in exams] if scale == 1 else None,
    )


def read_dataset(path: Path, name: str, row: int | None = None) -> np.ndarray:
    """Return a data set of an HDF5 file, or one row of it. The only place that opens HDF5.

    Raises EnvironmentFault where h5py is missing, FormatError for a file that is no HDF5 or lacks the data set.
    """
    try:
        import h5py  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise EnvironmentFault(
            path, "package", "h5py is missing, which reads HDF5", "", "pip install h5py", kind="missing_package"
        ) from None
    try:
        # Opened by us, and only what is stored in the file itself: HDF5 can point at other files.
        with open_regular(path) as opened, h5py.File(opened, "r") as file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise FormatError(path, name, "a link or nothing", "a data set in the file itself", kind="layout")
            found = file[name]
            if found.is_virtual or found.external or found.shape[0] > _MAX_EXAMS:
                raise FormatError(path, name, f"shape {found.shape}, or stored elsewhere", "at most a million exams",
                                  kind="layout")  # fmt: skip
            return np.asarray(found[...] if row is None else found[row])
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise FormatError(path, "content", str(error), "an HDF5 part of CODE-15 %", kind="content") from None


def _rows_of_parts(root: Path, names: list[str]) -> tuple[dict[str, dict[int, int]], list[Excluded]]:
    """Return {part: {exam: row}} of the parts at hand, and the parts that cannot be read; exam 0 is filler."""
    rows: dict[str, dict[int, int]] = {}
    excluded: list[Excluded] = []
    for name in names:
        try:
            path = contained(root, name, root / TABLE)
            if not path.exists():
                continue
            exams: dict[int, list[int]] = defaultdict(list)
            for row, exam in enumerate(read_dataset(path, "exam_id").tolist()):
                exams[int(exam)].append(row)
        except (InputError, UnsafeError) as error:
            excluded.append(Excluded(name, error.kind, str(error)))
            continue
        # An exam that stands in a part twice cannot be told apart from its namesake.
        rows[name] = {exam: found[0] for exam, found in exams.items() if exam and len(found) == 1}
    return rows, excluded


def _read(exam: _Exam, scale: float) -> ECG:
    tracing = read_dataset(exam.path, "tracings", exam.row)
    if tracing.ndim != 2 or tracing.shape[1] != len(LEADS):
        raise FormatError(exam.path, f"exam {exam.record_id}", f"shape {tracing.shape}", "[time, 12]", kind="layout")
    used = np.flatnonzero((tracing != 0).any(axis=1))
    if len(used) == 0:
        raise SignalError(exam.record_id, "signal", "zeros only", "a tracing", "leave the exam out", kind="flat_lead")
    signal = tracing[used[0] : used[-1] + 1].T * scale
    reason = f"{scale:g} mV per stored unit assumed: the release does not say"
    findings = (Finding("units_assumed", "warning", reason),)
    return ECG(signal, FS, LEADS, exam.record_id, findings=findings)


def _truth(value: Any) -> float:
    """Return 1, 0 or NaN for what a table calls true, false or nothing."""
    text = str(value).strip().lower()
    return 1.0 if text in ("true", "1", "1.0") else 0.0 if text in ("false", "0", "0.0") else np.nan


def _metadata(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient_id": table["patient_id"],
            "age": [known_age(age) for age in table["age"]],
            "sex": [{1.0: "male", 0.0: "female"}.get(_truth(male)) for male in table["is_male"]],
        },
        index=table.index,
    )
