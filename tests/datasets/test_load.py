# SPDX-License-Identifier: Apache-2.0
"""`load_cohort` finds out what lies at a place."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets.load import DATASETS, load_cohort, recognise
from ecglens.datasets.records import credit
from ecglens.datasets.sources import SOURCES
from ecglens.ecg import ECG
from ecglens.errors import InputError, TableError, UsageError
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS
from ecglens.training.recipes import recipe_for
from ecglens.training.train import train

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


TREES = ("mitdb", "ltdb", "chfdb", "butqdb", "ludb", "ecgiddb", "cinc2011", "challenge2021", "code15")


def test_each_data_set_has_a_tree_and_a_licence() -> None:
    assert set(TREES) | {"ptbxl", "folder", "simulated"} == set(DATASETS)
    for name in {*TREES, "ptbxl"}:
        assert SOURCES[name].licence in credit(name)
        assert SOURCES[name].citation in credit(name)
    for name, source in SOURCES.items():
        assert credit(name).lower().count(source.title.lower()) == 1, "the title once"


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_known_by_its_files_under_any_name(name: str, tree: Callable[[str], Path]) -> None:
    moved = tree(name).rename(tree(name).parent / "some-folder")
    assert [known for known, dataset in DATASETS.items() if dataset.recognises(moved)] == [name]
    assert recognise(moved) == name


@pytest.mark.parametrize("name", [name for name in TREES if name != "code15"])
def test_every_record_of_a_tree_is_read_or_listed(name: str, tree: Callable[[str], Path]) -> None:
    root = tree(name)
    cohort = load_cohort(root)
    assert cohort.name == name
    assert cohort.citation == credit(name)
    assert cohort.label_rule
    assert cohort.record_ids == tuple(ecg.record_id for ecg in cohort)
    assert load_cohort(root, name).record_ids == cohort.record_ids
    again = pickle.loads(pickle.dumps(cohort))  # workers receive cohorts by pickle
    np.testing.assert_array_equal(again[0].signal, cohort[0].signal)


def test_a_table_of_ones_own_decides(ltdb: Path, ludb: Path) -> None:
    (ltdb / "mine.csv").write_text("file,labels\n14046,AFIB\n")
    assert load_cohort(ltdb).classes == ("AFIB",)
    assert load_cohort(ltdb, "ltdb").classes == ()
    (ludb / "mine.csv").write_text("file,labels\ndata/1,AFIB\n")  # beside ludb.csv, which has no `file`
    assert recognise(ludb) == "folder"
    (ludb / "mine-too.csv").write_text("file,labels\ndata/2,AFIB\n")  # two tables: one's own is not clear
    assert recognise(ludb) == "ludb"


def test_a_folder_that_could_be_two_data_sets_is_neither(ltdb: Path, chfdb: Path) -> None:
    for file in chfdb.iterdir():
        file.rename(ltdb / file.name)
    with pytest.raises(InputError, match="no CSV table"):
        load_cohort(ltdb)
    assert load_cohort(ltdb, "chfdb").name == "chfdb"


def test_tasks_and_names_are_checked(mitdb: Path, ltdb: Path) -> None:
    assert load_cohort(mitdb, task="beat").classes == ("N", "S", "V", "F", "Q")
    with pytest.raises(UsageError, match="rhythm, beat"):
        load_cohort(mitdb, task="subdiagnostic")
    with pytest.raises(UsageError, match="no labels"):
        load_cohort(ltdb, task="rhythm")
    with pytest.raises(UsageError, match="mitdb, ltdb"):
        load_cohort(mitdb, "mit-bih")


def test_a_data_set_by_name_that_is_not_there(tmp_path: Path) -> None:
    for name in (*TREES, "ptbxl"):
        with pytest.raises(InputError):
            load_cohort(tmp_path, name)


def test_a_data_set_without_labels_is_not_trained_on(ltdb: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="publishes no diagnoses") as caught:
        train(load_cohort(ltdb), recipe_for("lenet"), tmp_path / "run")
    assert caught.value.kind == "labels"
    assert not (tmp_path / "run" / "bundles").exists()
