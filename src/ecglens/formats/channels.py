# SPDX-License-Identifier: Apache-2.0
"""What readers of channels share: which lead a label means, samples to millivolts, and values that stand out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecglens.ecg import MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.wfdb_header import MILLIVOLTS, USUAL_FS
from ecglens.leads import OTHER_LEADS, STANDARD_LEADS, canonical_lead
from ecglens.shapes import Signal

MAX_VALUES = 2**26  # samples of all leads: a day of three leads at 256 Hz; at most four arrays of them stay below 1 GB
MAX_LEADS = 256
_BLOCK = 2**18  # samples that are converted at a time, so that the float64 copy stays small

_AFTER = re.compile(r"\s*[(,].*")
_BEFORE = re.compile(r"(?:E[CK]G)?[\s:_-]*(?:lead)?[\s:_-]*", re.IGNORECASE)


class Scale(NamedTuple):
    """mV = (sample * slope + offset) / per_millivolt; slope and offset are in the channel's own unit."""

    slope: float
    offset: float
    per_millivolt: float


def known_lead(label: str) -> str | None:
    """Return the lead that a channel's label means, or None where it is none that we know.

    >>> known_lead("Lead I (Einthoven)"), known_lead("EKG aVR"), known_lead("ECG 1"), known_lead("EEG Fpz-Cz")
    ('I', 'aVR', 'ECG1', None)
    """
    bare = _AFTER.sub("", label.strip())
    short = bare[_BEFORE.match(bare).end() :]  # type: ignore[union-attr]  # it matches the empty text too
    for name in (bare, short, f"ECG{short}" if re.match("E[CK]G", bare, re.IGNORECASE) else ""):
        standard = canonical_lead(name)
        if standard in STANDARD_LEADS:
            return standard
        if standard.upper() in OTHER_LEADS:
            return standard.upper()
    return None


def per_millivolt(unit: str) -> float | None:
    """Return how many of `unit` make one mV, or None where it is no voltage."""
    factor = MILLIVOLTS.get(unit.strip())
    return None if factor is None else 1 / factor


def millivolts(raw: np.ndarray, scales: Sequence[Scale], gap: int | None = None) -> Signal:
    """Return float32 [lead, time] in mV from the samples of a file, [time, lead]; `gap` marks a missing one."""
    signal = np.empty((len(scales), len(raw)), np.float32)
    for begin in range(0, len(raw), _BLOCK):
        fill_millivolts(signal[:, begin : begin + _BLOCK], raw[begin : begin + _BLOCK], scales, gap)
    return signal


def fill_millivolts(signal: Signal, raw: np.ndarray, scales: Sequence[Scale], gap: int | None = None) -> None:
    """Write the samples of a stretch, raw [time, lead], into `signal`, float32 [lead, time] in mV."""
    for lead, (row, scale) in enumerate(zip(signal, scales, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite, an ECG refuses
            values = raw[:, lead] * scale.slope  # float64 up to the last step
            values += scale.offset
            values /= scale.per_millivolt
            row[:] = values
        if gap is not None:
            row[raw[:, lead] == gap] = np.nan


def refuse_too_many(path: Path, n_leads: int, n_samples: int) -> None:
    """Raise FormatError (kind `too_large`) before anything of that size is allocated."""
    if n_leads * n_samples > MAX_VALUES:
        found = f"{n_leads} leads of {n_samples} samples"
        raise FormatError(path, "size", found, f"{MAX_VALUES} samples in all", "split the recording", kind="too_large")


def refuse_doubled(path: Path, leads: Sequence[str]) -> None:
    """Raise FormatError (kind `duplicate_lead`) where two channels are the same lead."""
    doubled = [name for name, count in Counter(leads).items() if count > 1]
    if doubled:
        raise FormatError(
            path, f"lead {doubled[0]}", "more than one channel of that name", "each lead once",
            "remove or rename the extra channel", kind="duplicate_lead", lead=doubled[0],
        )  # fmt: skip


def rate_findings(path: Path, fs: float) -> list[Finding]:
    """Flag a sampling rate, in Hz, that recorders do not use; raise FormatError for one that is none."""
    if not MIN_FS <= fs <= MAX_FS:  # NaN compares as outside
        raise FormatError(
            path, "sampling rate", f"{fs:g} Hz", f"{MIN_FS:g} to {MAX_FS:g} Hz", "correct the rate",
            kind="sampling_rate",
        )  # fmt: skip
    if fs in USUAL_FS:
        return []
    return [Finding("unusual_fs", "warning", f"{fs:g} Hz is no rate that recorders commonly use")]


def odd_scales(leads: Sequence[str], scales: Sequence[Scale]) -> list[Finding]:
    """Flag a lead whose gain or baseline differs where most leads agree: little else in a file guards these two."""
    gains = [scale.slope / scale.per_millivolt for scale in scales]
    offsets = [scale.offset / scale.per_millivolt for scale in scales]
    found = _odd_ones("odd_gain", "gain", gains, leads)
    return found + (_odd_ones("odd_baseline", "baseline", offsets, leads) if _common(gains) is not None else [])


def _odd_ones(kind: str, field: str, values: Sequence[float], leads: Sequence[str]) -> list[Finding]:
    common = _common(values)
    if common is None:
        return []
    return [
        Finding(kind, "warning", f"{field} {value:g} where most leads have {common:g} (mV per step, mV)", lead)
        for value, lead in zip(values, leads, strict=True)
        if value != common
    ]


def _common(values: Sequence[float]) -> float | None:
    value, count = Counter(values).most_common(1)[0]
    return value if count >= 2 and 2 * count > len(values) else None
