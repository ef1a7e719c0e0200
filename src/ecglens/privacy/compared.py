# SPDX-License-Identifier: Apache-2.0
"""How alike the recordings of one fold are, and whose they are: what trials and ranks are counted from, and anew.

>>> people, alike = np.array([0, 1, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
>>> one, other = np.triu_indices(4, k=1)
>>> made = Compared(np.zeros(6), one, other, alike, np.array([0, 1]), np.array([2, 3]), people, np.array(list("aabb")))
>>> made.ranks().better.tolist(), int(made.trials().genuine.sum()), len(made.within("a").scores)
([0, 0], 2, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.statistics.identification import Ranked, ranked
from ecglens.statistics.people import numbered_on
from ecglens.statistics.verification import Trials

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Compared:
    """Similarities of the recordings of people never seen, with owners and databases.

    scores     how alike the two recordings of a pair are [pair]
    one, other numbers of those recordings [pair]
    between    how alike each probe and each recording of the gallery are [probe, template]
    enrolled   numbers of the recordings in the gallery [template]
    probes     ... that are looked for [probe]
    people     number of the owner of each recording [recording]
    databases  name of its database [recording]
    across     pairs are of a probe and a template alone; else every two recordings are a pair
    """

    scores: Floats
    one: Indices
    other: Indices
    between: Floats
    enrolled: Indices
    probes: Indices
    people: Indices
    databases: NDArray
    across: bool = False

    def trials(self) -> Trials:
        """Return the comparisons. Raises InputError where none is of one person, or none of two."""
        return Trials(self.scores, self.people[self.one], self.people[self.other])

    @property
    def known(self) -> NDArray[np.bool_]:
        """True where the owner is in the gallery [probe]."""
        return np.isin(self.people[self.probes], self.people[self.enrolled])

    def ranks(self, beside: tuple[Floats, Indices] | None = None) -> Ranked:
        """Return where the owner of each probe that is known stands.

        beside   how alike probes and further templates are [probe, further], and the people of these [further]
        """
        between, gallery, known = self.between, self.people[self.enrolled], self.known
        if beside is not None:
            between, gallery = np.concatenate([between, beside[0]], axis=1), np.concatenate([gallery, beside[1]])
        return ranked(between[known], self.people[self.probes][known], gallery)

    def within(self, database: str) -> Compared:
        """Return what is left where both recordings must be of one database."""
        here = self.databases == database
        pair, template, probe = here[self.one] & here[self.other], here[self.enrolled], here[self.probes]
        return replace(
            self, scores=self.scores[pair], one=self.one[pair], other=self.other[pair],
            between=self.between[np.ix_(probe, template)], enrolled=self.enrolled[template], probes=self.probes[probe],
        )  # fmt: skip

    def dealt(self, random: np.random.Generator, *, by_role: bool) -> Compared:
        """Return the same similarities with owners dealt out anew among recordings: each keeps as many as before.

        by_role   among those in the gallery and among those looked for apart, as ranks need, so that everybody keeps
                  a template; else among all, so that every pair may be of one person
        """
        people = self.people.copy()
        groups = (self.enrolled, self.probes) if by_role else (np.concatenate([self.enrolled, self.probes]),)
        for group in groups:
            people[group] = self.people[random.permutation(group)]
        return replace(self, people=people)


def all_trials(folds: Sequence[Compared]) -> Trials | None:
    """Return the comparisons of all folds as one; None where none is of one person, or none of two."""
    owners = numbered_on([np.stack([fold.people[fold.one], fold.people[fold.other]]) for fold in folds])
    numbers = np.unique(np.concatenate(owners, axis=1), return_inverse=True)[1].reshape(2, -1)
    same = numbers[0] == numbers[1]
    if not same.any() or same.all():
        return None
    return Trials(np.concatenate([fold.scores for fold in folds]), *numbers)
