# SPDX-License-Identifier: Apache-2.0
"""What in a network would make a method wrong, said before any map is made.

Methods that go back by rules see layers (`nn.Module`s) only. A ReLU, a sum or a product written as a function in
`forward` is invisible to them: they would hand on a gradient there, and the map would look like any other. So the
network is run once, and the graph of what it really computed is compared with the layers it consists of.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ecglens.errors import ContractError
from ecglens.explainers import deeplift, lrp
from ecglens.explainers.gradcam import last_block
from ecglens.explainers.rules import leaves
from ecglens.models.ecgnet import ECGNet
from ecglens.models.layers import Add, WeightedSum

# What only moves, copies or picks values: relevance passes through as gradients do.
_MOVING = {
    "AliasBackward0", "AsStridedBackward0", "CatBackward0", "CloneBackward0", "DiagonalBackward0", "ExpandBackward0",
    "PermuteBackward0", "RepeatBackward0", "SelectBackward0", "SliceBackward0", "SqueezeBackward0", "SqueezeBackward1",
    "StackBackward0", "TBackward0", "TransposeBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0", "ViewBackward0",
    "ReshapeAliasBackward0", "torch::autograd::AccumulateGrad",
}  # fmt: skip
_LINEAR = (nn.Conv1d, nn.Linear, nn.BatchNorm1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, Add)
_SILENT = (nn.Dropout, nn.Identity, nn.Flatten)


@dataclass
class _Run:
    """What one forward pass showed."""

    layers: list[tuple[str, nn.Module]]  # those that hold no others, or that the method takes as one
    inputs: dict[Any, list[Any]] = field(default_factory=dict)  # graph node of a layer's output -> of its inputs
    calls: Counter[str] = field(default_factory=Counter)
    steps: int = 0  # time steps that the last block leaves


def complaints(network: nn.Module, method: str, signal: Tensor) -> list[str]:
    """Return what makes `method` wrong on this network, in sentences; nothing where it may be used.

    signal   any input [batch, lead, time] of the network
    """
    if method not in _CHECKS:
        return []
    return [*_CHECKS[method](network, _run(network, signal, lrp.CHOOSING if method in _LRP else ()))]


def refuse_unsuitable(network: nn.Module, method: str, signal: Tensor) -> None:
    """Raise ContractError where the linter has a complaint about `method` on this network."""
    found = complaints(network, method, signal)
    if found:
        raise ContractError(
            type(network).__name__, f"method {method}", "; ".join(found), "a network it is right for",
            "choose another method, or rewrite these parts as layers", kind="method",
        )  # fmt: skip


def _run(network: nn.Module, signal: Tensor, whole: tuple[type[nn.Module], ...]) -> _Run:
    run = _Run(leaves(network, whole))

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            run.calls[name] += 1
            run.inputs.setdefault(output.grad_fn, []).extend(t.grad_fn for t in inputs if isinstance(t, Tensor))

        return hook

    def count(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        run.steps = output.shape[-1] if output.ndim == 3 else 0

    hooks = [layer.register_forward_hook(note(name)) for name, layer in run.layers]
    with contextlib.suppress(ContractError):  # no blocks stated: then none are counted
        hooks.append(last_block(network).register_forward_hook(count))
    try:
        with torch.enable_grad():
            output = network(signal.detach().requires_grad_(True))
    finally:
        for hook in hooks:
            hook.remove()
    run.inputs[None] = [output.grad_fn]
    return run


def _functions(run: _Run) -> list[str]:
    """Return the names of the operations that happened between layers, without those that only move values."""
    names, seen, waiting = [], set(), list(run.inputs[None])
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in run.inputs:  # a layer made this: go on with what went into it
            waiting += run.inputs[node]
            continue
        if node.name() not in _MOVING:
            names.append(node.name().removesuffix("0").removesuffix("Backward"))
        waiting += [before for before, _ in node.next_functions]
    return sorted(set(names))


def _for_rules(run: _Run, known: tuple[type[nn.Module], ...]) -> Iterator[str]:
    for name in _functions(run):
        yield f"an operation that is no layer ({name})"
    for name, layer in run.layers:
        if type(layer) not in known and run.calls[name]:
            yield f"layer {name} is a {type(layer).__name__}, for which there is no rule"
        if run.calls[name] > 1 and not isinstance(layer, _SILENT):
            yield f"layer {name} is used {run.calls[name]} times"


def _for_lrp(network: nn.Module, run: _Run) -> Iterator[str]:
    yield from _for_rules(run, (*lrp.KNOWN, nn.BatchNorm1d))


def _for_deeplift(network: nn.Module, run: _Run) -> Iterator[str]:
    if any(isinstance(layer, WeightedSum) for _, layer in run.layers):
        yield "an attention, whose weights and values both depend on the input: no rule shares a change of both"
        return
    yield from _for_rules(run, (*_LINEAR, *_SILENT, *deeplift.RULES))


def _for_guided(network: nn.Module, run: _Run) -> Iterator[str]:
    if "Relu" in _functions(run):
        yield "a ReLU that is no layer"
    if not any(isinstance(layer, nn.ReLU) for _, layer in leaves(network)):
        yield "no ReLU to guide"


def _for_gradcam(network: nn.Module, run: _Run) -> Iterator[str]:
    if run.steps < 2:
        yield "its last block leaves no time steps, or it states no blocks"


def _for_guided_gradcam(network: nn.Module, run: _Run) -> Iterator[str]:
    yield from _for_guided(network, run)
    yield from _for_gradcam(network, run)


def _for_attention(network: nn.Module, run: _Run) -> Iterator[str]:
    if not isinstance(network, ECGNet):
        yield "no attention over leads and time, as ECGNet has"


_LRP = ("lrp", "lrp_z_plus")
_CHECKS: dict[str, Callable[[nn.Module, _Run], Iterator[str]]] = {
    "guided_backprop": _for_guided,
    "gradcam": _for_gradcam,
    "guided_gradcam": _for_guided_gradcam,
    "deeplift": _for_deeplift,
    "lrp": _for_lrp,
    "lrp_z_plus": _for_lrp,
    "attention": _for_attention,
}
