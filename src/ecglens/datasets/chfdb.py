# SPDX-License-Identifier: Apache-2.0
"""BIDMC Congestive Heart Failure Database: 15 people in NYHA class III or IV, 20 hours, two leads at 250 Hz.

Its beats (`.ecg`) were found by a program and never corrected by hand.
"""

from __future__ import annotations

from pathlib import Path

from ecglens.cohort import Cohort
from ecglens.datasets.records import HOUR, is_record, load_holter

RECORDS = tuple(f"chf{number:02d}" for number in range(1, 16))


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds chfdb: a record of its name at 250 Hz, with its beats."""
    return any(is_record(folder / f"{name}.hea", 250, "ecg") for name in RECORDS)


def load_chfdb(root: str | Path, *, stretch: float | None = HOUR) -> Cohort:
    """Load chfdb, or as much of it as lies in `root`, without labels: everybody in it has heart failure.

    stretch  seconds per record of the cohort; None: whole recordings

    Each recording is another person.
    """
    return load_holter("chfdb", Path(root), RECORDS, stretch, HOUR, annotator="ecg")
