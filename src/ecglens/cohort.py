# SPDX-License-Identifier: Apache-2.0
"""Cohort: ECGs that are read when asked for, with labels, metadata and the list of what was left out.

>>> import numpy as np, pandas as pd
>>> ecgs = [ECG(np.zeros((1, 500), np.float32), fs=100, leads=("I",), record_id=name) for name in "abc"]
>>> labels = pd.DataFrame({"MI": [1.0, 0.0, np.nan]}, index=list("abc"))
>>> metadata = pd.DataFrame({"patient_id": ["p", "q", "q"]}, index=list("abc"))
>>> cohort = Cohort("toy", ecgs, labels, metadata, label_rule="typed by hand")
>>> len(cohort), cohort[1].record_id, len(cohort.where(patient_id="q"))
(3, 'b', 2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
import pandas as pd

from ecglens.ecg import ECG
from ecglens.errors import LeakError, SignalError, TableError, UsageError
from ecglens.fiducials import Fiducials

if TYPE_CHECKING:
    import torch

METADATA_COLUMNS = ("patient_id", "age", "sex", "fold", "device", "site")
Item = TypeVar("Item")
Value = TypeVar("Value")


class Lazy(Sequence[Value], Generic[Item, Value]):
    """A sequence that makes element i only when asked for it: `read(items[i])`."""

    def __init__(self, read: Callable[[Item], Value], items: Sequence[Item]) -> None:
        self.read, self.items = read, items

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Lazy[Item, Value]: ...
    def __getitem__(self, index: int | slice) -> Value | Lazy[Item, Value]:
        if isinstance(index, slice):
            return Lazy(self.read, self.items[index])
        return self.read(self.items[index])


@dataclass(frozen=True)
class Excluded:
    """A record that is not used, and why. `kind` is the stable word, `reason` the sentence."""

    record_id: str
    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Signals of several records on one grid, as a network takes them.

    signal      float32 [record, lead, time], an array or a tensor; in the unit the preprocessing leaves (mV, or
                deviations where it standardises)
    fs, leads   the grid: sampling rate in Hz, lead names
    record_ids  one per record
    start       time of sample 0, in s, one per record
    fiducials   one per record, where known
    """

    signal: np.ndarray | torch.Tensor
    fs: float
    leads: tuple[str, ...]
    record_ids: tuple[str, ...]
    start: tuple[float, ...] = ()
    fiducials: tuple[Fiducials, ...] | None = None


