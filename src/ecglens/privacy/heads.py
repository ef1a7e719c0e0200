# SPDX-License-Identifier: Apache-2.0
"""The heads of the last block of a TransECG: where each looks, and how much each counts, in three ways.

projection   ||W_O^h||, the part of the output projection that reads the head: the same for all windows, as in the paper
value        ||A_h[CLS] V_h W_O^h||: what the head adds to the class token in a window (after Kobayashi et al. 2020)
ablation     how much the answer falls when the head says nothing

The answer to a window is one number: the logit of what was named, or, of a network that embeds, the part of the
embedding along its own direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecglens.models.transecg import Block, TransECG

WAYS = ("projection", "value", "ablation")
_WEIGHTS_AT_ONCE = 640_000  # of one head of one block; all are kept until the batch is done

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Heads:
    """What the heads of a network did in windows.

    attention    of the class token over patches, without itself, each head summing to 1 [window, head, patch]
    to_itself    share that the class token keeps [window, head]
    answers      [window, output]
    targets      the direction whose part is the answer [window, output]
    projection   relative to the largest [head]
    value        [window, head]
    ablation     answer with all heads less that without one [window, head]
    """

    attention: Floats
    to_itself: Floats
    answers: Floats
    targets: Floats
    projection: Floats
    value: Floats
    ablation: Floats

    @property
    def mean(self) -> Floats:
        """Return the class token's attention, mean over heads, summing to 1 [window, patch]."""
        raw = (self.attention * (1 - self.to_itself)[..., None]).mean(axis=1)
        return raw / raw.sum(axis=1, keepdims=True)


def look_at_heads(network: TransECG, signal: np.ndarray, *, embeds: bool) -> Heads:
    """Return what the heads did in `signal` float32 [window, lead, time].

    embeds   outputs are an embedding, not logits
    """
    size = at_once(network)
    parts = [_look(network, torch.from_numpy(signal[i : i + size]), embeds) for i in range(0, len(signal), size)]
    norms = projection_norms(network)
    joined = {key: np.concatenate([part[key] for part in parts]).astype(np.float64) for key in parts[0]}
    return Heads(projection=norms / norms.max(), **joined)


def projection_norms(network: TransECG) -> Floats:
    """Return the Frobenius norm of the output projection of each head of the last block [head]."""
    layer = _last(network).attention
    weight: Tensor = layer.out.weight.detach()
    return weight.reshape(len(weight), layer.heads, -1).norm(dim=(0, 2)).double().numpy()


def directions(answers: Floats, *, embeds: bool) -> Floats:
    """Return the targets [window, output]: the class that is named, or the embedding's own direction."""
    if embeds:
        return answers / np.maximum(np.linalg.norm(answers, axis=1, keepdims=True), 1e-12)
    return np.eye(answers.shape[1])[answers.argmax(axis=1)]


def at_once(network: TransECG) -> int:
    """Return how many windows may go through a network together: attention grows with the square of the patches."""
    return max(1, _WEIGHTS_AT_ONCE // len(network.positions) ** 2)


@torch.no_grad()
def outputs(network: TransECG, signal: np.ndarray) -> Floats:
    """Return the answers [window, output] to `signal` float32 [window, lead, time]."""
    size = at_once(network)
    parts = [network(torch.from_numpy(signal[i : i + size])) for i in range(0, len(signal), size)]
    return torch.cat(parts).double().numpy()


@contextmanager
def _kept(network: TransECG) -> Iterator[dict[str, Tensor]]:
    """Keep, inside the block, the tokens that enter the last block and what each of its heads reads."""
    kept: dict[str, Tensor] = {}
    last = _last(network)

    def entering(_: Any, arguments: tuple[Tensor, ...]) -> None:
        kept["tokens"] = arguments[0]

    def reading(_: Any, __: Any, output: Tensor) -> None:
        kept["read"] = output

    hooks = [last.register_forward_pre_hook(entering), last.attention.weigh.register_forward_hook(reading)]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def silenced(network: TransECG, heads: Sequence[int]) -> Iterator[None]:
    """Let these heads of the last block say nothing, inside the block."""
    layer = _last(network).attention
    speaks = torch.ones(layer.heads)
    speaks[list(heads)] = 0.0
    mask = speaks.repeat_interleave(layer.out.in_features // layer.heads)
    hook = layer.out.register_forward_pre_hook(lambda _, arguments: (arguments[0] * mask,))
    try:
        yield
    finally:
        hook.remove()


def answers_without(network: TransECG, tokens: Tensor, heads: Sequence[int]) -> Tensor:
    """Return [window, output] where these heads of the last block say nothing to the `tokens` that enter it."""
    with silenced(network, heads):
        return network.head(network.norm(_last(network)(tokens)[0])[:, 0])


@torch.no_grad()
def _look(network: TransECG, signal: Tensor, embeds: bool) -> dict[str, np.ndarray]:
    layer = _last(network).attention
    with _kept(network) as kept:
        attended = network.attend(signal)
    row = attended.attentions[-1][:, :, 0].numpy()
    answers = attended.logits.double().numpy()
    targets = directions(answers, embeds=embeds)
    parts = layer.out.weight.reshape(-1, layer.heads, kept["read"].shape[-1])  # [width, head, width of a head]
    added = torch.einsum("bhd,whd->bhw", kept["read"][:, :, 0], parts)
    whole = (answers * targets).sum(axis=1)
    without = [answers_without(network, kept["tokens"], [head]).double().numpy() for head in range(layer.heads)]
    return {
        "attention": row[..., 1:] / np.maximum(row[..., 1:].sum(axis=-1, keepdims=True), 1e-30),
        "to_itself": row[..., 0], "answers": answers, "targets": targets, "value": added.norm(dim=-1).numpy(),
        "ablation": np.stack([whole - (each * targets).sum(axis=1) for each in without], axis=1),
    }  # fmt: skip


def _last(network: TransECG) -> Block:
    return cast(Block, network.blocks[-1])
