# SPDX-License-Identifier: Apache-2.0
"""A U-Net over time that sees all leads at once and answers per lead and instant (after Ronneberger et al. 2015).

The first convolution halves the rate and the head doubles it again, so that most of the work is done on half as many
samples; each level below halves the rate once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet1d(nn.Module):
    """Logits [batch, lead, class, time] of a signal [batch, lead, time].

    n_leads    leads of the input; a lead that is missing is all zeros
    n_classes  classes per lead and instant
    widths     channels of each level, from the finest (half the input's rate) to the coarsest
    kernel     length of the convolutions, odd; the first one has `stem`
    dropout    at the coarsest level
    """

    def __init__(
        self,
        n_leads: int = 12,
        n_classes: int = 4,
        widths: Sequence[int] = (24, 40, 56, 80),
        kernel: int = 7,
        stem: int = 11,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(n_leads, n_classes, *widths) < 1 or kernel % 2 == 0 or stem % 2 == 0:
            raise ValueError("leads, classes and widths must be 1 or more, kernels odd")
        self.n_leads, self.n_classes = n_leads, n_classes
        self.kernel, self.stem, self.depth = kernel, stem, len(widths)
        first = nn.Sequential(*_convolution(n_leads, widths[0], stem, 2), *_convolution(widths[0], widths[0], kernel))
        self.down = nn.ModuleList([first, *(_pair(a, b, kernel) for a, b in pairwise(widths))])
        self.up = nn.ModuleList([_pair(a + b, a, kernel) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(widths[0], 2 * n_leads * n_classes, 1)

    @property
    def multiple(self) -> int:
        """The length of the input must be a multiple of this."""
        return 2**self.depth

    @property
    def reach(self) -> int:
        """Samples on each side that an answer depends on, at most."""
        half = (self.kernel - 1) // 2
        down = (self.stem - 1) // 2 + half * 2 + sum(2 * half * 2 ** (level + 1) for level in range(1, self.depth))
        up = sum(2 * half * 2 ** (level + 1) + 2 ** (level + 2) for level in range(self.depth - 1))
        return down + up + self.multiple

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits; the length must be a multiple of `multiple`."""
        skips = []
        for level, block in enumerate(self.down):
            signal = block(functional.avg_pool1d(signal, 2) if level else signal)
            skips.append(signal)
        signal = self.dropout(signal)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            wide = functional.interpolate(signal, scale_factor=2.0, mode="linear", align_corners=False)
            signal = block(torch.cat([wide, skip], dim=1))
        logits = self.head(signal)
        # Two neighbouring samples come out of each step of the finest level.
        pairs = logits.reshape(len(logits), self.n_leads, self.n_classes, 2, -1)
        return pairs.transpose(3, 4).reshape(len(logits), self.n_leads, self.n_classes, -1)


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv1d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm1d(after), nn.ReLU()]


def _pair(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after, kernel), *_convolution(after, after, kernel))
