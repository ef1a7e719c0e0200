# SPDX-License-Identifier: Apache-2.0
"""A whole cohort through its preprocessing: what cannot be used is left out, counted and listed with the reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, EnvironmentFault, InputError, UnsafeError
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.runs.cache import Cache, Writer, identity
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import hash_of

_LOG = logging.getLogger(__name__)
_GROUP = 32  # records transformed together: enough for matrix products, small enough for the processor caches
_SCHEMA = 2  # of cache entries: raise it when a step changes its numbers


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cohort on the network's grid.

    cohort        the records that can be used, in order
    signals       one float32 [lead, time] per record, on the grid
    fs            of the grid, in Hz
    fingerprints  of the ECGs as read, before any step: what tells a recording whatever its name
    excluded      what was left out here, and why
    """

    cohort: Cohort
    signals: Sequence[np.ndarray]
    fs: float
    fingerprints: tuple[str, ...]
    excluded: tuple[Excluded, ...]

    def stack(self) -> np.ndarray:
        """Return [record, lead, time]. Raises ContractError where lengths differ."""
        lengths = sorted({signal.shape[1] for signal in self.signals})
        if len(lengths) > 1:
            raise ContractError(
                self.cohort.name, "duration", f"{lengths[0]} to {lengths[-1]} samples at {self.fs:g} Hz",
                "one length for training", "crop the records to one length",
            )  # fmt: skip
        return np.stack(self.signals)

    def part(self, part: Cohort) -> Prepared:
        """Return the prepared records of `part`, some of the records of this very cohort, with its labels."""
        place = {record: i for i, record in enumerate(self.cohort.record_ids)}
        kept = [record for record in part.record_ids if record in place]
        wanted = set(part.record_ids)
        excluded = tuple(entry for entry in self.excluded if entry.record_id in wanted)
        chosen = self.take([place[record] for record in kept])
        labelled = part.take([i for i, record in enumerate(part.record_ids) if record in place])
        return replace(chosen, cohort=labelled, excluded=excluded)

    def take(self, indices: Sequence[int] | np.ndarray) -> Prepared:
        """Return the records at these positions."""
        chosen = [int(i) for i in indices]
        return Prepared(
            self.cohort.take(chosen), [self.signals[i] for i in chosen], self.fs,
            tuple(self.fingerprints[i] for i in chosen), self.excluded,
        )  # fmt: skip


def prepare(
    cohort: Cohort, preprocessing: Preprocessing, *, cache: Cache | None = None, progress: Progress = silent
) -> Prepared:
    """Read, admit and transform all records; with a cache, only once as long as the files hold the same.

    With a cache the signals lie in a file and are memory-mapped, so that memory does not grow with the cohort.

    Raises InputError where not a single record can be used.
    """
    before = _identity(cohort) if cache is not None else None
    key = _key(cohort, preprocessing, cache) if cache is not None else None
    found = cache.load(key) if cache is not None and key is not None else None
    if found is not None:
        progress("reading", len(cohort), len(cohort), "from the cache")
        return _prepared(cohort, *found)
    with _Signals(cache.writer(key) if cache is not None and key is not None else None) as signals:
        work = _Work(cohort, preprocessing, signals)
        for index in range(len(cohort)):
            work.add(index)
            progress("reading", index + 1, len(cohort), f"{len(work.excluded)} left out" if work.excluded else "")
        work.flush()
        if not work.kept:
            first = work.excluded[0].reason if work.excluded else "it is empty"
            raise InputError(
                cohort.name, "records", f"none of {len(cohort)} usable", "at least one", first, kind="no_records"
            )
        if key is not None and _identity(cohort) != before:
            signals.forgo("files changed while they were read")
        facts = work.facts()
        return _prepared(cohort, signals.keep(facts), facts)


class _Signals:
    """Prepared signals as they are made: into the cache as long as it takes them, else into memory."""

    def __init__(self, writer: Writer | None) -> None:
        self.writer, self.memory = writer, list[np.ndarray]()

    def __enter__(self) -> _Signals:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def extend(self, signals: np.ndarray) -> None:
        for signal in signals:
            if self.writer is not None:
                try:
                    self.writer.append(signal)
                    continue
                except EnvironmentFault as error:
                    self.forgo(str(error))
            self.memory.append(signal)

    def keep(self, facts: dict[str, Any]) -> Sequence[np.ndarray]:
        """Return all signals, the entry in its place where there is one."""
        if self.writer is not None:
            try:
                return self.writer.finish(facts)
            except EnvironmentFault as error:
                self.forgo(str(error))
        return self.memory

    def forgo(self, reason: str) -> None:
        """Go on without the cache: what it has comes back into memory, its traces on the disk go."""
        if self.writer is not None:
            _LOG.warning("not cached, kept in memory: %s", reason)
            self.memory = self.writer.written()
            self.writer.close()
            self.writer = None


