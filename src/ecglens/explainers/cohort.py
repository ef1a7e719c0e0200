# SPDX-License-Identifier: Apache-2.0
"""A whole cohort explained into a run folder that any stop can interrupt.

`arrays/METHOD.npy` holds the maps, float16 [record, target, lead, time]. A float16 has three digits and a small range:
each map is divided by a power of two, kept in `arrays/METHOD-scale.npy` as float32 [record, target], that brings its
largest value between 0.5 and 1; methods that draw have the sampling error in `METHOD-error.npy`, in the same scale.
`tables/records.csv` has a row per record, `tables/maps.csv` one per map, `tables/excluded.csv` one per record that was
left out.

Records are sorted by name and worked on in blocks; a finished block is never done again, and what a block gives depends
on its records alone. So neither the order of the cohort nor any stop changes a byte.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.bundle import Bundle
from ecglens.cohort import Batch, Cohort, Excluded
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, InputError, LeakError, SignalError, UnsafeError, UsageError
from ecglens.explainers.explain import Marks, Question, attribute, explanations_of, one_by_one, refuse
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explainers.methods import Method
from ecglens.explainers.output import LOGIT
from ecglens.explanation import NOT_TESTED, Attribution, Explanation
from ecglens.prediction.evaluate import people_of
from ecglens.prediction.family import bundles_of
from ecglens.prediction.predict import predict_raw
from ecglens.runs.files import atomic_writer
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.rows import RowFile
from ecglens.runs.run import Run, hash_of

BLOCK = 16  # records
_TOGETHER = 128  # windows that go through the network at once, at most, unless one record has more
_REFUSED = (InputError, UnsafeError, ContractError)
Part = tuple[Bundle, Cohort]  # records, and the bundle that explains them


def explain_cohort(
    bundle: Bundle,
    cohort: Cohort,
    targets: Sequence[str],
    methods: Sequence[Method],
    folder: str | Path,
    *,
    output: str = LOGIT,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    verdicts: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> ExplainedCohort:
    """Explain every record of `cohort` that `bundle` can use, into the run folder `folder`.

    targets, methods, output   as in `explain`; methods by `find_methods`
    resume                     go on where such a run was cut off: the arrays and tables end with the same bytes
    arguments                  what to note in `run.json` besides
    verdicts                   of an audit, by method: they travel with the maps

    Maps are as long as that of the first record by name: a longer record is left out, a shorter one ends in zeros.
    Raises what `explain` raises for targets and methods, LeakError where the bundle has seen a patient of the cohort,
    UsageError where the folder holds something else, ContractError where a resumed run was another one.
    """
    parts = [(bundle, cohort)]
    return _explain_parts(parts, targets, methods, Path(folder), output, resume, arguments, verdicts, progress)


def explain_family(
    run: Run,
    cohort: Cohort,
    targets: Sequence[str],
    methods: Sequence[Method],
    folder: str | Path,
    *,
    output: str = LOGIT,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    verdicts: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> ExplainedCohort:
    """Explain every record of `cohort` by the bundle of the family in `run` that has not seen its patient.

    As `explain_cohort`; `cohort` as `folds_of` returns it. Raises ContractError where the run is no family of folds.
    """
    parts = [(bundle, part) for _, bundle, part in bundles_of(run, cohort)]
    return _explain_parts(parts, targets, methods, Path(folder), output, resume, arguments, verdicts, progress)


def _explain_parts(
    parts: Sequence[Part], targets: Sequence[str], methods: Sequence[Method], folder: Path, output: str, resume: bool,
    arguments: Mapping[str, Any] | None, verdicts: Mapping[str, str] | None, progress: Progress,
) -> ExplainedCohort:  # fmt: skip
    parts = [(bundle, _by_name(cohort)) for bundle, cohort in parts]
    question = Question.of(parts[0][0], targets, output)
    if not methods or len({method.title for method in methods}) < len(methods):
        raise UsageError("explain", "methods", ", ".join(m.title for m in methods) or "none", "one or more, once each")
    for bundle, cohort in parts:
        bundle.refuse_own_patients(cohort.name, cohort.patient_keys, ())
        for method in methods:
            refuse(bundle, question, method)
    verdicts = verdicts or {}
    told = dict(arguments or {}) | _told(parts, question, methods)
    run = Run.create(folder, "explain", told, 0, resume)
    with run.writing(), run.journal() as journal:
        if not run.read().get("finished"):
            with _Work(run, journal, parts, question, methods) as work:
                work.all(progress)
                facts = work.gather()
            run.note(**facts, finished=True)
        run.note(verdicts={method.title: verdicts.get(method.title, NOT_TESTED) for method in methods})
    return ExplainedCohort.open(folder)


def _by_name(cohort: Cohort) -> Cohort:
    return cohort.take(sorted(range(len(cohort)), key=lambda i: cohort.record_ids[i]))


def _told(parts: Sequence[Part], question: Question, methods: Sequence[Method]) -> dict[str, Any]:
    """Return what makes this run this run, for run.json: a resumed one must have the same."""
    bundle, cohort = parts[0]
    return {
        "targets": list(question.targets),
        "output": question.output,
        "methods": {method.title: method.parameters for method in methods},
        "cohort": cohort.name,
        "n_records": sum(len(part) for _, part in parts),
        "records_sha256": hash_of([part.record_ids for _, part in parts]),
        "weights_sha256": [each.weights_sha256 for each, _ in parts],
        "bundle": bundle.name,
    }


@dataclass
class _Block:
    """What one block gives: rows of the three tables."""

    records: list[dict[str, Any]]
    maps: list[dict[str, Any]]
    excluded: list[dict[str, Any]]

    def exclude(self, record_id: str, part: str, error: EcglensError) -> None:
        """Note that a record is left out: of everything (part "preparing"), or of a method."""
        self.excluded.append({"record_id": record_id, "part": part, "kind": error.kind, "reason": str(error)})


class _Work:
    """One run at work: its arrays, open, and its blocks."""

    def __init__(
        self, run: Run, journal: Journal, parts: Sequence[Part], question: Question, methods: Sequence[Method]
    ) -> None:
        self.run, self.journal, self.parts, self.question, self.methods = run, journal, parts, question, methods
        self.n_records = sum(len(cohort) for _, cohort in parts)
        self.weights = {id(bundle): bundle.weights_sha256[:16] for bundle, _ in parts}
        self.arrays: dict[str, RowFile] = {}
        self.grid: dict[str, Any] = journal.result("grid", "all") or {}

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        for rows in self.arrays.values():
            rows.close()

    def blocks(self) -> Iterator[tuple[str, Bundle, Cohort, int]]:
        """Yield (key, bundle, the records of the block, number of its first record)."""
        first = 0
        for bundle, cohort in self.parts:
            for begin in range(0, len(cohort), BLOCK):
                some = cohort.take(range(begin, min(begin + BLOCK, len(cohort))))
                yield f"{first + begin:09d}", bundle, some, first + begin
            first += len(cohort)

    def all(self, progress: Progress) -> None:
        """Do the blocks that are not finished."""
        finished = self.journal.keys("block")
        blocks = [block for block in self.blocks() if block[0] not in finished]
        total, done = sum(len(cohort) for _, _, cohort, _ in blocks), 0
        before = f"{self.n_records - total} done before" if total < self.n_records else ""
        for key, bundle, cohort, first in blocks:
            found = self.block(bundle, cohort, first)
            for rows in self.arrays.values():
                rows.flush()
            self.journal.record("block", key, vars(found))
            done += len(cohort)
            progress("explaining", done, total, before)

    def block(self, bundle: Bundle, cohort: Cohort, first: int) -> _Block:
        """Explain the records of one block and write their maps; row `first` is the first one's."""
        found = _Block([], [], [])
        number = {record: first + i for i, record in enumerate(cohort.record_ids)}
        about = _about(cohort, bundle.classes)
        for ecgs, batch in _prepared(bundle, cohort, found):
            batch, ecgs = self._fitting(batch, ecgs, found)
            if not ecgs:
                continue
            probabilities = bundle.activate(predict_raw(bundle, list(np.asarray(batch.signal))))
            for k, name in enumerate(batch.record_ids):
                own = dict(zip(bundle.classes, probabilities[k].tolist(), strict=True))
                found.records.append(
                    about[name]
                    | _record(bundle, batch, k, own)
                    | {
                        "row": number[name],
                        "bundle": self.weights[id(bundle)],
                    }
                )
            marks = [Marks([ecg]) for ecg in ecgs]
            for method in self.methods:
                for k, attribution, one in self._attributions(bundle, batch, marks, method, found):
                    name = one.record_ids[k]
                    own_p = probabilities[batch.record_ids.index(name)]
                    explanations = explanations_of(bundle, one, k, self.question, method, attribution, own_p)
                    self._write(number[name], method, explanations)
                    found.maps += [_map(explanation) for explanation in explanations]
        found.records.sort(key=lambda row: row["row"])
        found.maps.sort(key=lambda row: (row["record_id"], row["method"]))  # targets keep their order
        found.excluded.sort(key=lambda row: (row["record_id"], row["part"]))
        return found

    def _fitting(self, batch: Batch, ecgs: list[ECG], found: _Block) -> tuple[Batch, list[ECG]]:
        """Return the batch if the arrays have room for it, else nothing; the first of all decides the length."""
        n_samples = batch.signal.shape[-1]
        if not self.grid:
            self.grid = {"leads": list(batch.leads), "fs": batch.fs, "n_samples": n_samples}
            self.journal.record("grid", "all", self.grid)
        if n_samples <= self.grid["n_samples"]:
            return batch, ecgs
        for name in batch.record_ids:
            longest = f"up to {self.grid['n_samples'] / batch.fs:g} s, as the first"
            error = SignalError(
                name, "length", f"{n_samples / batch.fs:g} s", longest,
                "explain records of one length together", kind="too_long",
            )  # fmt: skip
            found.exclude(name, "preparing", error)
        return batch, []

    def _attributions(
        self, bundle: Bundle, batch: Batch, marks: Sequence[Marks], method: Method, found: _Block
    ) -> Iterator[tuple[int, Attribution, Batch]]:
        """Yield (place in the batch, attribution of that batch, batch) per record that the method can explain."""
        if method.sees == "window" and not method.marks:
            try:
                whole = attribute(bundle, batch, self.question.rows, method, self.question.output)
                if np.isfinite(whole.values).all():
                    yield from ((k, whole, batch) for k in range(len(batch.record_ids)))
                    return
            except InputError:
                pass  # one of them is to blame: which, shows one by one
        for k, one in enumerate(one_by_one(batch)):
            try:
                own = replace(one, fiducials=marks[k].for_method(method))
                attribution = attribute(bundle, own, self.question.rows, method, self.question.output)
                if not np.isfinite(attribution.values).all():
                    raise SignalError(one.record_ids[0], "map", "not finite", "finite numbers")
                yield 0, attribution, own
            except InputError as error:
                found.exclude(one.record_ids[0], method.title, error)

    def _write(self, row: int, method: Method, explanations: Sequence[Explanation]) -> None:
        """Write the maps of one record."""
        values = np.stack([explanation.values for explanation in explanations])
        halves, scale = to_half(values)
        self._array(method.title, values.shape).write(row, self._filled(halves))
        self._array(f"{method.title}-scale", scale.shape, "<f4").write(row, scale)
        errors = [explanation.error for explanation in explanations if explanation.error is not None]
        if errors:
            scaled = np.stack(errors) / scale[:, None, None]
            self._array(f"{method.title}-error", values.shape).write(row, self._filled(scaled.astype("<f2")))

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """Return values [target, lead, time] as long as the arrays, zeros at the end."""
        missing = self.grid["n_samples"] - values.shape[-1]
        return np.pad(values, ((0, 0), (0, 0), (0, missing))) if missing else values

    def _array(self, name: str, shape: Sequence[int], dtype: str = "<f2") -> RowFile:
        """Return an array of this run by name, made when it is first needed."""
        if name not in self.arrays:
            path = self.run.folder / "arrays" / f"{name}.npy"
            whole = (
                (self.n_records, *shape[:-1], self.grid["n_samples"]) if len(shape) == 3 else (self.n_records, *shape)
            )
            begun = name in self.journal.keys("array")
            self.arrays[name] = (RowFile.resume if begun else RowFile.create)(path, whole, dtype)
            if not begun:
                self.journal.record("array", name, list(whole))
        return self.arrays[name]

    def gather(self) -> dict[str, Any]:
        """Write the tables from the finished blocks, one at a time, and return what is to be noted of the run."""
        bundle, folder = self.parts[0][0], self.run.folder / "tables"
        names = bundle.classes
        leads = self.grid.get("leads", bundle.preprocessing.leads)
        columns = {
            "records": [*_RECORD, *(f"{what} {name}" for what in ("probability", "call", "label") for name in names)],
            "maps": [*_MAP, *(f"share {lead}" for lead in leads)],
            "excluded": _EXCLUDED,
        }
        counts = dict.fromkeys(columns, 0)
        keys = [key for key, *_ in self.blocks()]
        loading = {e.record_id: e for _, cohort in self.parts for e in cohort.excluded}
        for table, header in columns.items():
            with atomic_writer(folder / f"{table}.csv", "w") as file:
                writer = csv.DictWriter(file, header, lineterminator="\n")
                writer.writeheader()
                if table == "excluded":
                    writer.writerows(_excluded(loading[name]) for name in sorted(loading))
                for key in keys:
                    rows = self.journal.result("block", key)[table]
                    writer.writerows(rows)
                    counts[table] += len(rows)
        if not counts["maps"]:
            left_out = [row for key in keys for row in self.journal.result("block", key)["excluded"]]
            raise InputError(
                self.parts[0][1].name, "records", f"none of {self.n_records} explained", "at least one",
                left_out[0]["reason"] if left_out else "it is empty", kind="no_records",
            )  # fmt: skip
        found = {"classes": list(names), "n_explained": counts["records"], "n_maps": counts["maps"]}
        return self.grid | found | {"label_rule": self.parts[0][1].label_rule}


