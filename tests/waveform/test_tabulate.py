# SPDX-License-Identifier: Apache-2.0
"""A cohort's measurements as one table: every record has a row, and an interruption costs nothing."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from planted import exact_marks

from ecglens import simulate_cohort
from ecglens.errors import ContractError, FormatError, InputError
from ecglens.waveform.criteria import CRITERIA
from ecglens.waveform.tabulate import COLUMNS, measure_cohort


class Records(list):
    """Records of which one cannot be read."""

    def __getitem__(self, index):
        if index == 2:
            raise FormatError("third.hea", "file", "damaged", "a record")
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def cohort():
    made = simulate_cohort(6, classes=("NORM", "CLBBB"))
    return replace(made, records=Records(made.records))


def marks_at(times):
    """Return a marker that finds beats at these times."""
    return lambda ecg: exact_marks(times, ecg.leads)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_record_has_a_row_and_what_cannot_be_read_says_why(cohort, tmp_path):
    done = measure_cohort(cohort, tmp_path / "all.csv", marker=marks_at([1.0, 1.8, 2.6]))
    rows = rows_of(tmp_path / "all.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [row["record_id"] for row in rows] == list(cohort.record_ids)
    assert (done.measured, len(done.left_out)) == (5, 1)
    assert "damaged" in rows[2]["left_out"]
    assert float(rows[0]["rr_ms"]) == pytest.approx(800, abs=30)
    assert {row["criterion_TACHY"] for row in rows} <= {"True", "False", ""}
    assert len([c for c in COLUMNS if c.startswith("criterion_")]) == len(CRITERIA)
    assert not list(tmp_path.glob("*.journal*"))


def test_an_interrupted_table_goes_on_and_ends_the_same(cohort, tmp_path):
    marker = marks_at([1.0, 1.8, 2.6])
    measure_cohort(cohort, tmp_path / "whole.csv", marker=marker)
    seen = []

    def stops(ecg):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(ecg.record_id)
        return marker(ecg)

    out = tmp_path / "part.csv"
    with pytest.raises(KeyboardInterrupt):
        measure_cohort(cohort, out, marker=stops)
    assert not out.exists()
    with pytest.raises(InputError, match="unfinished"):
        measure_cohort(cohort, out, marker=marker)
    again = []
    done = measure_cohort(cohort, out, marker=lambda ecg: again.append(ecg) or marker(ecg), resume=True)
    assert len(again) == 2
    assert (done.measured, len(done.left_out)) == (5, 1)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_table_of_other_records_is_not_gone_on_with(cohort, tmp_path):
    out = tmp_path / "x.csv"

    def stops(ecg):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_cohort(cohort, out, marker=stops)
    with pytest.raises(ContractError, match="records"):
        measure_cohort(cohort.take([0, 1]), out, marker=marks_at([1.0]), resume=True)


def test_a_table_that_is_there_is_replaced_only_when_asked(cohort, tmp_path):
    out = tmp_path / "x.csv"
    out.write_text("precious")
    two = cohort.take([0, 1])
    with pytest.raises(InputError, match="is there"):
        measure_cohort(two, out, marker=marks_at([1.0, 2.0]))
    assert out.read_text() == "precious"
    assert measure_cohort(two, out, marker=marks_at([1.0, 2.0]), overwrite=True).measured == 2


def test_age_and_sex_of_the_cohort_reach_its_criteria(cohort, tmp_path):
    two = cohort.take([0, 1])
    two = replace(two, records=[replace(two[i], metadata={}) for i in range(2)])
    exact = dict(zip(cohort.record_ids, cohort.fiducials, strict=True))

    def marker(ecg):
        return exact[ecg.record_id]

    known = two.metadata.assign(age=[30.0, 70.0], sex=["male", "female"])
    measure_cohort(replace(two, metadata=known), tmp_path / "a.csv", marker=marker)
    unknown = two.metadata.assign(age=[float("nan")] * 2, sex=[None, None])
    measure_cohort(replace(two, metadata=unknown), tmp_path / "b.csv", marker=marker)
    told = [row["criterion_CORNELL-LVH"] for row in rows_of(tmp_path / "a.csv")]
    assert set(told) <= {"True", "False"}
    assert {row["criterion_CORNELL-LVH"] for row in rows_of(tmp_path / "b.csv")} == {""}
