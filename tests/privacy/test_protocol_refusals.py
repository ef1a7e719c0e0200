# SPDX-License-Identifier: Apache-2.0
"""What no split can be had from is refused with what can be had instead; whom a split leaves out is told."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from ecglens.errors import EcglensError, InputError, UsageError
from ecglens.privacy.identify import identify
from ecglens.privacy.protocols import COMPARED, PROTOCOLS, make_splits, people_left_out

from .conftest import people_cohort, table_of
from .test_protocols import LONG, people


def one_with_three_windows() -> pd.DataFrame:
    return pd.concat([table_of(1, 1, 3), table_of(12, 1, 1, database="b")], ignore_index=True)


def three_windows_of_men(women: int = 0) -> pd.DataFrame:
    """Three men have three windows, and so many women."""
    table = table_of(12, 1, 3)
    person = table["person"].str.removeprefix("a:").astype(int)
    enough = ((table["sex"] == "male") & (person < 6)) | ((table["sex"] == "female") & (person < 2 * women))
    return table[enough | (table["start"] == 0)].reset_index(drop=True)


REFUSED = {
    "one recording a person": (table_of(recordings=1), "verification", "person", "no protocol for .* 12 people"),
    "one recording a person, closed": (table_of(recordings=1), "closed-set", "person", "use --task sex"),
    "one recording a person, paper": (table_of(recordings=1), "paper", "person", "use --task sex"),
    "one recording a person, no sex": (table_of(recordings=1, sex=None), "paper", "person", "use --task age"),
    "one long recording a person": (table_of(**LONG), "verification", "person", "use --protocol closed-set, or"),
    "neither protocol nor task": (table_of(5, recordings=1), "verification", "person", "to do: add data: no protocol"),
    "one date a person": (table_of(date="2024-01-01"), "cross-session", "person", "verification"),
    "no dates": (table_of(date=None), "cross-session", "person", "verification"),
    "one person": (table_of(1), "verification", "person", "several"),
    "one short recording a person": (table_of(recordings=1), "closed-set", "person", "--task sex"),
    "few windows each": (table_of(5, 1, 4), "verification", "person", r"use --protocol paper \(inflated\), or"),
    "unknown ages": (table_of(age_group=None), "verification", "age", "--task person"),
    "one sex": (table_of(sex="male"), "verification", "sex", "--task person"),
    "one window a person": (table_of(recordings=1, windows=1), "paper", "person", "--task sex"),
    "three windows of one person alone": (one_with_three_windows(), "paper", "person", "1 of 13 with three windows"),
    "... and sex": (one_with_three_windows(), "paper", "sex", "1 of 13 with three windows"),
    "sexes of whom has three windows": (
        three_windows_of_men(),
        "paper",
        "sex",
        "sex known for 3 of 3 people with three windows",
    ),
    "a rare sex of whom has three": (three_windows_of_men(2), "paper", "sex", "female: 2 people with three windows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_had_is_refused_with_what_to_use_instead(what: str):
    table, protocol, task, instead = REFUSED[what]
    with pytest.raises(InputError, match=instead) as caught:
        make_splits(table, protocol, task, n_folds=3)
    assert caught.value.kind in ("too_few_people", "one_person", "unknown_class")
    assert caught.value.exit_code == 3


def test_a_class_with_two_people_is_refused_and_named():
    table = table_of(14)
    table.loc[table["person"].isin(["a:0", "a:1"]), "age_group"] = "66+"
    with pytest.raises(InputError, match=r"66\+: 2 people") as caught:
        make_splits(table, "verification", "age", n_folds=3)
    assert "--folds" not in str(caught.value)  # no number of folds would do
    with pytest.raises(InputError, match="use --folds 4 or --task person --protocol verification, or add data"):
        make_splits(table_of(14), "verification", "age", n_folds=5)


OPTIONS = {"--protocol": "protocol", "--task": "task", "--folds": "n_folds"}


CIRCLES = {
    "five people, twice": table_of(5, 2),
    "seven people, twice, and a class of two": table_of(7, 2, age_group=None),
    "nine people, twice": table_of(9, 2),
    "one short recording": table_of(12, 1, 1, 10.0),
    "two short recordings": table_of(4, 2, 1, 10.0),
    "several of three people": table_of(3, 4, 1, 10.0),
    "one of two minutes": table_of(4, 1, 9, 120.0, sex=None, age_group=None),
    "no dates": table_of(4, 2, 3, date=None),
}


@pytest.mark.parametrize("what", CIRCLES)
@pytest.mark.parametrize(("task", "n_folds"), [("person", 2), ("person", 5), ("sex", 5)])
def test_whatever_a_refusal_advises_is_accepted(what: str, task: str, n_folds: int):
    table = CIRCLES[what]
    for protocol in PROTOCOLS if task == "person" else ("verification", "paper"):
        asked = {"protocol": protocol, "task": task, "n_folds": n_folds}
        try:
            make_splits(table, **asked)
        except InputError as error:
            for way in re.findall(r"(?:--[a-z]+ [a-z0-9-]+ ?)+", error.fix.partition(":")[0]):
                words = way.split()
                told = {OPTIONS[name]: value for name, value in zip(words[::2], words[1::2], strict=True)}
                told |= {"protocol": "verification"} if told.get("task") in ("sex", "age") else {}
                told |= {"n_folds": int(told["n_folds"])} if "n_folds" in told else {}
                make_splits(table, **asked | told)
            if ": no protocol" in error.fix:
                for other in PROTOCOLS:
                    with pytest.raises(InputError):
                        make_splits(table, **asked | {"protocol": other})


def test_a_closed_set_says_what_is_lacking():
    with pytest.raises(InputError, match="0 of 12 with two windows to train on") as caught:
        make_splits(table_of(12, 2, 1, 10.0), "closed-set", n_folds=3)  # two recordings of 10 s each: one window each
    assert "use --protocol verification" in caught.value.fix


def test_a_network_has_several_people_to_learn_from():
    with pytest.raises(InputError, match=r"people to learn from: found 1 in fold-1"):
        make_splits(table_of(3), "verification", n_folds=2)


@pytest.mark.parametrize("n_folds", [2, 3, 5])
@pytest.mark.parametrize("n_people", range(2, 14))
@pytest.mark.parametrize("protocol", COMPARED)
def test_each_fold_has_somebody_to_look_for_and_somebody_to_be_taken_for(protocol: str, n_people: int, n_folds: int):
    """Of few people some folds would have no comparison of strangers, or an empty gallery: refused before training."""
    table = pd.concat([table_of(n_people, 2), table_of(1, 1, database="b")], ignore_index=True)
    try:
        splits = make_splits(table, protocol, n_folds=n_folds)
    except InputError as error:
        for folds in re.findall(r"--folds ([0-9]+)", error.fix.partition(" or ")[0]):
            assert make_splits(table, protocol, n_folds=int(folds))
        assert n_people < 4 * n_folds, "many people are not refused"
        return
    for split in splits:
        gallery, probes = (set(table["person"].iloc[part]) for part in (split.enrol, split.probe))
        assert len(gallery) > 1, "nobody could be taken for another"
        assert gallery & probes, "nobody could be found"
        assert protocol != "open-set" or probes - gallery, "nobody is unknown"


def test_open_set_of_few_people_is_measured_or_refused(tmp_path: Path):
    cohort = people_cohort(7, 2)
    asked = {"protocol": "open-set", "models": ["unveiled-lr"], "n_resamples": 50}
    with pytest.raises(InputError, match=r"found 1 in the gallery of fold-1.*use --folds 2"):
        identify([cohort], tmp_path / "five", **asked)
    found = identify([cohort], tmp_path / "two", n_folds=2, **asked).as_dict()
    assert found["models"]["unveiled-lr"]["rank1"]["value"] is not None


@pytest.mark.parametrize("task", ["sex", "age"])
@pytest.mark.parametrize("protocol", ["closed-set", "open-set", "cross-session"])
def test_sex_and_age_do_not_take_the_name_of_a_split_that_is_not_drawn(task: str, protocol: str):
    with pytest.raises(UsageError, match=f"{protocol} with --task {task}; allowed: verification or paper"):
        make_splits(table_of(), protocol, task, n_folds=3)
    assert make_splits(table_of(), "paper", task, n_folds=3)[0].inflated


# --------------------------------------------------------------------------------------------------- who is left out


def left(table: pd.DataFrame, protocol: str, task: str = "person") -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for each in people_left_out(table, protocol, task):
        told.setdefault(each.kind, []).append(each.person)
    return told


def test_whom_a_closed_set_cannot_ask_about_is_told_with_the_reason():
    table = pd.concat(
        [table_of(6, 4), table_of(2, 1, database="b"), table_of(2, 2, 1, 10.0, database="c")], ignore_index=True
    )
    assert left(table, "closed-set") == {"undivided": ["b:0", "b:1"], "few_windows": ["c:0", "c:1"]}


@pytest.mark.parametrize("task", ["person", "sex"])
@pytest.mark.parametrize("protocol", ["closed-set", "paper", "cross-session", "verification"])
def test_everybody_is_either_asked_about_or_left_out(protocol: str, task: str):
    table = pd.concat(
        [table_of(9, 4), table_of(2, 1, 1, database="b"), table_of(2, 2, 1, 10.0, "c", date=None)], ignore_index=True
    )
    table.loc[table["person"].isin(["a:0", "c:0"]), "sex"] = None
    if task == "sex" and protocol in ("closed-set", "cross-session"):
        return
    splits = make_splits(table, protocol, task, n_folds=3)
    asked = set.union(*(people(table, split, "enrol", "probe") for split in splits))
    told = [each.person for each in people_left_out(table, protocol, task)]
    assert len(told) == len(set(told))
    assert asked.isdisjoint(told)
    assert asked | set(told) == set(table["person"])
    assert bool(told) == ((protocol, task) != ("verification", "person"))


@pytest.mark.parametrize("wrong", [{"protocol": "random"}, {"task": "weight"}, {"n_folds": 1}])
def test_words_that_mean_nothing(wrong: dict):
    asked = {"protocol": "verification", "task": "person", "n_folds": 3} | wrong
    with pytest.raises(UsageError):
        make_splits(table_of(), **asked)
    assert issubclass(UsageError, EcglensError)


def test_where_classes_are_unknown_it_is_said_of_how_many():
    with pytest.raises(InputError, match="age known for 0 of 12 people, so no class"):
        make_splits(table_of(age_group=None), "verification", "age", n_folds=3)
    table = table_of()
    table.loc[table["sex"] == "female", "sex"] = None
    with pytest.raises(InputError, match="sex known for 6 of 12 people, all of one class, male"):
        make_splits(table, "verification", "sex", n_folds=3)
