# SPDX-License-Identifier: Apache-2.0
"""Windows: what stretch of the prepared signal a network sees at once, and how its answers are combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.errors import ContractError, UsageError


@dataclass(frozen=True)
class Windows:
    """Windows of `length` samples every `stride` samples; the last one ends with the signal.

    combine   "mean" averages the network's outputs (logits) over the windows; "centre" has one window only, in the
              middle of the signal (what xai4ecg predicts from)
    """

    length: int
    stride: int
    combine: str = "mean"

    def __post_init__(self) -> None:
        if not (isinstance(self.length, int) and isinstance(self.stride, int)) or min(self.length, self.stride) < 1:
            raise UsageError("windows", "length, stride", f"{self.length}, {self.stride}", "at least 1 sample")
        if self.combine not in ("mean", "centre"):
            raise UsageError("windows", "combine", self.combine, "mean, centre")

    def starts(self, n_samples: int) -> list[int]:
        """Return the first sample of each window of a signal of `n_samples`."""
        if n_samples < self.length:
            raise ContractError(
                "windows", "signal", f"{n_samples} samples", f"at least {self.length}", kind="too_short"
            )
        last = n_samples - self.length
        if self.combine == "centre":
            return [last // 2]
        starts = list(range(0, last + 1, self.stride))
        return starts if starts[-1] == last else [*starts, last]

    def cut(self, signal: np.ndarray) -> np.ndarray:
        """Return the windows of `signal` [record, lead, time] as [record, window, lead, time]."""
        starts = self.starts(signal.shape[-1])
        return np.stack([signal[..., s : s + self.length] for s in starts], axis=1)

    def join(self, pieces: np.ndarray, n_samples: int) -> np.ndarray:
        """Return the gradient-like `pieces` [record, window, ..., lead, time] laid back on the signal's grid.

        The counterpart of `combine`: for the mean over W windows each piece counts 1 / W, and where windows
        overlap the parts add up. For gradients this is the chain rule, hence exact.
        """
        starts = self.starts(n_samples)
        out = np.zeros((pieces.shape[0], *pieces.shape[2:-1], n_samples), np.float32)
        for window, start in enumerate(starts):
            out[..., start : start + self.length] += pieces[:, window] / len(starts)
        return out

    def combined(self, outputs: np.ndarray) -> np.ndarray:
        """Return [record, output] of the outputs [record, window, output]."""
        return outputs.mean(axis=1)


def group_by_length(lengths: Sequence[int]) -> dict[int, list[int]]:
    """Return positions by length: records of one length can be windowed and predicted together."""
    groups: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        groups.setdefault(length, []).append(position)
    return groups
