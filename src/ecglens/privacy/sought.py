# SPDX-License-Identifier: Apache-2.0
"""Whom the figures of a split rest on: who is looked for, by how much, and how much of that is of one day.

People who stand in a gallery are not all looked for: that takes a second recording, or a second date. And recordings of
one day are more alike than those of several (electrodes, posture, heart rate), so that figures of them are optimistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecglens.privacy.known_people import FEWEST
from ecglens.privacy.protocols import Split

DAYS = ("one_day", "other_days", "not_known")


@dataclass(frozen=True)
class Sought:
    """People looked for or named, over all folds, and what they are looked for by.

    n_people      who are looked for
    n_of_one_day  ... of whom all comparisons, or windows, are of one day
    n_of_several  ... of whom some are known to be of different days
    n_asked       recordings that are looked for, or windows that are named
    n_compared    comparisons of one person, or windows that are named: what `one_day` and its kin sum to
    one_day       ... of recordings of one date, or of one recording; `other_days`; `not_known` where a date is lacking
    """

    n_people: int
    n_of_one_day: int
    n_of_several: int
    n_asked: int
    n_compared: int
    one_day: int
    other_days: int
    not_known: int

    def as_dict(self) -> dict[str, int]:
        """Return the counts, JSON-ready."""
        return dict(vars(self))


def sought(table: pd.DataFrame, splits: Sequence[Split]) -> Sought:
    """Return whom splits of a table of windows (`windows.COLUMNS`) that ask for people rest on."""
    of_days = (_days_compared if splits[0].compares else _days_named)(table, splits)
    counts = of_days["days"].value_counts()
    return Sought(
        n_people=int(of_days["person"].nunique()),
        n_of_one_day=int((of_days["days"] == "one_day").groupby(of_days["person"]).all().sum()),
        n_of_several=int(of_days["person"][of_days["days"] == "other_days"].nunique()),
        n_asked=_n_asked(table, splits), n_compared=len(of_days),
        **{days: int(counts.get(days, 0)) for days in DAYS},
    )  # fmt: skip


def in_words(told: dict[str, Any] | None, protocol: str) -> str:
    """Return how much of what was asked is of one day, or may be; '' where nothing is, or the protocol says it."""
    if not told or protocol in ("cross-session", "paper") or told["one_day"] + told["not_known"] == 0:
        return ""
    whole, lacking, several = told["n_of_one_day"], told["not_known"], told["n_of_several"]
    if told["one_day"] == 0:
        return (
            f"Of {lacking:,} of {told['n_compared']:,} {_COMPARED[protocol]} no dates are known; one day is optimistic."
        )
    known = f"{told['one_day']:,} of {told['n_compared']:,} {_COMPARED[protocol]} are of one day"
    known += f", all there are of {whole:,} of {told['n_people']:,} people" if whole else ""
    known += f"; of {lacking:,} no dates are known" if lacking else ""
    then = "ask for other days alone with --protocol cross-session" if several >= FEWEST else (
        f"{several or 'none'} of these people can be asked about by another day"
    )  # fmt: skip
    return f"{known}: one day is optimistic; {then}."


_COMPARED = dict.fromkeys(("verification", "open-set"), "comparisons of one person")
_COMPARED["closed-set"] = "windows, with what was trained on,"


def _n_asked(table: pd.DataFrame, splits: Sequence[Split]) -> int:
    if splits[0].compares:
        return sum(int(table["recording"].iloc[split.probe].nunique()) for split in splits)
    return sum(len(split.probe) for split in splits)


def _days_compared(table: pd.DataFrame, splits: Sequence[Split]) -> pd.DataFrame:
    """Return person and days of each comparison of one person."""
    told = []
    for split in splits:
        parts = [
            table.iloc[part].drop_duplicates("recording")[["person", "recording", "date"]].assign(role=role)
            for role, part in enumerate((split.enrol, split.probe))
        ]
        units = pd.concat(parts, ignore_index=True)
        units["number"] = np.arange(len(units))
        both = units.merge(units, on="person")
        both = both[both["number_x"] < both["number_y"]]
        if split.protocol == "cross-session":  # templates with probes alone
            both = both[both["role_x"] != both["role_y"]]
        told.append(both.assign(days=_days(both["date_x"], both["date_y"])))
    return pd.concat(told, ignore_index=True)


def _days_named(table: pd.DataFrame, splits: Sequence[Split]) -> pd.DataFrame:
    """Return person and days of each window that is named: whether it is of a day that its owner was trained on."""
    told = []
    for split in splits:
        learnt = table.iloc[np.concatenate([split.train, split.valid])]
        asked = table.iloc[split.probe]
        dates = {person: set(each.dropna()) for person, each in learnt.groupby("person")["date"]}
        undated = {person: bool(each.isna().any()) for person, each in learnt.groupby("person")["date"]}
        own = set(learnt["recording"])
        days = [
            "one_day" if recording in own or date in dates[person]
            else "not_known" if undated[person] or pd.isna(date) else "other_days"
            for person, recording, date in zip(asked["person"], asked["recording"], asked["date"], strict=True)
        ]  # fmt: skip
        told.append(asked[["person"]].assign(days=days))
    return pd.concat(told, ignore_index=True)


def _days(one: pd.Series, other: pd.Series) -> np.ndarray:
    known = (one.notna() & other.notna()).to_numpy()
    same = (one == other).to_numpy()
    return np.where(~known, "not_known", np.where(same, "one_day", "other_days"))
