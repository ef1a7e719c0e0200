# SPDX-License-Identifier: Apache-2.0
"""Records with and without a concept that are alike in age, sex and NORM: what is left between them is the concept.

Records are put into strata. A draw takes as many without the concept as with it from each stratum; `matched_weights` is
what the mean over all such draws comes to. A stratum that has one kind alone says nothing and is not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort

AGE_EDGES = (50, 65, 75)  # years
COVARIATES = ("age", "sex", "NORM")


def strata_of(cohort: Cohort, leave_out: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the stratum of each record [record], and what records of one stratum share.

    leave_out   covariates not to be matched on: the concept itself
    """
    ages = cohort.metadata["age"].astype(float).to_numpy()
    columns: dict[str, np.ndarray] = {
        "age": np.where(np.isnan(ages), -1, np.digitize(ages, AGE_EDGES)),
        "sex": np.array([str(sex) for sex in cohort.metadata["sex"]]),
    }
    if "NORM" in cohort.classes:
        columns["NORM"] = cohort.labels["NORM"].fillna(-1).to_numpy()
    used = {name: values for name, values in columns.items() if name not in leave_out and len(set(values)) > 1}
    if not used:
        return np.zeros(len(cohort), dtype=int), ()
    return pd.DataFrame(used).groupby(list(used), sort=True).ngroup().to_numpy(), tuple(used)


def matched_weights(members: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return weights [record] whose sum over a quantity is its mean with the concept minus its matched mean without.

    members   1 has it, 0 has it not, NaN cannot be told [record]

    All 0 where no stratum has both.
    """
    return matched_weights_of_many(members[None] == 1, ~np.isnan(members), strata)[0]


def matched_weights_of_many(having: np.ndarray, known: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return `matched_weights` of many groups at once [group, record]: `having` bool [group, record]."""
    inside = (strata[:, None] == np.unique(strata)) & known[:, None]  # [record, stratum]
    with_it = (having & known).astype(np.float32)
    n_with = with_it @ inside.astype(np.float32)  # [group, stratum]
    n_without = inside.sum(axis=0) - n_with
    both = (n_with > 0) & (n_without > 0)
    total = np.maximum((n_with * both).sum(axis=1, keepdims=True), 1)
    place = inside.argmax(axis=1)
    up = (both / total)[:, place]
    down = (n_with * both / np.maximum(n_without, 1) / total)[:, place]
    return np.asarray(np.where(known, np.where(with_it > 0, up, -down), 0.0), dtype=np.float32)


def matched_draw(
    members: np.ndarray, strata: np.ndarray, people: np.ndarray, share: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return places of records with and without the concept, as many of each in every stratum, none twice.

    people   whose record it is [record]
    share    of the people who take part in this draw
    """
    names = np.unique(people)
    chosen = generator.permutation(names)[: max(1, round(share * len(names)))]
    here = np.isin(people, chosen)
    with_it: list[np.ndarray] = []
    without: list[np.ndarray] = []
    for stratum in np.unique(strata[here]):
        inside = here & (strata == stratum)
        yes, no = np.flatnonzero(inside & (members == 1)), np.flatnonzero(inside & (members == 0))
        n = min(len(yes), len(no))
        with_it.append(generator.permutation(yes)[:n])
        without.append(generator.permutation(no)[:n])
    return np.sort(np.concatenate(with_it)), np.sort(np.concatenate(without))


def shuffled_groups(
    members: np.ndarray, strata: np.ndarray, n: int, generator: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """Return random groups, bool [n, record]: in each stratum as many have it as do in truth, dealt out anew.

    Records for which the concept cannot be told are in none.
    """
    known = np.flatnonzero(~np.isnan(members))
    by_stratum = known[np.argsort(strata[known], stable=True)]
    codes = np.unique(strata[by_stratum], return_inverse=True)[1]
    n_with = np.bincount(codes, members[by_stratum] == 1).astype(int)
    first = np.r_[0, np.cumsum(np.bincount(codes))]
    dealt = np.arange(len(codes)) - first[codes] < n_with[codes]  # the first of each stratum have it
    order = np.argsort(codes + generator.random((n, len(codes))), axis=1)
    groups = np.zeros((n, len(members)), dtype=bool)
    np.put_along_axis(groups, by_stratum[order], np.broadcast_to(dealt, order.shape), axis=1)
    return groups
