# SPDX-License-Identifier: Apache-2.0
"""Who is trained on, who is looked for, and among whom: splits that are what they are called, or raise.

Every split is drawn in one place and checked in another (`refuse_leaks`), which knows nothing of how it was drawn.

verification   people never trained on; every pair of their recordings
open-set       people never trained on; some of them are not in the gallery
closed-set     the people trained on; other recordings of theirs, or a stretch of the same one behind a gap
cross-session  people never trained on; the gallery from a person's first date, the probes from later ones
sex, age       people never trained on
paper          windows dealt out at random, as in TransECG: the same recording on both sides. Inflated, marked so
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ecglens.errors import EcglensError, InputError, LeakError, UsageError
from ecglens.privacy.known_people import (
    FEWEST,
    VALID,
    Indices,
    Lacking,
    LeftOut,
    closed_set,
    gap_for,
    places_in_order,
    random_windows,
    unsuited,
    with_three_windows,
)

PROTOCOLS = ("verification", "closed-set", "open-set", "cross-session", "paper")
COMPARED = ("verification", "open-set", "cross-session")  # where recordings of people never seen are compared
TASKS = ("person", "sex", "age")
ROLES = ("train", "valid", "enrol", "probe")
UNKNOWN = 0.25  # of the people looked for, not in the gallery of an open set
# A filter reaches over the end of a window; two seconds are far beyond what 0.5 Hz leaves of it.
LEAST_GAP = 2.0
CLASS_OF = {"sex": "sex", "age": "age_group"}  # the column where the class of a person stands
_TRIED = 10  # other numbers of folds, of the most and of the least
# What is tried where a protocol cannot be had, in this order: the inflated one last.
_INSTEAD = ("verification", "closed-set", "cross-session", "open-set", "paper")


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of windows by role.

    protocol  a name of PROTOCOLS, or the task sex or age
    name      fold-1, ...
    train     what a network learns from
    valid     what chooses its epoch, or is trained on where there is no choice to make
    enrol     the gallery: what is known of the people among whom one is looked for
    probe     what is looked for, or classified
    beside    what the gallery would hold of the people trained on: with it everybody is in the gallery. Ranks among
              everybody are told apart from those among people never seen
    """

    protocol: str
    name: str
    train: Indices
    valid: Indices
    enrol: Indices
    probe: Indices
    beside: Indices = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def inflated(self) -> bool:
        """Tell whether its figures are known to be too good."""
        return self.protocol == "paper"

    @property
    def unseen_people(self) -> bool:
        """Tell whether the people asked about must not have been trained on."""
        return self.compares or self.protocol in CLASS_OF

    @property
    def compares(self) -> bool:
        """Tell whether recordings of strangers are compared, instead of people, sexes or ages named."""
        return self.protocol in COMPARED


def make_splits(
    table: pd.DataFrame, protocol: str, task: str = "person", *, n_folds: int = 5, seed: int = 0
) -> list[Split]:
    """Return the splits of a table of windows (`windows.COLUMNS`), each checked by `refuse_leaks`.

    protocol  a name of PROTOCOLS; for sex and age `verification` or `paper`
    n_folds   parts of the people who are looked for, one after the other; closed-set and paper have one

    Raises UsageError as `refuse_words` does, InputError for data that the protocol cannot be had from, with the reason
    and what can be had from them instead. Whom a protocol leaves out, `people_left_out` tells.
    """
    refuse_words(protocol, task, n_folds)
    if table["person"].nunique() < 2:
        found = f"{table['person'].nunique()} person"
        raise InputError("identify", "people", found, "several", "add data: nobody can be confused with nobody",
                         kind="one_person")  # fmt: skip
    try:
        return _drawn_and_checked(table, protocol, task, n_folds, seed)
    except Lacking as lacking:
        folds = _other_folds(table, (protocol, task, n_folds), seed)
        instead = _what_can_be_had(table, (protocol, task, n_folds), seed)
        none = "" if task != "person" or instead.startswith("--protocol") or folds else (
            f": no protocol for --task person can be had from these {table['person'].nunique()} people"
        )  # fmt: skip
        ways = [way for way in (folds, instead) if way]
        advice = f"use {' or '.join(ways)}, or add data{none}" if ways else f"add data{none}"
        raise InputError(
            lacking.where, lacking.field, lacking.found, lacking.allowed, advice, kind=lacking.kind
        ) from None


