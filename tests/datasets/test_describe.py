# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.datasets.describe import DECADES, describe_cohort
from ecglens.datasets.survey import survey_signals
from ecglens.ecg import ECG
from ecglens.errors import EnvironmentFault, FormatError, UnsafeError
from ecglens.statistics.proportion import proportion

NAN = float("nan")


def make_ecg(name="r", amplitude=1.0, n=1000, leads=("I", "II"), seed=0, fs=100.0):
    t = np.arange(n) / fs
    shift = np.random.default_rng(seed).random(len(leads))[:, None]
    return ECG((amplitude * np.sin(2 * np.pi * (t + shift))).astype(np.float32), fs, leads, name)


def make_cohort(**changes):
    ids = list("abcdef")
    labels = pd.DataFrame({"MI": [1, 1, 0, 0, NAN, 1], "CD": [1, 0, 1, 0, NAN, NAN], "HYP": [0.0] * 4 + [NAN, 0]}, ids)
    metadata = pd.DataFrame(
        {
            "patient_id": ["p", "p", "q", "r", None, None],
            "age": [300.0, 91, 90, 89.5, 9.9, NAN],
            "sex": ["male", "female", "female", None, "female", "male"],
            "device": ["X", "X", "Y", None, None, "X"],
            "fold": [1, 2, 3, 3, NAN, NAN],
        },
        index=ids,
    )
    given = {"excluded": (Excluded("z", "absent", "not there"),), "label_rule": "by hand"} | changes
    return Cohort("toy", [make_ecg(name, seed=k) for k, name in enumerate(ids)], labels, metadata, **given)


def test_counts_done_by_hand():
    about = describe_cohort(make_cohort())
    assert (about.records, about.patients, about.unlabelled) == (6, 5, 1)
    assert about.labels == {"MI": 3, "CD": 2, "HYP": 0}
    assert about.labels_per_record == {"0": 1, "1": 3, "2": 1}
    assert about.records_per_patient == {"1": 4, "2": 1}
    assert about.devices == {"X": 3, "Y": 1}
    assert about.sex == {"female": 3, "male": 2}
    assert about.folds == {1: 1, 2: 1, 3: 2}
    assert about.excluded == {"absent": 1}
    assert about.missing == {
        "patient_id": 2, "age": 1, "sex": 1, "fold": 2, "device": 2, "site": 6, "date": 6, "labels": 1,
    }  # fmt: skip
    assert about.contradictions == {"sex": 1, "fold": 1}  # p is a man once, a woman once, and in two folds


def test_prevalence_counts_known_records_and_the_people_behind_them():
    found = describe_cohort(make_cohort()).prevalence["MI"]
    assert (found.n, found.n_positive, found.n_patients, found.n_patients_positive) == (5, 3, 4, 2)
    expected = proportion([1, 1, 0, 0, NAN, 1], ["p", "p", "q", "r", "e", "f"])
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


def test_co_occurrence_by_record_and_by_patient():
    pairs = describe_cohort(make_cohort()).co_occurrence
    assert pairs.classes == ("MI", "CD", "HYP")
    assert pairs.records == ((3, 1, 0), (1, 2, 0), (0, 0, 0))
    assert pairs.patients == ((2, 1, 0), (1, 2, 0), (0, 0, 0))


def test_co_occurrence_is_what_a_loop_over_pairs_counts():
    rng = np.random.default_rng(0)
    table = (rng.random((200, 6)) < 0.3).astype(float)
    table[rng.random(table.shape) < 0.1] = NAN
    ids = [str(i) for i in range(200)]
    people = [str(p) for p in rng.integers(0, 50, 200)]
    labels = pd.DataFrame(table, ids, [f"c{k}" for k in range(6)])
    cohort = Cohort("toy", [make_ecg()] * 200, labels, pd.DataFrame({"patient_id": people}, ids))
    about = describe_cohort(cohort)
    for a in range(6):
        for b in range(6):
            both = [i for i in range(200) if table[i, a] == 1 and table[i, b] == 1]
            assert about.co_occurrence.records[a][b] == len(both)
            assert about.co_occurrence.patients[a][b] == len({people[i] for i in both})
    assert sum(about.labels_per_record.values()) + about.unlabelled == 200
    visits = Counter(Counter(people).values())
    assert {int(k): n for k, n in about.records_per_patient.items() if n} == dict(visits)


