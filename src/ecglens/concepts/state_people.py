# SPDX-License-Identifier: Apache-2.0
"""In whom states are: how their shares of a record go with sex and age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.statistics.bootstrap import drawn_figure, patient_weights

N_RESAMPLES = 1000
DECADE = 10.0  # years

Floats = NDArray[np.float64]


def sex_and_age(metadata: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return who is a woman (1, 0) and how old everybody is, in years [record]; NaN where unknown."""
    female = metadata["sex"].map({"female": 1.0, "male": 0.0}).to_numpy(float)
    return np.asarray(female), np.asarray(pd.to_numeric(metadata["age"], errors="coerce").to_numpy(float))


def whom_of(
    shares: np.ndarray, female: np.ndarray, age: np.ndarray, people: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """Return for each state how its share goes with sex and age, each with its interval over patients, JSON-ready.

    shares   [record, state]
    female   [record] 1, 0, NaN unknown; age [record] in years, NaN unknown

    `women_less_men`: the mean share in women's records minus that in men's; `per_decade`: the slope of the share over
    age (least squares), for ten years more. `n` is how many records are known; values are None where nothing can be
    compared.
    """
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    every = np.concatenate([np.ones((1, len(people))), weights])
    return [
        {
            "women_less_men": _told(_slope(every, female, share), female),
            "per_decade": _told(DECADE * _slope(every, age, share), age),
        }
        for share in np.asarray(shares, dtype=np.float64).T
    ]


def _slope(every: Floats, x: np.ndarray, y: Floats) -> Floats:
    """Return the least-squares slope of y over x [record] for each row of weights; NaN where x does not vary.

    Over 0 and 1 it is the difference of the two means.
    """
    known = ~np.isnan(x)
    weights, x, y = every[:, known], x[known], y[known]
    if not len(x):
        return np.full(len(every), np.nan)
    mass = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    from_mean = x - weights @ x[:, None] / mass
    spread = (weights * from_mean**2).sum(axis=1)
    return np.where(spread > 1e-9, (weights * from_mean * y).sum(axis=1) / np.maximum(spread, 1e-12), np.nan)


def _told(drawn: Floats, known: np.ndarray) -> dict[str, Any]:
    return drawn_figure(drawn) | {"n": int((~np.isnan(known)).sum())}
