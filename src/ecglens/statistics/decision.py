# SPDX-License-Identifier: Apache-2.0
"""Decision curves: is acting on the probability worth more than treating everyone, or no one?

Whoever acts from a probability t on says that one missed case weighs as much as (1 - t) / t needless treatments. The
net benefit at t is true positives per record minus false positives per record times t / (1 - t) (Vickers and Elkin,
Medical Decision Making 26 (2006) 565). Treating no one has the net benefit 0, treating everyone p - (1 - p) t / (1 - t)
with the prevalence p. It presumes that probabilities are calibrated: "act from 10 % on" means nothing for a score.

>>> labels, said = np.array([1.0, 1, 0, 0]), np.array([0.9, 0.3, 0.6, 0.1])
>>> float(net_benefit(labels, said, [0.5])[0, 0])  # one true, one false of four, odds 1
0.0
>>> round(float(net_benefit(labels, said, [0.2])[0, 0]), 4)  # two true, one false of four, odds 1 / 4
0.4375
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import MIN_PATIENTS, patient_weights
from ecglens.statistics.metrics import Floats
from ecglens.statistics.task import FEW, with_and_without

THRESHOLDS = tuple(round(0.02 * k, 2) for k in range(1, 41))  # 2 % to 80 %: beyond it the odds leave few records
COLUMNS = (
    "class", "threshold", "net_benefit", "low", "high", "treat_all", "gain", "gain_low", "gain_high", "n", "n_positive",
)  # fmt: skip
_BOUNDS = ("low", "high", "gain_low", "gain_high")
_ROWS = 2**18


def net_benefit(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: Sequence[float], weights: NDArray | None = None
) -> Floats:
    """Return the net benefit [resample, threshold] of acting at or above each threshold.

    labels, probabilities   [record], no NaN
    thresholds              between 0 and 1, both excluded
    weights                 [resample, record], None for one resample of all records
    """
    truth, said, cuts = np.asarray(labels, float), np.asarray(probabilities, float), np.asarray(thresholds, float)
    if not ((cuts > 0) & (cuts < 1)).all():
        raise UsageError("net_benefit", "thresholds", cuts.tolist(), "between 0 and 1, both excluded")
    acted = said[:, None] >= cuts
    worth = acted * (truth[:, None] - (1 - truth[:, None]) * cuts / (1 - cuts))
    if weights is None:
        return worth.mean(axis=0)[None]
    rows = max(1, _ROWS // max(1, truth.size))
    blocks = [weights[i : i + rows].astype(np.float64) for i in range(0, len(weights), rows)]
    return np.concatenate([block @ worth / block.sum(axis=1, keepdims=True) for block in blocks])


def decision_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    patient_ids: Sequence[Hashable],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the decision curve of each class: the columns `COLUMNS`, one row per class and threshold.

    labels, probabilities   [record, class]; labels 0, 1, NaN for unknown
    `gain` is the net benefit minus that of the better of "treat all" and "treat none", resampled together. Intervals
    are percentiles over resampled patients, threshold by threshold: they hold for each, not for the curve as a whole.
    Classes that fewer than two patients have, or lack, have no rows; with fewer than `FEW` there are no intervals.
    """
    truth, said = np.asarray(labels, float), np.asarray(probabilities, float)
    if truth.ndim != 2 or truth.shape != said.shape or truth.shape != (len(patient_ids), len(classes)):
        found = f"labels {truth.shape}, probabilities {said.shape}, {len(patient_ids)} ids, {len(classes)} classes"
        raise UsageError("decision_curve", "shapes", found, "[record, class] and one id per record")
    weights = patient_weights(patient_ids, n_resamples, seed)
    parts = []
    for k, name in enumerate(classes):
        known = ~np.isnan(truth[:, k])
        sides = with_and_without(truth[:, k], patient_ids)
        if min(sides) >= MIN_PATIENTS:
            rows = _curve(str(name), truth[known, k], said[known, k], weights[:, known], thresholds, level)
            parts.append(rows if min(sides) >= FEW else rows.assign(**dict.fromkeys(_BOUNDS, np.nan)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _curve(
    name: str, labels: Floats, said: Floats, weights: NDArray, thresholds: Sequence[float], level: float
) -> pd.DataFrame:
    """Return the rows of one class."""
    everyone = np.ones(labels.size)
    value, treat_all = net_benefit(labels, said, thresholds)[0], net_benefit(labels, everyone, thresholds)[0]
    drawn = net_benefit(labels, said, thresholds, weights)
    gained = drawn - np.maximum(net_benefit(labels, everyone, thresholds, weights), 0.0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    (low, high), (gain_low, gain_high) = np.nanquantile(drawn, tails, axis=0), np.nanquantile(gained, tails, axis=0)
    return pd.DataFrame(
        {
            "class": name, "threshold": list(thresholds), "net_benefit": value, "low": low, "high": high,
            "treat_all": treat_all, "gain": value - np.maximum(treat_all, 0.0), "gain_low": gain_low,
            "gain_high": gain_high, "n": labels.size, "n_positive": int(labels.sum()),
        },
        columns=list(COLUMNS),
    )  # fmt: skip
