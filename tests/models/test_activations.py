# SPDX-License-Identifier: Apache-2.0
"""What is tapped is what the network computes: the rest of the network, fed with it, gives the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.errors import ContractError, UsageError
from ecglens.models.activations import (
    INPUT,
    activations,
    activations_and_gradients,
    layer_names,
    layers_of,
    six_of,
)
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet, initialized
from ecglens.models.resnet1d import ResNet1d
from ecglens.models.transecg import TransECG
from ecglens.models.xresnet1d import XResNet1d

SIGNAL = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 12, 256)).astype(np.float32))
NETWORKS = {
    "LeNet": (LeNet, {}),
    "XResNet1d": (XResNet1d, {"stages": [1, 1]}),
    "ResNet1d": (ResNet1d, {}),
    "ECGNet": (ECGNet, {}),
    "TransECG": (TransECG, {"n_leads": 12, "length": 256, "patch": 16, "width": 24, "depth": 2}),
}


def made(name: str) -> nn.Module:
    build, arguments = NETWORKS[name]
    return initialized(build, arguments, 1).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_is_what_moving_the_layer_does(name: str) -> None:
    """A hook adds a little to one layer's output; the outputs move as the gradient by that layer says."""
    network, step = made(name).double(), 1e-6
    for module in network.modules():  # a path that is 0 would leave ReLUs exactly at their kink
        if isinstance(module, nn.BatchNorm1d):
            nn.init.ones_(module.weight)
    signal = SIGNAL.double()
    rows = np.eye(network(signal).shape[1])[:2]
    names = layer_names(network)
    held, slopes = activations_and_gradients(network, signal, names, rows.astype(np.float32))
    assert set(held) == set(names)
    for layer, module in layers_of(network).items():
        assert slopes[layer].shape == (2, *held[layer].shape)

        def push(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
            return (output[0] + step, *output[1:]) if isinstance(output, tuple) else output + step

        hook = module.register_forward_hook(push)
        with torch.no_grad():
            moved = network(signal)
        hook.remove()
        with torch.no_grad():
            found = ((moved - network(signal)) / step)[:, :2].T
        expected = slopes[layer].flatten(2).sum(dim=2)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_one_row_per_record_and_nothing_is_left_behind(name: str) -> None:
    network = made(name)
    found = activations(network, SIGNAL, layer_names(network))
    assert all(len(values) == 3 for values in found.values())
    assert found[INPUT] is SIGNAL
    assert not any(module._forward_hooks for module in network.modules())
    one = activations(network, SIGNAL[1:2], layer_names(network))
    for layer, values in found.items():  # records do not mix: channels of one record's leads lie together
        torch.testing.assert_close(values[1:2], one[layer], atol=1e-5, rtol=1e-4)


def test_tokens_are_steps() -> None:
    network = made("TransECG")
    assert activations(network, SIGNAL, ["block-1"])["block-1"].shape == (3, 24, 17)


def test_lenet_by_hand() -> None:
    network = made("LeNet")
    with torch.no_grad():
        first = network.blocks[0](SIGNAL)
        pooled = network.pool(network.blocks[2](network.blocks[1](first)))
        hidden = network.head[1](network.head[0](pooled))
    found = activations(network, SIGNAL, ["block-1", "pool", "head-2"])
    for name, expected in (("block-1", first), ("pool", pooled), ("head-2", hidden)):
        torch.testing.assert_close(found[name], expected)


def test_unknown_layers_and_networks_without_blocks_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        activations(made("LeNet"), SIGNAL, ["block-9"])
    assert refused.value.kind == "unknown_layer"
    assert "block-3" in refused.value.allowed
    with pytest.raises(ContractError):
        layer_names(nn.Linear(2, 2))


def test_six_layers_reach_from_input_to_output() -> None:
    names = layer_names(made("LeNet"))
    assert six_of(names) == ("input", "block-1", "block-2", "pool", "head-1", "head-2")
    assert six_of(("a", "b")) == ("a", "b")
