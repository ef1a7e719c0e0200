# SPDX-License-Identifier: Apache-2.0
"""What the tests of one audit share: how much is asked for, the records, the worlds, the twins, the maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ecglens.auditing import worlds
from ecglens.auditing.maps import Cases, is_dear, logits_of, maps_of
from ecglens.auditing.twins import Schedule, classifier, refuse_ignorant
from ecglens.auditing.verdict import KNOWS_ITS_TASK, On, TestResult
from ecglens.auditing.worlds import World
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, EcglensError
from ecglens.explainers.methods import Method
from ecglens.prediction.evaluate import people_of
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.files import write_npy
from ecglens.runs.progress import Progress, silent
from ecglens.statistics.bootstrap import score_table
from ecglens.statistics.task import MACRO
from ecglens.waveform.delineate import delineate

T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much is asked for. Methods that cost dozens of passes through the network per map get a third of the records.

    simulated, measured   people simulated for twins that classify, that measure
    cases      records explained on the weights, and on the twins of planted truth
    redrawn    ... again with redrawn weights       stable   ... by each twin of another seed
    regressed  records explained on twins that measure
    seeds      twins whose maps are compared
    epochs     of a twin
    """

    simulated: int = 500
    measured: int = 500
    cases: int = 30
    redrawn: int = 15
    stable: int = 9
    regressed: int = 18
    seeds: int = 5
    epochs: int = 30


QUICK = Size()
FULL = Size(simulated=1500, measured=2400, cases=150, redrawn=60, stable=45, regressed=90, seeds=5, epochs=60)


@dataclass(frozen=True)
class Found:
    """What a test found of a method: its figures by name, and what the page draws (JSON-ready)."""

    results: Mapping[str, TestResult]
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Setting(Protocol):
    """A test made ready: twins trained, records chosen."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on, for the page."""
        ...

    def run(self, name: str, method: Method) -> Found:
        """Return what is found of one method."""
        ...


@dataclass(frozen=True)
class Test:
    """One test of the audit.

    name      of the test
    figures   names of all figures it gives, the first of which stands for it
    on        on what it is judged
    prepare   makes it ready; raises where it cannot be done at all
    wants     whether a method is asked, by name
    """

    __test__ = False  # pytest is not meant

    name: str
    figures: tuple[str, ...]
    on: On
    prepare: Callable[[Work], Setting]
    wants: Callable[[str], bool] = lambda name: True


