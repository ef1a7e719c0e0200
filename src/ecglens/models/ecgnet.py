# SPDX-License-Identifier: Apache-2.0
"""ExplainableECGNet of TrustECG, as released, and two variants that mend what its structure cannot do.

One encoder is shared by all leads, an attention over time makes one vector of each lead, an attention over leads one
vector of the ECG. As released (276,455 parameters with five outputs; the report's 276,421 matches no artefact):

- nothing in it knows which lead is which: any permutation of the leads gives the same logits, so it cannot tell V1
  from V6, and its lead attention speaks of contents, not of places. `lead_embedding` adds a learnt vector per lead
  to the first block's output, before the blocks that can make use of it.
- it has one attention for all classes. `per_class` gives each output its own two attentions.
- a step of the temporal attention is 8 samples, but sees 127: 1.27 s at 100 Hz, more than a beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.models.layers import Add, Residual, WeightedSum, receptive_field
from ecglens.models.repeats import different


class Attended(NamedTuple):
    """What the network says and where it looked; each attention sums to 1 over its last axis.

    logits    [batch, output]
    temporal  [batch, query, lead, step]; one query for all outputs, or one per output
    lead      [batch, query, lead]
    """

    logits: Tensor
    temporal: Tensor
    lead: Tensor


class Attention(nn.Module):
    """Additive attention (Bahdanau et al. 2015): softmax over positions of V tanh(W x).

    width      of the vectors attended to
    n_queries  how many weightings are made, each with its own row of V
    """

    def __init__(self, width: int, hidden: int, n_queries: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, n_queries))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return weights [..., query, position] of `vectors` [..., position, width]."""
        return self.softmax(self.score(vectors).transpose(-1, -2))


class OwnAttention(Attention):
    """The same where each query has vectors of its own, which its own row of V scores."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Return weights [batch, query, position] of `vectors` [batch, query, position, width]."""
        scores = torch.diagonal(self.score(vectors), dim1=1, dim2=3)  # [batch, position, query]
        return self.softmax(scores.transpose(1, 2))


class ECGNet(nn.Module):
    """ExplainableECGNet.

    n_leads, n_outputs  of the input [batch, lead, time] (any length) and of the logits [batch, output]
    widths              channels of the residual blocks, each of which halves the time
    kernel              their length, in samples
    hidden              units of the attentions and of the head's second layer
    dropout             in blocks and head
    lead_embedding      tell the encoder which lead it sees
    per_class           one pair of attentions per output
    """

    leads_repeat = False  # read each different lead of a batch once: see `models.repeats`

    def __init__(
        self,
        n_leads: int = 12,
        n_outputs: int = 5,
        widths: Sequence[int] = (32, 64, 128),
        kernel: int = 7,
        hidden: int = 64,
        dropout: float = 0.3,
        lead_embedding: bool = False,
        per_class: bool = False,
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, hidden, *widths) < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError("leads, outputs, widths and hidden must be 1 or more, the kernel odd")
        self.n_outputs, self.per_class = n_outputs, per_class
        width, n_queries = widths[-1], n_outputs if per_class else 1
        before = (1, *widths[:-1])
        self.blocks = nn.ModuleList(
            _block(n_in, n_out, kernel, dropout) for n_in, n_out in zip(before, widths, strict=True)
        )
        self.embedding = nn.Parameter(0.1 * torch.randn(n_leads, widths[0])) if lead_embedding else None
        self.add_embedding = Add()
        self.temporal_attention = Attention(width, hidden, n_queries)
        self.lead_attention = OwnAttention(width, hidden, n_queries)
        self.over_time, self.over_leads = WeightedSum(), WeightedSum()
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_outputs),
        )  # fmt: skip
        self.receptive_field, self.step = receptive_field([(kernel, s) for _ in widths for s in (2, 1)])

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [batch, output] of `signal` [batch, lead, time]."""
        return self.attend(signal).logits

    def attend(self, signal: Tensor) -> Attended:
        """Return logits and both attentions of `signal` [batch, lead, time]."""
        features, which = self._encode(signal)
        temporal = self.temporal_attention(features)  # [batch, lead, query, step]
        leads = self.over_time(temporal, features)  # [batch, lead, query, channel]
        if which is not None:
            temporal, leads = (each[0, which].reshape(*signal.shape[:2], *each.shape[2:]) for each in (temporal, leads))
        leads = leads.transpose(1, 2)  # [batch, query, lead, channel]
        weights = self.lead_attention(leads)  # [batch, query, lead]
        pooled = self.over_leads(weights.unsqueeze(2), leads).squeeze(2)  # [batch, query, channel]
        logits = self.head(pooled)  # [batch, query, output]
        logits = torch.diagonal(logits, dim1=1, dim2=2) if self.per_class else logits[:, 0]
        return Attended(logits, temporal.transpose(1, 2), weights)

    def _encode(self, signal: Tensor) -> tuple[Tensor, NDArray[np.int64] | None]:
        """Return features [batch, lead, step, channel].

        Where leads repeat: [1, different lead, step, channel], and for each lead of each ECG which of them it is.
        """
        batch, n_leads, n_samples = signal.shape
        features, which = signal.reshape(batch * n_leads, 1, n_samples), None
        places = None if self.embedding is None else self.embedding.repeat(batch, 1).unsqueeze(-1)
        if self.leads_repeat:
            lead = torch.arange(n_leads).repeat(batch)[:, None]  # the same samples in another lead are something else
            first, which = different(torch.cat([features[:, 0], lead], dim=1).numpy())
            features, places = features[first], None if places is None else places[first]
        for k, block in enumerate(self.blocks):
            features = block(features)
            if k == 0 and places is not None:
                features = self.add_embedding(features, places)
        shape = (batch, n_leads) if which is None else (1, len(features))
        return features.reshape(*shape, *features.shape[1:]).transpose(2, 3), which


def _block(n_in: int, n_out: int, kernel: int, dropout: float) -> Residual:
    path = nn.Sequential(
        nn.Conv1d(n_in, n_out, kernel, stride=2, padding=kernel // 2), nn.BatchNorm1d(n_out), nn.ReLU(),
        nn.Dropout(dropout),
        nn.Conv1d(n_out, n_out, kernel, padding=kernel // 2), nn.BatchNorm1d(n_out),
    )  # fmt: skip
    return Residual(path, nn.Sequential(nn.Conv1d(n_in, n_out, 1, stride=2), nn.BatchNorm1d(n_out)))
