# SPDX-License-Identifier: Apache-2.0
"""Do other networks, trained anew, find the same states?

Of a family of folds the networks are those of the folds: the records compared are of the first one's fold, and the
others were trained on some of them. Of an average they are those that are averaged, which differ in their seed alone:
each gets states of its own, as many and on the same people, and none has seen the records.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.bundle import Bundle
from ecglens.concepts.state_evidence import Evidence
from ecglens.concepts.state_network import learn, strips_by
from ecglens.concepts.state_result import kept
from ecglens.concepts.state_stability import Strips, ari_figure, matched, tables_of
from ecglens.concepts.states import fit_states
from ecglens.prediction.evaluate import people_of

FOLDS, SEEDS = "folds", "seeds"
_COMMON = 100  # records on which networks are compared


def network_agreement(evidence: Evidence, by: str) -> tuple[dict[str, Any], list[NDArray[np.intp]]]:
    """Return how well networks agree on strips of the same records, and the order of states that matches the first.

    `networks`: mean, least and greatest adjusted Rand index of the pairs, and in what they `differ`: "folds" or
    "seeds"; None for a network alone, which has nothing to agree with.
    """
    k, members = evidence.fitted[0].states.k, evidence.asked[0].members
    rows = evidence.scores[0][:_COMMON]
    people, signals = people_of(evidence.prepared.cohort.take(rows)), evidence.signals(rows)
    if len(evidence.asked) > 1:
        strips = [
            strips_by(one.bundle, one.bundle.network, fitted.grid, fitted.axes, fitted.states, signals)
            for one, fitted in zip(evidence.asked, evidence.fitted, strict=True)
        ]
        orders = [np.arange(k)] + [matched(tables_of(strips[0], other, k, k).sum(axis=0)) for other in strips[1:]]
        return {"networks": _told(evidence, strips, k, people) | {"differ": FOLDS}}, orders
    alone = [np.arange(k)]
    if len(members) < 2:
        return {"networks": None}, alone
    strips = []
    for number, member in enumerate(members):
        strips.append(_strips_of(evidence, number, member, signals, by))
        evidence.progress("states of each network", number + 1, len(members), "")
    return {"networks": _told(evidence, strips, k, people) | {"differ": SEEDS}}, alone


def _strips_of(evidence: Evidence, number: int, member: Bundle, signals: list[np.ndarray], by: str) -> Strips:
    """Return strips of `signals` by states of one network's own, fitted on the records that the average's were."""
    fitted, fits, size = evidence.fitted[0], evidence.fits[0], evidence.size

    def make() -> dict[str, np.ndarray]:
        ids = [evidence.prepared.cohort.record_ids[i] for i in fits]
        fit = evidence.signals(fits)
        learnt = learn(member, member.network, fitted.grid, None, fit, ids, size.places, evidence.seed)
        states = fit_states(learnt.vectors, fitted.states.k, by, evidence.seed)
        strips = strips_by(member, member.network, fitted.grid, learnt.axes, states, signals)
        return {f"strip-{i}": strip for i, strip in enumerate(strips)}

    arrays = kept(evidence.run, evidence.journal, f"member-{number}", make)
    return [arrays[f"strip-{i}"] for i in range(len(signals))]


def _told(evidence: Evidence, strips: list[Strips], k: int, people: list[str]) -> dict[str, Any]:
    found = [ari_figure(tables_of(one, other, k, k), people, evidence.seed) for one, other in combinations(strips, 2)]
    values = [float(one["value"]) for one in found if one["value"] is not None]
    return {
        "value": float(np.mean(values)) if values else None, "least": min(values, default=None),
        "greatest": max(values, default=None), "n": len(people), "pairs": len(found),
    }  # fmt: skip
