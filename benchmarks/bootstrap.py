# SPDX-License-Identifier: Apache-2.0
"""Intervals by resampling patients, beside the loop over scikit-learn that a user would write.

Run `python benchmarks/bootstrap.py`; prints JSON. Both sides get identical resamples of the same simulated cohort.
Our time includes drawing the resamples, theirs does not; theirs is the faster of the two usual loops (repeating
records by index; `sample_weight` is slower).
"""

from __future__ import annotations

import json
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from ecglens.statistics import metrics
from ecglens.statistics.bootstrap import patient_weights

N_RECORDS, N_CLASSES, N_RESAMPLES, REPEATS = 285, 5, 2000, 3


def rows() -> list[dict]:
    """Time macro AUROC on 2,000 resamples; ratio is theirs / ours, low and high the extremes of the repeats."""
    labels, scores, patients = cohort()
    resampled_macro_auroc(labels, scores, patient_weights(patients, 10, 0))  # nothing pays for being first
    ours, theirs, differences = [], [], []
    for repeat in range(REPEATS):  # one after the other, so that a busy machine slows both
        start = time.perf_counter()
        weights = patient_weights(patients, N_RESAMPLES, repeat)
        values = resampled_macro_auroc(labels, scores, weights)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        loop = loop_over_sklearn(labels, scores, weights)
        theirs.append(time.perf_counter() - start)
        differences.append(float(np.max(np.abs(values - loop))))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return [
        {
            "stage": "bootstrap of macro AUROC, 2,000 resamples",
            "peer": "scikit-learn loop",
            "ratio": {"median": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)},
            "ours": float(np.median(ours)),
            "theirs": float(np.median(theirs)),
            "agreement": {"max_abs_difference": max(differences)},
        }
    ]


def resampled_macro_auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return macro AUROC [resample], every resample at once."""
    return np.mean([metrics.auroc(labels[:, i], scores[:, i], weights) for i in range(labels.shape[1])], axis=0)


def loop_over_sklearn(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return macro AUROC [resample], one resample after the other."""
    records = np.arange(len(labels))
    drawn = (np.repeat(records, row) for row in weights)
    return np.array([roc_auc_score(labels[index], scores[index], average="macro") for index in drawn])


def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate a test fold the size of the smallest one we report: labels, scores [record, class], patients [record].

    Prevalences as in PTB-XL's five superclasses; scores with ties (three decimals), as files of predictions have.
    """
    generator = np.random.default_rng(20240)
    labels = (generator.random((N_RECORDS, N_CLASSES)) < [0.44, 0.25, 0.24, 0.22, 0.12]).astype(np.int64)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + generator.normal(size=labels.shape))))
    return labels, np.round(scores, 3), generator.integers(250, size=N_RECORDS)


if __name__ == "__main__":
    print(json.dumps(rows(), indent=2))
