# SPDX-License-Identifier: Apache-2.0
"""The table of cells, one per layer, class and concept: score, spread, accuracy, p, verdict and its reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecglens.concepts.answers import Answers
from ecglens.concepts.groups import Group
from ecglens.concepts.network import Asked
from ecglens.concepts.verdict import accuracy_of, too_few_random, verdict_of
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.multiplicity import holm

N_RESAMPLES = 500
CELL_COLUMNS = (
    "layer", "class", "concept", "score", "low", "high", "iqr", "accuracy", "stability", "effect", "p", "p_single",
    "n", "n_patients", "verdict", "reason",
)  # fmt: skip


def cells_of(
    answers: Sequence[tuple[Asked, Answers]], groups: Sequence[Group], tests: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: pd.DataFrame, layers: Sequence[str], people: np.ndarray, n_random: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Return the cells, columns `CELL_COLUMNS`.

    tests    slope and p value [layer, class] of each concept, against n_random groups
    labels   [record, class] of the classes that were asked about
    people   number of the person [record]
    """
    weights = patient_weights(people.tolist(), N_RESAMPLES, seed).astype(np.float32)
    rows = []
    for c, group in enumerate(groups):
        effect, single = tests[c]
        corrected = holm(single)
        impossible = too_few_random(n_random, int(np.isfinite(single).sum()))
        for k, layer in enumerate(layers):
            called = _over_networks([(one, found.called[k, c]) for one, found in answers], len(labels))
            accuracy = accuracy_of(called, group.members, group.strata)
            stability = _mean([found.stability[k, c] for _, found in answers])
            for j, name in enumerate(labels.columns):
                signs = _over_networks([(one, found.signs[k, c, j]) for one, found in answers], len(labels))
                scores = np.concatenate([found.scores[k, c, j] for _, found in answers])
                score, low, high, n = _score(signs, weights)
                q25, q75 = _quartiles(scores)
                verdict, reason = verdict_of(score, q25, q75, accuracy, effect[k, j], corrected[k, j], impossible)
                n_patients = len(set(people[~np.isnan(signs)]))
                rows.append((
                    layer, str(name), group.concept.name, score, low, high, q75 - q25, accuracy, stability,
                    effect[k, j], corrected[k, j], single[k, j], n, n_patients, verdict, reason,
                ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def _over_networks(parts: Sequence[tuple[Asked, np.ndarray]], n_records: int) -> np.ndarray:
    """Return the mean over the networks that scored a record [record], NaN where none did."""
    total, count = np.zeros(n_records), np.zeros(n_records)
    for asked, values in parts:
        known = ~np.isnan(values)
        total[asked.scored[known]] += values[known]
        count[asked.scored[known]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _score(signs: np.ndarray, weights: np.ndarray) -> tuple[float, float, float, int]:
    """Return the mean sign, its 95 % interval over patients, and the number of records behind it."""
    known = ~np.isnan(signs)
    if not known.any():
        return float("nan"), float("nan"), float("nan"), 0
    own = weights[:, known]
    total = own.sum(axis=1)
    drawn = np.where(total > 0, own @ signs[known].astype(np.float32) / np.maximum(total, 1), np.nan)
    low, high, _ = interval(drawn)
    return float(signs[known].mean()), low, high, int(known.sum())


def _quartiles(scores: np.ndarray) -> tuple[float, float]:
    known = scores[~np.isnan(scores)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.25, 0.75])
    return float(low), float(high)


def _mean(values: Sequence[float]) -> float:
    known = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
