# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.describe import describe_cohort
from ecglens.datasets.survey import Survey, survey_signals
from ecglens.ecg import ECG
from ecglens.errors import Finding
from ecglens.reporting.cohort import MOST_LISTED, attention, cohort_report
from ecglens.reporting.html import render

HOSTILE = "\"><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>&amp;\x00\u202e"
FORMULA = "=cmd|' /C calc'!A0"


def cohort_of(n, **changes):
    ids = [f"r{k}" for k in range(n)]
    rng = np.random.default_rng(0)
    signals = [ECG(rng.normal(0, 0.3, (2, 1000)).astype(np.float32), 100, ("I", "II"), name) for name in ids]
    labels = pd.DataFrame({"MI": np.arange(n) % 2, "CD": np.arange(n) % 3 == 0}, ids).astype(float)
    metadata = pd.DataFrame(
        {"patient_id": ids, "age": 40.0, "sex": "female", "device": "X", "site": "Y", "fold": 1, "date": "2020-01-01"},
        index=ids,
    )
    return Cohort("toy", signals, changes.pop("labels", labels), changes.pop("metadata", metadata), **changes)


def page_of(cohort, survey="look"):
    return cohort_report(describe_cohort(cohort), survey_signals(cohort) if survey == "look" else survey)


def titles(report):
    return [section.title for section in report.sections]


def by_title(report, start):
    (found,) = [section for section in report.sections if section.title.startswith(start)]
    return found


def test_the_page_says_first_what_is_there_and_that_nothing_is_wrong():
    report = page_of(cohort_of(30))
    assert titles(report) == [
        "In short", "How often each label occurs", "How many labels on one record", "Which labels stand together",
        "People", "Devices, sites and folds", "Recordings", "Signals", "Duplicates", "Missing values",
        "Licence, citation and use",
    ]  # fmt: skip
    first = report.sections[0]
    assert first.conclusion == (
        "30 records of 30 patients with 2 labels; 30 of 30 files can be read. Nothing was found that forbids their use."
    )
    assert first.text == ()
    assert all(section.conclusion for section in report.sections)
    assert all(figure.caption.endswith(".") and figure.alt for s in report.sections for figure in s.figures)


def test_what_is_wrong_is_named_in_the_first_section():
    cohort = cohort_of(12, excluded=(Excluded("z", "absent", "not there"),))
    table = cohort.metadata.assign(patient_id=["p"] * 10 + [None] * 2, sex=["male", *["female"] * 11])
    about = describe_cohort(replace(cohort, metadata=table))
    survey = survey_signals(cohort)
    gap = Finding("gap", "error", "1 s without samples", "I")
    faulty = replace(
        survey, unreadable=(Excluded("r1", "truncated", "too short"),), duplicates=(("r2", "r3"),),
        flags=(("r4", gap), ("r4", replace(gap, lead="II")), ("r5", Finding("clipped", "warning", "at 5 mV"))),
    )  # fmt: skip
    assert attention(about, faulty) == [
        "1 record cannot be read.",
        "2 records hold the same recording as another one.",
        "The records of 1 patient disagree on sex.",
        "1 record would be refused for the signal: gap (1).",
        "1 record to be read with care: clipped (1).",
        "The patient is unknown in 2 records: no split by patient.",
        "Fewer than 5 patients have MI or CD: too few to learn from or to score.",
        "1 record was left out on loading: absent (1).",
    ]
    report = cohort_report(about, faulty)
    assert report.sections[0].text == tuple(attention(about, faulty))
    assert by_title(report, "Duplicates").tables[0].rows == (("2", "r2, r3"),)
    assert by_title(report, "Signals").tables[0].rows[0] == ("r1", "unreadable", "too short")


def test_the_figures_of_the_labels_are_those_of_the_description():
    cohort = cohort_of(30)
    section = by_title(page_of(cohort), "How often")
    assert section.tables[0].rows[0][:3] == ("MI", "15", "15")
    found = describe_cohort(cohort).prevalence["MI"]
    assert section.tables[0].rows[0][3] == f"50.0% [{found.low * 100:.1f}, {found.high * 100:.1f}]"
    assert "Wilson" in section.method
    both = sum(k % 2 == 1 and k % 3 == 0 for k in range(30))
    assert f"{both} records" in by_title(page_of(cohort), "Which labels").conclusion


def test_closed_files_are_not_said_to_be_sound():
    report = page_of(cohort_of(12), None)
    assert "the files were not opened" in report.sections[0].conclusion
    assert not {"Recordings", "Signals", "Duplicates"} & set(titles(report))


@pytest.mark.parametrize("labels", [{}, {"MI": np.nan}])
def test_a_data_set_without_labels_or_people_has_a_page(labels):
    ids = [f"r{k}" for k in range(3)]
    cohort = cohort_of(3, labels=pd.DataFrame(labels, index=ids), metadata=pd.DataFrame(index=ids))
    report = page_of(cohort)
    assert by_title(report, "Labels").conclusion.startswith("No labels are known")
    assert "No age is known." in by_title(report, "People").conclusion
    assert "patient_id in 3 (all)" in by_title(report, "Missing").conclusion
    assert "states no licence" in by_title(report, "Licence").conclusion
    render(report)


def test_one_label_and_labels_on_nobody():
    ids = [f"r{k}" for k in range(6)]
    report = page_of(cohort_of(6, labels=pd.DataFrame({"A": [1.0, 0] * 3, "B": 0.0}, index=ids)))
    assert "1 label stands on no record." in by_title(report, "How often").conclusion
    assert not [title for title in titles(report) if title.startswith("Which")]
    nobody = page_of(cohort_of(6, labels=pd.DataFrame({"A": 0.0}, index=ids)))
    assert by_title(nobody, "How often").conclusion.startswith("No record carries a label.")


def test_nothing_could_be_read():
    survey = Survey(0, (Excluded("r0", "truncated", "too short"),), (), (), {}, {}, (), {}, ())
    report = page_of(cohort_of(1), survey)
    assert "0 of 1 files can be read" in report.sections[0].conclusion
    assert "Recordings" not in titles(report)
    render(report)


def test_long_lists_are_cut_and_say_so():
    survey = survey_signals(cohort_of(3))
    flags = tuple((f"r{k}", Finding("gap", "error", "no samples")) for k in range(200))
    table = by_title(page_of(cohort_of(200), replace(survey, n=200, flags=flags)), "Signals").tables[0]
    assert len(table.rows) == MOST_LISTED
    assert table.caption == f"The first {MOST_LISTED} of 200; info.json has all."


@pytest.mark.parametrize("name", [HOSTILE, FORMULA, "$\\alpha$", "x" * 300])
def test_names_from_the_data_are_text_on_the_page(name):
    ids = [name, "b", "c"]
    labels = pd.DataFrame({name: [1.0, 1, 0], "B": [1.0, 0, 1]}, ids)
    metadata = pd.DataFrame({"device": [name, "X", None], "site": [name, "Y", None], "sex": name, "age": 300}, ids)
    ecg = ECG(np.random.default_rng(0).normal(0, 0.3, (1, 1000)).astype(np.float32), 100, ("I",))
    cohort = Cohort(name, [ecg] * 3, labels, metadata, label_rule=name, citation=name)
    html = render(page_of(cohort))
    assert not re.search(r"<script|<img src=x|onerror='", html)
    assert "\x00" not in html
    assert "\u202e" not in html
    assert "90 and over" in html
    assert not re.search(r">[^<]*\b300\b[^<]*<", html)


def test_the_same_cohort_gives_the_same_page():
    assert render(page_of(cohort_of(12))) == render(page_of(cohort_of(12)))
