# SPDX-License-Identifier: Apache-2.0
"""How sure a figure is: intervals from resampling patients, and the table of scores that reports print.

Records of one patient resemble each other, so patients are resampled, each with all of their records; resampling
records would give intervals that are too narrow. Intervals are percentiles of the resampled figures (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; for clusters Field and Welsh, JRSS B 69 (2007) 369).
A figure of a class that is 0 or 1 is the same in every resample, and has Wilson's interval instead (see `boundary`).

>>> labels, scores = np.array([[0.0], [0], [1], [1], [0], [1]]), np.array([[0.1], [0.4], [0.35], [0.8], [0.2], [0.7]])
>>> table = score_table(labels, scores, ["MI"], ["a", "b", "c", "d", "e", "f"], [0.3], n_resamples=200)
>>> print(table.loc[0, ["class", "metric", "value", "n", "n_positive", "chance"]].to_dict())
{'class': 'MI', 'metric': 'auroc', 'value': 0.8888888888888888, 'n': 6, 'n_positive': 3, 'chance': 0.5}
>>> print(Estimate(0.894, 0.871, 0.912, n=285, n_patients=270, method="percentile"))
0.89 [0.87, 0.91]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from ecglens.errors import UsageError
from ecglens.statistics import metrics
from ecglens.statistics.boundary import SAME, Bound, at_the_boundary, check_level
from ecglens.statistics.figures import json_number
from ecglens.statistics.metrics import Floats
from ecglens.statistics.task import (
    MACRO,
    Task,
    as_matrix,
    check_task,
    class_names,
    patient_numbers,
    thresholds_of_classes,
)

METRICS = ("auroc", "average_precision", "f1", "sensitivity", "specificity", "ppv", "balanced_accuracy")
COLUMNS = (
    "class", "metric", "value", "low", "high", "n", "n_positive", "n_patients",
    "chance", "baseline", "threshold", "method",
)  # fmt: skip

# A class that one patient alone has (or lacks) is an anecdote: its figure describes that patient and cannot be
# resampled, since each resample holds copies of that one or nobody.
MIN_PATIENTS = 2


class Interval(NamedTuple):
    """Lower and upper bound, NaN where there are too few usable resamples, and how many were usable."""

    low: float
    high: float
    usable: int


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: on how many records and patients it rests, and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as it stands in JSON, where NaN (not estimable) is None."""
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        """Say the value and its interval with two decimals."""
        if np.isnan(self.value):
            return "not estimable"
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{self.value:z.2f} [no interval]"
        return f"{self.value:z.2f} [{self.low:z.2f}, {self.high:z.2f}]"


class _Scores(NamedTuple):
    """The figures of one class, or of the macro average: as they stand [metric], and resampled [metric, resample]."""

    values: Floats
    resampled: Floats
    chance: Floats
    baseline: Floats
    known: NDArray[np.bool_]  # [record] label known
    positive: NDArray[np.bool_]  # [record]
    threshold: float
    notes: list[str]  # [metric] what is to be said beside the interval
    bounds: list[Bound | None]  # [metric] of figures that are 0 or 1, which resampling cannot tell


def patient_weights(
    patient_ids: ArrayLike | Sequence[Hashable] | pd.Series, n_resamples: int, seed: int | np.random.Generator
) -> NDArray[np.uint8]:
    """Return how often each record counts in each resample of patients: [resample, record].

    As many patients as there are are drawn with replacement, each with all of their records, so that records of one
    patient always weigh the same. Resample i is the same whatever `n_resamples` and the order of the records.
    Raises InputError where an id is missing or there are no records.
    """
    patients = patient_numbers(patient_ids)
    if n_resamples < 1:
        raise UsageError("n_resamples", "value", n_resamples, "1 or more")
    n_patients = int(patients.max()) + 1
    generator = np.random.default_rng(seed)
    # How often a patient is drawn is about Poisson(1): 256 times has a chance below 1e-500, a byte is enough.
    weights = np.empty((n_resamples, patients.size), dtype=np.uint8)
    for row in weights:  # one resample at a time, so that the draws need no memory
        drawn = generator.integers(n_patients, size=n_patients)
        row[:] = np.bincount(drawn, minlength=n_patients)[patients]
    return weights


def interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the percentile interval of resampled `values [resample]`, without those that are NaN (not estimable).

    `level` is the coverage asked for, between 0 and 1. At least 2 / (1 - level) usable resamples are needed (40 for
    95 %), so that each tail holds one; with fewer the bounds are NaN, since they would be the extremes of few draws.
    """
    check_level(level)
    drawn = np.asarray(values, dtype=np.float64)
    drawn = drawn[~np.isnan(drawn)]
    # 2 / (1 - 0.95) is 40.000000000000036 in floating point
    if drawn.size < round(2 / (1 - level), 6):
        return Interval(float("nan"), float("nan"), int(drawn.size))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), int(drawn.size))


def score_table(
    labels: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[str],
    patient_ids: ArrayLike | Sequence[Hashable] | pd.Series,
    thresholds: Sequence[float | None] | None = None,
    *,
    n_resamples: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return every figure of every class with its interval: the columns `COLUMNS`, one row per class and metric.

    `labels [record, class]` 0, 1 or NaN (unknown, left out of that class), `scores [record, class]`, `patient_ids
    [record]`, `thresholds [class]` for the rule "yes at or above it" (None or NaN: the five figures that need one
    are NaN). Thresholds must come from other records. All classes and metrics see the same resamples.

    - A class is estimable where at least `MIN_PATIENTS` patients have it and as many have it not; else its figures
      are NaN. Never-called classes have no positive predictive value.
    - Class `macro` is the mean over the classes that are estimable, and `method` says which are not. A resample in
      which one of them loses its positives or its negatives is left out and `method` counts the rest. Averaging over
      the classes that are left would change what is averaged, and counting the lost one as 0 pulls the interval
      below the point. `n`, `n_positive`, `n_patients` of macro count records (patients) with
      a known label, or a positive one, in at least one of its classes.
    - `chance`: what is expected when the scores are dealt out to the records at random. AUROC 0.5, average precision
      the prevalence p (its limit for many records); at a threshold, with the same share q of yes: F1 2pq / (p + q),
      sensitivity q, specificity 1 - q, positive predictive value p, balanced accuracy 0.5.
    - `baseline`: what the better of "yes to all" and "no to all" gets without looking at the ECG. AUROC 0.5, average
      precision p, F1 2p / (1 + p), sensitivity 1, specificity 1 (one of the two alone proves nothing), positive
      predictive value p, balanced accuracy 0.5.

    Raises UsageError on shapes that differ, InputError on values that cannot be (see `metrics`).
    """
    names, cuts = class_names(classes), thresholds_of_classes(thresholds, len(classes))
    task = check_task(labels, scores, patient_ids)
    if task.labels.shape[1] != len(names):
        raise UsageError("classes", "length", len(names), f"one name for each of {task.labels.shape[1]} columns")
    weights = patient_weights(task.patients, n_resamples, seed)
    parts = [_score_class(task, i, cut, weights, level) for i, cut in enumerate(cuts)]
    rows = [row for name, part in zip(names, parts, strict=True) for row in _rows(name, part, task.patients, level)]
    rows += _rows(MACRO, _score_macro(names, parts), task.patients, level)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def paired_difference(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    patient_ids: ArrayLike | Sequence[Hashable] | pd.Series,
    *,
    n_resamples: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Return the macro AUROC of a minus that of b on the same records, with an interval from the same resamples.

    `labels`, `scores_a`, `scores_b`: all [record, class], or all [record] for one class. What a and b have in common
    cancels, so the interval is narrower than two separate ones suggest. Classes that are not estimable and resamples
    that lose a class are left out as in `score_table`. One interval per comparison: many need a correction.
    """
    task, other = (check_task(as_matrix(labels), as_matrix(s), patient_ids) for s in (scores_a, scores_b))
    names = [str(i) for i in range(task.labels.shape[1])]
    usable = [i for i in range(len(names)) if not _why_not_estimable(task, i)]
    known = np.asarray((~np.isnan(task.labels[:, usable])).any(axis=1), dtype=np.bool_)
    n, n_patients = int(known.sum()), _count_patients(task.patients, known)
    if not usable:
        return Estimate(np.nan, np.nan, np.nan, n, n_patients, "not estimable: no class is")
    weights = patient_weights(task.patients, n_resamples, seed)
    value = float(_macro_auroc(task, usable)[0] - _macro_auroc(other, usable)[0])
    drawn = interval(_macro_auroc(task, usable, weights) - _macro_auroc(other, usable, weights), level)
    method = f"paired {_method(level, drawn.usable, n_resamples)}"
    if drawn.low == drawn.high and not _rank_alike(task, other, usable):  # both perfect: nothing that resampling shows
        drawn, method = Interval(np.nan, np.nan, drawn.usable), SAME
    if len(names) > 1:
        method += f"; {_which(names, np.isin(np.arange(len(names)), usable))}"
    return Estimate(value, drawn.low, drawn.high, n, n_patients, method)


# --------------------------------------------------------------------------------------------------- one class, macro


def _score_class(task: Task, column: int, threshold: float, weights: NDArray, level: float) -> _Scores:
    """Return the figures of one class, as they stand and in every resample."""
    labels, scores = task.labels[:, column], task.scores[:, column]
    known, positive = ~np.isnan(labels), labels == 1
    reason = _why_not_estimable(task, column)
    if reason:
        empty = np.full(len(METRICS), np.nan)
        resampled = np.full((len(METRICS), len(weights)), np.nan)
        notes = [f"not estimable ({reason})"] * len(METRICS)
        return _Scores(empty, resampled, empty, empty, known, positive, threshold, notes, [None] * len(METRICS))
    values = _figures(labels, scores, threshold)[:, 0]
    yes_rate = float(np.mean(metrics.decide(scores[known], threshold))) if not np.isnan(threshold) else np.nan
    chance, baseline = _references(float(np.mean(positive[known])), yes_rate)
    notes = ["" if not np.isnan(value) else "not estimable (nobody called positive)" for value in values]
    if np.isnan(threshold):
        notes = ["" if metric in METRICS[:2] else "not estimable (no threshold)" for metric in METRICS]
    resampled = _figures(labels, scores, threshold, weights)
    said = metrics.decide(scores, threshold)
    bounds = [
        at_the_boundary(metric, value, labels, said, task.patients, level)
        for metric, value in zip(METRICS, values.tolist(), strict=True)
    ]
    return _Scores(values, resampled, chance, baseline, known, positive, threshold, notes, bounds)


def _figures(labels: Floats, scores: NDArray, threshold: float, weights: NDArray | None = None) -> Floats:
    """Return all METRICS of one class: [metric, resample], one resample where there are no weights."""
    weights = np.ones((1, labels.size), dtype=np.uint8) if weights is None else weights
    free = metrics.discrimination(labels, scores, weights)
    if np.isnan(threshold):
        return np.stack([*free, *[np.full(len(weights), np.nan)] * (len(METRICS) - 2)])
    counts = metrics.confusion(labels, metrics.decide(scores, threshold), weights)
    named = (metrics.f1, metrics.sensitivity, metrics.specificity, metrics.ppv, metrics.balanced_accuracy)
    return np.stack([*free, *(figure(counts) for figure in named)])


def _references(prevalence: float, yes_rate: float) -> tuple[Floats, Floats]:
    """Return chance and baseline [metric], as `score_table` defines them.

    Dealing out a fixed number k of yes at random makes the true positives hypergeometric, and F1 is linear in them
    once k is fixed: 2pq / (p + q) is the exact expectation, not an approximation.
    """
    p, q = prevalence, yes_rate
    chance = np.array([0.5, p, 2 * p * q / (p + q), q, 1 - q, p if q > 0 else np.nan, 0.5])
    baseline = np.array([0.5, p, 2 * p / (1 + p), 1.0, 1.0, p, 0.5])
    if np.isnan(q):
        chance[2:] = baseline[2:] = np.nan
    return chance, baseline


def _score_macro(names: Sequence[str], parts: Sequence[_Scores]) -> _Scores:
    """Return the mean of the classes, metric by metric, over those that are estimable."""
    usable = np.stack([~np.isnan(part.values) for part in parts])  # [class, metric]
    values, resampled, chance, baseline = (
        _mean_of_usable(np.stack([getattr(part, name) for part in parts]), usable)
        for name in ("values", "resampled", "chance", "baseline")
    )
    used = [part for part, use in zip(parts, usable, strict=True) if use.any()]
    nobody = np.zeros_like(parts[0].known)
    known, positive = (
        reduce(np.logical_or, (getattr(p, name) for p in used), nobody) for name in ("known", "positive")
    )
    bounds = [_bound_of_mean([p.bounds[m] for p in used if not np.isnan(p.values[m])]) for m in range(len(METRICS))]
    notes = [
        _which(names, usable[:, m])
        + ("" if bounds[m] else _at_ends([name for name, p in zip(names, parts, strict=True) if p.bounds[m]]))
        for m in range(len(METRICS))
    ]
    return _Scores(values, resampled, chance, baseline, known, positive, np.nan, notes, bounds)


def _at_ends(names: Sequence[str]) -> str:
    """Say which classes stand at 0 or 1, and add nothing to the width of a resampled mean."""
    return f"; as if {', '.join(names)} stood at 0 or 1 for certain" if names else ""


def _bound_of_mean(bounds: Sequence[Bound | None]) -> Bound | None:
    """Return the mean of the bounds of classes that all stand at 0 or 1; None where one of them was resampled."""
    known = [bound for bound in bounds if bound]
    if not known or len(known) < len(bounds):
        return None
    low, high = (float(np.mean([bound[side] for bound in known])) for side in (0, 1))
    return Bound(low, high, SAME if np.isnan(low) else "mean of the classes' bounds, each by Wilson")


def _mean_of_usable(stack: Floats, usable: NDArray[np.bool_]) -> Floats:
    """Return the mean over classes of `stack` [class, metric, ...] where `usable` [class, metric].

    NaN of a usable class stays: a resample that lost one class is no macro average, and is left out later.
    """
    mask = usable.reshape(usable.shape + (1,) * (stack.ndim - usable.ndim))
    count = mask.sum(axis=0)
    total = np.where(mask, stack, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=np.broadcast_to(count > 0, total.shape))


def _macro_auroc(task: Task, columns: Sequence[int], weights: NDArray | None = None) -> Floats:
    """Return the mean AUROC [resample] over `columns`, NaN where one of them is not estimable."""
    weights = np.ones((1, len(task.labels)), dtype=np.uint8) if weights is None else weights
    return np.mean([metrics.auroc(task.labels[:, i], task.scores[:, i], weights) for i in columns], axis=0)


def _rank_alike(task: Task, other: Task, columns: Sequence[int]) -> bool:
    """Tell whether two scores put the records with a known label in the same order, in every class."""
    known = [~np.isnan(task.labels[:, i]) for i in columns]
    return all(
        (rankdata(task.scores[here, i]) == rankdata(other.scores[here, i])).all()
        for i, here in zip(columns, known, strict=True)
    )


def _why_not_estimable(task: Task, column: int) -> str:
    """Say why a class has no figures: too few patients who have it or who have it not. Empty where it has."""
    for value, sign in ((1, "+"), (0, "-")):
        mask = task.labels[:, column] == value
        n_patients = _count_patients(task.patients, mask)
        if n_patients < MIN_PATIENTS:
            return f"n{sign} = {int(mask.sum())}, from {n_patients} of at least {MIN_PATIENTS} patients"
    return ""


# ---------------------------------------------------------------------------------------------------- rows and words


def _rows(name: str, part: _Scores, patients: NDArray[np.intp], level: float) -> list[dict[str, Any]]:
    """Return the rows of one class, one per metric."""
    counts = {
        "n": int(part.known.sum()),
        "n_positive": int(part.positive.sum()),
        "n_patients": _count_patients(patients, part.known),
    }
    rows = []
    for m, metric in enumerate(METRICS):
        value = float(part.values[m])
        # a figure that does not exist has no interval, even where resamples happened to give one
        drawn = interval(part.resampled[m] if not np.isnan(value) else [], level)
        words = [part.notes[m]] if part.notes[m] else []
        bound = part.bounds[m]
        if bound:
            words.insert(0, bound.method)
        elif not np.isnan(value):
            words.insert(0, _method(level, drawn.usable, part.resampled.shape[1]))
        low, high = (bound.low, bound.high) if bound else drawn[:2]
        figures = {"value": value, "low": low, "high": high}
        references = {"chance": float(part.chance[m]), "baseline": float(part.baseline[m])}
        at = {"threshold": part.threshold if m >= 2 else np.nan, "method": "; ".join(words)}
        rows.append({"class": name, "metric": metric} | figures | counts | references | at)
    return rows


def _method(level: float, usable: int, n_resamples: int) -> str:
    """Say how an interval was made and how many resamples it rests on."""
    share = f"{usable} of {n_resamples} patient resamples usable"
    if usable < round(2 / (1 - level), 6):
        return f"no interval, too few resamples: {share}"
    return f"{100 * level:g} % percentile interval, {share}"


def _which(names: Sequence[str], used: NDArray[np.bool_]) -> str:
    """Say which classes a mean is over."""
    left_out = [name for name, use in zip(names, used, strict=True) if not use]
    if len(left_out) == len(names):
        return "not estimable (no class is)"
    if left_out:
        return f"mean of {len(names) - len(left_out)} of {len(names)} classes, without {', '.join(left_out)}"
    return f"mean of all {len(names)} classes" if len(names) > 1 else f"mean of {names[0]} alone"


def _count_patients(patients: NDArray[np.intp], mask: NDArray[np.bool_]) -> int:
    """Return how many patients have a record in the mask [record]."""
    return int(np.unique(patients[mask]).size)


def drawn_figure(values: Floats) -> dict[str, Any]:
    """Return value, low and high as JSON has them, of a figure [1 + resample]: as it is, then on each resample."""
    low, high, _ = interval(values[1:])
    return {"value": json_number(float(values[0])), "low": json_number(low), "high": json_number(high)}
