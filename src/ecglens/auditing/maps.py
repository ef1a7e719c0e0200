# SPDX-License-Identifier: Apache-2.0
"""Cases (records, and what is to be explained of each) and their maps, many records at a time.

The maps are those of `ecglens.explain`, record by record the same numbers; only the batches are larger.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.bundle import Bundle, as_tensor
from ecglens.cohort import Batch
from ecglens.explainers.explain import Question, attribute, borrowed, refuse
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad
from ecglens.explainers.methods import Method
from ecglens.explainers.output import AsPredicted
from ecglens.explainers.perturbation import WINDOW, Hiding, Shapley
from ecglens.fiducials import Fiducials

_TOGETHER = 16  # records whose windows go through an explainer at once


@dataclass(frozen=True, eq=False)
class Cases:
    """Prepared records, each with the one target that is to be explained.

    signals    float32 [case, lead, time], on the network's grid at `fs` Hz
    record_ids, patients   one per case
    targets    in words, one per case
    rows       the same as weights over the outputs [case, output]
    evidence   bool [case, lead, time], where the target's evidence is known
    fiducials  marks of each record
    """

    signals: np.ndarray
    fs: float
    leads: tuple[str, ...]
    record_ids: tuple[str, ...]
    patients: tuple[str, ...]
    targets: tuple[str, ...]
    rows: np.ndarray
    fiducials: tuple[Fiducials, ...] | None = None
    evidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def n_patients(self) -> int:
        """People behind the cases."""
        return len(set(self.patients))

    def take(self, indices: Sequence[int] | np.ndarray) -> Cases:
        """Return some of the cases, in this order."""
        at = [int(i) for i in indices]
        ids, patients, targets = (
            tuple(column[i] for i in at) for column in (self.record_ids, self.patients, self.targets)
        )
        marks = None if self.fiducials is None else tuple(self.fiducials[i] for i in at)
        truth = None if self.evidence is None else self.evidence[at]
        return dataclasses.replace(
            self, signals=self.signals[at], rows=self.rows[at], record_ids=ids, patients=patients, targets=targets,
            fiducials=marks, evidence=truth,
        )  # fmt: skip

    def first(self, n: int) -> Cases:
        """Return the first `n` cases."""
        return self.take(range(min(n, len(self))))

    def batch(self, signals: np.ndarray | None = None) -> Batch:
        """Return the records as explainers see them; or others in their place."""
        given = self.signals if signals is None else signals
        return Batch(given, self.fs, self.leads, self.record_ids, (0.0,) * len(self), self.fiducials)


def maps_of(bundle: Bundle, cases: Cases, method: Method, name: str) -> np.ndarray:
    """Return the map of each case's own target, float32 [case, lead, time].

    Raises what the method raises: ContractError where the linter refuses it on this network.
    """
    out = np.empty(cases.signals.shape, np.float32)
    rows, which = np.unique(cases.rows, axis=0, return_inverse=True)
    for number, row in enumerate(rows):
        mine = np.flatnonzero(which.ravel() == number)
        out[mine] = maps_of_targets(bundle, cases.take(mine), row[None], method, name)[:, 0]
    return out


def maps_of_targets(bundle: Bundle, cases: Cases, rows: np.ndarray, method: Method, name: str) -> np.ndarray:
    """Return the maps of all `rows` [target, output] for each case, float32 [case, target, lead, time].

    name   of the method, for the linter. Raises what the method raises.
    """
    named = method if method.name else dataclasses.replace(method, name=name)
    refuse(bundle, Question(("audit",) * len(rows), rows), named)
    chunks = [range(i, min(i + _TOGETHER, len(cases))) for i in range(0, len(cases), _TOGETHER)]
    return np.concatenate([attribute(bundle, cases.take(chunk).batch(), rows, named).values for chunk in chunks])


def logits_of(bundle: Bundle, signals: np.ndarray, together: int = 128) -> np.ndarray:
    """Return combined outputs [record, output] of prepared records [record, lead, time], as `predict` combines them."""
    with borrowed(bundle.network):
        predicted = AsPredicted(bundle)
        parts = [predicted(as_tensor(signals[i : i + together])).numpy() for i in range(0, len(signals), together)]
    return np.concatenate(parts)


def target_logits(bundle: Bundle, cases: Cases, signals: np.ndarray | None = None) -> np.ndarray:
    """Return the value of each case's target [case], of its own record or of one in its place."""
    values = logits_of(bundle, cases.signals if signals is None else signals)
    return np.asarray((values * cases.rows).sum(axis=1))


def is_dear(method: Method) -> bool:
    """Tell whether a map costs dozens of passes through the network, or hundreds: it then gets fewer records."""
    explainer = method.explainer
    by_windows = isinstance(explainer, Hiding) and explainer.by == WINDOW
    return by_windows or isinstance(explainer, SmoothGrad | IntegratedGradients | Shapley)
