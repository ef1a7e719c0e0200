# SPDX-License-Identifier: Apache-2.0
"""Does the entropy of the states find the network's errors? Against the probability that every network has anyway.

The uncertainty of one decision is that of the states where its evidence came from, weighed by how much came:
u_c = sum |w_c (h - H)| u / sum |w_c (h - H)| over all places. Doubt by probability is 1 - max(p, 1 - p).

risk-coverage   errors among the decisions that are kept when the most doubtful are set aside; the area under it (AURC)
                is their mean over all coverages, lower is better, and a doubt that knows nothing has the error rate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.statistics.bootstrap import drawn_figure, patient_weights
from ecglens.statistics.figures import json_number
from ecglens.statistics.metrics import auroc

N_RESAMPLES = 1000
CURVE_POINTS = 101

Floats = NDArray[np.float64]


def decision_doubt(parts: np.ndarray, uncertainty: np.ndarray) -> tuple[Floats, Floats]:
    """Return sum |part| u and sum |part| [record, output] of parts [record, output, place], u [record, place].

    Sums over windows may be added before they are divided.
    """
    weight = np.abs(parts)
    return np.einsum("rop,rp->ro", weight, uncertainty), weight.sum(axis=-1)


def by_probability(probabilities: np.ndarray) -> Floats:
    """Return 1 - max(p, 1 - p)."""
    return np.asarray(1 - np.maximum(probabilities, 1 - probabilities))


def risk_coverage(wrong: np.ndarray, doubt: np.ndarray) -> tuple[Floats, Floats]:
    """Return coverage and risk [decision] when decisions are kept in order of doubt; equal doubts stand in together.

    >>> coverage, risk = risk_coverage(np.array([1.0, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3]))
    >>> coverage.tolist(), risk.tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.25])
    """
    order = np.argsort(doubt, stable=True)
    n = len(order)
    _, start, count = np.unique(doubt[order], return_index=True, return_counts=True)
    mean = np.add.reduceat(wrong[order].astype(float), start) / count  # within a tie, every order is as likely
    errors = np.repeat(mean, count).cumsum()
    kept = np.arange(1, n + 1)
    return kept / n, errors / kept


def aurc(wrong: np.ndarray, doubt: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean risk over all coverages, ties as in `risk_coverage`; `weights`: how often each counts."""
    if not len(wrong):
        return float("nan")
    mass = np.ones(len(wrong)) if weights is None else weights.astype(float)
    tied = np.unique(doubt, return_inverse=True)[1]
    risk = np.bincount(tied, mass * wrong) / np.maximum(np.bincount(tied, mass), 1e-12)
    order = np.argsort(tied, stable=True)
    mass, risk = mass[order], risk[tied[order]]
    kept, lost = mass.cumsum(), (mass * risk).cumsum()
    return float((lost / np.maximum(kept, 1e-12) * mass).sum() / max(kept[-1], 1e-12))


def certainty_of(
    decided: np.ndarray, truth: np.ndarray, doubts: Mapping[str, np.ndarray], people: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return how well each doubt finds wrong decisions.

    decided, truth   0, 1 [record, class]; NaN truth is left out
    doubts           by name [record, class]; the first is compared with each other

    By name: `auroc` (a wrong decision has more doubt than a right one, mean over classes), `aurc`, each with its
    interval over patients, and the risk at 101 coverages (all classes together); `difference` is the AUROC of the first
    minus that of the second.
    """
    weights = patient_weights(people, N_RESAMPLES, seed)
    every = np.concatenate([np.ones((1, len(people)), weights.dtype), weights])
    known = ~np.isnan(truth)
    wrong = np.where(known, decided != truth, np.nan)
    told: dict[str, Any] = {
        "n_decisions": int(known.sum()), "n_wrong": int(np.nansum(wrong)), "n": len(people),
        "n_patients": len(set(people)), "error_rate": json_number(float(np.nanmean(wrong))) if known.any() else None,
    }  # fmt: skip
    areas: dict[str, Floats] = {}
    for name, doubt in doubts.items():
        areas[name] = _macro(wrong, np.asarray(doubt, float), every)
        flat = wrong[known], np.asarray(doubt, float)[known]
        coverage, risk = risk_coverage(*flat) if len(flat[0]) else (np.array([1.0]), np.array([np.nan]))
        grid = np.linspace(0.01, 1.0, CURVE_POINTS)
        at = np.minimum(np.searchsorted(coverage, grid - 1e-12), len(risk) - 1)
        told[name] = {
            "auroc": drawn_figure(areas[name]),
            "aurc": drawn_figure(_aurc_drawn(wrong, doubt, every[: 1 + N_RESAMPLES // 5])),
            "coverage": [round(float(c), 4) for c in grid], "risk": [json_number(float(r)) for r in risk[at]],
        }  # fmt: skip
    first, *others = areas
    if others:
        told["difference"] = drawn_figure(areas[first] - areas[others[0]])
    return told


def _macro(wrong: Floats, doubt: Floats, every: np.ndarray) -> Floats:
    """Return the mean over classes of the AUROC of finding errors [1 + resample]."""
    found = []
    for k in range(wrong.shape[1]):
        here = ~np.isnan(wrong[:, k])
        if len(np.unique(wrong[here, k])) == 2:
            found.append(auroc(wrong[here, k], doubt[here, k], every[:, here]))
    return np.mean(found, axis=0) if found else np.full(len(every), np.nan)


def _aurc_drawn(wrong: Floats, doubt: np.ndarray, every: np.ndarray) -> Floats:
    """Return the area under risk over coverage [1 + resample], all classes together."""
    known = ~np.isnan(wrong)
    owner, flat = np.nonzero(known)[0], np.asarray(doubt, float)[known]
    return np.array([aurc(wrong[known], flat, weights[owner]) for weights in every])
