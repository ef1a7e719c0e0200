# SPDX-License-Identifier: Apache-2.0
"""Every network x every method: promises kept, and the battery itself tells a broken explainer from a sound one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ecglens.cohort import Batch
from ecglens.explainers.conformance import Result, conformance
from ecglens.explainers.deeplift import deeplift
from ecglens.explainers.explain import EXPLAINERS, Method, find_method
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad, saliency
from ecglens.explainers.perturbation import Occlusion, Shapley
from ecglens.explanation import Attribution
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet, initialized
from ecglens.models.resnet1d import ResNet1d
from ecglens.models.xresnet1d import XResNet1d
from ecglens.shapes import Targets

NETWORKS = {
    "lenet": (LeNet, {"widths": (5, 6, 6)}),
    "resnet1d": (ResNet1d, {"widths": (4, 5, 6, 6), "kernel": 5}),
    "xresnet1d": (XResNet1d, {"stem": (4, 5, 6), "stages": (1, 1, 1, 1), "width": 4}),
    "ecgnet": (ECGNet, {"widths": (3, 4, 5), "hidden": 4}),
    "ecgnet-lead": (ECGNet, {"widths": (3, 4, 5), "hidden": 4, "lead_embedding": True}),
    "ecgnet-class": (ECGNet, {"widths": (3, 4, 5), "hidden": 4, "lead_embedding": True, "per_class": True}),
}
# The same methods with fewer draws and coarser regions: what they promise does not hang on it.
FEWER = {
    "smoothgrad": SmoothGrad(n=3),
    "integrated_gradients": IntegratedGradients(steps=8, doublings=1),
    "occlusion": Occlusion(length=0.6, stride=0.3),
    "shapley": Shapley(orders=4),
}
REFUSED = {(f"ecgnet{kind}", "deeplift") for kind in ("", "-lead", "-class")}
METHODS = [name for name in EXPLAINERS if name != "attention"]
SIGNAL = np.random.default_rng(0).normal(size=(3, 12, 160)).astype(np.float32)


def marks() -> tuple[Fiducials, ...]:
    """One beat in each record, the same in all leads, each record's later than the one before."""
    times = np.tile(np.linspace(0.2, 0.9, len(MARKS)), (12, 1, 1))
    return tuple(Fiducials(times + 0.1 * k, STANDARD_LEADS, "by hand") for k in range(len(SIGNAL)))


def network_of(name: str) -> nn.Module:
    """A network with running statistics as training would leave them, so that batch norm is no identity."""
    build, arguments = NETWORKS[name]
    network = initialized(build, {"n_outputs": 3, **arguments}, 1)
    generator = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            for tensor, low, high in ((layer.running_mean, -0.3, 0.3), (layer.running_var, 0.5, 2.0),
                                      (layer.weight.data, 0.5, 1.5), (layer.bias.data, -0.2, 0.2)):  # fmt: skip
                tensor.uniform_(low, high, generator=generator)
    return network


def broken(results: list[Result]) -> dict[str, float]:
    return {result.promise: result.measured for result in results if result.kept is False}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_promises_are_kept(name: str, method: str) -> None:
    chosen = find_method(method)
    chosen = replace(chosen, explainer=FEWER.get(method, chosen.explainer))
    results = conformance(network_of(name), chosen, method, SIGNAL, fiducials=marks())
    if (name, method) in REFUSED:
        assert [result.promise for result in results] == ["refused by the linter"]
    else:
        assert broken(results) == {}
        assert sum(result.kept is True for result in results) >= 5


@pytest.mark.parametrize("name", ["ecgnet", "ecgnet-lead", "ecgnet-class"])
def test_attention_keeps_its_promises(name: str) -> None:
    assert broken(conformance(network_of(name), find_method("attention"), "attention", SIGNAL)) == {}


# --- explainers that break one promise each: the battery must name it ------------------------------------------------


def neighbourly(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    values = saliency(network, batch, targets).values
    return Attribution(values - values.mean(axis=0))


def leaves_a_hook(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    found = saliency(network, batch, targets)
    network._buffers["left"] = torch.zeros(1)  # a trace that restoring hooks does not remove
    return found


def nudges_a_weight(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    return saliency(network, batch, targets)


def absolute(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    return Attribution(np.abs(saliency(network, batch, targets).values))


def spread_over_leads(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    values = saliency(network, batch, targets).values
    return Attribution(np.repeat(values.mean(axis=2, keepdims=True), values.shape[2], axis=2))


def hides_from_later_leads(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    values = saliency(network, batch, targets).values.copy()
    values[:, :, 6:] *= 0.5
    return Attribution(values)


def test_a_map_that_does_not_add_up_is_named() -> None:
    def half(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        found = deeplift(network, batch, targets)
        assert found.gap is not None
        return Attribution(found.values / 2, gap=found.gap + found.values.sum(axis=(2, 3)) / 2)

    results = conformance(network_of("lenet"), Method(half, "", complete=True), "deeplift", SIGNAL)
    assert list(broken(results)) == ["adds up (95 % of maps within 1 %), or carries a warning"]


@pytest.mark.parametrize(
    ("explainer", "promise"),
    [
        (neighbourly, "a batch is its records one by one"),
        (leaves_a_hook, "network left as it was"),
        (nudges_a_weight, "network left as it was"),
        (absolute, "the map of a difference is the difference of the maps"),
        (spread_over_leads, "a lead with zero weights gets nothing"),
        (hides_from_later_leads, "permuted leads permute the map"),
    ],
)
def test_a_broken_promise_is_named(explainer: object, promise: str) -> None:
    results = conformance(network_of("lenet"), Method(explainer, ""), "saliency", SIGNAL)  # type: ignore[arg-type]
    assert promise in broken(results)
