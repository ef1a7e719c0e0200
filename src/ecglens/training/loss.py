# SPDX-License-Identifier: Apache-2.0
"""Losses, one for each kind of output a network can have. Unknown labels are left out, never taken as absent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear, log_softmax, normalize

from ecglens.errors import UsageError

# How much rare classes count: (negatives / positives) to this power.
BALANCES = {"none": 0.0, "sqrt": 0.5, "full": 1.0}


def class_weights(labels: np.ndarray, balance: str = "sqrt") -> np.ndarray:
    """Return (negatives / positives) ** power per class [class]: how much more a positive counts than a negative.

    labels    [record, class]; NaN unknown. A class without positives or negatives gets weight 1.
    balance   "full": the inverse frequency; "sqrt": its root, so that rare classes count more but not in full
              (TrustECG, section 5.1); "none": 1
    """
    if balance not in BALANCES:
        raise UsageError("recipe", "balance", balance, ", ".join(BALANCES))
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    usable = (positives > 0) & (negatives > 0)
    return np.where(usable, (negatives / np.maximum(positives, 1)) ** BALANCES[balance], 1.0)


def multilabel_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of `logits` [record, class], positives weighted, unknown labels left out.

    labels    [record, class] in 0..1 (mixed records lie between), NaN unknown
    weights   of the positives [class]
    """
    known = ~torch.isnan(labels)
    filled = torch.where(known, labels, torch.zeros_like(labels))
    each = binary_cross_entropy_with_logits(logits, filled, pos_weight=weights, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def multiclass_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross-entropy of the softmax of `logits` [record, class], each record weighted by its class.

    labels    [record, class] that sum to 1 (one-hot, or mixed); a record with a NaN is unknown and left out
    weights   of the classes [class]; the mean is over the weights, so that equal weights change nothing
    """
    known = ~torch.isnan(labels).any(dim=1)
    filled = torch.where(known[:, None], labels, torch.zeros_like(labels)) * weights
    return -(filled * log_softmax(logits, dim=1)).sum() / filled.sum().clamp(min=torch.finfo(logits.dtype).tiny)


def regression_loss(values: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squared error of `values` [record, output], each output weighted, unknown labels left out.

    labels    [record, output], in the outputs' units, NaN unknown
    weights   [output]; 1 / variance makes outputs of different units count alike
    """
    known = ~torch.isnan(labels)
    filled = torch.where(known, labels, values.detach())
    return (weights * (values - filled) ** 2).sum() / known.sum().clamp(min=1)


class CosineMargin(nn.Module):
    """The loss of an embedding: each person has a direction, and own recordings must be nearer to it by a margin.

    CosFace (Wang et al., CVPR 2018): cross-entropy of scale * (cos(angle to each person) - margin for the right one).
    The directions are learnt with the network and dropped afterwards: people who were not there in training are told
    apart by the angle between their embeddings.

    n_people   people in training
    margin     taken off the right person's cosine
    scale      of the cosines, without which a softmax over values in -1..1 can never be sure
    """

    def __init__(self, n_features: int, n_people: int, margin: float = 0.35, scale: float = 30.0) -> None:
        super().__init__()
        if not 0 <= margin < 1 or scale <= 0:
            raise UsageError("CosineMargin", "margin, scale", f"{margin}, {scale}", "0 <= margin < 1, scale > 0")
        self.directions = nn.Parameter(torch.empty(n_people, n_features))
        nn.init.normal_(self.directions)
        self.margin, self.scale = margin, scale

    def forward(self, embeddings: Tensor, people: Tensor) -> Tensor:
        """Return the loss of `embeddings` [record, feature] of the `people` [record], numbered from 0."""
        cosines = linear(normalize(embeddings), normalize(self.directions))
        right = nn.functional.one_hot(people, len(self.directions)).to(cosines.dtype)
        return cross_entropy(self.scale * (cosines - self.margin * right), people)
