# SPDX-License-Identifier: Apache-2.0
"""Relevance through ECGNet's attentions: their weights held constant, so that nothing is lost in the softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.errors import ContractError
from ecglens.explainers.linter import complaints, refuse_unsuitable
from ecglens.explainers.lrp import LRP
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import Attention, ECGNet

SIGNAL = np.random.default_rng(2).normal(size=(2, 12, 160)).astype(np.float32)
BATCH = Batch(SIGNAL, 100.0, STANDARD_LEADS, ("a", "b"))
EYE = np.eye(3)


def bias_free(per_class: bool) -> ECGNet:
    """No biases but in the attentions, which get no relevance; running statistics as if trained."""
    torch.manual_seed(1)
    network = ECGNet(n_outputs=3, widths=(4, 6, 8), hidden=5, per_class=per_class).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and "attention" not in name:
            parameter.data.zero_()
        elif "attention" in name:
            parameter.data.mul_(4)  # far from uniform, and hanging on the signal
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_var.uniform_(0.5, 2.0)
    return network


class Constant(nn.Module):
    """An attention through which no gradient goes."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, vectors: Tensor) -> Tensor:
        return self.attention(vectors).detach()


@pytest.mark.parametrize("per_class", [False, True])
def test_without_biases_relevance_sums_to_the_logit(per_class: bool) -> None:
    network = bias_free(per_class)
    with torch.no_grad():
        logits = network(torch.from_numpy(SIGNAL)).numpy()
    found = LRP(epsilon=1e-9)(network, BATCH, EYE)
    np.testing.assert_allclose(found.values.sum(axis=(2, 3)), logits, atol=1e-4 * np.abs(logits).max())


@pytest.mark.parametrize("per_class", [False, True])
def test_it_is_gradient_x_input_with_the_weights_held_constant(per_class: bool) -> None:
    """Without biases the epsilon rule is gradient times input: here of the network whose attentions hand on nothing."""
    network = bias_free(per_class)
    found = LRP(epsilon=1e-9)(network, BATCH, EYE).values
    network.temporal_attention = Constant(network.temporal_attention)  # type: ignore[assignment]
    network.lead_attention = Constant(network.lead_attention)  # type: ignore[assignment]
    point = torch.from_numpy(SIGNAL).requires_grad_(True)
    logits = network(point)
    for k in range(3):
        gradient = torch.autograd.grad(logits[:, k].sum(), point, retain_graph=True)[0].numpy()
        expected = gradient * SIGNAL
        np.testing.assert_allclose(found[:, k], expected, atol=1e-4 * np.abs(expected).max())


def test_gradients_through_the_softmax_would_not_conserve() -> None:
    """So that the tests above can fail: with them, the sum is another one."""
    network = bias_free(False)
    point = torch.from_numpy(SIGNAL).requires_grad_(True)
    logits = network(point)
    gradient = torch.autograd.grad(logits[:, 0].sum(), point)[0]
    total = (gradient * point).sum(dim=(1, 2))
    assert (total - logits[:, 0]).abs().max() > 0.01 * logits[:, 0].abs().max()


def test_the_linter_knows_attention() -> None:
    network, window = bias_free(False), torch.zeros(1, 12, 160)
    assert complaints(network, "lrp", window) == []
    assert complaints(network, "lrp_z_plus", window) == []
    (reason,) = complaints(network, "deeplift", window)
    assert "both depend on the input" in reason
    with pytest.raises(ContractError, match="attention"):
        refuse_unsuitable(network, "deeplift", window)


def test_a_softmax_that_is_no_attention_is_refused() -> None:
    class Gate(ECGNet):
        def _encode(self, signal: Tensor) -> Any:
            features, which = super()._encode(signal)
            return features * torch.softmax(features, dim=-1), which

    found = complaints(Gate(widths=(3, 4, 5), hidden=4).eval(), "lrp", torch.zeros(1, 12, 160))
    assert "an operation that is no layer (Softmax)" in found
    assert "an operation that is no layer (Mul)" in found
