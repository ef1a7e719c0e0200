# SPDX-License-Identifier: Apache-2.0
"""Regions of an ECG that are hidden from a network, and what is put in their place.

I, II, III, aVR, aVL and aVF are two measurements shown six times: III is II less I, whatever the heart does. Changing
one of them alone makes a signal that no heart and no electrode can make, and a network's answer to it says nothing of
ECGs. So the limb leads are hidden together, and fillers that keep these sums are the default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.errors import SignalError, UsageError
from ecglens.fiducials import Fiducials
from ecglens.leads import LIMB_LEADS, derive_limb_lead
from ecglens.runs.draws import normal, record_keys

SEGMENT_EDGES = {"P": ("P_onset", "P_offset"), "QRS": ("QRS_onset", "QRS_offset"), "ST": ("QRS_offset", "T_onset"),
         "T": ("T_onset", "T_offset")}  # fmt: skip
REST = "rest"


@dataclass(frozen=True)
class Region:
    """Some leads over some samples.

    name    in words, "V1 2.4-2.5 s" or "limb QRS"
    leads   positions of the leads
    times   bool [time]
    """

    name: str
    leads: tuple[int, ...]
    times: np.ndarray


def lead_groups(leads: Sequence[str], together: bool = True) -> dict[str, tuple[int, ...]]:
    """Return positions by name of group: the limb leads as one group, each other lead by itself.

    together   False: each lead by itself, as TrustECG does
    """
    limb = tuple(k for k, lead in enumerate(leads) if lead in LIMB_LEADS)
    if not together or len(limb) < 2:
        return {lead: (k,) for k, lead in enumerate(leads)}
    return {"limb": limb} | {lead: (k,) for k, lead in enumerate(leads) if lead not in LIMB_LEADS}


def time_windows(
    leads: Sequence[str], n_samples: int, length: int, stride: int, together: bool = True, fs: float = 1.0
) -> list[Region]:
    """Return the regions lead group x window of `length` samples every `stride`, the last one cut at the end."""
    if not 1 <= stride <= length:
        raise UsageError("regions", "length, stride", f"{length}, {stride}", "1 <= stride <= length, in samples")
    starts = list(range(0, max(1, n_samples - length + stride), stride))
    regions = []
    for name, rows in lead_groups(leads, together).items():
        for start in starts:
            times = np.zeros(n_samples, bool)
            times[start : start + length] = True
            regions.append(Region(f"{name} {start / fs:g}-{min(start + length, n_samples) / fs:g} s", rows, times))
    return regions


def segments(
    fiducials: Fiducials, leads: Sequence[str], fs: float, start: float, n_samples: int, together: bool = True
) -> list[Region]:
    """Return the regions lead group x segment (P, QRS, ST, T of all beats, and the rest), by the marks of the group.

    A group's segment is where any of its leads has it. Raises SignalError where there are no beats.
    """
    if fiducials.n_beats == 0:
        raise SignalError("regions", "beats", "none", "at least one marked beat", kind="no_beats")
    at = start + np.arange(n_samples) / fs
    regions = []
    for name, rows in lead_groups(leads, together).items():
        taken = np.zeros(n_samples, bool)
        for wave, (onset, offset) in SEGMENT_EDGES.items():
            times = np.zeros(n_samples, bool)
            for lead in (leads[k] for k in rows if leads[k] in fiducials.leads):
                for a, b in zip(fiducials[lead, onset], fiducials[lead, offset], strict=True):
                    times |= (at >= a) & (at < b)  # NaN compares as outside
            times &= ~taken
            taken |= times
            if times.any():
                regions.append(Region(f"{name} {wave}", rows, times))
        if not taken.all():
            regions.append(Region(f"{name} {REST}", rows, ~taken))
    return regions


# --------------------------------------------------------------------------------------------------------- fillers

# (signal [lead, time], region, lead names, record id) -> signal with the region replaced
Filler = Callable[[np.ndarray, Region, Sequence[str], str], np.ndarray]


def fill_zero(signal: np.ndarray, region: Region, leads: Sequence[str], record_id: str) -> np.ndarray:
    """Return the signal with 0 in the region: TrustECG's way; a jump at each border."""
    return _replaced(signal, region, np.zeros_like(signal))


def fill_mean(signal: np.ndarray, region: Region, leads: Sequence[str], record_id: str) -> np.ndarray:
    """Return the signal with each lead's mean in the region."""
    return _replaced(signal, region, np.broadcast_to(signal.mean(axis=1, keepdims=True), signal.shape))


def fill_line(signal: np.ndarray, region: Region, leads: Sequence[str], record_id: str) -> np.ndarray:
    """Return the signal with straight lines between the borders of the region: no wave, no jump, sums of leads kept."""
    return _replaced(signal, region, _lines(signal, region.times))


def fill_noise(signal: np.ndarray, region: Region, leads: Sequence[str], record_id: str) -> np.ndarray:
    """Return the signal with lines and noise of each lead's own level in the region; limb leads derived from I and II.

    The level is that of the second differences, by their median, so that waves do not count.
    """
    rough = np.abs(np.diff(signal, n=2, axis=1))
    level = np.median(rough, axis=1) / 0.6745 / np.sqrt(6.0)  # second differences of white noise: variance 6
    drawn = np.stack([normal(0, f"fill/{lead}", record_keys([record_id]), signal.shape[1])[0] for lead in leads])
    noise = (level[:, None] * drawn).astype(np.float32)
    if {"I", "II"} <= set(leads):
        for k, lead in enumerate(leads):
            if lead in LIMB_LEADS and lead not in ("I", "II"):
                noise[k] = derive_limb_lead(noise, leads, lead)
    return _replaced(signal, region, _lines(signal, region.times) + noise)


FILLERS: dict[str, Filler] = {"zero": fill_zero, "mean": fill_mean, "line": fill_line, "noise": fill_noise}


def find_filler(name: str) -> Filler:
    """Return a filler by name. Raises UsageError for an unknown one."""
    if name not in FILLERS:
        raise UsageError("explain", "filler", name, ", ".join(FILLERS))
    return FILLERS[name]


def _replaced(signal: np.ndarray, region: Region, with_what: np.ndarray) -> np.ndarray:
    out = signal.copy()
    rows = np.array(region.leads)[:, None]
    columns = np.flatnonzero(region.times)
    out[rows, columns] = with_what[rows, columns]
    return out


def _lines(signal: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return straight lines through what is not in `times` [time], per lead; where nothing is left, the mean."""
    kept = np.flatnonzero(~times)
    if not len(kept):
        return np.broadcast_to(signal.mean(axis=1, keepdims=True), signal.shape)
    at = np.arange(signal.shape[1])
    return np.stack([np.interp(at, kept, row[kept]) for row in signal]).astype(np.float32)
