# SPDX-License-Identifier: Apache-2.0
"""DeepLIFT with the rescale rule (Shrikumar et al. 2017, arXiv 1704.02685).

The input is compared with a reference, here zero. Where the gradient would ask how a unit would change, DeepLIFT asks
how it did change between the two: change of its output over change of its input. The map sums to the difference of
the logits, up to the gap.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.explainers.gradient import gradients_at, signal_of
from ecglens.explainers.rules import Rule, backward_by, gradient_of
from ecglens.explanation import Attribution
from ecglens.shapes import Targets

_TINY = 1e-6  # below this change of the input the slope is the gradient


def deeplift(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the contribution of each sample to the difference from the reference, and the completeness gap."""
    signal = signal_of(batch)
    both = torch.cat([signal, torch.zeros_like(signal)])
    with backward_by(network, RULES) as ruled:
        values, slopes = gradients_at(ruled, both, targets)
    there, reference = values.chunk(2)
    maps = slopes[: len(signal)] * signal[:, None]
    return Attribution(maps.numpy(), gap=(there - reference - maps.sum(dim=(2, 3))).numpy())


def _rescale(
    layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, arrived: Tensor
) -> tuple[Tensor, ...]:
    """Slope between reference and input, for both halves of the batch."""
    change_in, change_out = _change(inputs[0]), _change(output)
    moved = change_in.abs() > _TINY
    slope = torch.where(moved, change_out / torch.where(moved, change_in, 1.0), 0.0)
    gradient = gradient_of(layer, inputs[0], arrived)
    both = torch.cat([slope, slope]) * arrived.chunk(2)[0].repeat(2, *[1] * (arrived.ndim - 1))
    return (torch.where(torch.cat([moved, moved]), both, gradient),)


def _rescale_maximum(
    layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, arrived: Tensor
) -> tuple[Tensor, ...]:
    """Give a rise of the maximum to the input's winner, and a fall to the reference's: the place where it moved."""
    change_in, (there, reference) = _change(inputs[0]), output.chunk(2)
    higher = torch.maximum(there, reference)
    moved_by = torch.cat([higher - reference, there - higher])
    placed = gradient_of(layer, inputs[0], arrived.chunk(2)[0].repeat(2, *[1] * (arrived.ndim - 1)) * moved_by)
    contribution = sum(placed.chunk(2))
    moved = change_in.abs() > _TINY
    slope = torch.where(moved, contribution / torch.where(moved, change_in, 1.0), 0.0)
    return (torch.where(torch.cat([moved, moved]), torch.cat([slope, slope]), gradient_of(layer, inputs[0], arrived)),)


def _change(values: Tensor) -> Tensor:
    there, reference = values.chunk(2)
    return there - reference


RULES: dict[type[nn.Module], Rule] = {
    nn.ReLU: _rescale,
    nn.Tanh: _rescale,
    nn.MaxPool1d: _rescale_maximum,
    nn.AdaptiveMaxPool1d: _rescale_maximum,
}
