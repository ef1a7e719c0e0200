# SPDX-License-Identifier: Apache-2.0
"""ResNet1d: a stem, four residual blocks, mean over time, one linear layer.

The mean and the linear layer make the logit a sum over time steps, which lets it be split exactly over stretches of
an ECG. Blocks after Ribeiro et al. (2020, Nat Commun 11:1760): the shortcut is a pooled, widened copy of the input.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ecglens.models.layers import Residual, receptive_field


class ResNet1d(nn.Module):
    """A small residual network whose head is linear in its last features.

    n_leads, n_outputs  of the input [batch, lead, time] (any length) and of the logits [batch, output]
    widths    channels of the blocks, each of which halves the time; the stem has as many as the first
    kernel    of all convolutions, in samples
    dropout   inside the blocks
    """

    def __init__(
        self,
        n_leads: int = 12,
        n_outputs: int = 5,
        widths: Sequence[int] = (32, 64, 96, 128),
        kernel: int = 9,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, *widths) < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError("leads, outputs and widths must be 1 or more, the kernel odd")
        self.stem = nn.Sequential(
            nn.Conv1d(n_leads, widths[0], kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(widths[0]), nn.ReLU()
        )
        before = (widths[0], *widths[:-1])
        self.blocks = nn.ModuleList(
            _block(n_in, n_out, kernel, dropout) for n_in, n_out in zip(before, widths, strict=True)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], n_outputs)
        self.receptive_field, self.step = receptive_field(
            [(kernel, 1), *((kernel, stride) for _ in widths for stride in (1, 2))]
        )

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [batch, output] of `signal` [batch, lead, time]."""
        signal = self.stem(signal)
        for block in self.blocks:
            signal = block(signal)
        return self.head(self.pool(signal))


def _block(n_in: int, n_out: int, kernel: int, dropout: float) -> Residual:
    path = nn.Sequential(
        nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(n_out), nn.ReLU(),
        nn.Dropout(dropout),
        nn.Conv1d(n_out, n_out, kernel, stride=2, padding=kernel // 2, bias=False), nn.BatchNorm1d(n_out),
    )  # fmt: skip
    widened = [nn.Conv1d(n_in, n_out, 1, bias=False), nn.BatchNorm1d(n_out)] if n_in != n_out else []
    return Residual(path, nn.Sequential(nn.MaxPool1d(2, ceil_mode=True), *widened))
