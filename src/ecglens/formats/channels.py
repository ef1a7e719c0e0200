# SPDX-License-Identifier: Apache-2.0
"""What readers and writers of channels share: which lead a label means, samples to millivolts and back, limits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import FormatError, SignalError, UnsafeError
from ecglens.leads import OTHER_LEADS, STANDARD_LEADS, canonical_lead
from ecglens.shapes import Signal

MAX_VALUES = 2**26  # samples of all leads: a day of three leads at 256 Hz; at most four arrays of them stay below 1 GB
MAX_LEADS = 256
MAX_DECLARED = 2**31 - 1  # bytes; no file that is read is larger
_BLOCK = 2**14  # samples that are converted at a time, so that they stay in the processor's cache

GAP = -32768  # what stands for a missing sample among 16-bit integers: the lowest of them

# How many mV one physical unit is. Both code points of the micro sign occur: U+00B5 and U+03BC.
MILLIVOLTS = {"mV": 1.0, "mv": 1.0, "uV": 1e-3, "uv": 1e-3, "\u00b5V": 1e-3, "\u03bcV": 1e-3,
              "V": 1e3, "v": 1e3, "nV": 1e-6, "nv": 1e-6}  # fmt: skip

_AFTER = re.compile(r"\s*[(,].*")
_BEFORE = re.compile(r"(?:E[CK]G)?[\s:_-]*(?:lead)?[\s:_-]*", re.IGNORECASE)


class Scale(NamedTuple):
    """mV = (sample * slope + offset) / per_millivolt; slope and offset are in the channel's own unit."""

    slope: float
    offset: float
    per_millivolt: float


LONGEST_NAME = 200  # characters of a channel's label


@lru_cache(maxsize=1024)  # the same few names come again and again
def standard_lead(name: str) -> str | None:
    """Return the lead that has this name, spelled as we spell it, or None where it is none that we know.

    >>> standard_lead("AVR"), standard_lead("mlii"), standard_lead("lead one")
    ('aVR', 'MLII', None)
    """
    standard = canonical_lead(name)
    if standard in STANDARD_LEADS:
        return standard
    return standard.upper() if standard.upper() in OTHER_LEADS else None


def known_lead(label: str) -> str | None:
    """Return the lead that a channel's label means, with words around the name, or None where it is none we know.

    >>> known_lead("Lead I (Einthoven)"), known_lead("EKG aVR"), known_lead("ECG 1"), known_lead("EEG Fpz-Cz")
    ('I', 'aVR', 'ECG1', None)
    """
    if len(label) > LONGEST_NAME:  # no name, and patterns would be busy with it for seconds
        return None
    bare = _AFTER.sub("", label.strip())
    short = bare[_BEFORE.match(bare).end() :]  # type: ignore[union-attr]  # it matches the empty text too
    names = (bare, short, f"ECG{short}" if re.match("E[CK]G", bare, re.IGNORECASE) else "")
    return next(filter(None, map(standard_lead, names)), None)


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


def frozen(signal: Signal) -> Signal:
    """Return the array, which nobody can write to from now on: an ECG takes it as it is, without a copy."""
    signal.flags.writeable = False
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


def to_integers(ecg: ECG, gain: float) -> np.ndarray:
    """Return the samples as 16-bit integers [lead, time], `gain` steps per mV; gaps become `GAP`.

    Raises SignalError (kind `amplitude`) where 16 bits do not hold them.
    """
    scaled = np.rint(ecg.signal.astype(np.float64) * gain)
    peak = -GAP - 1
    beyond = (np.abs(scaled) > peak).any(axis=1)  # NaN compares False
    if beyond.any():
        lead = ecg.leads[int(np.argmax(beyond))]
        raise SignalError(
            ecg.record_id or "ECG", f"lead {lead}", f"{np.nanmax(np.abs(ecg[lead])):g} mV",
            f"up to {peak / gain:g} mV at gain {gain:g}", "write with a lower gain", kind="amplitude", lead=lead,
        )  # fmt: skip
    return np.where(np.isnan(scaled), GAP, scaled).astype(np.int16)


def refuse_too_many(path: Path, n_leads: int, n_samples: int) -> None:
    """Raise FormatError (kind `too_large`) before anything of that size is allocated."""
    if n_leads * n_samples > MAX_VALUES:
        found = f"{n_leads} leads of {n_samples} samples"
        raise FormatError(path, "size", found, f"{MAX_VALUES} samples in all", "split the recording", kind="too_large")


def refuse_lying_size(path: Path, declared: int, available: int) -> None:
    """Raise UnsafeError (kind `declared_size`) where a file declares more bytes than any file that is read may hold.

    What is only cut off declares less, and is for the reader of the format to refuse.
    """
    if declared > max(available, MAX_DECLARED):
        raise UnsafeError(
            path, "declared size", f"{declared} bytes where {available} are", f"at most {MAX_DECLARED}",
            "do not trust this file: it was damaged, or made to exhaust the memory", kind="declared_size",
        )  # fmt: skip


def refuse_doubled(path: Path, leads: Sequence[str]) -> None:
    """Raise FormatError (kind `duplicate_lead`) where two channels are the same lead."""
    doubled = [name for name, count in Counter(leads).items() if count > 1]
    if doubled:
        raise FormatError(
            path, f"lead {doubled[0]}", "more than one channel of that name", "each lead once",
            "remove or rename the extra channel", kind="duplicate_lead", lead=doubled[0],
        )  # fmt: skip


def refuse_rate(path: Path, fs: float) -> None:
    """Raise FormatError (kind `sampling_rate`) for a rate, in Hz, that no ECG has."""
    if not MIN_FS <= fs <= MAX_FS:  # NaN compares as outside
        raise FormatError(
            path, "sampling rate", f"{fs:g} Hz", f"{MIN_FS:g} to {MAX_FS:g} Hz", "correct the rate",
            kind="sampling_rate",
        )  # fmt: skip