def refuse_words(protocol: str, task: str, n_folds: int) -> None:
    """Raise UsageError for an unknown task or protocol, one that is not meant for the task, or fewer than two folds."""
    if task not in TASKS:
        raise UsageError("identify", "task", task, ", ".join(TASKS))
    if protocol not in PROTOCOLS:
        raise UsageError("identify", "protocol", protocol, ", ".join(PROTOCOLS))
    if task != "person" and protocol not in ("verification", "paper"):  # the figures would bear a name of another split
        raise UsageError(
            "identify", "protocol", f"{protocol} with --task {task}", "verification or paper",
            f"leave --protocol out: {task} is always asked of people never trained on",
        )  # fmt: skip
    if n_folds < 2:
        raise UsageError("identify", "folds", n_folds, "2 or more")


def people_left_out(table: pd.DataFrame, protocol: str, task: str = "person") -> tuple[LeftOut, ...]:
    """Return the people whom `make_splits` does not ask about, each once, with the reason."""
    told = unsuited(table, protocol)
    people = table.drop_duplicates("person")
    if task != "person":
        unknown = people[people[CLASS_OF[task]].isna()]["person"]
        told += [LeftOut(person, kind="unknown_class", reason=f"{task} not known") for person in unknown]
    elif protocol == "cross-session":
        undated = sorted(set(table["person"]) - set(table[table["date"].notna()]["person"]))
        reason = "no date: trained on, but not looked for and in no gallery"
        told += [LeftOut(person, kind="no_date", reason=reason) for person in undated]
    once: dict[str, LeftOut] = {}
    for each in told:
        once.setdefault(each.person, each)
    return tuple(once.values())


def refuse_leaks(table: pd.DataFrame, split: Split) -> None:
    """Raise LeakError where a split is not what it is called. Looks at the table and the positions alone."""
    roles = {name: table.iloc[getattr(split, name)] for name in ROLES}
    learnt = pd.concat([roles["train"], roles["valid"]])
    asked = pd.concat([roles["enrol"], roles["probe"]])
    _refuse(split, "windows", set(learnt.index) & set(asked.index))
    _refuse(split, "windows", set(roles["enrol"].index) & set(roles["probe"].index))
    if split.inflated:
        return
    _refuse_shared_recordings(split, learnt, asked)
    _refuse_shared_recordings(split, roles["enrol"], roles["probe"])
    if split.unseen_people:
        _refuse(split, "people", set(learnt["person"]) & set(asked["person"]))
    if split.compares:
        _refuse(split, "recordings", set(roles["enrol"]["recording"]) & set(roles["probe"]["recording"]))
        _refuse(split, "people", set(table["person"].iloc[split.beside]) & set(asked["person"]))
    if split.protocol in CLASS_OF:
        _refuse(split, "people", set(roles["train"]["person"]) & set(roles["valid"]["person"]))
    if split.protocol == "cross-session":
        both = roles["enrol"].merge(roles["probe"], on="person")
        same = both[(both["date_x"] == both["date_y"]) | both["date_x"].isna() | both["date_y"].isna()]
        _refuse(split, "dates of one person", set(same["date_x"].astype(str)))
    if split.protocol == "closed-set" and set(roles["probe"]["person"]) - set(roles["train"]["person"]):
        raise LeakError("closed-set", "people", "probes of people who were not trained on", "the same people",
                        "use verification or open-set")  # fmt: skip


