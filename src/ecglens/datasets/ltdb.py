# SPDX-License-Identifier: Apache-2.0
"""MIT-BIH Long-Term ECG Database: 7 people, 14 to 24 hours, two or three leads at 128 Hz, every beat annotated."""

from __future__ import annotations

from pathlib import Path

from ecglens.cohort import Cohort
from ecglens.datasets.records import HOUR, is_record, load_holter

RECORDS = ("14046", "14134", "14149", "14157", "14172", "14184", "15814")


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds ltdb: a record of its number at 128 Hz, with its beats."""
    return any(is_record(folder / f"{name}.hea", 128, "atr") for name in RECORDS)


def load_ltdb(root: str | Path, *, stretch: float | None = HOUR) -> Cohort:
    """Load ltdb, or as much of it as lies in `root`, without labels.

    stretch  seconds per record of the cohort; None: whole recordings

    Each recording is another person.
    """
    return load_holter("ltdb", Path(root), RECORDS, stretch, HOUR, annotator="atr")
