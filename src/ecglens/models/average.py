# SPDX-License-Identifier: Apache-2.0
"""Several networks as one: the mean of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """The mean of the members' logits. Networks that differ in their seed alone err differently, and the mean less.

    Gradients of the mean are the mean of the gradients, so what explains a network explains an average as well.

    members   networks with the same inputs and outputs
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, signal: Tensor) -> Tensor:
        """Return mean logits [batch, output] of `signal` [batch, lead, time]."""
        return torch.stack([member(signal) for member in self.members]).mean(dim=0)


def members_of(network: nn.Module) -> list[nn.Module]:
    """Return the networks behind an average, or the network itself."""
    return list(network.members) if isinstance(network, Average) else [network]
