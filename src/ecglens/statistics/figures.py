# SPDX-License-Identifier: Apache-2.0
"""How a figure is written wherever people read it: on the terminal, on pages, in model cards.

>>> interval({"value": 0.8977, "low": 0.8703, "high": 0.9211}), interval({"value": None, "low": None})
('0.898 [0.870, 0.921]', 'n/a')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ecglens.statistics.bootstrap import Estimate


def number(value: float | None) -> str:
    """Return a figure with three decimals, with one digit where those would be 0, `n/a` where it cannot be estimated.

    >>> number(0.25), number(0.00039), number(0.1 + 0.2 - 0.3), number(None)
    ('0.250', '0.0004', '0.000', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value:.1g}" if 5e-7 < abs(value) < 5e-4 else f"{value:.3f}"


def as_json(told: Estimate, chance: float) -> dict[str, float]:
    """Return a figure as it stands in JSON, beside its chance level."""
    return {"value": told.value, "low": told.low, "high": told.high, "chance": chance}


def interval(figure: Mapping[str, Any]) -> str:
    """Return `value [low, high]` of a figure; the value alone, or `n/a`, where the rest cannot be estimated."""
    value, low = figure["value"], figure["low"]
    return number(value) if value is None or low is None else f"{value:.3f} [{low:.3f}, {figure['high']:.3f}]"


def interval_methods(told: Mapping[str, Any]) -> str:
    """Return how the intervals of an evaluation were got: by resampling, and those of figures of 0 or 1 otherwise."""
    figures = [figure for one in told["per_class"].values() for figure in one.values() if isinstance(figure, Mapping)]
    ends = any("Wilson" in str(figure.get("method")) for figure in figures)
    return str(told["macro_auroc"]["method"]) + ("; of a class's figure of 0 or 1 Wilson's, over its patients" * ends)


def json_number(value: Any) -> Any:
    """Return a cell of a table as it stands in JSON: NaN and infinity are null, words stay words."""
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(value)


def clean(value: Any) -> Any:
    """Return JSON-ready data: NaN and infinity become null, arrays of one number that number, keys words."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "item"):
        return clean(value.item())
    return value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as JSON has it, row by row: NaN is null."""
    return [{str(name): json_number(value) for name, value in row.items()} for row in table.to_dict("records")]


def too_few(sides: Mapping[str, tuple[int, int]], few: int) -> tuple[str, ...]:
    """Return what a reader must know where fewer than `few` patients have a class, or lack it, or nothing is known.

    sides   of each class: patients with a record that has it, and with one that lacks it
    """
    unknown = [name for name, each in sides.items() if each == (0, 0)]
    known = {name: each for name, each in sides.items() if each != (0, 0)}
    with_it = [f"{name} ({n})" for name, (n, _) in known.items() if n < few]
    without = [f"{name} ({n})" for name, (_, n) in known.items() if n < few]
    sentences = [f"No label is known for {', '.join(unknown)}: not scored."] if unknown else []
    sentences += [
        f"Fewer than {few} patients {side} {', '.join(names)}: their intervals are too short, and too sure."
        for names, side in ((with_it, "with"), (without, "without"))
        if names
    ]
    return tuple(sentences)
