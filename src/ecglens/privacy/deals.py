# SPDX-License-Identifier: Apache-2.0
"""What is left of a figure when labels or owners are dealt out anew many times: as much as chance, or there is a flaw.

>>> told = spread_of_deals(np.linspace(0.4, 0.56, 41), 0.5)
>>> round(told["value"], 2), round(told["low"], 3), round(told["high"], 3), told["far_from_chance"]
(0.48, 0.404, 0.556, False)
>>> spread_of_deals(np.linspace(0.51, 0.56, 41), 0.5)["far_from_chance"]
True
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ecglens.statistics.bootstrap import interval

DEALS = 40  # the least whose tails each hold one of 95 % intervals


def spread_of_deals(deals: np.ndarray, chance: float, slack: float = 1e-9) -> dict[str, Any]:
    """Return a figure over `deals` [deal], JSON-ready; those that are NaN are left out.

    value             the mean
    low, high         where 95 % of the deals lie
    n_deals           those that are not NaN
    far_from_chance   chance is beyond those by more than `slack`
    """
    drawn = interval(deals)
    far = bool(chance < drawn.low - slack or chance > drawn.high + slack)
    return {
        "value": float(np.nanmean(deals)), "low": drawn.low, "high": drawn.high, "chance": chance,
        "n_deals": drawn.usable, "far_from_chance": far,
    }  # fmt: skip
