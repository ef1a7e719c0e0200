# SPDX-License-Identifier: Apache-2.0
"""Preprocessing as data: the only way of an ECG into a network. It travels in the bundle as JSON.

>>> recipe = Preprocessing(Admission(), (Resample(100), Bandpass(0.5, 40, 2), Standardize()), Windows(250, 125))
>>> Preprocessing.from_config(recipe.as_config()) == recipe
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ecglens.cohort import Batch
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, Finding, FormatError, SignalError, UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.preprocessing.filter import apply_zero_phase, design_bandpass, running_median
from ecglens.preprocessing.resample import resample
from ecglens.preprocessing.scale import bridge_gaps, longest_gap, min_max, standardize
from ecglens.preprocessing.windows import Windows


@dataclass(frozen=True)
class Resample:
    """Bring the signal to `fs` Hz."""

    fs: float
    name: ClassVar[str] = "resample"

    def __post_init__(self) -> None:
        if not (isinstance(self.fs, int | float) and 0 < self.fs < float("inf")):
            raise UsageError("resample", "fs", self.fs, "a rate in Hz")

    def apply(self, signal: np.ndarray, fs: float) -> tuple[np.ndarray, float]:
        """Return the signal [record, lead, time] and its new rate."""
        return resample(signal, fs, self.fs), self.fs


@dataclass(frozen=True)
class Bandpass:
    """Butterworth band-pass `low` to `high` Hz of `order`, forwards and backwards."""

    low: float
    high: float
    order: int
    name: ClassVar[str] = "bandpass"

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (self.low, self.high))
        if not (numbers and 0 < self.low < self.high < float("inf") and isinstance(self.order, int) and self.order > 0):
            found = f"{self.low}, {self.high}, {self.order}"
            raise UsageError("bandpass", "low, high, order", found, "0 < low < high in Hz, a whole order")

    def apply(self, signal: np.ndarray, fs: float) -> tuple[np.ndarray, float]:
        """Return the signal [record, lead, time] and its rate."""
        return apply_zero_phase(signal, design_bandpass(self.low, self.high, self.order, fs)), fs


@dataclass(frozen=True)
class Standardize:
    """Mean 0, deviation 1, `by` "record" (all leads together) or "lead"."""

    by: str = "record"
    name: ClassVar[str] = "standardize"

    def __post_init__(self) -> None:
        if self.by not in ("record", "lead"):
            raise UsageError("standardize", "by", self.by, "record, lead")

    def apply(self, signal: np.ndarray, fs: float) -> tuple[np.ndarray, float]:
        """Return the signal [record, lead, time] and its rate."""
        return standardize(signal, self.by), fs


@dataclass(frozen=True)
class Median:
    """Running median over `width` s (an odd number of samples, 3 at least), which takes lone spikes away."""

    width: float
    name: ClassVar[str] = "median"

    def __post_init__(self) -> None:
        if not (isinstance(self.width, int | float) and 0 < self.width < float("inf")):
            raise UsageError("median", "width", self.width, "a width in s")

    def apply(self, signal: np.ndarray, fs: float) -> tuple[np.ndarray, float]:
        """Return the signal [record, lead, time] and its rate."""
        return running_median(signal, max(3, round(self.width * fs) // 2 * 2 + 1)), fs


@dataclass(frozen=True)
class MinMax:
    """From 0 to 1, `by` "record" (all leads together) or "lead": of amplitudes only their ratios are left."""

    by: str = "lead"
    name: ClassVar[str] = "minmax"

    def __post_init__(self) -> None:
        if self.by not in ("record", "lead"):
            raise UsageError("minmax", "by", self.by, "record, lead")

    def apply(self, signal: np.ndarray, fs: float) -> tuple[np.ndarray, float]:
        """Return the signal [record, lead, time] and its rate."""
        return min_max(signal, self.by), fs


Step = Resample | Bandpass | Standardize | Median | MinMax
STEPS: dict[str, type[Step]] = {
    "resample": Resample,
    "bandpass": Bandpass,
    "standardize": Standardize,
    "median": Median,
    "minmax": MinMax,
}


@dataclass(frozen=True)
class Admission:
    """What an ECG must bring to be used at all; what does not is refused with the reason, never repaired silently.

    leads          needed, by name; missing limb leads are derived where two others determine them
    min_duration   in s
    max_gap        longest stretch of missing samples that a straight line may bridge, in s
    flat_below     a lead whose range stays below this is flat (electrode off), in mV
    amplitude      allowed range of the 99.5th percentile of |signal - median of its lead|, in mV: a wrong unit
                   (uV read as mV) falls outside
    """

    leads: tuple[str, ...] = STANDARD_LEADS
    min_duration: float = 10.0
    max_gap: float = 0.1
    flat_below: float = 0.005
    amplitude: tuple[float, float] = (0.05, 20.0)

    def __post_init__(self) -> None:
        numbers = (self.min_duration, self.max_gap, self.flat_below, *self.amplitude)
        if not all(isinstance(value, int | float) and value >= 0 for value in numbers) or len(self.amplitude) != 2:
            raise UsageError("admission", "limits", numbers, "numbers of 0 or more, two of them for amplitude")
        if not self.leads or not all(isinstance(lead, str) for lead in self.leads):
            raise UsageError("admission", "leads", self.leads, "one name or more")

    def admit(self, ecg: ECG) -> ECG:
        """Return the ECG with its leads selected and short gaps bridged; raise for the first thing wrong."""
        admitted, faults = self._examined(ecg.select(self.leads))
        for fault in faults:
            raise fault
        return admitted

    def findings(self, ecg: ECG) -> tuple[Finding, ...]:
        """Return everything noticed about the ECG: what its reader noted, and all that would refuse it."""
        try:
            selected = ecg.select(self.leads)
        except EcglensError as error:
            return (*ecg.findings, error.finding())
        admitted, faults = self._examined(selected)
        return (*admitted.findings, *(fault.finding() for fault in faults))

    def _examined(self, ecg: ECG) -> tuple[ECG, list[EcglensError]]:
        """Return an ECG with these leads, its gaps bridged where nothing is wrong with it, and all that is wrong."""
        where = ecg.record_id or "ECG"
        faults: list[EcglensError] = []
        if ecg.duration < self.min_duration - 0.5 / ecg.fs:
            faults.append(
                ContractError(
                    where, "duration", f"{ecg.duration:g} s", f"at least {self.min_duration:g} s",
                    "record longer, or use a model made for shorter ECGs", kind="too_short",
                )
            )  # fmt: skip
        gaps = longest_gap(ecg.signal)
        faults += [
            SignalError(
                where, f"lead {lead}", f"{gap / ecg.fs:.3f} s without samples (NaN)",
                f"gaps up to {self.max_gap:g} s", "repeat the recording", kind="gap", lead=lead,
            )
            for lead, gap in zip(ecg.leads, gaps, strict=True)
            if gap > self.max_gap * ecg.fs or gap == ecg.n_samples
        ]  # fmt: skip
        faults += self._amplitude_faults(ecg, where)
        if faults or not gaps.any():
            return ecg, faults
        bridged = ", ".join(lead for lead, gap in zip(ecg.leads, gaps, strict=True) if gap)
        note = Finding("bridged_gaps", "warning", f"gaps up to {gaps.max() / ecg.fs:.3f} s bridged in {bridged}")
        return replace(ecg, signal=bridge_gaps(ecg.signal), findings=(*ecg.findings, note)), []

    def _amplitude_faults(self, ecg: ECG, where: str) -> list[EcglensError]:
        """Return what is wrong with the samples that are there; of a lead without any, nothing can be said."""
        # fmax and fmin pass over NaN and give NaN for a lead of nothing else, which compares as not flat.
        ranges = np.fmax.reduce(ecg.signal, axis=1) - np.fmin.reduce(ecg.signal, axis=1)
        flat = ranges < self.flat_below
        faults: list[EcglensError] = [
            SignalError(
                where, f"lead {lead}", f"a flat line (range {span:.4f} mV)",
                f"a range of {self.flat_below:g} mV or more",
                "check the electrode", kind="flat_lead", lead=lead,
            )
            for lead, span in zip(ecg.leads, ranges, strict=True)
            if span < self.flat_below
        ]  # fmt: skip
        if flat[~np.isnan(ranges)].all():  # or there is nothing at all
            return faults
        size = _typical_size(ecg.signal)
        low, high = self.amplitude
        if not low <= size <= high:
            faults.append(
                SignalError(
                    where, "amplitude", f"{size:.4g} mV (99.5th percentile)", f"{low:g} to {high:g} mV",
                    "check unit and gain in the file", kind="amplitude",
                )
            )  # fmt: skip
        return faults


def _typical_size(signal: np.ndarray) -> float:
    """Return the 99.5th percentile of |sample - median of its lead|, gaps left out, in mV."""
    # A thousand samples a lead tell the amplitude as well as all.
    if np.isnan(signal).any():
        rows = [row[~np.isnan(row)] for row in signal]
        rows = [row[:: max(1, len(row) // 1000)] for row in rows if len(row)]
        sizes = np.concatenate([np.abs(row - np.median(row)) for row in rows])
    else:  # the same, three times as fast
        thinned = signal[:, :: max(1, signal.shape[1] // 1000)]
        sizes = np.abs(thinned - np.median(thinned, axis=1, keepdims=True))
    return float(np.percentile(sizes, 99.5))


@dataclass(frozen=True)
class Preprocessing:
    """What happens between an ECG and a network.

    admission      what is refused
    record_steps   applied to the whole record
    windows        what a network sees at once, and how answers are combined
    window_steps   applied to each window
    """

    admission: Admission
    record_steps: tuple[Step, ...]
    windows: Windows
    window_steps: tuple[Step, ...] = ()

    @property
    def leads(self) -> tuple[str, ...]:
        """Leads of the prepared signal."""
        return self.admission.leads

    def fs(self, fs: float) -> float:
        """Return the rate of the prepared signal, in Hz, for ECGs at `fs` Hz."""
        for step in self.record_steps:
            fs = step.fs if isinstance(step, Resample) else fs
        return fs

    def apply(self, ecgs: Sequence[ECG]) -> Batch:
        """Return admitted ECGs of one rate and length as a batch on the network's grid; the first fault raises."""
        return self.transform([self.admission.admit(ecg) for ecg in ecgs])

    def transform(self, admitted: Sequence[ECG]) -> Batch:
        """Return ECGs that `admission.admit` gave back, all of one rate and length, on the network's grid."""
        first = admitted[0]
        for ecg in admitted:
            if (ecg.fs, ecg.n_samples) != (first.fs, first.n_samples):
                raise SignalError(
                    ecg.record_id, "shape", f"{ecg.n_samples} samples at {ecg.fs:g} Hz",
                    f"{first.n_samples} at {first.fs:g} Hz in one batch", kind="shape",
                )  # fmt: skip
        signal, fs = np.stack([ecg.signal for ecg in admitted]), first.fs
        for step in self.record_steps:
            signal, fs = step.apply(signal, fs)
        return Batch(
            signal, fs, self.leads, tuple(ecg.record_id for ecg in admitted), tuple(ecg.start for ecg in admitted)
        )

    def cut(self, signal: np.ndarray, fs: float) -> np.ndarray:
        """Return the windows of a prepared signal [record, lead, time] as the network sees them.

        float32 [record, window, lead, time]
        """
        windows = self.windows.cut(signal)
        flat = windows.reshape(-1, *windows.shape[2:])
        for step in self.window_steps:
            flat, fs = step.apply(flat, fs)
        return np.ascontiguousarray(flat.reshape(*windows.shape[:2], *flat.shape[1:]), dtype=np.float32)

    def as_config(self) -> dict[str, Any]:
        """Return the preprocessing as JSON-ready data."""
        return {
            "admission": asdict(self.admission)
            | {"leads": list(self.leads), "amplitude": list(self.admission.amplitude)},
            "record_steps": [{"step": step.name} | asdict(step) for step in self.record_steps],
            "windows": asdict(self.windows),
            "window_steps": [{"step": step.name} | asdict(step) for step in self.window_steps],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: object = "preprocessing") -> Preprocessing:
        """Return the preprocessing that `as_config` described. Raises FormatError for anything unknown."""
        try:
            admission = dict(config["admission"])
            admission["leads"] = tuple(admission["leads"])
            admission["amplitude"] = tuple(admission["amplitude"])
            return cls(
                Admission(**admission),
                tuple(_step(entry) for entry in config["record_steps"]),
                Windows(**config["windows"]),
                tuple(_step(entry) for entry in config["window_steps"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise FormatError(
                where, "preprocessing", repr(error), f"steps {', '.join(STEPS)} with their parameters",
                "use the version of ecglens that wrote it", kind="preprocessing",
            ) from error  # fmt: skip


def _step(entry: Mapping[str, Any]) -> Step:
    arguments = {key: value for key, value in entry.items() if key != "step"}
    return STEPS[entry["step"]](**arguments)
