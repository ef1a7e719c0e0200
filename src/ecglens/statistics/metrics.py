# SPDX-License-Identifier: Apache-2.0
"""How well scores tell the records with a label from those without: AUROC, average precision, F1 and its kin.

Every figure takes the `labels [record]` and `scores [record]` of one class: 1 has it, 0 has it not, NaN is unknown
and left out. `weights [resample, record]` (how often each record counts, see `bootstrap.patient_weights`) gives the
figure of every resample at once: one sort, then cumulated sums in blocks, so that memory does not grow with the
resamples. Tied scores are treated as tied, never in the order of the file.

A class without a positive or without a negative record is not estimable: NaN, never 0, 0.5 or 1.

>>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
0.75
>>> float(f1(confusion([0, 0, 1, 1], [0, 1, 0, 1])))
0.5
>>> auroc([1, 1], [0.2, 0.9])
nan
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import InputError, UsageError

Floats = NDArray[np.float64]
Figure = TypeVar("Figure", float, Floats)  # a float, or one figure per resample

# Elements of `weights` per block: 2 MB of float64 stay inside the cache, which is the fastest and the smallest.
_BLOCK = 2**18


class Discrimination(NamedTuple, Generic[Figure]):
    """Area under the ROC curve and average precision of one class."""

    auroc: Figure
    average_precision: Figure


class Confusion(NamedTuple, Generic[Figure]):
    """True positives, false positives, false negatives, true negatives: counts of records, or sums of weights."""

    tp: Figure
    fp: Figure
    fn: Figure
    tn: Figure


class RocPoints(NamedTuple):
    """The ROC curve, one point per distinct score in falling order, from (0, 0) at threshold infinity to (1, 1)."""

    false_positive_rate: Floats
    sensitivity: Floats
    threshold: Floats


class PrPoints(NamedTuple):
    """The precision-recall curve in rising recall, from (recall 0, precision 1) at threshold infinity."""

    recall: Floats
    precision: Floats
    threshold: Floats


class _Ranking(NamedTuple):
    """Records of one class by falling score; a step is a run of positives that share one score."""

    positives: NDArray[np.intp]  # [positive] position of the record
    negatives: NDArray[np.intp]  # [negative] position of the record
    ends: NDArray[np.intp]  # [step] last of the step's positives
    above: NDArray[np.intp]  # [step] how many negatives score higher
    through: NDArray[np.intp]  # [step] how many negatives score higher or equal


# ------------------------------------------------------------------------------------------- threshold-free figures


@overload
def discrimination(labels: ArrayLike, scores: ArrayLike, weights: None = None) -> Discrimination[float]: ...
@overload
def discrimination(labels: ArrayLike, scores: ArrayLike, weights: NDArray) -> Discrimination[Floats]: ...
def discrimination(
    labels: ArrayLike, scores: ArrayLike, weights: NDArray | None = None
) -> Discrimination[float] | Discrimination[Floats]:
    """Return AUROC and average precision together, at the price of one sort and one pass over the weights.

    `labels [record]` 0, 1 or NaN, `scores [record]` finite, `weights [resample, record]` at least 0.
    Gives floats without weights, else arrays [resample]. Raises InputError on other values, UsageError on
    lengths that differ.
    """
    area, precision = _discriminate(labels, scores, weights)
    if weights is None:
        return Discrimination(float(area[0]), float(precision[0]))
    return Discrimination(area, precision)


@overload
def auroc(labels: ArrayLike, scores: ArrayLike, weights: None = None) -> float: ...
@overload
def auroc(labels: ArrayLike, scores: ArrayLike, weights: NDArray) -> Floats: ...
def auroc(labels: ArrayLike, scores: ArrayLike, weights: NDArray | None = None) -> float | Floats:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Shapes and errors as in `discrimination`. Source: Hanley and McNeil, Radiology 143 (1982) 29-36.
    """
    area, _ = _discriminate(labels, scores, weights)
    return float(area[0]) if weights is None else area


@overload
def average_precision(labels: ArrayLike, scores: ArrayLike, weights: None = None) -> float: ...
@overload
def average_precision(labels: ArrayLike, scores: ArrayLike, weights: NDArray) -> Floats: ...
def average_precision(labels: ArrayLike, scores: ArrayLike, weights: NDArray | None = None) -> float | Floats:
    """Return the sum over distinct scores of precision times the step in recall, without interpolation.

    This is scikit-learn's definition, and not the trapezoid under the precision-recall curve, which is too kind
    (Davis and Goadrich, ICML 2006). Shapes and errors as in `discrimination`.
    """
    _, precision = _discriminate(labels, scores, weights)
    return float(precision[0]) if weights is None else precision


