# SPDX-License-Identifier: Apache-2.0
"""A logit split over states: what each state adds to the answer, and whether taking it away changes the answer so.

The head reads the mean of the last block over a window's steps, and the record's logit l is the mean over windows. With
h the features at a place, H their mean over training records, and a head that is linear in the mean (weights w):

    l - l(H) = mean over windows of (1 / S) sum over steps of w (h - H) = sum over states of C_k
    C_k      = mean over windows of (1 / S) sum over steps of p_k w (h - H),   because the p_k at a place sum to 1

That is exact, whatever windows overlap: places count as often as the network counts them. Elsewhere:

- a maximum beside the mean (XResNet): its channel's part goes to the step that holds the maximum. The sum is still
  exact, but taking the step away lets the next one in: no prediction of what a change would do.
- layers between mean and logit (LeNet): w becomes the mean gradient of the head on the straight way from H to the
  window's own mean (integrated gradients of the head). The sum is exact up to the steps of that integral; what is left
  over is reported.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecglens.errors import ContractError
from ecglens.models.activations import blocks_of
from ecglens.models.layers import ConcatPool

EXACT, MAXIMUM, CURVED = "exact", "exact sum, maximum credited to its step", "approximate"
PATH_STEPS = 64
_AFFINE = (nn.Linear, nn.BatchNorm1d, nn.Dropout, nn.Identity, nn.Flatten)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Head:
    """The part of a network behind its last block.

    kind     EXACT, MAXIMUM or CURVED
    pool     "mean", or "maximum and mean"
    linear   whether the layers behind the pooling are
    layers   these layers, in double precision
    """

    kind: str
    maximum: bool
    linear: bool
    layers: nn.Module

    def pooled(self, features: Tensor) -> Tensor:
        """Return what the head reads [row, pooled] of features [row, channel, step]."""
        mean = features.mean(dim=-1)
        return torch.cat([features.amax(dim=-1), mean], dim=1) if self.maximum else mean

    @torch.no_grad()
    def logits(self, pooled: Tensor) -> Tensor:
        """Return logits [row, output]."""
        out: Tensor = self.layers(pooled.double())
        return out


def head_of(network: nn.Module, where: str, n_leads: int, length: int) -> Head:
    """Return the head of a network. Raises ContractError where the logit is no function of a mean over time steps.

    What is found is tried out on noise: the head after the pooled last block must give what the network gives.
    """
    pool, layers = getattr(network, "pool", None), getattr(network, "head", None)
    maximum = isinstance(pool, ConcatPool)
    inner = list(pool) if isinstance(pool, nn.Sequential) else []
    mean = bool(inner) and isinstance(inner[0], nn.AdaptiveAvgPool1d) and all(isinstance(m, _AFFINE) for m in inner[1:])
    if not isinstance(layers, nn.Module) or not (maximum or mean):
        raise _cannot_be_split(where, type(network).__name__)
    modules = [m for m in layers.modules() if not list(m.children())]
    linear = all(isinstance(module, _AFFINE) for module in modules)
    kind = (MAXIMUM if maximum else EXACT) if linear else CURVED
    head = Head(kind, maximum, linear, copy.deepcopy(layers).double().eval())
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(2, n_leads, length, generator=generator)
    seen: list[Tensor] = []
    hook = blocks_of(network)[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        with torch.no_grad():
            said = network(signal).double()
    finally:
        hook.remove()
    if not torch.allclose(head.logits(head.pooled(seen[0])), said, rtol=1e-4, atol=1e-4):
        raise _cannot_be_split(where, type(network).__name__)
    return head


def _cannot_be_split(where: str, name: str) -> ContractError:
    return ContractError(
        where, "head", f"that of {name}", "a mean over time steps (or mean and maximum), then layers on it",
        "choose resnet1d, lenet (or averages of them) or xresnet1d50: their logit can be split over time steps",
        kind="head",
    )  # fmt: skip


def evidence(head: Head, features: Tensor, reference: Tensor) -> tuple[Floats, Floats, Floats]:
    """Return what each step adds to each logit beyond the reference.

    features   of the last block [row, channel, step]
    reference  what the head reads of average training features [pooled]

    Returns parts [row, output, step], the logits [row, output] and the gap [row, output]: logit minus that of the
    reference minus the sum of the parts (rounding for heads that are linear).
    """
    h, base = features.double(), reference.double()
    pooled = head.pooled(h)
    slopes = _slopes(head, pooled, base)  # [row, output, pooled]
    n_steps, channels = h.shape[-1], h.shape[1]
    mean_slopes, mean_base = slopes[..., -channels:], base[-channels:]
    parts = torch.einsum("roc,rcs->ros", mean_slopes, (h - mean_base[None, :, None]) / n_steps)
    if head.maximum:
        highest, at = h.max(dim=-1)
        credit = slopes[..., :channels] * (highest - base[:channels])[:, None, :]  # [row, output, channel]
        parts.scatter_add_(2, at[:, None, :].expand(-1, credit.shape[1], -1), credit)
    logits = head.logits(pooled)
    gap = logits - head.logits(base[None]) - parts.sum(dim=-1)
    return parts.numpy(), logits.numpy(), gap.numpy()


def _slopes(head: Head, pooled: Tensor, base: Tensor) -> Tensor:
    """Return the mean gradient of the head from `base` to each row of `pooled`: [row, output, pooled]."""
    ways = [0.5] if head.linear else ((np.arange(PATH_STEPS) + 0.5) / PATH_STEPS).tolist()
    total: Tensor | None = None
    with torch.enable_grad():
        for way in ways:
            point = (base + way * (pooled - base)).detach().requires_grad_(True)
            said = head.layers(point)
            found = [torch.autograd.grad(said[:, k].sum(), point, retain_graph=True)[0] for k in range(said.shape[1])]
            slopes = torch.stack(found, dim=1)
            total = slopes if total is None else total + slopes
    assert total is not None
    return total / len(ways)


def contributions(parts: np.ndarray, memberships: np.ndarray, onto: NDArray[np.intp]) -> Floats:
    """Return what each state adds [row, state, output].

    parts        [row, output, step of the last block]
    memberships  [row, step of the finest grid, state]
    onto         step of the last block at each step of the finest grid

    Memberships are averaged onto the last block's steps, where they still sum to 1.
    """
    return np.einsum("rsk,ros->rko", onto_last(memberships, onto, parts.shape[-1]), parts)


def onto_last(values: np.ndarray, onto: NDArray[np.intp], n_steps: int) -> Floats:
    """Return the mean of values [row, fine step, ...] over the fine steps of each step of the last block."""
    belongs = np.arange(n_steps)[:, None] == onto  # [step, fine step]
    return np.einsum("st,rt...->rs...", belongs / belongs.sum(axis=1, keepdims=True), values)


@torch.no_grad()
def ablated(head: Head, features: Tensor, reference: Tensor, memberships: np.ndarray, onto: NDArray[np.intp]) -> Floats:
    """Return the fall of each logit when a state's places hold average features instead [row, state, output].

    A place that belongs to a state by p is moved by p of the way. For a head that is linear in the mean the fall is the
    state's contribution; for others it is the test of it.
    """
    h = features.double()
    base = reference.double()[-h.shape[1] :]
    shares = onto_last(memberships, onto, h.shape[-1])  # [row, step, state]
    said = head.logits(head.pooled(h))
    falls = []
    for k in range(shares.shape[-1]):
        share = torch.from_numpy(shares[:, None, :, k])
        falls.append(said - head.logits(head.pooled(h + share * (base[None, :, None] - h))))
    return torch.stack(falls, dim=1).numpy()
