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
from ecglens.statistics.verification import Trials

MODELS = ("unveiled-lr", "unveiled-tree")
AT_MOST = 100  # items of a fold
EXACT = 1e-9  # how far the shares may be from what they must sum to

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureShares:
    """What the features of one fold add.

    mean  absolute share of each of FEATURES, over items and outputs [feature]
    n     items asked
    gap   largest difference between an answer and what the shares sum to
    """

    mean: Floats
    n: int
    gap: float


def feature_shares(model: str, fitted: Readable, asked: Floats, learnt: Floats) -> FeatureShares | None:
    """Return what each feature adds to the answers about `asked` [item, feature]; None for other models than MODELS.

    learnt   what the model was fitted on [item, feature]; its mean stands for a feature that is not known
    """
    if model not in MODELS or not len(asked):
        return None
    told = shapley_shares(fitted.estimator, fitted.scaled(asked), fitted.scaled(learnt))
    return FeatureShares(np.abs(told.values).mean(axis=(0, 2)), len(asked), told.gap)


def of_either_kind(trials: Trials) -> NDArray[np.int64]:
    """Return the places of up to AT_MOST comparisons, as many of one person as of two."""
    own, others = np.flatnonzero(trials.genuine), np.flatnonzero(~trials.genuine)
    each = min(AT_MOST // 2, len(own), len(others))
    return np.sort(np.concatenate([own[evenly(len(own), each)], others[evenly(len(others), each)]]))


def summed_up(told: Mapping[str, Sequence[FeatureShares]]) -> dict[str, Any] | None:
    """Return by model the `share` of each feature, over all folds' items alike, `n` and the largest `gap`."""
    out = {}
    for model, parts in told.items():
        if parts:
            mean = np.average([part.mean for part in parts], axis=0, weights=[part.n for part in parts])
            share = mean / mean.sum() if mean.sum() > 0 else mean
            gap = max(part.gap for part in parts)
            out[model] = {
                "n": sum(part.n for part in parts), "gap": gap, "exact": gap < EXACT,
                "share": dict(zip(FEATURES, share.tolist(), strict=True)),
            }  # fmt: skip
    return out or None


def as_table(told: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a model and feature, largest share first."""
    rows = [
        {"model": model, "feature": feature, "share": share, "n": each["n"]}
        for model, each in told.items()
        for feature, share in sorted(each["share"].items(), key=lambda item: -item[1])
    ]
    return pd.DataFrame(rows)
