# SPDX-License-Identifier: Apache-2.0
"""Layer-wise relevance propagation (Bach et al. 2015, PLoS ONE 10:e0130140).

The logit is handed back through the network as relevance: what a unit received it shares among those who gave it its
value, in proportion to what each gave. Linear layers share by weight times input, a sum by its summands, a maximum
gives all to the winner, a ReLU passes on as it is. Nothing is made or lost but what biases and the stabiliser keep;
the map's gap says how much that is.

An attention is a product of two things that both depend on the input, its weights and its values. Its weights are held
constant: they choose, the values are what is chosen, so that all relevance goes to the values and none through the
softmax (Ali et al. 2022, ICML, arXiv 2202.07304). Why the network looked where it looked is thus not told.

Batch norm is folded into the layer before (or after) it first, since a scale and a shift of their own would share
relevance around zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear
from torch.nn.grad import conv1d_input

from ecglens.cohort import Batch
from ecglens.errors import ContractError, UsageError
from ecglens.explainers.gradient import gradients_at, signal_of, target_values
from ecglens.explainers.rules import Rule, backward_by, gradient_of, leaves
from ecglens.explanation import Attribution
from ecglens.models.ecgnet import Attention, OwnAttention
from ecglens.models.layers import Add, WeightedSum
from ecglens.shapes import Targets

LINEAR = (nn.Conv1d, nn.Linear)
AVERAGING = (nn.AvgPool1d, nn.AdaptiveAvgPool1d)
# Layers that hand relevance on as the gradient does: they copy, pick out or rearrange.
PASSING = (nn.Dropout, nn.Identity, nn.Flatten, nn.MaxPool1d, nn.AdaptiveMaxPool1d)


CHOOSING = (Attention, OwnAttention)  # what makes weights that are held constant, with all that is in it
KNOWN = (*LINEAR, *AVERAGING, *PASSING, nn.ReLU, Add, WeightedSum, *CHOOSING)


@dataclass(frozen=True)
class LRP:
    """Relevance by the epsilon rule, or in the convolutions by z-plus (Montavon et al. 2017, arXiv 1512.02479).

    epsilon  stabiliser added to each sum, away from 0; what it takes is lost
    z_plus   in convolutions only what raises a unit's value gets a share: less noise, and no relevance against
    """

    epsilon: float = 1e-3
    z_plus: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1:
            raise UsageError("explain", "epsilon", self.epsilon, "above 0, below 1")

    def __call__(self, network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
        """Return relevance, and the part of each target's value that biases and stabiliser kept.

        Raises ContractError for a network with a layer that has no rule.
        """
        signal, folded = signal_of(batch), fold_batch_norm(network)
        refuse_unknown_layers(folded)
        with backward_by(folded, self.rules()) as ruled:
            _, maps = gradients_at(_Relevance(ruled), signal, targets)
        gap = target_values(network, signal, targets) - maps.sum(dim=(2, 3))
        return Attribution(maps.numpy(), gap=gap.numpy())

    def rules(self) -> dict[type[nn.Module], Rule]:
        """Return the rule of each kind of layer; those that are not named pass relevance on as gradients."""
        share: Rule = self._share_by_contribution
        rules = dict.fromkeys((*LINEAR, *AVERAGING), share)
        rules |= {nn.ReLU: _pass_on, Add: self._share_between_summands, WeightedSum: self._share_among_chosen}
        rules |= dict.fromkeys(CHOOSING, _nothing)
        return rules | ({nn.Conv1d: self._share_among_raising} if self.z_plus else {})

    def _share_by_contribution(
        self, layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
    ) -> tuple[Tensor, ...]:
        """R_i = x_i sum_j w_ij R_j / z_j."""
        return (inputs[0] * _handed_back(layer, inputs[0], relevance / self._stable(output)),)

    def _share_among_raising(
        self, layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
    ) -> tuple[Tensor, ...]:
        """Share by the positive part of w_ij x_i alone: positive weights of positive inputs, negative of negative."""
        raising, lowering = inputs[0].clamp(min=0), inputs[0].clamp(max=0)
        positive, negative = _with_weights_clamped(layer, upwards=True), _with_weights_clamped(layer, upwards=False)
        share = relevance / self._stable(positive(raising) + negative(lowering))
        return (raising * gradient_of(positive, raising, share) + lowering * gradient_of(negative, lowering, share),)

    def _share_between_summands(
        self, layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
    ) -> tuple[Tensor, ...]:
        share = relevance / self._stable(output)
        return tuple(_like(summand * share, summand) for summand in inputs)

    def _share_among_chosen(
        self, layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
    ) -> tuple[Tensor, ...]:
        """The epsilon rule with the weights as a linear layer's: R_v = v sum w R / z; the weights get none."""
        weights, values = inputs
        share = gradient_of(lambda chosen: layer(weights, chosen), values, relevance / self._stable(output))
        return torch.zeros_like(weights), values * share

    def _stable(self, values: Tensor) -> Tensor:
        return values + self.epsilon * torch.where(values >= 0, 1.0, -1.0)


