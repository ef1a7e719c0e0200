# SPDX-License-Identifier: Apache-2.0
"""ECGNet: its attentions, what it cannot tell as released, and what the variants mend."""

from __future__ import annotations

import pytest
import torch
from test_networks import network, signal
from torch import Tensor

from ecglens.models.ecgnet import Attention, ECGNet
from ecglens.models.layers import receptive_field


def distinct_leads(n_records: int) -> Tensor:
    """Slow waves, each lead larger than the one before: on white noise a mean over time forgets everything."""
    return signal(n_records, 12, 1000).cumsum(dim=2) * torch.linspace(0.02, 0.5, 12)[:, None]


def decided(name: str) -> ECGNet:
    """A network whose attention prefers some leads: fresh ones look everywhere alike."""
    built = network(name)
    built.lead_attention.score[2].weight.data.mul_(30)
    if built.embedding is not None:
        built.embedding.data.mul_(10)
    return built


PERMUTED = [7, 3, 11, 0, 9, 1, 5, 10, 2, 8, 6, 4]


@pytest.mark.parametrize(("name", "n_queries"), [("ecgnet", 1), ("ecgnet-lead", 1), ("ecgnet-class", 5)])
@torch.no_grad()
def test_attentions_are_shares(name: str, n_queries: int) -> None:
    built, x = network(name), signal(3, 12, 1000)
    attended = built.attend(x)
    assert attended.temporal.shape == (3, n_queries, 12, 125)
    assert attended.lead.shape == (3, n_queries, 12)
    for weights in (attended.temporal, attended.lead):
        assert (weights > 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert weights.std() > 0
    assert torch.equal(attended.logits, built(x))


@torch.no_grad()
def test_as_released_it_does_not_know_which_lead_is_which() -> None:
    built, x = decided("ecgnet"), distinct_leads(4)
    plain, permuted = built.attend(x), built.attend(x[:, PERMUTED])
    assert (plain.lead - plain.lead[:, :, PERMUTED]).abs().max() > 1e-2  # the leads do differ to it
    torch.testing.assert_close(permuted.logits, plain.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(permuted.lead, plain.lead[:, :, PERMUTED], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["ecgnet-lead", "ecgnet-class"])
@torch.no_grad()
def test_with_a_lead_embedding_it_does(name: str) -> None:
    built, x = decided(name), distinct_leads(4)
    assert (built(x[:, PERMUTED]) - built(x)).abs().max() > 1e-3
    built.embedding.data.zero_()  # and nothing but the embedding tells it
    torch.testing.assert_close(built(x[:, PERMUTED]), built(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_per_class_attention_is_each_class_its_own() -> None:
    """By definition: class c alone, computed by a network whose only query is row c."""
    built, x = network("ecgnet-class"), signal(2, 12, 500)
    attended = built.attend(x)
    assert (attended.lead[:, 0] - attended.lead[:, 1]).abs().max() > 1e-4
    for c in range(5):
        single = ECGNet(lead_embedding=True).eval()
        state = built.state_dict()
        for which in ("temporal_attention", "lead_attention"):
            for part in ("weight", "bias"):
                state[f"{which}.score.2.{part}"] = state[f"{which}.score.2.{part}"][c : c + 1]
        single.load_state_dict(state)
        alone = single.attend(x)
        torch.testing.assert_close(alone.logits[:, c], attended.logits[:, c], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.lead[:, 0], attended.lead[:, c], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_attention_by_the_formula() -> None:
    attention = Attention(4, 3, 1)
    vectors = signal(2, 6, 4)
    first, last = attention.score[0], attention.score[2]
    scores = torch.tanh(vectors @ first.weight.T + first.bias) @ last.weight.T + last.bias
    expected = torch.exp(scores)[:, :, 0] / torch.exp(scores).sum(dim=1)
    torch.testing.assert_close(attention(vectors)[:, 0], expected)


@torch.no_grad()
def test_a_step_of_the_temporal_attention_sees_127_samples() -> None:
    built = network("ecgnet")
    assert (built.receptive_field, built.step) == (127, 8)
    x = signal(1, 12, 1000)
    before, _ = built._encode(x)
    changed = x.clone()
    changed[:, :, 500] += 1
    moved = (built._encode(changed)[0] - before).abs().amax(dim=(0, 1, 3)).nonzero()[:, 0]
    # Step k is centred on sample 8 k: those within 63 samples of sample 500 move, no other.
    assert set(moved.tolist()) <= {k for k in range(125) if abs(8 * k - 500) <= 63}
    assert len(moved) >= 14


def test_receptive_field_of_one_layer() -> None:
    assert receptive_field([(5, 2)]) == (5, 2)
    assert receptive_field([]) == (1, 1)


@pytest.mark.parametrize("wrong", [{"kernel": 4}, {"n_leads": 0}, {"hidden": 0}, {"widths": (0, 1)}])
def test_sizes_that_cannot_be(wrong: dict) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ECGNet(**wrong)
