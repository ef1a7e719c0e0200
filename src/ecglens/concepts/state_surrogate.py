# SPDX-License-Identifier: Apache-2.0
"""How much of a network is in its states: a random forest that is told nothing but each state's share of the record.

fidelity   how often the forest calls a class as the network does (mean over classes), and Cohen's kappa
accuracy   how often it calls the label right, and its AUROC

Beside it stand what the figure must be read against: one answer for all (majority), the features that the head itself
reads, states of the same network with random weights, and clusters of raw 80-ms windows that know no network at all.
One forest per class, 500 trees, classes weighed alike; fitted on training records, scored on unseen ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.concepts.states import kmeans, squared_distances
from ecglens.runs.draws import derived_seed
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.metrics import auroc

N_TREES = 500
N_RESAMPLES = 1000
RAW_MS = 80.0
MAJORITY = "majority"
COLUMNS = (
    "features", "metric", "value", "low", "high", "n", "n_patients", "n_classes",
)  # fmt: skip

Floats = NDArray[np.float64]


def forest(known: np.ndarray, called: np.ndarray, asked: np.ndarray, n_trees: int, seed: int) -> Floats:
    """Return the probability [record, class] for features `asked`, of one forest per class fitted on `known`.

    called   0, 1 [record, class]; NaN is left out. A class that all or none have keeps that answer.
    """
    from sklearn.ensemble import RandomForestClassifier

    out = np.empty((len(asked), called.shape[1]))
    for k in range(called.shape[1]):
        here = ~np.isnan(called[:, k])
        answers = called[here, k]
        if len(np.unique(answers)) < 2:
            out[:, k] = answers[0] if len(answers) else np.nan
            continue
        model = RandomForestClassifier(
            n_trees, class_weight="balanced_subsample", min_samples_leaf=2, random_state=derived_seed(seed, k) % 2**32
        )
        model.fit(known[here], answers)
        out[:, k] = model.predict_proba(asked)[:, list(model.classes_).index(1.0)]
    return out


def agreement(said: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> dict[str, Floats]:
    """Return accuracy and Cohen's kappa, mean over classes, [1 + resample]: as they stand first, then resampled.

    said, truth   0, 1, NaN unknown [record, class]
    weights       [resample, record]
    """
    every = np.concatenate([np.ones((1, len(said))), weights]).astype(np.float64)
    accuracy, kappa = [], []
    for k in range(said.shape[1]):
        here = ~np.isnan(truth[:, k]) & ~np.isnan(said[:, k])
        own, a, b = every[:, here], said[here, k], truth[here, k]
        total = np.maximum(own.sum(axis=1), 1e-12)
        agree, yes_a, yes_b = own @ (a == b) / total, own @ a / total, own @ b / total
        expected = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
        accuracy.append(agree)
        kappa.append(np.where(expected < 1 - 1e-12, (agree - expected) / np.maximum(1 - expected, 1e-12), np.nan))
    with np.errstate(invalid="ignore"):
        return {"accuracy": np.mean(accuracy, axis=0), "kappa": _mean_known(np.array(kappa))}


def _mean_known(values: Floats) -> Floats:
    """Return the mean over classes [class, ...] of those that have a figure as they stand."""
    usable = ~np.isnan(values[:, 0])
    return np.asarray(values[usable].mean(axis=0)) if usable.any() else np.full(values.shape[1], np.nan)


def surrogate_table(
    answers: dict[str, tuple[Floats, Floats]], network: Floats, truth: Floats, probabilities: Floats,
    people: Sequence[str], seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return the figures of each kind of features: columns `COLUMNS`.

    answers        by features: (probability of the network's decision, probability of the label), [record, class]
    network        the network's decisions [record, class]; probabilities its probabilities
    truth          labels, NaN unknown

    Metrics: `fidelity` and `kappa` towards the network, `accuracy` and `auroc` towards the labels; intervals over
    patients. The row `network` has what the network itself has towards the labels.
    """
    weights = patient_weights(people, N_RESAMPLES, seed)
    n = {"n": len(people), "n_patients": len(set(people)), "n_classes": truth.shape[1]}
    rows: list[dict[str, Any]] = []

    def add(features: str, metric: str, values: Floats) -> None:
        low, high, _ = interval(values[1:])
        rows.append({"features": features, "metric": metric, "value": float(values[0]), "low": low, "high": high} | n)

    for features, (as_network, as_label) in answers.items():
        found = agreement((as_network > 0.5).astype(float), network, weights)
        add(features, "fidelity", found["accuracy"])
        add(features, "kappa", found["kappa"])
        add(features, "accuracy", agreement((as_label > 0.5).astype(float), truth, weights)["accuracy"])
        add(features, "auroc", _macro_auroc(as_label, truth, weights))
    add("network", "accuracy", agreement(network, truth, weights)["accuracy"])
    add("network", "auroc", _macro_auroc(probabilities, truth, weights))
    for metric, target in (("fidelity", network), ("accuracy", truth)):
        commonest = np.broadcast_to((np.nanmean(target, axis=0) > 0.5).astype(float), target.shape)
        add(MAJORITY, metric, agreement(commonest, target, weights)["accuracy"])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _macro_auroc(scores: Floats, truth: Floats, weights: np.ndarray) -> Floats:
    every = np.concatenate([np.ones((1, len(scores)), weights.dtype), weights])
    found = []
    for k in range(truth.shape[1]):
        here = ~np.isnan(truth[:, k]) & ~np.isnan(scores[:, k])
        if len(np.unique(truth[here, k])) == 2:
            found.append(auroc(truth[here, k], scores[here, k], every[:, here]))
    return np.mean(found, axis=0) if found else np.full(len(every), np.nan)


class RawWindows:
    """Clusters of the prepared signal itself, cut into pieces of 80 ms: what can be had without any network."""

    def __init__(self, signals: Sequence[np.ndarray], fs: float, k: int, seed: int, most: int = 20_000) -> None:
        self.length = max(1, round(RAW_MS * fs / 1000))
        pieces = np.concatenate([self._pieces(signal) for signal in signals])
        generator = np.random.default_rng(derived_seed(seed, "raw windows"))
        chosen = pieces[generator.permutation(len(pieces))[:most]]
        self.mean, self.spread = chosen.mean(axis=0), np.maximum(chosen.std(axis=0), 1e-9)
        self.centres, _ = kmeans((chosen - self.mean) / self.spread, k, seed, 3)

    def shares(self, signals: Sequence[np.ndarray]) -> Floats:
        """Return each cluster's share of each record [record, cluster]."""
        return np.stack([np.bincount(self.strip(s), minlength=len(self.centres)) for s in signals]) / np.array(
            [[len(self._pieces(signal))] for signal in signals]
        )

    def strip(self, signal: np.ndarray) -> NDArray[np.intp]:
        """Return the cluster of each piece of a signal [lead, time]."""
        vectors = (self._pieces(signal) - self.mean) / self.spread
        return squared_distances(vectors, self.centres).argmin(axis=1)

    def _pieces(self, signal: np.ndarray) -> Floats:
        n = signal.shape[1] // self.length
        cut = signal[:, : n * self.length].reshape(len(signal), n, self.length)
        return cut.transpose(1, 0, 2).reshape(n, -1).astype(np.float64)