def _discriminate(labels: ArrayLike, scores: ArrayLike, weights: NDArray | None) -> tuple[Floats, Floats]:
    """Return AUROC and average precision, each [resample]; one resample where there are no weights."""
    truth, score = _labels_and_scores(labels, scores)
    ranking = _rank(truth, score)
    blocks = [_discriminate_block(ranking, block) for block in _blocks(weights, truth.size)]
    return np.concatenate([area for area, _ in blocks]), np.concatenate([precision for _, precision in blocks])


def _discriminate_block(ranking: _Ranking, weights: NDArray) -> tuple[Floats, Floats]:
    """Return AUROC and average precision [resample] of one block of weights [resample, record]."""
    # Cumulated in float64, where counts stay exact up to 2^53. `take` rather than [:, columns], which gives arrays in
    # column order: slower, and summed in an order that depends on the number of resamples.
    true = np.cumsum(weights.take(ranking.positives, axis=1), axis=1, dtype=np.float64)
    false = np.zeros((len(weights), ranking.negatives.size + 1))
    np.cumsum(weights.take(ranking.negatives, axis=1), axis=1, out=false[:, 1:])
    n_positive, n_negative = (true[:, -1] if true.size else np.zeros(len(weights))), false[:, -1]
    true = true.take(ranking.ends, axis=1)
    gained = np.diff(true, axis=1, prepend=0.0)
    above, through = false.take(ranking.above, axis=1), false.take(ranking.through, axis=1)
    pairs = np.sum(gained * (n_negative[:, None] - (above + through) / 2), axis=1)
    called = true + through  # zero only where nothing was gained yet
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    estimable = (n_positive > 0) & (n_negative > 0)
    return (
        _ratio(pairs, n_positive * n_negative, estimable),
        _ratio(np.sum(gained * precision, axis=1), n_positive, estimable),
    )


def _rank(labels: Floats, scores: NDArray) -> _Ranking:
    """Sort once: everything about the scores that the figures need, whatever the weights."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    positives = positives[np.argsort(scores[positives])[::-1]]
    negatives = negatives[np.argsort(scores[negatives])[::-1]]
    ends = _run_ends(scores[positives])
    rising, steps = scores[negatives][::-1], scores[positives][ends]
    above = negatives.size - np.searchsorted(rising, steps, side="right")
    through = negatives.size - np.searchsorted(rising, steps, side="left")
    return _Ranking(positives, negatives, ends, above, through)


def _run_ends(values: NDArray) -> NDArray[np.intp]:
    """Return the position of the last element of each run of equal values."""
    return np.flatnonzero(np.append(values[1:] != values[:-1], True)[: values.size])


# ----------------------------------------------------------------------------------------- figures at one threshold


def decide(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Return which scores say yes: those at or above the threshold, in the shape of `scores`.

    Compared in float64: NumPy would round the threshold to float32 beside float32 scores.
    """
    return np.asarray(scores, dtype=np.float64) >= threshold


@overload
def confusion(labels: ArrayLike, decisions: ArrayLike, weights: None = None) -> Confusion[float]: ...
@overload
def confusion(labels: ArrayLike, decisions: ArrayLike, weights: NDArray) -> Confusion[Floats]: ...
def confusion(
    labels: ArrayLike, decisions: ArrayLike, weights: NDArray | None = None
) -> Confusion[float] | Confusion[Floats]:
    """Count true and false positives, false and true negatives of one class; unknown labels are left out.

    `labels [record]` 0, 1 or NaN, `decisions [record]` 0 or 1 (or bool), `weights [resample, record]` at least 0.
    Gives floats without weights, else arrays [resample]. Raises InputError on other values, UsageError on
    lengths that differ.
    """
    truth, said = _labels_and_scores(labels, decisions)
    if not np.isin(said[~np.isnan(truth)], (0, 1)).all():
        raise InputError("decisions", "values", "something else", "0 or 1", "apply the threshold first (decide)")
    yes = said == 1
    cells = np.stack([(truth == 1) & yes, (truth == 0) & yes, (truth == 1) & ~yes, (truth == 0) & ~yes], axis=1)
    cells = cells.astype(np.float64)
    counts = np.concatenate([block.astype(np.float64) @ cells for block in _blocks(weights, truth.size)])
    if weights is None:
        return Confusion(*map(float, counts[0]))
    return Confusion(*counts.T)


def sensitivity(counts: Confusion[Figure]) -> Figure:
    """Return tp / (tp + fn): how many of those who have it are found."""
    return _figure(counts, counts.tp, counts.tp + counts.fn)


