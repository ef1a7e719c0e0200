# SPDX-License-Identifier: Apache-2.0
"""What the attention of a network does not show is told of that very network, and is true of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.cohort import Batch
from ecglens.errors import ContractError
from ecglens.explainers.attention import attention, attention_gradient, attention_rollout, not_shown
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet
from ecglens.models.transecg import TransECG


@pytest.mark.parametrize(("per_class", "lead_embedding"), [(False, False), (True, False), (False, True)])
def test_each_sentence_is_true_of_the_network_it_is_said_of(per_class, lead_embedding):
    torch.manual_seed(0)
    network = ECGNet(widths=(4, 4, 8), hidden=4, per_class=per_class, lead_embedding=lead_embedding).eval()
    if lead_embedding:
        network.embedding.data *= 50  # untrained ones are small
    told = " | ".join(not_shown(network, 100.0))
    signal = np.random.default_rng(0).normal(size=(1, 12, 500)).astype(np.float32)
    maps = attention(network, Batch(signal, 100.0, STANDARD_LEADS, ("r",)), np.eye(5)).values[0]
    same = bool(np.allclose(maps[0], maps[1]))
    assert ("same for every target" in told) == same
    exchanged = signal[:, ::-1].copy()
    with torch.no_grad():
        alike = bool(torch.allclose(network(torch.tensor(signal)), network(torch.tensor(exchanged)), atol=1e-5))
    assert ("cannot tell leads apart by place" in told) == alike
    assert f"sees {network.receptive_field / 100:.2f} s" in told
    assert (maps >= 0).all()
    assert "nothing of direction" in told


@pytest.mark.parametrize("per_class", [False, True])
def test_the_map_is_lead_attention_times_attention_over_time_laid_on_the_samples(per_class):
    """By what `attend` gives: the product, linear between where the steps look; targets mix the classes' maps."""
    torch.manual_seed(3)
    network = ECGNet(widths=(4, 4, 8), hidden=4, per_class=per_class, lead_embedding=True).eval()
    for attending in (network.temporal_attention, network.lead_attention):
        attending.score[2].weight.data *= 300  # fresh ones look everywhere alike
    signal = np.random.default_rng(1).normal(size=(3, 12, 500)).astype(np.float32)
    with torch.no_grad():
        _, temporal, lead = (each.numpy() for each in network.attend(torch.from_numpy(signal)))
    n_queries, n_steps = temporal.shape[1], temporal.shape[3]
    assert n_queries == (5 if per_class else 1)
    middles = 8 * np.arange(n_steps)  # three strides of 2, each padded on both sides: the first step looks at sample 0
    shares = np.zeros((3, n_queries, 12, 500))
    for record, query, row in np.ndindex(3, n_queries, 12):
        steps = temporal[record, query, row] * lead[record, query, row]
        shares[record, query, row] = np.interp(np.arange(500), middles, steps)
    shares /= shares.sum(axis=(2, 3), keepdims=True)
    targets = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [-1, 1, 0, 0, 0]])
    expected = np.einsum("kq,bqlt->bklt", targets, shares) if per_class else np.repeat(shares, 3, axis=1)
    found = attention(network, Batch(signal, 100.0, STANDARD_LEADS, ("a", "b", "c")), targets).values
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)
    assert np.ptp(lead[0, 0]) > 0.02
    assert np.ptp(temporal[0, 0, 0]) > 0.002


def test_other_networks_have_no_attention_to_speak_of():
    assert not_shown(LeNet(12, 5), 100.0) == ()


# -------------------------------------------------------------------------------------------------------- class tokens


def transformer(depth: int = 2, **arguments) -> TransECG:
    torch.manual_seed(0)
    sizes = {"length": 120, "patch": 20, "width": 16, "heads": 3, "hidden": 8, "n_outputs": 2}
    return TransECG(**(sizes | {"depth": depth} | arguments)).eval()


def stretches(n: int = 3, leads: int = 1) -> Batch:
    signal = np.random.default_rng(0).normal(size=(n, leads, 120)).astype(np.float32)
    return Batch(signal, 250.0, STANDARD_LEADS[:leads], tuple(f"r{k}" for k in range(n)))


