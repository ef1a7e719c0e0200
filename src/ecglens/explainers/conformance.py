# SPDX-License-Identifier: Apache-2.0
"""What any explainer must hold on any network: a battery for ours, and for one's own networks and explainers.

>>> from ecglens.models.lenet import LeNet
>>> from ecglens.explainers.explain import find_method
>>> signal = np.random.default_rng(0).normal(size=(3, 12, 250)).astype("float32")
>>> results = conformance(LeNet(), find_method("saliency"), "saliency", signal)
>>> [result.promise for result in results if result.kept is False]
[]
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ecglens.bundle import as_tensor
from ecglens.cohort import Batch
from ecglens.explainers.attention import OF_CLASS_TOKENS
from ecglens.explainers.explain import borrowed, one_by_one
from ecglens.explainers.gradient import IntegratedGradients
from ecglens.explainers.linter import complaints
from ecglens.explainers.methods import Method
from ecglens.explainers.perturbation import SEGMENT, Hiding
from ecglens.explanation import Attribution
from ecglens.fiducials import Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import ECGNet

# Of the largest value: float32 sums in another order, and the ReLUs that this flips. Below the rounding of a logit
# nothing is compared.
_ALIKE, _ROUNDING = 5e-4, 1e-7
_ADDS_UP = 0.01
# Methods whose maps are sums over the targets' weights, and those that look at the input lead by lead.
_NOT_LINEAR = {
    "gradcam", "guided_gradcam", "guided_backprop", "integrated_gradients", "attention", *OF_CLASS_TOKENS,
    "random", "energy", "slope", "r_distance",
}  # fmt: skip
_NOT_BY_LEAD = {"gradcam", "guided_gradcam", "attention", *OF_CLASS_TOKENS, "random", "energy", "slope", "r_distance"}


@dataclass(frozen=True)
class Result:
    """One promise: kept, broken, or None where it does not apply; what was measured, and what is allowed."""

    promise: str
    kept: bool | None
    measured: float
    allowed: float


class _Interruption(Exception):
    """Raised inside a network to see whether it is left as it was."""


def conformance(
    network: nn.Module, method: Method, name: str, signal: np.ndarray, fs: float = 100.0,
    fiducials: tuple[Fiducials, ...] | None = None,
) -> list[Result]:  # fmt: skip
    """Return what `method` keeps and breaks of its promises on `network`; one result, if the linter refuses it.

    signal     [batch, lead, time], three records or more of 12 leads
    name       of the method, which decides what is promised
    fiducials  one per record, for methods that need them
    """
    with torch.no_grad(), borrowed(network) as lent:
        n_outputs = lent(as_tensor(signal[:1])).shape[1]
        if complaints(lent, name, as_tensor(signal[:1])):
            return [Result("refused by the linter", None, 0.0, 0.0)]
    batch = Batch(signal, fs, STANDARD_LEADS, tuple(f"r{k}" for k in range(len(signal))), (), fiducials)
    targets = np.eye(n_outputs)

    def maps(net: nn.Module = network, b: Batch = batch, rows: np.ndarray = targets) -> Attribution:
        with borrowed(net) as lent:
            return method.explainer(lent, b, rows)

    before = _state(network)
    whole = maps()
    untouched = before == _state(network)
    checks = [
        _finite(whole, (len(signal), n_outputs, *signal.shape[1:])),
        Result("the same twice", bool(np.array_equal(whole.values, maps().values)), 0.0, 0.0),
        _one_by_one(whole, batch, maps),
        Result("network left as it was", untouched, 0.0, 0.0),
        Result("network left as it was after an exception", _left_after_exception(network, maps), 0.0, 0.0),
        _difference_of_targets(whole, name, targets, maps),
        _adds_up(whole, method),
        _blind_lead(network, name, batch, maps),
        _permuted_leads(network, method, name, batch, whole, maps),
    ]
    return checks


def _finite(whole: Attribution, shape: tuple[int, ...]) -> Result:
    return Result("finite, one value per target, lead and sample",
                  whole.values.shape == shape and bool(np.isfinite(whole.values).all()), 0.0, 0.0)  # fmt: skip


def _one_by_one(whole: Attribution, batch: Batch, maps: Callable[..., Attribution]) -> Result:
    single = [maps(b=one) for one in one_by_one(batch)]
    return _alike("a batch is its records one by one", whole.values, np.concatenate([one.values for one in single]))


def _left_after_exception(network: nn.Module, maps: Callable[..., Attribution]) -> bool:
    """Raise inside the network's last layer, and tell whether the network is left as it was."""

    def stop(*_: object) -> None:
        raise _Interruption

    before = _state(network)
    last = [layer for layer in network.modules() if not list(layer.children())][-1]
    hook = last.register_forward_hook(stop)
    with contextlib.suppress(_Interruption):
        maps()
    hook.remove()
    return before == _state(network)