@dataclass(frozen=True, eq=False)
class Cohort:
    """Lazy records with labels and metadata.

    name        of the data set; patients of different data sets are different people
    records     sequence of ECGs, read when indexed
    labels      float [record, class]: 1 yes, 0 no, NaN unknown; index = record ids
    metadata    patient_id (the true person, as text), age (years), sex, fold, device, site; index = record ids
    label_rule  how labels were made from the source, printed beside every number
    excluded    what the loader left out, and why
    fiducials, evidence   one per record, or None
    citation    whom to credit, and the licence
    files       the files each record is read from, where it is read from files: a cache keys on them
    """

    name: str
    records: Sequence[ECG]
    labels: pd.DataFrame
    metadata: pd.DataFrame
    label_rule: str = ""
    excluded: tuple[Excluded, ...] = ()
    fiducials: Sequence[Fiducials] | None = None
    evidence: Sequence[Any] | None = None
    citation: str = ""
    files: Sequence[tuple[Path, ...]] | None = None

    def __post_init__(self) -> None:
        n = len(self.records)
        if not (len(self.labels) == len(self.metadata) == n):
            raise TableError(
                self.name,
                "rows",
                f"{n} records, {len(self.labels)} of labels, {len(self.metadata)} of metadata",
                "equal",
            )
        if not (self.labels.index.equals(self.metadata.index) and self.labels.index.is_unique):
            raise TableError(self.name, "record ids", "doubled or different ids", "the same unique ids in both tables")
        for name in ("fiducials", "evidence", "files"):
            if (column := getattr(self, name)) is not None and len(column) != n:
                raise TableError(self.name, name, f"{len(column)} for {n} records", "one per record")
        if not self.labels.columns.is_unique:
            raise TableError(self.name, "classes", ", ".join(map(str, self.labels.columns)), "each class once")
        try:
            values = self.labels.to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise TableError(self.name, "labels", error, "1, 0, or NaN for unknown") from None
        if not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise TableError(self.name, "labels", "other values", "1, 0, or NaN for unknown")
        metadata = self.metadata.copy()
        for column in METADATA_COLUMNS:
            if column not in metadata:
                metadata[column] = None
        for column in ("patient_id", "sex", "device", "site"):  # text; unknown is None, never the word "nan"
            metadata[column] = metadata[column].astype(object).where(metadata[column].notna(), None)
        metadata["patient_id"] = pd.Series([_as_text(p) for p in metadata["patient_id"]], metadata.index, dtype=object)
        object.__setattr__(self, "metadata", metadata)
        object.__setattr__(self, "labels", self.labels.astype(float))

    @property
    def classes(self) -> tuple[str, ...]:
        """Label names, in column order."""
        return tuple(str(name) for name in self.labels.columns)

    @property
    def record_ids(self) -> tuple[str, ...]:
        """Record ids, in order."""
        return tuple(str(name) for name in self.labels.index)

    @property
    def patient_keys(self) -> tuple[str | None, ...]:
        """`data set:patient` per record: the person, whatever else the cohort is joined with; None if unknown."""
        return tuple(None if p is None else _namespaced(self.name, str(p)) for p in self.metadata["patient_id"])

    @property
    def n_patients(self) -> int:
        """People, where each is known; records without a patient_id count as one each."""
        known = {key for key in self.patient_keys if key is not None}
        return len(known) + sum(key is None for key in self.patient_keys)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> ECG:
        """Read record `index`."""
        return self.records[index]

    def __iter__(self) -> Iterator[ECG]:
        return (self.records[i] for i in range(len(self)))

    def take(self, indices: Sequence[int] | np.ndarray) -> Cohort:
        """Return the records at these positions, in this order, still unread. For a mask see `where`."""
        if np.asarray(indices).dtype == bool:
            raise UsageError(self.name, "indices", "a mask", "positions", "use where(mask)")
        chosen = [int(i) for i in indices]
        return replace(
            self,
            records=Lazy(self.records.__getitem__, chosen),
            labels=self.labels.iloc[chosen],
            metadata=self.metadata.iloc[chosen],
            fiducials=None if self.fiducials is None else Lazy(self.fiducials.__getitem__, chosen),
            evidence=None if self.evidence is None else Lazy(self.evidence.__getitem__, chosen),
            files=None if self.files is None else [self.files[i] for i in chosen],
        )

    def where(self, mask: np.ndarray | pd.Series | None = None, **metadata: Any) -> Cohort:
        """Return the records where `mask` [record] holds and each metadata column equals (or is among) the value.

        A mask is boolean, in the order of the records: a label column is none, since its NaN would count as yes.
        """
        keep = np.ones(len(self), bool) if mask is None else np.array(mask)
        if keep.dtype != bool or keep.shape != (len(self),):
            raise UsageError(
                self.name,
                "mask",
                f"{keep.dtype} {keep.shape}",
                f"bool ({len(self)},)",
                "compare, as in labels[name] == 1",
            )
        for column, value in metadata.items():
            if column not in self.metadata:
                raise UsageError(self.name, "column", column, ", ".join(map(str, self.metadata.columns)))
            allowed = list(value) if isinstance(value, list | tuple | set | frozenset | range) else [value]
            keep &= self.metadata[column].isin(allowed).to_numpy()
        return self.take(np.flatnonzero(keep))

    def map(self, function: Callable[[ECG], ECG]) -> Cohort:
        """Return the cohort with `function` applied to each ECG when it is read.

        Fiducials stay, being times on the ECG's clock. Evidence goes, since it lies on the samples of the unchanged
        ECG: after a crop or a resampling it would point at the wrong ones.
        """
        changed = Lazy(partial(_read_and_apply, self.records, function), range(len(self)))
        return replace(self, records=changed, evidence=None, files=None)  # nor is it what the files hold

    def concat(self, *others: Cohort) -> Cohort:
        """Return one cohort of several with the same classes; ids and patients are prefixed with the data set.

        Fiducials, evidence and files stay where all parts have them.
        """
        parts = (self, *others)
        if any(part.classes != self.classes for part in parts):
            raise TableError(self.name, "classes", " / ".join(",".join(p.classes) for p in parts), "the same in all")
        offsets = [(part, i) for part in parts for i in range(len(part))]
        labels = pd.concat([_prefixed(part.labels, part.name) for part in parts])
        metadata = pd.concat([_prefixed(part.metadata, part.name) for part in parts])
        metadata["patient_id"] = [key for part in parts for key in part.patient_keys]
        return Cohort(
            "+".join(part.name for part in parts),
            Lazy(_read_pair, offsets),
            labels,
            metadata,
            label_rule="; ".join(dict.fromkeys(part.label_rule for part in parts)),
            excluded=tuple(e for part in parts for e in part.excluded),
            fiducials=_joined([part.fiducials for part in parts]),
            evidence=_joined([part.evidence for part in parts]),
            files=_joined([part.files for part in parts]),
            citation="\n".join(dict.fromkeys(part.citation for part in parts if part.citation)),
        )

    def batches(self, size: int = 64) -> Iterator[Batch]:
        """Yield the records in order, `size` at a time. Raises SignalError where leads, rate or length differ."""
        if size < 1:
            raise UsageError(self.name, "size", size, "1 or more")
        for first in range(0, len(self), size):
            ecgs = [self.records[i] for i in range(first, min(first + size, len(self)))]
            for ecg in ecgs:
                if (ecg.leads, ecg.fs, ecg.n_samples) != (ecgs[0].leads, ecgs[0].fs, ecgs[0].n_samples):
                    raise SignalError(
                        ecg.record_id, "shape", repr(ecg), f"as {ecgs[0]!r}", "bring all records to one grid first",
                        kind="shape",
                    )  # fmt: skip
            marks = None if self.fiducials is None else tuple(self.fiducials[first : first + len(ecgs)])
            yield Batch(
                np.stack([ecg.signal for ecg in ecgs]), ecgs[0].fs, ecgs[0].leads,
                tuple(ecg.record_id for ecg in ecgs), tuple(ecg.start for ecg in ecgs), marks,
            )  # fmt: skip

    def split(
        self,
        by: str = "patient",
        *,
        fractions: Mapping[str, float] | None = None,
        folds: Mapping[str, Sequence[int]] | None = None,
        dates: Mapping[str, tuple[str, str]] | None = None,
        gap: float = 0.0,
        seed: int = 0,
        assume_one_record_per_patient: bool = False,
    ) -> dict[str, Cohort]:
        """Return named parts.

        by="patient"  `fractions` of the people, drawn with `seed`; nobody stands in two parts
        by="fold"     `folds`, e.g. {"train": range(1, 9), "valid": [9], "test": [10]}; nobody stands in two parts
        by="date"     `dates`, half-open [from, until) on metadata column `date`; for a person's later sessions,
                      so a person may stand in several parts, a record in one
        by="time"     `fractions` of each recording, `gap` s apart; the same people on purpose, no shared samples

        Raises LeakError where parts overlap in what must be disjoint, and where a patient is unknown (unless told
        to assume that each record is another person).
        """
        if by == "time":
            return self._split_time(fractions or {"train": 0.6, "test": 0.4}, gap)
        if by == "date":
            return self._split_date(dates or {})
        keys = self._person_keys(assume_one_record_per_patient)
        if by == "patient":
            parts = _draw_people(keys, fractions or {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
        elif by == "fold":
            column = self.metadata["fold"]
            if len(self) and column.isna().all():
                raise TableError(self.name, "fold", "none known", "a fold per record", "split by patient")
            folds = folds or {"train": range(1, 9), "valid": [9], "test": [10]}
            parts = {name: np.flatnonzero(column.isin(list(chosen))) for name, chosen in folds.items()}
        else:
            raise UsageError("split", "by", by, "patient, fold, date, time")
        refuse_overlap(self.name, {name: {keys[i] for i in indices} for name, indices in parts.items()})
        return {name: self.take(indices) for name, indices in parts.items()}

    def _person_keys(self, assume_one_record_per_patient: bool) -> list[str]:
        keys = self.patient_keys
        unknown = sum(key is None for key in keys)
        if unknown and not assume_one_record_per_patient:
            raise LeakError(
                self.name, "patient_id", f"unknown for {unknown} of {len(self)} records", "known for each",
                "add a patient_id column, or say that each record is another person "
                "(assume_one_record_per_patient)", kind="unknown_patient",
            )  # fmt: skip
        return [
            key if key is not None else f"record:{record}" for key, record in zip(keys, self.record_ids, strict=True)
        ]

    def _split_date(self, dates: Mapping[str, tuple[str, str]]) -> dict[str, Cohort]:
        if not dates:
            raise UsageError("split", "dates", "none", "name -> (from, until), half-open")
        if "date" not in self.metadata or self.metadata["date"].isna().any():
            raise TableError(self.name, "date", "missing", "a date for each record")
        when = pd.to_datetime(self.metadata["date"])
        parts = {
            name: np.flatnonzero((when >= pd.Timestamp(a)) & (when < pd.Timestamp(b))) for name, (a, b) in dates.items()
        }
        refuse_overlap(self.name, {name: {self.record_ids[i] for i in part} for name, part in parts.items()})
        return {name: self.take(indices) for name, indices in parts.items()}

    def _split_time(self, fractions: Mapping[str, float], gap: float) -> dict[str, Cohort]:
        if sum(fractions.values()) > 1 + 1e-9 or min(fractions.values()) <= 0 or gap < 0:
            raise LeakError(self.name, "fractions", dict(fractions), "positive, together at most 1, gap >= 0")
        edges = np.concatenate([[0.0], np.cumsum(list(fractions.values()))])
        return {
            name: self.map(partial(_stretch, first=edges[i], last=edges[i + 1], gap=gap))
            for i, name in enumerate(fractions)
        }


def refuse_overlap(where: str, parts: Mapping[str, set[str]]) -> None:
    """Raise LeakError where two parts share a member (a person, a record)."""
    names = list(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = parts[first] & parts[second]
            if shared:
                raise LeakError(
                    where, "split", f"{len(shared)} shared by {first} and {second} (one is {min(shared)})",
                    "nobody on both sides", "correct the folds, or split by patient",
                )  # fmt: skip


def _draw_people(keys: Sequence[str], fractions: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    if sum(fractions.values()) > 1 + 1e-9 or min(fractions.values()) <= 0:
        raise UsageError("split", "fractions", dict(fractions), "positive, together at most 1")
    people = sorted(set(keys))
    order = np.random.default_rng(seed).permutation(len(people))
    edges = np.floor(np.concatenate([[0.0], np.cumsum(list(fractions.values()))]) * len(people) + 1e-9).astype(int)
    where = {name: i for i, name in enumerate(people)}
    person = np.array([where[key] for key in keys], int)
    rank = np.empty(len(people), int)
    rank[order] = np.arange(len(people))
    return {
        name: np.flatnonzero((rank[person] >= edges[i]) & (rank[person] < edges[i + 1]))
        for i, name in enumerate(fractions)
    }


def _stretch(ecg: ECG, first: float, last: float, gap: float) -> ECG:
    begin = ecg.start + first * ecg.duration + (gap / 2 if first > 0 else 0.0)
    end = ecg.start + last * ecg.duration - (gap / 2 if last < 1 - 1e-9 else 0.0)
    return ecg.crop(begin, min(end, ecg.start + ecg.duration))


def _namespaced(name: str, patient: str) -> str:
    # A joined cohort is named "a+b", and its ids already start with "a:" or "b:".
    return patient if patient.startswith(tuple(f"{part}:" for part in name.split("+"))) else f"{name}:{patient}"


def _as_text(patient: Any) -> str | None:
    """Return a patient id as text; a number that a table made 15709.0 is 15709 all the same."""
    if patient is None:
        return None
    return str(int(patient)) if isinstance(patient, float) and patient.is_integer() else str(patient)


def _prefixed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.set_axis([_namespaced(name, str(key)) for key in table.index])


def _joined(columns: Sequence[Sequence[Any] | None]) -> Sequence[Any] | None:
    """Return several columns as one, still unread, or None where one of them is missing."""
    known = [column for column in columns if column is not None]
    if len(known) < len(columns):
        return None
    return Lazy(_read_item, [(column, i) for column in known for i in range(len(column))])


def _read_item(pair: tuple[Sequence[Any], int]) -> Any:
    column, index = pair
    return column[index]


def _read_pair(pair: tuple[Cohort, int]) -> ECG:
    cohort, index = pair
    return cohort.records[index]


def _read_and_apply(records: Sequence[ECG], function: Callable[[ECG], ECG], index: int) -> ECG:
    return function(records[index])
