# SPDX-License-Identifier: Apache-2.0
"""Whether a probability may be taken at its word: of those told 0.4, do 40 in 100 have it?

Brier score          mean of (probability - label) squared; says how far off, lower is better, and its trivial
                     reference p (1 - p) is what the prevalence p said to everyone would get (Brier 1950)
slope, intercept     of the logistic recalibration log odds = intercept + slope * logit (Cox 1958): 1 and 0 are right;
                     a slope below 1 is too sure, above 1 too timid
level                the intercept where the slope is held at 1 ("calibration in the large"): below 0 means that the
                     probabilities are too high on average (Van Calster et al., BMC Medicine 17 (2019) 230)
reliability curve    the share with the label in bins that hold equally many records
expected calibration error   mean gap of that curve. It is above 0 for a perfect network too, by chance, and the more
                     so the fewer the records: it is told beside what a perfect one would get

Probabilities of exactly 0 or 1 count as 1e-12 away from it where a logit is needed.

>>> logits = np.linspace(-3, 3, 2001)
>>> labels = (np.random.default_rng(0).random(2001) < 1 / (1 + np.exp(-(1 + 0.5 * logits)))).astype(float)
>>> intercept, slope = recalibration(labels, logits)
>>> bool(abs(intercept[0] - 1) < 0.15), bool(abs(slope[0] - 0.5) < 0.1)
(True, True)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ecglens.errors import InputError, UsageError
from ecglens.statistics.bootstrap import MIN_PATIENTS, interval, patient_weights
from ecglens.statistics.metrics import Floats
from ecglens.statistics.proportion import proportion

METRICS = ("brier", "brier_skill", "slope", "intercept", "level", "mean_probability", "ece")
COLUMNS = (
    "class", "metric", "value", "low", "high", "n", "n_positive", "n_patients", "reference", "method",
)  # fmt: skip
MAX_BINS, MIN_PER_BIN = 10, 25
N_PERFECT = 500  # draws of labels that the probabilities themselves would make, for the reference of the error
_EDGE = 1e-12
_BLOCK = 2**15  # elements of a block of resamples: small enough to stay in the cache through a Newton step
_STEPS, _LARGEST = 60, 25.0  # Newton steps; a slope beyond this many deviations means that nothing holds it back


class Bin(NamedTuple):
    """One point of a reliability curve: what was said on average, what was so, on how many records."""

    mean_probability: float
    observed: float
    low: float
    high: float
    n: int
    n_positive: int
    n_patients: int


class _Known(NamedTuple):
    """The records of one class whose label is known."""

    labels: Floats
    probabilities: Floats
    people: list[Hashable]

    @property
    def prevalence(self) -> float:
        return float(self.labels.mean()) if self.labels.size else float("nan")

    def why_not_estimable(self) -> str:
        """Say which patients are too few. Empty where a figure can be made."""
        for value, sign in ((1, "+"), (0, "-")):
            n = len({person for person, label in zip(self.people, self.labels, strict=True) if label == value})
            if n < MIN_PATIENTS:
                return f"not estimable (n{sign} from {n} of at least {MIN_PATIENTS} patients)"
        return ""


# -------------------------------------------------------------------------------------------------------- figures


def brier(labels: ArrayLike, probabilities: ArrayLike, weights: NDArray | None = None) -> Floats:
    """Return the Brier score [resample]: the weighted mean of (probability - label) squared.

    labels, probabilities   [record], no NaN
    weights                 [resample, record], None for one resample of all records
    """
    truth, said = np.asarray(labels, float), np.asarray(probabilities, float)
    return _weighted_mean(np.square(said - truth), weights)


def recalibration(
    labels: ArrayLike, logits: ArrayLike, weights: NDArray | None = None, *, slope: float | None = None
) -> tuple[Floats, Floats]:
    """Return (intercept, slope), each [resample], of the logistic regression of the labels on the logits.

    labels, logits   [record], no NaN
    weights          [resample, record], None for one resample of all records
    slope            hold the slope at this value and fit the intercept alone

    NaN where a resample lacks positives or negatives, or where the logits separate them or are all the same, so that
    no slope is the best. Newton's method, all resamples at once, on standardised logits.
    """
    x, y = np.asarray(logits, float), np.asarray(labels, float)
    if x.shape != y.shape or x.ndim != 1:
        raise UsageError("recalibration", "logits", f"shape {x.shape}", f"[record] as labels: {y.shape}")
    centre, spread = float(x.mean()), float(x.std()) or 1.0
    if slope is None and np.ptp(x) == 0:
        none = np.full(1 if weights is None else len(weights), np.nan)
        return none, none.copy()
    held, scaled = None if slope is None else slope * spread, (x - centre) / spread
    start = _newton(y, scaled, np.ones((1, x.size)), held, (0.0, held or 0.0))
    near = (float(np.nan_to_num(start[0][0])), float(np.nan_to_num(start[1][0])))
    parts = [_newton(y, scaled, block, held, near) for block in _blocks(weights, x.size)]
    a, b = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    return a - b * centre / spread, b / spread


def _newton(
    y: Floats, x: Floats, weights: Floats, held: float | None, start: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Fit intercept and slope [resample] on standardised x; steps are capped, so that none overshoots."""
    positive, total = weights @ y, weights.sum(axis=1)
    both = (positive > 0) & (positive < total)
    a, b = np.full(len(weights), start[0]), np.full(len(weights), start[1])
    done = np.zeros(len(weights), bool)
    powers = np.stack([np.ones(x.size), x, x * x], axis=1)
    observed = weights @ (y[:, None] * powers[:, :2])
    for _ in range(_STEPS):
        p = expit(a[:, None] + b[:, None] * x)
        expected = weights * p
        g0, g1 = (observed - expected @ powers[:, :2]).T
        h00, h01, h11 = ((expected - expected * p) @ powers).T
        if held is None:
            det = np.maximum(h00 * h11 - h01**2, 1e-300)
            step_a, step_b = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        else:
            step_a, step_b = g0 / np.maximum(h00, 1e-300), np.zeros(len(weights))
        size = np.maximum(np.abs(step_a), np.abs(step_b))
        damp = np.minimum(1.0, 1.0 / np.maximum(size, 1e-300))
        a, b = a + damp * step_a, b + damp * step_b
        done = size < 1e-8
        if done[both].all():
            break
    usable = both & done & (np.abs(b) < _LARGEST if held is None else True)
    return np.where(usable, a, np.nan), np.where(usable, b, np.nan)


