# SPDX-License-Identifier: Apache-2.0
"""The loss is the formula written out, unknown labels left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.training.loss import class_weights, multilabel_loss


def explicit(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    total, known = 0.0, 0
    for i in range(logits.shape[0]):
        for k in range(logits.shape[1]):
            if np.isnan(labels[i, k]):
                continue
            p = 1 / (1 + np.exp(-logits[i, k]))
            total -= weights[k] * labels[i, k] * np.log(p) + (1 - labels[i, k]) * np.log(1 - p)
            known += 1
    return total / known


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_formula(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, weights = generator.normal(0, 2, (9, 4)), generator.uniform(0.5, 4, 4)
    labels = generator.random((9, 4)) if seed % 2 else generator.integers(0, 2, (9, 4)).astype(float)
    labels[generator.random((9, 4)) < 0.3] = np.nan
    found = multilabel_loss(*(torch.from_numpy(a) for a in (logits, labels, weights)))
    assert found.item() == pytest.approx(explicit(logits, labels, weights), rel=1e-12)


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.zeros(3, 2, requires_grad=True)
    labels = torch.tensor([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]])
    multilabel_loss(logits, labels, torch.ones(2)).backward()
    assert logits.grad is not None
    assert ((logits.grad != 0) == ~torch.isnan(labels)).all()


def test_nothing_known_gives_zero_not_nan() -> None:
    logits = torch.ones(2, 2, requires_grad=True)
    loss = multilabel_loss(logits, torch.full((2, 2), torch.nan), torch.ones(2))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_large_logits_stay_finite() -> None:
    loss = multilabel_loss(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]), torch.ones(2))
    assert loss.item() == pytest.approx(1e4)


def test_class_weights_are_the_root_of_the_odds() -> None:
    labels = np.array([[1, 0, 1, np.nan], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, np.nan, 0]], dtype=float)
    np.testing.assert_allclose(class_weights(labels), [2.0, 1.0, 1.0, np.sqrt(3)])
