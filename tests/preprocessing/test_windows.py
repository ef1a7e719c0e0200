# SPDX-License-Identifier: Apache-2.0
"""Windows: all samples are seen, the mean is a mean, and joining is exactly the adjoint of cutting and averaging."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglens.errors import ContractError, UsageError
from ecglens.preprocessing.windows import Windows, group_by_length

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 120)).map(lambda t: (t[0], t[1], t[0] + t[2]))


@given(sizes)
def test_windows_start_in_step_end_with_the_signal_and_leave_nothing_out(size: tuple[int, int, int]) -> None:
    length, stride, n = size
    starts = Windows(length, stride).starts(n)
    assert starts == sorted(set(starts))
    assert (starts[0], starts[-1]) == (0, n - length)
    assert all(b - a == stride for a, b in pairwise(starts[:-1]))
    assert len(starts) == 1 or 0 < starts[-1] - starts[-2] <= stride
    seen = {s + k for s in starts for k in range(length)}
    assert seen == set(range(n)) or stride > length


def test_a_standard_record() -> None:
    assert Windows(250, 125).starts(1000) == [0, 125, 250, 375, 500, 625, 750]
    assert Windows(250, 125).starts(1001) == [0, 125, 250, 375, 500, 625, 750, 751]
    assert Windows(1000, 1000).starts(1000) == [0]


def test_cut_holds_the_very_samples() -> None:
    signal = np.arange(2 * 3 * 23, dtype=np.float32).reshape(2, 3, 23)
    windows = Windows(8, 5)
    cut = windows.cut(signal)
    assert cut.shape == (2, 4, 3, 8)
    for w, start in enumerate([0, 5, 10, 15]):
        np.testing.assert_array_equal(cut[:, w], signal[:, :, start : start + 8])


@given(sizes, st.integers(0, 2**32 - 1))
def test_join_is_the_adjoint_of_cut_and_mean(size: tuple[int, int, int], seed: int) -> None:
    length, stride, n = size
    windows, rng = Windows(length, stride), np.random.default_rng(seed)
    x = rng.integers(-3, 4, (2, 3, n)).astype(np.float32)
    cut = windows.cut(x)
    p = rng.integers(-3, 4, cut.shape).astype(np.float32)
    joined = windows.join(p, n)
    assert (joined.shape, joined.dtype) == (x.shape, np.float32)
    left, right = float((joined.astype(np.float64) * x).sum()), float((p * cut).sum()) / cut.shape[1]
    assert left == pytest.approx(right, abs=1e-5 * p.size)  # float32 sums of 1 / W


def test_join_is_the_chain_rule_of_a_network_over_windows() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    windows, signal = Windows(8, 3), torch.randn(2, 3, 30, requires_grad=True)
    starts = windows.starts(30)
    torch.stack([network(signal[..., s : s + 8]) for s in starts], 1).mean(1).sum().backward()
    pieces = torch.tensor(windows.cut(signal.detach().numpy()), requires_grad=True)
    network(pieces.reshape(-1, 3, 8)).sum().backward()
    np.testing.assert_allclose(windows.join(pieces.grad.numpy(), 30), signal.grad.numpy(), atol=1e-6)


def test_join_takes_several_targets() -> None:
    windows = Windows(4, 2)
    pieces = np.random.default_rng(0).standard_normal((2, 4, 5, 3, 4)).astype(np.float32)
    joined = windows.join(pieces, 10)
    assert joined.shape == (2, 5, 3, 10)
    for k in range(5):
        np.testing.assert_array_equal(joined[:, k], windows.join(pieces[:, :, k], 10))


def test_outputs_are_averaged() -> None:
    outputs = np.array([[[1.0, 2.0], [3.0, 6.0]]])
    np.testing.assert_array_equal(Windows(4, 2).combined(outputs), [[2.0, 4.0]])


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (-5, 1), (5, 5, "max")])
def test_arguments_are_checked(arguments: tuple) -> None:
    with pytest.raises(UsageError):
        Windows(*arguments)


def test_a_signal_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ContractError, match="at least 10"):
        Windows(10, 5).cut(np.zeros((1, 1, 9), np.float32))


def test_groups_hold_each_position_once() -> None:
    assert group_by_length([5, 3, 5, 5, 3]) == {5: [0, 2, 3], 3: [1, 4]}
    assert group_by_length([]) == {}
