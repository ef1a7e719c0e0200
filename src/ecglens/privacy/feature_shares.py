# SPDX-License-Identifier: Apache-2.0
"""What a readable attacker goes by: the mean absolute Shapley value of each feature, as a share of all of them.

Exact, of a logistic regression and of a tree. A forest would take minutes a window, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.privacy.shapley import shapley_shares
from ecglens.privacy.unveiled import FEATURES, Readable
from ecglens.runs.draws import evenly
from ecglens.statistics.bootstrap import interval
from ecglens.statistics.people import FEWEST_PEOPLE, people_drawn
from ecglens.statistics.verification import Trials, weights_of_pairs

MODELS = ("unveiled-lr", "unveiled-tree")
AT_MOST = 100  # items of a fold
EXACT = 1e-9  # how far the shares may be from what they must sum to

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureShares:
    """What the features of one fold add.

    each    absolute share of each of FEATURES, over outputs [item, feature]
    people  the two that an item is about, the same one twice where it is about one [item, 2]
    gap     largest difference between an answer and what the shares sum to
    """

    each: Floats
    people: NDArray
    gap: float


def feature_shares(
    model: str, fitted: Readable, asked: Floats, learnt: Floats, people: NDArray
) -> FeatureShares | None:  # fmt: skip
    """Return what each feature adds to the answers about `asked` [item, feature]; None for other models than MODELS.

    learnt   what the model was fitted on [item, feature]; its mean stands for a feature that is not known
    people   whom an item is about [item], or the two that it compares [item, 2]
    """
    if model not in MODELS or not len(asked):
        return None
    told = shapley_shares(fitted.estimator, fitted.scaled(asked), fitted.scaled(learnt))
    both = people if people.ndim == 2 else np.stack([people, people], axis=1)
    return FeatureShares(np.abs(told.values).mean(axis=2), both, told.gap)


def of_either_kind(trials: Trials) -> NDArray[np.int64]:
    """Return the places of up to AT_MOST comparisons, as many of one person as of two."""
    own, others = np.flatnonzero(trials.genuine), np.flatnonzero(~trials.genuine)
    each = min(AT_MOST // 2, len(own), len(others))
    return np.sort(np.concatenate([own[evenly(len(own), each)], others[evenly(len(others), each)]]))


def summed_up(
    told: Mapping[str, Sequence[FeatureShares]], *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Any] | None:
    """Return by model the `share` of each feature, over all folds' items alike, `n`, `n_people`, the largest `gap`.

    Each share has a value and, between low and high, its 95 % interval over resampled people, an item about two as
    often as the product of how often both were drawn; NaN of fewer than two people.
    """
    out = {}
    for model, parts in told.items():
        if not parts:
            continue
        each = np.concatenate([part.each for part in parts])
        names, numbers = np.unique(np.concatenate([part.people for part in parts]), return_inverse=True)
        one, other = numbers.reshape(-1, 2).T
        weights = weights_of_pairs(one, other, people_drawn(len(names), n_resamples, seed))
        resampled = _shares(weights @ each) if len(names) >= FEWEST_PEOPLE else np.full((1, len(FEATURES)), np.nan)
        bounds = [interval(column) for column in resampled.T]
        whole = np.nan_to_num(_shares(each.sum(axis=0, keepdims=True))[0])
        gap = max(part.gap for part in parts)
        out[model] = {
            "n": len(each), "n_people": len(names), "gap": gap, "exact": gap < EXACT,
            "share": {
                feature: {"value": float(value), "low": bound.low, "high": bound.high}
                for feature, value, bound in zip(FEATURES, whole, bounds, strict=True)
            },
        }  # fmt: skip
    return out or None


def as_table(told: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a model and feature, largest share first."""
    rows = [
        {"model": model, "feature": feature, "share": share["value"], "low": share["low"], "high": share["high"],
         "n": each["n"], "n_people": each["n_people"]}
        for model, each in told.items()
        for feature, share in largest_first(each["share"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


def largest_first(share: Mapping[str, Mapping[str, Any] | float]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return features with their shares, the largest first; those of runs before they had intervals have none."""
    told = {name: each if isinstance(each, Mapping) else {"value": each, "low": None} for name, each in share.items()}
    return sorted(told.items(), key=lambda item: -item[1]["value"])


def _shares(sums: Floats) -> Floats:
    """Return shares of the whole [resample, feature]; NaN where nothing adds anything."""
    whole = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, whole, out=np.full_like(sums, np.nan), where=whole > 0)
