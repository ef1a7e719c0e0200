# SPDX-License-Identifier: Apache-2.0
"""The ECG: a signal [lead, time] in millivolts with its sampling rate and lead names, checked at birth.

>>> import numpy as np
>>> ecg = ECG(np.zeros((2, 1000), np.float32), fs=100, leads=("I", "II"), record_id="a")
>>> ecg.duration, ecg["II"].shape, ecg.crop(2, 4).start, ecg.crop(2, 4).n_samples
(10.0, (1000,), 2.0, 200)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ecglens.errors import Finding, SignalError
from ecglens.leads import STANDARD_LEADS, canonical_lead, derivable, derive_limb_lead
from ecglens.shapes import Signal

MIN_FS, MAX_FS = 50.0, 4000.0
# What may travel with an ECG. Names, addresses and hospital numbers have no key on purpose.
METADATA_KEYS = frozenset({"age", "sex", "device", "site", "date", "height", "weight", "format", "units"})


@dataclass(frozen=True, eq=False)
class ECG:
    """One recording.

    signal    float32 [lead, time], in mV; NaN is a gap, infinity is refused
    fs        sampling rate, in Hz (50 to 4000)
    leads     lead names, standard ones spelled as in `leads.STANDARD_LEADS`, no duplicates
    record_id what the data set calls it; never a name of a person
    start     time of sample 0, in s; sample i lies at start + i / fs, intervals are half-open
    metadata  age (years), sex ("female" | "male"), device, site, date; other keys are refused
    findings  what the reader noticed (gain assumed, trailing bytes, ...)
    """

    signal: Signal
    fs: float
    leads: tuple[str, ...]
    record_id: str = ""
    start: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        where = self.record_id or "ECG"
        signal = _owned(self.signal)
        leads = tuple(canonical_lead(str(name)) for name in self.leads)
        if signal.ndim != 2 or 0 in signal.shape:
            raise SignalError(where, "signal", f"shape {signal.shape}", "[lead, time], neither empty", kind="shape")
        if signal.shape[0] != len(leads):
            raise SignalError(
                where, "leads", f"{len(leads)} names for {signal.shape[0]} rows", "one name per row", kind="shape"
            )
        doubled = sorted({name for name in leads if leads.count(name) > 1})
        if doubled:
            raise SignalError(
                where, "leads", f"{', '.join(doubled)} more than once", "each lead once",
                "remove or rename the extra channel", kind="duplicate_lead", lead=doubled[0],
            )  # fmt: skip
        if not (np.isfinite(self.fs) and MIN_FS <= self.fs <= MAX_FS):
            raise SignalError(
                where, "sampling rate", f"{self.fs} Hz", f"{MIN_FS:g} to {MAX_FS:g} Hz", kind="sampling_rate"
            )
        infinite = np.isinf(signal).any(axis=1)
        if infinite.any():
            lead = leads[int(np.argmax(infinite))]
            raise SignalError(
                where, f"lead {lead}", "infinite samples", "finite mV, NaN for gaps", kind="infinite", lead=lead
            )
        if not np.isfinite(self.start):
            raise SignalError(where, "start", self.start, "a finite time in s", kind="start")
        unknown = sorted(map(str, set(self.metadata) - METADATA_KEYS))
        if unknown:
            raise SignalError(
                where, "metadata", ", ".join(unknown), ", ".join(sorted(METADATA_KEYS)),
                "leave personal data behind", kind="metadata",
            )  # fmt: skip
        signal.flags.writeable = False
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "fs", float(self.fs))
        object.__setattr__(self, "leads", leads)
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        object.__setattr__(self, "findings", tuple(self.findings))

    @property
    def n_samples(self) -> int:
        """Samples per lead."""
        return int(self.signal.shape[1])

    @property
    def duration(self) -> float:
        """Length, in s."""
        return self.n_samples / self.fs

    @property
    def times(self) -> np.ndarray:
        """Time of each sample, in s [time]."""
        return self.start + np.arange(self.n_samples) / self.fs

    @property
    def gaps(self) -> np.ndarray:
        """True where a sample is missing [lead, time]."""
        return np.isnan(self.signal)

    def __getitem__(self, lead: str) -> np.ndarray:
        """Return one lead [time], in mV, by name."""
        return self.signal[self._index(lead)]

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and workers receive ECGs by pickle.
        return ECG, (self.signal, self.fs, self.leads, self.record_id, self.start, dict(self.metadata), self.findings)

    def __repr__(self) -> str:
        return (
            f"ECG({self.record_id!r}, {len(self.leads)} leads {' '.join(self.leads)}, "
            f"{self.duration:g} s at {self.fs:g} Hz, start {self.start:g} s)"
        )

    def select(self, leads: Sequence[str] = STANDARD_LEADS) -> ECG:
        """Return the ECG with these leads in this order; limb leads that are missing are derived and noted.

        Raises SignalError (kind `missing_lead`) for a lead that is neither there nor derivable.
        """
        wanted = tuple(canonical_lead(name) for name in leads)
        if wanted == self.leads:
            return self
        missing = [name for name in wanted if name not in self.leads and not derivable(self.leads, name)]
        if missing:
            raise SignalError(
                self.record_id or "ECG", "leads", f"no {', '.join(missing)}", f"{', '.join(wanted)}",
                "record the missing lead, or use a model that does not need it",
                kind="missing_lead", lead=missing[0],
            )  # fmt: skip
        derived = [name for name in wanted if name not in self.leads]
        rows = [derive_limb_lead(self.signal, self.leads, name) if name in derived else self[name] for name in wanted]
        findings = self.findings
        if derived:
            findings += (Finding("derived_leads", "note", f"{', '.join(derived)} derived from two other limb leads"),)
        extra = [name for name in self.leads if name not in wanted]
        if extra:
            findings += (Finding("extra_leads", "note", f"{', '.join(extra)} not used"),)
        return replace(self, signal=np.stack(rows), leads=wanted, findings=findings)

    def crop(self, start: float, stop: float) -> ECG:
        """Return the samples with start <= t < stop, times in s on this ECG's clock.

        Raises SignalError where the stretch is not wholly inside the recording.
        """
        first, last = sample_range(self.record_id or "ECG", self.start, self.fs, self.n_samples, start, stop)
        return replace(self, signal=self.signal[:, first:last], start=self.start + first / self.fs)

    def fingerprint(self) -> str:
        """Return a hash of the samples (rounded to microvolts), leads and rate: equal for equal recordings.

        Renaming, moving or rewriting the file in another format does not change it.
        """
        order = sorted(range(len(self.leads)), key=lambda i: self.leads[i])
        microvolts = np.rint(self.signal[order].astype(np.float64) * 1000).clip(-(2.0**31) + 1, 2.0**31 - 1)
        microvolts = np.nan_to_num(microvolts, nan=-(2.0**31))  # a value that no sample can have
        digest = hashlib.sha256(f"{self.fs:g} {[self.leads[i] for i in order]}".encode())
        digest.update(np.ascontiguousarray(microvolts.astype("<i4")).tobytes())
        return digest.hexdigest()

    def _index(self, lead: str) -> int:
        name = canonical_lead(lead)
        if name not in self.leads:
            raise SignalError(
                self.record_id or "ECG", "leads", f"no {name}", ", ".join(self.leads), kind="missing_lead", lead=name
            )
        return self.leads.index(name)


def _owned(signal: np.ndarray) -> Signal:
    """Return a copy as float32 that nobody else can change, or the array itself where that is so already."""
    if isinstance(signal, np.ndarray) and signal.dtype == np.float32 and signal.base is None:
        ours = signal.flags.c_contiguous and not signal.flags.writeable
        if ours:
            return signal
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.array(signal, dtype=np.float32, order="C")


def sample_range(
    where: object, begin: float, fs: float, n_samples: int, start: float | None, stop: float | None
) -> tuple[int, int]:
    """Return the first sample of start <= t < stop and the one behind the last; times in s, None: to the end.

    where     for the message: the recording
    begin     time of sample 0, in s

    Raises SignalError (kind `crop`) where the stretch is empty or not wholly inside the recording.
    """
    end = begin + n_samples / fs
    times = begin if start is None else start, end if stop is None else stop
    edges = [math.ceil((time - begin) * fs - 1e-6) if math.isfinite(time) else math.nan for time in times]
    edges = [0 if start is None else edges[0], n_samples if stop is None else edges[1]]
    if not 0 <= edges[0] < edges[1] <= n_samples:  # NaN compares as outside
        raise SignalError(
            where, "crop", f"[{times[0]:g}, {times[1]:g}) s", f"inside [{begin:g}, {end:g}) s and not empty",
            kind="crop",
        )  # fmt: skip
    return int(edges[0]), int(edges[1])