def reliability_curve(
    labels: ArrayLike, probabilities: ArrayLike, patient_ids: Sequence[Hashable], n_bins: int | None = None
) -> list[Bin]:
    """Return the reliability curve of one class: bins of equally many records, by rising probability.

    labels          [record] 0, 1, NaN for unknown, which leaves the record out
    n_bins          None: ten, or fewer, so that each holds about 25 records or more. Equal probabilities are never
                    parted, so there may be fewer
    Each share has the interval of `proportion`: Wilson's, with as many records as the spread between patients leaves
    independent. Resampling patients would give no width to a bin in which nobody has the label.
    """
    return [_bin(part) for part in _bins(_known(labels, probabilities, patient_ids), n_bins)]


def calibration_table(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    patient_ids: Sequence[Hashable],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return every figure of calibration of every class: the columns `COLUMNS`, a row per class and metric.

    labels, probabilities   [record, class]; labels 0, 1, NaN for unknown
    patient_ids             [record]
    `reference` is what the value is to be held against: for `brier` p (1 - p) with the prevalence p; for
    `brier_skill` (1 - brier / reference) 0; for `slope` 1; for `intercept` and `level` 0; for `mean_probability` the
    prevalence; for `ece` what a perfectly calibrated network would get on average with as many records.
    Intervals are percentiles over resampled patients; `ece` has none, since resampling adds to its bias.

    Raises UsageError on shapes that differ, InputError on probabilities outside 0 to 1.
    """
    truth, said = np.asarray(labels, float), np.asarray(probabilities, float)
    if truth.ndim != 2 or truth.shape != said.shape or truth.shape != (len(patient_ids), len(classes)):
        found = f"labels {truth.shape}, probabilities {said.shape}, {len(patient_ids)} ids, {len(classes)} classes"
        raise UsageError("calibration_table", "shapes", found, "[record, class] and one id per record")
    weights = patient_weights(patient_ids, n_resamples, seed)
    rows = []
    for k, name in enumerate(classes):
        rows += _class_rows(str(name), _known(truth[:, k], said[:, k], patient_ids), weights[:, ~np.isnan(truth[:, k])],
                            level, seed)  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


# ------------------------------------------------------------------------------------------------------ one class


def _class_rows(name: str, known: _Known, weights: NDArray, level: float, seed: int) -> list[dict[str, Any]]:
    reason = known.why_not_estimable()
    counts = {
        "n": int(known.labels.size),
        "n_positive": int(known.labels.sum()),
        "n_patients": len(set(known.people)),
    }
    if reason:
        nothing = dict.fromkeys(("value", "low", "high", "reference"), float("nan"))
        return [{"class": name, "metric": m, "method": reason} | nothing | counts for m in METRICS]
    values, references = _figures(known), _references(known, seed)
    resampled = _figures(known, weights)
    rows = []
    for metric in METRICS:
        drawn = resampled.get(metric)
        low, high, usable = interval(drawn if drawn is not None else [], level)
        words = f"{100 * level:g} % percentile interval, {usable} of {len(weights)} patient resamples usable"
        if metric == "ece":
            words = f"no interval: biased upwards; the reference is the mean over {N_PERFECT} perfect networks"
        elif np.isnan(values[metric][0]):
            words, low, high = "not estimable (the logits separate the labels)", np.nan, np.nan
        figures = {"value": float(values[metric][0]), "low": low, "high": high, "reference": references[metric]}
        rows.append({"class": name, "metric": metric, "method": words} | figures | counts)
    return rows


def _figures(known: _Known, weights: NDArray | None = None) -> dict[str, Floats]:
    """Return the figures [resample] of one class; the calibration error only as it stands."""
    logits = _logit(known.probabilities)
    score, prevalence = brier(known.labels, known.probabilities, weights), _weighted_mean(known.labels, weights)
    trivial = prevalence * (1 - prevalence)
    skill = 1 - np.divide(score, trivial, out=np.full(score.shape, np.nan), where=trivial > 0)
    intercept, slope = recalibration(known.labels, logits, weights)
    level, _ = recalibration(known.labels, logits, weights, slope=1.0)
    said = _weighted_mean(known.probabilities, weights)
    figures = {"brier": score, "brier_skill": skill, "slope": slope, "intercept": intercept, "level": level}
    figures["mean_probability"] = said
    return figures if weights is not None else figures | {"ece": np.array([_error(known)])}


def _references(known: _Known, seed: int) -> dict[str, float]:
    p, generator = known.prevalence, np.random.default_rng(seed)
    parts = _bins(known, None)
    gaps = np.zeros(N_PERFECT)
    for part in parts:
        drawn = generator.random((N_PERFECT, part.labels.size)) < part.probabilities
        gaps += np.abs((drawn - part.probabilities).sum(axis=1))
    perfect = float(np.mean(gaps) / known.labels.size)
    return {"brier": p * (1 - p), "brier_skill": 0.0, "slope": 1.0, "intercept": 0.0, "level": 0.0,
            "mean_probability": p, "ece": perfect}  # fmt: skip


def _error(known: _Known) -> float:
    """Return the expected calibration error over equal-mass bins."""
    return float(sum(abs((part.labels - part.probabilities).sum()) for part in _bins(known, None)) / known.labels.size)


def _bins(known: _Known, n_bins: int | None) -> list[_Known]:
    """Part the records at quantiles of the probability, equal probabilities together; empty bins are none."""
    if not known.labels.size:
        return []
    wanted = n_bins or min(MAX_BINS, max(2, known.labels.size // MIN_PER_BIN))
    edges = np.quantile(known.probabilities, np.linspace(0, 1, wanted + 1))
    number = np.searchsorted(edges[1:-1], known.probabilities)
    parts = [np.flatnonzero(number == k) for k in range(wanted)]
    return [
        _Known(known.labels[i], known.probabilities[i], [known.people[int(j)] for j in i]) for i in parts if i.size
    ]  # fmt: skip


def _bin(part: _Known) -> Bin:
    share = proportion(part.labels, part.people)
    return Bin(
        float(part.probabilities.mean()), share.value, share.low, share.high, share.n, int(part.labels.sum()),
        share.n_patients,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- at the door


def _known(labels: ArrayLike, probabilities: ArrayLike, patient_ids: Sequence[Hashable]) -> _Known:
    truth, said = np.asarray(labels, float), np.asarray(probabilities, float)
    if truth.ndim != 1 or truth.shape != said.shape or truth.shape != (len(patient_ids),):
        found = f"labels {truth.shape}, probabilities {said.shape}, {len(patient_ids)} ids"
        raise UsageError("reliability", "shapes", found, "[record] alike, one id per record")
    known = np.flatnonzero(~np.isnan(truth))
    truth, said = truth[known], said[known]
    if not np.isin(truth, (0.0, 1.0)).all():
        raise InputError("labels", "values", "something else", "0, 1, or NaN for unknown")
    if not ((said >= 0) & (said <= 1)).all():
        raise InputError("probabilities", "values", "outside 0 to 1, or not finite", "0 to 1")
    return _Known(truth, said, [patient_ids[int(i)] for i in known])


def _logit(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return np.log(clipped) - np.log1p(-clipped)


def _weighted_mean(values: Floats, weights: NDArray | None) -> Floats:
    if weights is None:
        return np.array([values.mean()])
    total = weights.sum(axis=1, dtype=np.float64)
    summed = np.concatenate([block @ values for block in _blocks(weights, values.size)])
    return np.divide(summed, total, out=np.full(len(weights), np.nan), where=total > 0)


def _blocks(weights: NDArray | None, n_records: int) -> Iterator[Floats]:
    """Give the weights in blocks of resamples as float64, so that memory does not grow with the resamples."""
    if weights is None:
        yield np.ones((1, n_records))
        return
    rows = max(1, _BLOCK // max(1, n_records))
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows].astype(np.float64)