def test_nobody_is_older_than_ninety_here():
    about = describe_cohort(make_cohort())
    assert about.age == {"min": 9.9, "median": 90.0, "max": 90.0, "over_89": 3}
    assert about.age_groups["male"][DECADES.index(90)] == 1
    assert about.age_groups["female"] == (1, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    assert about.age_groups["unknown"][DECADES.index(80)] == 1  # 89.5 is not 90
    assert "300" not in json.dumps(about.as_dict())


def test_a_cohort_that_knows_nothing():
    table = pd.DataFrame(index=["a"])
    about = describe_cohort(Cohort("bare", [make_ecg("a")], table, table))
    assert (about.labels, about.age, about.age_groups, about.labels_per_record) == ({}, {}, {}, {})
    assert about.unlabelled == about.missing["labels"] == 1
    json.dumps(about.as_dict(), allow_nan=False)


def broken(pair):
    name, what = pair
    if isinstance(what, Exception):
        raise what
    return replace(what, record_id=name)


def test_survey_finds_what_was_planted():
    flat = np.array(make_ecg().signal)
    flat[1] = 0.2
    gap = np.array(make_ecg(seed=4).signal)
    gap[0, 100:200] = np.nan
    items = [
        ("a", make_ecg(seed=1)),
        ("b", FormatError("b.hea", "size", 3, kind="truncated")),
        ("c", make_ecg(seed=1)),
        ("microvolts", make_ecg(amplitude=1000, seed=2)),
        ("flat", ECG(flat, 100, ("I", "II"))),
        ("gap", ECG(gap, 100, ("I", "II"))),
        ("d", UnsafeError("d.hea", "file", "a link", kind="link")),
        ("long", make_ecg(n=5000, fs=250.0, leads=("V1",), seed=3)),
    ]
    table = pd.DataFrame(index=[name for name, _ in items])
    seen = []
    survey = survey_signals(
        Cohort("toy", Lazy(broken, items), table, table), progress=lambda *told: seen.append(told)
    )  # fmt: skip
    assert survey.n == 6
    assert [(e.record_id, e.kind) for e in survey.unreadable] == [("b", "truncated"), ("d", "link")]
    assert survey.duplicates == (("a", "c"),)
    assert {(record, finding.kind) for record, finding in survey.flags} == {
        ("microvolts", "amplitude"), ("flat", "flat_lead"), ("gap", "gap"),
    }  # fmt: skip
    assert survey.flagged == {"amplitude": 1, "flat_lead": 1, "gap": 1}
    assert survey.sampling_rates == {"100": 5, "250": 1}
    assert survey.leads == {"I": 5, "II": 5, "V1": 1}
    told = survey.as_dict()
    assert told["recordings"]["duration_s"] == {"min": 10.0, "median": 10.0, "max": 20.0, "total": 70.0}
    assert told["duplicates"] == [["a", "c"]]
    assert seen[-1] == ("reading", 8, 8, "2 unreadable")


def test_survey_does_not_swallow_a_fault_of_the_machine():
    table = pd.DataFrame(index=["a"])
    cohort = Cohort("toy", Lazy(broken, [("a", EnvironmentFault("disk", "reading", "gone"))]), table, table)
    with pytest.raises(EnvironmentFault):
        survey_signals(cohort)


def test_survey_holds_one_record_at_a_time():
    alive: weakref.WeakSet[ECG] = weakref.WeakSet()
    most = 0

    def read(seed):
        nonlocal most
        ecg = make_ecg(seed=seed)
        alive.add(ecg)
        most = max(most, len(alive))
        return ecg

    table = pd.DataFrame(index=[str(k) for k in range(50)])
    assert survey_signals(Cohort("toy", Lazy(read, range(50)), table, table)).n == 50
    assert most <= 2