def by_patch(maps: np.ndarray) -> np.ndarray:
    return maps.sum(axis=2).reshape(*maps.shape[:2], -1, 20).sum(axis=-1)


def test_attention_of_a_class_token_is_the_last_blocks_softmax_by_hand():
    network, batch = transformer(depth=1), stretches()
    with torch.no_grad():
        patches = torch.tensor(batch.signal).reshape(3, 6, 20) @ network.embed.weight[:, 0].T + network.embed.bias
        tokens = torch.cat([network.class_token.expand(3, 1, -1), patches], dim=1) + network.positions
        seen = network.blocks[0].norms[0](tokens)
        rows = []
        for head in range(3):
            part = slice(5 * head, 5 * head + 5)  # 16 // 3 = 5 wide
            query = seen[:, :1] @ network.blocks[0].attention.query.weight[part].T
            key = seen @ network.blocks[0].attention.key.weight[part].T
            rows.append(torch.softmax((query @ key.transpose(1, 2))[:, 0] / 5**0.5, dim=-1))
        expected = torch.stack(rows).mean(dim=0)[:, 1:].numpy()
    found = attention(network, batch, np.eye(2)).values
    np.testing.assert_allclose(by_patch(found)[:, 0], expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_rollout_of_one_block_is_its_attention_and_of_two_their_product():
    batch = stretches()
    one = transformer(depth=1)
    np.testing.assert_allclose(
        attention_rollout(one, batch, np.eye(2)).values, attention(one, batch, np.eye(2)).values, rtol=1e-5
    )
    two = transformer(depth=2)
    with torch.no_grad():
        first, second = (a.mean(dim=1).numpy() for a in two.attend(torch.tensor(batch.signal)).attentions)
    row = np.einsum("bj,bjk->bk", (second + np.eye(7))[:, 0] / 2, (first + np.eye(7)) / 2)[:, 1:]
    found = by_patch(attention_rollout(two, batch, np.eye(2)).values)[:, 0]
    np.testing.assert_allclose(found, row / row.sum(axis=1, keepdims=True), rtol=1e-5)


def test_gradients_of_attention_are_what_moving_a_weight_does():
    """The derivative by each weight of the class token's row, by moving it; then its positive part, mean over heads."""
    network, batch = transformer(depth=1), stretches(1)
    network.double()
    signal = torch.tensor(batch.signal, dtype=torch.float64)
    softmax = network.blocks[0].attention.softmax

    def logit(head: int, token: int, by: float) -> float:
        def move(_, __, weights):
            moved = weights.clone()
            moved[0, head, 0, token] += by
            return moved

        hook = softmax.register_forward_hook(move)
        try:
            with torch.no_grad():
                return float(network(signal)[0, 1])
        finally:
            hook.remove()

    with torch.no_grad():
        weights = network.attend(signal).attentions[0][0, :, 0].numpy()
    slopes = np.array([[(logit(h, t, 1e-4) - logit(h, t, -1e-4)) / 2e-4 for t in range(7)] for h in range(3)])
    expected = np.maximum(weights * slopes, 0).mean(axis=0)[1:]
    network.float()
    found = attention_gradient(network, batch, np.eye(2)).values
    np.testing.assert_allclose(by_patch(found)[0, 1], expected, rtol=1e-3, atol=1e-7)
    assert not np.allclose(found[0, 0], found[0, 1])  # unlike attention, it is about the target


def test_leads_of_a_transformer_share_one_map_and_a_stranger_is_refused():
    network, batch = transformer(n_leads=2), stretches(leads=2)
    for method in (attention, attention_rollout, attention_gradient):
        found = method(network, batch, np.eye(2)).values
        np.testing.assert_array_equal(found[:, :, 0], found[:, :, 1])
        with pytest.raises(ContractError, match="no such attention"):
            method(LeNet(2, 2).eval(), batch, np.eye(2))
    assert any("the same for every lead" in told for told in not_shown(network, 250.0))
    assert any("patches of 80 ms" in told for told in not_shown(network, 250.0))
