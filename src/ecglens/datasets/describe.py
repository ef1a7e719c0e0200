# SPDX-License-Identifier: Apache-2.0
"""What is in a cohort, as numbers: labels and how common they are, people, devices, and what is missing.

Nothing is read from the recordings here; that is `survey.py`.

>>> from ecglens.simulation.cohort import simulate_cohort
>>> about = describe_cohort(simulate_cohort(12))
>>> about.records, about.patients, about.labels, about.missing["age"]
(12, 9, {'NORM': 3, 'MI': 1, 'STTC': 3, 'CD': 2, 'HYP': 3}, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.preprocessing.prepare import describe_exclusions
from ecglens.statistics.proportion import proportion

FIELDS = ("patient_id", "age", "sex", "fold", "device", "site", "date")
OLDEST = 90  # ages from here on are one group: few people reach them, and data sets hide them (PTB-XL writes 300)
DECADES = tuple(range(0, OLDEST + 1, 10))  # lower ends of the age groups, in years
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Prevalence:
    """How common a label is among the records of which it is known.

    value, low, high     share of records, and its 95 % interval; None where no record is known
    n, n_positive        records of which the label is known, and that carry it
    n_patients, n_patients_positive   people behind them, and those who carry it in at least one record
    method               how the interval was made
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_positive: int
    n_patients: int
    n_patients_positive: int
    method: str


@dataclass(frozen=True)
class CoOccurrence:
    """How often two labels stand together.

    classes   in the order of rows and columns
    records   records that carry both [class, class]; the diagonal is the number that carry the one
    patients  people of whom at least one record carries both [class, class]
    """

    classes: tuple[str, ...]
    records: tuple[tuple[int, ...], ...]
    patients: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CohortDescription:
    """What is in a cohort. Counts are of records unless the name says otherwise.

    patients       a record whose patient is unknown counts as a person of its own; None where no patient is known
    age            min, median, max in years and how many are 90 or over; ages from 90 on count as 90
    age_groups     sex (or "unknown") -> records per age group; group i begins at DECADES[i] years
    missing        field -> records that lack it; `labels`: of which no label at all is known
    contradictions sex, fold -> people whose records disagree on it
    excluded       kind -> records that the loader left out
    """

    name: str
    records: int
    patients: int | None
    label_rule: str
    labels: dict[str, int]
    prevalence: dict[str, Prevalence]
    labels_per_record: dict[str, int]
    co_occurrence: CoOccurrence
    unlabelled: int
    records_per_patient: dict[str, int]
    sex: dict[str, int]
    age: dict[str, float]
    age_groups: dict[str, tuple[int, ...]]
    devices: dict[str, int]
    sites: dict[str, int]
    folds: dict[int, int]
    missing: dict[str, int]
    contradictions: dict[str, int]
    excluded: dict[str, int]
    citation: str

    def as_dict(self) -> dict[str, Any]:
        """Return the description as it stands in JSON."""
        return asdict(self)


def describe_cohort(cohort: Cohort) -> CohortDescription:
    """Count what is in a cohort, from its tables alone: no recording is read."""
    people, metadata, labels = _people(cohort), cohort.metadata, cohort.labels.to_numpy(float)
    unlabelled = np.isnan(labels).all(axis=1)  # holds for every record where there are no classes
    prevalence = {name: _prevalence(labels[:, k], people) for k, name in enumerate(cohort.classes)}
    ages = pd.to_numeric(metadata["age"], errors="coerce").clip(upper=OLDEST)
    return CohortDescription(
        name=cohort.name,
        records=len(cohort),
        patients=None if metadata["patient_id"].isna().all() else cohort.n_patients,
        label_rule=cohort.label_rule,
        labels={name: found.n_positive for name, found in prevalence.items()},
        prevalence=prevalence,
        labels_per_record=_sizes((labels[~unlabelled] == 1).sum(axis=1)),
        co_occurrence=_co_occurrence(cohort.classes, labels == 1, people),
        unlabelled=int(unlabelled.sum()),
        records_per_patient=_sizes(np.bincount(people, minlength=1)) if len(cohort) else {},
        sex=_counts(metadata["sex"]),
        age=_ages(ages.dropna()),
        age_groups=_age_groups(ages, metadata["sex"]),
        devices=_counts(metadata["device"]),
        sites=_counts(metadata["site"]),
        folds=_folds(metadata["fold"]),
        missing={name: _lacking(metadata, name) for name in FIELDS} | {"labels": int(unlabelled.sum())},
        contradictions={name: _disagreeing(metadata[name], people) for name in ("sex", "fold")},
        excluded=describe_exclusions(cohort.excluded),
        citation=cohort.citation,
    )  # fmt: skip


