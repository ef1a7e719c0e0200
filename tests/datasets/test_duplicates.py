# SPDX-License-Identifier: Apache-2.0
"""Copies are found under other names, in other lead orders and formats; near-copies and unreadable records are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.datasets.duplicates import find_duplicates
from ecglens.datasets.folder import load_folder
from ecglens.ecg import ECG
from ecglens.formats.wfdb import write_wfdb


def ecg(seed: int, name: str) -> ECG:
    walk = np.random.default_rng(seed).integers(-30, 31, (2, 500)).cumsum(axis=1)
    return ECG(walk.astype(np.float32) / np.float32(1000), 500, ("I", "II"), name)


def cohort_of(ecgs: list[ECG]) -> Cohort:
    table = pd.DataFrame(index=[e.record_id for e in ecgs])
    return Cohort("test", ecgs, table, table)


def test_copies_are_grouped_in_cohort_order() -> None:
    one, two = ecg(1, "one"), ecg(2, "two")
    swapped = replace(one, record_id="swapped", signal=one.signal[::-1], leads=("II", "I"))
    later = replace(one, record_id="later", start=7.0)
    near = replace(one, record_id="near", signal=one.signal + np.float32(0.001))
    other_rate = replace(one, record_id="other rate", fs=250)
    records = [one, two, swapped, near, replace(two, record_id="two again"), other_rate, later]
    assert find_duplicates(cohort_of(records)) == [("one", "swapped", "later"), ("two", "two again")]
    assert find_duplicates(cohort_of(records[:2])) == []


def test_files_are_read_one_by_one_and_unreadable_ones_passed_over(tmp_path: Path) -> None:
    for name, gain in (("a", 1000.0), ("b", 2000.0), ("c", 1000.0)):
        write_wfdb(ecg(3, name), tmp_path, gain=gain)
    (tmp_path / "c.dat").write_bytes(b"")
    (tmp_path / "table.csv").write_text("file\na\nb\nc\n")
    told: list[tuple[str, int, int, str]] = []
    found = find_duplicates(load_folder(tmp_path), lambda *step: told.append(step))
    assert found == [("a", "b")]
    assert told == [("comparing", 1, 3, ""), ("comparing", 2, 3, ""), ("comparing", 3, 3, "1 not readable")]
