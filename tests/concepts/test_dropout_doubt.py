# SPDX-License-Identifier: Apache-2.0
"""Doubt by dropout: entropies by hand, dropout alone left on, the same whoever else is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens import Bundle, Output
from ecglens.concepts.dropout_doubt import ENTROPY, INFORMATION, N_PASSES, by_dropout, dropouts_of
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Admission, Preprocessing, Resample
from ecglens.preprocessing.windows import Windows


class Coin(nn.Module):
    """One unit, lost every second time: the logit is 0, or twice the unit."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.norm, self.drop, self.p = nn.BatchNorm1d(12), nn.Dropout(p), p

    def forward(self, signal):
        kept = self.drop(torch.ones(len(signal), 1))  # 0, or 1 / (1 - p)
        return 4.0 * kept + 0.0 * self.norm(signal).sum(dim=(1, 2))[:, None]


def bundle_of(network, outputs=("MI",)):
    preprocessing = Preprocessing(Admission(), (Resample(100.0),), Windows(250, 250))
    return Bundle(network, tuple(map(Output, outputs)), preprocessing, 100.0)


def signals(n, length=250):
    return [np.random.default_rng(k).normal(size=(12, length)).astype(np.float32) for k in range(n)]


def test_entropies_are_those_of_the_passes():
    bundle = bundle_of(Coin(0.5))
    before = {name: value.clone() for name, value in bundle.network.state_dict().items()}
    found = by_dropout(bundle, signals(30), [str(k) for k in range(30)])
    kept, lost = 1 / (1 + np.exp(-8.0)), 0.5

    def bits(p):
        return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))

    shares = np.arange(N_PASSES + 1) / N_PASSES  # of the passes, in which the unit is there
    total = bits(shares * kept + (1 - shares) * lost)
    possible = np.stack([total, total - shares * bits(kept) - (1 - shares) * bits(lost)], axis=1)
    told = np.concatenate([found[ENTROPY], found[INFORMATION]], axis=1)
    nearest = np.abs(told[:, None] - possible).max(axis=2)
    assert nearest.min(axis=1).max() < 1e-6
    assert 0.4 < shares[nearest.argmin(axis=1)].mean() < 0.6, "the unit is there every second time"
    after = bundle.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "batch norm has learnt nothing"
    assert not any(module.training for module in bundle.network.modules())


def test_a_record_is_the_same_alone_and_among_others_and_other_seeds_differ():
    arguments = {"n_outputs": 2, "widths": [6, 8, 10], "hidden": 0, "dropout": [0.1, 0.2, 0.4]}
    bundle = bundle_of(ARCHITECTURES["LeNet"](**arguments), ("MI", "NORM"))
    few, names = signals(4, 500), list("abcd")
    state = torch.get_rng_state()
    together = by_dropout(bundle, few, names)
    assert torch.equal(state, torch.get_rng_state())
    alone = by_dropout(bundle, few[2:3], names[2:3])
    assert np.allclose(together[ENTROPY][2], alone[ENTROPY][0], atol=1e-6)
    other = by_dropout(bundle, few, names, seed=1)
    assert not np.allclose(together[INFORMATION], other[INFORMATION], atol=1e-6)
    assert (together[INFORMATION] > 0).all()
    assert (together[INFORMATION] < together[ENTROPY]).all()


@pytest.mark.parametrize("network", [Coin(0.0), ARCHITECTURES["LeNet"](n_outputs=1)])
def test_a_network_without_dropout_has_none(network):
    assert dropouts_of(network) == []
    assert by_dropout(bundle_of(network), signals(1), ["a"]) is None
