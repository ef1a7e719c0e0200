# SPDX-License-Identifier: Apache-2.0
"""Which records of an explained cohort are averaged for a target, and into which groups they fall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.errors import InputError, UsageError
from ecglens.explainers.explained import ExplainedCohort
from ecglens.prediction.evaluate import people_of
from ecglens.statistics.least_group import LEAST_PATIENTS, LEAST_RECORDS, is_too_small

LABELLED, PREDICTED, TOP = "labelled", "predicted", "top100"
NORMAL = "NORM"
SELECTIONS = (LABELLED, PREDICTED, TOP)
N_TOP = 100
CORRECT = "correct"
COMPARISONS = ("sex", "age:YEARS", "device", "site", CORRECT)


@dataclass(frozen=True)
class Selection:
    """Records for one target: those that have a map, and with the reason those that would count but have none, and
    those that were left out before it could be told whether they count.
    """

    records: tuple[str, ...]
    excluded: Mapping[str, str]
    not_judged: Mapping[str, str]


@dataclass(frozen=True)
class Groups:
    """Two groups of records, in words and by name."""

    name: str
    a: str
    b: str
    of_a: tuple[str, ...]
    of_b: tuple[str, ...]


def select(
    explained: ExplainedCohort, cohort: Cohort, target: str, method: str, how: str = LABELLED, of: str = ""
) -> Selection:
    """Return the records of `target`, sorted by name: those that carry the label (1), are called so, or the 100 maps of
    the largest probability (ties by name). With `of`, the records of that class for the maps of `target`.

    Raises UsageError for another selection, or a target that is no class where a label is asked for.
    """
    if how not in SELECTIONS:
        raise UsageError("aggregate", "--select", how, ", ".join(SELECTIONS))
    if target not in explained.classes:
        raise UsageError("aggregate", "--target", target, f"all, or of {', '.join(explained.classes)}")
    mapped = set(explained.shares(target, method).index.astype(str))
    target = of or target
    if how == LABELLED:
        chosen = _labelled(explained, cohort, target)
    elif how == PREDICTED:
        chosen = explained.called(target)
    else:
        chosen = _most_probable(explained, target, mapped)
    reasons = _reasons(explained, method)
    without = {name: reasons.get(name, "not explained") for name in chosen if name not in mapped}
    judged = set(explained.records.index.astype(str))
    if how == LABELLED:
        judged |= set(cohort.labels.index[cohort.labels[target].notna()].astype(str))
    unknown = {name: why for name, why in reasons.items() if name not in judged}
    return Selection(tuple(sorted(name for name in chosen if name in mapped)), without, unknown)


def select_normal(explained: ExplainedCohort, cohort: Cohort, target: str, method: str) -> Selection | None:
    """Return the records labelled NORM and not `target`, which it is compared with; None where there is no such class,
    or it is the target.
    """
    if target == NORMAL or NORMAL not in cohort.classes or NORMAL not in explained.classes:
        return None
    normal = select(explained, cohort, target, method, of=NORMAL)
    ill = set(cohort.labels.index[cohort.labels[target] == 1].astype(str))
    without = {name: why for name, why in normal.excluded.items() if name not in ill}
    return Selection(tuple(name for name in normal.records if name not in ill), without, {})


def _most_probable(explained: ExplainedCohort, target: str, mapped: set[str]) -> list[str]:
    """Return the records of the largest probability, as many as it takes to have 100 with a map."""
    p = explained.records[f"probability {target}"].sort_index()
    ordered = p.index[np.argsort(-p.to_numpy(float), stable=True)].astype(str)
    has_map = np.array([name in mapped for name in ordered], dtype=int)
    return [str(name) for name in ordered[np.cumsum(has_map) - has_map < N_TOP]]


def _labelled(explained: ExplainedCohort, cohort: Cohort, target: str) -> list[str]:
    """Return who carries the label, also of those that could not be explained."""
    asked = set(explained.records.index.astype(str)) | set(_reasons(explained, None))
    carries = cohort.labels.index[cohort.labels[target] == 1].astype(str)
    return [name for name in carries if name in asked]


def _reasons(explained: ExplainedCohort, method: str | None) -> dict[str, str]:
    """Return why records have no map of `method` (None: of any), by name."""
    table = explained.excluded
    chosen = table if method is None else table[table["part"].isin(["loading", "preparing", method])]
    return {str(row.record_id): str(row.kind) for row in chosen.itertuples()}


def check_comparison(by: str, cohort: Cohort) -> None:
    """Raise UsageError for groups that are not known, InputError where nobody's is known in the whole cohort."""
    column = by.split(":")[0]
    if column == "age":
        _years(by)
    elif by not in COMPARISONS:
        raise UsageError(
            "aggregate", "--compare", by, f"{', '.join(COMPARISONS)}, or a run of `ecglens explain --data`"
        )
    if column != CORRECT and not cohort.metadata[column].notna().any():
        raise InputError("aggregate", "--compare", f"no {column} is known", f"a cohort whose metadata has {column}")


