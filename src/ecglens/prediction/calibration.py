# SPDX-License-Identifier: Apache-2.0
"""What is fitted on validation records once the weights stand: how sure the probabilities are, and where "yes" begins.

Two ways to calibrate. A temperature corrects how sure an output is and changes no ranking; it cannot correct the level,
and a network trained with weighted positives says "yes" too often on average. Platt scaling corrects both, with one
offset more per output.

A rule says where "yes" begins: `f1` (the largest F1) or `specificity-0.95` (the highest sensitivity at a specificity of
0.95 or more; any share).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from ecglens.bundle import Bundle, Output
from ecglens.errors import ContractError, FormatError, UsageError
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared
from ecglens.statistics.metrics import fit_threshold_f1, fit_threshold_specificity

METHODS = ("platt", "temperature")
RULES = ("f1", "specificity-0.90", "specificity-0.95")  # what a bundle is given thresholds for
_SPECIFICITY = "specificity-"
_LIMITS = (0.1, 10.0)  # of the temperature


class Scaling(NamedTuple):
    """How a logit becomes one that may be believed: logit / temperature + offset."""

    temperature: float
    offset: float


def fit_temperature(logits: np.ndarray, labels: np.ndarray, limits: tuple[float, float] = _LIMITS) -> float:
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


def fit_platt(logits: np.ndarray, labels: np.ndarray, limits: tuple[float, float] = _LIMITS) -> Scaling:
    """Return temperature and offset that minimise the cross-entropy of sigmoid(logits / T + offset).

    As Platt (1999) has it, the targets are (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0, so that records
    that the logits separate do not ask for infinite certainty. Arguments as in `fit_temperature`; (1, 0) where the
    labels hold only one class. The temperature stays within its limits, so no ranking is ever turned round.
    """
    known = ~np.isnan(labels)
    x, y = logits[known].astype(np.float64), labels[known]
    if len(np.unique(y)) < 2:
        return Scaling(1.0, 0.0)
    n_positive, n_negative = float(y.sum()), float((1 - y).sum())
    target = np.where(y == 1, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    spread = float(np.std(x)) or 1.0  # the search goes by slope * spread: no logit is too large for it

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = point[0] * x / spread + point[1]
        gap = expit(scaled) - target
        value = float(np.mean(np.logaddexp(0.0, scaled) - target * scaled))
        return value, np.array([np.mean(gap * x / spread), np.mean(gap)])

    slopes = (spread / limits[1], spread / limits[0])
    begin = np.array([np.clip(1.0, *slopes), 0.0])
    found = minimize(
        loss, begin, jac=True, method="L-BFGS-B", bounds=[slopes, (None, None)],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
    )  # fmt: skip
    return Scaling(float(np.clip(spread / found.x[0], *limits)), float(found.x[1]))


def fit_threshold(labels: np.ndarray, probabilities: np.ndarray, rule: str) -> float | None:
    """Return the threshold of one output by a rule (see the top), None where it cannot be fitted.

    labels, probabilities   [record]; labels 0, 1, NaN for unknown; from validation records only
    Raises UsageError for an unknown rule.
    """
    if rule == "f1":
        found = fit_threshold_f1(labels, probabilities)
    else:
        found = fit_threshold_specificity(labels, probabilities, _share_of(rule))
    return None if np.isnan(found) else found


def calibrate(bundle: Bundle, valid: Prepared, *, method: str = METHODS[0], rule: str = RULES[0]) -> Bundle:
    """Return the bundle with scaling and thresholds per output, fitted on validation records alone.

    method   platt or temperature; platt scales multilabel outputs, others keep to the temperature
    rule     of the thresholds that decide; those of all `RULES` are kept in `details["thresholds"]`, see `deciding_by`

    Raises UsageError for an unknown method or rule.
    """
    check_choice(method, rule)
    labels = valid.cohort.labels[list(bundle.classes)].to_numpy()
    raw = predict_raw(bundle, valid.signals)
    outputs = [_scaled(output, raw[:, k], labels[:, k], method) for k, output in enumerate(bundle.outputs)]
    scaled = replace(bundle, outputs=tuple(outputs))
    probabilities = scaled.activate(raw)
    thresholds = {
        each: {output.name: fit_threshold(labels[:, k], probabilities[:, k], each) for k, output in enumerate(outputs)}
        for each in dict.fromkeys((*RULES, rule))
    }
    details = {**bundle.details, "calibration": method, "thresholds": thresholds}
    return deciding_by(replace(scaled, details=details), rule)


def check_choice(method: str, rule: str) -> None:
    """Raise UsageError for a method of calibration, or a rule of thresholds, that there is not."""
    if method not in METHODS:
        raise UsageError("calibrate", "method", method, " or ".join(METHODS))
    if rule != "f1":
        _share_of(rule)


def deciding_by(bundle: Bundle, rule: str) -> Bundle:
    """Return the bundle with the thresholds of another rule, which its validation records chose when it was made.

    Raises ContractError where the bundle keeps none for the rule.
    """
    kept = thresholds_of(bundle)
    if rule not in kept:
        raise ContractError(
            bundle.name, "thresholds", f"none for {rule}", ", ".join(kept) or "none are kept in this bundle",
            "choose one of these, or calibrate it again on its validation records", kind="thresholds",
        )  # fmt: skip
    outputs = tuple(replace(output, threshold=kept[rule][output.name]) for output in bundle.outputs)
    return replace(bundle, outputs=outputs)


def thresholds_of(bundle: Bundle) -> dict[str, dict[str, float | None]]:
    """Return {rule: {output: threshold}} as validation chose them; bundles made before there were rules have none.

    Raises FormatError where a bundle keeps something else there.
    """
    kept = bundle.details.get("thresholds", {})
    try:
        found = {str(rule): {name: _number(each[name]) for name in bundle.classes} for rule, each in kept.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            bundle.name, "thresholds in details", repr(error), "{rule: {output: number or null}}", kind="config"
        ) from error
    return found


def _number(value: Any) -> float | None:
    if value is not None and not np.isfinite(value):
        raise ValueError(f"threshold {value}")
    return None if value is None else float(value)


def _scaled(output: Output, logits: np.ndarray, labels: np.ndarray, method: str) -> Output:
    if method == "platt" and output.kind == "multilabel":
        return replace(output, **fit_platt(logits, labels)._asdict())
    return replace(output, temperature=fit_temperature(logits, labels), offset=0.0)


def _share_of(rule: str) -> float:
    """Return 0.95 of `specificity-0.95`."""
    try:
        if rule.startswith(_SPECIFICITY) and 0 < (share := float(rule.removeprefix(_SPECIFICITY))) < 1:
            return share
    except ValueError:
        pass
    raise UsageError("thresholds", "rule", rule, _words(RULES), "for another share write specificity-0.99")


def _words(names: Sequence[str]) -> str:
    return ", ".join(names)
