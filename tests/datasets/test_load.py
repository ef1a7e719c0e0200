# SPDX-License-Identifier: Apache-2.0
"""`load_cohort` finds out what lies at a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets.load import DATASETS, load_cohort
from ecglens.ecg import ECG
from ecglens.errors import InputError, TableError, UsageError
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS

TABLE = (
    "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr\n"
    "1,2.0,50,0,\"{'IMI': 15.0}\",3,records500/00000/00001_hr\n"
)
STATEMENTS = ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\nIMI,x,1.0,,,MI,IMI\n"


def make_ecg(name: str) -> ECG:
    walk = np.random.default_rng(0).integers(-30, 31, (12, 500)).cumsum(axis=1)
    return ECG(walk.astype(np.float32) / np.float32(1000), 500, STANDARD_LEADS, name)


@pytest.fixture
def ptbxl(tmp_path: Path) -> Path:
    write_wfdb(make_ecg("00001_hr"), tmp_path / "records500" / "00000")
    (tmp_path / "ptbxl_database.csv").write_text(TABLE)
    (tmp_path / "scp_statements.csv").write_text(STATEMENTS)
    return tmp_path


def test_ptbxl_is_known_by_its_table(ptbxl: Path) -> None:
    cohort = load_cohort(ptbxl)
    assert (cohort.name, cohort.record_ids, cohort.classes, cohort[0].fs) == ("ptbxl", ("1",), ("MI",), 500)
    assert load_cohort(str(ptbxl), task="subdiagnostic").classes == ("IMI",)
    with pytest.raises(TableError):
        load_cohort(ptbxl, min_likelihood=50)  # the one record does not reach it


def test_a_ptbxl_table_without_statements_is_no_folder_of_ones_own(ptbxl: Path) -> None:
    (ptbxl / "scp_statements.csv").unlink()
    with pytest.raises(InputError, match="scp_statements"):
        load_cohort(ptbxl)


def test_any_other_folder_is_ones_own(tmp_path: Path) -> None:
    write_wfdb(make_ecg("a"), tmp_path)
    (tmp_path / "mine.csv").write_text("file,labels\na,MI\n")
    cohort = load_cohort(tmp_path, classes=["NORM", "MI"])
    assert (cohort.name, cohort.classes, cohort.labels.loc["a"].tolist()) == (tmp_path.name, ("NORM", "MI"), [0, 1])


def test_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = load_cohort("simulated"), load_cohort("simulated"), load_cohort("simulated", seed=1)
    np.testing.assert_array_equal(first[3].signal, again[3].signal)
    assert not np.array_equal(first[3].signal, other[3].signal)
    assert set(load_cohort("simulated", task="subdiagnostic").classes) != set(first.classes)
    with pytest.raises(UsageError, match="superdiagnostic, subdiagnostic"):
        load_cohort("simulated", task="rhythm")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "simulated").mkdir()  # a folder of that name is meant where there is one
    with pytest.raises(InputError, match="nothing in it"):
        load_cohort("simulated")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder") as caught:
        load_cohort(tmp_path / "gone")
    assert caught.value.exit_code == 3


def test_data_sets_by_name() -> None:
    assert {"ptbxl", "folder", "simulated"} <= DATASETS.keys()
    assert all(callable(load) for load in DATASETS.values())
