# SPDX-License-Identifier: Apache-2.0
"""CinC 2011: quality from the table or the organisers' lists, leads by name, nobody known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ecglens.cli.app import run
from ecglens.datasets.cinc2011 import load_cinc2011
from ecglens.datasets.load import load_cohort, recognise
from ecglens.errors import LeakError, TableError
from ecglens.leads import STANDARD_LEADS


def test_quality_and_people(cinc2011: Path) -> None:
    cohort = load_cinc2011(cinc2011)
    np.testing.assert_array_equal(cohort.labels["unacceptable"], [1, 0, np.nan])
    assert cohort.patient_keys == (None, None, None)
    assert [(e.record_id, e.kind) for e in cohort.excluded] == [("9", "absent")]
    with pytest.raises(LeakError):
        cohort.split()


def test_leads_are_taken_by_name(cinc2011: Path) -> None:
    ecg = load_cinc2011(cinc2011)[1]
    assert ecg.leads[4:6] == ("aVF", "aVL")
    stored = np.fromfile(cinc2011 / "1002867.dat", "<i2").reshape(-1, 12) / 200
    usual = ecg.select(STANDARD_LEADS)
    np.testing.assert_allclose(usual["aVL"], stored[:, 5], rtol=1e-6)
    np.testing.assert_allclose(usual.signal[5], stored[:, 4], rtol=1e-6)  # aVF


def test_the_organisers_lists_in_set_a(cinc2011: Path) -> None:
    (cinc2011 / "labels.csv").unlink()
    cinc2011.rename(cinc2011.parent / "set-a")
    root = cinc2011.parent
    (root / "set-a" / "RECORDS-acceptable").write_text("1002603\n1003574\n")
    (root / "set-a" / "RECORDS-unacceptable").write_text("1002867\n")
    assert load_cinc2011(root).labels["unacceptable"].tolist() == [0, 1, 0]


def test_a_download_keeps_its_subfolder(cinc2011: Path) -> None:
    """`data download` writes set-a/... below the folder it is given: that folder is the data set."""
    inside = cinc2011.rename(cinc2011.parent / "set-a")
    (inside / "labels.csv").rename(inside / "other.txt")
    for name, records in (("RECORDS-acceptable", "1002867\n"), ("RECORDS-unacceptable", "1002603\n")):
        (inside / name).write_text(records)
    assert recognise(cinc2011.parent) == recognise(inside) == "cinc2011"
    cohort = load_cohort(cinc2011.parent)
    np.testing.assert_array_equal(cohort.labels["unacceptable"], [1, 0, np.nan])


def test_age_and_sex_where_a_header_has_them(cinc2011: Path) -> None:
    for name, comment in (("1002603", "# Age: 34 Sex: F"), ("1002867", "# Age: 0 Sex: M")):
        header = cinc2011 / f"{name}.hea"
        header.write_text(header.read_text() + comment + "\n")
    people = load_cinc2011(cinc2011).metadata
    np.testing.assert_array_equal(people["age"], [34, np.nan, np.nan])  # 0 stands for unknown
    assert people["sex"].tolist() == ["female", "male", None]


def test_unknown_patients_are_not_counted(cinc2011: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "info", str(cinc2011), "--no-signals", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["patients"] is None
    assert run(["data", "info", str(cinc2011), "--no-signals"]) == 0
    assert capsys.readouterr().out.startswith("cinc2011: 3 records of unknown patients\n")


def test_an_unknown_quality_is_refused(cinc2011: Path) -> None:
    (cinc2011 / "labels.csv").write_text("record,quality\n1002603,fair\n")
    with pytest.raises(TableError, match="acceptable, unacceptable"):
        load_cinc2011(cinc2011)
