# SPDX-License-Identifier: Apache-2.0
"""Which calibration should be the default, and what the shipped bundle does on another data set's labels.

    python benchmarks/calibration.py --data PTBXL --ludb LUDB [--out benchmarks/calibration.json]

The choice is made on validation records alone: ten-fold cross-validation within fold 9, parted by patient, five draws.
Fold 10 then shows what the choice brings; it chooses nothing. LUDB is scored through its label map.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import expit

from ecglens.bundle import Bundle
from ecglens.datasets.label_map import load_label_map
from ecglens.datasets.load import load_cohort
from ecglens.datasets.ludb import load_ludb
from ecglens.prediction.calibration import Scaling, fit_platt, fit_temperature
from ecglens.prediction.evaluate import evaluate, people_of
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache, default_cache
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import clean

Fit = Callable[[np.ndarray, np.ndarray], Scaling]
METHODS: dict[str, Fit] = {
    "none": lambda logits, labels: Scaling(1.0, 0.0),
    "temperature": lambda logits, labels: Scaling(fit_temperature(logits, labels), 0.0),
    "platt": fit_platt,
}
N_PARTS, N_DRAWS, N_RESAMPLES = 10, 5, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of PTB-XL")
    parser.add_argument("--ludb", required=True, help="folder of LUDB")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("calibration.json"))
    asked = parser.parse_args()
    bundle, cache = Bundle.load("pretrained"), Cache(default_cache())
    cohort, folds = load_cohort(asked.data), {}
    for fold in (9, 10):
        prepared = prepare(cohort.where(fold=fold), bundle.preprocessing, cache=cache)
        labels = prepared.cohort.labels[list(bundle.classes)].to_numpy()
        folds[fold] = predict_raw(bundle, prepared.signals), labels, people_of(prepared.cohort)
    mapped = load_label_map("ludb-to-superdiagnostic").applied(load_ludb(asked.ludb), bundle.classes)
    told = evaluate(bundle, mapped.cohort, cache=cache).as_dict()
    metrics = ("auroc", "average_precision", "sensitivity", "specificity")
    figures = {name: {m: told["per_class"][name][m] for m in metrics} for name in bundle.classes}
    found = {
        "weights_sha256": bundle.weights_sha256, "methods": compared(folds),
        "n": {str(fold): len(part[0]) for fold, part in folds.items()},
        "ludb": {"n": told["n"], "n_patients": told["n_patients"], "macro_auroc": told["macro_auroc"],
                 "per_class": figures},
    }  # fmt: skip
    asked.out.write_text(json.dumps(clean(found), indent=1) + "\n")
    for name, row in found["methods"].items():
        print(name, {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})


def compared(folds: dict[int, tuple]) -> dict[str, dict]:
    """Return log loss and Brier score, averaged over classes: cross-validated in fold 9, and on fold 10."""
    (raw, labels, people), (test_raw, test_labels, test_people) = folds[9], folds[10]
    crossed = {name: losses(cross_validated(fit, raw, labels, people), labels) for name, fit in METHODS.items()}
    tested = {}
    for name, fit in METHODS.items():
        logits = [test_raw[:, k] / s.temperature + s.offset for k, s in enumerate(fitted(fit, raw, labels))]
        tested[name] = losses(np.stack(logits, axis=1)[None], test_labels)
    out = {}
    for name in METHODS:
        gained = [difference(part[name][0], part["temperature"][0], who)
                  for part, who in ((crossed, people), (tested, test_people))]  # fmt: skip
        out[name] = {
            "validation_log_loss": float(crossed[name][0].mean()), "validation_brier": float(crossed[name][1].mean()),
            "validation_over_temperature": gained[0],
            "test_log_loss": float(tested[name][0].mean()), "test_brier": float(tested[name][1].mean()),
            "test_over_temperature": gained[1],
        }  # fmt: skip
    return out


def fitted(fit: Fit, raw: np.ndarray, labels: np.ndarray) -> list[Scaling]:
    return [fit(raw[:, k], labels[:, k]) for k in range(raw.shape[1])]


def cross_validated(fit: Fit, raw: np.ndarray, labels: np.ndarray, people: list[str]) -> np.ndarray:
    """Return logits [draw, record, class], each scaled by what the other parts' patients say."""
    names, number = np.unique(people, return_inverse=True)
    scaled = np.empty((N_DRAWS, *raw.shape))
    for draw in range(N_DRAWS):
        part = (np.random.default_rng(draw).permutation(len(names)) % N_PARTS)[number]
        for p in range(N_PARTS):
            for k, (temperature, offset) in enumerate(fitted(fit, raw[part != p], labels[part != p])):
                scaled[draw, part == p, k] = raw[part == p, k] / temperature + offset
    return scaled


def losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log loss and squared error [record], averaged over draws and classes."""
    log_loss = np.logaddexp(0, logits) - labels * logits
    return log_loss.mean(axis=(0, 2)), np.square(expit(logits) - labels).mean(axis=(0, 2))


def difference(ours: np.ndarray, theirs: np.ndarray, people: list[str]) -> dict[str, float]:
    """Return the mean of ours minus theirs with its interval over patients."""
    weights = patient_weights(people, N_RESAMPLES, 0).astype(float)
    drawn = weights @ (ours - theirs) / weights.sum(axis=1)
    low, high, _ = interval(drawn)
    return {"value": float(np.mean(ours - theirs)), "low": low, "high": high}


if __name__ == "__main__":
    main()
