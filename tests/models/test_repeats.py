# SPDX-License-Identifier: Apache-2.0
"""A lead that stands in many ECGs of a batch is read once, and nothing else changes."""

import numpy as np
import pytest
import torch

from ecglens.models.average import Average
from ecglens.models.ecgnet import ECGNet
from ecglens.models.repeats import different, leads_repeat


def copies() -> torch.Tensor:
    """One ECG, and copies with a stretch of one lead hidden; two leads show the same."""
    random = np.random.default_rng(3)
    ecg = random.normal(size=(4, 120)).astype(np.float32)
    ecg[2] = ecg[1]
    several = np.repeat(ecg[None], 9, axis=0)
    for k in range(8):
        several[k, k % 4, 10 * k : 10 * k + 20] = 0
    return torch.from_numpy(several)


@pytest.mark.parametrize("variant", [{}, {"lead_embedding": True}, {"lead_embedding": True, "per_class": True}])
def test_answers_are_the_same_and_each_different_lead_is_read_once(variant):
    torch.manual_seed(0)
    network = ECGNet(4, 3, widths=(4, 6), **variant).eval()
    read = []
    network.blocks[0].register_forward_hook(lambda _, given, __: read.append(len(given[0])))
    with torch.no_grad():
        wanted = network.attend(copies())
        with leads_repeat(network):
            found = network.attend(copies())
        assert network.attend(copies()).logits.equal(wanted.logits)  # as before
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert read == [36, 4 + 8, 36]  # the leads of the ECG, and one more of each of eight copies


def test_members_are_told_and_an_error_does_not_leave_it_so():
    network = Average([ECGNet(4, 1, widths=(4, 4)) for _ in range(2)])

    def told() -> list[bool]:
        return [module.leads_repeat for module in network.modules() if isinstance(module, ECGNet)]

    def failing() -> None:
        with leads_repeat(network):
            assert told() == [True, True]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert told() == [False, False]


def test_different_finds_each_array_again_nan_too():
    arrays = np.array([[1.0, np.nan], [0.0, 2.0], [1.0, np.nan], [-0.0, 2.0]])
    first, which = different(arrays)
    np.testing.assert_array_equal(arrays[first][which], arrays)
    assert len(first) == 3  # of the signs of zero each is its own
