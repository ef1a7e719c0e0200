# SPDX-License-Identifier: Apache-2.0
"""What a network's last blocks hold at each step of each window, as one standardised vector per place.

A place is (window, step): networks see windows, and where windows overlap an instant lies in several of them. Blocks of
a coarser grid are repeated onto the finest one, so that a vector tells what the blocks held when they looked there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.bundle import Bundle, as_tensor, evaluating
from ecglens.errors import ContractError, UsageError
from ecglens.models.activations import activations, blocks_of
from ecglens.models.field import even_field, field_of
from ecglens.preprocessing.windows import group_by_length

BLOCKS = {"last": 1, "last2": 2, "last3": 3}
MOST_AXES = 32  # of the principal components that are kept
_TOGETHER = 32  # records
_PLACES = 4096  # turned onto axes together

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the steps of the tapped blocks lie in a window.

    layers   names of the blocks, in order
    take     for each block, its step at each step of the finest grid [step]
    nearest  step of the finest grid whose centre is nearest to each sample of the window [sample]
    fields   receptive field of each block, in samples of the prepared signal
    stride   samples between steps of the finest grid
    """

    layers: tuple[str, ...]
    take: tuple[NDArray[np.intp], ...]
    nearest: NDArray[np.intp]
    fields: tuple[int, ...]
    stride: float

    @property
    def onto(self) -> NDArray[np.intp]:
        """Step of the last block at each step of the finest grid [step]."""
        return self.take[-1]

    @property
    def n_steps(self) -> int:
        """Steps of the finest grid in a window."""
        return len(self.onto)


def grid_of(bundle: Bundle, blocks: str) -> Grid:
    """Return the grid of the bundle's `last` block, or of its `last2` or `last3`.

    Raises UsageError for another name, ContractError where a block leaves fewer than two time steps of a window.
    """
    if blocks not in BLOCKS:
        raise UsageError("segment-states", "--blocks", blocks, ", ".join(BLOCKS))
    network, window = bundle.network, bundle.preprocessing.windows.length
    last = len(blocks_of(network))
    layers = tuple(f"block-{k}" for k in range(max(1, last - BLOCKS[blocks] + 1), last + 1))
    signal = torch.zeros(1, len(bundle.preprocessing.leads), window)
    with evaluating(network):
        held = activations(network, signal, layers)
    steps = [held[layer].shape[-1] if held[layer].ndim == 3 else 1 for layer in layers]
    if min(steps) < 2:
        name = layers[int(np.argmin(steps))]
        raise ContractError(
            bundle.name, name, f"{min(steps)} time step of a window", "2 or more",
            "states live on time steps: choose a network that keeps time, or longer windows", kind="one_step",
        )  # fmt: skip
    finest = max(steps)
    take = tuple(np.arange(finest) * n // finest for n in steps)
    seen = [field_of(network, int(layer.removeprefix("block-")), signal.shape[1]) for layer in layers]
    field = seen[steps.index(finest)] or even_field(finest, window)
    nearest = np.abs(np.arange(window)[:, None] - field.centres(finest)).argmin(axis=1)
    fields = tuple(min(each.width if each else 0, window) for each in seen)  # nothing is seen beyond the window
    return Grid(layers, take, nearest, fields, field.stride)


def held_by(
    bundle: Bundle, network: nn.Module, signals: Sequence[np.ndarray], layers: Sequence[str]
) -> Iterator[tuple[list[int], int, dict[str, Tensor]]]:
    """Yield positions of some records, windows of each, and what the layers hold [record x window, channel, step].

    signals   prepared, [lead, time] each; those of one length go together
    """
    for indices in group_by_length([signal.shape[1] for signal in signals]).values():
        for chunk in (indices[i : i + _TOGETHER] for i in range(0, len(indices), _TOGETHER)):
            windows = bundle.preprocessing.cut(np.stack([signals[i] for i in chunk]), bundle.fs)
            with evaluating(network):
                held = activations(network, as_tensor(windows.reshape(-1, *windows.shape[2:])), layers)
            yield chunk, windows.shape[1], held


def stacked(grid: Grid, held: dict[str, Tensor]) -> NDArray[np.float32]:
    """Return the blocks' features side by side on the finest grid [row, step, channel]."""
    parts = [held[layer].numpy()[:, :, take] for layer, take in zip(grid.layers, grid.take, strict=True)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1).transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Axes:
    """How features become the vectors that are clustered: standardised, weighed by block, turned onto main axes.

    mean, scale   [channel]: of the training records; each block weighs the same, whatever its width
    turn          [channel, axis]: principal components, at most 32
    kept          share of the variance that they keep
    """

    mean: Floats
    scale: Floats
    turn: Floats
    kept: float

    @classmethod
    def fit(cls, places: np.ndarray, widths: Sequence[int], most: int = MOST_AXES) -> Axes:
        """Fit to features [place, channel] of training records; `widths`: channels of each block."""
        values = np.asarray(places, dtype=np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        weight = np.concatenate([np.full(width, 1 / np.sqrt(width)) for width in widths])
        scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), weight / np.maximum(spread, 1e-12), 0.0)
        scaled = (values - mean) * scale
        variances, turn = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        order = np.argsort(variances)[::-1][:most]
        total = float(variances.sum())
        turn = turn[:, order] * np.sign(turn[:, order].sum(axis=0) + 1e-300)  # a sign of their own: same on any machine
        return cls(mean, scale, turn, float(variances[order].sum()) / total if total > 0 else 1.0)

    def of(self, features: np.ndarray) -> NDArray[np.float32]:
        """Return vectors [..., axis] of features [..., channel]."""
        flat = features.reshape(-1, features.shape[-1])
        out = np.empty((len(flat), self.turn.shape[1]), np.float32)
        for first in range(0, len(flat), _PLACES):  # in double precision, which all at once would take much memory
            part = slice(first, first + _PLACES)
            out[part] = (flat[part] - self.mean) * self.scale @ self.turn
        return out.reshape(*features.shape[:-1], -1)
