# SPDX-License-Identifier: Apache-2.0
"""LeNet: its size, its shortest input, and that records of a batch do not know each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.errors import FormatError
from ecglens.models.lenet import LeNet, count_parameters, initialized
from ecglens.models.registry import ARCHITECTURES, MODELS, build_network


def parameters_by_hand(n_leads: int, widths: list[int], kernels: list[int], hidden: int, n_outputs: int) -> int:
    """Weights and biases of convolutions, scale and shift of batch norms, weights and biases of the head."""
    total, before = 0, n_leads
    for width, kernel in zip(widths, kernels, strict=True):
        total += before * kernel * width + width + 2 * width
        before = width
    for units in ([hidden] if hidden else []) + [n_outputs]:
        total += before * units + units
        before = units
    return total


@pytest.mark.parametrize(("n_outputs", "expected"), [(23, 73_271), (5, 70_949), (71, 79_463)])
def test_parameters_of_the_default(n_outputs: int, expected: int) -> None:
    assert parameters_by_hand(12, [32, 64, 128], [5, 5, 5], 128, n_outputs) == expected
    assert count_parameters(LeNet(n_outputs=n_outputs)) == expected


LENETS = [name for name, (architecture, _) in MODELS.items() if architecture == "LeNet"]


@pytest.mark.parametrize("name", LENETS)
@pytest.mark.parametrize("n_leads", [1, 8, 12])
def test_models_by_name(name: str, n_leads: int) -> None:
    architecture, arguments = MODELS[name]
    network = build_network(architecture, {"n_leads": n_leads, "n_outputs": 3, **arguments}).eval()
    full = {"widths": [32, 64, 128], "kernels": [5, 5, 5], "hidden": 128} | arguments
    full.pop("dropout", None)
    assert count_parameters(network) == parameters_by_hand(n_leads, n_outputs=3, **full)
    assert network(torch.zeros(2, n_leads, 250)).shape == (2, 3)
    assert architecture in ARCHITECTURES


def shortest(kernels: list[int]) -> int:
    """Backwards: the last convolution gives one sample, each pooling needs two of the one before."""
    n = 1
    for k, kernel in enumerate(reversed(kernels)):
        n = kernel + 2 * ((n if k == 0 else 2 * n) - 1)
    return n


@pytest.mark.parametrize("name", LENETS)
def test_any_length_from_the_shortest_on(name: str) -> None:
    architecture, arguments = MODELS[name]
    network = build_network(architecture, arguments).eval()
    least = shortest(arguments.get("kernels", [5, 5, 5]))
    for n in (least, least + 1, least + 17, 250, 251, 1000, 5000):
        assert network(torch.zeros(1, 12, n)).shape == (1, 5)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 12, least - 1))


def test_shortest_of_the_default() -> None:
    assert shortest([5, 5, 5]) == 95


def test_records_of_a_batch_do_not_know_each_other() -> None:
    network = initialized(LeNet, {}, 3).eval()
    signal = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 12, 250)).astype(np.float32))
    with torch.no_grad():
        together = network(signal)
        alone = torch.cat([network(one[None]) for one in signal])
        torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(network(signal.flip(0)).flip(0), together, atol=1e-6, rtol=1e-5)
        signal[4] = 1e3
        others = [i for i in range(9) if i != 4]
        torch.testing.assert_close(network(signal)[others], together[others], atol=1e-6, rtol=1e-5)


def test_forward_is_its_blocks_its_pool_and_its_head() -> None:
    network = initialized(LeNet, {}, 3).eval()
    signal = torch.randn(2, 12, 250, generator=torch.Generator().manual_seed(0))
    x = signal
    for block in network.blocks:
        x = block(x)
    torch.testing.assert_close(network.head(x.mean(2)), network(signal), atol=1e-6, rtol=1e-5)


def test_dropout_and_batch_norm_sleep_in_evaluation_and_wake_in_training() -> None:
    network = initialized(*_wide(), 0)
    signal = torch.randn(4, 12, 250, generator=torch.Generator().manual_seed(0))
    state = {k: v.clone() for k, v in network.state_dict().items()}
    network.eval()
    assert torch.equal(network(signal), network(signal))
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(network(signal), network(signal))
    assert not torch.equal(state["blocks.0.1.running_mean"], network.state_dict()["blocks.0.1.running_mean"])


def _wide() -> tuple[type[torch.nn.Module], dict]:
    architecture, arguments = MODELS["lenet-wide"]
    return ARCHITECTURES[architecture], arguments


def test_initialized_is_reproducible_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(5)
    torch.manual_seed(11)
    first = initialized(LeNet, {"n_outputs": 3}, 7)
    assert torch.equal(torch.rand(5), expected)
    second, other = initialized(LeNet, {"n_outputs": 3}, 7), initialized(LeNet, {"n_outputs": 3}, 8)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.state_dict()["head.0.weight"], other.state_dict()["head.0.weight"])


def test_initialized_leaves_the_generator_alone_when_building_fails() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with pytest.raises(TypeError):
        initialized(LeNet, {"colour": "red"}, 7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["", "lenet", "torch.nn.Linear", "os.system", "__class__"])
def test_an_unknown_architecture_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="LeNet") as caught:
        build_network(name, {}, "config.json")
    assert (caught.value.kind, caught.value.exit_code, caught.value.where) == ("architecture", 3, "config.json")


@pytest.mark.parametrize(
    "arguments",
    [
        {"colour": 1}, {"n_leads": -1}, {"n_leads": "12"}, {"widths": []}, {"widths": [1, 2]}, {"widths": 3},
        {"dropout": []}, {"dropout": [2.0, 0, 0]}, {"dropout": [0.1]}, {"kernels": [0, 5, 5]},
        {"n_outputs": 0}, {"n_leads": 0},
        {"n_outputs": 10**30}, {"hidden": 10**13}, {"n_outputs": None}, {"hidden": 1.5},
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_refused(arguments: dict) -> None:
    with pytest.raises(FormatError) as caught:
        build_network("LeNet", arguments)
    assert caught.value.kind == "architecture"
