# SPDX-License-Identifier: Apache-2.0
"""Regions of an ECG that are hidden from a network; `fillers` says what is put in their place.

I, II, III, aVR, aVL and aVF are two measurements shown six times: III is II less I, whatever the heart does. Changing
one of them alone makes a signal that no heart and no electrode can make, and a network's answer to it says nothing of
ECGs. So the limb leads are hidden together, and fillers that keep these sums are the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.errors import SignalError, UsageError
from ecglens.fiducials import Fiducials
from ecglens.leads import LIMB_LEADS

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


def whole_leads(leads: Sequence[str], n_samples: int, together: bool = True) -> list[Region]:
    """Return the regions lead group x all of the time."""
    return [Region(name, rows, np.ones(n_samples, bool)) for name, rows in lead_groups(leads, together).items()]


def wave_length(regions: Sequence[Region]) -> int:
    """Return the longest unbroken stretch of P, QRS, ST or T among `segments`, in samples; of the rest without them."""
    waves = [region for region in regions if not region.name.endswith(f" {REST}")] or list(regions)
    return max(_longest_run(region.times) for region in waves)


def _longest_run(times: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], times, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
