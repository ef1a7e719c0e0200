# SPDX-License-Identifier: Apache-2.0
"""Backward passes by rules: what guided backpropagation, DeepLIFT and LRP have in common.

Each of them goes back through the network as backpropagation does, but hands on something else than the gradient at
some kinds of layers. A rule says what: from the layer's inputs, its output and what arrived at its output to what each
input gets. Layers without a rule hand on the gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

# (layer, its inputs, its output, what arrived) -> what each input gets
Rule = Callable[[Callable[..., Tensor], tuple[Tensor, ...], Tensor, Tensor], tuple[Tensor, ...]]


@contextlib.contextmanager
def backward_by(network: nn.Module, rules: Mapping[type[nn.Module], Rule]) -> Iterator[nn.Module]:
    """Lend a network whose layers of these types go back by their rule; its outputs are unchanged.

    Leaving restores the network, also after an exception.
    """
    ruled = [(layer, rules[type(layer)]) for layer in network.modules() if type(layer) in rules]
    try:
        for layer, rule in ruled:
            layer.forward = partial(_Ruled.apply, rule, _Plain(layer, layer.forward))
        yield network
    finally:
        for layer, _ in ruled:
            layer.__dict__.pop("forward", None)


class _Plain:
    """A layer's own computation, and the layer, for rules that look at its weights."""

    def __init__(self, layer: nn.Module, forward: Callable[..., Tensor]) -> None:
        self.layer, self.forward = layer, forward

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.forward(*inputs)


class _Ruled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rule: Rule, layer: _Plain, *inputs: Tensor) -> Tensor:
        output = layer(*inputs)
        ctx.rule, ctx.layer = rule, layer
        ctx.save_for_backward(*inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Any, ...]:
        *inputs, output = ctx.saved_tensors
        with torch.enable_grad():
            handed_on = ctx.rule(ctx.layer, tuple(t.detach() for t in inputs), output.detach(), arrived[0])
        return None, None, *handed_on


def leaves(network: nn.Module, whole: tuple[type[nn.Module], ...] = ()) -> list[tuple[str, nn.Module]]:
    """Return the layers that hold no others, with their names; empty containers are no layers.

    whole   types that count as one layer, whatever they hold
    """
    found: list[tuple[str, nn.Module]] = []
    within: list[str] = []  # names of those types: what they hold is passed over
    for name, layer in network.named_modules():
        if any(name.startswith(f"{outer}.") for outer in within):
            continue
        if isinstance(layer, whole):
            within.append(name)
        elif any(True for _ in layer.children()) or isinstance(layer, nn.Sequential | nn.ModuleList):
            continue
        found.append((name, layer))
    return found


def gradient_of(layer: Callable[..., Tensor], at: Tensor, arrived: Tensor) -> Tensor:
    """Return what plain backpropagation would hand on to the input `at`."""
    point = at.detach().requires_grad_(True)
    with torch.enable_grad():
        return torch.autograd.grad(layer(point), point, arrived)[0]
