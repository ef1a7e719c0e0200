# SPDX-License-Identifier: Apache-2.0
"""Perturbation methods: hide a region, see what the prediction does. They need no gradients and no layers.

Unlike the other methods they see the whole record and the prediction as it is made of it, windows and all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.errors import SignalError, UsageError
from ecglens.explainers.fillers import Recording, find_filler
from ecglens.explainers.gradient import target_values
from ecglens.explainers.regions import Region, segments, time_windows, wave_length, whole_leads
from ecglens.explanation import Attribution
from ecglens.runs.draws import record_keys, uniform
from ecglens.shapes import Targets

_TOGETHER = 128  # perturbed copies predicted at once
WINDOW, SEGMENT, LEAD = "window", "segment", "lead"
_REGIONS = (WINDOW, SEGMENT, LEAD)


@dataclass(frozen=True)
class Hiding:
    """Which regions are hidden, and by what.

    by        "window": lead group x stretch of `length` s; "segment": lead group x P, QRS, ST, T, rest, by the marks
              of the record; "lead": lead group x all of the time
    filler    what is put in place, see `fillers.FILLERS`
    together  hide the limb leads together; False: each lead by itself, as TrustECG does
    """

    by: str = WINDOW
    length: float = 0.2
    filler: str = "line"
    together: bool = True

    def __post_init__(self) -> None:
        if self.by not in _REGIONS:
            raise UsageError("explain", "by", self.by, ", ".join(_REGIONS))
        if not 0 < self.length < np.inf:
            raise UsageError("explain", "length", self.length, "a positive number of s")
        find_filler(self.filler)

    def step(self) -> float:
        """Return how far apart windows begin, in s."""
        return self.length

    def regions(self, batch: Batch, k: int) -> list[Region]:
        """Return the regions of record `k`. Raises SignalError (kind `no_beats`) for segments without marked beats."""
        n_samples = batch.signal.shape[-1]
        if self.by == LEAD:
            return whole_leads(batch.leads, n_samples, self.together)
        if self.by == WINDOW:
            length, stride = (max(1, round(seconds * batch.fs)) for seconds in (self.length, self.step()))
            return time_windows(batch.leads, n_samples, length, stride, self.together, batch.fs)
        if batch.fiducials is None or batch.fiducials[k].n_beats == 0:
            raise SignalError(
                batch.record_ids[k], "beats", "none", "marks of P, QRS and T",
                "use a method by window (--set by=window)", kind="no_beats",
            )  # fmt: skip
        start = batch.start[k] if batch.start else 0.0
        return segments(batch.fiducials[k], batch.leads, batch.fs, start, n_samples, self.together)

    def resolution(self, batch: Batch, k: int) -> float:
        """Return how finely in time the regions of record `k` can speak, in s: by segment, the longest wave."""
        if self.by == WINDOW:
            return min(self.length, batch.signal.shape[-1] / batch.fs)
        samples = batch.signal.shape[-1] if self.by == LEAD else wave_length(self.regions(batch, k))
        return samples / batch.fs


@dataclass(frozen=True)
class Occlusion(Hiding):
    """How much the target falls when a region is hidden (Zeiler and Fergus 2014, arXiv 1311.2901).

    A region's fall is spread evenly over its samples, and where windows overlap the mean is taken, so that values are
    per sample; a region's own fall is its number of samples times that.

    stride  a window begins every so many s; the other parameters as in `Hiding`
    """

    stride: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by == WINDOW and not 0 < self.stride <= self.length:
            raise UsageError("explain", "stride", self.stride, f"above 0, up to the length of {self.length:g} s")

    def step(self) -> float:
        """Return how far apart windows begin, in s."""
        return self.stride

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return the fall of each target per sample of the region. Raises SignalError by segment without beats."""
        maps = []
        for k in range(len(batch.record_ids)):
            recording, regions = Recording.of(batch, k), self.regions(batch, k)
            maps.append(_spread(self._falls(network, recording, regions, targets), regions, recording.signal.shape))
        return Attribution(np.stack(maps).astype(np.float32))

    def _falls(
        self, network: nn.Module, recording: Recording, regions: Sequence[Region], targets: Targets
    ) -> np.ndarray:
        """Return whole minus hidden [region, target]."""
        fill = find_filler(self.filler)
        whole = target_values(network, _tensor([recording.signal]), targets).numpy()
        hidden = []
        for first in range(0, len(regions), _TOGETHER):
            copies = [fill(recording, region) for region in regions[first : first + _TOGETHER]]
            hidden.append(target_values(network, _tensor(copies), targets).numpy())
        return np.asarray(whole - np.concatenate(hidden))