def group(by: str, explained: ExplainedCohort, cohort: Cohort, target: str, records: Sequence[str]) -> Groups:
    """Return two groups of `records`: by sex, age:YEARS, device or site (the most frequent against all others), or
    correct (called what they are labelled, or not).

    Who belongs to neither (sex unknown) is in none. Groups may be small, see `refuse_few`. Raises what
    `check_comparison` raises.
    """
    check_comparison(by, cohort)
    table = cohort.metadata.loc[list(records)]
    if by == "sex":
        return _split("sex", "female", "male", table["sex"] == "female", table["sex"] == "male")
    if by in ("device", "site"):
        return _by_most_frequent(by, table)
    if by != CORRECT:
        return _by_age(_years(by), table)
    own = explained.records.loc[list(records)]
    known = own[[f"call {target}", f"label {target}"]].notna().all(axis=1)
    right = own[f"call {target}"] == own[f"label {target}"]
    return _split(CORRECT, "called rightly", "called wrongly", known & right, known & ~right)


def refuse_few(name: str, records: Sequence[str], explained: ExplainedCohort) -> None:
    """Raise InputError where a group has fewer than 20 records or 10 patients."""
    n_patients = explained.records.loc[list(records), "patient"].nunique() if len(records) else 0
    if is_too_small(len(records), n_patients):
        raise _too_few(name, len(records), n_patients)


def refuse_few_labelled(cohort: Cohort, targets: Sequence[str]) -> None:
    """Raise InputError where none of the targets labels 20 records of 10 patients: whatever is left out later."""
    people, sizes = np.array(people_of(cohort), dtype=object), {}
    for name in targets:
        has = cohort.labels[name].to_numpy() == 1
        sizes[name] = int(has.sum()), len(set(people[has]))
    if sizes and all(is_too_small(*size) for size in sizes.values()):
        name = max(sizes, key=lambda one: sizes[one])
        raise _too_few(name, *sizes[name])


def _too_few(name: str, n_records: int, n_patients: int) -> InputError:
    return InputError(
        name, "group", f"{n_records} records of {n_patients} patients",
        f"at least {LEAST_RECORDS} records and {LEAST_PATIENTS} patients", "choose another target, group or --select",
        kind="too_few",
    )  # fmt: skip


def _split(name: str, a: str, b: str, in_a: pd.Series, in_b: pd.Series) -> Groups:
    first, second = (tuple(sorted(str(r) for r in inside.index[inside.astype(bool)])) for inside in (in_a, in_b))
    return Groups(name, a, b, first, second)


def _years(by: str) -> float:
    try:
        years = float(by.removeprefix("age:"))
    except ValueError:
        years = math.nan
    if not math.isfinite(years):
        raise UsageError("aggregate", "--compare", by, "age:YEARS, such as age:65")
    return years


def _by_age(years: float, table: pd.DataFrame) -> Groups:
    age = pd.to_numeric(table["age"], errors="coerce")
    return _split("age", f"{years:g} years and older", f"younger than {years:g}", age >= years, age < years)


def _by_most_frequent(by: str, table: pd.DataFrame) -> Groups:
    known = table[by].dropna().astype(str)
    counts = known.value_counts()
    most = min(counts.index[counts == counts.max()], default="unknown")
    return _split(by, f"{by} {most}", f"any other {by}", known == most, known != most)
