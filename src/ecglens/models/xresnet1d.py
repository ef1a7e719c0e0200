# SPDX-License-Identifier: Apache-2.0
"""XResNet1d (He et al. 2019, arXiv 1812.01187, in one dimension), in the narrow form that xai4ecg uses.

Bottlenecks of 64 channels, 256 between them, in all stages: 905,751 parameters with 23 outputs. Its convolutions have
biases although a batch norm follows each.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ecglens.models.layers import ConcatPool, Residual

EXPANSION = 4


class XResNet1d(nn.Module):
    """A stem of three convolutions, stages of bottleneck blocks, maximum and mean over time, one linear layer.

    n_leads, n_outputs  of the input [batch, lead, time] (any length) and of the logits [batch, output]
    stem      channels of the stem's convolutions, the first of which halves the time
    stages    blocks per stage; each stage but the first halves the time
    width     channels inside the bottlenecks; four times as many between them
    kernel    of stem and bottlenecks, in samples
    dropout   before the last layer
    """

    def __init__(
        self,
        n_leads: int = 12,
        n_outputs: int = 5,
        stem: Sequence[int] = (32, 32, 64),
        stages: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        kernel: int = 5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, width, *stem, *stages) < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError("leads, outputs, widths and stages must be 1 or more, the kernel odd")
        before = (n_leads, *stem[:-1])
        layers = [
            _conv(n_in, n_out, kernel, 2 if k == 0 else 1, nn.ReLU())
            for k, (n_in, n_out) in enumerate(zip(before, stem, strict=True))
        ]
        self.stem = nn.Sequential(*layers, nn.MaxPool1d(3, stride=2, padding=1))
        n_in, blocks = stem[-1], []
        for stage, n_blocks in enumerate(stages):
            for k in range(n_blocks):
                blocks.append(_bottleneck(n_in, width, kernel, 2 if stage > 0 and k == 0 else 1))
                n_in = EXPANSION * width
        self.blocks = nn.ModuleList(blocks)
        self.pool = ConcatPool()
        self.head = nn.Sequential(nn.BatchNorm1d(2 * n_in), nn.Dropout(dropout), nn.Linear(2 * n_in, n_outputs))

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [batch, output] of `signal` [batch, lead, time]."""
        signal = self.stem(signal)
        for block in self.blocks:
            signal = block(signal)
        return self.head(self.pool(signal))


def _conv(n_in: int, n_out: int, kernel: int, stride: int = 1, activation: nn.Module | None = None) -> nn.Sequential:
    convolution = nn.Conv1d(n_in, n_out, kernel, stride=stride, padding=kernel // 2)
    norm = nn.BatchNorm1d(n_out)
    if activation is None:
        return nn.Sequential(convolution, norm)
    nn.init.kaiming_normal_(convolution.weight)
    return nn.Sequential(convolution, norm, activation)


def _bottleneck(n_in: int, width: int, kernel: int, stride: int) -> Residual:
    n_out = EXPANSION * width
    last = _conv(width, n_out, 1)
    nn.init.zeros_(last.get_parameter("1.weight"))  # the batch norm's scale: the block begins as its shortcut
    path = nn.Sequential(_conv(n_in, width, 1, 1, nn.ReLU()), _conv(width, width, kernel, stride, nn.ReLU()), last)
    halved = [nn.AvgPool1d(2, ceil_mode=True)] if stride == 2 else []
    widened = [_conv(n_in, n_out, 1)] if n_in != n_out else []
    return Residual(path, nn.Sequential(*halved, *widened))
