# SPDX-License-Identifier: Apache-2.0
"""Windows of the very people who are trained on, divided: by recording, in time behind a gap, or at random.

Whoever has too little for that is left out, and said to be: `unsuited`, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Indices = NDArray[np.int64]

FEWEST = 3  # people with what a protocol needs, below which there is nothing to estimate
VALID = 0.1  # of what may be trained on, for early stopping
# (shortest recording, gap) in s: hours drift, so the longer a recording the farther apart its two parts.
GAPS = ((5 * 3600.0, 3600.0), (1200.0, 300.0), (60.0, 10.0))
TRAIN_UNTIL, TEST_FROM = 0.6, 0.7  # of a recording that is divided in time
_PAPER_TEST = 0.2
_DIGITS = re.compile("([0-9]+)")


@dataclass(frozen=True)
class LeftOut:
    """A person who is not asked about, and why: `kind` is the stable word. `person` stays in memory."""

    person: str
    kind: str
    reason: str


class Lacking(Exception):
    """Data that a protocol cannot be had from, before it is known which other one can: becomes an InputError then."""

    def __init__(self, where: str, field: str, found: object, allowed: str, *, kind: str) -> None:
        """Hold what an InputError says."""
        super().__init__(found)
        self.where, self.field, self.found, self.allowed, self.kind = where, field, found, allowed, kind


def gap_for(duration: float) -> float | None:
    """Return the gap between the parts of a recording of `duration` s, None where it is too short to be divided."""
    return next((gap for shortest, gap in GAPS if duration >= shortest), None)


def places_in_order(names: Iterable[str]) -> dict[str, int]:
    """Return the place of each name, numbers in it read as numbers.

    >>> places_in_order(["rec_10", "rec_2", "rec_1"])
    {'rec_1': 0, 'rec_2': 1, 'rec_10': 2}
    """
    return {name: place for place, name in enumerate(sorted(set(names), key=_natural))}


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    # Digits stay text, longer is larger: int() refuses numbers of thousands of digits, which a name may hold.
    pieces = [piece.lstrip("0") if k % 2 else piece for k, piece in enumerate(_DIGITS.split(name))]
    return [(len(piece) if k % 2 else 0, piece) for k, piece in enumerate(pieces)], name


def closed_set(table: pd.DataFrame) -> dict[str, Indices]:
    """Return the positions to train on, to validate on and to ask about, of all people who have enough of each.

    Raises Lacking where they are fewer than FEWEST.
    """
    parts: dict[str, list[Indices]] = {"train": [], "valid": [], "probe": []}
    people = _by_person(table)
    for _, rows in people:
        train, probe = _own_parts(rows)
        if _complaint(rows, train, probe):
            continue
        n_valid = max(1, round(VALID * len(train)))
        for role, at in zip(parts, (train[:-n_valid], train[-n_valid:], probe), strict=True):
            parts[role].append(at)
    if len(parts["train"]) < FEWEST:
        raise Lacking(
            "identify", "people", f"{len(parts['train'])} of {len(people)} with two windows to train on and one to ask "
            "about, of another recording or of a minute's recording behind a gap", f"{FEWEST} for closed-set",
            kind="too_few_people",
        )  # fmt: skip
    return {role: np.sort(np.concatenate(at)) for role, at in parts.items()}


def random_windows(table: pd.DataFrame, random: np.random.Generator, known: set[str]) -> dict[str, Indices]:
    """Deal out each person's windows at random, as TransECG does: a fifth to be looked for.

    known   people who may be asked about: those whose class is known

    Raises Lacking where fewer than FEWEST people have three windows.
    """
    parts: dict[str, list[int]] = {"train": [], "valid": [], "probe": []}
    enough, people = with_three_windows(table), _by_person(table)
    if len(enough) < FEWEST:
        raise Lacking(
            "identify", "people", f"{len(enough)} of {len(people)} with three windows", f"{FEWEST} for paper",
            kind="too_few_people",
        )  # fmt: skip
    for person, rows in people:
        at = random.permutation(rows["at"].to_numpy())  # drawn of everybody: who is left out changes nobody else's
        if person not in enough & known:
            continue
        n_test, n_valid = max(1, round(_PAPER_TEST * len(at))), max(1, round(VALID * len(at)))
        parts["probe"] += at[:n_test].tolist()
        parts["valid"] += at[n_test : n_test + n_valid].tolist()
        parts["train"] += at[n_test + n_valid :].tolist()
    return {role: np.array(sorted(at), np.int64) for role, at in parts.items()}


def with_three_windows(table: pd.DataFrame) -> set[str]:
    """Return the people with a window to train on, one to validate on and one to ask about."""
    counts = table.groupby("person").size()
    return set(counts[counts >= 3].index)


def unsuited(table: pd.DataFrame, protocol: str) -> list[LeftOut]:
    """Return the people whom `closed-set` or `paper` has to leave out, and why; of other protocols nobody."""
    if protocol == "paper":
        fewer = sorted(set(table["person"]) - with_three_windows(table))
        return [LeftOut(person, kind="few_windows", reason="fewer than three windows") for person in fewer]
    if protocol != "closed-set":
        return []
    told = [(person, _complaint(rows, *_own_parts(rows))) for person, rows in _by_person(table)]
    return [LeftOut(person, **complaint) for person, complaint in told if complaint]


def _by_person(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    places = places_in_order(table["recording"])
    placed = table.assign(at=np.arange(len(table)), place=table["recording"].map(places))
    return [(str(person), rows) for person, rows in placed.groupby("person", sort=True)]


def _complaint(rows: pd.DataFrame, train: Indices, probe: Indices) -> dict[str, str]:
    """Return kind and reason why a person cannot be asked about, nothing where there is none."""
    one = rows["recording"].nunique() == 1
    if one and gap_for(_span(rows)[1] - _span(rows)[0]) is None:
        return {"kind": "undivided", "reason": "one recording, with windows over less than a minute: not to be divided"}
    if len(train) < 2 or not len(probe):
        return {"kind": "few_windows", "reason": "fewer than two windows to train on, or none to ask about"}
    return {}


def _span(rows: pd.DataFrame) -> tuple[float, float]:
    return float(rows["start"].min()), float(rows["stop"].max())


def _own_parts(rows: pd.DataFrame) -> tuple[Indices, Indices]:
    """Return the positions to train on and to test on of one person: by recording, or in time behind a gap."""
    rows = rows.assign(when=rows["date"].fillna("")).sort_values(["when", "place", "start"])
    recordings = rows["recording"].drop_duplicates().tolist()
    if len(recordings) > 1:
        n_test = max(1, int(0.3 * len(recordings)))
        tested = rows["recording"].isin(recordings[-n_test:])
        return rows.loc[~tested, "at"].to_numpy(), rows.loc[tested, "at"].to_numpy()
    begin, end = _span(rows)
    gap = gap_for(end - begin)
    if gap is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    until = begin + TRAIN_UNTIL * (end - begin)
    since = max(begin + TEST_FROM * (end - begin), until + gap)
    return rows.loc[rows["stop"] <= until, "at"].to_numpy(), rows.loc[rows["start"] >= since, "at"].to_numpy()
