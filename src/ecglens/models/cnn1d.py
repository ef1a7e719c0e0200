# SPDX-License-Identifier: Apache-2.0
"""A plain convolutional network over one lead, the stand-in for those of the identification literature.

Its default sizes stand in for the network of Ghazarian et al. (EMBC 2021), whose layers are not published: five
convolutions of 15 samples, halved by max pooling after each, mean over time. It is no replication.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CNN1d(nn.Module):
    """Convolutions, each with batch norm, ReLU and max pooling by 2; pooling over time; a linear head.

    n_leads    leads of the input [batch, lead, time]; any length that leaves a sample after the halvings
    n_outputs  logits, or features of an embedding, returned [batch, output]
    widths     channels of the convolutions
    kernel     their length, in samples
    strides    of the convolutions, in samples; None: 1 each
    dropout    before the head
    pooling    over time: "mean", "mean_max" for mean and maximum side by side, or "none": the head sees each instant
    length     of the input, in samples; needed where nothing is pooled
    """

    def __init__(
        self,
        n_leads: int = 1,
        n_outputs: int = 2,
        widths: Sequence[int] = (32, 64, 128, 128, 256),
        kernel: int = 15,
        dropout: float = 0.5,
        pooling: str = "mean",
        strides: Sequence[int] | None = None,
        length: int = 0,
    ) -> None:
        super().__init__()
        steps = list(strides or [1] * len(widths))
        if min(n_leads, n_outputs, kernel, *widths, *steps) < 1 or not 0 <= dropout < 1:
            raise ValueError("leads, outputs, widths, strides and the kernel must be 1 or more, dropout below 1")
        if pooling not in ("mean", "mean_max", "none"):
            raise ValueError("pooling must be mean, mean_max or none")
        if pooling == "none" and length < 1:
            raise ValueError("without pooling the length of the input must be given")
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(before, width, kernel, stride=step, padding=kernel // 2),
                nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
            )
            for before, width, step in zip((n_leads, *widths[:-1]), widths, steps, strict=True)
        )  # fmt: skip
        self.pooling, self.dropout = pooling, nn.Dropout(dropout)
        instants = {"mean": 1, "mean_max": 2, "none": _halved(length, steps)}[pooling]
        self.head = nn.Linear(widths[-1] * instants, n_outputs)

    def forward(self, signal: Tensor) -> Tensor:
        """Return [batch, output] of `signal` [batch, lead, time]."""
        for block in self.blocks:
            signal = block(signal)
        if self.pooling == "none":
            return self.head(self.dropout(signal.flatten(1)))
        pooled = [signal.mean(dim=-1)] + ([signal.amax(dim=-1)] if self.pooling == "mean_max" else [])
        return self.head(self.dropout(torch.cat(pooled, dim=1)))


def _halved(length: int, strides: Sequence[int]) -> int:
    """Return the samples that are left after the convolutions and their poolings."""
    for stride in strides:
        length = (-(-length // stride)) // 2
    return length
