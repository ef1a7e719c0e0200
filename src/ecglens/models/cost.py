# SPDX-License-Identifier: Apache-2.0
"""What a pass through a network costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ecglens.models.transecg import SelfAttention


def multiply_adds(network: nn.Module, shape: tuple[int, int]) -> int:
    """Return the multiply-additions of one record [lead, time]: convolutions, dense layers, LSTMs and attention.

    >>> multiply_adds(nn.Sequential(nn.Conv1d(1, 4, 5, padding=2), nn.Flatten(), nn.Linear(400, 3)), (1, 100))
    3200
    """
    total = 0

    def count(layer: nn.Module, given: tuple[Any, ...], told: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv1d):
            total += told.numel() * layer.in_channels // layer.groups * layer.kernel_size[0]
        elif isinstance(layer, nn.Linear):
            total += told.numel() * layer.in_features
        elif isinstance(layer, nn.LSTM):
            widths = [layer.input_size, *[layer.hidden_size] * (layer.num_layers - 1)]
            total += given[0].shape[1] * sum(4 * layer.hidden_size * (w + layer.hidden_size) for w in widths)
        elif isinstance(layer, SelfAttention):
            _, weights = told
            total += 2 * weights.numel() * (layer.query.out_features // layer.heads)

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    try:
        training = network.training
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape))
        network.train(training)
    finally:
        for hook in hooks:
            hook.remove()
    return total
