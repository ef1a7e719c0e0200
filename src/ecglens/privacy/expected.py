# SPDX-License-Identifier: Apache-2.0
"""How long a risk assessment takes, said before it begins: training, intervals over people, explanations."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from ecglens.privacy import attackers, unveiled
from ecglens.privacy.explanations import expected_more
from ecglens.privacy.protocols import CLASS_OF, Split
from ecglens.privacy.windows import Windowed
from ecglens.training.precision import FLOAT32

_MEASURING = 0.03  # s to delineate a window
_SHUFFLING = 0.0035  # s a window, of the plain model on shuffled labels
_FITTING = 10.0  # s to fit a model that can be read
# s a comparison, resample and weighting: comparisons are weighted as they are, and each person alike.
_RESAMPLING, _WEIGHTINGS = 1.7e-8, 2
# Windows a second that one network learns from, in float32 and in bfloat16, on one core of 2026.
_SPEED = {
    "transecg": (35.0, 77.0),
    "transecg-patch5": (6.0, 12.0),
    "cnn": (400.0, 700.0),
    "cnn-beats": (1200.0, 1300.0),
    "cnn-beats-5": (1200.0, 1300.0),  # each of the five
    "cnn-ghazarian": (45.0, 85.0),
    "bilstm": (38.0, 66.0),
}
_MORE_CORES = 1.5  # times as fast on two cores or more: 1.4 to 1.8 of the slow ones, measured on two


def expected_seconds(
    models: Sequence[str], windowed: Windowed, splits: Sequence[Split], *, explain: bool = False, causal: bool = False,
    precision: str = FLOAT32, n_resamples: int = 2000, repeats: int = 1,
) -> float:  # fmt: skip
    """Return about how long the attackers take, and their explanations, in s, at the speed of the cores of 2026.

    Networks that name classes stop early, so that it is the most they take.
    """
    measuring = _MEASURING * len(windowed)
    readable = any(model in unveiled.MODELS for model in models)
    total = measuring if readable or explain or causal else 0.0
    total += _SHUFFLING * len(windowed) if splits[0].protocol in CLASS_OF else 0.0
    comparing = sum(n_comparisons(windowed.table, split) for split in splits) * n_resamples * _RESAMPLING * _WEIGHTINGS
    comparing *= 1 if windowed.table["database"].nunique() == 1 else 2  # all together, and each database alone
    for model in models:
        if model in unveiled.MODELS:
            training, speed = _FITTING * len(splits), 1.0
            anew = training + measuring
        else:
            speed = learning_speed(model, precision)
            anew = training = sum(_shown(attackers.ATTACKERS[model], split) for split in splits) / speed
        total += (
            training * repeats + comparing + expected_more(model, splits, anew, speed, explain=explain, causal=causal)
        )
    return total


def learning_speed(model: str, precision: str = FLOAT32) -> float:
    """Return about how many windows a second all networks of an attacker learn from together.

    >>> learning_speed("cnn-beats") / learning_speed("cnn-beats-5")
    5.0
    """
    in_float32, in_bfloat16 = _SPEED[model]
    speed = (in_float32 if precision == FLOAT32 else in_bfloat16) / attackers.ATTACKERS[model].members
    return speed * (_MORE_CORES if torch.get_num_threads() > 1 else 1.0)


def n_comparisons(table: pd.DataFrame, split: Split) -> int:
    """Return how many recordings are compared with each other in a split, 0 where classes are named."""
    if not split.compares:
        return 0
    enrolled, probes = (table["recording"].iloc[part].nunique() for part in (split.enrol, split.probe))
    both = enrolled + probes
    return int(enrolled * probes if split.protocol == "cross-session" else both * (both - 1) // 2)


def _shown(attacker: attackers.Attacker, split: Split) -> int:
    """Return how many windows a network learns from, one after the other."""
    if split.compares:
        return attacker.embed.epochs * attackers.STEPS_AN_EPOCH * attackers.PEOPLE_A_BATCH
    return attacker.classify.epochs * attacker.passes(len(split.train)) * len(split.train)
