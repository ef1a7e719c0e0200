# SPDX-License-Identifier: Apache-2.0
"""The one place that taps networks: what a layer holds for an input, and how the outputs change with it.

Networks state their ordered `blocks`, and some a `stem`, a `pool` and a `head`. From input to output what can be tapped
is called

    input, stem, block-1, block-2, ..., pool, head-1, head-2, ...

A tapped layer has the shape [batch, channel, step] as long as there is time, then [batch, channel]. Networks that keep
leads apart have the channels of lead 1, then those of lead 2, and so on. Tokens are steps.

>>> from ecglens.models.lenet import LeNet
>>> layer_names(LeNet())
('input', 'block-1', 'block-2', 'block-3', 'pool', 'head-1', 'head-2')
>>> six_of(layer_names(LeNet()))
('input', 'block-1', 'block-2', 'pool', 'head-1', 'head-2')
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.errors import ContractError, UsageError
from ecglens.shapes import Targets

INPUT = "input"
_SILENT = (nn.Dropout, nn.Identity, nn.Flatten)  # hand on what they get: a layer that is the one before


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Return the network's ordered `blocks`. Raises ContractError where it states none."""
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential | Sequence) or not len(blocks):
        raise ContractError(
            type(network).__name__, "blocks", "none stated", "the ordered blocks as `network.blocks`", kind="method"
        )
    return list(blocks)


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return what can be tapped behind the input, in order. Raises ContractError where no blocks are stated."""
    stem, pool, head = (getattr(network, name, None) for name in ("stem", "pool", "head"))
    layers: dict[str, nn.Module] = {"stem": stem} if isinstance(stem, nn.Module) else {}
    layers |= {f"block-{k}": block for k, block in enumerate(blocks_of(network), 1)}
    if isinstance(pool, nn.Module):
        layers["pool"] = pool
    inner = list(head)[:-1] if isinstance(head, nn.Sequential) else []
    speaking = [module for module in inner if not isinstance(module, _SILENT)]
    return layers | {f"head-{k}": module for k, module in enumerate(speaking, 1)}


def layer_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of what can be tapped, from the input on."""
    return (INPUT, *layers_of(network))


def six_of(names: Sequence[str], n: int = 6) -> tuple[str, ...]:
    """Return at most `n` of the names, the first, the last, and others evenly between."""
    places = np.linspace(0, len(names) - 1, min(n, len(names)))
    return tuple(names[round(float(place))] for place in places)


@contextlib.contextmanager
def tapping(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Note what the layers give in the last forward pass inside the block: a tensor, or whatever it is."""
    seen: dict[str, Any] = {}
    hooks = [layer.register_forward_hook(partial(_note, seen, name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _note(seen: dict[str, Any], name: str, module: nn.Module, inputs: object, output: object) -> None:
    seen[name] = output


def activations(network: nn.Module, signal: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what the named layers hold for `signal` [batch, lead, time]. Raises UsageError for an unknown layer."""
    with torch.no_grad(), tapping(_chosen(network, names)) as seen:
        network(signal)
    seen[INPUT] = signal
    return {name: _arranged(name, _first(seen[name]), len(signal), _has_tokens(network)) for name in names}


def activations_and_gradients(
    network: nn.Module, signal: Tensor, names: Sequence[str], targets: Targets
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the named layers hold, and the gradient of each target by it [target, batch, ...].

    targets   weights over the outputs [target, output]

    One forward pass, one backward pass per target, however many layers. Raises UsageError for an unknown layer,
    ContractError where no gradient goes through one.
    """
    point = signal.detach().requires_grad_(True)
    with torch.enable_grad(), tapping(_chosen(network, names)) as seen:
        outputs = network(point)
        values = outputs @ torch.from_numpy(np.asarray(targets)).to(outputs.dtype).T
        seen[INPUT] = point
        points = [_first(seen[name]) for name in names]
        found = gradients_of(values, points)
    tokens = _has_tokens(network)
    held = {name: _arranged(name, p.detach(), len(signal), tokens) for name, p in zip(names, points, strict=True)}
    slopes = {
        name: torch.stack([_arranged(name, each[k], len(signal), tokens) for each in found])
        for k, name in enumerate(names)
    }
    return held, slopes


def gradients_of(values: Tensor, points: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return for each column of `values` [batch, target] its gradient by each point, one backward pass per column.

    Raises ContractError for a network that no gradient goes through.
    """
    # Records do not depend on each other in evaluation mode, so the sum over the batch has each one's gradient.
    gradients = []
    for k in range(values.shape[1]):
        more = k + 1 < values.shape[1]
        column = values[:, k].sum()
        found: tuple[Tensor | None, ...] = (None,)
        if column.grad_fn and all(point.requires_grad for point in points):
            found = torch.autograd.grad(column, list(points), retain_graph=more, allow_unused=True)
        known = tuple(gradient for gradient in found if gradient is not None)
        if len(known) < len(points):
            raise ContractError(
                "network", "gradient", "none from its outputs to its input", "operations that have gradients",
                "choose a method that only asks for predictions, such as occlusion", kind="method",
            )  # fmt: skip
        gradients.append(known)
    return gradients


def _chosen(network: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    known = layers_of(network)
    unknown = [name for name in names if name not in known and name != INPUT]
    if unknown or not names:
        raise UsageError(
            type(network).__name__, "layer", ", ".join(unknown) or "none", ", ".join((INPUT, *known)),
            kind="unknown_layer",
        )  # fmt: skip
    return {name: known[name] for name in names if name != INPUT}


def _first(output: Any) -> Tensor:
    """Return what goes on to the next layer: blocks of attention hand out their weights as well."""
    return output[0] if isinstance(output, tuple) else output


def _has_tokens(network: nn.Module) -> bool:
    return hasattr(network, "class_token")


def _arranged(name: str, values: Tensor, n_batch: int, tokens: bool) -> Tensor:
    """Return [batch, channel, step], or [batch, channel] where no time is left."""
    if name == INPUT:
        return values
    if name == "pool" or name.startswith("head"):
        return values.reshape(n_batch, -1)
    if tokens and name.startswith("block"):
        return values.transpose(1, 2)  # [batch, token, width]
    return values.reshape(n_batch, -1, values.shape[-1])  # rows of one record are its leads, in order
