# SPDX-License-Identifier: Apache-2.0
"""What every network of `MODELS` promises: any length, any batch, records that do not know each other, named parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ecglens.models.lenet import count_parameters, initialized
from ecglens.models.registry import ARCHITECTURES, MODELS, build_network
from ecglens.training.recipes import RECIPES, recipe_for


def network(name: str, **sizes: int) -> nn.Module:
    architecture, arguments = MODELS[name]
    return randomized(initialized(ARCHITECTURES[architecture], arguments | sizes, 3)).eval()


def randomized(network: nn.Module) -> nn.Module:
    """Give batch norms the statistics and scales of a trained network: fresh ones hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for values, low, high in (
                (module.weight.data, 0.5, 1.5), (module.bias.data, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0),
            ):  # fmt: skip
                values.copy_(low + (high - low) * torch.rand(values.shape, generator=generator))
    return network


def signal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("n_leads", "n_outputs", "n_samples"), [(12, 5, 250), (12, 23, 1000), (1, 1, 777), (8, 2, 120)]
)
@torch.no_grad()
def test_any_leads_outputs_and_length(name: str, n_leads: int, n_outputs: int, n_samples: int) -> None:
    built = network(name, n_leads=n_leads, n_outputs=n_outputs)
    assert built(signal(1, n_leads, n_samples)).shape == (1, n_outputs)
    assert built(signal(3, n_leads, n_samples)).shape == (3, n_outputs)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_records_of_a_batch_do_not_know_each_other(name: str) -> None:
    built, x = network(name), signal(5, 12, 250)
    together = built(x)
    torch.testing.assert_close(torch.cat([built(one[None]) for one in x]), together, atol=1e-5, rtol=1e-4)
    x[2] = 100
    others = [0, 1, 3, 4]
    torch.testing.assert_close(built(x)[others], together[others], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name: str) -> None:
    """A parameter without gradient is a part that was built and never connected."""
    built = network(name).train()
    torch.autograd.backward(built(signal(4, 12, 250)).square().sum())
    silent = [key for key, value in built.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    # The score of an attention does not change when all positions gain the same: a bias there is without effect.
    assert all(key.endswith(("attention.score.2.bias",)) for key in silent if not key.endswith("bias")), silent


@pytest.mark.parametrize("name", MODELS)
def test_the_blocks_run_in_their_order(name: str) -> None:
    built, seen = network(name), []
    for k, block in enumerate(built.blocks):
        block.register_forward_hook(lambda _module, _inputs, _output, k=k: seen.append(k))
    built(signal(1, 12, 250))
    assert seen == list(range(len(built.blocks)))
    assert any(isinstance(module, nn.Linear) for module in built.head.modules())


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_for_every_model(name: str) -> None:
    assert recipe_for(name).model == name
    assert set(RECIPES) == set(MODELS)


# By hand: weights + biases of convolutions, two values per batch norm channel, linear layers with biases.
def convolution(n_in: int, n_out: int, kernel: int, *, bias: bool = True) -> int:
    return n_in * n_out * kernel + n_out * bias + 2 * n_out


def test_parameters_of_ecgnet() -> None:
    blocks = sum(
        convolution(n_in, n_out, 7) + convolution(n_out, n_out, 7) + convolution(n_in, n_out, 1)
        for n_in, n_out in ((1, 32), (32, 64), (64, 128))
    )
    assert blocks == 234_720
    attention = 128 * 64 + 64 + 64 + 1
    head = (128 * 128 + 128) + (128 * 64 + 64) + (64 * 5 + 5)
    assert count_parameters(build_network("ECGNet", {})) == blocks + 2 * attention + head == 276_455
    assert count_parameters(build_network("ECGNet", {"lead_embedding": True})) == 276_455 + 12 * 32
    per_class = 2 * 4 * (64 + 1)  # four more rows of each attention's last layer
    assert count_parameters(build_network("ECGNet", {"per_class": True})) == 276_455 + per_class


def test_parameters_of_xresnet1d50() -> None:
    stem = convolution(12, 32, 5) + convolution(32, 32, 5) + convolution(32, 64, 5)
    inner = convolution(64, 64, 5) + convolution(64, 256, 1)
    blocks = (convolution(64, 64, 1) + convolution(64, 256, 1)) + 15 * convolution(256, 64, 1) + 16 * inner
    head = 2 * 512 + 512 * 23 + 23
    assert count_parameters(build_network("XResNet1d", {"n_outputs": 23})) == stem + blocks + head == 905_751


def test_parameters_of_resnet1d() -> None:
    widths = (32, 64, 96, 128)
    total, before = convolution(12, 32, 9, bias=False), 32
    for width in widths:
        total += convolution(before, width, 9, bias=False) + convolution(width, width, 9, bias=False)
        total += convolution(before, width, 1, bias=False) if before != width else 0
        before = width
    assert count_parameters(build_network("ResNet1d", {})) == total + 128 * 5 + 5
