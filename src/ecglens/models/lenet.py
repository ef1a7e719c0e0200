# SPDX-License-Identifier: Apache-2.0
"""LeNet for ECGs, as in xai4ecg (Wagner et al. 2023, arXiv 2305.17043), with its sizes as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class LeNet(nn.Module):
    """Three convolutions (stride 2, batch norm, ReLU, max pooling after the first two), mean over time, two layers.

    With the default sizes and 23 outputs it has xai4ecg's 73,271 parameters.

    n_leads    leads of the input [batch, lead, time]; any length that leaves a sample after five halvings
    n_outputs  logits returned [batch, output]
    widths     channels of the convolutions
    kernels    their lengths, in samples
    dropout    before each convolution but the first, and before the head
    hidden     units between pooling and output; 0 for a linear head
    """

    def __init__(
        self,
        n_leads: int = 12,
        n_outputs: int = 5,
        widths: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (5, 5, 5),
        dropout: Sequence[float] = (0.0, 0.0, 0.0),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, *widths, *kernels) < 1:
            raise ValueError("leads, outputs, widths and kernels must be 1 or more")
        blocks = []
        for k, (before, width, kernel) in enumerate(zip((n_leads, *widths[:-1]), widths, kernels, strict=True)):
            layers: list[nn.Module] = [nn.Conv1d(before, width, kernel, stride=2), nn.BatchNorm1d(width), nn.ReLU()]
            if k < len(widths) - 1:
                layers += [nn.MaxPool1d(2), nn.Dropout(dropout[k])]
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(dropout[-1]))
        width = widths[-1]
        between = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
        self.head = nn.Sequential(*between, nn.Linear(hidden or width, n_outputs))

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [batch, output] of `signal` [batch, lead, time]."""
        for block in self.blocks:
            signal = block(signal)
        return self.head(self.pool(signal))


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def initialized(build: Callable[..., nn.Module], arguments: dict[str, object], seed: int) -> nn.Module:
    """Return `build(**arguments)` with weights drawn from `seed`, leaving torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(**arguments)