def specificity(counts: Confusion[Figure]) -> Figure:
    """Return tn / (tn + fp): how many of those who have it not are left in peace."""
    return _figure(counts, counts.tn, counts.tn + counts.fp)


def ppv(counts: Confusion[Figure]) -> Figure:
    """Return tp / (tp + fp), the positive predictive value; NaN where nobody was called positive."""
    return _figure(counts, counts.tp, counts.tp + counts.fp)


def f1(counts: Confusion[Figure]) -> Figure:
    """Return 2 tp / (2 tp + fp + fn), the harmonic mean of sensitivity and positive predictive value."""
    return _figure(counts, 2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def balanced_accuracy(counts: Confusion[Figure]) -> Figure:
    """Return the mean of sensitivity and specificity."""
    return (sensitivity(counts) + specificity(counts)) / 2


def confusion_table(labels: ArrayLike, decisions: ArrayLike, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the counts of every class: columns `class tp fp fn tn n n_unknown`, one row per class.

    `labels [record, class]` 0, 1 or NaN, `decisions [record, class]` 0 or 1. `classes` are numbers where not given.
    Raises InputError on other values, UsageError on shapes that differ.
    """
    truth, said = np.asarray(labels, dtype=np.float64), np.asarray(decisions)
    if truth.ndim != 2 or truth.shape != said.shape:
        raise UsageError("decisions", "shape", said.shape, f"[record, class] as labels: {truth.shape}")
    names = list(classes) if classes is not None else [str(i) for i in range(truth.shape[1])]
    if len(names) != truth.shape[1]:
        raise UsageError("classes", "length", len(names), f"one name for each of {truth.shape[1]} columns")
    table = pd.DataFrame(
        [confusion(truth[:, i], said[:, i]) for i in range(len(names))], columns=list(Confusion._fields), dtype=int
    )
    table.insert(0, "class", names)
    table["n"] = table[list(Confusion._fields)].sum(axis=1)
    table["n_unknown"] = len(truth) - table["n"]
    return table


def _figure(counts: Confusion[Figure], part: Figure, whole: Figure) -> Figure:
    """Return part / whole where the class has positives and negatives and the whole is not empty, else NaN."""
    positives, negatives = np.asarray(counts.tp + counts.fn), np.asarray(counts.fp + counts.tn)
    # [()] turns an array without axes into a float64, which is a float
    figure: Any = _ratio(np.asarray(part), np.asarray(whole), (positives > 0) & (negatives > 0))[()]
    return figure


# ------------------------------------------------------------------------------------------- thresholds and curves


def fit_threshold_f1(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold with the highest F1 for the rule "yes at or above it" (see `decide`).

    It lies midway between the two neighbouring scores, and at the lowest score where yes to all is best. Of equally
    good thresholds the highest is taken: the fewest alarms. NaN where the class is not estimable. The threshold is a
    number of the scores' own type, so that a comparison in float32 decides alike.
    Fit it on records that are not scored with it: F1 at its own optimum is optimistic.
    """
    truth, score = _labels_and_scores(labels, scores)
    true, false, steps = _cuts(truth, score)
    if not steps.size or true[-1] == 0 or false[-1] == 0:
        return float("nan")
    # counts are whole numbers, so equal F1 are equal floats, and argmax takes the first: the highest score
    return _below(steps, int(np.argmax(2 * true / (true + false + true[-1]))))


def fit_threshold_specificity(labels: ArrayLike, scores: ArrayLike, at_least: float) -> float:
    """Return the threshold with the highest sensitivity among those whose specificity is `at_least` or more.

    The rule is "yes at or above it" (see `decide`). It lies midway between two neighbouring scores; above the highest
    one where even that would call too many. NaN where the class is not estimable. Fit it on records that are not
    scored with it: what it gives elsewhere is near `at_least`, above or below.
    Raises UsageError unless `at_least` lies between 0 and 1, both excluded.
    """
    if not 0 < at_least < 1:
        raise UsageError("fit_threshold_specificity", "at_least", at_least, "between 0 and 1, both excluded")
    truth, score = _labels_and_scores(labels, scores)
    true, false, steps = _cuts(truth, score)
    if not steps.size or true[-1] == 0 or false[-1] == 0:
        return float("nan")
    # 0.95 leaves one false alarm in 20, though (1 - 0.95) * 20 is 1.0000000000000009 in floating point, or less than 1
    n_allowed = np.floor((1 - at_least) * false[-1] + 1e-9)
    allowed = int(np.searchsorted(false, n_allowed, side="right"))
    # of the steps that cost no further false alarm the last one that gains something, so that nothing is called in vain
    if allowed == 0 or true[allowed - 1] == 0:
        return float(np.nextafter(steps[0], np.inf, dtype=steps.dtype))
    return _below(steps, int(np.searchsorted(true, true[allowed - 1])))


def _below(steps: NDArray, chosen: int) -> float:
    """Return the middle between a step of the falling scores and the next one, or the step itself where it is last."""
    upper, lower = steps[chosen], steps[min(chosen + 1, steps.size - 1)]
    middle = lower + (upper - lower) / 2
    # beside neighbouring floats the middle may round to the lower, which would be called too
    return float(middle if middle > lower else upper)


def roc_points(labels: ArrayLike, scores: ArrayLike) -> RocPoints:
    """Return the ROC curve for drawing, each array [point]; rates are NaN where the class is not estimable."""
    truth, score = _labels_and_scores(labels, scores)
    true, false, steps = _cuts(truth, score)
    n_positive, n_negative = float(np.sum(truth == 1)), float(np.sum(truth == 0))
    both = np.asarray(n_positive > 0 and n_negative > 0)
    return RocPoints(
        _ratio(np.append(0.0, false), np.asarray(n_negative), both),
        _ratio(np.append(0.0, true), np.asarray(n_positive), both),
        np.append(np.inf, steps),
    )


def pr_points(labels: ArrayLike, scores: ArrayLike) -> PrPoints:
    """Return the precision-recall curve for drawing, each array [point]; NaN where the class is not estimable.

    Draw it as steps: the precision of a point holds back to the recall before it, and the area is then
    `average_precision`. A straight line between the points would show a precision that no threshold reaches.
    """
    truth, score = _labels_and_scores(labels, scores)
    true, false, steps = _cuts(truth, score)
    n_positive = float(np.sum(truth == 1))
    both = np.asarray(n_positive > 0 and bool(np.any(truth == 0)))
    recall = _ratio(np.append(0.0, true), np.asarray(n_positive), both)
    precision = _ratio(np.append(1.0, true), np.append(1.0, true + false), both)
    return PrPoints(recall, precision, np.append(np.inf, steps))


def _cuts(labels: Floats, scores: NDArray) -> tuple[Floats, Floats, NDArray]:
    """Return true and false positives at or above each distinct score, and those scores, falling: each [cut]."""
    known = np.flatnonzero(~np.isnan(labels))
    order = known[np.argsort(scores[known])[::-1]]
    ends = _run_ends(scores[order])
    true = np.cumsum(labels[order])[ends]
    return true, ends + 1.0 - true, scores[order][ends]


# -------------------------------------------------------------------------------------------------------- at the door


def _ratio(part: NDArray, whole: NDArray, estimable: NDArray) -> Floats:
    """Return part / whole, NaN where not estimable or the whole is zero. Arguments broadcast."""
    shape = np.broadcast_shapes(part.shape, whole.shape, estimable.shape)
    return np.divide(part, whole, out=np.full(shape, np.nan), where=estimable & (whole > 0))


def _labels_and_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, NDArray]:
    """Return labels as float64 and scores in their own floating type, both [record], or say what is wrong."""
    truth, score = np.asarray(labels, dtype=np.float64), np.asarray(scores)
    if not np.issubdtype(score.dtype, np.floating):
        score = score.astype(np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise UsageError("scores", "shape", score.shape, f"[record] as labels: {truth.shape}", "score one class")
    if not (np.isnan(truth) | (truth == 0) | (truth == 1)).all():
        raise InputError("labels", "values", "something else", "0, 1, or NaN for unknown")
    bad = ~np.isfinite(score) & ~np.isnan(truth)
    if bad.any():
        found = f"{bad.sum()} not finite, first at record {np.flatnonzero(bad)[0]}"
        raise InputError("scores", "values", found, "finite numbers", "find out why the network gave none")
    return truth, score


def _blocks(weights: NDArray | None, n_records: int) -> Iterator[NDArray]:
    """Give the weights [resample, record] in blocks of resamples; without weights every record counts once."""
    if weights is None:
        yield np.ones((1, n_records))
        return
    if weights.ndim != 2 or weights.shape[1] != n_records or not len(weights):
        raise UsageError("weights", "shape", weights.shape, f"[resample, record] with {n_records} records")
    rows = max(1, _BLOCK // max(1, n_records))
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows]
        # written as a denial so that NaN is caught too
        if not np.issubdtype(block.dtype, np.unsignedinteger) and not ((block >= 0) & (block < np.inf)).all():
            raise InputError("weights", "values", "negative or not finite", "0 or more")
        yield block
