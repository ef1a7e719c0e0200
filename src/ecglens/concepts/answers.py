# SPDX-License-Identifier: Apache-2.0
"""What one network says of all concepts: directions are fitted in each layer, and the logit is followed along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.concepts.cav import Cav, find_fit, solve_shrunk
from ecglens.concepts.matching import matched_draw
from ecglens.concepts.network import STEPS, Asked, Held
from ecglens.errors import UsageError
from ecglens.runs.draws import derived_seed

SHARE = 2 / 3  # of the people who take part in one CAV


@dataclass(frozen=True)
class How:
    """How directions are fitted: by `FITS`, over `STEPS`, how many per network and split."""

    fit: str = "closed"
    steps: str = "mean"
    n_cavs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        find_fit(self.fit)
        if self.steps not in STEPS:
            raise UsageError("test-concepts", "--steps", self.steps, ", ".join(STEPS))
        if not 2 <= self.n_cavs <= 1000:
            raise UsageError("test-concepts", "--cavs", self.n_cavs, "2 to 1000")


@dataclass(frozen=True, eq=False)
class Answers:
    """What one network says of all concepts; NaN where there was nothing to fit or to score.

    called      share of the CAVs that say a record has it [layer, concept, scored record]
    signs       share of the CAVs along which a record's logit rises [layer, concept, class, scored record]; NaN
                where the record is not of the class
    scores      share of the class's records whose logit rises, per CAV [layer, concept, class, split x CAV]
    stability   mean cosine between the CAVs of a split [layer, concept]
    reads       what the class's logit reads of a record in a layer, in standard deviations
                [split, layer, class, record]; 0 where directions are not fitted on the record
    """

    called: np.ndarray
    signs: np.ndarray
    scores: np.ndarray
    stability: np.ndarray
    reads: np.ndarray


def answers_of(
    asked: Asked, held: Held, members: np.ndarray, strata: np.ndarray, people: np.ndarray, how: How
) -> Answers:
    """Fit and score all directions of one network.

    members   [concept, record], strata [concept, record]
    people    number of the person [record]
    """
    layers, scored = list(held.held), asked.scored
    shape, n_classes = (len(layers), len(members)), len(held.of_class)
    called = np.full((*shape, len(scored)), np.nan, np.float32)
    signs = np.full((*shape, n_classes, len(scored)), np.nan, np.float32)
    scores = np.full((*shape, n_classes, len(asked.splits) * how.n_cavs), np.nan, np.float32)
    stability = np.full((*shape, len(asked.splits)), np.nan, np.float32)
    for s, (fit, score) in enumerate(asked.splits):
        here, ours = np.isin(scored, score), slice(s * how.n_cavs, (s + 1) * how.n_cavs)
        mine = [np.isin(places, score) for places in held.of_class]
        for c in range(len(members)):
            draws = _draws(asked.name, s, c, fit, members[c], strata[c], people, how)
            for k, name in enumerate(layers):
                cavs = [find_fit(how.fit)(held.held[name][yes], held.held[name][no], seed) for yes, no, seed in draws]
                if not cavs:
                    continue
                called[k, c, here] = np.mean([cav.has(held.held[name][scored[here]]) for cav in cavs], axis=0)
                stability[k, c, s] = _mean_cosine(cavs)
                for j, (places, own) in enumerate(zip(held.of_class, mine, strict=True)):
                    if own.any():
                        rises = _rises(held.slopes[name][j][own], cavs)
                        signs[k, c, j, np.searchsorted(scored, places[own])] = rises.mean(axis=1)
                        scores[k, c, j, ours] = rises.mean(axis=0)
    return Answers(called, signs, scores, _mean(stability), _reads(asked, held))


def _draws(
    name: str, split: int, concept: int, fit: np.ndarray, members: np.ndarray, strata: np.ndarray, people: np.ndarray,
    how: How,
) -> list[tuple[np.ndarray, np.ndarray, int]]:  # fmt: skip
    """Return (places with it, places without, seed) per CAV; nothing where a draw finds fewer than two of a kind."""
    drawn = []
    for k in range(how.n_cavs):
        seed = derived_seed(how.seed, "cav", name, split, concept, k)
        generator = np.random.default_rng(seed)
        yes, no = matched_draw(members[fit], strata[fit], people[fit], SHARE, generator)
        if len(yes) < 2:
            return []
        drawn.append((fit[yes], fit[no], seed))
    return drawn


def _rises(slopes: np.ndarray, cavs: Sequence[Cav]) -> np.ndarray:
    """Tell of which records [record, CAV] the logit rises along which direction."""
    return np.asarray(slopes @ np.stack([cav.direction for cav in cavs], axis=1).astype(np.float32) > 0)


def _mean_cosine(cavs: Sequence[Cav]) -> float:
    directions = np.stack([cav.direction for cav in cavs])
    table = directions @ directions.T
    return float((table.sum() - np.trace(table)) / (len(cavs) * (len(cavs) - 1)))


def _mean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    n = known.sum(axis=-1)
    return np.asarray(np.where(n > 0, np.where(known, values, 0).sum(axis=-1) / np.maximum(n, 1), np.nan))


def _reads(asked: Asked, held: Held) -> np.ndarray:
    """Return what the logit reads: activations along C^-1 (mean slope of the class's records).

    The mean of it over records with a concept, minus that over matched ones without, is the mean slope along the
    concept's direction (that of the closed form): linear in who has the concept, hence quick for any number of groups.
    """
    n_records = len(next(iter(held.held.values())))
    reads = np.zeros((len(asked.splits), len(held.held), len(held.of_class), n_records), np.float32)
    for s, (fit, score) in enumerate(asked.splits):
        mine = [np.isin(places, score) for places in held.of_class]
        for k, (name, values) in enumerate(held.held.items()):
            slopes = [own[m].mean(axis=0, dtype=float) if m.any() else np.zeros(values.shape[1])
                      for own, m in zip(held.slopes[name], mine, strict=True)]  # fmt: skip
            centred = values[fit] - values[fit].mean(axis=0, dtype=float)
            told = centred @ solve_shrunk(centred, np.stack(slopes, axis=1))
            spread = told.std(axis=0)
            reads[s, k][:, fit] = (told / np.where(spread > 0, spread, np.inf)).T
    return reads
