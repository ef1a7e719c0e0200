# SPDX-License-Identifier: Apache-2.0
"""Worlds in which the truth is known: simulated people, prepared as the audited bundle prepares, with their evidence.

A  dipolar    lesions as hearts make them. In which lead a finding lies is not unique, so time is scored
B  planted    each class's lesion in one chest lead of its own and nowhere else: time and lead are scored
C  shortcut   weak lesions, and a mark in one lead that goes with one class: does a map show the mark?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ecglens.auditing.maps import Cases
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, EcglensError
from ecglens.fiducials import Fiducials
from ecglens.prediction.evaluate import people_of
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.runs.draws import derived_seed, record_keys, uniform
from ecglens.simulation import CONDITIONS, DEFAULT_CLASSES, Shortcut, simulate_cohort
from ecglens.simulation.cohort import SUPERCLASSES

LOWEST_FS = 100.0  # of the simulator, in Hz
TEST_FOLDS = (9, 10)
SHORTCUT = "MI"  # the class that mode C's mark goes with

# Mode B: what is planted where. One condition per class, each in a lead of its own, so that neither always pointing at
# one lead nor always at the largest wave can be right.
PLANTED = (
    ("NORM", "NORM", "V3"),
    ("MI", "AMI", "V3"),
    ("STTC", "INVT", "V5"),
    ("CD", "CLBBB", "V1"),
    ("HYP", "LVH", "V6"),
)


@dataclass(frozen=True, eq=False)
class World:
    """A simulated cohort as a network sees it.

    signals  float32 [record, lead, time]
    labels   [record, class]
    folds    [record]; 9 and 10 are for testing
    """

    name: str
    cohort: Cohort
    signals: np.ndarray
    fs: float
    leads: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """Labels [record, class], NaN where unknown."""
        return self.cohort.labels.to_numpy()

    @property
    def test(self) -> np.ndarray:
        """Which records no twin learns from, bool [record]."""
        return self.cohort.metadata["fold"].isin(TEST_FOLDS).to_numpy()

    def cases(self, classes: tuple[str, ...], n: int, outputs: tuple[str, ...], seed: int = 0, part: str = "") -> Cases:
        """Return up to `n` test records that have one of `classes`, in turns, each with its class as target.

        outputs   of the network, in order
        part      name of a part of the evidence (a condition, "shortcut") instead of all of it
        """
        chosen = in_turns(
            self.labels * self.test[:, None], self.cohort.classes, classes, self.cohort.record_ids, n, seed
        )
        at = [record for record, _ in chosen]
        truth = None
        if self.cohort.evidence is not None:
            found = [self.cohort.evidence[i] for i in at]
            masks = [(e[part] if part else e).mask for e in found]
            truth = np.stack([on_grid(mask, self, self.cohort[i].fs) for mask, i in zip(masks, at, strict=True)])
        marks = None if self.cohort.fiducials is None else tuple(self.cohort.fiducials[i] for i in at)
        return cases_at(self.cohort, self.signals, at, [name for _, name in chosen], outputs, self.fs, self.leads,
                        marks, truth)  # fmt: skip


def cases_at(
    cohort: Cohort, signals: np.ndarray, at: list[int], targets: list[str], outputs: tuple[str, ...], fs: float,
    leads: tuple[str, ...], marks: tuple[Fiducials, ...] | None = None, truth: np.ndarray | None = None,
) -> Cases:  # fmt: skip
    """Return the records at these positions with these targets."""
    if not at:
        raise ContractError(cohort.name, "records", "none with a class to explain", "at least one", kind="empty")
    ids, people = cohort.record_ids, people_of(cohort)
    rows = np.array([[float(output == target) for output in outputs] for target in targets])
    of = tuple(people[i] for i in at)
    return Cases(signals[at], fs, leads, tuple(ids[i] for i in at), of, tuple(targets), rows, marks, truth)


def in_turns(
    labels: np.ndarray,
    columns: tuple[str, ...],
    classes: tuple[str, ...],
    record_ids: tuple[str, ...],
    n: int,
    seed: int,
) -> list[tuple[int, str]]:
    """Return (record, class) pairs: classes take turns, records of a class in an order drawn from their names."""
    order = np.argsort(uniform(seed, "audit/order", record_keys(record_ids), 1)[:, 0])
    queues = {name: [int(i) for i in order if labels[i, columns.index(name)] == 1] for name in classes}
    chosen: list[tuple[int, str]] = []
    while len(chosen) < n and any(queues.values()):
        for name, queue in queues.items():
            if queue and len(chosen) < n:
                chosen.append((queue.pop(0), name))
    return chosen


def on_grid(values: np.ndarray, world: World, fs: float) -> np.ndarray:
    """Return what lies on the twelve leads at `fs` Hz on the grid of the prepared signals (the nearest sample)."""
    from ecglens.leads import STANDARD_LEADS

    at = np.rint(np.arange(world.signals.shape[-1]) / world.fs * fs).astype(int)
    rows = [STANDARD_LEADS.index(lead) for lead in world.leads]
    return np.asarray(values[rows][:, np.minimum(at, values.shape[1] - 1)])


def simulated_classes(outputs: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return, for each output that the simulator knows, the conditions that make it.

    >>> simulated_classes(("MI", "IMI", "left handed"))
    {'MI': ('IMI', 'AMI'), 'IMI': ('IMI',)}
    """
    found = {}
    for name in outputs:
        if name in SUPERCLASSES:
            found[name] = tuple(c for c in DEFAULT_CLASSES if CONDITIONS[c].superclass == name)
        elif name in CONDITIONS:
            found[name] = (name,)
    return found