def first_sessions(table: pd.DataFrame) -> Indices:
    """Return the positions of the windows of each person's first recording: by date, where known, then by name.

    Numbers in a name count as numbers: rec_2 comes before rec_10.
    """
    places = table["recording"].map(places_in_order(table["recording"]))
    order = table.assign(place=places, when=table["date"].fillna("9999")).sort_values(["when", "place", "start"])
    first = order.groupby("person")["recording"].first()
    return np.flatnonzero((table["person"].map(first) == table["recording"]).to_numpy())


# ------------------------------------------------------------------------------------------------------------- drawing


def _drawn_and_checked(table: pd.DataFrame, protocol: str, task: str, n_folds: int, seed: int) -> list[Split]:
    random, none = np.random.default_rng(seed), np.empty(0, np.int64)
    if protocol == "paper":
        known = set(table["person"])
        if task != "person":
            known = set(table.dropna(subset=[CLASS_OF[task]])["person"])
        parts = random_windows(table, random, known)
        if task != "person":
            enough = table["person"].isin(with_three_windows(table))
            _refuse_classes(table[enough], task, FEWEST, " with three windows")
        splits = [Split("paper", "fold-1", parts["train"], parts["valid"], none, parts["probe"])]
    elif task != "person":
        _refuse_classes(table, task, max(FEWEST, n_folds))
        splits = _by_class(table, task, n_folds, random)
    elif protocol == "closed-set":
        parts = closed_set(table)
        splits = [Split("closed-set", "fold-1", parts["train"], parts["valid"], none, parts["probe"])]
    else:
        splits = _unseen_people(table, protocol, n_folds, random)
    for split in splits:
        refuse_leaks(table, split)
    return splits


