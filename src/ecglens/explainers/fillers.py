# SPDX-License-Identifier: Apache-2.0
"""What is put in the place of a hidden region.

Lines, means, zeros and a mean of beats are linear in the signal, the same for all leads, so whatever sums the leads
obey their fillers obey too: III stays II less I. A median is not linear, and noise is drawn: there I and II are filled
and the other limb leads are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ecglens.cohort import Batch
from ecglens.errors import SignalError, UsageError
from ecglens.explainers.regions import Region
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import LIMB_LEADS, derive_limb_lead
from ecglens.runs.draws import normal, record_keys

_BEFORE_R = 0.4  # of the median RR interval: where a beat begins
_R = MARKS.index("R_peak")
_FEWEST = 3  # beats that a median says anything of


@dataclass(frozen=True)
class Recording:
    """A prepared signal, and what fillers need to know of it.

    signal     float32 [lead, time]
    leads      names
    record_id  decides what is drawn
    r_peaks    samples of the R peaks, None where they are not known
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    record_id: str
    r_peaks: np.ndarray | None = None

    @classmethod
    def of(cls, batch: Batch, k: int) -> Recording:
        """Return record `k` of a batch, with its R peaks where the batch has marks."""
        peaks = None
        if batch.fiducials is not None:
            start = batch.start[k] if batch.start else 0.0
            at = np.rint((r_peak_times(batch.fiducials[k]) - start) * batch.fs).astype(int)
            peaks = at[(at >= 0) & (at < batch.signal.shape[-1])]
        return cls(np.asarray(batch.signal)[k], batch.leads, batch.record_ids[k], peaks)

    @cached_property
    def noise(self) -> np.ndarray:
        """White noise of each lead's own level [lead, time], limb leads consistent.

        The level is that of the second differences, by their median, so that waves do not count.
        """
        rough = np.abs(np.diff(self.signal, n=2, axis=1))
        level = np.median(rough, axis=1) / 0.6745 / np.sqrt(6.0)  # second differences of white noise: variance 6
        n_samples, key = self.signal.shape[1], record_keys([self.record_id])
        drawn = np.stack([normal(0, f"fill/{lead}", key, n_samples)[0] for lead in self.leads])
        return _consistent((level[:, None] * drawn).astype(np.float32), self.leads)

    @cached_property
    def median_beats(self) -> np.ndarray:
        """The recording with each beat replaced by the median of all [lead, time], limb leads consistent.

        Beats are aligned at R and last from 0.4 of the median RR interval before it to 0.6 after it; a longer interval
        is filled up with the last value. Raises SignalError where fewer than three beats are known.
        """
        if self.r_peaks is None or len(self.r_peaks) < _FEWEST:
            found = "none" if self.r_peaks is None else len(self.r_peaks)
            raise SignalError(
                self.record_id, "beats", found, f"{_FEWEST} or more for a median beat", "use another filler",
                kind="no_beats",
            )  # fmt: skip
        spacing = int(np.median(np.diff(self.r_peaks)))
        offsets = np.arange(-round(_BEFORE_R * spacing), spacing - round(_BEFORE_R * spacing))
        at = self.r_peaks[:, None] + offsets
        inside = (at >= 0) & (at < self.signal.shape[1])
        seen = inside.any(axis=0)  # one unbroken stretch around R
        at, inside, offsets = at[:, seen], inside[:, seen], offsets[seen]
        beats = self.signal[:, at.clip(0, self.signal.shape[1] - 1)].astype(np.float64)
        beat = np.nanmedian(np.where(inside, beats, np.nan), axis=1)
        since = np.arange(self.signal.shape[1]) - self.r_peaks[self._beat_of_sample(offsets[0])]
        return _consistent(beat[:, (since - offsets[0]).clip(0, len(offsets) - 1)].astype(np.float32), self.leads)

    def _beat_of_sample(self, begin: int) -> np.ndarray:
        """Return the number of the beat that each sample belongs to; what lies before the first is part of it."""
        assert self.r_peaks is not None
        samples = np.arange(self.signal.shape[1])
        return (np.searchsorted(self.r_peaks + begin, samples, side="right") - 1).clip(0)


def r_peak_times(fiducials: Fiducials) -> np.ndarray:
    """Return the time of each beat's R peak, in s: the median over leads; beats without any are left out."""
    peaks = fiducials.times[:, :, _R]
    peaks = peaks[:, ~np.isnan(peaks).all(axis=0)]
    return np.unique(np.nanmedian(peaks, axis=0)) if peaks.size else np.empty(0)


Filler = Callable[[Recording, Region], np.ndarray]  # the signal [lead, time] with the region replaced


def fill_zero(recording: Recording, region: Region) -> np.ndarray:
    """Put 0 in the region: TrustECG's way; a jump at each border."""
    return _replaced(recording, region, np.zeros_like(recording.signal))


def fill_mean(recording: Recording, region: Region) -> np.ndarray:
    """Put each lead's mean in the region."""
    level = recording.signal.mean(axis=1, keepdims=True)
    return _replaced(recording, region, np.broadcast_to(level, recording.signal.shape))


def fill_line(recording: Recording, region: Region) -> np.ndarray:
    """Put straight lines between the borders of the region: no wave, no jump; a whole lead becomes its mean."""
    return _replaced(recording, region, _lines(recording.signal, region.times))


def fill_noise(recording: Recording, region: Region) -> np.ndarray:
    """Put lines and noise of each lead's own level in the region."""
    return _replaced(recording, region, _lines(recording.signal, region.times) + recording.noise)


def fill_median_beat(recording: Recording, region: Region) -> np.ndarray:
    """Put the recording's own median beat in the region, shifted by a straight line so that no border jumps.

    What is left to see is how this beat differs from the others: a premature beat, an artefact. Raises SignalError
    where fewer than three beats are known.
    """
    usual = recording.median_beats
    return _replaced(recording, region, usual + _lines(recording.signal - usual, region.times))


FILLERS: dict[str, Filler] = {
    "zero": fill_zero, "mean": fill_mean, "line": fill_line, "matched_noise": fill_noise,
    "median_beat": fill_median_beat,
}  # fmt: skip


def find_filler(name: str) -> Filler:
    """Return a filler by name. Raises UsageError for an unknown one."""
    if name not in FILLERS:
        raise UsageError("explain", "filler", name, ", ".join(FILLERS))
    return FILLERS[name]


def _replaced(recording: Recording, region: Region, with_what: np.ndarray) -> np.ndarray:
    out = recording.signal.copy()
    rows, columns = np.array(region.leads)[:, None], np.flatnonzero(region.times)
    out[rows, columns] = with_what[rows, columns]
    return out


def _lines(signal: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return straight lines through what is not in `times` [time], per lead; where nothing is left, the mean."""
    kept = np.flatnonzero(~times)
    if not len(kept):
        return np.broadcast_to(signal.mean(axis=1, keepdims=True), signal.shape)
    at = np.arange(signal.shape[1])
    return np.stack([np.interp(at, kept, row[kept]) for row in signal]).astype(np.float32)


def _consistent(signal: np.ndarray, leads: Sequence[str]) -> np.ndarray:
    """Return the signal [lead, time] with all limb leads but the first two made of these, as Einthoven has it."""
    out = signal.copy()
    for lead in [name for name in LIMB_LEADS if name in leads][2:]:
        out[list(leads).index(lead)] = derive_limb_lead(signal, leads, lead)
    return out