class _Work:
    """Admits record by record, transforms in groups of equal shape."""

    def __init__(self, cohort: Cohort, preprocessing: Preprocessing, signals: _Signals) -> None:
        self.cohort, self.ids, self.preprocessing, self.signals = cohort, cohort.record_ids, preprocessing, signals
        self.kept: list[int] = []
        self.fingerprints: list[str] = []
        self.excluded: list[Excluded] = []
        self.fs = 0.0
        self._waiting: list[tuple[int, ECG, str]] = []

    def add(self, index: int) -> None:
        try:
            ecg = self.cohort.records[index]
            admitted = self.preprocessing.admission.admit(ecg)
        except (InputError, UnsafeError, ContractError) as error:
            self.excluded.append(Excluded(self.ids[index], error.kind, str(error)))
            return
        head = self._waiting[0][1] if self._waiting else admitted
        if len(self._waiting) == _GROUP or (head.fs, head.n_samples) != (admitted.fs, admitted.n_samples):
            self.flush()
        self._waiting.append((index, admitted, ecg.fingerprint()))

    def flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        try:
            batch = self.preprocessing.transform([ecg for _, ecg, _ in waiting])
        except InputError as error:  # the steps cannot take this rate or length, which all of the group share
            self.excluded.extend(Excluded(self.ids[index], error.kind, str(error)) for index, _, _ in waiting)
            return
        if self.fs not in (0.0, batch.fs):
            raise ContractError(
                "preprocessing", "sampling rate", f"{self.fs:g} and {batch.fs:g} Hz", "one rate", "add a resample step"
            )
        self.fs = batch.fs
        self.signals.extend(np.asarray(batch.signal))
        self.kept.extend(index for index, _, _ in waiting)
        self.fingerprints.extend(mark for _, _, mark in waiting)

    def facts(self) -> dict[str, Any]:
        """Return what is known beside the signals, in the order in which these were made."""
        excluded = [asdict(e) for e in self.excluded]
        return {"fs": self.fs, "kept": self.kept, "fingerprints": self.fingerprints, "excluded": excluded}


def _prepared(cohort: Cohort, signals: Sequence[np.ndarray], facts: dict[str, Any]) -> Prepared:
    kept, prints = facts["kept"], facts["fingerprints"]
    order = sorted(range(len(kept)), key=kept.__getitem__)  # groups of one shape may finish out of order
    left_out = tuple(Excluded(**entry) for entry in facts["excluded"])
    used, marks = cohort.take([kept[i] for i in order]), tuple(prints[i] for i in order)
    return Prepared(used, [signals[i] for i in order], facts["fs"], marks, left_out)


def _key(cohort: Cohort, preprocessing: Preprocessing, cache: Cache) -> str | None:
    """Return the cache key, or None where the records do not come straight from files."""
    if cohort.files is None:
        return None
    content = cache.key_of_files([path for paths in cohort.files for path in paths])
    if content is None:
        return None  # a file vanished: reading will say which
    # Names too: formats are told by content, but which files make up a record is told by name.
    names = [[path.name for path in paths] for paths in cohort.files]
    how = [_SCHEMA, preprocessing.as_config(), _how(cohort.records)]
    return hash_of([how, cohort.record_ids, names, content])[:32]


def _identity(cohort: Cohort) -> object:
    try:
        return identity([path for paths in cohort.files or () for path in paths])
    except OSError:
        return None


def _how(read: Any) -> Any:
    """Return how records are read, for the key: which functions, with which arguments (the rate to read at)."""
    owner = getattr(read.read if isinstance(read, Lazy) else read, "__self__", None)
    if isinstance(owner, Lazy):  # records chosen from others
        return _how(owner)
    if isinstance(read, Lazy):
        parts = {id(item[0]): item[0] for item in read.items if isinstance(item, tuple) and isinstance(item[0], Cohort)}
        return [_how(read.read), [_how(part.records) for part in parts.values()]]
    if isinstance(read, partial):
        return [_how(read.func), [_how(a) for a in read.args], {k: _how(v) for k, v in read.keywords.items()}]
    if read is None or isinstance(read, str | int | float):
        return read
    named = read if hasattr(read, "__qualname__") else type(read)
    return f"{named.__module__}.{named.__qualname__}"


def describe_exclusions(excluded: Sequence[Excluded | EcglensError]) -> dict[str, int]:
    """Return how many were left out, by kind, most frequent first."""
    kinds = [entry.kind for entry in excluded]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k))}
