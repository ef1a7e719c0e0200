# SPDX-License-Identifier: Apache-2.0
"""Doubts of other kinds beside that of states: from the probability, passes under dropout, networks of an average.

An average of networks trained alike is a deep ensemble (Lakshminarayanan et al., NeurIPS 2017). Each network answers
through the average's own calibration; as under dropout, the entropy of their mean answer is all that is uncertain, and
what is left of it without the entropy of each answer is how much they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ecglens.concepts.dropout_doubt import ENTROPY, INFORMATION, by_dropout, disagreement, dropouts_of
from ecglens.concepts.state_certainty import by_probability
from ecglens.concepts.state_evidence import Evidence
from ecglens.concepts.state_records import Asked
from ecglens.concepts.state_result import kept
from ecglens.prediction.predict import predict_raw

MEMBERS_ENTROPY, MEMBERS_INFORMATION = "members_entropy", "members_information"
# In the order in which they are told.
DOUBTS = {
    "states": "entropy of the states behind the decision",
    "probability": "1 \u2212 highest probability",
    ENTROPY: "entropy of the answers under dropout",
    INFORMATION: "how much these answers differ",
    MEMBERS_ENTROPY: "entropy of the averaged networks' answers",
    MEMBERS_INFORMATION: "how much these networks differ",
}

Floats = NDArray[np.float64]


def doubts_of(evidence: Evidence, by_states: np.ndarray, probabilities: np.ndarray) -> dict[str, Floats]:
    """Return every doubt that these networks have [record, class], by the names of `DOUBTS`.

    Doubt by dropout, or by the networks averaged, only where all networks of a family have it.
    """
    found = {"states": np.asarray(by_states), "probability": by_probability(probabilities)}
    if all(dropouts_of(one.bundle.network) for one in evidence.asked):
        found |= _joined(evidence, "dropout", _under_dropout)
    if all(len(one.members) > 1 for one in evidence.asked):
        found |= _joined(evidence, "members", _of_members)
    return {name: found[name] for name in DOUBTS if name in found}


def _joined(
    evidence: Evidence, what: str, make: Callable[[Evidence, Asked, np.ndarray], dict[str, Floats]]
) -> dict[str, Floats]:
    parts = [
        kept(evidence.run, evidence.journal, f"{what}-{one.name}", partial(make, evidence, one, rows))
        for one, rows in zip(evidence.asked, evidence.scores, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _under_dropout(evidence: Evidence, one: Asked, rows: np.ndarray) -> dict[str, Floats]:
    ids = [evidence.prepared.cohort.record_ids[i] for i in rows]
    return by_dropout(one.bundle, evidence.signals(rows), ids, evidence.seed, evidence.progress) or {}


def _of_members(evidence: Evidence, one: Asked, rows: np.ndarray) -> dict[str, Floats]:
    signals = evidence.signals(rows)
    answers = np.stack([member.activate(predict_raw(member, signals, evidence.progress)) for member in one.members])
    total, differ = disagreement(answers)
    return {MEMBERS_ENTROPY: total, MEMBERS_INFORMATION: differ}