class Work:
    """One audit at work. What several tests need is made once, when first asked for, and kept on the disk if costly."""

    def __init__(
        self, bundle: Bundle, size: Size, seed: int, schedule: Schedule, *, data: Cohort | None = None,
        train_data: Cohort | None = None, folder: Path | None = None, cache: Cache | None = None,
        progress: Progress = silent,
    ) -> None:  # fmt: skip
        self.bundle, self.size, self.seed, self.schedule = bundle, size, seed, schedule
        self.data, self.train_data, self.folder, self.cache, self.progress = data, train_data, folder, cache, progress
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once; what it raised the first time is raised again."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except EcglensError as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, EcglensError):
            raise made
        return made

    @property
    def twins_folder(self) -> Path | None:
        """Where twins are kept."""
        return None if self.folder is None else self.folder / "twins"

    def count(self, method: Method, n: int) -> int:
        """Return how many of `n` records a method gets."""
        return max(1, n // 3 if is_dear(method) else n)

    def world(self, name: str) -> World:
        """Return world A, B or C, or that of the audited weights' own classes."""
        made = {"A": worlds.dipolar, "B": worlds.planted, "C": worlds.shortcut, "weights": worlds.for_outputs}[name]
        self.progress(f"simulating world {name}", 0, 1, "")
        return self.once(f"world {name}", lambda: made(self.bundle, self.size.simulated, self.seed))

    def twin(self, world: str, seed: int = 0, permuted: bool = False) -> Bundle:
        """Return a classifier of a world. Raises ContractError where it did not learn its classes."""

        def make() -> Bundle:
            home = self.world(world)
            twin = classifier(self.bundle, home, self.schedule, seed, self.twins_folder, self.progress, permuted)
            if not permuted:
                refuse_ignorant(twin, home)
            return twin

        return self.once(f"twin {world} {seed} {permuted}", make)

    # ------------------------------------------------------------------------------------------- the audited weights

    def asked(self) -> Asked:
        """Return the records on which the audited weights are asked. Raises where they tell nothing."""
        return self.once("asked", self._ask)

    def _ask(self) -> Asked:
        if self.data is not None:
            made = prepare(self.data, self.bundle.preprocessing, cache=self.cache, progress=self.progress)
            keys = made.cohort.patient_keys
            self.bundle.refuse_own_patients(self.data.name, keys, made.fingerprints)
            asked = _real(self.bundle, made, self.size.cases, self.seed)
        else:
            asked = _simulated(self.bundle, self.world("weights"), self.size.cases, self.seed)
        low = asked.auroc["low"]
        if low is None or low < KNOWS_ITS_TASK:
            shown = (
                "unknown" if asked.auroc["value"] is None else f"{asked.auroc['value']:.2f}, lower bound {low or 0:.2f}"
            )
            raise ContractError(
                f"the model on {asked.name}", "macro AUROC", shown, f"a lower bound of {KNOWS_ITS_TASK:g} or more",
                "where a network knows nothing of its classes there is nothing to explain", kind="knows_nothing",
            )  # fmt: skip
        return asked

    def maps(self, name: str, method: Method) -> np.ndarray:
        """Return the maps of the audited weights' cases [case, lead, time]; of a dear method, those of a third."""

        def make() -> np.ndarray:
            cases = self.asked().cases.first(self.count(method, self.size.cases))
            path = None if self.folder is None else self.folder / "arrays" / f"maps-{name}.npy"
            if path is not None and path.exists():
                kept = np.load(path, allow_pickle=False)
                if kept.shape == cases.signals.shape:
                    return kept
            found = maps_of(self.bundle, cases, method, name)
            if path is not None:
                write_npy(path, found)
            return found

        return self.once(f"maps {name}", make)


@dataclass(frozen=True, eq=False)
class Asked:
    """Records for the audited weights: which, from where, and how well it tells their classes (macro AUROC)."""

    name: str
    cases: Cases
    auroc: dict[str, Any]
    simulated: bool
    n_records: int
    n_patients: int
    excluded: int = 0
    label_rule: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What stands on the page."""
        targets = self.cases.targets
        return {
            "data": self.name, "simulated": self.simulated, "n": len(self.cases), "n_patients": self.cases.n_patients,
            "per_class": {name: targets.count(name) for name in dict.fromkeys(targets)}, "auroc": self.auroc,
            "n_records": self.n_records, "excluded": self.excluded, "label_rule": self.label_rule,
        }  # fmt: skip


def _real(bundle: Bundle, made: Prepared, n: int, seed: int) -> Asked:
    cohort = made.cohort
    if not len(cohort):
        raise ContractError(cohort.name, "records", "none that can be used", "at least one", kind="empty")
    signals = made.stack()
    known = _has_both(cohort.labels.to_numpy(), cohort.classes)
    auroc = _macro(bundle, signals, cohort, known)
    chosen = worlds.in_turns(cohort.labels.to_numpy(), cohort.classes, known, cohort.record_ids, n, seed)
    at = [i for i, _ in chosen]
    marks = tuple(delineate(cohort[i]) for i in at)
    cases = worlds.cases_at(cohort, signals, at, [name for _, name in chosen], bundle.classes, made.fs,
                            bundle.preprocessing.leads, marks)  # fmt: skip
    return Asked(
        cohort.name, cases, auroc, False, len(cohort), cohort.n_patients, len(made.excluded), cohort.label_rule
    )


def _simulated(bundle: Bundle, world: World, n: int, seed: int) -> Asked:
    classes = _has_both(world.labels, world.cohort.classes)
    columns = [bundle.classes.index(name) for name in world.cohort.classes]
    auroc = _macro(bundle, world.signals, world.cohort, classes, columns)
    everybody = World(world.name, world.cohort, world.signals, world.fs, world.leads)
    chosen = worlds.in_turns(world.labels, world.cohort.classes, classes, world.cohort.record_ids, n, seed)
    at = [i for i, _ in chosen]
    marks = None if world.cohort.fiducials is None else tuple(world.cohort.fiducials[i] for i in at)
    cases = worlds.cases_at(everybody.cohort, world.signals, at, [name for _, name in chosen], bundle.classes,
                            world.fs, world.leads, marks)  # fmt: skip
    return Asked("simulated ECGs", cases, auroc, True, len(world.cohort), world.cohort.n_patients,
                 label_rule=world.cohort.label_rule)  # fmt: skip


def _has_both(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that some have and some have not: one class alone cannot be told from anything."""
    there = [name for k, name in enumerate(classes) if (labels[:, k] == 1).any() and (labels[:, k] == 0).any()]
    if not there:
        raise ContractError(
            "data", "labels", "no class that some have and some have not", "at least one", kind="labels"
        )
    return tuple(there)


def _macro(bundle: Bundle, signals: np.ndarray, cohort: Cohort, classes: tuple[str, ...],
           columns: list[int] | None = None) -> dict[str, Any]:  # fmt: skip
    """Return the macro AUROC over `classes` with its interval."""
    keep = [k for k, name in enumerate(cohort.classes) if name in classes]
    raw = logits_of(bundle, signals)[:, columns or range(len(cohort.classes))]
    labels, names = cohort.labels.to_numpy()[:, keep], [cohort.classes[k] for k in keep]
    table = score_table(labels, raw[:, keep], names, people_of(cohort))
    row = table[(table["class"] == MACRO) & (table["metric"] == "auroc")].iloc[0]
    told = {name: float(row[name]) for name in ("value", "low", "high")}
    figures = {name: value if np.isfinite(value) else None for name, value in told.items()}
    return figures | {"n": int(row["n"]), "n_patients": int(row["n_patients"])}
