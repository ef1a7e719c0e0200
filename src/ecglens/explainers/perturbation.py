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
from ecglens.errors import SignalError
from ecglens.explainers.gradient import target_values
from ecglens.explainers.regions import Region, find_filler, segments, time_windows
from ecglens.explanation import Attribution
from ecglens.runs.draws import record_keys, uniform
from ecglens.shapes import Targets

_TOGETHER = 128  # perturbed copies predicted at once


@dataclass(frozen=True)
class Occlusion:
    """How much the target falls when a region is hidden (Zeiler and Fergus 2014, arXiv 1311.2901).

    by        "window": lead group x stretch of `length` s every `stride` s; "segment": lead group x P, QRS, ST, T, rest
    filler    what is put in place, see `regions.FILLERS`
    together  hide the limb leads together; False: each lead by itself, as TrustECG does

    A region's fall is spread evenly over its samples, and where windows overlap the mean is taken, so that values are
    per sample; a region's own fall is its number of samples times that.
    """

    by: str = "window"
    length: float = 0.2
    stride: float = 0.1
    filler: str = "line"
    together: bool = True

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return the fall of each target per sample of the region. Raises SignalError by segment without beats."""
        maps = []
        for k, signal in enumerate(np.asarray(batch.signal)):
            regions = regions_of(batch, k, self.by, self.length, self.stride, self.together)
            falls = self._falls(network, signal, regions, batch, k, targets)
            maps.append(_spread(falls, regions, signal.shape))
        return Attribution(np.stack(maps).astype(np.float32))

    def _falls(
        self, network: nn.Module, signal: np.ndarray, regions: Sequence[Region], batch: Batch, k: int, targets: Targets
    ) -> np.ndarray:
        """Return whole minus hidden [region, target]."""
        fill = find_filler(self.filler)
        whole = target_values(network, _tensor([signal]), targets).numpy()
        hidden = []
        for first in range(0, len(regions), _TOGETHER):
            chunk = regions[first : first + _TOGETHER]
            copies = [fill(signal, region, batch.leads, batch.record_ids[k]) for region in chunk]
            hidden.append(target_values(network, _tensor(copies), targets).numpy())
        return np.asarray(whole - np.concatenate(hidden))


@dataclass(frozen=True)
class Shapley:
    """The mean contribution of each region over orders in which regions appear (Shapley 1953; Castro et al. 2009).

    orders    drawn, each with its reverse, which halves the error for the same work
    seed      of the orders; a record's orders depend on the seed and its name alone
    by, length, filler, together   as in `Occlusion`; windows do not overlap

    Contributions of one order add up to the difference between the ECG and the filler alone, so their means do. The
    sampling error comes from the spread over pairs of orders. Source: Castro et al., Comput Oper Res 36 (2009) 1726.
    """

    orders: int = 16
    seed: int = 0
    by: str = "segment"
    length: float = 0.5
    filler: str = "line"
    together: bool = True

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return contributions per sample, their sampling error, and what is missing from their promised sum."""
        maps, errors, gaps = [], [], []
        for k, signal in enumerate(np.asarray(batch.signal)):
            regions = regions_of(batch, k, self.by, self.length, self.length, self.together)
            pairs, difference = self._contributions(network, signal, regions, batch, k, targets)
            mean = pairs.mean(axis=0)  # [region, target]
            error = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.full_like(mean, np.nan)
            maps.append(_spread(mean, regions, signal.shape))
            errors.append(_spread(error, regions, signal.shape))
            gaps.append(difference - mean.sum(axis=0))
        return Attribution(
            np.stack(maps).astype(np.float32), np.stack(errors).astype(np.float32), np.stack(gaps).astype(np.float32)
        )

    def _contributions(
        self, network: nn.Module, signal: np.ndarray, regions: Sequence[Region], batch: Batch, k: int, targets: Targets
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return contributions [pair of orders, region, target] and the whole difference [target]."""
        empty = _hide_all(signal, regions, batch, k, self.filler)
        keys = record_keys([f"{batch.record_ids[k]}/{order}" for order in range(max(1, self.orders // 2))])
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


def regions_of(batch: Batch, k: int, by: str, length: float, stride: float, together: bool) -> list[Region]:
    """Return the regions of record `k` of a batch. Raises SignalError for segments of a record without marks."""
    n_samples = batch.signal.shape[-1]
    if by == "window":
        samples = [max(1, round(seconds * batch.fs)) for seconds in (length, stride)]
        return time_windows(batch.leads, n_samples, samples[0], samples[1], together, batch.fs)
    if batch.fiducials is None:
        raise SignalError(batch.record_ids[k], "beats", "none marked", "marks of P, QRS and T", kind="no_beats")
    start = batch.start[k] if batch.start else 0.0
    return segments(batch.fiducials[k], batch.leads, batch.fs, start, n_samples, together)


def _hide_all(signal: np.ndarray, regions: Sequence[Region], batch: Batch, k: int, filler: str) -> np.ndarray:
    """Return the filler alone: every region hidden, each with all of its leads' samples that are hidden as well."""
    fill, out = find_filler(filler), signal.copy()
    for rows in {region.leads for region in regions}:
        times = np.any([region.times for region in regions if region.leads == rows], axis=0)
        whole = Region("all", rows, times)
        out[list(rows)] = fill(signal, whole, batch.leads, batch.record_ids[k])[list(rows)]
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
