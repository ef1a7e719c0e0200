# SPDX-License-Identifier: Apache-2.0
"""A user's own folder: what a table may say, and one clear line for everything it may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.cohort import Cohort
from ecglens.datasets.folder import load_folder
from ecglens.datasets.load import recognise
from ecglens.ecg import ECG
from ecglens.errors import EcglensError, InputError, LeakError, TableError, UnsafeError
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS


def make_ecg(i: int) -> ECG:
    walk = np.random.default_rng(i).integers(-30, 31, (12, 500)).cumsum(axis=1)
    return ECG(walk.astype(np.float32) / np.float32(1000), 500, STANDARD_LEADS, f"r{i}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        write_wfdb(make_ecg(i), tmp_path)
    return tmp_path


def load(folder: Path, *lines: str, classes: list[str] | None = None) -> Cohort:
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_folder(folder, classes)


def refused(folder: Path, *lines: str, error: type[EcglensError] = TableError, **options) -> EcglensError:
    with pytest.raises(error) as caught:
        load(folder, *lines, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def as_dict(cohort: Cohort) -> dict[str, dict]:
    return cohort.labels.astype(object).where(cohort.labels.notna(), None).to_dict("index")


# ---------------------------------------------------------------- what a table may say


def test_the_ecgs_may_be_tables_themselves(tmp_path: Path) -> None:
    """The one table is that with a column `file`; ECGs as CSVs have leads as columns."""
    walk = np.random.default_rng(0).integers(-300, 300, (1000, 2)) / 1000
    for name in ("a", "b"):
        rows = "".join(f"{k / 500:.3f},{row[0]:.3f},{row[1]:.3f}\n" for k, row in enumerate(walk))
        (tmp_path / f"{name}.csv").write_text("time (s),I (mV),II (mV)\n" + rows)
    cohort = load(tmp_path, "file,patient_id,labels", "a.csv,p,MI", "b.csv,q,none")
    assert cohort.record_ids == ("a.csv", "b.csv")
    assert (cohort[1].leads, cohort[1].fs) == (("I", "II"), 500)
    assert recognise(tmp_path) == "folder"
    (tmp_path / "zz.csv").write_text("file;labels\na.csv;MI\n")
    with pytest.raises(InputError, match=r"2 CSV tables \(table\.csv, zz\.csv\)"):
        load_folder(tmp_path)
    (tmp_path / "table.csv").unlink()
    with pytest.raises(TableError, match="separate the columns by commas"):
        load_folder(tmp_path)
    (tmp_path / "zz.csv").unlink()
    with pytest.raises(InputError, match=r"2 CSV tables \(a\.csv, b\.csv\)"):
        load_folder(tmp_path)


def test_a_full_table(folder: Path) -> None:
    cohort = load(
        folder,
        "file,patient_id,labels,age,sex,device,site,fold,date,comment",
        "r0,p1,MI;CD,61,female,ECG-9,ward,1,2020-01-01,x",
        "r1.hea,p1,none,,male,,,2,,y",
        "r2.dat,p2,,7.5,,007,3,10,2021-05-05,",
    )
    assert cohort.record_ids == ("r0", "r1.hea", "r2.dat")
    assert as_dict(cohort) == {
        "r0": {"CD": 1, "MI": 1}, "r1.hea": {"CD": 0, "MI": 0}, "r2.dat": {"CD": None, "MI": None},
    }  # fmt: skip
    table = cohort.metadata
    assert table["age"].fillna(-1).tolist() == [61, -1, 7.5]
    assert table["sex"].tolist() == ["female", "male", None]
    assert table["device"].tolist() == ["ECG-9", None, "007"]
    assert table["fold"].tolist() == [1, 2, 10]
    assert cohort.n_patients == 2
    assert cohort.label_rule == "labels as given in table.csv"
    for i, ecg in enumerate(cohort):
        np.testing.assert_array_equal(ecg.signal, make_ecg(i).signal)
        assert ecg.record_id == cohort.record_ids[i]
        assert [p.name for p in cohort.files[i]] == [f"r{i}.hea", f"r{i}.dat"]


def test_columns_may_stand_in_any_order_and_a_person_may_come_twice(folder: Path) -> None:
    cohort = load(folder, "patient_id,labels,file", "p1,MI,r0", "p1,none,r1", "p2,CD,r2")
    assert cohort.record_ids == ("r0", "r1", "r2")
    assert cohort.n_patients == 2
    assert cohort.labels["MI"].tolist() == [1, 0, 0]


def test_files_of_digits_and_ids_with_zeros_stay_text(folder: Path) -> None:
    for name in ("00001", "00002"):
        for suffix in (".hea", ".dat"):
            text = (folder / f"r0{suffix}").read_bytes()
            (folder / f"{name}{suffix}").write_bytes(text.replace(b"r0", name.encode()) if suffix == ".hea" else text)
    cohort = load(folder, "file,patient_id,device", "00001,007,01", "00002,7,1")
    assert cohort.record_ids == ("00001", "00002")
    assert cohort[0].record_id == "00001"
    assert cohort.metadata["patient_id"].tolist() == ["007", "7"]
    assert cohort.n_patients == 2


def test_long_patient_numbers_stay_apart_whatever_the_table_made_of_them(folder: Path) -> None:
    cohort = load(folder, "file,patient_id", "r0,12345678", "r1,12345679", "r2,", "r3,12345678.0")
    assert cohort.metadata["patient_id"].tolist() == ["12345678", "12345679", None, "12345678"]


@pytest.mark.parametrize("word", ["", " ", "NA", "nan", "NaN", "None", "null", "N/A"])
def test_words_for_nothing_are_an_unknown_patient_not_one_person(folder: Path, word: str) -> None:
    cohort = load(folder, "file,patient_id,sex,age", f"r0,{word},{word},{word}", f"r1,{word},,", "r2,p,male,3")
    assert cohort.patient_keys == (None, None, f"{folder.name}:p")
    assert cohort.n_patients == 3
    assert cohort.metadata["sex"].tolist() == [None, None, "male"]
    with pytest.raises(LeakError, match="unknown for 2 of 3") as caught:
        cohort.split()
    assert caught.value.kind == "unknown_patient"


def test_no_patient_column_is_all_unknown(folder: Path) -> None:
    cohort = load(folder, "file,labels", "r0,MI", "r1,none")
    assert cohort.patient_keys == (None, None)
    with pytest.raises(LeakError):
        cohort.split()


@pytest.mark.parametrize("text", ["none", "None", "NONE", " none "])
def test_none_is_no_class_and_empty_is_unknown(folder: Path, text: str) -> None:
    cohort = load(folder, "file,labels", f"r0,{text}", "r1,MI", "r2,", "r3,NA")
    assert as_dict(cohort) == {"r0": {"MI": 0}, "r1": {"MI": 1}, "r2": {"MI": None}, "r3": {"MI": None}}


def test_labels_may_be_parted_by_bars_and_spaces(folder: Path) -> None:
    cohort = load(folder, "file,labels", "r0, MI ; CD;", "r1,MI|CD", "r2,;")
    assert cohort.labels.loc["r0"].tolist() == cohort.labels.loc["r1"].tolist() == [1, 1]
    assert cohort.labels.loc["r2"].isna().all()


def test_expected_classes_give_columns_and_order(folder: Path) -> None:
    cohort = load(folder, "file,labels", "r0,MI", classes=["NORM", "MI", "CD"])
    assert (cohort.classes, cohort.labels.loc["r0"].tolist()) == (("NORM", "MI", "CD"), [0, 1, 0])


def test_no_labels_at_all_can_still_be_predicted(folder: Path) -> None:
    assert load(folder, "file", "r0", "r1").classes == ()
    assert load(folder, "file", "r0", classes=["MI"]).labels["MI"].isna().all()


def test_marks_of_spreadsheets_do_not_matter(folder: Path) -> None:
    text = "\ufefffile , patient_id\r\nr0 , p1\r\nr1,p2\r\n"
    (folder / "table.csv").write_bytes(text.encode())
    cohort = load_folder(folder)
    assert (cohort.record_ids, cohort.metadata["patient_id"].tolist()) == (("r0", "r1"), ["p1", "p2"])


def test_hidden_tables_of_the_system_are_no_second_table(folder: Path) -> None:
    (folder / "._table.csv").write_bytes(b"\x00\x05\x16\x07")
    assert len(load(folder, "file", "r0")) == 1


def test_empty_rows_and_columns_of_spreadsheets_do_not_count(folder: Path) -> None:
    cohort = load(folder, "file,patient_id,,", "r0,p0,,", ",,,", "", "r1,p1,,", ",,,")
    assert (cohort.record_ids, cohort.n_patients) == (("r0", "r1"), 2)


def test_a_short_row_is_unknown_at_its_end(folder: Path) -> None:
    cohort = load(folder, "file,patient_id,labels", "r0,p,MI", "r1")
    assert cohort.patient_keys[1] is None
    assert cohort.labels.loc["r1"].isna().all()


def test_records_below_the_folder(folder: Path) -> None:
    write_wfdb(make_ecg(9), folder / "sub")
    np.testing.assert_array_equal(load(folder, "file", "sub/r9")[0].signal, make_ecg(9).signal)


def test_a_missing_file_is_said_when_read(folder: Path) -> None:
    cohort = load(folder, "file", "r0", "gone")
    assert cohort[0].n_samples == 500
    with pytest.raises(InputError):
        cohort[1]


# ---------------------------------------------------------------- what it may not


def test_folders_without_a_table(tmp_path: Path) -> None:
    for name, kind in (
        ("gone", "missing_folder"),
        ("empty", "empty_folder"),
        ("bare", "no_table"),
        ("two", "no_table"),
    ):
        if name != "gone":
            (tmp_path / name).mkdir()
        if name in ("bare", "two"):
            (tmp_path / name / "r.hea").touch()
        if name == "two":
            (tmp_path / name / "a.csv").touch()
            (tmp_path / name / "b.csv").touch()
        with pytest.raises(InputError) as caught:
            load_folder(tmp_path / name)
        assert (caught.value.kind, caught.value.exit_code) == (kind, 3)
        assert kind == "missing_folder" or "file,patient_id,labels" in str(caught.value)
    with pytest.raises(InputError):
        load_folder(tmp_path / "bare" / "r.hea")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00\x01",
        b'file\n"r0',
        b"name,labels\nr0,MI\n",
        b"file;patient_id\nr0;p\n",
        b"file,file\nr0,r1\n",
    ],
)
def test_what_is_no_table(folder: Path, content: bytes) -> None:
    (folder / "table.csv").write_bytes(content)
    with pytest.raises(TableError):
        load_folder(folder)


def test_more_values_than_columns_never_shift_the_columns(folder: Path) -> None:
    refused(folder, "file,patient_id", "r0,p0,MI", "r1,p1,CD")
    refused(folder, "file,patient_id", "r0,p0", "r1,p1,CD")


def test_unknown_labels_come_with_a_suggestion(folder: Path) -> None:
    error = refused(folder, "file,labels", "r0,NROM", classes=["NORM", "MI"])
    assert (error.kind, error.field) == ("unknown_code", "labels of r0")
    assert "did you mean NORM?" in str(error)
    assert "map the labels" in str(refused(folder, "file,labels", "r0,zzzz", classes=["NORM", "MI"]))


@pytest.mark.parametrize("text", ["none;MI", "MI|None"])
def test_none_and_a_class_contradict(folder: Path, text: str) -> None:
    assert "r0" in str(refused(folder, "file,labels", f"r0,{text}"))
    refused(folder, "file,labels", f"r0,{text}", classes=["MI", "CD"])


@pytest.mark.parametrize(("first", "second"), [("r0", "r0"), ("r0", "r0.hea"), ("r0.dat", "r0"), ("./r0", "r0")])
def test_the_same_record_twice(folder: Path, first: str, second: str) -> None:
    error = refused(folder, "file,patient_id", f"{first},p1", f"{second},p2")
    assert error.kind == "duplicate_id"
    assert second in str(error)


@pytest.mark.parametrize("name", ["../r0", "/etc/passwd", "http://host/r0", "~/r0", "a\\b", "sub/../../r0", "."])
def test_names_that_leave_the_folder(folder: Path, name: str) -> None:
    assert refused(folder, "file", name, error=UnsafeError).exit_code == 4


def test_links_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = write_wfdb(make_ecg(5), tmp_path_factory.mktemp("elsewhere"))
    (folder / "link.hea").symlink_to(elsewhere)
    assert refused(folder, "file", "link.hea", error=UnsafeError).kind == "link"
    with pytest.raises(UnsafeError):
        load(folder, "file", "link")[0]


def test_a_row_without_a_file(folder: Path) -> None:
    assert "row 2" in str(refused(folder, "file,patient_id", "r0,p", ",p"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sex", "F"), ("sex", "1"), ("sex", "Female"), ("age", "old"), ("age", "-1"), ("age", "inf"), ("age", "4O"),
        ("fold", "first"), ("fold", "-2"), ("age", "61 years"),
    ],
)  # fmt: skip
def test_metadata_is_checked(folder: Path, column: str, value: str) -> None:
    assert column in str(refused(folder, f"file,{column}", f"r0,{value}"))


def test_semicolons_between_columns_get_the_right_advice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file;patient_id;labels\na.hea;p;MI\n")
    with pytest.raises(TableError, match="separate the columns by commas"):
        load_folder(tmp_path)
