# SPDX-License-Identifier: Apache-2.0
"""The marks of a cohort's records, found once per recording and kept in the user's cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecglens.bundle import PRETRAINED
from ecglens.ecg import ECG
from ecglens.fiducials import Fiducials
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import sha256
from ecglens.runs.run import hash_of
from ecglens.waveform.beats import median_beats
from ecglens.waveform.delineate import METHOD, marks_from_map
from ecglens.waveform.soft_segments import mark_deviations
from ecglens.waveform.wave_map import map_waves

Floats = NDArray[np.float64]
_MADE_BY = "marks, deviations and beats, 1"  # another way of making them: another number


@dataclass(frozen=True, eq=False)
class Marked:
    """What is known of a recording's beats.

    marks      of each wave
    deviation  standard deviation of each mark, in s [lead, beat, mark]
    beats      times of all beats, in s [beat], aligned by the shape of their QRS
    why_not    reason for which a beat is no usual one (odd, early), empty where it is [beat]
    """

    marks: Fiducials
    deviation: Floats
    beats: Floats
    why_not: tuple[str, ...]

    @property
    def usual(self) -> Floats:
        """Times of the usual beats, in s [beat]."""
        return self.beats[[not reason for reason in self.why_not]]


def marks_cache() -> Cache:
    """Return the user's cache of marks."""
    return Cache(default_cache().parent / "marks")


def mark(ecg: ECG, cache: Cache | None = None) -> Marked:
    """Return what is known of a recording's beats, from the cache where they were found before.

    One recording at a time and as exactly as the cache keeps it, so that neither order nor cache can change a bit.
    """
    key = hash_of([_made_by(), ecg.fingerprint(), ecg.start])[:40]
    found = None if cache is None else _load(cache, key)
    if found is None:
        found = _mark(ecg)
        if cache is not None:
            _store(cache, key, found)
    return found


@lru_cache(maxsize=1)
def _made_by() -> str:
    return hash_of([_MADE_BY, METHOD, sha256(PRETRAINED / "delineator" / "weights.safetensors")])


def _mark(ecg: ECG) -> Marked:
    wave_map = map_waves(ecg)
    found = marks_from_map(ecg, wave_map)
    deviation = _kept(mark_deviations(wave_map, found))
    usual = median_beats(ecg, found) if found.n_beats else "no beat is marked"
    certainty = None if found.certainty is None else _kept(found.certainty)
    marks = replace(found, times=_kept(found.times), certainty=certainty)
    if isinstance(usual, str):
        return Marked(marks, deviation, np.full(marks.n_beats, np.nan), (usual,) * marks.n_beats)
    return Marked(marks, deviation, _kept(usual.times), usual.why_not)


def _kept(values: Floats) -> Floats:
    """Return the numbers as the cache keeps them: in single precision, a microsecond in ten seconds."""
    return values.astype(np.float32).astype(np.float64)


def _store(cache: Cache, key: str, made: Marked) -> None:
    absent = [[*place, why] for place, why in made.marks.absent.items()]
    certainty = np.zeros(0) if made.marks.certainty is None else made.marks.certainty
    facts = {"leads": made.marks.leads, "absent": absent, "why_not": made.why_not}
    cache.store(key, [made.marks.times, certainty, made.deviation, made.beats], facts)


def _load(cache: Cache, key: str) -> Marked | None:
    entry = cache.load(key)
    if entry is None:
        return None
    (times, certainty, deviation, beats), facts = entry
    absent = {(lead, beat, wave): why for lead, beat, wave, why in facts["absent"]}
    sure = np.asarray(certainty) if certainty.size else None
    marks = Fiducials(np.asarray(times), tuple(facts["leads"]), METHOD, sure, absent)
    return Marked(marks, np.asarray(deviation, np.float64), np.asarray(beats, np.float64), tuple(facts["why_not"]))
