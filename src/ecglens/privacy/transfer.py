# SPDX-License-Identifier: Apache-2.0
"""Whether people of one database are told apart by what was learnt on the others: leave one database out.

A plain model (logistic regression on how far apart two recordings are in each band of their spectrum), so that every
run has it. Strangers it learns from are always of one database: those of two are told apart by their recorder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.privacy.known_people import FEWEST
from ecglens.privacy.unveiled import Readable, fit_readable, pair_features, pairs_to_learn
from ecglens.statistics.figures import as_json
from ecglens.statistics.identification import chance
from ecglens.statistics.verification import Trials, verification

_STRANGERS = 20_000  # comparisons of strangers drawn where there are more
_RECORDINGS = 2_000  # of a database that are compared, at most

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Pairs = tuple[Indices, Indices]


@dataclass(frozen=True, eq=False)
class _Recordings:
    """What is compared: features [recording, feature], whose each is, its database, and the half its person is in."""

    features: Floats
    people: NDArray
    databases: NDArray
    half: Indices

    @classmethod
    def of(cls, features: Floats, table: pd.DataFrame, seed: int) -> _Recordings:
        owners = table.groupby("recording", sort=True)[["person", "database"]].first()
        means = pd.DataFrame(features).groupby(table["recording"].to_numpy(), sort=True).mean().to_numpy()
        counts = owners.value_counts().rename("n").reset_index().sort_values(["database", "person"])
        counts = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
        dealt = counts.sort_values(["database", "n"], ascending=[True, False])["person"]  # in turn, by database
        half = {str(person): place % 2 for place, person in enumerate(dealt)}
        people = owners["person"].to_numpy().astype(str)
        databases = owners["database"].to_numpy().astype(str)
        return cls(means, people, databases, np.array([half[person] for person in people]))

    def suffice(self, here: NDArray[np.bool_]) -> bool:
        """Tell whether FEWEST people have two recordings among these, and somebody a stranger in their database."""
        repeated = pd.Series(self.people[here]).value_counts() > 1
        strangers = pd.Series(self.people[here]).groupby(self.databases[here]).nunique() > 1
        return bool(repeated.sum() >= FEWEST and strangers.any())

    def few(self, here: NDArray[np.bool_], seed: int) -> Indices:
        """Return _RECORDINGS of these at most, those of people with several first: pairs grow with the square."""
        at = np.random.default_rng(seed).permutation(np.flatnonzero(here))
        counts = pd.Series(self.people[at]).map(pd.Series(self.people[at]).value_counts()).to_numpy()
        return np.sort(at[np.argsort(counts == 1, kind="stable")][:_RECORDINGS])

    def asked(self, here: NDArray[np.bool_], seed: int) -> Pairs:
        """Return the pairs among these: all of one person, and of two as many as are wanted at most."""
        at = self.few(here, seed)
        one, other = (at[side] for side in np.triu_indices(len(at), k=1))
        own = self.people[one] == self.people[other]
        strangers = np.random.default_rng(seed).permutation(np.flatnonzero(~own))[:_STRANGERS]
        chosen = np.sort(np.concatenate([np.flatnonzero(own), strangers]))
        return one[chosen], other[chosen]

    def fitted(self, here: NDArray[np.bool_], seed: int) -> Readable:
        """Return a model of pairs of these, each within one database."""
        learnt = []
        for name in np.unique(self.databases[here]):
            at = self.few(here & (self.databases == name), seed)
            learnt.append(tuple(at[side] for side in pairs_to_learn(self.people[at], at.astype(str).tolist(), seed)))
        one, other = (np.concatenate(side) for side in zip(*learnt, strict=True))
        same = (self.people[one] == self.people[other]).astype(np.int64)
        apart = pair_features(self.features, one, other)
        return fit_readable("unveiled-lr", (apart, same), (apart[:0], same[:0]))

    def told_apart(self, asked: Sequence[tuple[Readable, Pairs]], how: Mapping[str, int]) -> dict[str, float]:
        """Return the equal error rate of all pairs together, each by the model that stands beside it."""
        scores = [m.probabilities(pair_features(self.features, *pairs), 2)[:, 1] for m, pairs in asked]
        one, other = (np.concatenate([pairs[side] for _, pairs in asked]) for side in (0, 1))
        numbers = np.unique(self.people[np.stack([one, other])], return_inverse=True)[1].reshape(2, -1)
        trials = Trials(np.concatenate(scores), *numbers)  # nobody else is resampled
        rate = verification(trials, fmrs=(), **how)["eer"]
        return as_json(rate, chance("eer")) | {"n_people": rate.n_patients}


def learnt_elsewhere(
    features: Floats, table: pd.DataFrame, *, seed: int = 0, n_resamples: int = 2000
) -> dict[str, dict[str, dict[str, float]] | None]:
    """Return by database how well its people are told apart by what was learnt on the others, JSON-ready.

    features  of each window [window, feature]; the mean over a recording's windows stands for it
    table     one row a window: person, recording, database

    `eer` was learnt on the other databases alone, `eer_all` on the other half of the people of all of them. Both are of
    the same comparisons, of recordings of any day, within one database and one half. None where fewer than FEWEST
    people with two recordings are left to learn from, or to ask about.
    """
    made, how = _Recordings.of(features, table, seed), {"n_resamples": n_resamples, "seed": seed}
    halves = [made.half == number for number in range(2)]
    out: dict[str, dict[str, dict[str, float]] | None] = {}
    for name in np.unique(made.databases):
        here = made.databases == name
        out[str(name)] = None
        if not all(made.suffice(part) for part in (here, ~here, ~halves[0], ~halves[1])):
            continue
        asked = [made.asked(here & half, seed) for half in halves]
        elsewhere = made.fitted(~here, seed)
        both = [made.fitted(~half, seed) for half in halves]
        out[str(name)] = {
            "eer": made.told_apart([(elsewhere, pairs) for pairs in asked], how),
            "eer_all": made.told_apart(list(zip(both, asked, strict=True)), how),
        }
    return out
