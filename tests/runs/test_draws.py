# SPDX-License-Identifier: Apache-2.0
"""Draws are SplitMix64, uniform, normal, independent, and know nothing of order or company."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecglens.runs import draws
from ecglens.runs.draws import derived_seed, normal, record_keys, uniform

M = 2**64 - 1
KEYS = record_keys([f"rec{i}" for i in range(2000)])


def splitmix64(state: int, n: int) -> list[int]:
    """The generator of Steele, Lea and Flood (2014), in Python's whole numbers."""
    out = []
    for _ in range(n):
        state = state + 0x9E3779B97F4A7C15 & M
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M
        z = (z ^ z >> 27) * 0x94D049BB133111EB & M
        out.append(z ^ z >> 31)
    return out


def test_the_reference_gives_the_published_numbers() -> None:
    assert splitmix64(0, 3) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(key=st.integers(0, M), seed=st.integers(-5, 2**40), n=st.integers(1, 6))
def test_uniform_is_splitmix64_seeded_by_record_and_purpose(key: int, seed: int, n: int) -> None:
    mixed = key ^ draws._digest(f"{seed}/crop")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> shift) * factor & M
    expected = [z / 2**53 for z in (value >> 11 for value in splitmix64(mixed ^ mixed >> 31, n))]
    assert uniform(seed, "crop", np.array([key], np.uint64), n)[0].tolist() == expected


@given(order=st.permutations(range(12)), chosen=st.sets(st.integers(0, 11), min_size=1))
def test_order_and_company_do_not_matter(order: list[int], chosen: set[int]) -> None:
    keys, part = KEYS[:12], sorted(chosen)
    for draw in (uniform, normal):
        whole = draw(3, "noise", keys, 4)
        np.testing.assert_array_equal(draw(3, "noise", keys[order], 4), whole[order])
        np.testing.assert_array_equal(draw(3, "noise", keys[part], 4), whole[part])
    np.testing.assert_array_equal(uniform(3, "noise", keys, 2), uniform(3, "noise", keys, 4)[:, :2])


def test_keys_are_the_same_in_another_process() -> None:
    code = (
        "from ecglens.runs.draws import record_keys, derived_seed\n"
        "print(record_keys(['a', 'ü']).tolist(), derived_seed(1, 'x'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{record_keys(['a', 'ü']).tolist()} {derived_seed(1, 'x')}"


def test_uniform_is_uniform() -> None:
    values = uniform(0, "crop", KEYS, 50)
    assert (values.shape, values.dtype) == ((2000, 50), np.float64)
    assert 0 <= values.min() < 1e-4 < 1 - 1e-4 < values.max() < 1
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3  # fixed seed: decided once, not by chance
    per_column = [stats.kstest(values[:, k], "uniform").pvalue for k in range(50)]
    assert stats.kstest(per_column, "uniform").pvalue > 1e-3  # p-values of true hypotheses are uniform themselves


@pytest.mark.parametrize("n", [1, 2, 7])
def test_normal_is_normal(n: int) -> None:
    values = normal(0, "noise", record_keys([f"r{i}" for i in range(20_000)]), n)
    assert (values.shape, values.dtype, bool(np.isfinite(values).all())) == ((20_000, n), np.float32, True)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    if n > 1:
        correlation = np.corrcoef(values.T)[np.triu_indices(n, 1)]
        assert np.abs(correlation).max() < 4.5 / np.sqrt(20_000)
        squares = np.corrcoef(np.square(values).T)[np.triu_indices(n, 1)]  # pairs of one radius must not show
        assert np.abs(squares).max() < 4.5 / np.sqrt(20_000)


def test_normal_stays_finite_at_the_ends_of_the_uniform_range(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = np.array([[0.0, 1 - 2**-53, 0.0, 0.5], [1 - 2**-53, 0.0, 0.25, 1 - 2**-53]])
    monkeypatch.setattr(draws, "uniform", lambda *_: ends)
    assert np.isfinite(normal(0, "x", KEYS[:2], 4)).all()


def test_other_seeds_purposes_and_records_share_nothing() -> None:
    first = uniform(0, "crop", KEYS, 20)
    bound = 4.5 / np.sqrt(first.size)
    for other in (
        uniform(1, "crop", KEYS, 20), uniform(0, "noise", KEYS, 20), uniform(-1, "crop", KEYS, 20),
        uniform(0, "crop", KEYS[::-1], 20), np.roll(first, 1, axis=1), np.roll(first, 1, axis=0),
    ):  # fmt: skip
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < bound
        assert not (first == other).any()


def test_neighbouring_keys_are_independent() -> None:
    values = uniform(0, "x", np.arange(20_000, dtype=np.uint64), 1)[:, 0]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4.5 / np.sqrt(20_000)


def test_derived_seeds_fit_torch_and_differ() -> None:
    seeds = [
        derived_seed(seed, *purpose) for seed in range(50) for purpose in ((), ("a",), ("a", 1), ("a", 11), ("b",))
    ]
    assert len(set(seeds)) == 250
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_record_keys_do_not_collide() -> None:
    assert len(set(record_keys([str(i) for i in range(50_000)]).tolist())) == 50_000
