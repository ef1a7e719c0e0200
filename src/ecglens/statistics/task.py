# SPDX-License-Identifier: Apache-2.0
"""What is to be scored, checked at the door: labels and scores by record and class, and whose record each is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import InputError, UsageError
from ecglens.statistics.metrics import Floats

MACRO = "macro"
FEW = 10  # patients on either side of a label below which a percentile bootstrap promises more than it knows


class Task(NamedTuple):
    """What is to be scored, checked: every array in the shape its name promises."""

    labels: Floats  # [record, class]
    scores: NDArray  # [record, class]
    patients: NDArray[np.intp]  # [record] number of the patient


def check_task(labels: ArrayLike, scores: ArrayLike, patient_ids: Any) -> Task:
    """Return labels and scores [record, class] and patient numbers [record], or say which does not fit."""
    truth, score = np.asarray(labels, dtype=np.float64), np.asarray(scores)
    if truth.ndim != 2 or not truth.shape[1]:
        raise UsageError("labels", "shape", truth.shape, "[record, class] with 1 class or more")
    if score.shape != truth.shape:
        raise UsageError("scores", "shape", score.shape, f"[record, class] as labels: {truth.shape}")
    patients = patient_numbers(patient_ids)
    if patients.size != len(truth):
        raise UsageError("patient_ids", "length", patients.size, f"one id for each of {len(truth)} records")
    return Task(truth, score, patients)


def with_and_without(labels: ArrayLike, people: Sequence[Hashable]) -> tuple[int, int]:
    """Return how many people have a record with the label (1), and one without it (0); NaN is unknown.

    >>> with_and_without([1, 0, 1, float("nan")], ["a", "a", "b", "c"])
    (2, 1)
    """
    has, lacks = ({p for p, value in zip(people, np.asarray(labels), strict=True) if value == side} for side in (1, 0))
    return len(has), len(lacks)


def patient_numbers(patient_ids: Any) -> NDArray[np.intp]:
    """Return the number of each record's patient, counted by sorted id so that the order of records is no matter."""
    ids = pd.Series(patient_ids).reset_index(drop=True)
    numbers, _ = pd.factorize(ids, sort=True)
    if not numbers.size:
        raise InputError("patient_ids", "length", 0, "1 or more records")
    if (numbers < 0).any():
        found = f"{int((numbers < 0).sum())} missing, first at record {int(np.argmax(numbers < 0))}"
        raise InputError("patient_ids", "values", found, "an id for every record", "give unknown patients an id each")
    return numbers.astype(np.intp)


def class_names(classes: Sequence[str]) -> list[str]:
    """Return the names as a list, or say which is taken."""
    names = [str(name) for name in classes]
    if MACRO in names or len(set(names)) < len(names):
        raise UsageError("classes", "names", ", ".join(names), f"names that differ, none of them {MACRO!r}")
    return names


def thresholds_of_classes(thresholds: Sequence[float | None] | None, n_classes: int) -> list[float]:
    """Return one threshold per class, NaN where there is none."""
    given: Sequence[float | None] = [None] * n_classes if thresholds is None else thresholds
    if len(given) != n_classes:
        raise UsageError("thresholds", "length", len(given), f"one for each of {n_classes} classes, or None")
    return [float("nan") if cut is None else float(cut) for cut in given]


def as_matrix(values: ArrayLike) -> NDArray:
    """Return [record, class]; a single class may come as [record]."""
    array = np.asarray(values)
    return array[:, None] if array.ndim == 1 else array
