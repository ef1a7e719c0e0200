# SPDX-License-Identifier: Apache-2.0
"""Attention as a map. What a network attends to is not what decides, and attention has no sign.

ECGNet: attention over leads times attention over time, laid on the samples. One for all classes unless the network has
a pair of attentions per class; a step of it sees the network's receptive field, which is what the resolution says.

Transformers: what the class token looks at, patch by patch, the same for all leads.

attention            the class token's row in the last block, mean over heads
attention_rollout    rows followed back through all blocks: the product of (A + 1) / 2, A the mean over heads (Abnar
                     and Zuidema 2020, arXiv 2005.00928)
attention_gradient   each weight times its gradient, the positive part, mean over heads, followed back: R + A R (Chefer
                     et al. 2021, arXiv 2103.15679). It depends on the target
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.errors import ContractError
from ecglens.explainers.gradcam import on_samples
from ecglens.explainers.gradient import signal_of
from ecglens.explanation import Attribution
from ecglens.models.ecgnet import ECGNet
from ecglens.models.field import field_of
from ecglens.models.transecg import TransECG
from ecglens.shapes import Targets

OF_CLASS_TOKENS = ("attention_rollout", "attention_gradient")


@torch.no_grad()
def attention(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return what the network attends to, summing to 1 over the map of each target.

    For a network with attentions per class a target is the weighted sum of its classes' maps. Raises ContractError for
    a network that has no such attention.
    """
    if isinstance(network, TransECG):
        last = network.attend(signal_of(batch)).attentions[-1]
        return _of_patches(network, batch, last.mean(dim=1)[:, 0, 1:], targets)
    if not isinstance(network, ECGNet):
        raise _no_attention(network, "attention", "ECGNet or TransECG")
    attended = network.attend(signal_of(batch))
    maps = (attended.temporal * attended.lead[..., None]).numpy()  # [batch, query, lead, step]
    field = field_of(network, len(network.blocks), batch.signal.shape[1])
    fine = on_samples(np.swapaxes(maps, 0, 1), batch.signal.shape[-1], field)  # [batch, query, lead, sample]
    fine /= fine.sum(axis=(2, 3), keepdims=True)
    rows = np.asarray(targets, dtype=np.float32)
    if fine.shape[1] == 1:  # one attention for all classes
        return Attribution(np.repeat(fine, len(rows), axis=1))
    return Attribution(np.einsum("kq,bqlt->bklt", rows, fine).astype(np.float32))


@torch.no_grad()
def attention_rollout(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the class token's row of the blocks' attentions multiplied, half of each token staying with itself."""
    if not isinstance(network, TransECG):
        raise _no_attention(network, "attention_rollout", "TransECG")
    followed: Tensor | None = None
    for weights in network.attend(signal_of(batch)).attentions:
        mixed = (weights.mean(dim=1) + torch.eye(weights.shape[-1])) / 2
        followed = mixed if followed is None else mixed @ followed
    assert followed is not None
    return _of_patches(network, batch, followed[:, 0, 1:], targets)


def attention_gradient(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the class token's row of attentions weighted by their gradients, one map per target."""
    if not isinstance(network, TransECG):
        raise _no_attention(network, "attention_gradient", "TransECG")
    rows = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    with torch.enable_grad():
        # Weights that do not learn lead no gradient to the attentions unless the input does.
        attended = network.attend(signal_of(batch).requires_grad_())
        values = (attended.logits @ rows.T).sum(dim=0)
        found = [torch.autograd.grad(value, attended.attentions, retain_graph=True) for value in values]
    maps = []
    for gradients in found:
        relevance = torch.eye(attended.attentions[0].shape[-1])
        for weights, gradient in zip(attended.attentions, gradients, strict=True):
            relevance = relevance + (weights * gradient).clamp(min=0).mean(dim=1).detach() @ relevance
        maps.append(relevance[:, 0, 1:])
    return Attribution(_on_leads(network, batch, torch.stack(maps, dim=1).numpy()))


def not_shown(network: nn.Module, fs: float) -> tuple[str, ...]:
    """Return what the attention of this network does not show, to be read after "this map"."""
    told = ["says nothing of direction: what is attended to may speak for the target or against it"]
    if isinstance(network, TransECG):
        if network.embed.in_channels > 1:
            told.append("is the same for every lead")
        told.append(
            f"lies on patches of {1000 * network.patch / fs:.0f} ms, but after the first block each of them has seen "
            "all others: its peaks are no proof of what lies under them"
        )
        return tuple(told)
    if not isinstance(network, ECGNet):
        return ()
    if not network.per_class:
        told.append("is the same for every target: the network has one attention for all classes")
    told.append(
        f"sees {network.receptive_field / fs:.2f} s around each instant, more than a beat at most rates: its peaks are "
        "no evidence of P, QRS or T"
    )
    if network.embedding is None:
        told.append(
            "cannot tell leads apart by place: exchanging two leads exchanges their attention and changes no answer"
        )
    return tuple(told)


def receptive_field(network: nn.Module, signal: Tensor) -> int:
    """Return how many samples a step of the attention over time has seen; of a transformer, the samples of a patch."""
    if isinstance(network, TransECG):
        return network.patch
    return network.receptive_field if isinstance(network, ECGNet) else signal.shape[-1]


def tells_leads_apart(network: nn.Module, signal: Tensor) -> bool:
    """Tell whether attention differs between leads: a transformer's tokens hold all leads together."""
    return not isinstance(network, TransECG) or signal.shape[-2] == 1


def _of_patches(network: TransECG, batch: Batch, row: Tensor, targets: Targets) -> Attribution:
    """Return the class token's row [batch, patch], without itself, as one map for all targets that sums to 1."""
    whole = _on_leads(network, batch, row.numpy()[:, None])
    return Attribution(np.repeat(whole / whole.sum(axis=(2, 3), keepdims=True), len(targets), axis=1))


def _on_leads(network: TransECG, batch: Batch, patches: np.ndarray) -> np.ndarray:
    """Return [batch, target, lead, sample] of [batch, target, patch], each shared out over its samples and leads."""
    fine = np.zeros((*patches.shape[:2], 1, batch.signal.shape[-1]), np.float32)
    spread = np.repeat(patches / network.patch, network.patch, axis=-1)
    fine[:, :, 0, : spread.shape[-1]] = spread  # samples after the last whole patch are never seen
    return np.repeat(fine / len(batch.leads), len(batch.leads), axis=2)


def _no_attention(network: nn.Module, method: str, allowed: str) -> ContractError:
    return ContractError(
        type(network).__name__, f"method {method}", "no such attention", allowed, "choose another method", kind="method"
    )
