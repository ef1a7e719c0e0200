# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) at the last layer that still has time steps.

Channels of that layer are weighted by their mean gradient, added up, and what is positive is kept: where the network
saw what speaks for the target. The map has the layer's few time steps, each where the samples lie that it has seen
(stretched evenly, as is usual, steps of a network without padding lie up to half a field too early or too late); it is
drawn by linear interpolation and can tell nothing apart that lies nearer than a step, nor, in networks that mix the
leads, one lead from another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.errors import ContractError
from ecglens.explainers.gradient import guided_backprop, signal_of
from ecglens.explanation import Attribution
from ecglens.models.activations import blocks_of, gradients_of, tapping
from ecglens.models.field import Field, even_field, field_of
from ecglens.shapes import Targets

_LAST = "last"


def gradcam(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the Grad-CAM of each target: the same in all leads, unless the network keeps leads apart.

    Raises ContractError for a network that does not state its `blocks`.
    """
    signal = signal_of(batch)
    features, gradients = _features_and_gradients(network, signal, targets)
    weights = gradients.mean(dim=-1, keepdim=True)  # [target, row, channel, 1]
    maps = (weights * features).sum(dim=2).clamp(min=0)  # [target, row, step]
    n_records, n_leads, n_samples = signal.shape
    per_lead = maps.shape[1] // n_records  # rows per record: one, or one per lead
    if per_lead not in (1, n_leads):
        raise ContractError("network", "blocks", f"{per_lead} rows per record", "one, or one per lead", kind="method")
    field = field_of(network, len(blocks_of(network)), n_leads)
    fine = on_samples(maps.reshape(len(maps), n_records, per_lead, -1).numpy(), n_samples, field)
    return Attribution(np.ascontiguousarray(np.broadcast_to(fine, (*fine.shape[:2], n_leads, n_samples))))


def guided_gradcam(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return Grad-CAM times guided backpropagation: what xai4ecg's code computes under the name of Grad-CAM."""
    coarse, fine = gradcam(network, batch, targets), guided_backprop(network, batch, targets)
    return Attribution(coarse.values * fine.values)


@torch.no_grad()
def _shape_of_features(network: nn.Module, signal: Tensor) -> tuple[int, ...]:
    with tapping({_LAST: last_block(network)}) as seen:
        network(signal)
    return tuple(seen[_LAST].shape)


def step_length(network: nn.Module, signal: Tensor) -> int:
    """Return how many samples of `signal` [batch, lead, time] a step of the last block stands for."""
    return round(signal.shape[-1] / _shape_of_features(network, signal)[-1])


def keeps_leads_apart(network: nn.Module, signal: Tensor) -> bool:
    """Tell whether the last block has a row of features for each lead."""
    return _shape_of_features(network, signal)[0] == len(signal) * signal.shape[1] and signal.shape[1] > 1


def last_block(network: nn.Module) -> nn.Module:
    """Return the last of the network's `blocks`. Raises ContractError where it states none."""
    return blocks_of(network)[-1]


def _features_and_gradients(network: nn.Module, signal: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Return the last block's output [row, channel, step] and its gradients [target, row, channel, step]."""
    rows = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    with torch.enable_grad(), tapping({_LAST: last_block(network)}) as seen:
        values = network(signal.requires_grad_(True)) @ rows.T
    features = seen[_LAST]
    if not isinstance(features, Tensor) or features.ndim != 3 or features.shape[-1] < 2:
        found = f"output {tuple(features.shape)}" if isinstance(features, Tensor) else "several outputs"
        raise ContractError("network", "last block", found, "[row, channel, step] with time left", kind="method")
    return features.detach(), torch.stack([by_features for (by_features,) in gradients_of(values, [features])])


def on_samples(maps: np.ndarray, n_samples: int, field: Field | None) -> np.ndarray:
    """Return maps [target, record, row, step] on the samples, linear in time: [record, target, row, sample].

    field   where the steps lie; None: evenly, since that is all that is known
    """
    n_steps = maps.shape[-1]
    centres = (field or even_field(n_steps, n_samples)).centres(n_steps)
    at = np.arange(n_samples)
    right = np.clip(np.searchsorted(centres, at), 1, n_steps - 1)
    share = np.clip((at - centres[right - 1]) / (centres[right] - centres[right - 1]), 0.0, 1.0)
    fine = maps[..., right - 1] * (1 - share) + maps[..., right] * share
    return np.asarray(np.swapaxes(fine, 0, 1), dtype=np.float32)
