# SPDX-License-Identifier: Apache-2.0
"""Layers that several networks share. A sum is a layer too: what explains a network must see where paths meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """The sum of two paths. A `+` inside `forward` would be invisible to rules that go layer by layer."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Return one + other, elementwise."""
        return one + other


class WeightedSum(nn.Module):
    """Values added up by weights of their own: what an attention does with what it attends to."""

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return [..., query, width] of weights [..., query, position] and values [..., position, width]."""
        return weights @ values


class Residual(nn.Module):
    """A residual block: activation(path(x) + shortcut(x)).

    path      what is learnt
    shortcut  what brings x to the path's shape; None where it has that shape already
    """

    def __init__(self, path: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.path = path
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.add = Add()
        self.activation = nn.ReLU()

    def forward(self, signal: Tensor) -> Tensor:
        """Return [batch, channel, time] for [batch, channel, time]."""
        return self.activation(self.add(self.path(signal), self.shortcut(signal)))


class ConcatPool(nn.Module):
    """Mean and maximum over time, side by side: [batch, channel, time] -> [batch, 2 channel], maximum first."""

    def __init__(self) -> None:
        super().__init__()
        self.maximum, self.mean, self.flatten = nn.AdaptiveMaxPool1d(1), nn.AdaptiveAvgPool1d(1), nn.Flatten()

    def forward(self, signal: Tensor) -> Tensor:
        """Return the pooled channels."""
        return self.flatten(torch.cat([self.maximum(signal), self.mean(signal)], dim=1))


def receptive_field(layers: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return (samples seen by one output step, samples between steps) of (kernel, stride) pairs in their order.

    >>> receptive_field([(7, 2), (7, 1), (7, 2), (7, 1), (7, 2), (7, 1)])
    (127, 8)
    """
    seen, step = 1, 1
    for kernel, stride in layers:
        seen += (kernel - 1) * step
        step *= stride
    return seen, step
