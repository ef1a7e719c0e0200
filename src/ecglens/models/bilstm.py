# SPDX-License-Identifier: Apache-2.0
"""A recurrent network that reads one lead both ways and fuses late (after Kim and Pyun, Sensors 20 (2020) 3069).

Their layer sizes are not known to us: two layers of 128 units a direction stand in, each direction with a head of its
own whose logits are added. The signal is normalised, as theirs is, and a convolution of stride 4 shortens it. A
direction says the mean of its states, normalised over the batch: by the last of 500 alone it learnt next to nothing,
and means of windows differ so little that without that it often learnt nothing in its first seven epochs. It is no
replication.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiLSTM(nn.Module):
    """Two LSTMs, one forwards and one backwards in time, never mixed before their logits are added.

    n_leads    leads of the input [batch, lead, time]
    n_outputs  logits, or features of an embedding, returned [batch, output]
    hidden     units of a direction
    depth      layers of a direction
    stride     of the convolution before them, in samples
    """

    def __init__(
        self, n_leads: int = 1, n_outputs: int = 2, hidden: int = 128, depth: int = 2, stride: int = 4
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, hidden, depth, stride) < 1:
            raise ValueError("sizes must be 1 or more")
        self.stem = nn.Conv1d(n_leads, 16, stride, stride=stride)
        self.blocks = nn.ModuleList(nn.LSTM(16, hidden, depth, batch_first=True) for _ in range(2))
        with torch.no_grad():  # gates that begin open remember (Jozefowicz, Zaremba and Sutskever 2015)
            for name, bias in self.blocks.named_parameters():
                if "bias_ih" in name:
                    bias[hidden : 2 * hidden] = 1.0
        # Running means are those of all batches since they were reset, as `privacy.attackers.settle` does: weights move
        # in each step by more than means of windows differ.
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden, momentum=None) for _ in range(2))
        self.head = nn.ModuleList(nn.Linear(hidden, n_outputs) for _ in range(2))

    def forward(self, signal: Tensor) -> Tensor:
        """Return [batch, output] of `signal` [batch, lead, time]."""
        spread = signal.std(dim=-1, keepdim=True).clamp_min(1e-6)
        steps = self.stem((signal - signal.mean(dim=-1, keepdim=True)) / spread).transpose(1, 2)
        ways = (steps, torch.flip(steps, dims=(1,)))
        means = [norm(lstm(way)[0].mean(dim=1)) for lstm, norm, way in zip(self.blocks, self.norms, ways, strict=True)]
        return self.head[0](means[0]) + self.head[1](means[1])