def dipolar(bundle: Bundle, n: int, seed: int) -> World:
    """Return mode A: all five superclasses, lesions as hearts make them."""
    cohort = simulate_cohort(n, classes=DEFAULT_CLASSES, seed=derived_seed(seed, "audit/A") % 2**31, **_grid(bundle))
    return prepared("A", cohort, bundle.preprocessing)


def for_outputs(bundle: Bundle, n: int, seed: int) -> World:
    """Return mode A with the very classes of the bundle, for the audited weights.

    Raises ContractError where fewer than two of its classes (the normal one included) can be simulated.
    """
    known = simulated_classes(bundle.classes)
    conditions = tuple(dict.fromkeys(c for members in known.values() for c in members))
    if not known:
        allowed = f"{', '.join(SUPERCLASSES)}, or conditions of the simulator"
        raise ContractError(bundle.name, "outputs", ", ".join(bundle.classes), allowed, kind="not_simulated")
    if "NORM" not in conditions:  # somebody must be without each class
        conditions = ("NORM", *conditions)
    superclasses = set(known) <= set(SUPERCLASSES)
    cohort = simulate_cohort(
        n, classes=conditions, seed=derived_seed(seed, "audit/weights") % 2**31,
        task="superdiagnostic" if superclasses else "subdiagnostic", **_grid(bundle),
    )  # fmt: skip
    labels = cohort.labels
    if not superclasses:  # a superclass is there where one of its conditions is
        labels = pd.DataFrame({name: labels[list(members)].max(axis=1) for name, members in known.items()})
    return prepared("weights", replace(cohort, labels=labels[list(known)]), bundle.preprocessing)


def planted(bundle: Bundle, n: int, seed: int) -> World:
    """Return mode B. Raises ContractError where the bundle sees no lead that a lesion can be planted in."""
    possible = [lead for lead in ("V3", "V5", "V1", "V6", "V2", "V4", "I", "II") if lead in bundle.preprocessing.leads]
    if not possible:
        raise ContractError(bundle.name, "leads", ", ".join(bundle.preprocessing.leads), "I, II or V1 to V6")
    parts = []
    for k, (label, condition, lead) in enumerate(PLANTED):
        where = lead if lead in possible else possible[k % len(possible)]
        part = simulate_cohort(
            n // len(PLANTED), classes=(condition,), mode="B", lead=where,
            seed=derived_seed(seed, "audit/B", label) % 2**31, **_grid(bundle),
        )  # fmt: skip
        truth = {name: np.full(len(part), float(name == label)) for name, _, _ in PLANTED}
        parts.append(replace(part, name=f"B-{label}", labels=pd.DataFrame(truth, index=part.labels.index)))
    return prepared("B", parts[0].concat(*parts[1:]), bundle.preprocessing)


def shortcut(bundle: Bundle, n: int, seed: int) -> World:
    """Return mode C: the mark goes with its class in all folds alike, so that test records carry it, too."""
    lead = next((lead for lead in ("V6", "V5", "V4", "V3", "V2", "V1") if lead in bundle.preprocessing.leads), "")
    if not lead:
        raise ContractError(bundle.name, "leads", ", ".join(bundle.preprocessing.leads), "one of V1 to V6")
    mark = Shortcut(SHORTCUT, rho=0.9, lead=lead, size=0.3, test="same")
    cohort = simulate_cohort(
        n, classes=("NORM", "IMI", "STD", "CRBBB"), severity=(0.1, 0.4), mode="C", shortcut=mark,
        seed=derived_seed(seed, "audit/C") % 2**31, **_grid(bundle),
    )  # fmt: skip
    return prepared("C", cohort, bundle.preprocessing)


def prepared(name: str, cohort: Cohort, preprocessing: Preprocessing) -> World:
    """Return the cohort on the network's grid; a simulated record is never left out, so any fault is raised."""
    ecgs = [cohort[i] for i in range(len(cohort))]
    parts = [preprocessing.apply(ecgs[i : i + 32]) for i in range(0, len(ecgs), 32)]
    held = replace(cohort, records=ecgs)
    return World(name, held, np.concatenate([np.asarray(p.signal) for p in parts]), parts[0].fs, parts[0].leads)


def _grid(bundle: Bundle) -> Any:
    """Return rate and length at which to simulate: the network's own grid wherever the simulator can."""
    fs = max(LOWEST_FS, bundle.fs)
    needed = max(10.0, bundle.preprocessing.admission.min_duration, bundle.preprocessing.windows.length / bundle.fs)
    return {"fs": fs, "duration": needed}


def why(error: Exception) -> str:
    """Return an exception as the reason in a cell."""
    return str(error) if isinstance(error, EcglensError) else f"{type(error).__name__}: {str(error)[:160]}"
