# SPDX-License-Identifier: Apache-2.0
"""Maps that know nothing of the network: what a method must beat before it says anything of the network."""

from __future__ import annotations

import numpy as np
from torch import nn

from ecglens.cohort import Batch
from ecglens.errors import SignalError
from ecglens.explainers.fillers import r_peak_times
from ecglens.explanation import Attribution
from ecglens.runs.draws import record_keys, uniform
from ecglens.shapes import Targets

_REACH = 0.1  # s: how fast `r_distance` falls


def random(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return numbers in [0, 1) that depend on the record's name alone."""
    signal = np.asarray(batch.signal)
    drawn = uniform(0, "random map", record_keys(batch.record_ids), signal[0].size).reshape(signal.shape)
    return _for_all(drawn, targets)


def energy(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the squared signal: where the ECG is large."""
    return _for_all(np.asarray(batch.signal) ** 2, targets)


def slope(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the absolute slope, per second: where the ECG is steep."""
    return _for_all(np.abs(np.gradient(np.asarray(batch.signal), 1 / batch.fs, axis=-1)), targets)


def r_distance(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return exp(-distance to the next R peak / 100 ms), the same in all leads. Raises SignalError without beats."""
    signal = np.asarray(batch.signal)
    maps = []
    for k in range(len(signal)):
        peaks = np.empty(0) if batch.fiducials is None else r_peak_times(batch.fiducials[k])
        if not len(peaks):
            raise SignalError(batch.record_ids[k], "beats", "none", "at least one R peak", kind="no_beats")
        at = (batch.start[k] if batch.start else 0.0) + np.arange(signal.shape[-1]) / batch.fs
        near = np.exp(-np.abs(at[:, None] - peaks).min(axis=1) / _REACH)
        maps.append(np.broadcast_to(near, signal.shape[1:]))
    return _for_all(np.stack(maps), targets)


def _for_all(maps: np.ndarray, targets: Targets) -> Attribution:
    """Return the same map [batch, lead, time] for each target: they know nothing of it."""
    return Attribution(np.repeat(maps[:, None], len(targets), axis=1).astype(np.float32))
