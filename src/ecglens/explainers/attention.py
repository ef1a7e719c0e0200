# SPDX-License-Identifier: Apache-2.0
"""Attention of ECGNet as a map. What a network attends to is not what decides, and attention has no sign.

Attention over leads times attention over time, laid on the samples. One for all classes unless the network has a pair
of attentions per class; a step of it sees the network's receptive field, which is what the resolution says.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ecglens.cohort import Batch
from ecglens.errors import ContractError
from ecglens.explainers.gradcam import on_samples
from ecglens.explainers.gradient import signal_of
from ecglens.explanation import Attribution
from ecglens.models.ecgnet import ECGNet
from ecglens.shapes import Targets


@torch.no_grad()
def attention(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return lead attention times temporal attention, summing to 1 over the map of each target.

    For a network with attentions per class a target is the weighted sum of its classes' maps. Raises ContractError for
    a network that has no such attention.
    """
    if not isinstance(network, ECGNet):
        raise ContractError(type(network).__name__, "method attention", "no attention over leads and time", "ECGNet",
                            "choose another method", kind="method")  # fmt: skip
    attended = network.attend(signal_of(batch))
    maps = (attended.temporal * attended.lead[..., None]).numpy()  # [batch, query, lead, step]
    fine = on_samples(np.swapaxes(maps, 0, 1), batch.signal.shape[-1])  # [batch, query, lead, sample]
    fine /= fine.sum(axis=(2, 3), keepdims=True)
    rows = np.asarray(targets, dtype=np.float32)
    if fine.shape[1] == 1:  # one attention for all classes
        return Attribution(np.repeat(fine, len(rows), axis=1))
    return Attribution(np.einsum("kq,bqlt->bklt", rows, fine).astype(np.float32))


def not_shown(network: nn.Module, fs: float) -> tuple[str, ...]:
    """Return what the attention of this network does not show, to be read after "this map"."""
    if not isinstance(network, ECGNet):
        return ()
    told = ["says nothing of direction: what is attended to may speak for the target or against it"]
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


def receptive_field(network: nn.Module, signal: torch.Tensor) -> int:
    """Return how many samples a step of the attention over time has seen."""
    return network.receptive_field if isinstance(network, ECGNet) else signal.shape[-1]
