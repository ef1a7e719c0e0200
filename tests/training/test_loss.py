# SPDX-License-Identifier: Apache-2.0
"""The loss is the formula written out, unknown labels left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.errors import UsageError
from ecglens.training.loss import CosineMargin, class_weights, multiclass_loss, multilabel_loss, regression_loss


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


@pytest.mark.parametrize(("balance", "expected"), [("none", 1.0), ("sqrt", 3.0), ("full", 9.0)])
def test_balance_is_a_power_of_the_odds(balance: str, expected: float) -> None:
    assert class_weights(np.array([[1.0]] + [[0.0]] * 9), balance)[0] == pytest.approx(expected)


def test_unknown_balance_is_refused() -> None:
    with pytest.raises(UsageError, match="none, sqrt, full"):
        class_weights(np.zeros((2, 1)), "half")


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_equals_pytorch_on_one_hot_labels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 4, (11,), generator=generator)
    weights = torch.rand(4, generator=generator, dtype=torch.float64) + 0.5
    labels = torch.nn.functional.one_hot(classes, 4).double()
    expected = torch.nn.functional.cross_entropy(logits, classes, weight=weights)
    assert multiclass_loss(logits, labels, weights).item() == pytest.approx(expected.item(), rel=1e-12)
    unknown = torch.cat([labels, torch.full((2, 4), torch.nan)])
    more = torch.cat([logits, torch.randn(2, 4, generator=generator, dtype=torch.float64)])
    assert multiclass_loss(more, unknown, weights).item() == pytest.approx(expected.item(), rel=1e-12)


def test_regression_leaves_unknown_values_alone() -> None:
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0]], requires_grad=True)
    labels = torch.tensor([[3.0, torch.nan], [2.0, 26.0]])
    loss = regression_loss(values, labels, torch.tensor([1.0, 0.25]))
    loss.backward()
    assert loss.item() == pytest.approx((4.0 + 0.0 + 0.25 * 36.0) / 3)
    assert values.grad is not None
    assert values.grad[0, 1] == 0.0


def test_cosine_margin_is_the_formula() -> None:
    generator = np.random.default_rng(2)
    loss = CosineMargin(5, 3, margin=0.2, scale=7.0)
    embeddings, people = generator.normal(size=(4, 5)), np.array([0, 2, 2, 1])
    directions = loss.directions.detach().numpy()
    total = 0.0
    for row, person in zip(embeddings, people, strict=True):
        cosines = [row @ d / np.linalg.norm(row) / np.linalg.norm(d) for d in directions]
        cosines[person] -= 0.2
        total -= 7.0 * cosines[person] - np.log(np.sum(np.exp(7.0 * np.array(cosines))))
    found = loss(torch.from_numpy(embeddings).float(), torch.from_numpy(people))
    assert found.item() == pytest.approx(total / 4, rel=1e-5)


def test_a_margin_makes_the_task_harder_and_length_does_not_matter() -> None:
    torch.manual_seed(0)
    with_margin, without = CosineMargin(6, 4, margin=0.4), CosineMargin(6, 4, margin=0.0)
    without.load_state_dict(with_margin.state_dict())
    embeddings, people = torch.randn(9, 6), torch.arange(9) % 4
    assert with_margin(embeddings, people) > without(embeddings, people)
    assert with_margin(embeddings * 31, people).item() == pytest.approx(
        with_margin(embeddings, people).item(), rel=1e-5
    )
