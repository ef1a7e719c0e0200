# SPDX-License-Identifier: Apache-2.0
"""A whole cohort through its preprocessing: what cannot be used is left out, counted and listed with the reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ecglens.cohort import Cohort, Excluded
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, EnvironmentFault, InputError, UnsafeError
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.runs.cache import Cache, files_key
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import hash_of

_LOG = logging.getLogger(__name__)
_GROUP = 32  # records transformed together: enough for matrix products, small enough for the processor caches
_SCHEMA = 1  # of cache entries: raise it when a step changes its numbers


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
    """Read, admit and transform all records; with a cache, only once as long as the files stay as they are.

    Raises InputError where not a single record can be used.
    """
    key = _key(cohort, preprocessing) if cache is not None else None
    found = cache.load(key) if cache is not None and key is not None else None
    if found is not None:
        signals, facts = found
        progress("reading", len(cohort), len(cohort), "from the cache")
        return _prepared(cohort, signals, facts["fs"], facts["kept"], facts["fingerprints"], facts["excluded"])
    work = _Work(cohort, preprocessing)
    for index in range(len(cohort)):
        work.add(index)
        progress("reading", index + 1, len(cohort), f"{len(work.excluded)} left out" if work.excluded else "")
    work.flush()
    if not work.kept:
        first = work.excluded[0].reason if work.excluded else "it is empty"
        raise InputError(
            cohort.name, "records", f"none of {len(cohort)} usable", "at least one", first, kind="no_records"
        )
    order = sorted(range(len(work.kept)), key=work.kept.__getitem__)  # groups of one shape may finish out of order
    signals = [work.signals[i] for i in order]
    kept, prints = [work.kept[i] for i in order], [work.fingerprints[i] for i in order]
    if cache is not None and key is not None:
        excluded = [asdict(e) for e in work.excluded]
        facts = {"fs": work.fs, "kept": kept, "fingerprints": prints, "excluded": excluded}
        try:
            cache.store(key, signals, facts)
        except EnvironmentFault as error:
            _LOG.warning("not cached: %s", error)  # the work itself is done and in memory
    return _prepared(cohort, signals, work.fs, kept, prints, [asdict(e) for e in work.excluded])


class _Work:
    """Admits record by record, transforms in groups of equal shape."""

    def __init__(self, cohort: Cohort, preprocessing: Preprocessing) -> None:
        self.cohort, self.ids, self.preprocessing = cohort, cohort.record_ids, preprocessing
        self.signals: list[np.ndarray] = []
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


def _prepared(
    cohort: Cohort,
    signals: Sequence[np.ndarray],
    fs: float,
    kept: list[int],
    fingerprints: list[str],
    excluded: list[dict[str, str]],
) -> Prepared:
    left_out = tuple(Excluded(**entry) for entry in excluded)
    return Prepared(cohort.take(kept), signals, fs, tuple(fingerprints), left_out)


def _key(cohort: Cohort, preprocessing: Preprocessing) -> str | None:
    """Return the cache key, or None where the records do not come straight from files."""
    if cohort.files is None:
        return None
    try:
        files = [files_key(paths) for paths in cohort.files]
    except OSError:
        return None  # a file vanished: reading will say which
    return hash_of([_SCHEMA, preprocessing.as_config(), cohort.record_ids, files])[:32]


def describe_exclusions(excluded: Sequence[Excluded | EcglensError]) -> dict[str, int]:
    """Return how many were left out, by kind, most frequent first."""
    kinds = [entry.kind for entry in excluded]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k))}
