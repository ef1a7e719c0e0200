# SPDX-License-Identifier: Apache-2.0
"""What is learnt on the other databases: it carries over where people differ alike, and does not where they differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecglens.privacy.transfer import FEWEST, learnt_elsewhere

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


def test_both_are_of_the_same_comparisons_and_the_same_twice():
    features, table = databases(True)
    told = learnt_elsewhere(features, table, n_resamples=50)
    shuffled = np.random.default_rng(0).permutation(len(table))
    again = learnt_elsewhere(features[shuffled], table.iloc[shuffled].reset_index(drop=True), n_resamples=50)
    for name, each in told.items():
        assert each is not None
        assert again[name] is not None
        for key, figure in each.items():
            assert again[name][key] == pytest.approx(figure)


def test_where_too_few_have_two_recordings_nothing_is_told():
    random = np.random.default_rng(1)
    for few in ({"people": FEWEST - 1}, {"recordings": 1}):
        table = pd.concat([table_of(database="a"), table_of(database="b", **few)], ignore_index=True)
        assert learnt_elsewhere(random.normal(size=(len(table), 4)), table, n_resamples=20) == {"a": None, "b": None}
