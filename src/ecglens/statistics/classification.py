# SPDX-License-Identifier: Apache-2.0
"""How well one of several classes is named: accuracy and its kin, resampled by person.

>>> told, chances = classification(np.eye(2)[[0, 0, 1, 1]], [0, 1, 1, 1], list("abcd"), n_resamples=50)
>>> told["accuracy"].value, round(told["balanced_accuracy"].value, 3), chances["accuracy"]
(0.75, 0.833, 0.75)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.metrics import auroc, roc_points
from ecglens.statistics.people import people_drawn, people_estimate


class RocCurve(NamedTuple):
    """True-positive rates at false-positive rates that rise from 0 to 1, each [point]."""

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]


FIGURES = ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "auroc")


def classification(
    scores: ArrayLike,
    labels: ArrayLike,
    people: Sequence[Hashable] | np.ndarray,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Return the FIGURES with their intervals over people, and what is expected without looking at the ECG.

    scores   [item, class], higher for likelier; the named class is the highest, of equal ones the first
    labels   [item], numbers of classes
    people   whose item it is [item]

    Precision, recall and F1 are means over the classes that occur (macro); balanced accuracy is the macro recall. A
    class that is never named has a precision of 0. AUROC is the mean over the classes, each against all others.
    Chance: for accuracy the share of the commonest class, which naming it always gets; for the macro figures what
    naming classes at random gets, 1 / classes; 0.5 for AUROC. A resample that loses a class is scored on the others;
    intervals of AUROC leave such resamples out.

    Where people are the classes, a resample draws whose figures count, each as it is among all: a class left out would
    be one fewer to be taken for, one drawn twice its own rival.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if scores.ndim != 2 or labels.shape != (len(scores),) or len(people) != len(scores) or not len(scores):
        raise UsageError("classification", "shapes", f"{scores.shape}, {labels.shape}", "[item, class] and [item]")
    n_classes = scores.shape[1]
    numbers = pd.factorize(np.asarray(people, dtype=object))[0]
    tables = np.zeros((int(numbers.max()) + 1, n_classes, n_classes))
    np.add.at(tables, (numbers, labels, scores.argmax(axis=1)), 1.0)
    drawn = people_drawn(len(tables), n_resamples, seed)
    whole = tables.sum(axis=0)
    values = macro_figures(whole[None])
    resampled = macro_figures(np.einsum("rp,pij->rij", drawn, tables, optimize=True))
    areas = _aurocs(scores, labels, np.ones((1, len(labels)), np.uint8))[:, 0]
    values["auroc"] = areas.mean(keepdims=True)
    if people_are_classes(tables):
        own = tables.sum(axis=2).argmax(axis=1)  # class of each person
        each = {name: figure[0, own] for name, figure in _class_figures(whole[None]).items()}
        each |= {"balanced_accuracy": each["recall"], "auroc": areas[np.searchsorted(np.unique(labels), own)]}
        resampled |= {name: drawn @ figure / len(own) for name, figure in each.items()}
    else:
        resampled["auroc"] = _aurocs(scores, labels, drawn[:, numbers].astype(np.uint8)).mean(axis=0)
    occurring = int(np.count_nonzero(np.bincount(labels, minlength=n_classes)))
    told = {}
    rarest = len(tables)
    if not people_are_classes(tables):
        rarest = min(int(n) for n in np.count_nonzero(tables.sum(axis=2), axis=0) if n)
    for name in FIGURES:
        value, draws = float(values[name][0]), len(tables) if name == "accuracy" else rarest
        told[name] = people_estimate(value, resampled[name], len(scores), len(tables), level, draws)
    commonest = float(np.bincount(labels).max() / len(labels))
    chances = dict.fromkeys(FIGURES, 1 / occurring) | {"accuracy": commonest, "auroc": 0.5}
    return told, chances


def macro_roc(scores: ArrayLike, labels: ArrayLike, n_points: int = 401) -> dict[int | None, RocCurve]:
    """Return the ROC curve of each class against all others, and under None their mean, at `n_points` even rates.

    scores   [item, class], higher for likelier
    labels   [item], numbers of classes; those that do not occur, or alone, have no curve

    The mean is over classes, of the true-positive rate at one false-positive rate each; its area is the macro AUROC of
    `classification`, but for the steps between the points.

    >>> curves = macro_roc(np.eye(3)[[0, 1, 2, 0]], [0, 1, 2, 0])
    >>> list(curves), float(curves[None].tpr.min())
    ([0, 1, 2, None], 1.0)
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    fpr = np.linspace(0, 1, n_points)
    curves: dict[int | None, RocCurve] = {}
    for k in np.unique(labels).tolist():
        if (labels != k).any():
            points = roc_points((labels == k).astype(float), scores[:, k])
            curves[k] = RocCurve(fpr, np.interp(fpr, points.false_positive_rate, points.sensitivity))
    if curves:
        curves[None] = RocCurve(fpr, np.mean([curve.tpr for curve in curves.values()], axis=0))
    return curves


def people_are_classes(tables: NDArray[np.float64]) -> bool:
    """Tell whether each person has a class of their own, by `tables` [person, truth, named]."""
    has = tables.sum(axis=2) > 0
    return bool((has.sum(axis=1) == 1).all() and (has.sum(axis=0) <= 1).all())


def macro_figures(tables: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return accuracy, precision, recall, f1 and balanced_accuracy of `tables` [resample, truth, named]."""
    truth = tables.sum(axis=2)
    right, occurs = np.diagonal(tables, axis1=1, axis2=2), truth > 0
    each = _class_figures(tables)
    macro = {name: np.where(occurs, figure, 0.0).sum(axis=1) / occurs.sum(axis=1) for name, figure in each.items()}
    return {"accuracy": right.sum(axis=1) / truth.sum(axis=1), **macro, "balanced_accuracy": macro["recall"]}


def _class_figures(tables: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return precision, recall and f1 [resample, class] of `tables` [resample, truth, named]; 0 where there is none."""
    truth, named = tables.sum(axis=2), tables.sum(axis=1)
    right = np.diagonal(tables, axis1=1, axis2=2)
    return {
        "precision": np.divide(right, named, out=np.zeros_like(right), where=named > 0),
        "recall": np.divide(right, truth, out=np.zeros_like(right), where=truth > 0),
        "f1": np.divide(2 * right, truth + named, out=np.zeros_like(right), where=truth + named > 0),
    }


def _aurocs(scores: np.ndarray, labels: np.ndarray, weights: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the AUROC of each class that occurs against all others [class, resample]; NaN where one has no others."""
    return np.stack([auroc((labels == k).astype(float), scores[:, k], weights) for k in np.unique(labels)])
