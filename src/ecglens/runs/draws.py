# SPDX-License-Identifier: Apache-2.0
"""Random draws that depend on (seed, purpose, record) and on nothing else.

Order, workers, batches and resuming cannot matter, because there is no generator whose state could differ:
each number is a hash of what it is for. The hash is SplitMix64 (Steele, Lea & Flood 2014), vectorised.

>>> keys = record_keys(["a", "b", "c"])
>>> first = uniform(0, "crop", keys, 2)
>>> bool((uniform(0, "crop", keys[::-1], 2)[::-1] == first).all()), first.shape
(True, (3, 2))
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def record_keys(record_ids: Sequence[str]) -> np.ndarray:
    """Return a 64-bit key per record id [record]."""
    return np.array([_digest(name) for name in record_ids], dtype=np.uint64)


def derived_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for `purpose`, for generators of libraries (torch, numpy)."""
    return _digest("/".join(map(str, (seed, *purpose)))) >> 1


def evenly(n: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of `n` places, spread over all of them, by no chance at all.

    >>> evenly(6, 4).tolist(), evenly(3, 4).tolist()
    ([0, 2, 3, 5], [0, 1, 2])
    """
    return np.arange(n) if n <= most else np.rint(np.linspace(0, n - 1, most)).astype(np.intp)


def uniform(seed: int, purpose: str, keys: np.ndarray, n: int) -> np.ndarray:
    """Return numbers in [0, 1), float64 [record, n]."""
    base = np.uint64(_digest(f"{seed}/{purpose}"))
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        start = _mix(keys.astype(np.uint64) ^ base)[:, None]
        bits = _mix(start + np.arange(1, n + 1, dtype=np.uint64)[None, :] * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, purpose: str, keys: np.ndarray, n: int) -> np.ndarray:
    """Return standard normal numbers, float32 [record, n] (Box and Muller)."""
    half = (n + 1) // 2
    u = uniform(seed, purpose, keys, 2 * half).astype(np.float32)
    radius = np.sqrt(-2.0 * np.log1p(-np.minimum(u[:, :half], np.float32(1 - 2**-24))))
    angle = np.float32(2 * np.pi) * u[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :n]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
