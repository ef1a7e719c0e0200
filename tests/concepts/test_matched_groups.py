# SPDX-License-Identifier: Apache-2.0
"""Matched records are alike: age, sex and NORM are told apart no longer, nor are random groups larger or elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort
from ecglens.concepts.matching import matched_draw, matched_weights, shuffled_groups, strata_of
from ecglens.ecg import ECG

N = 400


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    generator = np.random.default_rng(0)
    names = [f"r{k:03d}" for k in range(N)]
    ecg = ECG(np.zeros((1, 500), np.float32), fs=100, leads=("I",))
    labels = pd.DataFrame({"NORM": generator.integers(0, 2, N).astype(float)}, index=names)
    metadata = pd.DataFrame(
        {"patient_id": [f"p{k // 2}" for k in range(N)], "age": np.repeat(generator.uniform(20, 90, N // 2), 2),
         "sex": np.repeat(generator.choice(["male", "female"], N // 2), 2)}, index=names,
    )  # fmt: skip
    return Cohort("matched", [ecg] * N, labels, metadata)


@pytest.fixture(scope="module")
def members(cohort: Cohort) -> np.ndarray:
    """A concept that older people, men and records without NORM have more often."""
    generator = np.random.default_rng(1)
    chance = 0.1 + 0.25 * (cohort.metadata["age"] > 65) + 0.2 * (cohort.metadata["sex"] == "male")
    chance += 0.2 * (cohort.labels["NORM"] == 0)
    return (generator.random(N) < chance.to_numpy()).astype(float)


def test_covariates_do_not_differ_after_matching(cohort: Cohort, members: np.ndarray) -> None:
    strata, shared = strata_of(cohort)
    assert shared == ("age", "sex", "NORM")
    is_man = (cohort.metadata["sex"] == "male").to_numpy(float)
    norm = cohort.labels["NORM"].to_numpy()
    old = (cohort.metadata["age"] >= 65).to_numpy(float)
    raw = members == 1
    assert all(abs(x[raw].mean() - x[~raw].mean()) > 0.1 for x in (is_man, norm, old))
    weights = matched_weights(members, strata)
    assert all(abs(weights @ x) < 1e-6 for x in (is_man, norm, old))
    assert weights.clip(min=0).sum() == pytest.approx(1, abs=1e-5)
    assert weights.sum() == pytest.approx(0, abs=1e-5)
    yes, no = matched_draw(members, strata, np.arange(N) // 2, 0.7, np.random.default_rng(2))
    assert len(set(yes) | set(no)) == len(yes) + len(no) == 2 * len(yes) > 60
    assert (members[yes] == 1).all()
    assert (members[no] == 0).all()
    assert all(x[yes].sum() == x[no].sum() for x in (is_man, norm, old))
    assert len({k // 2 for k in (*yes, *no)}) <= round(0.7 * N / 2)


def test_weights_are_the_mean_over_all_draws(cohort: Cohort, members: np.ndarray) -> None:
    strata, _ = strata_of(cohort, ("age",))
    quantity = np.random.default_rng(3).standard_normal(N)
    generator, found = np.random.default_rng(4), []
    fewer = members.copy()
    fewer[(members == 1) & (np.arange(N) % 3 > 0)] = np.nan  # so that each one with it finds a partner
    for _ in range(1500):
        yes, no = matched_draw(fewer, strata, np.arange(N), 1.0, generator)
        found.append(quantity[yes].mean() - quantity[no].mean())
    assert matched_weights(fewer, strata) @ quantity == pytest.approx(np.mean(found), abs=4 * np.std(found) / 38)


def test_a_concept_is_not_matched_on_itself_nor_used_where_it_has_no_match(cohort: Cohort) -> None:
    female = (cohort.metadata["sex"] == "female").to_numpy(float)
    assert not matched_weights(female, strata_of(cohort)[0]).any()
    strata, shared = strata_of(cohort, ("sex",))
    assert shared == ("age", "NORM")
    assert matched_weights(female, strata).any()


def test_random_groups_are_dealt_out_in_the_strata(cohort: Cohort, members: np.ndarray) -> None:
    strata, _ = strata_of(cohort)
    some = members.copy()
    some[::7] = np.nan
    groups = shuffled_groups(some, strata, 600, np.random.default_rng(5))
    known = ~np.isnan(some)
    assert not groups[:, ~known].any()
    for stratum in np.unique(strata):
        here = (strata == stratum) & known
        assert (groups[:, here].sum(axis=1) == (some[here] == 1).sum()).all()
        share = (some[here] == 1).mean()
        spread = np.sqrt(share * (1 - share) / 600)
        assert np.abs(groups[:, here].mean(axis=0) - share).max() <= 5 * spread + 1e-12
