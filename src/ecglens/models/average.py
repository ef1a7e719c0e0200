# SPDX-License-Identifier: Apache-2.0
"""Several networks as one: the mean of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecglens.errors import ContractError
from ecglens.models.activations import blocks_of


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


class SideBySide(nn.Module):
    """An average as one network whose layers can be tapped: those of the members side by side, in their order.

    Gives what the average gives: the head is the mean of the members' heads, each on its own channels. So whatever
    splits the answer of one network over its last features splits that of the average, over the features of all.

    members   networks of one architecture that go from `stem`, if they have one, through `blocks` and `pool`, a mean
              over time, to `head`
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        inner = [list(pool) if isinstance(pool := getattr(m, "pool", None), nn.Sequential) else [] for m in members]
        if not all(layers and isinstance(layers[0], nn.AdaptiveAvgPool1d) for layers in inner) or any(
            list(layer.parameters()) for layers in inner for layer in layers
        ):
            raise ContractError(
                type(members[0]).__name__, "head", "one of several that are averaged", "a plain mean over time steps",
                "choose one of the networks behind the average (`train --seeds` keeps them)", kind="head",
            )  # fmt: skip
        stems = [stem for member in members if isinstance(stem := getattr(member, "stem", None), nn.Module)]
        if stems:
            self.stem = _Beside(stems, shared=True)
        chains = zip(*(blocks_of(member) for member in members), strict=True)
        self.blocks = nn.ModuleList(_Beside(row, shared=not stems and k == 0) for k, row in enumerate(chains))
        self.pool = members[0].pool  # without weights, channel by channel: one does for all
        self.head = _MeanOf([member.head for member in members])  # type: ignore[misc]

    def forward(self, signal: Tensor) -> Tensor:
        """Return mean logits [batch, output] of `signal` [batch, lead, time]."""
        if hasattr(self, "stem"):
            signal = self.stem(signal)
        for block in self.blocks:
            signal = block(signal)
        out: Tensor = self.head(self.pool(signal))  # type: ignore[operator]
        return out


class _Beside(nn.Module):
    """Layers of several networks, each on its own channels, or all on the same (`shared`)."""

    def __init__(self, layers: Sequence[nn.Module], shared: bool) -> None:
        super().__init__()
        self.layers, self.shared = nn.ModuleList(layers), shared

    def forward(self, signal: Tensor) -> Tensor:
        n = len(self.layers)
        parts = [signal] * n if self.shared else signal.chunk(n, dim=1)
        return torch.cat([layer(part) for layer, part in zip(self.layers, parts, strict=True)], dim=1)


class _MeanOf(nn.Module):
    """The mean of heads, each on its own channels."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, pooled: Tensor) -> Tensor:
        parts = pooled.chunk(len(self.heads), dim=1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)]).mean(dim=0)


def side_by_side(network: nn.Module) -> nn.Module:
    """Return an average as one network with blocks, any other network as it is.

    Raises ContractError where the members' heads read more than a mean over time.
    """
    return SideBySide(members_of(network)) if isinstance(network, Average) else network
