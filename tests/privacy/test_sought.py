# SPDX-License-Identifier: Apache-2.0
"""Whom figures rest on, and how much of it is of one day: counted by hand, and anew from the comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.privacy.identify import identify
from ecglens.privacy.protocols import Split, make_splits
from ecglens.privacy.sought import in_words, sought

from .conftest import people_cohort, table_of

NONE = np.empty(0, np.int64)


def days(*each: str | None) -> pd.DataFrame:
    """One window a recording: person, recording and date of each, as `person/date`."""
    rows = [one.split("/") for one in each]
    return pd.DataFrame(
        {"person": [p for p, _ in rows], "recording": [f"r{k}" for k in range(len(rows))],
         "date": [d or None for _, d in rows]}
    )  # fmt: skip


def test_comparisons_of_one_person_by_day() -> None:
    table = days("a/1", "a/1", "a/2", "b/1", "b/", "c/1")
    split = Split("verification", "fold-1", NONE, NONE, np.array([0, 3, 5]), np.array([1, 2, 4]))
    told = sought(table, [split])
    assert told.as_dict() == {
        "n_people": 2, "n_of_one_day": 0, "n_of_several": 1, "n_asked": 3, "n_compared": 4, "one_day": 1,
        "other_days": 2, "not_known": 1,
    }  # fmt: skip
    words = in_words(told.as_dict(), "verification")
    assert words.startswith("1 of 4 comparisons of one person are of one day; of 1 no dates are known: one day is opt")
    assert words.endswith("1 of these people can be asked about by another day.")


def test_windows_that_are_named_by_day() -> None:
    table = days("a/1", "a/1", "a/2", "b/1", "b/", "c/")
    split = Split("closed-set", "fold-1", np.array([0, 3, 5]), NONE, NONE, np.array([1, 2, 4, 5]))
    told = sought(table, [split]).as_dict()
    assert told | {"n_people": 3, "n_of_one_day": 1, "one_day": 2, "other_days": 1, "not_known": 1} == told, (
        "one recording is one day"
    )
    assert "2 of 4 windows, with what was trained on, are of one day" in in_words(told, "closed-set")


@pytest.mark.parametrize("protocol", ["verification", "open-set", "cross-session"])
def test_the_comparisons_are_those_that_are_scored(protocol: str, tmp_path: Path) -> None:
    """As many as there are genuine trials; between dates none is of one day."""
    found = identify(
        [people_cohort(9, 3)], tmp_path / "run", protocol=protocol, models=["unveiled-lr"], n_folds=3, n_resamples=20,
    )  # fmt: skip
    told = found.as_dict()["sought"]
    assert told["n_compared"] == found.run.read()["n_trials"]["genuine"]
    assert told["one_day"] == told["not_known"] == 0  # each recording has a date of its own
    assert told["n_people"] == 9
    assert in_words(told, "cross-session") == ""


def test_people_of_one_date_stand_in_the_gallery_and_are_not_looked_for() -> None:
    table = pd.concat([table_of(6, 2), table_of(8, 2, date="2024-01-01", database="b")], ignore_index=True)
    splits = make_splits(table, "cross-session", n_folds=3)
    told = sought(table, splits)
    assert told.n_people == 6
    assert sum(table["person"].iloc[split.enrol].nunique() for split in splits) == 14
    alike = replace(told, one_day=0, not_known=0, other_days=told.n_compared)
    assert told == alike
    everybody = sought(table, make_splits(table, "verification", n_folds=3))
    assert (everybody.n_people, everybody.n_of_one_day, everybody.n_of_several) == (14, 8, 6)
    words = in_words(everybody.as_dict(), "verification")
    assert "all there are of 8 of 14 people" in words
    assert "--protocol cross-session" in words


@pytest.mark.parametrize(("date", "words"), [(None, "no dates are known"), ("2024-01-01", "none of these people")])
def test_what_is_not_known_is_not_said(date: str | None, words: str) -> None:
    """Without dates nobody knows which comparisons are of one day; where all are, no other day can be asked for."""
    table = table_of(6, 2, date=date)
    told = in_words(sought(table, make_splits(table, "verification", n_folds=3)).as_dict(), "verification")
    assert words in told
    assert "cross-session" not in told
    other = table_of(6, 2)
    assert in_words(sought(other, make_splits(other, "verification", n_folds=3)).as_dict(), "verification") == ""
