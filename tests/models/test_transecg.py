# SPDX-License-Identifier: Apache-2.0
"""TransECG has the parameters its description gives, and its branches are used as stochastic depth says."""

from __future__ import annotations

import pytest
import torch

from ecglens.models import transecg
from ecglens.models.registry import build_network
from ecglens.models.transecg import TransECG


@pytest.mark.parametrize(("classes", "parameters"), [(2, 1_982_466), (5, 1_983_237), (87, 2_004_311)])
def test_parameters(classes: int, parameters: int) -> None:
    network = TransECG(n_outputs=classes)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    post = TransECG(n_outputs=classes, norm="post")
    assert sum(weight.numel() for weight in post.parameters()) == parameters - 512


def test_a_hundred_patches_and_a_class_token() -> None:
    attended = build_network("TransECG", {}).eval().attend(torch.randn(2, 1, 2000))
    assert attended.logits.shape == (2, 2)
    assert len(attended.attentions) == 6
    for weights in attended.attentions:
        assert weights.shape == (2, 6, 101, 101)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 6, 101))
    with pytest.raises(ValueError, match="1000 samples"):
        TransECG().attend(torch.randn(1, 1, 1000))


def test_heads_are_those_of_torch_where_the_width_divides() -> None:
    torch.manual_seed(0)
    own = TransECG(width=12, heads=3, hidden=8, depth=1, length=100).eval().blocks[0].attention
    other = torch.nn.MultiheadAttention(12, 3, bias=False, batch_first=True).eval()
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        other.out_proj.weight.copy_(own.out.weight)
    tokens = torch.randn(2, 6, 12)
    expected, weights = other(tokens, tokens, tokens, average_attn_weights=False)
    found = own(tokens)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], weights)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_training_in_parts_learns_the_same(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def learnt(in_parts: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        network = TransECG(patch=5, width=12, heads=3, hidden=8, depth=2, length=200, norm=norm).train()
        network.blocks[0].attention.softmax.register_forward_hook(lambda *called: sizes.append(len(called[2])))
        signal = torch.randn(7, 1, 200)
        logits = network(signal) if in_parts else network.attend(signal).logits
        logits.square().sum().backward()
        return [logits, *(weight.grad for weight in network.parameters())]

    whole = learnt(in_parts=False)
    monkeypatch.setattr(transecg, "_WEIGHTS_AT_ONCE", 2 * 3 * 41**2)
    for one, other in zip(whole, learnt(in_parts=True), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    assert sizes == [7, 2, 2, 2, 1]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_branch_is_used_as_often_in_training_as_it_weighs_at_rest(norm: str) -> None:
    network = TransECG(depth=3, survival=0.25, width=12, heads=3, hidden=8, length=100, norm=norm)
    assert [block.survival for block in network.blocks] == [1.0, 0.625, 0.25]
    if norm == "post":
        return
    block, tokens = network.blocks[2], torch.randn(2, 6, 12)
    block.dense[2].weight.data.zero_()  # so that the first branch is all that is added
    block.dense[2].bias.data.zero_()
    torch.manual_seed(1)
    with torch.no_grad():
        at_rest = block.eval()(tokens)[0] - tokens
        drawn = torch.stack([block.train()(tokens)[0] - tokens for _ in range(4000)])
    used = (drawn.abs().amax(dim=(1, 2, 3)) > 0).float().mean()
    assert used == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(drawn.mean(dim=0), at_rest, rtol=0.15, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"norm": "both"}, {"survival": 0.0}, {"heads": 300}, {"length": 10}])
def test_what_cannot_be_built_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        TransECG(**wrong)
