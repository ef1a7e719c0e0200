# SPDX-License-Identifier: Apache-2.0
"""Losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return sqrt(negatives / positives) per class [class]: rare classes count more, but not in full (TrustECG 5.1).

    labels   [record, class]; NaN unknown. A class without positives or negatives gets weight 1.
    """
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    usable = (positives > 0) & (negatives > 0)
    return np.where(usable, np.sqrt(negatives / np.maximum(positives, 1)), 1.0)


def multilabel_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of `logits` [record, class], positives weighted, unknown labels left out.

    labels    [record, class] in 0..1 (mixed records lie between), NaN unknown
    weights   of the positives [class]
    """
    known = ~torch.isnan(labels)
    filled = torch.where(known, labels, torch.zeros_like(labels))
    each = binary_cross_entropy_with_logits(logits, filled, pos_weight=weights, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