def _people(cohort: Cohort) -> np.ndarray:
    """Return a number per person [record]; a record whose person is unknown is a person of its own."""
    keys = [("record", i) if key is None else ("patient", key) for i, key in enumerate(cohort.patient_keys)]
    number: dict[tuple[str, Any], int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], int)


def _prevalence(column: np.ndarray, people: np.ndarray) -> Prevalence:
    found = proportion(column, people.tolist()).as_dict()
    positive = column == 1
    return Prevalence(
        n_positive=int(positive.sum()), n_patients_positive=len(np.unique(people[positive])), **found
    )  # fmt: skip


def _co_occurrence(classes: Sequence[str], carried: np.ndarray, people: np.ndarray) -> CoOccurrence:
    """Count pairs. `carried` is True where a record carries a class [record, class]."""
    numbers = carried.astype(np.int64)
    by_patient = np.zeros((len(classes), len(classes)), int)
    for row in range(len(classes)):
        # People among whose records that carry this class at least one carries the other.
        chosen = carried[:, row]
        table = pd.DataFrame(carried[chosen]).groupby(people[chosen]).any()
        by_patient[row] = table.sum().to_numpy(int)
    return CoOccurrence(tuple(classes), _rows(numbers.T @ numbers), _rows(by_patient))


def _rows(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in matrix)


def _sizes(values: np.ndarray) -> dict[str, int]:
    """Return how often each number from the smallest to the largest occurs.

    >>> _sizes(np.array([1, 3, 1]))
    {'1': 2, '2': 0, '3': 1}
    """
    if not len(values):
        return {}
    return {str(k): int((values == k).sum()) for k in range(int(values.min()), int(values.max()) + 1)}


def _counts(column: pd.Series) -> dict[str, int]:
    """Return how often each known value occurs, most frequent first, alphabetically among equals."""
    counts = column.dropna().astype(str).value_counts()
    return {str(name): int(n) for name, n in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))}


def _folds(column: pd.Series) -> dict[int, int]:
    """Return how many records each fold holds, in their order."""
    counts = column.dropna().astype(int).value_counts().sort_index()
    return {int(str(fold)): int(n) for fold, n in counts.items()}


def _ages(ages: pd.Series) -> dict[str, float]:
    """Return the ages in a few numbers; nothing where none is known."""
    if not len(ages):
        return {}
    told: dict[str, float] = {"min": float(ages.min()), "median": float(ages.median()), "max": float(ages.max())}
    return told | {"over_89": int((ages >= OLDEST).sum())}


def _age_groups(ages: pd.Series, sex: pd.Series) -> dict[str, tuple[int, ...]]:
    """Return records of known age per group of ten years, by sex."""
    known = ages.notna().to_numpy()
    decade = np.minimum(ages[known].to_numpy(float) // 10, len(DECADES) - 1).astype(int)
    whose = sex[known].fillna(UNKNOWN).astype(str).to_numpy()
    names = sorted(set(whose), key=lambda name: (name == UNKNOWN, name))
    return {name: tuple(np.bincount(decade[whose == name], minlength=len(DECADES)).tolist()) for name in names}


def _lacking(metadata: pd.DataFrame, field: str) -> int:
    return int(metadata[field].isna().sum()) if field in metadata else len(metadata)


def _disagreeing(column: pd.Series, people: np.ndarray) -> int:
    """Return of how many people the records give more than one value."""
    return int((column.groupby(people).nunique() > 1).sum())
