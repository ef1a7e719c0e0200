# SPDX-License-Identifier: Apache-2.0
"""Which classes there are patients enough for, to be learned and to be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ecglens.cohort import Cohort
from ecglens.errors import TableError
from ecglens.prediction.evaluate import people_of

TRAIN = "train"


def learnable(cohort: Cohort, splits: Sequence[Mapping[str, Cohort]], min_patients: int = 0) -> Cohort:
    """Return the cohort with the classes only that every part can learn or score; the label rule names the others.

    splits        the parts, by name, of each network to be trained: all are to have the same outputs
    min_patients  how many patients with the class every part `train` is to have; who has no patient id is one each
    """
    rare = {name for parts in splits for name, n in n_patients_with(parts[TRAIN]).items() if n < min_patients}
    empty = {name for parts in splits for part in parts.values() for names in unlearnable(part) for name in names}
    if rare | empty >= set(cohort.classes):
        return cohort  # nothing left: the usual check says so
    rule = cohort.label_rule
    for gone, why in ((rare, f"fewer than {min_patients} training patients"), (empty - rare, "too few")):
        if gone:
            rule += f"; without {', '.join(name for name in cohort.classes if name in gone)} ({why})"
    kept = [name for name in cohort.classes if name not in rare | empty]
    return replace(cohort, labels=cohort.labels[kept], label_rule=rule)


def n_patients_with(part: Cohort) -> dict[str, int]:
    """Return how many patients have each class."""
    people = np.array(people_of(part), dtype=object)
    return {str(name): len(set(people[(part.labels[name] == 1).to_numpy()])) for name in part.classes}


def unlearnable(part: Cohort) -> tuple[list[str], list[str]]:
    """Return the classes that nobody has, and those that everybody has."""
    nobody = [str(c) for c in part.classes if not (part.labels[c] == 1).any()]
    everybody = [str(c) for c in part.classes if not (part.labels[c] == 0).any()]
    return nobody, everybody


def refuse_unlearnable(name: str, part: Cohort) -> None:
    """Raise TableError where the part `name` has no records or a class that cannot be learned or scored."""
    if not part.classes:
        raise TableError(
            part.name, "labels", f"none ({part.label_rule})", "at least one class to learn",
            "choose a data set with labels", kind="labels",
        )  # fmt: skip
    nobody, everybody = unlearnable(part)
    if len(part) == 0 or nobody or everybody:
        found = f"nobody with {', '.join(nobody)}" if nobody else f"nobody without {', '.join(everybody)}"
        raise TableError(
            part.name, f"{name} part", found if len(part) else "no records",
            "at least one record with and one without each class",
            "choose another task, more data, or leave such classes out (--drop-empty-classes, --min-patients)",
            kind="no_positives" if nobody else "no_negatives",
        )  # fmt: skip
