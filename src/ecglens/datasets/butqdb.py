# SPDX-License-Identifier: Apache-2.0
"""BUT QDB (Nemcova et al. 2020): 18 recordings of 15 people, a day each, one chest lead at 1000 Hz, quality graded.

Three experts graded quality: 1 all waves can be measured, 2 only QRS can be found, 3 of no use; their consensus makes
the labels. Three recordings are graded throughout, of the others two stretches of 20 minutes and a few more.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.records import (
    HOUR,
    Part,
    Recording,
    cohort_of_parts,
    divided,
    known_age,
    read_part_unsummed,
)
from ecglens.errors import TableError
from ecglens.formats.wfdb import read_header
from ecglens.runs.files import read_bytes

PEOPLE = "subject-info.csv"
CLASSES = ("quality 1", "quality 2", "quality 3")
_MAX_TABLE = 2**26
_CONSENSUS = 9  # column of the consensus: three experts before it, each with start, end, class


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds BUT QDB: `NNNNNN/NNNNNN_ECG.hea` beside the table of subjects."""
    return (folder / PEOPLE).exists() and bool(_headers(folder))


def load_butqdb(root: str | Path, *, stretch: float | None = HOUR) -> Cohort:
    """Load BUT QDB, or as much of it as lies in `root`; the accelerometer is left aside.

    stretch  seconds per record of the cohort; None: whole recordings (0.7 GB each in memory)

    patient_id is the first three digits of the recording's number: 100001 and 100002 are one person, so are 103001,
    103002 and 103003. Labels: which of the three grades occur in the stretch by the experts' consensus; unknown
    where none of it is graded.

    Raises TableError where the table of subjects is missing or wrong.
    """
    root = Path(root)
    people = _people(root / PEOPLE)
    recordings = []
    for path in _headers(root):
        record = path.stem.removesuffix("_ECG")
        recordings.append(Recording(record, path, {**people.get(record, {}), "patient_id": record[:3]}))
    present = {recording.record_id for recording in recordings}
    excluded = [Excluded(r, "absent", "its files are not in this copy") for r in people if r not in present]
    parts, unreadable = divided(recordings, stretch)
    excluded += unreadable
    grades: dict[str, np.ndarray] = {}
    for recording, _ in parts:
        if recording.record_id not in grades:
            grades[recording.record_id] = read_grades(recording.path.with_name(f"{recording.record_id}_ANN.csv"))
    rows = [_labels(part, grades[recording.record_id]) for recording, part in parts]
    labels = pd.DataFrame(rows, index=[part.record_id for _, part in parts], columns=list(CLASSES), dtype=float)
    return cohort_of_parts(
        "butqdb", parts, labels,
        "BUT QDB: 1 where the experts' consensus gives this quality to any of the stretch, 0 to none of it; unknown "
        "where none of the stretch is graded",
        excluded=excluded, read=read_part_unsummed, cacheable=stretch == HOUR,
    )  # fmt: skip


def read_grades(path: Path) -> np.ndarray:
    """Return the consensus of a recording's `_ANN.csv` as rows of (first sample, sample behind the last, class).

    The file counts from 1 and includes both ends; class 0 is "not graded" and left off. An absent file has no rows.
    Raises TableError for anything else than twelve columns of whole numbers.
    """
    if not path.exists():
        return np.empty((0, 3), int)
    try:
        cells = pd.read_csv(io.BytesIO(read_bytes(path, _MAX_TABLE)), header=None, dtype=float)
        consensus = cells.iloc[:, _CONSENSUS : _CONSENSUS + 3].dropna(how="all").to_numpy(float)
        if consensus.shape[1] != 3 or not (consensus == np.rint(consensus)).all():
            raise ValueError("no whole numbers in columns 10 to 12")
    except (ValueError, LookupError) as error:
        raise TableError(path, "content", str(error), "start, end, class of three experts and of their consensus",
                         kind="csv") from None  # fmt: skip
    rows = consensus.astype(int)
    rows[:, 0] -= 1
    wrong = (rows[:, 0] < 0) | (rows[:, 1] <= rows[:, 0]) | ~np.isin(rows[:, 2], (0, 1, 2, 3))
    if wrong.any():
        raise TableError(path, f"row {int(np.argmax(wrong)) + 1}", consensus[np.argmax(wrong)].tolist(),
                         "1 <= start <= end, class 0 to 3")  # fmt: skip
    return rows[rows[:, 2] > 0]


def _headers(folder: Path) -> list[Path]:
    found = folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9]/*_ECG.hea")
    return sorted(path for path in found if path.stem == f"{path.parent.name}_ECG")


def _people(path: Path) -> dict[str, dict[str, object]]:
    """Return {recording: age, sex} of the table of subjects, which is separated by semicolons."""
    try:
        text = read_bytes(path, _MAX_TABLE, follow_links=True).decode("utf-8-sig")
        table = pd.read_csv(io.StringIO(text), sep=None, engine="python", dtype=str, keep_default_na=False)
    except (ValueError, LookupError) as error:
        raise TableError(path, "content", str(error), "a table of ID, Gender, Age", kind="csv") from None
    names = {str(name).strip().lower(): name for name in table.columns}
    sex = names.get("gender", names.get("sex"))
    if "id" not in names or "age" not in names or sex is None:
        raise TableError(path, "columns", ", ".join(map(str, table.columns)), "ID, Gender, Age", kind="columns")
    return {
        str(row[names["id"]]).strip(): {
            "age": known_age(row[names["age"]]),
            "sex": {"F": "female", "M": "male"}.get(str(row[sex]).strip().upper()[:1]),
            "device": "Bittium Faros 180",
        }
        for row in table.to_dict("records")
    }


def _labels(part: Part, grades: np.ndarray) -> list[float]:
    header = read_header(part.path)
    first = round(((part.start or header.start) - header.start) * header.fs)
    last = np.inf if part.stop is None else round((part.stop - header.start) * header.fs)
    found = set(grades[(grades[:, 0] < last) & (grades[:, 1] > first), 2].tolist())
    return [float(grade in found) if found else np.nan for grade in (1, 2, 3)]
