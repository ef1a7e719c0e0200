# SPDX-License-Identifier: Apache-2.0
"""How concepts go along with diagnoses: Matthews' correlation, to choose concepts and to warn.

A concept that nearly is the label cannot be told from it; one that goes along with it may stand for something else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecglens.statistics.bootstrap import interval, patient_weights

NEARLY = 0.9
N_RESAMPLES = 500


def associate(
    labels: pd.DataFrame, members: pd.DataFrame, people: Sequence[str], *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return the correlation of each diagnosis with each concept, with its 95 % interval over patients.

    labels    [record, class], members [record, concept]: 1, 0, NaN unknown
    people    whose record it is [record]

    Columns: class, concept, mcc (NaN where one of them is constant), low, high, n, n_both, n_patients.
    """
    weights = patient_weights(people, n_resamples, seed).astype(np.float32)
    owners = np.asarray(people, dtype=object)
    rows = []
    for name in labels.columns:
        for concept in members.columns:
            truth, has = labels[name].to_numpy(float), members[concept].to_numpy(float)
            known = ~np.isnan(truth) & ~np.isnan(has)
            cells = _cells(truth[known], has[known])
            low, high, _ = interval(matthews(weights[:, known] @ cells))
            rows.append({
                "class": str(name), "concept": str(concept), "mcc": float(matthews(cells.sum(axis=0))), "low": low,
                "high": high, "n": int(known.sum()), "n_both": int(cells[:, 0].sum()),
                "n_patients": len(set(owners[known])),
            })  # fmt: skip
    return pd.DataFrame(rows)


def nearly_labels(table: pd.DataFrame) -> list[str]:
    """Return a warning for each concept that nearly is a label, or its opposite: 0.9 or more in `associate`'s table."""
    near = table[table["mcc"].abs() >= NEARLY]
    return [
        f"{row['concept']} nearly is {row['class']} (Matthews' correlation {row['mcc']:.2f}): what is found for one "
        "cannot be told from the other."
        for row in near.to_dict("records")
    ]


def matthews(cells: np.ndarray) -> np.ndarray:
    """Return the correlation of two yes-no variables from counts [..., both, first only, second only, neither].

    >>> float(matthews(np.array([3.0, 0, 0, 3]))), float(matthews(np.array([1.0, 1, 1, 1])))
    (1.0, 0.0)
    """
    both, first, second, neither = np.moveaxis(np.asarray(cells, dtype=float), -1, 0)
    spread = (both + first) * (both + second) * (neither + first) * (neither + second)
    found = (both * neither - first * second) / np.sqrt(np.where(spread > 0, spread, 1.0))
    return np.asarray(np.where(spread > 0, found, np.nan))


def same_as(labels: pd.DataFrame, has: np.ndarray) -> str | None:
    """Return the diagnosis that the concept is, or is the opposite of, wherever both are known; else None."""
    for name in labels.columns:
        truth = labels[name].to_numpy(float)
        known = ~np.isnan(truth) & ~np.isnan(has)
        if known.any() and abs(float((2 * truth[known] - 1) @ (2 * has[known] - 1))) == known.sum():
            return str(name)
    return None


def _cells(truth: np.ndarray, has: np.ndarray) -> np.ndarray:
    one, other = truth == 1, has == 1
    return np.stack([one & other, one & ~other, ~one & other, ~one & ~other], axis=1).astype(np.float32)
