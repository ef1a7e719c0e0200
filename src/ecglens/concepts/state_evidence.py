# SPDX-License-Identifier: Apache-2.0
"""What is found of fitted states across networks and against the beat: forests, marks, mean waveforms."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ecglens.concepts.state_alignment import PARTS, Alignment, align, nmi, parts_of
from ecglens.concepts.state_network import (
    Fitted,
    Read,
    decisions,
    learn,
    shares_by,
    strips_by,
    with_random_weights,
)  # fmt: skip
from ecglens.concepts.state_records import Asked, Size
from ecglens.concepts.state_result import kept
from ecglens.concepts.state_surrogate import RawWindows, forest
from ecglens.concepts.states import fit_states, runs_of
from ecglens.errors import ContractError, InputError
from ecglens.preprocessing.prepare import Prepared
from ecglens.runs.draws import derived_seed, evenly
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress
from ecglens.runs.run import Run
from ecglens.waveform.delineate import delineate

STATES, POOLED, RANDOM, RAW = "states", "pooled features", "random weights", "raw 80-ms windows"
PROFILE_S = 0.3  # on either side of the middle of a stretch
_PROFILE_STRETCHES = 400  # per state
_SHIFTS_A_STATE = 480  # so that p reaches below 0.05 where it is corrected for all states and six parts


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that the comparisons need; `fits` and `scores` are rows of `prepared`, one array per network."""

    run: Run
    journal: Journal
    prepared: Prepared
    asked: Sequence[Asked]
    fitted: Sequence[Fitted]
    fits: Sequence[NDArray[np.intp]]
    scores: Sequence[NDArray[np.intp]]
    size: Size
    seed: int
    progress: Progress

    def signals(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return prepared signals."""
        return [np.asarray(self.prepared.signals[i]) for i in rows]

    def answers(
        self, reads: Sequence[Read], taught: Sequence[Read], by: str
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return by kind of features what forests say of the network's decisions, and of the labels, [record, class].

        Each network's forests are fitted on its own training records. Random weights are left out where the
        architecture is not known.
        """
        told: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for number, (one, read, train) in enumerate(zip(self.asked, reads, taught, strict=True)):
            make = partial(self._forests, number, read, train, by)
            arrays = kept(self.run, self.journal, f"forest-{one.name}", make)
            for name in (STATES, POOLED, RANDOM, RAW):
                if f"{name} network" in arrays:
                    told.setdefault(name, []).append((arrays[f"{name} network"], arrays[f"{name} label"]))
            self.progress("forests", number + 1, len(self.asked), one.name)
        return {name: _stacked(parts) for name, parts in told.items() if len(parts) == len(self.asked)}

    def _forests(self, number: int, read: Read, train: Read, by: str) -> dict[str, np.ndarray]:
        one = self.asked[number]
        labels = self.prepared.cohort.labels[list(one.bundle.classes)].to_numpy(float)[self.fits[number]]
        called = decisions(one.bundle, one.bundle.activate(train.logits))
        tables = {STATES: (train.shares, read.shares), POOLED: (train.pooled, read.pooled)}
        with contextlib.suppress(ContractError):  # no registered architecture: nothing to draw anew
            random = self.random_states(number, by)
            tables[RANDOM] = random["fit"], random["scored"]
        fit, score = self.signals(self.fits[number]), self.signals(self.scores[number])
        raw = RawWindows(fit, self.prepared.fs, self.fitted[number].states.k, self.seed)
        tables[RAW] = raw.shares(fit), raw.shares(score)
        found = {}
        for k, (name, (known, asked)) in enumerate(tables.items()):
            for what, target in (("network", called), ("label", labels)):
                seed = derived_seed(self.seed, "forest", name, what)
                found[f"{name} {what}"] = forest(known, target, asked, self.size.trees, seed)
            self.progress("fitting forests", k + 1, len(tables), name)
        return found

    def random_states(self, number: int, by: str) -> dict[str, np.ndarray]:
        """Return what as many states of the architecture with random weights say: shares `fit` and `scored`, `strips`.

        Raises ContractError where the registry does not know the architecture.
        """
        one, fitted = self.asked[number], self.fitted[number]

        def make() -> dict[str, np.ndarray]:
            fit, score = self.signals(self.fits[number]), self.signals(self.scores[number])
            network = with_random_weights(one.bundle, fit, self.seed)
            ids = [self.prepared.cohort.record_ids[i] for i in self.fits[number]]
            learnt = learn(one.bundle, network, fitted.grid, None, fit, ids, self.size.places, self.seed)
            states = fit_states(learnt.vectors, fitted.states.k, by, self.seed, 3)
            how = one.bundle, network, fitted.grid, learnt.axes, states
            strips = strips_by(*how, score)
            longest = max(map(len, strips))
            padded = [np.pad(strip, (0, longest - len(strip)), constant_values=-1) for strip in strips]
            return {"fit": shares_by(*how, fit), "scored": shares_by(*how, score), "strips": np.stack(padded)}

        return kept(self.run, self.journal, f"random-{one.name}", make)


def align_states(
    evidence: Evidence, read: Read, rows: NDArray[np.intp], by: str
) -> tuple[Alignment, float | None, list[str]]:
    """Return states against parts of the beat, what random weights share with it, and records without a beat.

    Marks are the cohort's own where it has them (simulated ECGs), else our delineation. Raises InputError where no
    record has beats.
    """
    chosen = evenly(len(rows), evidence.size.aligned)
    parts, without = [], []
    cohort = evidence.prepared.cohort
    for number, i in enumerate(chosen):
        row = int(rows[i])
        name = cohort.record_ids[row]
        n = evidence.prepared.signals[row].shape[1]
        runs = evidence.journal.result("parts", name)
        if runs is None:
            ecg = cohort[row]
            marks = cohort.fiducials[row] if cohort.fiducials is not None else delineate(ecg)
            found = parts_of(marks, ecg.start + np.arange(n) / evidence.prepared.fs)
            runs = runs_of(found)
            evidence.journal.record("parts", name, runs)
        part = np.full(n, -1, np.int8)
        for first, last, what in runs:
            part[first:last] = what
        parts.append(part)
        if not (part >= 0).any():
            without.append(name)
        evidence.progress("marking beats", number + 1, len(chosen), "")
    if len(without) == len(chosen):
        raise InputError(
            cohort.name, "beats", f"none in {len(chosen)} records", "records with beats",
            "look at them with `ecglens explain`, or `ecglens delineate`", kind="no_beats",
        )  # fmt: skip
    strips = [read.strips[i, : len(part)] for i, part in zip(chosen, parts, strict=True)]
    names = [cohort.record_ids[int(rows[i])] for i in chosen]
    k = read.shares.shape[1]
    aligned = align(
        strips, parts, names, k, n_shifts=max(evidence.size.shifts, _SHIFTS_A_STATE * k), seed=evidence.seed
    )
    return aligned, _random_nmi(evidence, by, chosen, parts, k), without


def _random_nmi(
    evidence: Evidence, by: str, chosen: NDArray[np.intp], parts: list[NDArray[np.int8]], k: int
) -> float | None:
    """Return the information that states of random weights share with the beat, on the same records.

    Of a family the mean over networks, each on its own records; None where no weights can be drawn.
    """
    values, first = [], 0
    try:
        for number, rows in enumerate(evidence.scores):
            strips = evidence.random_states(number, by)["strips"]
            own = [(i, part) for i, part in zip(chosen, parts, strict=True) if first <= i < first + len(rows)]
            table = np.zeros((k, len(PARTS)))
            for i, part in own:
                strip = strips[i - first, : len(part)]
                known = (strip >= 0) & (part >= 0)
                np.add.at(table, (strip[known], part[known]), 1)
            values += [float(nmi(table))] if own else []
            first += len(rows)
    except ContractError:
        return None
    return float(np.mean(values)) if values else None


def profiles_of(evidence: Evidence, read: Read, rows: NDArray[np.intp]) -> None:
    """Write the mean waveform round the middle of each state's stretches: `arrays/profiles.npy` [state, lead, time].

    Of up to 400 stretches a state, from records in an order drawn by the seed, so that no part of them comes first.
    In mV as recorded, at the rate of the grid, 0.3 s on either side; where the state is: `arrays/profile-share.npy`
    [state, time], the share of these stretches in which the state lasts that long. NaN for a state without stretches.
    """
    k, fs = read.shares.shape[1], evidence.prepared.fs
    half = round(PROFILE_S * fs)
    leads = list(evidence.asked[0].bundle.preprocessing.leads)
    total, present = np.zeros((k, len(leads), 2 * half + 1)), np.zeros((k, 2 * half + 1))
    count = np.zeros(k)
    chosen = evenly(len(rows), evidence.size.aligned)
    for i in np.random.default_rng(derived_seed(evidence.seed, "profiles")).permutation(chosen):
        if (count >= _PROFILE_STRETCHES).all():
            break
        row = int(rows[i])
        length = evidence.prepared.signals[row].shape[1]
        ecg = evidence.prepared.cohort[row].select(leads)
        at = np.minimum((np.arange(length) * ecg.fs / fs).astype(int), ecg.n_samples - 1)
        signal, strip = np.nan_to_num(ecg.signal[:, at]), read.strips[i, :length]
        for first, last, state in runs_of(strip):
            middle = (first + last) // 2
            if middle < half or middle + half >= length or count[state] >= _PROFILE_STRETCHES:
                continue
            piece = slice(middle - half, middle + half + 1)
            total[state] += signal[:, piece]
            present[state] += strip[piece] == state
            count[state] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        evidence.run.write_array("profiles", (total / count[:, None, None]).astype(np.float32))
        evidence.run.write_array("profile-share", (present / count[:, None]).astype(np.float32))
    evidence.run.note(profiles={"fs": fs, "leads": leads, "stretches": count.astype(int).tolist()})


def _stacked(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])
