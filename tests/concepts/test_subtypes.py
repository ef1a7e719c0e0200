# SPDX-License-Identifier: Apache-2.0
"""Sub-types: planted groups come back without labels, noise is not stable, scores are those of scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from ecglens.concepts.subtype_covariates import cluster_means, largest_differences
from ecglens.concepts.subtypes import (
    Candidate,
    accuracy,
    bic_of_one_normal,
    blind,
    reduce,
    scores,
    try_all,
    upper_bound,
)
from ecglens.errors import InputError


def planted(n=90, apart=5.0, seed=0):
    generator = np.random.default_rng(seed)
    truth = (np.arange(n) % 3 == 0).astype(int)
    return generator.normal(size=(n, 4)) + apart * truth[:, None], truth, [str(k) for k in range(n)]


def test_two_groups_that_are_apart_are_found_without_labels():
    vectors, truth, people = planted()
    best = blind(try_all(vectors, people, ks=(2, 3)))
    assert best.k == 2
    assert best.stable
    assert accuracy(best.labels, truth) == 1.0
    assert np.bincount(best.labels)[0] > np.bincount(best.labels)[1], "the larger one comes first"


def test_noise_has_no_stable_clusters():
    vectors, _, people = planted(apart=0.0)
    candidates = try_all(vectors, people, ks=(3, 4))
    assert not any(one.stable for one in candidates)
    assert not blind(candidates).stable


def test_bic_leaves_one_mixture_to_choose_from_or_none():
    def one(method, k, silhouette, halves, bic=np.nan):
        return Candidate(method, k, np.zeros(40, np.intp), silhouette, bic, halves)

    means, two, three = one("kmeans", 2, 0.3, 0.9), one("gmm", 2, 0.6, 0.95, 500.0), one("gmm", 3, 0.5, 0.9, 400.0)
    assert blind([means, two, three]) is three, "the larger silhouette has the larger BIC"
    assert blind([means, two, three], 450.0) is three
    assert blind([means, two, three], 399.0) is means, "one normal fits better than any mixture"
    assert blind([two, three], 399.0) is three, "nothing else was asked for"
    shaky = one("gmm", 3, 0.5, 0.6, 400.0)
    assert blind([one("kmeans", 2, 0.3, 0.5), two, shaky]) is shaky, "nothing left is stable: what comes nearest"


def test_what_cannot_be_halved_is_chosen_by_silhouette_and_what_has_too_few_clusters_is_no_candidate():
    unknown = [Candidate("kmeans", k, np.zeros(40, np.intp), s, np.nan, np.nan) for k, s in ((2, 0.1), (3, 0.4))]
    assert blind(unknown).k == 3
    two_values = np.repeat([[0.0], [1.0]], 20, axis=0)
    found = try_all(two_values, [str(k) for k in range(40)], methods=("kmeans",))
    assert [one.k for one in found] == [2]


def test_bic_tells_two_clouds_from_one():
    for apart, several in ((5.0, True), (0.0, False)):
        vectors, _, people = planted(apart=apart)
        lowest = min(one.bic for one in try_all(vectors, people, ks=(2, 3), methods=("gmm",)))
        assert (lowest < bic_of_one_normal(vectors)) == several


def test_labels_make_an_upper_bound_of_the_blind_choice():
    vectors, truth, people = planted(apart=1.2)
    candidates = try_all(vectors, people, ks=(2, 3))
    assert accuracy(upper_bound(candidates, truth).labels, truth) >= accuracy(blind(candidates).labels, truth)


def test_accuracy_is_that_of_the_best_pairing():
    generator = np.random.default_rng(1)
    for k, n in ((2, 2), (3, 2), (2, 3)):
        labels, truth = generator.integers(k, size=50), generator.integers(n, size=50)
        size = max(k, n)
        best = max(np.mean(np.array(order)[labels] == truth) for order in itertools.permutations(range(size)))
        assert accuracy(labels, truth) == pytest.approx(best)


def test_scores_have_intervals_around_what_scikit_learn_gives():
    generator = np.random.default_rng(2)
    truth = generator.integers(2, size=120)
    labels = np.where(generator.random(120) < 0.2, 1 - truth, truth)
    found = scores(labels, truth, [str(k // 2) for k in range(120)])
    assert found["ari"]["value"] == pytest.approx(adjusted_rand_score(labels, truth))
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]
    assert found["majority"] == pytest.approx(max(truth.mean(), 1 - truth.mean()))
    assert found["n_patients"] == 60


def test_components_keep_the_variance_that_is_asked_for():
    vectors = np.random.default_rng(3).normal(size=(60, 5, 4)) * np.array([5.0, 2, 1, 0.5])
    found = reduce(vectors)
    share = PCA().fit(vectors.reshape(60, -1)).explained_variance_ratio_.cumsum()
    assert found.shape[1] == int(np.argmax(share >= 0.75)) + 1
    theirs = PCA(found.shape[1]).fit_transform(vectors.reshape(60, -1))
    assert np.allclose(np.abs(found), np.abs(theirs))
    with pytest.raises(InputError, match="all alike"):
        reduce(np.ones((40, 3)))


def test_clusters_are_compared_by_their_covariates():
    labels = np.repeat([0, 1], [40, 20])
    age = np.r_[np.full(40, 60.0), np.full(20, 70.0)]
    age[0] = np.nan
    first, second = cluster_means(labels, {"age": age}, [str(k) for k in range(60)])
    assert (first["n"], second["n"]) == (40, 20)
    assert (first["age"]["value"], second["age"]["value"]) == (60.0, 70.0)


def test_the_largest_difference_is_that_of_the_clusters_farthest_apart():
    generator = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 40)
    age, noise = 60 + 5.0 * labels + generator.normal(size=120), generator.normal(size=120)
    age[:3] = np.nan
    here = {"age": age, "noise": noise, "unknown": np.full(120, np.nan)}
    found, nothing, unknown = largest_differences(labels, here, [str(k) for k in range(120)])
    assert (found["covariate"], found["clusters"]) == ("age", [3, 1])
    assert found["value"] == pytest.approx(age[80:].mean() - np.nanmean(age[:40]))
    assert found["low"] < found["value"] < found["high"]
    assert found["p"] == pytest.approx(2 / 5000), "the least there is, for two tests"
    assert nothing["p"] > 0.05
    assert (unknown["clusters"], unknown["value"], unknown["p"]) == (None, None, None)


def test_differences_are_dealt_by_patient_and_keep_their_promise():
    """60 patients with four alike records each: by records, chance alone would be found far too often."""
    patient = np.repeat(np.arange(60), 4)
    people = [str(k) for k in patient]
    found = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        labels = generator.integers(2, size=60)[patient]
        age = generator.normal(size=60)[patient]
        found.append(largest_differences(labels, {"age": age}, people, seed, n_deals=199)[0]["p"])
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert 0.3 < np.mean(found) < 0.7


def test_a_small_group_is_refused_in_one_line():
    vectors, _, people = planted(29)
    with pytest.raises(InputError) as raised:
        try_all(vectors, people)
    assert raised.value.kind == "too_few"
    assert "\n" not in str(raised.value)
