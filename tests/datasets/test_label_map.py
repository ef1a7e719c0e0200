# SPDX-License-Identifier: Apache-2.0
"""A label map says exactly what its lines say, names slips, and lists what it did not use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort
from ecglens.datasets.label_map import SHIPPED, load_label_map
from ecglens.datasets.labels import SUPERCLASSES
from ecglens.datasets.ludb import load_ludb
from ecglens.errors import TableError

MAP = """label,class,reason
Stemi,MI,acute
Scar,MI,old
Undefined,maybe MI,either
Undefined,maybe STTC,either
Ischemia,STTC,
Pacemaker,not NORM,
Extrasystole,maybe NORM,
Sinus rhythm,,says nothing
*,NORM,no such statement
"""
CLASSES = ("NORM", "MI", "STTC")


def cohort_of(rows: list[set[str]], names: list[str], unknown: str = "") -> Cohort:
    labels = pd.DataFrame([[float(n in row) for n in names] for row in rows], columns=names, index=list("abcdefghi")[
        : len(rows)])  # fmt: skip
    if unknown:
        labels.loc["a", unknown] = np.nan
    return Cohort("toy", [None] * len(rows), labels, pd.DataFrame(index=labels.index), label_rule="typed")  # type: ignore[list-item]


def written(tmp_path: Path, text: str = MAP) -> Path:
    path = tmp_path / "toy-map.csv"
    path.write_text(text)
    return path


NAMES = ["Stemi", "Scar", "Undefined", "Ischemia", "Pacemaker", "Extrasystole", "Sinus rhythm"]
ROWS: list[tuple[set[str], list[float]]] = [
    ({"Sinus rhythm"}, [1, 0, 0]),
    (set(), [1, 0, 0]),
    ({"Stemi", "Sinus rhythm"}, [0, 1, 0]),
    ({"Undefined"}, [0, np.nan, np.nan]),
    ({"Undefined", "Scar"}, [0, 1, np.nan]),
    ({"Ischemia", "Undefined"}, [0, np.nan, 1]),
    ({"Pacemaker"}, [0, 0, 0]),
    ({"Extrasystole"}, [np.nan, 0, 0]),
    ({"Extrasystole", "Stemi"}, [0, 1, 0]),
]


def test_each_kind_of_line(tmp_path: Path):
    found = load_label_map(written(tmp_path)).applied(cohort_of([row for row, _ in ROWS], NAMES), CLASSES)
    np.testing.assert_array_equal(found.cohort.labels.to_numpy(), np.array([want for _, want in ROWS], float))
    assert found.cohort.classes == CLASSES
    assert found.cohort.label_rule == "typed; mapped by toy-map to NORM, MI, STTC"
    assert found.set_aside == {"Sinus rhythm": 2}
    assert (found.unmapped, found.absent, found.never) == ({}, (), ())


def test_an_unknown_label_is_not_a_no(tmp_path: Path):
    """Record a: whether it has a scar is unknown. So is whether it is an infarction, or normal; the rest is not."""
    found = load_label_map(written(tmp_path)).applied(cohort_of([set(), {"Stemi"}], NAMES, unknown="Scar"), CLASSES)
    np.testing.assert_array_equal(found.cohort.labels.to_numpy(), [[np.nan, np.nan, 0], [0, 1, 0]])


def test_what_is_not_used_is_listed(tmp_path: Path):
    cohort = cohort_of([{"Flutter", "Stemi"}, {"Flutter"}], ["Stemi", "Flutter", "Ischemia"])
    found = load_label_map(written(tmp_path)).applied(cohort, (*CLASSES, "HYP"))
    assert found.unmapped == {"Flutter": 2}
    assert found.absent == ("Extrasystole", "Pacemaker", "Scar", "Sinus rhythm", "Undefined")
    assert found.never == ("HYP",)
    assert found.cohort.labels["HYP"].isna().all()
    assert found.as_dict()["not_used"] == [{"label": "Flutter", "records": 2, "why": "no line in the map"}]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Ischemia,STTCC,", "did you mean 'STTC'?"),
        ("Ischemia,Sttc,", "did you mean 'STTC'?"),
        ("Ischemia,XYZ,", "NORM, MI, STTC"),
        ("Ischaemia,STTC,", "did you mean 'Ischemia'?"),
        ("ischemia,STTC,", "did you mean 'Ischemia'?"),
    ],
)
def test_slips_are_named(tmp_path: Path, line: str, says: str):
    broken = written(tmp_path, MAP.replace("Ischemia,STTC,", line))
    with pytest.raises(TableError, match="toy-map") as caught:
        load_label_map(broken).applied(cohort_of([{"Ischemia"}], NAMES), CLASSES)
    assert says in str(caught.value)
    assert caught.value.kind == "label_map"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("label,klass,reason\n", "label,class,reason"),
        ("", "CSV"),
        (MAP + "Stemi,MI,again\n", "twice"),
        (MAP + ",MI,nobody\n", "line 11"),
        (MAP + "*,,\n", "a class beside"),
        (MAP + "Ischemia,not MI,\n", "only for a class of"),
    ],
)
def test_what_is_no_label_map(tmp_path: Path, text: str, says: str):
    with pytest.raises(TableError) as caught:
        load_label_map(written(tmp_path, text))
    assert says in str(caught.value)


def test_a_map_that_is_not_there_names_those_that_are():
    with pytest.raises(TableError, match="ludb-to-superdiagnostic"):
        load_label_map("ludb-to-super")


# ------------------------------------------------------------------------------------------------ the map for LUDB


def ludb(folder: Path, rows: list[dict[str, str]]) -> Cohort:
    """A LUDB of records without signals that this test needs: the table and one header each."""
    from ecglens.datasets import ludb as source
    from ecglens.formats.wfdb import write_wfdb
    from ecglens.simulation.cohort import simulate_ecg

    columns = ["ID", "Sex", "Age", *source.TASKS.values()]
    table = pd.DataFrame([{"ID": k + 1, "Sex": "F", "Age": 50} | row for k, row in enumerate(rows)], columns=columns)
    folder.mkdir()
    table.to_csv(folder / "ludb.csv", index=False)
    for k in range(len(rows)):
        write_wfdb(simulate_ecg(str(k + 1), "NORM", duration=2.0).ecg, folder / "data")
    return load_ludb(folder)


def test_the_shipped_map_of_ludb(tmp_path: Path):
    cohort = ludb(tmp_path / "ludb", [
        {"Rhythms": "Sinus rhythm", "Electric axis of the heart": "Electric axis of the heart: normal"},
        {"Rhythms": "Sinus bradycardia", "Ischemia": "Stemi: septal\nIschemia: apical"},
        {"Rhythms": "Atrial fibrillation"},
        {"Rhythms": "Sinus rhythm", "Ischemia": "Undefined ischemia/scar/supp.nstemi: lateral wall",
         "Hypertrophies": "Left atrial overload"},
        {"Rhythms": "Sinus rhythm", "Conduction abnormalities": "I degree av block",
         "Extrasystolies": "Ventricular extrasystole, type: single pvc"},
        {"Rhythms": "Sinus rhythm", "Electric axis of the heart": "Electric axis of the heart: left axis deviation"},
    ])  # fmt: skip
    found = load_label_map("ludb-to-superdiagnostic").applied(cohort, SUPERCLASSES)
    unknown = np.nan
    expected = [
        [1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, unknown, unknown, 0, 1], [0, 0, 0, 1, 0],
        [unknown, 0, 0, 0, 0],
    ]  # fmt: skip
    np.testing.assert_array_equal(found.cohort.labels.to_numpy(), expected)
    assert found.unmapped == {}


def test_every_shipped_map_gives_a_reason_for_each_line():
    for path in SHIPPED.glob("*.csv"):
        assert all(line.reason for line in load_label_map(path).lines), path
        assert load_label_map(path.stem).lines == load_label_map(path).lines
