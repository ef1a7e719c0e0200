# SPDX-License-Identifier: Apache-2.0
"""What heads look at and count for, against the same by hand, and against weights set to zero."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ecglens.cohort import Batch
from ecglens.explainers.attention import attention
from ecglens.models.lenet import initialized
from ecglens.models.transecg import TransECG
from ecglens.privacy.heads import answers_without, directions, look_at_heads, outputs, projection_norms, silenced

SIZES = {"n_outputs": 4, "length": 200, "patch": 20, "width": 24, "depth": 2, "heads": 3, "hidden": 16}


@pytest.fixture(scope="module", params=["pre", "post"])
def network(request: pytest.FixtureRequest) -> TransECG:
    made = initialized(TransECG, SIZES | {"norm": request.param}, 1).eval()
    with torch.no_grad():
        made.blocks[-1].attention.query.weight *= 4  # heads that look at something
    return made


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(70, 1, 200)).astype(np.float32)  # more than go at once


def tokens_before(network: TransECG, signal: np.ndarray) -> torch.Tensor:
    kept = []
    hook = network.blocks[-1].register_forward_pre_hook(lambda _, arguments: kept.append(arguments[0]))
    with torch.no_grad():
        network(torch.from_numpy(signal))
    hook.remove()
    return kept[0]


@torch.no_grad()
def test_silencing_is_what_zero_weights_do(network: TransECG, signal: np.ndarray):
    tokens = tokens_before(network, signal)
    torch.testing.assert_close(answers_without(network, tokens, []), network(torch.from_numpy(signal)))
    mute = copy.deepcopy(network)
    mute.blocks[-1].attention.out.weight.zero_()
    torch.testing.assert_close(answers_without(network, tokens, range(3)), mute(torch.from_numpy(signal)))
    for head in range(3):
        without = copy.deepcopy(network)
        without.blocks[-1].attention.out.weight[:, 8 * head : 8 * (head + 1)] = 0
        with silenced(network, [head]):
            torch.testing.assert_close(network(torch.from_numpy(signal)), without(torch.from_numpy(signal)))
    assert not network.blocks[-1].attention.out._forward_pre_hooks


@torch.no_grad()
def test_heads_are_as_by_hand(network: TransECG, signal: np.ndarray):
    told = look_at_heads(network, signal, embeds=False)
    layer, block, tokens = network.blocks[-1].attention, network.blocks[-1], tokens_before(network, signal)
    x = block.norms[0](tokens) if block.before else tokens
    whole = network(torch.from_numpy(signal)).double().numpy()
    named = whole.argmax(axis=1)
    for head in range(3):
        mine = slice(8 * head, 8 * (head + 1))
        query, key, value = (x @ part.weight[mine].T for part in (layer.query, layer.key, layer.value))
        weights = (query[:, :1] @ key.transpose(1, 2) / 8**0.5).softmax(dim=-1)
        added = (weights @ value)[:, 0] @ layer.out.weight[:, mine].T
        np.testing.assert_allclose(told.value[:, head], added.norm(dim=1).numpy(), rtol=1e-4)
        row = weights[:, 0, 1:].numpy()
        np.testing.assert_allclose(told.attention[:, head], row / row.sum(axis=1, keepdims=True), rtol=1e-4)
        np.testing.assert_allclose(told.to_itself[:, head], weights[:, 0, 0].numpy(), rtol=1e-4)
        after = answers_without(network, tokens, [head]).double().numpy()
        np.testing.assert_allclose(told.ablation[:, head], (whole - after)[np.arange(70), named], rtol=1e-3, atol=1e-5)
    norms = [np.linalg.norm(layer.out.weight[:, 8 * h : 8 * h + 8].numpy()) for h in range(3)]
    np.testing.assert_allclose(projection_norms(network), norms, rtol=1e-5)
    np.testing.assert_allclose(told.projection, norms / np.max(norms), rtol=1e-5)
    np.testing.assert_allclose(told.answers, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs(network, signal), whole, rtol=1e-5, atol=1e-6)


def test_the_mean_over_heads_is_the_map_that_explain_draws(network: TransECG, signal: np.ndarray):
    mean = look_at_heads(network, signal, embeds=False).mean
    drawn = attention(network, Batch(signal, 250.0, ("I",), tuple(map(str, range(70)))), np.ones((1, 4), np.float32))
    np.testing.assert_allclose(mean, np.asarray(drawn.values)[:, 0, 0].reshape(70, 10, 20).sum(axis=2), rtol=1e-4)
    np.testing.assert_allclose(mean.sum(axis=1), 1)


def test_the_answer_of_an_embedding_is_its_part_along_itself():
    answers = np.array([[3.0, 4.0], [0.0, -2.0]])
    targets = directions(answers, embeds=True)
    np.testing.assert_allclose((answers * targets).sum(axis=1), [5, 2])
    assert directions(answers, embeds=False).tolist() == [[0, 1], [1, 0]]
