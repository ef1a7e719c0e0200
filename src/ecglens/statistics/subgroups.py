# SPDX-License-Identifier: Apache-2.0
"""Does it do as well for women as for men, for the old as for the young, on each device and at each site?

A cell with fewer than `FEW` patients who have the label, or who lack it, is said to be too small and is not scored: its
interval would promise more than it knows.

>>> age_groups([39.0, 40, 74.9, 90, np.nan]).tolist()
['under 40', '40 to 59', '60 to 74', '75 and over', 'unknown']
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecglens.statistics.bootstrap import score_table
from ecglens.statistics.task import FEW, MACRO, with_and_without

AXES = ("sex", "age", "device", "site")
METRICS = ("auroc", "sensitivity", "specificity")
COLUMNS = (
    "by", "group", "class", "metric", "value", "low", "high", "n", "n_positive", "n_patients", "method",
)  # fmt: skip
UNKNOWN = "unknown"
_AGES = ((40, "under 40"), (60, "40 to 59"), (75, "60 to 74"), (np.inf, "75 and over"))


def age_groups(ages: ArrayLike) -> NDArray:
    """Return the age group of each age in years, `unknown` for NaN."""
    years = np.asarray(ages, float)
    names = np.array([*(name for _, name in _AGES), UNKNOWN], dtype=object)
    place = np.searchsorted([limit for limit, _ in _AGES], years, side="right")
    return names[np.where(np.isnan(years), len(_AGES), np.minimum(place, len(_AGES) - 1))]


def subgroup_table(
    labels: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[str],
    patient_ids: Sequence[Hashable],
    metadata: pd.DataFrame,
    thresholds: Sequence[float | None] | None = None,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return AUROC, sensitivity and specificity of each class in each group: the columns `COLUMNS`, tidy.

    labels, scores   [record, class]; labels 0, 1, NaN for unknown
    metadata         the columns sex, age (years), device, site; what is missing or the same for all makes no groups
    thresholds       [class], as in `score_table`
    Intervals are 95 %, by resampling the patients of the group. Rows of class `macro` stand only where every class of
    the group was scored, since averages over different classes do not compare.
    Many cells are looked at together: one in twenty misses its interval by chance.
    """
    truth, said, people = np.asarray(labels, float), np.asarray(scores), list(patient_ids)
    rows: list[dict[str, Any]] = []
    for by, group, members in groups_of(metadata):
        inside = [people[i] for i in members]
        cell = truth[members]
        small = [k for k in range(len(classes)) if _too_small(cell[:, k], inside)]
        fit = [k for k in range(len(classes)) if k not in small]
        cuts = None if thresholds is None else [thresholds[k] for k in fit]
        scored: dict[tuple[str, str], dict[str, Any]] = {}
        if fit:
            table = score_table(cell[:, fit], said[members][:, fit], [classes[k] for k in fit], inside, cuts,
                                n_resamples=n_resamples, seed=seed)  # fmt: skip
            for row in table.to_dict("records"):
                scored[str(row["class"]), str(row["metric"])] = {str(key): value for key, value in row.items()}
        for k, name in enumerate(classes):
            told = [scored[name, m] for m in METRICS] if k in fit else _unscored(name, cell[:, k], inside)
            rows += [{"by": by, "group": group} | row for row in told]
        if not small:
            rows += [{"by": by, "group": group} | scored[MACRO, m] for m in METRICS]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def groups_of(metadata: pd.DataFrame) -> Iterator[tuple[str, str, NDArray[np.intp]]]:
    """Yield (axis, group, positions of its records), the largest group first, ages in their order."""
    for by in AXES:
        column = metadata[by] if by in metadata else pd.Series([None] * len(metadata))
        if by == "age":
            names = age_groups(pd.to_numeric(column, errors="coerce"))
            order = [name for _, name in _AGES] + [UNKNOWN]
        else:
            names = np.array([UNKNOWN if pd.isna(v) else " ".join(str(v).split()) for v in column], dtype=object)
            order = [str(name) for name in pd.Series(names).value_counts().index]
        present = [name for name in order if (names == name).any()]
        if len(present) > 1:
            for name in present:
                yield by, name, np.flatnonzero(names == name)


def _too_small(labels: NDArray, people: Sequence[Hashable]) -> bool:
    return min(with_and_without(labels, people)) < FEW


def _unscored(name: str, labels: NDArray, people: Sequence[Hashable]) -> list[dict[str, Any]]:
    """Return the rows of a cell that is too small to be scored."""
    known = ~np.isnan(labels)
    counts = {"n": int(known.sum()), "n_positive": int((labels == 1).sum())}
    counts["n_patients"] = len({p for p, k in zip(people, known, strict=True) if k})
    nothing = dict.fromkeys(("value", "low", "high"), float("nan"))
    words = f"too small: fewer than {FEW} patients with the label, or without"
    return [{"class": name, "metric": m, "method": words} | nothing | counts for m in METRICS]
