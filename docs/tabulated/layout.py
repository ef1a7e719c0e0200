# SPDX-License-Identifier: Apache-2.0
"""How tables and figures are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecglens.statistics.boundary import wilson

ROOT = Path(__file__).parents[2]


def interval(figure: Mapping[str, Any]) -> str:
    """Return `0.899 [0.871, 0.923]`."""
    if figure["value"] is None:
        return "n/a"
    # Measured before figures of 0 and 1 had Wilson's interval: resampling could not show any.
    unseen = figure["low"] == figure["high"] == figure["value"] and figure["value"] in (0.0, 1.0)
    if figure["low"] is None or unseen:
        return f"{figure['value']:.3f} [no interval]"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(count: int, n: int) -> str:
    """Return `0.07 % [0.04, 0.12]`: the share with Wilson's 95 % interval."""
    low, high = wilson(count, n)
    return f"{100 * count / n:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def bracket(figure: Sequence[float]) -> str:
    return f"{figure[0]:.4f} [{figure[1]:.4f}, {figure[2]:.4f}]"


def milliseconds(row: Mapping[str, Any]) -> str:
    return f"{1000 * row['error_mean'][0]:+.1f}, {1000 * row['error_sd'][0]:.1f}"


def measured(root: Path, name: str) -> Any:
    return json.loads((root / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
