# SPDX-License-Identifier: Apache-2.0
"""An average as one network: what it answers, what its layers hold, what it refuses."""

from __future__ import annotations

import pytest
import torch

from ecglens.concepts.state_split import EXACT, head_of
from ecglens.errors import ContractError
from ecglens.models.activations import activations, layer_names
from ecglens.models.average import Average, SideBySide, side_by_side
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES

SIZES = {
    "LeNet": {"widths": [6, 8, 10], "hidden": 0, "n_outputs": 3},
    "ResNet1d": {"widths": [6, 8, 10, 12], "n_outputs": 3},
}


def members(name, n=3):
    return [initialized(ARCHITECTURES[name], SIZES.get(name, {"n_outputs": 3}), seed).eval() for seed in range(n)]


@pytest.mark.parametrize("name", list(SIZES))
def test_it_answers_as_the_average_and_holds_what_the_members_hold(name):
    several = members(name)
    signal = torch.randn(4, 12, 250, generator=torch.Generator().manual_seed(0))
    together = side_by_side(Average(several)).eval()
    assert isinstance(together, SideBySide)
    assert layer_names(together)[:2] == layer_names(several[0])[:2]
    with torch.no_grad():
        assert torch.allclose(together(signal), Average(several)(signal), atol=1e-6)
    last = f"block-{len(several[0].blocks)}"
    held = activations(together, signal, [last])[last]
    own = [activations(member, signal, [last])[last] for member in several]
    assert torch.allclose(held, torch.cat(own, dim=1))
    assert head_of(together, "it", 12, 250).kind == EXACT


def test_another_network_is_left_as_it_is():
    (one,) = members("LeNet", 1)
    assert side_by_side(one) is one


@pytest.mark.parametrize("name", ["ECGNet", "XResNet1d"])
def test_heads_that_read_more_than_a_mean_are_refused_in_one_line(name):
    with pytest.raises(ContractError, match="a plain mean over time steps") as raised:
        side_by_side(Average(members(name, 2)))
    assert raised.value.kind == "head"
    assert "\n" not in str(raised.value)