_RECORD = ["record_id", "row", "patient", "fold", "start", "n_samples", "bundle"]
_MAP = ["record_id", "method", "target", "probability", "unit", "baseline", "completeness_gap", "resolution_ms",
        "resolves_leads", "warnings"]  # fmt: skip
_EXCLUDED = ["record_id", "part", "kind", "reason"]


def to_half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return maps [target, lead, time] as float16 and the power of two [target] that each was divided by."""
    largest = np.abs(values).max(axis=(1, 2)).astype(np.float64)
    scale = np.where(largest > 0, np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1.0)))), 1.0)
    return (values / scale[:, None, None]).astype("<f2"), scale.astype("<f4")


def _prepared(bundle: Bundle, cohort: Cohort, found: _Block) -> Iterator[tuple[list[ECG], Batch]]:
    """Yield admitted ECGs of one rate and length with their batch; what cannot be used is noted in `found`."""
    groups: dict[tuple[float, int], list[ECG]] = {}
    for ecg in _strangers(bundle, cohort, found):
        try:
            admitted = bundle.preprocessing.admission.admit(ecg)
            groups.setdefault((admitted.fs, admitted.n_samples), []).append(admitted)
        except _REFUSED as error:
            found.exclude(ecg.record_id, "preparing", error)
    windows = bundle.preprocessing.windows
    for ecgs in groups.values():
        size = max(1, int(_TOGETHER * windows.stride / (ecgs[0].duration * bundle.fs)))
        for some in (ecgs[first : first + size] for first in range(0, len(ecgs), size)):
            try:
                batch = bundle.preprocessing.transform(some)
                windows.starts(batch.signal.shape[-1])
                _refuse_rate(bundle, batch)
            except _REFUSED as error:  # the steps cannot take this rate or length, which all of them share
                for ecg in some:
                    found.exclude(ecg.record_id, "preparing", error)
                continue
            yield some, batch


def _strangers(bundle: Bundle, cohort: Cohort, found: _Block) -> Iterator[ECG]:
    """Yield the ECGs that can be read and that the bundle has not seen, under their names in the cohort."""
    ecgs: list[ECG] = []
    for i, name in enumerate(cohort.record_ids):
        try:
            ecgs.append(replace(cohort[i], record_id=name))
        except _REFUSED as error:
            found.exclude(name, "preparing", error)
    prints = [ecg.fingerprint() for ecg in ecgs]
    suspicious = any(bundle.trained_on.overlap((), prints).values())  # one look for all, since most have none
    for ecg, own in zip(ecgs, prints, strict=True):
        try:
            if suspicious:
                bundle.refuse_own_patients(ecg.record_id, (), (own,))
            yield ecg
        except LeakError as error:
            found.exclude(ecg.record_id, "preparing", error)


def _refuse_rate(bundle: Bundle, batch: Batch) -> None:
    if abs(batch.fs - bundle.fs) > 1e-9:
        raise ContractError(bundle.name, "sampling rate", f"{batch.fs:g} Hz", f"{bundle.fs:g} Hz", kind="sampling_rate")


def _about(cohort: Cohort, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return patient, fold and labels of each record, by name; what is not known is None."""
    people, folds = people_of(cohort), cohort.metadata["fold"].tolist()
    labels = cohort.labels.reindex(columns=list(classes)).to_numpy()
    return {
        name: {"record_id": name, "patient": people[i], "fold": None if pd.isna(folds[i]) else int(folds[i])}
        | {f"label {c}": None if np.isnan(labels[i, k]) else int(labels[i, k]) for k, c in enumerate(classes)}
        for i, name in enumerate(cohort.record_ids)
    }


def _record(bundle: Bundle, batch: Batch, k: int, probabilities: Mapping[str, float]) -> dict[str, Any]:
    calls = {o.name: None if o.threshold is None else int(probabilities[o.name] >= o.threshold) for o in bundle.outputs}
    return {
        "start": batch.start[k], "n_samples": batch.signal.shape[-1],
        **{f"probability {name}": value for name, value in probabilities.items()},
        **{f"call {name}": call for name, call in calls.items()},
    }  # fmt: skip


def _map(explanation: Explanation) -> dict[str, Any]:
    told = {name: getattr(explanation, name) for name in _MAP if name != "warnings"}
    told |= {"resolves_leads": int(explanation.resolves_leads), "warnings": "; ".join(explanation.warnings)}
    return told | {f"share {lead}": share for lead, share in explanation.share_by_lead().items()}


def _excluded(entry: Excluded) -> dict[str, Any]:
    return {"record_id": entry.record_id, "part": "loading", "kind": entry.kind, "reason": entry.reason}
