# SPDX-License-Identifier: Apache-2.0
"""States: their memberships and entropies by hand, the strip by slow loops, k-means against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecglens.concepts.state_choice import Choice, Sample, choose, diagonal_bic, mean_ari, shares, try_k
from ecglens.concepts.state_field import Axes
from ecglens.concepts.states import States, entropy, fit_states, on_samples, runs_of, strip_of, temperature
from ecglens.errors import InputError, UsageError

BLOBS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def blobs(n=200, seed=0, spread=0.5):
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=n)
    return BLOBS[truth] + spread * generator.normal(size=(n, 2)), truth


@pytest.mark.parametrize("by", ["soft", "kmeans", "gmm"])
def test_memberships_sum_to_one_and_find_the_blobs(by):
    vectors, truth = blobs()
    states = fit_states(vectors, 3, by)
    p, u = states.assign(vectors)
    assert np.allclose(p.sum(axis=1), 1)
    assert mean_ari([p.argmax(axis=1), truth]) == 1.0
    assert ((u >= 0) & (u <= 1)).all()
    assert np.all(np.diff(np.bincount(p.argmax(axis=1))) <= 0), "the largest comes first"


def test_soft_membership_by_hand():
    states = States("soft", np.array([[0.0], [3.0]]), 2.0)
    p, u = states.assign(np.array([[[1.0]]]))
    one, other = math.exp(-1 / 2), math.exp(-4 / 2)
    expected = one / (one + other)
    assert p.shape == (1, 1, 2)
    assert p[0, 0, 0] == pytest.approx(expected, rel=1e-6)
    by_hand = -(expected * math.log2(expected) + (1 - expected) * math.log2(1 - expected))
    assert u[0, 0] == pytest.approx(by_hand, rel=1e-6)


def test_mixture_gives_the_posterior_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    vectors, _ = blobs(spread=2.0)
    states = fit_states(vectors, 3, "gmm")
    other = GaussianMixture(3, covariance_type="diag")
    other.means_, other.covariances_, other.weights_ = states.centres, states.variances, states.weights
    other.precisions_cholesky_ = 1 / np.sqrt(states.variances)
    assert np.allclose(states.assign(vectors)[0], other.predict_proba(vectors), atol=1e-6)


def test_hard_membership_keeps_the_uncertainty_of_the_soft_one():
    vectors, _ = blobs(spread=2.0)
    hard, soft = fit_states(vectors, 3, "kmeans"), fit_states(vectors, 3, "soft")
    p, u = hard.assign(vectors)
    assert set(np.unique(p)) == {0.0, 1.0}
    assert np.array_equal(u, soft.assign(vectors)[1])
    assert u.max() > 0.5


def test_temperature_is_the_median_room_to_the_second_centre():
    vectors = np.array([[0.0], [1.0], [2.0]])
    centres = np.array([[0.0], [4.0], [100.0]])
    # 16 - 0, 9 - 1, 4 - 4
    assert temperature(vectors, centres) == pytest.approx(8.0)
    assert temperature(vectors, centres[:1]) == 1.0


def test_entropy_by_hand_and_one_state_is_certain():
    p = np.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]])
    assert np.allclose(entropy(p), [1.5 * math.log(2) / math.log(3), 1.0, 0.0])
    p, u = fit_states(blobs()[0], 1).assign(blobs()[0])
    assert (p == 1).all()
    assert (u == 0).all()


def test_same_seed_same_states_and_one_place_does_not_depend_on_others():
    vectors, _ = blobs(spread=2.0)
    first, again = fit_states(vectors, 4, seed=3), fit_states(vectors, 4, seed=3)
    assert np.array_equal(first.centres, again.centres)
    together = first.assign(vectors)[0]
    alone = np.concatenate([first.assign(vectors[i : i + 1])[0] for i in range(len(vectors))])
    assert np.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(("k", "error"), [(0, UsageError), (11, InputError)])
def test_too_many_states_are_refused_in_one_line(k, error):
    with pytest.raises(error) as raised:
        fit_states(blobs()[0], k)
    assert "\n" not in str(raised.value)
    assert error is UsageError or raised.value.kind == "too_many_states"


def test_places_that_are_drawn_again_are_no_new_ones():
    many = np.repeat(np.random.default_rng(0).normal(size=(100, 3)), 50, axis=0)
    fit_states(many, 5)
    with pytest.raises(InputError, match="at most 5: 100 different places to fit on, 20 a state"):
        fit_states(many, 6)


def test_equal_places_carry_one_state_only():
    with pytest.raises(InputError, match="at most 1"):
        fit_states(np.ones((500, 3)), 2)


def test_strip_is_the_mean_over_the_windows_that_see_a_sample():
    generator = np.random.default_rng(0)
    starts, n, length, steps, k = [0, 3, 5], 11, 6, 2, 3
    nearest = np.array([0, 0, 0, 1, 1, 1])
    p = generator.dirichlet(np.ones(k), size=(len(starts), steps)).astype(np.float32)
    found = on_samples(p, nearest, starts, n)
    for t in range(n):
        seen = [p[w, nearest[t - s]] for w, s in enumerate(starts) if 0 <= t - s < length]
        assert np.allclose(found[t], np.mean(seen, axis=0), atol=1e-6)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(strip_of(found), found.argmax(axis=1))


def test_samples_in_no_window_are_in_no_state():
    found = on_samples(np.ones((1, 1, 2), np.float32) / 2, np.zeros(4, int), [3], 10)
    strip = strip_of(found)
    assert (strip == -1).tolist() == [True] * 3 + [False] * 4 + [True] * 3
    assert [run[:2] for run in runs_of(strip)] == [(3, 7)]


def test_axes_standardise_weigh_blocks_alike_and_keep_distances():
    generator = np.random.default_rng(0)
    # a wide block of small numbers, a narrow one of large numbers, and a channel that is silent
    features = np.concatenate(
        [generator.normal(size=(400, 8)), 100 * generator.normal(5, 1, size=(400, 2)), np.zeros((400, 1))], axis=1
    )
    axes = Axes.fit(features, (8, 3))
    vectors = axes.of(features)
    spread = features.std(axis=0)
    by_hand = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1) / np.sqrt([8] * 8 + [3] * 3)
    for i, j in ((0, 1), (5, 60), (7, 399)):
        assert np.linalg.norm(vectors[i] - vectors[j]) == pytest.approx(
            np.linalg.norm(by_hand[i] - by_hand[j]), rel=1e-4
        )
    assert axes.kept == pytest.approx(1.0)
    assert Axes.fit(features, (8, 3), most=2).turn.shape == (11, 2)
    assert Axes.fit(features, (8, 3), most=2).kept < 0.6


# ------------------------------------------------------------------------------------------------------ how many states


def sample_of(n_records=30, per=20, seed=0):
    vectors, truth = blobs(n_records * per, seed)
    records = np.repeat(np.arange(n_records), per)
    decided = (shares(records, truth, n_records, 3)[:, :1] > 1 / 3).astype(float)
    return Sample(vectors, records, np.arange(n_records), decided)


def test_three_blobs_are_three_states_to_any_seed_and_half():
    three = try_k(sample_of(), 3, n_seeds=4, n_halves=3)
    five = try_k(sample_of(), 5, n_seeds=4, n_halves=3)
    assert three.seeds_ari == pytest.approx(1.0)
    assert three.halves_ari == pytest.approx(1.0)
    assert five.seeds_ari < 0.9
    assert three.silhouette > five.silhouette
    assert three.bic < five.bic + 100
    assert three.fidelity > 0.7


def test_choice_follows_its_rule():
    made = lambda k, stable, fidelity: Choice(k, 0.9 if stable else 0.5 + k / 100, 0.85, fidelity, 0.1, 0.0)  # noqa: E731
    assert choose([made(4, True, 0.80), made(6, True, 0.895), made(8, True, 0.90), made(12, False, 0.99)]).k == 6
    assert choose([made(4, False, 0.9), made(6, False, 0.8)]).k == 6, "none stable: the nearest to it"
    assert not choose([made(4, False, 0.9)]).stable


def test_bic_is_that_of_scikit_learn_where_clusters_are_apart():
    from sklearn.mixture import GaussianMixture

    vectors, truth = blobs(600, spread=0.3)
    ours = diagonal_bic(vectors, BLOBS, truth)
    theirs = GaussianMixture(3, covariance_type="diag", means_init=BLOBS, reg_covar=1e-6).fit(vectors).bic(vectors)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_shares_count_places():
    found = shares(np.array([0, 0, 1, 1]), np.array([2, 0, 1, 1]), 2, 3)
    assert found.tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
