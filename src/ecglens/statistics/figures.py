# SPDX-License-Identifier: Apache-2.0
"""How a figure is written wherever people read it: on the terminal, on pages, in model cards.

>>> interval({"value": 0.8977, "low": 0.8703, "high": 0.9211}), interval({"value": None, "low": None})
('0.898 [0.870, 0.921]', 'n/a')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def number(value: float | None) -> str:
    """Return a figure with three decimals, `n/a` where it cannot be estimated."""
    return "n/a" if value is None else f"{value:.3f}"


def interval(figure: Mapping[str, Any]) -> str:
    """Return `value [low, high]` of a figure; the value alone, or `n/a`, where the rest cannot be estimated."""
    value, low = figure["value"], figure["low"]
    return number(value) if value is None or low is None else f"{value:.3f} [{low:.3f}, {figure['high']:.3f}]"
