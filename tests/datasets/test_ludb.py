# SPDX-License-Identifier: Apache-2.0
"""LUDB: statements as classes, ages above 89, lower-case leads, what the table or the folder lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecglens.datasets.ludb import load_ludb
from ecglens.errors import TableError, UsageError
from ecglens.leads import STANDARD_LEADS


def test_statements_become_classes(ludb: Path) -> None:
    labels = load_ludb(ludb).labels
    assert {record: set(row[row == 1].index) for record, row in labels.iterrows()} == {
        "1": {"Sinus bradycardia", "Axis: normal", "Left ventricular overload", "Left ventricular hypertrophy",
              "Non-specific repolarization abnormalities"},
        "2": {"Atrial flutter", "Axis: left axis deviation", "I degree av block", "Atrial extrasystole", "Stemi"},
    }  # fmt: skip
    assert labels.isin([0, 1]).all(axis=None)
    assert load_ludb(ludb, "rhythm").classes == ("Atrial flutter", "Sinus bradycardia")
    assert "Rhythms" in load_ludb(ludb, "rhythm").label_rule
    with pytest.raises(UsageError, match="rhythm, axis"):
        load_ludb(ludb, "superdiagnostic")


def test_people_and_leads(ludb: Path) -> None:
    cohort = load_ludb(ludb)
    assert cohort.metadata[["patient_id", "age", "sex"]].to_numpy().tolist() == [["1", 51, "female"], ["2", 90, "male"]]
    assert cohort[0].leads == STANDARD_LEADS


def test_what_is_missing_is_listed(ludb: Path) -> None:
    assert {e.record_id: e.kind for e in load_ludb(ludb).excluded} == {"3": "absent", "9": "no_label"}
    (ludb / "ludb.csv").write_text("ID,Sex\n1,F\n")
    with pytest.raises(TableError, match="Rhythms"):
        load_ludb(ludb)
