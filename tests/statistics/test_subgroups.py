# SPDX-License-Identifier: Apache-2.0
"""Subgroups are scored as if they came alone, small cells are said to be small, labels that come together counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import multilabel_confusion_matrix, roc_auc_score

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import score_table
from ecglens.statistics.subgroups import FEW, METRICS, age_groups, groups_of, subgroup_table
from ecglens.statistics.together import cooccurrence


@pytest.fixture(scope="module")
def people():
    """240 records of 120 people: half women, three devices of which one is rare, one site; scores better for women."""
    generator = np.random.default_rng(0)
    person = np.arange(240) // 2
    labels = (generator.random((240, 2)) < 0.4).astype(float)
    women = person % 2 == 0
    scores = labels * np.where(women, 3.0, 0.3)[:, None] + generator.normal(size=labels.shape)
    metadata = pd.DataFrame(
        {
            "sex": np.where(women, "female", "male"),
            "age": np.where(person < 60, 30.0, 66.0),
            "device": np.where(person < 4, "rare", np.where(person < 70, "old", "new")),
            "site": "only one",
        }
    )
    return labels, scores, [f"p{k}" for k in person], metadata


def test_a_group_is_scored_as_if_it_came_alone(people):
    labels, scores, ids, metadata = people
    table = subgroup_table(labels, scores, ["A", "B"], ids, metadata, [0.5, 0.5], n_resamples=100)
    for sex in ("female", "male"):
        inside = (metadata["sex"] == sex).to_numpy()
        theirs = [person for person, k in zip(ids, inside, strict=True) if k]
        alone = score_table(labels[inside], scores[inside], ["A", "B"], theirs, [0.5, 0.5], n_resamples=100)
        for name in ("A", "B", "macro"):
            for metric in METRICS:
                row = table[(table["group"] == sex) & (table["class"] == name) & (table["metric"] == metric)].iloc[0]
                want = alone[(alone["class"] == name) & (alone["metric"] == metric)].iloc[0]
                assert (row["value"], row["low"], row["high"]) == (want["value"], want["low"], want["high"])
        value = table[(table["group"] == sex) & (table["class"] == "A") & (table["metric"] == "auroc")]["value"].iloc[0]
        assert value == pytest.approx(roc_auc_score(labels[inside, 0], scores[inside, 0]))


def test_the_difference_that_was_planted_is_seen(people):
    labels, scores, ids, metadata = people
    table = subgroup_table(labels, scores, ["A", "B"], ids, metadata, n_resamples=100)
    auroc = table[(table["metric"] == "auroc") & (table["class"] == "A")].set_index("group")
    assert auroc.loc["female", "low"] > auroc.loc["male", "high"]


def test_small_cells_are_said_to_be_small(people):
    labels, scores, ids, metadata = people
    table = subgroup_table(labels, scores, ["A", "B"], ids, metadata, [0.5, 0.5], n_resamples=50)
    rare = table[table["group"] == "rare"]
    assert rare["value"].isna().all()
    assert rare["method"].str.startswith("too small").all()
    assert rare["n"].tolist() == [8] * 6
    assert (rare[rare["class"] == "A"]["n_positive"] == labels[:8, 0].sum()).all()
    assert "macro" not in set(rare["class"])
    assert set(table["by"]) == {"sex", "age", "device"}  # a site that all share makes no groups


def test_the_limit_counts_patients_not_records():
    """Eleven records with the label, but of one patient fewer than enough."""
    ids = ["same"] * 3 + [f"p{k}" for k in range(FEW - 2)] + [f"q{k}" for k in range(30)]
    labels = np.r_[np.ones(FEW + 1), np.zeros(30)][:, None]
    metadata = pd.DataFrame({"sex": ["f"] * 20 + ["f"] * (len(ids) - 21) + ["m"]})
    table = subgroup_table(labels, np.random.default_rng(0).random(labels.shape), ["A"], ids, metadata, n_resamples=50)
    assert table["value"].isna().all()
    ids[0] = "other"
    table = subgroup_table(labels, np.random.default_rng(0).random(labels.shape), ["A"], ids, metadata, n_resamples=50)
    assert table[(table["group"] == "f") & (table["metric"] == "auroc")]["value"].notna().all()


def test_groups_cover_everyone_once():
    metadata = pd.DataFrame({"sex": ["f", None, "m", "f"], "age": [39.9, 40.0, np.nan, 75.0], "device": [None] * 4})
    found = {}
    for by, group, members in groups_of(metadata):
        found.setdefault(by, {})[group] = members.tolist()
    assert found == {
        "sex": {"f": [0, 3], "unknown": [1], "m": [2]},
        "age": {"under 40": [0], "40 to 59": [1], "75 and over": [3], "unknown": [2]},
    }
    assert age_groups([0, 59.9, 60, 74.9, 75, 120]).tolist() == [
        "under 40", "40 to 59", "60 to 74", "60 to 74", "75 and over", "75 and over",
    ]  # fmt: skip


def test_labels_and_calls_that_come_together():
    generator = np.random.default_rng(3)
    labels, called = ((generator.random((200, 3)) < 0.4).astype(float) for _ in range(2))
    labels[::7, 1] = np.nan
    found = cooccurrence(labels, called)
    for i in range(3):
        for j in range(3):
            assert found.true_and_true[i, j] == sum((labels[:, i] == 1) & (labels[:, j] == 1))
            assert found.true_and_called[i, j] == sum((labels[:, i] == 1) & (called[:, j] == 1))
    known = ~np.isnan(labels[:, 1])
    true_positives = multilabel_confusion_matrix(labels[known], called[known])[1, 1, 1]
    assert found.true_and_called[1, 1] == true_positives
    with pytest.raises(UsageError):
        cooccurrence(labels, called[:, :2])