def _state(network: nn.Module) -> list[object]:
    """Return all that an explainer could leave behind: weights, modes, what learns, hooks, replaced methods."""
    weights = [(name, tensor.numpy().tobytes()) for name, tensor in network.state_dict().items()]
    layers = [
        (layer.training, sorted(set(vars(layer)) - {"_is_full_backward_hook"}), len(layer._forward_hooks),
         len(layer._forward_pre_hooks), len(layer._backward_hooks), len(layer._backward_pre_hooks))
        for layer in network.modules()
    ]  # fmt: skip
    return [weights, layers, [(p.requires_grad, p.grad is None) for p in network.parameters()]]


def _difference_of_targets(
    whole: Attribution, name: str, targets: np.ndarray, maps: Callable[..., Attribution]
) -> Result:
    promise = "the map of a difference is the difference of the maps"
    if name in _NOT_LINEAR or len(targets) < 2:
        return Result(promise, None, 0.0, _ALIKE)
    found = maps(rows=(targets[0] - targets[1])[None]).values[:, 0]
    return _alike(promise, found, whole.values[:, 0] - whole.values[:, 1])


def _adds_up(whole: Attribution, method: Method) -> Result:
    promise = "adds up (95 % of maps within 1 %), or carries a warning"
    if not method.complete or whole.gap is None:
        return Result(promise, None, 0.0, _ADDS_UP)
    promised = np.abs(whole.values.sum(axis=(2, 3)) + whole.gap)
    share = np.abs(whole.gap) / np.maximum(promised, 1e-12)
    worst = float(np.quantile(share, 0.95))
    # An integral may need more points than it is given, and then says so; the others add up by construction.
    missed = None if isinstance(method.explainer, IntegratedGradients) else False
    return Result(promise, True if worst <= _ADDS_UP else missed, worst, _ADDS_UP)


def _blind_lead(network: nn.Module, name: str, batch: Batch, maps: Callable[..., Attribution]) -> Result:
    promise = "a lead with zero weights gets nothing"
    entry = _entry(network)
    if entry is None or name in _NOT_BY_LEAD:
        return Result(promise, None, 0.0, _ALIKE)
    blind = copy.deepcopy(network)
    layer = _entry(blind)
    assert layer is not None
    with torch.no_grad():
        layer.weight[:, 7] = 0.0
    values = maps(net=blind, b=batch).values
    share = float(np.abs(values[:, :, 7]).max() / max(np.abs(values).max(), 1e-30))
    return Result(promise, share <= _ALIKE, share, _ALIKE)


def _permuted_leads(
    network: nn.Module, method: Method, name: str, batch: Batch, whole: Attribution, maps: Callable[..., Attribution]
) -> Result:
    promise = "permuted leads permute the map"
    entry, shared = _entry(network), isinstance(network, ECGNet) and network.embedding is None
    # Where limb leads are hidden together, or by their own marks, a permutation would change what is asked.
    hiding = method.explainer if isinstance(method.explainer, Hiding) else None
    grouped = hiding is not None and (hiding.together or hiding.by == SEGMENT)
    if (entry is None and not shared) or grouped or name in {"random", "smoothgrad"}:
        return Result(promise, None, 0.0, _ALIKE)
    order = np.random.default_rng(0).permutation(len(batch.leads))
    turned = copy.deepcopy(network)
    layer = _entry(turned)
    if layer is not None:
        with torch.no_grad():
            layer.weight[:] = layer.weight[:, torch.from_numpy(order)].clone()
    other = replace(batch, signal=np.asarray(batch.signal)[:, order])
    return _alike(promise, maps(net=turned, b=other).values, whole.values[:, :, order])


def _entry(network: nn.Module) -> nn.Conv1d | None:
    """Return the convolution that mixes the 12 leads, or None where the network keeps them apart."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv1d)]
    first = convolutions[0] if convolutions else None
    return first if first is not None and first.in_channels == len(STANDARD_LEADS) else None


def _alike(promise: str, found: np.ndarray, expected: np.ndarray) -> Result:
    largest = max(float(np.abs(expected).max()), 1e-30)
    gap = max(0.0, float(np.abs(found - expected).max()) - _ROUNDING) / largest
    return Result(promise, gap <= _ALIKE, gap, _ALIKE)