class _Relevance(nn.Module):
    """The network with outputs whose backward pass begins with the logits' values rather than with ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, signal: Tensor) -> Tensor:
        logits = self.network(signal)
        return logits * logits.detach()  # gradient: the logit itself, which is what is to be shared out


def _pass_on(
    layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
) -> tuple[Tensor, ...]:
    return (relevance,)


def _handed_back(layer: Callable[..., Tensor], at: Tensor, arrived: Tensor) -> Tensor:
    """Return `gradient_of` a linear layer, straight from its weights where they say it: no second forward pass."""
    own = layer.layer  # type: ignore[attr-defined]
    if type(own) is nn.Linear:
        return arrived @ own.weight.detach()
    if type(own) is nn.Conv1d and own.padding_mode == "zeros" and not isinstance(own.padding, str):
        return conv1d_input(  # type: ignore[no-untyped-call]
            at.shape, own.weight.detach(), arrived, own.stride, own.padding, own.dilation, own.groups
        )
    return gradient_of(layer, at, arrived)


def _nothing(
    layer: Callable[..., Tensor], inputs: tuple[Tensor, ...], output: Tensor, relevance: Tensor
) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(one) for one in inputs)


def _with_weights_clamped(layer: Callable[..., Tensor], upwards: bool) -> Callable[[Tensor], Tensor]:
    """Return a convolution with its positive (or negative) weights alone, and without bias."""
    conv = layer.layer  # type: ignore[attr-defined]
    weight = conv.weight.detach().clamp(min=0) if upwards else conv.weight.detach().clamp(max=0)
    return lambda signal: conv1d(signal, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def _like(relevance: Tensor, summand: Tensor) -> Tensor:
    """Return relevance in the summand's own shape, where it was broadcast."""
    return relevance.sum_to_size(summand.shape)


def refuse_unknown_layers(network: nn.Module) -> None:
    """Raise ContractError for a layer without a rule: a silent gradient in its place would be no relevance."""
    for name, layer in leaves(network, whole=CHOOSING):
        if type(layer) not in KNOWN:
            raise ContractError(
                type(network).__name__, f"layer {name}", type(layer).__name__,
                ", ".join(kind.__name__ for kind in KNOWN), "choose another method", kind="method",
            )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- batch norm


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose batch norms are folded into the linear layer before, or after, them.

    Its outputs are the same up to rounding. A batch norm without such a neighbour stays.
    """
    folded = copy.deepcopy(network).eval()
    for container in folded.modules():
        if isinstance(container, nn.Sequential):
            _fold_within(container)
    return folded


def _fold_within(layers: nn.Sequential) -> None:
    for (_, before), (name, norm) in pairwise(list(layers.named_children())):
        if isinstance(norm, nn.BatchNorm1d) and isinstance(before, LINEAR):
            scale, shift = _affine(norm)
            _scale_outputs(before, scale, shift)
            setattr(layers, name, nn.Identity())
    for name, norm in list(layers.named_children()):
        after = _next_linear(list(layers.named_children()), name)
        if isinstance(norm, nn.BatchNorm1d) and after is not None:
            scale, shift = _affine(norm)
            bias = linear(shift, after.weight) + (after.bias if after.bias is not None else 0.0)
            after.weight = nn.Parameter(after.weight.detach() * scale)
            after.bias = nn.Parameter(bias.detach())
            setattr(layers, name, nn.Identity())


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return scale and shift [channel] of a batch norm in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ContractError("network", "batch norm", "no running statistics", "statistics kept in training")
    scale = 1.0 / torch.sqrt(variance + norm.eps)
    if not norm.affine:
        return scale, -mean * scale
    scale = scale * norm.weight.detach()
    return scale, norm.bias.detach() - mean * scale


def _scale_outputs(layer: nn.Conv1d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    weight, bias = layer.weight, layer.bias
    layer.weight = nn.Parameter(weight.detach() * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    layer.bias = nn.Parameter((bias.detach() * scale if bias is not None else 0.0) + shift)


def _next_linear(layers: Sequence[tuple[str, nn.Module]], name: str) -> nn.Linear | None:
    """Return the linear layer that follows, with nothing but dropout between."""
    place = [own for own, _ in layers].index(name)
    for _, layer in layers[place + 1 :]:
        if isinstance(layer, nn.Linear):
            return layer
        if not isinstance(layer, nn.Dropout | nn.Identity):
            return None
    return None