def _other_folds(table: pd.DataFrame, asked: tuple[str, str, int], seed: int) -> str:
    """Return the option for another number of folds that the same question is accepted with, most first, or nothing."""
    protocol, task, n_folds = asked
    if protocol in ("closed-set", "paper"):
        return ""  # they have one split
    # A fold holds two people or more; where there are too few folds, too few people are left to learn from.
    fewer = range(min(n_folds - 1, table["person"].nunique() // 2), 1, -1)
    for folds in dict.fromkeys((*fewer[:_TRIED], *fewer[-_TRIED:], *range(n_folds + 1, FEWEST + 1))):
        with contextlib.suppress(EcglensError, Lacking):
            _drawn_and_checked(table, protocol, task, folds, seed)
            return f"--folds {folds}"
    return ""


def _what_can_be_had(table: pd.DataFrame, asked: tuple[str, str, int], seed: int) -> str:
    """Return the options of the first protocol, or else task, that these very data are accepted for; empty: none."""
    ways = [(protocol, "person") for protocol in _INSTEAD]
    ways += [("verification", task) for task in CLASS_OF]
    folds_tried = dict.fromkeys((asked[2], min(asked[2], FEWEST)))
    for protocol, task in ways:
        for folds in folds_tried:
            if (protocol, task) == asked[:2]:
                continue  # other folds of the same are told apart
            try:
                _drawn_and_checked(table, protocol, task, folds, seed)
            except (EcglensError, Lacking):
                continue
            words = [f"--task {task}"] if task != asked[1] else []
            words += [f"--protocol {protocol}"] if task in ("person", asked[1]) else []
            words += [f"--folds {folds}"] if folds != asked[2] else []
            return " ".join(words) + (" (inflated)" if protocol == "paper" else "")
    return ""


def _unseen_people(table: pd.DataFrame, protocol: str, n_folds: int, random: np.random.Generator) -> list[Split]:
    column = "date" if protocol == "cross-session" else "recording"
    several = table.dropna(subset=[column]).groupby("person")[column].nunique()
    repeated = set(several[several > 1].index)
    if len(repeated) < max(FEWEST, n_folds):
        what = "two dates" if column == "date" else "two recordings"
        raise Lacking(
            "identify", "people", f"{len(repeated)} with {what}", f"{max(FEWEST, n_folds)} for {protocol}",
            kind="too_few_people",
        )  # fmt: skip
    dated = table["date"].notna()  # without a date nobody knows which session it is
    usable = dated if protocol == "cross-session" else dated | True
    dealt, everybody = _dealt(table, repeated, n_folds, random), set(table["person"])
    for number, tested in enumerate(dealt):
        _refuse_folds_of_few(f"fold-{number + 1}", protocol, tested & set(table[usable]["person"]), tested & repeated)
        if len(everybody - tested) < 2:  # nobody can be told from nobody
            raise Lacking(
                "identify", "people to learn from", f"{len(everybody - tested)} in fold-{number + 1}", "2 or more",
                kind="too_few_people",
            )  # fmt: skip
    splits = []
    for number, tested in enumerate(dealt):
        asked = table["person"].isin(tested) & usable
        learners = sorted(everybody - tested)
        train, valid = _two_parts(table, learners, random)
        enrol, probe = _gallery_and_probes(table, asked.to_numpy(), protocol, repeated & tested, random)
        beside = _first_of(table, (~table["person"].isin(tested) & usable).to_numpy(), protocol)
        if protocol == "open-set":  # its gallery lacks people on purpose
            beside = beside[:0]
        splits.append(Split(protocol, f"fold-{number + 1}", train, valid, enrol, probe, beside))
    return splits


def _refuse_folds_of_few(fold: str, protocol: str, people: set[str], repeated: set[str]) -> None:
    """Raise Lacking where a fold has nobody to be looked for, or nobody to be taken for.

    people     who stand in the fold
    repeated   those of them with several recordings, or dates
    """
    unknown = _n_unknown(len(repeated)) if protocol == "open-set" else 0
    if len(repeated) <= unknown:
        found, allowed = (
            f"{len(repeated)} in {fold} with several recordings",
            "2 or more: one for the gallery, one left out of it",
        )
    elif len(people) - unknown < 2:
        found = f"{len(people) - unknown} in the gallery of {fold}"
        allowed = "2 or more, so that one may be taken for another"
    else:
        return
    raise Lacking("identify", "people", found, allowed, kind="too_few_people")


def _n_unknown(n_repeated: int) -> int:
    """Return how many of the people with several recordings are left out of the gallery of an open set."""
    return max(1, round(UNKNOWN * n_repeated))


def _dealt(
    table: pd.DataFrame, repeated: set[str], n_folds: int, random: np.random.Generator
) -> list[set[str]]:  # fmt: skip
    """Return the people of each fold, those with several recordings spread evenly, those with one likewise."""
    parts: list[set[str]] = [set() for _ in range(n_folds)]
    for group in (repeated, set(table["person"]) - repeated):
        for place, person in enumerate(random.permutation(sorted(group))):
            parts[place % n_folds].add(str(person))
    return parts


def _two_parts(table: pd.DataFrame, people: Sequence[str], random: np.random.Generator) -> tuple[Indices, Indices]:
    n_valid = max(1, round(VALID * len(people)))
    chosen = set(random.permutation(people)[:n_valid].tolist())
    valid = table["person"].isin(chosen).to_numpy()
    train = table["person"].isin(set(people) - chosen).to_numpy()
    return np.flatnonzero(train), np.flatnonzero(valid)


def _gallery_and_probes(
    table: pd.DataFrame, asked: np.ndarray, protocol: str, repeated: set[str], random: np.random.Generator
) -> tuple[Indices, Indices]:
    here = np.flatnonzero(asked)
    part = table.iloc[here]
    first = np.isin(here, _first_of(table, asked, protocol))
    if protocol == "open-set":
        people = random.permutation(sorted(repeated))
        unknown = set(people[: _n_unknown(len(people))].tolist())
        outside = part["person"].isin(unknown).to_numpy()
        return here[first & ~outside], here[~first | outside]
    return here[first], here[~first]


def _first_of(table: pd.DataFrame, asked: np.ndarray, protocol: str) -> Indices:
    """Return the positions of what a gallery holds of people: a recording each, or all recordings of the first date."""
    here = np.flatnonzero(asked)
    part = table.iloc[here]
    if protocol != "cross-session":
        return here[first_sessions(part)]
    return here[(part["date"] == part["person"].map(part.groupby("person")["date"].min())).to_numpy()]


def _refuse_classes(table: pd.DataFrame, task: str, least: int, such: str = "") -> None:
    """Raise Lacking where there are no two classes of `least` people; `such` says which people the table holds."""
    people = table.drop_duplicates("person")
    known = people.dropna(subset=[CLASS_OF[task]])
    counts = known[CLASS_OF[task]].value_counts()
    if len(counts) < 2:
        classes = f"all of one class, {counts.index[0]}" if len(counts) else "so no class"
        found = f"{task} known for {len(known)} of {len(people)} people{such}, {classes}"
        raise Lacking("identify", task, found, "people of two classes", kind="unknown_class")
    rare = counts[counts < least]
    if len(rare):
        found = ", ".join(f"{name}: {n} people{such}" for name, n in rare.items())
        allowed = f"{least} people of each class" + ("" if such else ", one for each fold")
        raise Lacking("identify", task, found, allowed, kind="too_few_people")


def _by_class(table: pd.DataFrame, task: str, n_folds: int, random: np.random.Generator) -> list[Split]:
    column = CLASS_OF[task]
    people = table.drop_duplicates("person").set_index("person")[[column, "database"]]
    known = people.dropna(subset=[column])
    fold = pd.Series(0, index=known.index)
    place = 0
    for _, group in known.groupby(["database", column], sort=True):
        for person in random.permutation(sorted(group.index)):
            fold[person] = place % n_folds
            place += 1
    splits, none = [], np.empty(0, np.int64)
    for number in range(n_folds):
        tested = set(fold[fold == number].index)
        train, valid = _two_parts(table, sorted(set(known.index) - tested), random)
        probe = np.flatnonzero(table["person"].isin(tested).to_numpy())
        splits.append(Split(task, f"fold-{number + 1}", train, valid, none, probe))
    return splits


# ------------------------------------------------------------------------------------------------------------ checking


def _refuse(split: Split, what: str, shared: set) -> None:
    if shared:
        raise LeakError(
            split.protocol, what, f"{len(shared)} on both sides of {split.name}", "none",
            "draw the split again, or call it paper and its figures inflated", kind="leak",
        )  # fmt: skip


def _refuse_shared_recordings(split: Split, one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Raise where the two hold the same samples, or samples of one recording that lie too close together."""
    names = set(one["fingerprint"]) & set(other["fingerprint"])
    twins = one[one["fingerprint"].isin(names)].merge(other[other["fingerprint"].isin(names)], on="fingerprint")
    twins = twins[twins["recording_x"] != twins["recording_y"]]  # one recording under two names
    _refuse(split, "recordings under two names", set(twins["fingerprint"]))
    for recording in set(one["recording"]) & set(other["recording"]):
        a, b = one[one["recording"] == recording], other[other["recording"] == recording]
        begin = min(a["start"].min(), b["start"].min())
        gap = gap_for(max(a["stop"].max(), b["stop"].max()) - begin) or LEAST_GAP
        apart = np.maximum(
            b["start"].to_numpy()[None, :] - a["stop"].to_numpy()[:, None],
            a["start"].to_numpy()[:, None] - b["stop"].to_numpy()[None, :],
        )
        if apart.min() < max(gap, LEAST_GAP) - 1e-6:
            found = f"stretches of one recording {max(0.0, float(apart.min())):.1f} s apart in {split.name}"
            raise LeakError(split.protocol, "recordings", found, f"a gap of {gap:g} s",
                            "longer recordings, or --protocol paper", kind="leak")  # fmt: skip
