# SPDX-License-Identifier: Apache-2.0
"""The average of several networks: its outputs, its gradients, and what may not be averaged."""

from __future__ import annotations

import pytest
import torch

from ecglens.errors import FormatError
from ecglens.models.average import Average
from ecglens.models.lenet import LeNet, count_parameters, initialized
from ecglens.models.registry import build_network

SIZES = {"n_outputs": 3, "widths": [4, 4, 4]}


@pytest.fixture
def members() -> list[torch.nn.Module]:
    return [initialized(LeNet, SIZES, seed).eval() for seed in range(3)]


def test_outputs_and_gradients_are_the_means_of_the_members(members) -> None:
    signal = torch.randn(2, 12, 300, generator=torch.Generator().manual_seed(0))
    average = Average(members).eval()
    assert torch.allclose(average(signal), sum(m(signal) for m in members) / 3, atol=1e-6)

    def gradient(network: torch.nn.Module) -> torch.Tensor:
        x = signal.clone().requires_grad_(True)
        return torch.autograd.grad(network(x)[:, 1].sum(), x)[0]

    assert torch.allclose(gradient(average), sum(gradient(m) for m in members) / 3, atol=1e-6)


def test_the_registry_rebuilds_an_average(members) -> None:
    average = Average(members)
    again = build_network("Average", {"architecture": "LeNet", "arguments": SIZES, "n_members": 3})
    again.load_state_dict(average.state_dict(), strict=True)
    assert count_parameters(again) == 3 * count_parameters(members[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"architecture": "Average", "arguments": {}, "n_members": 2},
        {"architecture": "os.system", "arguments": {}, "n_members": 2},
        {"architecture": "LeNet", "arguments": SIZES, "n_members": 10**9},
        {"architecture": "LeNet", "arguments": SIZES, "n_members": 1},
        {"architecture": "LeNet", "arguments": SIZES, "n_members": "many"},
        {"architecture": "LeNet", "n_members": 2},
    ],
)
def test_what_is_no_average_is_refused(arguments) -> None:
    with pytest.raises(FormatError, match="arguments"):
        build_network("Average", arguments)
