# SPDX-License-Identifier: Apache-2.0
"""What the attention of a network does not show is told of that very network, and is true of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecglens.cohort import Batch
from ecglens.explainers.attention import attention, not_shown
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet


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


def test_other_networks_have_no_attention_to_speak_of():
    assert not_shown(LeNet(12, 5), 100.0) == ()
