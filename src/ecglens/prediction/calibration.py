# SPDX-License-Identifier: Apache-2.0
"""Temperature: one number per output that corrects how sure it is, without changing any ranking.

It cannot correct the level: a network trained with weighted positives says "yes" too often on average, whatever
its temperature.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from ecglens.bundle import Bundle
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared
from ecglens.statistics.metrics import fit_threshold_f1


def fit_temperature(logits: np.ndarray, labels: np.ndarray, limits: tuple[float, float] = (0.1, 10.0)) -> float:
    """Return the temperature that minimises the binary cross-entropy of sigmoid(logits / T) (Guo et al. 2017).

    logits, labels   [record]; labels 0, 1, NaN for unknown; from validation records only
    limits           of the search
    Returns 1.0 where the labels hold only one class: nothing can be fitted.
    """
    known = ~np.isnan(labels)
    x, y = logits[known].astype(np.float64), labels[known]
    if len(np.unique(y)) < 2:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = x / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - y * scaled))

    found = minimize_scalar(loss, bounds=tuple(np.log(limits)), method="bounded")
    return float(np.exp(found.x))


def calibrate(bundle: Bundle, valid: Prepared) -> Bundle:
    """Return the bundle with a temperature and an F1 threshold per output, fitted on validation records alone."""
    labels = valid.cohort.labels[list(bundle.classes)].to_numpy()
    raw = predict_raw(bundle, valid.signals)
    outputs = [
        replace(output, temperature=fit_temperature(raw[:, k], labels[:, k])) for k, output in enumerate(bundle.outputs)
    ]
    probabilities = replace(bundle, outputs=tuple(outputs)).activate(raw)
    outputs = [
        replace(output, threshold=fit_threshold_f1(labels[:, k], probabilities[:, k]))
        for k, output in enumerate(outputs)
    ]
    return replace(bundle, outputs=tuple(outputs))
