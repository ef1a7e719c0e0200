# SPDX-License-Identifier: Apache-2.0
"""Events found against events marked: pairs within a tolerance, sensitivity, PPV, F1, error of location.

A pair is made of events that are nearest to each other among those still without a partner, so each event is used
once and no found event is counted for two marks. The counts follow ANSI/AAMI EC57 (beats paired within 150 ms, the
first five minutes of a recording left out as learning period). Intervals come from resampling patients, each with all
of their records.

>>> counts = count_matches(np.array([1.01, 2.3, 3.0]), np.array([1.0, 2.0, 3.02]), tolerance=0.15)
>>> counts.true_positives, counts.false_positives, counts.false_negatives
(2, 1, 1)
>>> table = event_scores([counts], ["a"])
>>> table.set_index("metric")["value"].round(3).to_dict()
{'sensitivity': 0.667, 'ppv': 0.667, 'f1': 0.667, 'error_mean': -0.005, 'error_sd': 0.015}
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import UsageError
from ecglens.statistics.bootstrap import interval, patient_weights

EC57_TOLERANCE = 0.15  # s
EC57_LEARNING = 300.0  # s at the start of a recording that are not scored
METRICS = ("sensitivity", "ppv", "f1", "error_mean", "error_sd")
COLUMNS = ("metric", "value", "low", "high", "n", "n_records", "n_patients", "method")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of the found and the marked events of one record.

    errors           found minus marked, in s, of each pair, in order of time [pair]
    false_positives  found events without a partner
    false_negatives  marked events without a partner
    """

    errors: Floats
    false_positives: int
    false_negatives: int

    @property
    def true_positives(self) -> int:
        """Pairs."""
        return int(self.errors.size)


def match_events(found: ArrayLike, marked: ArrayLike, tolerance: float) -> NDArray[np.intp]:
    """Return pairs [pair, 2] of indices into `found` and `marked` (times in s), at most `tolerance` s apart.

    One to one, the nearest first: pairs are mutual nearest neighbours among the events still without a partner.
    Raises UsageError where times are not sorted or not finite, or the tolerance is negative.
    """
    times = [_sorted_times(name, values) for name, values in (("found", found), ("marked", marked))]
    if not tolerance >= 0:
        raise UsageError("match_events", "tolerance", tolerance, "0 s or more")
    left = [np.arange(values.size) for values in times]
    pairs = np.empty((0, 2), np.intp)
    while left[0].size and left[1].size:
        a, b = times[0][left[0]], times[1][left[1]]
        to_b, to_a = _nearest(a, b), _nearest(b, a)
        mine = np.flatnonzero(to_a[to_b] == np.arange(a.size))
        # 1e-9 s: a distance that is the tolerance on paper must not fall out by rounding
        mine = mine[np.abs(a[mine] - b[to_b[mine]]) <= tolerance + 1e-9]
        if not mine.size:
            break
        pairs = np.concatenate([pairs, np.stack([left[0][mine], left[1][to_b[mine]]], axis=1)])
        left = [np.delete(left[0], mine), np.delete(left[1], to_b[mine])]
    return pairs[np.argsort(pairs[:, 0])]


def count_matches(
    found: ArrayLike,
    marked: ArrayLike,
    tolerance: float = EC57_TOLERANCE,
    *,
    start: float = -np.inf,
    stop: float = np.inf,
    left_out: Sequence[tuple[float, float]] = (),
) -> Matches:
    """Pair the events of one record (times in s) and count those with start <= t < stop.

    tolerance   farthest distance of a pair, in s
    left_out    stretches (from, to) in s that are not scored, such as ventricular flutter

    Events are paired before the stretch is cut out, so that an edge cannot part a pair: a pair counts where its
    marked event does, a found event without a partner where it lies itself.
    """
    a, b = np.asarray(found, np.float64), np.asarray(marked, np.float64)
    pairs = match_events(a, b, tolerance)
    alone_a, alone_b = (_inside(times, start, stop, left_out) for times in (a, b))
    counted = pairs[alone_b[pairs[:, 1]]]
    alone_a[pairs[:, 0]] = alone_b[pairs[:, 1]] = False
    return Matches(a[counted[:, 0]] - b[counted[:, 1]], int(alone_a.sum()), int(alone_b.sum()))


def event_scores(
    matches: Sequence[Matches],
    patient_ids: ArrayLike | Sequence[Hashable] | pd.Series,
    *,
    n_resamples: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the gross figures over all records (every event weighs the same): the columns `COLUMNS`, one row each.

    sensitivity = TP / (TP + FN), ppv = TP / (TP + FP), f1 = 2 TP / (2 TP + FP + FN); error_mean and error_sd of found
    minus marked, in s. `n` is the number of marked events. NaN where nothing can be divided. All figures see the
    same resamples of patients.
    """
    weights = patient_weights(patient_ids, n_resamples, seed)
    if weights.shape[1] != len(matches):
        raise UsageError("patient_ids", "length", weights.shape[1], f"one id for each of {len(matches)} records")
    sums = np.array([_sums(record) for record in matches])  # [record, sum]
    values = _figures(sums.sum(axis=0, keepdims=True))[:, 0]
    resampled = _figures(weights.astype(np.float64) @ sums)
    n, n_patients = int(sums[:, 0].sum() + sums[:, 2].sum()), pd.Series(patient_ids).nunique()
    rows = []
    for name, value, drawn in zip(METRICS, values, resampled, strict=True):
        bounds = interval(drawn if not np.isnan(value) else [], level)
        words = f"{100 * level:g} % percentile interval, {bounds.usable} of {n_resamples} patient resamples usable"
        rows.append((name, float(value), bounds.low, bounds.high, n, len(matches), n_patients, words))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sums(record: Matches) -> tuple[float, ...]:
    errors = record.errors
    counts = record.true_positives, record.false_positives, record.false_negatives
    return (*map(float, counts), float(errors.sum()), float((errors**2).sum()))


def _figures(sums: Floats) -> Floats:
    """Return METRICS [metric, resample] from the sums [resample, (TP, FP, FN, sum of errors, of their squares)]."""
    tp, fp, fn, total, squares = sums.T
    mean = _ratio(total, tp)
    variance = np.maximum(_ratio(squares, tp) - mean**2, 0.0)
    return np.stack(
        [_ratio(tp, tp + fn), _ratio(tp, tp + fp), _ratio(2 * tp, 2 * tp + fp + fn), mean, np.sqrt(variance)]
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _nearest(times: Floats, others: Floats) -> NDArray[np.intp]:
    """Return the index of the nearest of `others` (sorted, not empty) for each of `times`; the earlier one on a tie."""
    after = np.searchsorted(others, times).clip(1, max(others.size - 1, 1))
    before = after - 1
    after = after.clip(max=others.size - 1)
    return np.where(np.abs(others[after] - times) < np.abs(times - others[before]), after, before).astype(np.intp)


def _inside(times: Floats, start: float, stop: float, left_out: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    inside = (times >= start) & (times < stop)
    for first, last in left_out:
        inside &= (times < first) | (times > last)
    return inside


def _sorted_times(name: str, values: ArrayLike) -> Floats:
    times = np.asarray(values, np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise UsageError("match_events", name, f"shape {times.shape}", "finite times [event] in s, in order")
    return times
