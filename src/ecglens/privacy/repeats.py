# SPDX-License-Identifier: Apache-2.0
"""How much of a figure is the luck of one training: the same attackers, splits and windows, with other seeds.

Intervals over people know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ecglens.errors import UsageError
from ecglens.privacy.figures import figures_of
from ecglens.privacy.scoring import Heard

MOST = 20
FULL = 3  # trainings of each attacker that `--full` asks for
_APART = 1000  # between the seeds of two trainings: more than there are splits


def check_repeats(repeats: int) -> None:
    """Raise UsageError for a number of trainings that is none."""
    if not 1 <= repeats <= MOST:
        raise UsageError("identify", "repeats", repeats, f"1 to {MOST} trainings of each attacker")


def over_trainings(
    first: Mapping[str, Mapping[str, float]], ask: Callable[[int], Sequence[Heard]], repeats: int, task: str
) -> dict[str, dict[str, Any]]:
    """Return of each figure its `values` over all trainings, their `mean`, the `least` and the `largest`.

    first   the figures of the first training
    ask     (what to add to the seed) -> what an attacker trained anew said of each split
    """
    # one resample: intervals stand beside the first training's figures
    others = [figures_of(ask(_APART * again), task, 1, 0) for again in range(1, repeats)]
    told = {}
    for metric, figure in first.items():
        values = [figure["value"], *(each[metric]["value"] for each in others if metric in each)]
        if len(values) == repeats and all(value is not None and value == value for value in values):
            told[metric] = {
                "values": values, "mean": sum(values) / repeats, "least": min(values), "largest": max(values),
            }  # fmt: skip
    return told
