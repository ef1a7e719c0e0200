# SPDX-License-Identifier: Apache-2.0
"""Which concepts and classes can be asked about on a cohort, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.concepts.association import same_as
from ecglens.concepts.definition import Concept
from ecglens.concepts.matching import matched_weights, strata_of
from ecglens.statistics.least_group import LEAST_PATIENTS, LEAST_RECORDS, is_too_small


@dataclass(frozen=True)
class LeftOut:
    """A class or a concept that is not asked about: which, a word that does not change, and the sentence."""

    what: str
    name: str
    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class Group:
    """One concept on a cohort.

    members      1 has it, 0 has it not, NaN cannot be told [record]
    strata       number of the stratum [record]
    matched_on   what records of one stratum share
    """

    concept: Concept
    members: np.ndarray
    strata: np.ndarray
    matched_on: tuple[str, ...]

    def as_dict(self, people: np.ndarray) -> dict[str, object]:
        """Return the concept and its counts as they stand in JSON; `people` is the number of the person [record]."""
        used = matched_weights(self.members, self.strata)
        return {
            "concept": self.concept.name, "about": self.concept.about, "rule": self.concept.text,
            "n_with": int((self.members == 1).sum()), "n_without": int((self.members == 0).sum()),
            "n_unknown": int(np.isnan(self.members).sum()),
            "n_patients_with": len(set(people[self.members == 1])), "matched_on": list(self.matched_on),
            "n_matched": int((used > 0).sum()),
        }  # fmt: skip


def groups_of(
    cohort: Cohort, values: pd.DataFrame, concepts: Sequence[Concept], people: np.ndarray
) -> tuple[list[Group], list[LeftOut]]:
    """Return the concepts that can be asked about, and the others; `values` [record, variable] as rules read them."""
    groups, left_out = [], []
    rows = values.loc[list(cohort.record_ids)]
    for concept in concepts:
        strata, shared = strata_of(cohort, concept.personal)
        group = Group(concept, concept.members(rows), strata, shared)
        complaint = _complaint(cohort, group, people)
        if complaint:
            left_out.append(complaint)
        else:
            groups.append(group)
    return groups, left_out


def classes_of(
    cohort: Cohort, classes: Sequence[str], scored: np.ndarray, people: np.ndarray
) -> tuple[list[str], list[LeftOut]]:
    """Return the classes that enough records at the places `scored` have, and the others."""
    chosen, small = [], []
    for name in classes:
        has = cohort.labels[name].to_numpy()[scored] == 1
        n, n_people = int(has.sum()), len(set(people[scored][has]))
        if is_too_small(n, n_people):
            small.append(LeftOut("class", name, kind="too_few", reason=f"class {name}: {_few(n, n_people)}"))
        else:
            chosen.append(name)
    return chosen, small


def _complaint(cohort: Cohort, group: Group, people: np.ndarray) -> LeftOut | None:
    """Return what forbids to ask about a concept, None where nothing does."""
    members, name = group.members, group.concept.name
    if not (members == 1).any():
        reason = f"concept {name}: no record has it, {int((members == 0).sum()):,} have it not"
        return LeftOut("concept", name, kind="empty_concept", reason=reason)
    label = same_as(cohort.labels, members)
    if label:
        reason = f"concept {name}: it is the label {label}: the network would be asked about its own class"
        return LeftOut("concept", name, kind="concept_is_label", reason=reason)
    used = matched_weights(members, group.strata) != 0
    for value, word in ((1, "with it"), (0, "without it")):
        for chosen, alike in ((members == value, ""), ((members == value) & used, f", alike in {_listed(group)}")):
            n, n_people = int(chosen.sum()), len(set(people[chosen]))
            if is_too_small(n, n_people):
                reason = f"concept {name}: {word}{alike}: {_few(n, n_people)}"
                return LeftOut("concept", name, kind="too_few", reason=reason)
    return None


def _listed(group: Group) -> str:
    return ", ".join(group.matched_on) or "nothing"


def _few(n: int, n_people: int) -> str:
    return f"{n} records of {n_people} patients, needs {LEAST_RECORDS} of {LEAST_PATIENTS}"
