# SPDX-License-Identifier: Apache-2.0
"""Splits are what they are called: planted overlaps raise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ecglens.errors import LeakError
from ecglens.privacy.known_people import gap_for, places_in_order
from ecglens.privacy.protocols import ROLES, Split, first_sessions, make_splits, refuse_leaks

from .conftest import table_of

LONG = {"recordings": 1, "windows": 60, "seconds": 1800.0}


def people(table: pd.DataFrame, split: Split, *roles: str) -> set[str]:
    return {p for role in roles for p in table["person"].iloc[getattr(split, role)]}


@pytest.mark.parametrize("protocol", ["verification", "open-set", "cross-session"])
def test_people_asked_about_were_never_trained_on_and_each_is_asked_about_once(protocol: str):
    table = pd.concat([table_of(), table_of(5, recordings=1, database="b")], ignore_index=True)
    splits = make_splits(table, protocol, n_folds=3, seed=1)
    asked = [people(table, split, "enrol", "probe") for split in splits]
    for split, here in zip(splits, asked, strict=True):
        assert not people(table, split, "train", "valid") & here
        assert people(table, split, "train", "valid") | here == set(table["person"])
        assert sum(p.startswith("a") for p in here) == 4
    assert set.union(*asked) == set(table["person"])
    assert sum(map(len, asked)) == 17


def test_the_gallery_is_the_first_recording_and_the_probes_are_the_others():
    table = table_of().sample(frac=1, random_state=0).reset_index(drop=True)
    for split in make_splits(table, "verification", n_folds=3):
        assert set(table["date"].iloc[split.enrol]) == {"2024-01-01"}
        assert set(table["date"].iloc[split.probe]) == {"2024-01-02", "2024-01-03"}
        assert people(table, split, "enrol") == people(table, split, "probe")


@pytest.mark.parametrize("protocol", ["verification", "cross-session"])
def test_with_those_trained_on_everybody_is_in_the_gallery_once_and_nobody_is_looked_for_who_was_trained_on(protocol):
    table = pd.concat([table_of(), table_of(5, recordings=1, database="b")], ignore_index=True)
    for split in make_splits(table, protocol, n_folds=3):
        assert people(table, split, "enrol") | people(table, split, "beside") == set(table["person"])
        assert not people(table, split, "beside") & people(table, split, "enrol", "probe")
        assert set(table["date"].iloc[split.beside]) == {"2024-01-01"}
        split = replace(split, beside=np.append(split.beside, split.probe[0]))
        with pytest.raises(LeakError, match="people"):
            refuse_leaks(table, split)
    (split, *_) = make_splits(table, "open-set", n_folds=3)
    assert not len(split.beside)


def test_first_sessions_go_by_date_and_then_by_name():
    table = table_of(1, 3, 1, date=["2024-02-01", None, "2024-01-01"])
    assert first_sessions(table).tolist() == [2]
    assert first_sessions(table.assign(date=None)).tolist() == [0]


def test_recordings_of_one_date_follow_each_other_by_number():
    names = [f"ecgiddb:Person_01/rec_{k}" for k in range(1, 23)]  # as in ECG-ID
    assert list(places_in_order(sorted(names))) == names
    assert list(places_in_order(["b2", "a10", "a9", "2", "a", "a09", "10", f"a{'9' * 5000}"])) == [
        "2", "10", "a", "a09", "a9", "a10", f"a{'9' * 5000}", "b2",
    ]  # fmt: skip
    table = table_of(4, 22, 1, date="2005-01-01")
    (split,) = make_splits(table, "closed-set")
    assert {name.partition("/")[2] for name in table["recording"].iloc[split.probe]} == {str(k) for k in range(16, 22)}
    later = table[~table["recording"].str.contains("/[01]$")].reset_index(drop=True)  # rec_2 is the first, not rec_10
    assert {name.partition("/")[2] for name in later["recording"].iloc[first_sessions(later)]} == {"2"}


def test_an_open_set_has_probes_of_people_whom_the_gallery_lacks():
    table = table_of()
    for split in make_splits(table, "open-set", n_folds=3):
        unknown = people(table, split, "probe") - people(table, split, "enrol")
        assert len(unknown) == 1
        assert people(table, split, "enrol") < people(table, split, "probe")


def test_across_sessions_no_date_of_a_person_is_on_both_sides():
    table = table_of()
    table["date"] = np.where(table["recording"].str.endswith("/1"), "2024-01-01", table["date"])  # two on one day
    for split in make_splits(table, "cross-session", n_folds=3):
        assert set(table["date"].iloc[split.enrol]) == {"2024-01-01"}
        assert set(table["date"].iloc[split.probe]) == {"2024-01-03"}
        assert len(split.enrol) == 2 * len(split.probe)


def test_a_closed_set_is_of_other_recordings_where_there_are_some():
    table = table_of(6, 4)
    (split,) = make_splits(table, "closed-set")
    recordings = {role: set(table["recording"].iloc[getattr(split, role)]) for role in ("train", "valid", "probe")}
    assert not (recordings["train"] | recordings["valid"]) & recordings["probe"]
    assert all(name.endswith("/3") for name in recordings["probe"])
    assert people(table, split, "train") == people(table, split, "probe")
    assert not set(split.train) & set(split.valid)


def test_a_closed_set_of_one_long_recording_is_divided_in_time_behind_a_gap():
    table = table_of(4, **LONG)
    (split,) = make_splits(table, "closed-set")
    learnt, asked = table.iloc[np.r_[split.train, split.valid]], table.iloc[split.probe]
    assert learnt["stop"].max() <= 0.6 * 1800
    assert asked["start"].min() >= 0.6 * 1800 + 300
    assert len(asked) > 20


@pytest.mark.parametrize(("seconds", "gap"), [(59, None), (60, 10), (1199, 10), (1200, 300), (86400, 3600)])
def test_the_gap_grows_with_the_recording(seconds: float, gap: float | None):
    assert gap_for(seconds) == gap


@pytest.mark.parametrize("task", ["sex", "age"])
def test_sex_and_age_are_always_asked_of_unseen_people_with_each_class_in_each_fold(task: str):
    table = pd.concat([table_of(30), table_of(30, database="b")], ignore_index=True)
    splits = make_splits(table, "verification", task, n_folds=3)
    column = "sex" if task == "sex" else "age_group"
    for split in splits:
        assert not people(table, split, "train", "valid") & people(table, split, "probe")
        counts = table.iloc[split.probe].drop_duplicates("person").groupby(["database", column]).size()
        assert counts.max() - counts.min() <= 1
    assert sum(len(split.probe) for split in splits) == len(table)


def test_random_windows_of_the_paper_are_marked_inflated():
    table = table_of(5, **LONG)
    (split,) = make_splits(table, "paper")
    assert split.inflated
    assert set(table["recording"].iloc[split.train]) & set(table["recording"].iloc[split.probe])
    parts = [set(getattr(split, role)) for role in ("train", "valid", "probe")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(table)
    assert not any(s.inflated for s in make_splits(table_of(), "verification", n_folds=3))


@pytest.mark.parametrize("protocol", ["verification", "closed-set", "open-set", "cross-session", "paper"])
def test_the_same_seed_gives_the_same_split_and_another_another(protocol: str):
    table = table_of(30, 4)
    first, again, other = (make_splits(table, protocol, n_folds=3, seed=seed)[0] for seed in (0, 0, 1))
    assert all(np.array_equal(getattr(first, role), getattr(again, role)) for role in ROLES)
    if protocol != "closed-set":
        assert not np.array_equal(first.train, other.train)


# -------------------------------------------------------------------------------------------------- planted overlaps


def some_split(table: pd.DataFrame, protocol: str = "verification", task: str = "person") -> Split:
    return make_splits(table, protocol, task, n_folds=3)[0]


def test_a_person_on_both_sides_is_caught():
    table = table_of()
    split = some_split(table)
    moved = table.copy()
    moved.loc[split.train[0], "person"] = table["person"].iloc[split.probe[0]]
    with pytest.raises(LeakError, match="people"):
        refuse_leaks(moved, split)


@pytest.mark.parametrize(("one", "other"), [("train", "probe"), ("valid", "enrol"), ("enrol", "probe")])
def test_a_window_on_both_sides_is_caught(one: str, other: str):
    table = table_of()
    split = some_split(table)
    planted = np.append(getattr(split, other), getattr(split, one)[0])
    with pytest.raises(LeakError, match="windows"):
        refuse_leaks(table, replace(split, **{other: planted}))


def test_a_recording_under_two_names_is_caught():
    table = table_of()
    split = some_split(table)
    table.loc[split.probe[0], "fingerprint"] = table["fingerprint"].iloc[split.train[0]]
    with pytest.raises(LeakError, match="two names"):
        refuse_leaks(table, split)


def test_gallery_and_probes_of_one_recording_are_caught():
    table = table_of(windows=3, seconds=2000)
    split = some_split(table)
    table.loc[split.probe[0], "recording"] = table["recording"].iloc[split.enrol[0]]
    table.loc[split.probe[0], ["start", "stop"]] = [5000.0, 5008.0]  # far away in time: still the same recording
    with pytest.raises(LeakError, match="recordings"):
        refuse_leaks(table, split)


def test_stretches_that_lie_too_close_are_caught():
    table = table_of(4, **LONG)
    split = some_split(table, "closed-set")
    near = split.probe[0]
    last = table.iloc[split.train]
    until = last[last["recording"] == table["recording"].iloc[near]]["stop"].max()
    for distance, caught in ((301.0, False), (299.0, True), (-4.0, True)):
        moved = table.copy()
        moved.loc[near, ["start", "stop"]] = [until + distance, until + distance + 8]
        moved.loc[split.valid, ["start", "stop"]] = [0.0, 8.0]
        if caught:
            with pytest.raises(LeakError, match="apart"):
                refuse_leaks(moved, split)
        else:
            refuse_leaks(moved, split)


def test_a_shared_date_is_caught_across_sessions():
    table = table_of()
    split = some_split(table, "cross-session")
    table.loc[split.probe, "date"] = "2024-01-01"
    with pytest.raises(LeakError, match="dates"):
        refuse_leaks(table, split)


def test_validation_people_of_a_class_task_are_not_trained_on():
    table = table_of(18)
    split = some_split(table, "verification", "sex")
    with pytest.raises(LeakError, match="people"):
        refuse_leaks(table.assign(person=_merged(table, split.train[0], split.valid[0])), split)


def test_a_stranger_among_the_probes_of_a_closed_set_is_caught():
    table = table_of(6, 4)
    split = some_split(table, "closed-set")
    table.loc[split.probe[0], "person"] = "a:99"
    with pytest.raises(LeakError, match="not trained on"):
        refuse_leaks(table, split)


def _merged(table: pd.DataFrame, one: int, other: int) -> pd.Series:
    return table["person"].where(table["person"] != table["person"].iloc[other], table["person"].iloc[one])
