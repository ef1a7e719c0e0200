# SPDX-License-Identifier: Apache-2.0
"""`segment_states`: a cohort and a network in, states and what they are worth out, in a run folder.

What takes long is kept as it is finished: each number of states that was tried, each network's states and what they say
of the records, each forest, the marks. A resumed run does none of it twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.concepts import state_records
from ecglens.concepts.dropout_doubt import ENTROPY, N_PASSES
from ecglens.concepts.state_ablation import ablation_of
from ecglens.concepts.state_agreement import network_agreement
from ecglens.concepts.state_alignment import PARTS
from ecglens.concepts.state_certainty import certainty_of
from ecglens.concepts.state_choice import Choice, Sample, choose, try_k
from ecglens.concepts.state_doubts import MEMBERS_ENTROPY, doubts_of
from ecglens.concepts.state_evidence import Evidence, align_states, profiles_of
from ecglens.concepts.state_field import Axes, grid_of
from ecglens.concepts.state_network import Fitted, Learnt, Read, decisions, learn, read_records, strips_by
from ecglens.concepts.state_people import sex_and_age, whom_of
from ecglens.concepts.state_records import Asked, Size, bundle_asked, family_asked
from ecglens.concepts.state_result import (
    RECORDS,
    RESULT,
    SEQUENCES,
    Segmented,
    joined,
    kept,
    preferred_parts,
    record_table,
    sequence_table,
    states_of,
    uncertainty_by_class,
    undecided,
)  # fmt: skip
from ecglens.concepts.state_split import head_of
from ecglens.concepts.state_stability import perturbed
from ecglens.concepts.state_surrogate import surrogate_table
from ecglens.concepts.states import METHODS, States, check_k, fit_states, runs_of
from ecglens.errors import ContractError, InputError, UsageError
from ecglens.models.average import members_of
from ecglens.prediction.evaluate import people_of
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.files import write_json
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.statistics.figures import clean

AUTO = "auto"


def segment_states(
    tested: Bundle | Run,
    cohort: Cohort,
    folder: str | Path,
    *,
    scored: np.ndarray | None = None,
    k: int | str = AUTO,
    blocks: str = "last",
    by: str = "soft",
    size: Size | None = None,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Segmented:
    """Turn each ECG into a sequence of states of the network, say what they are worth, write the run folder `folder`.

    tested   a bundle, or the run of a family of folds: each network is fitted on its own training people and scored on
             the fold that it has not seen. An average of networks is read as one, their features side by side
    cohort   records with the classes of the bundle as labels; of a family as `folds_of` returns it
    scored   of a bundle: bool [record], who may be scored; the others are for fitting, where the bundle knows them from
             its training; default all
    k        how many states, or "auto"
    blocks   "last", or the "last2" or "last3" together
    by       "soft", "kmeans", "gmm"

    Raises ContractError for a network whose head cannot be split or whose block keeps no time, and where a resumed run
    began otherwise or with other networks; UsageError or InputError for a k that the data do not allow, LeakError where
    somebody who is scored shaped the weights.
    """
    size = size or state_records.QUICK
    _check(k, by)
    every = np.ones(len(cohort), bool) if scored is None else np.asarray(scored, bool)
    asked = (
        bundle_asked(tested, cohort, every, size, seed) if isinstance(tested, Bundle)
        else family_asked(tested, cohort, size, seed)
    )  # fmt: skip
    weights, members = [one.bundle.weights_sha256 for one in asked], len(members_of(asked[0].bundle.network))
    asked = [one.as_one() for one in asked]
    bundle = asked[0].bundle
    told = dict(arguments or {}) | {
        "k": k, "blocks": blocks, "by": by, "size": asdict(size), "cohort": cohort.name,
        "records_sha256": hash_of(list(cohort.record_ids)), "weights_sha256": weights, "members": members,
    }  # fmt: skip
    # What cannot be done is said before anything is written or read.
    head_of(bundle.network, bundle.name, len(bundle.preprocessing.leads), bundle.preprocessing.windows.length)
    grid_of(bundle, blocks)
    fresh = not (Path(folder) / "run.json").exists()
    run = Run.create(Path(folder), "segment-states", told, seed, resume)
    try:
        with run.writing(), run.journal() as journal:
            if not run.read().get("finished"):
                wanted = np.unique(np.concatenate([np.concatenate([one.fit, one.scored]) for one in asked]))
                prepared = prepare(cohort.take(wanted), bundle.preprocessing, cache=cache, progress=progress)
                _Study(run, journal, cohort, prepared, asked, (k, blocks, by), size, seed, progress).do()
    except (InputError, ContractError):
        if fresh and not (run.folder / "arrays").exists():  # nothing is finished: it can be asked otherwise
            shutil.rmtree(run.folder)
        raise
    return Segmented.open(run.folder)


def _check(k: int | str, by: str) -> None:
    if by not in METHODS:
        raise UsageError("segment-states", "--by", by, ", ".join(METHODS))
    if k != AUTO and not (isinstance(k, int) and 1 <= k <= 64):
        raise UsageError("segment-states", "--k", k, "auto, or 1 to 64")


class _Study:
    """One run at work."""

    def __init__(
        self, run: Run, journal: Journal, cohort: Cohort, prepared: Prepared, asked: Sequence[Asked],
        how: tuple[int | str, str, str], size: Size, seed: int, progress: Progress,
    ) -> None:  # fmt: skip
        self.run, self.journal, self.cohort, self.prepared, self.asked = run, journal, cohort, prepared, asked
        self.k, self.blocks, self.by = how
        self.size, self.seed, self.progress = size, seed, progress
        self.place = {record: i for i, record in enumerate(prepared.cohort.record_ids)}
        self.classes = asked[0].bundle.classes
        self.tried: list[Choice] = []

    def do(self) -> None:
        """Fit, read, compare, write."""
        fits = [self._usable(one.fit) for one in self.asked]
        scores = [self._usable(one.scored) for one in self.asked]
        for one, score in zip(self.asked, scores, strict=True):
            one.bundle.refuse_own_patients(self.cohort.name, (), [self.prepared.fingerprints[i] for i in score])
        fitted = [self._fitted(one, fit) for one, fit in zip(self.asked, fits, strict=True)]
        reads = [self._read(one, f, score, "read") for one, f, score in zip(self.asked, fitted, scores, strict=True)]
        taught = [self._read(one, f, fit, "taught") for one, f, fit in zip(self.asked, fitted, fits, strict=True)]
        evidence = Evidence(self.run, self.journal, self.prepared, self.asked, fitted, fits, scores, self.size,
                            self.seed, self.progress)  # fmt: skip
        agreement, orders = network_agreement(evidence, self.by)
        answers = evidence.answers(reads, taught, self.by)
        pooled = joined([read.permuted(order) for read, order in zip(reads, orders, strict=True)])
        rows = np.concatenate(scores)
        self._write(evidence, fitted, pooled, rows, answers, agreement)

    def _write(
        self, evidence: Evidence, fitted: Sequence[Fitted], read: Read, rows: np.ndarray, answers: dict[str, Any],
        agreement: dict[str, Any],
    ) -> None:  # fmt: skip
        used = self.prepared.cohort.take(rows)
        people, labels = people_of(used), used.labels[list(self.classes)].to_numpy(float)
        networks = np.concatenate(
            [[one.name] * len(part) for one, part in zip(self.asked, evidence.scores, strict=True)]
        )
        probabilities, decided = self._said(read.logits, evidence.scores)
        alignment, random_nmi, without = align_states(evidence, read, rows, self.by)
        states = [
            told | {"whom": whom}
            for told, whom in zip(
                states_of(read, alignment, labels, self.classes, people, self.seed),
                whom_of(read.shares, *sex_and_age(used.metadata), people, self.seed), strict=True,
            )
        ]  # fmt: skip
        first = fitted[0]
        stability = dict(agreement) | self._stability(evidence, first)
        surrogate = surrogate_table(answers, decided, labels, probabilities, people, self.seed)
        fidelity = surrogate[(surrogate["features"] == "states") & (surrogate["metric"] == "fidelity")].iloc[0]
        doubts = doubts_of(evidence, read.doubt, probabilities)
        certainty = certainty_of(decided, labels, doubts, people, self.seed) | {
            "dropout": {"passes": N_PASSES} if ENTROPY in doubts else None,
            "members": {"networks": len(self.asked[0].members)} if MEMBERS_ENTROPY in doubts else None,
        }
        lengths = [self.prepared.signals[i].shape[1] for i in rows]
        self.run.write_table(
            RECORDS, record_table(used.record_ids, networks.tolist(), read, probabilities, decided, self.classes)
        )
        self.run.write_table(SEQUENCES, sequence_table(used.record_ids, read, lengths, self.prepared.fs))
        excluded = [vars(entry) for entry in (*self.cohort.excluded, *self.prepared.excluded)]
        self.run.write_table("excluded", pd.DataFrame(excluded, columns=["record_id", "kind", "reason"]))
        profiles_of(evidence, read, rows)
        references = np.stack([f.head.logits(_tensor(f.reference)[None])[0].numpy() for f in fitted])
        reference = references.mean(axis=0)
        own = references.repeat([len(part) for part in evidence.scores], axis=0)  # of the network that read the record
        self._example(evidence, read, rows, labels, decided, probabilities, own, states)
        told = {
            "k": first.states.k, "stability": stability,
            "fidelity": {name: float(fidelity[name]) for name in ("value", "low", "high")},
            "states": states, "records": str(self.run.folder / "tables" / f"{RECORDS}.csv"),
            "asked_k": self.k, "sweep": [one.as_dict() for one in self.tried], "by": self.by, "blocks": self.blocks,
            "grid": self._grid(first), "tau": first.states.tau, "axes_keep": first.axes.kept,
            "undecided": undecided(read), "split": first.head.kind, "gap": float(np.abs(read.gap).max()),
            "reference": dict(zip(self.classes, reference.tolist(), strict=True)),
            "surrogate": surrogate.to_dict("records"), "certainty": certainty,
            "uncertainty": uncertainty_by_class(read, labels, self.classes, people, self.seed),
            "alignment": alignment.information() | {
                "random_nmi": random_nmi, "n": alignment.n_records, "without_beats": without,
                "samples": int(alignment.counts.sum()),
                "time": dict(zip(PARTS, (alignment.counts.sum(axis=0) / alignment.counts.sum()).tolist(), strict=True)),
            },
            "ablation": self._ablation(evidence, first), "n": len(rows), "n_patients": len(set(people)),
            "n_fitted": int(np.mean([len(fit) for fit in evidence.fits])), "fitted_on": self.asked[0].fitted_on,
            "networks": [one.name for one in self.asked], "members": self.run.read()["arguments"]["members"],
            "label_rule": self.cohort.label_rule,
            "bundle": self.asked[0].bundle.name, "data": self.cohort.name, "excluded": excluded,
        }  # fmt: skip
        write_json(self.run.folder / RESULT, clean({"schema": 1} | told))
        self.run.note(finished=True)

    # -------------------------------------------------------------------------------------------------- one network

    def _usable(self, places: np.ndarray) -> np.ndarray:
        ids = self.cohort.record_ids
        return np.array([self.place[ids[i]] for i in places if ids[i] in self.place], dtype=np.intp)

    def signals(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return prepared signals."""
        return [np.asarray(self.prepared.signals[i]) for i in rows]

    def _fitted(self, one: Asked, fit: np.ndarray) -> Fitted:
        """Return a network's states: from the disk where they are finished."""
        bundle = one.bundle
        grid = grid_of(bundle, self.blocks)
        head = head_of(
            bundle.network, bundle.name, len(bundle.preprocessing.leads), bundle.preprocessing.windows.length
        )
        ids = [self.prepared.cohort.record_ids[i] for i in fit]

        def make() -> dict[str, np.ndarray]:
            learnt = learn(bundle, bundle.network, grid, head, self.signals(fit), ids, self.size.places, self.seed,
                           self.progress)  # fmt: skip
            k = self._choose(learnt, one, fit) if self.k == AUTO and one is self.asked[0] else self._known_k()
            states = fit_states(learnt.vectors, k, self.by, self.seed)
            none = np.empty((0,))
            return {
                "mean": learnt.axes.mean, "scale": learnt.axes.scale, "turn": learnt.axes.turn,
                "kept": np.array(learnt.axes.kept), "reference": learnt.reference, "centres": states.centres,
                "tau": np.array(states.tau), "variances": none if states.variances is None else states.variances,
                "weights": none if states.weights is None else states.weights,
            }  # fmt: skip

        a = self.kept(f"states-{one.name}", make)
        states = States(
            self.by if a["weights"].size or self.by != "gmm" else "soft", a["centres"], float(a["tau"]),
            a["variances"] if a["variances"].size else None, a["weights"] if a["weights"].size else None,
        )  # fmt: skip
        self.tried = self.tried or [_choice(row) for row in self.journal.entries("k").values()]
        axes = Axes(a["mean"], a["scale"], a["turn"], float(a["kept"]))
        return Fitted(grid, head, axes, a["reference"], states)

    def _choose(self, learnt: Learnt, one: Asked, fit: np.ndarray) -> int:
        """Try every number of states on a part of the places, in the journal what is finished; return the chosen."""
        step = max(1, len(learnt.vectors) // self.size.sweep)
        people = pd.factorize(np.array(people_of(self.prepared.cohort.take(fit)), dtype=object))[0]
        sample = Sample(learnt.vectors[::step], learnt.records[::step], people, self._decisions(one, fit))
        possible = [k for k in self.size.ks if self._possible(sample.vectors, k)]
        if not possible:
            check_k(sample.vectors, self.size.ks[0])
        for number, k in enumerate(possible, 1):
            if self.journal.result("k", str(k)) is None:
                found = try_k(sample, k, n_seeds=self.size.seeds, n_halves=self.size.halves, seed=self.seed)
                self.journal.record("k", str(k), asdict(found))
            self.progress("how many states", number, len(possible), f"k = {k}")
        self.tried = [_choice(self.journal.result("k", str(k))) for k in possible]
        return choose(self.tried).k

    def _known_k(self) -> int:
        return int(self.k) if self.k != AUTO else choose(self.tried).k

    @staticmethod
    def _possible(vectors: np.ndarray, k: int) -> bool:
        try:
            check_k(vectors[: len(vectors) // 2], k)  # halves of the people are clustered too
        except InputError:
            return False
        return True

    def _decisions(self, one: Asked, rows: np.ndarray) -> np.ndarray:
        from ecglens.prediction.predict import predict_raw

        raw = predict_raw(one.bundle, self.signals(rows), self.progress)
        return decisions(one.bundle, one.bundle.activate(raw))

    def _read(self, one: Asked, fitted: Fitted, rows: np.ndarray, what: str) -> Read:
        def make() -> dict[str, np.ndarray]:
            found = read_records(one.bundle, one.bundle.network, fitted, self.signals(rows), progress=self.progress)
            return {field.name: getattr(found, field.name) for field in fields(found)}

        return Read(**self.kept(f"{what}-{one.name}", make))

    def kept(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return arrays by name, made once and kept on the disk."""
        return kept(self.run, self.journal, name, make)

    # ------------------------------------------------------------------------------------------------- all networks

    def _said(self, logits: np.ndarray, scores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and decisions [record, class], each network's by its own calibration and thresholds."""
        probabilities, decided, first = [], [], 0
        for one, part in zip(self.asked, scores, strict=True):
            own = one.bundle.activate(logits[first : first + len(part)])
            probabilities.append(own)
            decided.append(decisions(one.bundle, own))
            first += len(part)
        return np.concatenate(probabilities), np.concatenate(decided)

    def _stability(self, evidence: Evidence, fitted: Fitted) -> dict[str, Any]:
        chosen = next((one for one in self.tried if one.k == fitted.states.k), None)
        told: dict[str, Any] = {"seeds": None, "halves": None, "stable": None}
        if chosen is not None:
            told = {"seeds": chosen.seeds_ari, "halves": chosen.halves_ari, "stable": chosen.stable}
        rows = evidence.scores[0][: self.size.perturbed]
        one = self.asked[0]
        ids = [self.prepared.cohort.record_ids[i] for i in rows]
        people = people_of(self.prepared.cohort.take(rows))
        known = self.journal.result("stability", "perturbed")
        if known is None:
            how = fitted.grid, fitted.axes, fitted.states
            known = perturbed(
                lambda signals: strips_by(one.bundle, one.bundle.network, *how, signals),
                self.signals(rows), ids, people, fitted.states.k, self.seed,
            )  # fmt: skip
            self.journal.record("stability", "perturbed", known)
        self.progress("shifts and noise", 1, 1, "")
        return told | known

    def _ablation(self, evidence: Evidence, fitted: Fitted) -> dict[str, Any]:
        rows = evidence.scores[0][: self.size.bridged]
        known = self.journal.result("ablation", "first")
        if known is None:
            one, signals = self.asked[0], self.signals(rows)
            read = read_records(one.bundle, one.bundle.network, fitted, signals)
            people = people_of(self.prepared.cohort.take(rows))
            known = ablation_of(one.bundle, fitted, read, signals, people, self.seed)
            self.journal.record("ablation", "first", clean(known))
        self.progress("taking states away", 1, 1, "")
        return dict(known)

    def _grid(self, fitted: Fitted) -> dict[str, Any]:
        ms, grid = 1000 / self.prepared.fs, fitted.grid
        return {
            "layers": list(grid.layers), "steps": grid.n_steps, "step_ms": grid.stride * ms,
            "receptive_field_ms": [field * ms for field in grid.fields],
            "window_ms": len(grid.nearest) * ms,
        }  # fmt: skip

    def _example(
        self, evidence: Evidence, read: Read, rows: np.ndarray, labels: np.ndarray, decided: np.ndarray,
        probabilities: np.ndarray, reference: np.ndarray, states: Sequence[dict[str, Any]],
    ) -> None:  # fmt: skip
        """Keep one record for the page: rightly called, one class, middling probability, its strip the most varied."""
        target = self.classes.index("MI") if "MI" in self.classes else len(self.classes) - 1
        alone = (labels[:, target] == 1) & (np.nansum(labels, axis=1) == 1) & (decided[:, target] == 1)
        fit = np.flatnonzero(alone) if alone.any() else np.arange(len(rows))
        middling = fit[np.argsort(probabilities[fit, target], stable=True)][len(fit) // 4 : 1 + 3 * len(fit) // 4]
        at = int(middling[np.argmax([len(runs_of(read.strips[i])) for i in middling])])
        ecg = self.prepared.cohort[int(rows[at])].select(list(self.asked[0].bundle.preprocessing.leads))
        length = self.prepared.signals[rows[at]].shape[1]
        self.run.write_array("example-signal", ecg.signal)
        self.run.write_array("example-strip", read.strips[at, :length])
        self.run.write_array("example-doubt", read.doubts[at, :length])
        self.run.note(example={
            "record_id": ecg.record_id, "fs": ecg.fs, "leads": list(ecg.leads), "start": ecg.start,
            "grid_fs": self.prepared.fs,
            "target": self.classes[target], "logit": float(read.logits[at, target]),
            "probability": float(probabilities[at, target]), "reference": float(reference[at, target]),
            "adds": read.contributions[at, :, target].tolist(), "shares": read.shares[at].tolist(),
            "certainty": float(1 - read.doubt[at, target]), "right": bool(alone.any()),
            "mostly": preferred_parts(states),
        })  # fmt: skip


def _choice(row: Mapping[str, Any]) -> Choice:
    return Choice(int(row["k"]), *(float(row[name]) for name in list(Choice.__annotations__)[1:]))


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(values)