@dataclass(frozen=True)
class Shapley(Hiding):
    """The mean contribution of each region over orders in which regions appear (Shapley 1953; Castro et al. 2009).

    orders    drawn, each with its reverse, which halves the error for the same work
    seed      of the orders; a record's orders depend on the seed and its name alone

    Other parameters as in `Hiding`; windows lie side by side. Contributions of one order add up to the difference
    between the ECG and the filler alone, so their means do. The sampling error comes from the spread over pairs of
    orders. Source: Castro et al., Comput Oper Res 36 (2009) 1726.
    """

    by: str = SEGMENT
    length: float = 0.5
    orders: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orders < 2:
            raise UsageError("explain", "orders", self.orders, "2 or more")

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return contributions per sample, their sampling error, and what is missing from their promised sum."""
        maps, errors, gaps = [], [], []
        for k in range(len(batch.record_ids)):
            recording, regions = Recording.of(batch, k), self.regions(batch, k)
            pairs, difference = self._contributions(network, recording, regions, targets)
            mean = pairs.mean(axis=0)  # [region, target]
            error = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.full_like(mean, np.nan)
            maps.append(_spread(mean, regions, recording.signal.shape))
            errors.append(_spread(error, regions, recording.signal.shape))
            gaps.append(difference - mean.sum(axis=0))
        return Attribution(
            np.stack(maps).astype(np.float32), np.stack(errors).astype(np.float32), np.stack(gaps).astype(np.float32)
        )

    def _contributions(
        self, network: nn.Module, recording: Recording, regions: Sequence[Region], targets: Targets
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return contributions [pair of orders, region, target] and the whole difference [target]."""
        signal, empty = recording.signal, _hide_all(recording, regions, self.filler)
        keys = record_keys([f"{recording.record_id}/{order}" for order in range(self.orders // 2)])
        drawn = np.argsort(uniform(self.seed, "shapley", keys, len(regions)), axis=1)
        pairs = []
        for order in drawn:
            both = [self._one_order(network, signal, empty, regions, o, targets) for o in (order, order[::-1])]
            pairs.append((both[0] + both[1]) / 2)
        ends = target_values(network, _tensor([signal, empty]), targets).numpy()
        return np.stack(pairs), ends[0] - ends[1]

    @staticmethod
    def _one_order(
        network: nn.Module, signal: np.ndarray, empty: np.ndarray, regions: Sequence[Region], order: np.ndarray,
        targets: Targets,
    ) -> np.ndarray:  # fmt: skip
        """Return what each region adds when it appears in this order [region, target]."""
        steps, current = [empty], empty.copy()
        for number in order:
            region = regions[number]
            rows, columns = np.array(region.leads)[:, None], np.flatnonzero(region.times)
            current[rows, columns] = signal[rows, columns]
            steps.append(current.copy())
        values = np.concatenate(
            [target_values(network, _tensor(steps[i : i + _TOGETHER]), targets).numpy()
             for i in range(0, len(steps), _TOGETHER)]
        )  # fmt: skip
        added = np.empty((len(regions), values.shape[1]))
        added[order] = np.diff(values, axis=0)
        return added


def _hide_all(recording: Recording, regions: Sequence[Region], filler: str) -> np.ndarray:
    """Return the filler alone: every region hidden, each with all of its leads' samples that are hidden as well."""
    fill, out = find_filler(filler), recording.signal.copy()
    for rows in {region.leads for region in regions}:
        times = np.any([region.times for region in regions if region.leads == rows], axis=0)
        out[list(rows)] = fill(recording, Region("all", rows, times))[list(rows)]
    return out


def _spread(values: np.ndarray, regions: Sequence[Region], shape: tuple[int, ...]) -> np.ndarray:
    """Return [target, lead, time]: values [region, target] over their samples, the mean where they overlap."""
    total = np.zeros((values.shape[1], *shape))
    count = np.zeros(shape)
    for region, value in zip(regions, values, strict=True):
        rows, columns = np.array(region.leads)[:, None], np.flatnonzero(region.times)
        total[:, rows, columns] += (value / (len(region.leads) * len(columns)))[:, None, None]
        count[rows, columns] += 1
    return total / np.maximum(count, 1)


def _tensor(signals: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(signals).astype(np.float32))
