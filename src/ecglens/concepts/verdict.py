# SPDX-License-Identifier: Apache-2.0
"""From scores to a word: what the network uses a concept for, or why it cannot be told.

The gates are those of xai4ecg (Wagner et al. 2023): the layer tells records with the concept from matched ones without,
scores of CAVs and networks agree, and 0.5 lies outside their middle half. To them comes a test: the slope along the
concept's direction against that along directions of 10,000 random groups, dealt out in the same strata.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecglens.concepts.answers import Answers
from ecglens.concepts.matching import matched_weights, matched_weights_of_many, shuffled_groups
from ecglens.concepts.network import Asked

MIN_ACCURACY, MAX_IQR, LEVEL = 0.70, 0.25, 0.05
USES_FOR, USES_AGAINST, CANNOT_TELL = "uses it for", "uses it against", "cannot tell"
_TOGETHER = 500  # random groups at once


def too_few_random(n_random: int, n_tests: int) -> str:
    """Return why `n_random` groups cannot give a verdict on `n_tests` layers and classes; empty where they can.

    With N random groups the smallest p is 1 / (N + 1), by Holm over n tests n / (N + 1): 20 n groups are the fewest
    with which it can be below 0.05.

    >>> too_few_random(599, 30)
    'too few random groups: 599 for 30 tests of a concept, a corrected p below 0.05 needs 600 or more'
    >>> too_few_random(600, 30)
    ''
    """
    least = round(n_tests / LEVEL)
    if n_random >= least:
        return ""
    return (
        f"too few random groups: {n_random:,} for {n_tests:,} tests of a concept, a corrected p below {LEVEL:g} needs "
        f"{least:,} or more"
    )


def verdict_of(
    score: float, low: float, high: float, accuracy: float, effect: float, p: float, impossible: str = ""
) -> tuple[str, str]:
    """Return the verdict and its reason, empty where there is one.

    score         share of the class's records whose logit rises along the direction
    low, high     first and third quartile over CAVs and networks
    accuracy      balanced, on people whom neither network nor CAV has seen
    effect, p     mean slope along the direction, and its p value corrected for layers and classes
    impossible    why no p could be small enough, see `too_few_random`

    >>> verdict_of(0.93, 0.9, 1.0, 0.85, 1.2, 0.003)
    ('uses it for', '')
    >>> verdict_of(0.93, 0.9, 1.0, 0.62, 1.2, 0.003)
    ('cannot tell', 'the layer does not show it: accuracy 0.62, needs above 0.70')
    """
    reason = ""
    if not np.isfinite([score, low, high, accuracy, effect, p]).all():
        reason = "too few records to fit or to score"
    elif accuracy <= MIN_ACCURACY:
        reason = f"the layer does not show it: accuracy {accuracy:.2f}, needs above {MIN_ACCURACY:.2f}"
    elif high - low >= MAX_IQR:
        reason = f"CAVs or networks disagree: IQR {high - low:.2f}, needs below {MAX_IQR:.2f}"
    elif low <= 0.5 <= high:
        reason = f"no direction: 0.5 lies within the IQR {low:.2f} to {high:.2f}"
    elif p >= LEVEL:
        reason = impossible or f"random groups do as much: p = {p:.2f}, needs below {LEVEL:.2f}"
    elif (effect > 0) != (low > 0.5):
        reason = "most records say one thing, their mean slope the other"
    if reason:
        return CANNOT_TELL, reason
    return (USES_FOR if low > 0.5 else USES_AGAINST), ""


def accuracy_of(called: np.ndarray, members: np.ndarray, strata: np.ndarray) -> float:
    """Return the balanced accuracy against matched records without the concept; NaN where there are none.

    called   share of the CAVs that say so [record], NaN where it was not asked
    """
    weights = matched_weights(np.where(np.isnan(called), np.nan, members), strata)
    if not weights.any():
        return float("nan")
    told = np.nan_to_num(called)
    return float((weights.clip(min=0) @ told + (-weights).clip(min=0) @ (1 - told)) / 2)


def slope_test(
    answers: Sequence[tuple[Asked, Answers]], members: np.ndarray, strata: np.ndarray, people: np.ndarray,
    n_random: int, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the mean slope along one concept's direction and its two-sided p value, both [layer, class].

    members, strata, people   [record] of the concept
    n_random                  random groups: as large as the concept in each stratum, the same for all networks

    Each person takes part with one record, so that what is dealt out is exchangeable. NaN where no network has a
    record of the class, or the concept has no match.
    """
    once = np.full(len(members), np.nan)
    owners, first = np.unique(np.where(np.isnan(members), -1, people), return_index=True)
    once[first[owners >= 0]] = members[first[owners >= 0]]
    observed = _slopes(answers, (once == 1)[None], once, strata)[0]
    generator = np.random.default_rng(seed)
    beyond, done = np.zeros(observed.shape), 0
    while done < n_random:
        n = min(_TOGETHER, n_random - done)
        dealt = _slopes(answers, shuffled_groups(once, strata, n, generator), once, strata)
        beyond += np.asarray(np.abs(dealt) >= np.abs(observed) * (1 - 1e-6)).sum(axis=0)
        done += n
    p = (1 + beyond) / (1 + n_random)
    return observed, np.where(np.isnan(observed), np.nan, p)


def _slopes(
    answers: Sequence[tuple[Asked, Answers]], groups: np.ndarray, members: np.ndarray, strata: np.ndarray
) -> np.ndarray:
    """Return the mean slope over networks and splits [group, layer, class], for groups [group, record]."""
    n_cells = answers[0][1].reads[0, :, :, 0].size
    total, count = np.zeros((len(groups), n_cells)), np.zeros((len(groups), n_cells))
    for asked, found in answers:
        for (fit, _), reads in zip(asked.splits, found.reads, strict=True):
            known = ~np.isnan(members[fit])
            weights = matched_weights_of_many(groups[:, fit], known, strata[fit])
            flat = reads[..., fit].reshape(-1, len(fit))
            read = np.asarray(flat != 0).any(axis=1)  # the class had records to take the slope of
            total += weights @ flat.T
            count += np.outer(np.asarray(weights != 0).any(axis=1), read)
    shape = (len(groups), *answers[0][1].reads.shape[1:3])
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan)).reshape(shape)
