# SPDX-License-Identifier: Apache-2.0
"""What is learnt on the other databases: it carries over where people differ alike, and does not where they differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecglens.privacy.transfer import FEWEST, _Recordings, learnt_elsewhere
from ecglens.statistics.verification import Trials, verification

from .conftest import table_of


def databases(shared: bool, people: int = 16) -> tuple[np.ndarray, pd.DataFrame]:
    """Two databases of people; who they are lies in the same band of both, or in another of each.

    A third band tells the database, and would tell strangers of two databases apart.
    """
    random, parts, tables = np.random.default_rng(3), [], []
    for number, name in enumerate("ab"):
        table = table_of(people=people, recordings=3, windows=2, database=name)
        own = dict(zip(table["person"].unique(), 5 * random.normal(size=people), strict=True))
        features = random.normal(size=(len(table), 3))
        features[:, 0 if shared else number] += table["person"].map(own)
        features[:, 2] = 100 * number + random.normal(size=len(table))
        parts.append(features)
        tables.append(table)
    return np.concatenate(parts), pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_learnt_carries_over_where_people_differ_in_the_same(shared: bool):
    told = learnt_elsewhere(*databases(shared), n_resamples=100)
    assert set(told) == {"a", "b"}
    for each in told.values():
        assert each is not None
        assert each["eer_all"]["value"] < 0.25
        assert (each["eer"]["value"] < 0.25) == shared
        assert each["eer"]["value"] > 0.3 or shared
        assert (each["eer"]["chance"], each["eer"]["n_people"]) == (0.5, 16)
        assert each["eer"]["low"] <= each["eer"]["value"] <= each["eer"]["high"]


def test_the_order_of_windows_does_not_matter():
    features, table = databases(True)
    told = learnt_elsewhere(features, table, n_resamples=50)
    shuffled = np.random.default_rng(0).permutation(len(table))
    again = learnt_elsewhere(features[shuffled], table.iloc[shuffled].reset_index(drop=True), n_resamples=50)
    for name, each in told.items():
        assert each is not None
        assert again[name] is not None
        for key, figure in each.items():
            assert again[name][key] == pytest.approx(figure)


def test_both_are_asked_the_same_and_neither_has_learnt_from_whom_it_is_asked_about(monkeypatch: pytest.MonkeyPatch):
    learnt, asked = {}, []
    fitted, told_apart = _Recordings.fitted, _Recordings.told_apart

    def noted(self, here, seed):
        model = fitted(self, here, seed)
        learnt[id(model)] = (model, set(self.people[here]), set(self.databases[here]))
        return model

    def told(self, pairs_by_model, how):
        for model, (one, other) in pairs_by_model:
            people = set(self.people[one]) | set(self.people[other])
            asked.append(
                (learnt[id(model)], people, set(self.databases[np.r_[one, other]]), one.tolist(), other.tolist())
            )
        return told_apart(self, pairs_by_model, how)

    monkeypatch.setattr(_Recordings, "fitted", noted)
    monkeypatch.setattr(_Recordings, "told_apart", told)
    learnt_elsewhere(*databases(True), n_resamples=20)
    assert len(asked) == 8  # two databases, two figures, two halves
    for (_, known, _), people, inside, *_ in asked:
        assert not known & people
        assert len(inside) == 1
    for start in (0, 4):
        elsewhere, both = asked[start : start + 2], asked[start + 2 : start + 4]
        assert [each[3:] for each in elsewhere] == [each[3:] for each in both]
        assert all(not each[0][2] & each[2] for each in elsewhere)
        assert all(each[0][2] == {"a", "b"} for each in both)
        assert not elsewhere[0][1] & elsewhere[1][1]  # the halves


def test_only_people_who_are_compared_are_resampled(monkeypatch: pytest.MonkeyPatch):
    features, table = databases(True)
    more = table_of(people=50, recordings=1, windows=1, database="0 first by name")
    others = np.random.default_rng(5).normal(size=(len(more), 3))
    seen: list[Trials] = []

    def noted(trials, **how):
        seen.append(trials)
        return verification(trials, **how)

    monkeypatch.setattr("ecglens.privacy.transfer.verification", noted)
    learnt_elsewhere(np.r_[others, features], pd.concat([more, table], ignore_index=True), n_resamples=20)
    assert len(seen) == 4
    for trials in seen:  # numbered from 0 without a gap: `verification` draws each number
        assert set(np.r_[trials.first, trials.second]) == set(range(16))


def test_of_many_recordings_those_of_people_with_several_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ecglens.privacy.transfer._RECORDINGS", 10)
    table = pd.concat([table_of(people=30, recordings=1, database="a"), table_of(people=3, recordings=3, database="b")])
    table = table.assign(database="a").reset_index(drop=True)
    made = _Recordings.of(np.zeros((len(table), 1)), table, 0)
    kept = made.few(np.ones(len(made.people), bool), 0)
    assert len(kept) == 10
    assert sum(person.startswith("b") for person in made.people[kept]) == 9


def test_where_too_few_have_two_recordings_nothing_is_told():
    random = np.random.default_rng(1)
    for few in ({"people": FEWEST - 1}, {"recordings": 1}):
        table = pd.concat([table_of(database="a"), table_of(database="b", **few)], ignore_index=True)
        assert learnt_elsewhere(random.normal(size=(len(table), 4)), table, n_resamples=20) == {"a": None, "b": None}
