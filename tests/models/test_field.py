# SPDX-License-Identifier: Apache-2.0
"""Where steps of a block lie: what an impulse in the signal says, and what the networks say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.explainers.gradcam import on_samples
from ecglens.models.activations import activations, blocks_of
from ecglens.models.field import Field, field_of
from ecglens.models.registry import build_network

NETWORKS = {
    "LeNet": {}, "ECGNet": {}, "ResNet1d": {}, "XResNet1d": {},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_an_impulse_reaches_the_steps_whose_field_it_lies_in_and_no_other(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, {"n_outputs": 2}).double().eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            torch.nn.init.ones_(part.weight)  # XResNet's residual paths begin at 0
    layer = f"block-{len(blocks_of(network))}"
    field = field_of(network, len(blocks_of(network)), 12)
    assert field is not None
    at = 1500
    signal = torch.randn(1, 12, 4000, dtype=torch.float64)
    struck = signal.clone()
    struck[..., at] += 1.0
    with torch.no_grad():
        change = (activations(network, signal, (layer,))[layer] - activations(network, struck, (layer,))[layer]).abs()
    moved = np.flatnonzero(change.sum(dim=(0, 1)).numpy() > 0)
    centres = field.centre + field.stride * np.arange(change.shape[-1])
    inside = np.flatnonzero(np.abs(centres - at) <= (field.width - 1) / 2)
    assert set(moved) <= set(inside)
    assert len(moved) >= len(inside) - 2  # rims of zero weight, or silenced there


def test_what_ecgnet_says_of_itself() -> None:
    network = build_network("ECGNet", {"n_outputs": 2})
    assert field_of(network, len(blocks_of(network)), 12) == Field(0.0, 8.0, network.receptive_field)


def test_a_head_that_takes_one_length_only_has_no_field() -> None:
    class Short(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList([torch.nn.Conv1d(12, 2, 5)])
            self.head = torch.nn.Linear(2 * 96, 2)

        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return self.head(self.blocks[0](signal).flatten(1))

    assert field_of(Short(), 1, 12) is None


def test_one_step_is_drawn_where_it_looks() -> None:
    map_ = np.zeros((1, 1, 1, 5), np.float32)
    map_[..., 2] = 1.0
    assert on_samples(map_, 250, Field(47.0, 32.0, 95))[0, 0, 0].argmax() == 47 + 64
    assert on_samples(map_, 250, None)[0, 0, 0].max() == pytest.approx(0.99)  # evenly: between 124 and 125
