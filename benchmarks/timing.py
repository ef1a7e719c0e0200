# SPDX-License-Identifier: Apache-2.0
"""Side by side: ours and theirs in turn, so that a machine whose speed drifts disturbs both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def side_by_side(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Run both in turn `rounds` times after one warm-up of ours; ratio theirs / ours pair by pair.

    `low` and `high` are the smallest and largest of the pairs' ratios.
    """
    ours()
    mine, other = [], []
    for _ in range(rounds):
        mine.append(seconds(ours))
        other.append(seconds(theirs))
    ratios = np.array(other) / np.array(mine)
    return {
        "ratio": {"median": float(np.median(ratios)), "low": float(ratios.min()), "high": float(ratios.max())},
        "ours": float(np.median(mine)),
        "theirs": float(np.median(other)),
        "rounds": rounds,
    }
