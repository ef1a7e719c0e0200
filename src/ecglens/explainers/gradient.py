# SPDX-License-Identifier: Apache-2.0
"""Gradient methods. All targets of a batch share one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.bundle import as_tensor
from ecglens.cohort import Batch
from ecglens.errors import UsageError
from ecglens.explainers.rules import Rule, backward_by
from ecglens.explanation import Attribution
from ecglens.models.activations import gradients_of
from ecglens.runs.draws import normal, record_keys
from ecglens.shapes import Targets


def saliency(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the gradient of each target by the input (Simonyan et al. 2014, arXiv 1312.6034), with its sign.

    It answers: by how much does the logit rise for a small rise of this sample? It is not multiplied by the
    signal and not made absolute, so positive means "a higher voltage here speaks for the target".

    batch     signal [batch, lead, time]
    targets   weights over the outputs [target, output]
    """
    _, gradients = gradients_at(network, signal_of(batch), targets)
    return Attribution(gradients.numpy())


def gradient_x_input(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return gradient times input (Shrikumar et al. 2016, arXiv 1605.01713).

    For a network without biases and with ReLU it sums to the logit; for others the rest is the gap.
    """
    signal = signal_of(batch)
    values, gradients = gradients_at(network, signal, targets)
    maps = gradients * signal[:, None]
    return Attribution(maps.numpy(), gap=(values - maps.sum(dim=(2, 3))).numpy())


@dataclass(frozen=True)
class SmoothGrad:
    """The mean gradient over noisy copies of the input (Smilkov et al. 2017, arXiv 1706.03825).

    n      copies
    noise  deviation of the white noise, as a share of each record's range
    seed   of the noise; a record's noise depends on the seed and its name alone

    The sampling error of the mean comes with it. One copy without noise is the gradient.
    """

    n: int = 32
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.noise < np.inf:
            raise UsageError("explain", "n, noise", f"{self.n}, {self.noise}", "1 copy or more, noise of 0 or more")

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return the mean gradient and its sampling error."""
        signal = signal_of(batch)
        keys = record_keys(batch.record_ids)
        width = self.noise * (signal.amax(dim=(1, 2)) - signal.amin(dim=(1, 2)))
        mean = torch.zeros(len(signal), len(targets), *signal.shape[1:])
        squares = torch.zeros_like(mean)
        for copy in range(1, self.n + 1):
            drawn = normal(self.seed, f"smoothgrad/{copy}", keys, signal[0].numel()).reshape(signal.shape)
            noisy = signal + width[:, None, None] * torch.from_numpy(drawn.astype(np.float32))
            _, gradients = gradients_at(network, noisy, targets)
            step = gradients - mean  # Welford: stable whatever the size of the mean
            mean += step / copy
            squares += step * (gradients - mean)
        error = torch.sqrt(squares / max(1, self.n - 1) / self.n) if self.n > 1 else None
        return Attribution(mean.numpy(), None if error is None else error.numpy())


@dataclass(frozen=True)
class IntegratedGradients:
    """The gradient averaged along the straight line from a zero input, times the input (Sundararajan et al. 2017).

    steps      points on the line, at the nodes of Gauss-Legendre quadrature
    tolerance  share of f(x) - f(0) that may be missing from the sum: what misses more, a target on a record, gets twice
    doublings  the points, this often at most

    What is missing in the end is the gap, which is stored. Zero is the mean of a standardised signal and the
    isoelectric line of one in millivolts. Source: arXiv 1703.01365.
    """

    steps: int = 32
    tolerance: float = 0.01
    doublings: int = 2

    def __post_init__(self) -> None:
        if not (self.steps >= 1 and self.tolerance >= 0 and 0 <= self.doublings <= 10):
            found = f"{self.steps}, {self.tolerance}, {self.doublings}"
            raise UsageError("explain", "steps, tolerance, doublings", found, "1 or more, 0 or more, 0 to 10")

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return integrated gradients and their completeness gap."""
        signal = signal_of(batch)
        promised = target_values(network, signal, targets) - target_values(network, torch.zeros_like(signal), targets)
        maps = _integral(network, signal, targets, self.steps) * signal[:, None]
        for doubling in range(1, self.doublings + 1):
            missing = (promised - maps.sum(dim=(2, 3))).abs() > self.tolerance * promised.abs()
            for target in torch.nonzero(missing.any(dim=0))[:, 0].tolist():
                left = missing[:, target]
                row = np.asarray(targets)[target : target + 1]
                finer = _integral(network, signal[left], row, self.steps * 2**doubling)
                maps[left, target] = finer[:, 0] * signal[left]
        gap = promised - maps.sum(dim=(2, 3))
        return Attribution(maps.numpy(), gap=gap.numpy())


def _integral(network: nn.Module, signal: Tensor, targets: Targets, steps: int) -> Tensor:
    """Return the mean gradient between zero and `signal` [batch, target, lead, time]."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    mean = torch.zeros(len(signal), len(targets), *signal.shape[1:])
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        mean += weight * gradients_at(network, node * signal, targets)[1]
    return mean


def _only_positive(
    layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, arrived: Tensor
) -> tuple[Tensor, ...]:
    return (arrived.clamp(min=0) * (output > 0),)


GUIDED: dict[type[nn.Module], Rule] = {nn.ReLU: _only_positive}


def guided_backprop(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the backward pass in which each ReLU hands on what is positive only (Springenberg et al. 2015).

    Known to depend little on the weights (Adebayo et al. 2018, arXiv 1810.03292): offered because papers use it.
    Source: arXiv 1412.6806.
    """
    with backward_by(network, GUIDED) as guided:
        _, maps = gradients_at(guided, signal_of(batch), targets)
    return Attribution(maps.numpy())


def gradients_at(network: nn.Module, signal: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Return the targets' values [batch, target] and gradients [batch, target, lead, time] at `signal`."""
    point = signal.detach().requires_grad_(True)
    rows = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    with torch.enable_grad():
        values = network(point) @ rows.T
        gradients = [by_point for (by_point,) in gradients_of(values, [point])]
    return values.detach(), torch.stack(gradients, dim=1)


@torch.no_grad()
def target_values(network: nn.Module, signal: Tensor, targets: Targets) -> Tensor:
    """Return the targets' values [batch, target] at `signal`."""
    return network(signal) @ torch.from_numpy(np.asarray(targets, dtype=np.float32)).T


def signal_of(batch: Batch) -> Tensor:
    """Return the signal [batch, lead, time] as a tensor of its own."""
    return as_tensor(np.asarray(batch.signal))
