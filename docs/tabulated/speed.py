# SPDX-License-Identifier: Apache-2.0
"""Side by side with what one would pick instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, grid, measured

NOT_MEASURED = "Not measured yet: `make bench` writes `benchmarks/results.json`, `python docs/tables.py` this table."


def benchmarks(root: Path = ROOT) -> str:
    """Return the side-by-side measurements, or the sentence that there are none."""
    path = root / "benchmarks" / "results.json"
    if not path.exists():
        return NOT_MEASURED
    rows = [
        (
            row["stage"],
            row["peer"],
            f"{row['ratio']['median']:.1f} [{row['ratio']['low']:.1f}, {row['ratio']['high']:.1f}]",
            f"{row['ours']:.3g}",
            f"{row['theirs']:.3g}",
            ", ".join(f"{name.replace('_', ' ')}: {_short(value)}" for name, value in row["agreement"].items()),
            f"{row['limit']['what']}: {row['limit']['seconds']:.3g} s" if "limit" in row else "",
        )
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    header = ("what", "against", "theirs / ours", "ours, s", "theirs, s", "do the results agree?", "plain reading")
    return grid(header, rows)


def explainers(root: Path = ROOT) -> str:
    """Return how long maps of all classes take beside captum."""
    path = root / "benchmarks" / "explainers.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks/explainers.py` measures it."
    found = measured(root, "explainers")
    rows = []
    for row in found["rows"]:
        ratio = f"{row['ratio']['median']:.1f} [{row['ratio']['low']:.1f}, {row['ratio']['high']:.1f}]"
        seconds = f"{row['ours']:.3g}", f"{row['theirs']:.3g}"
        rows.append((row["network"], str(row["classes"]), f"`{row['method']}`", ratio, *seconds, f"{row['apart']:.0e}"))
    header = (
        "network",
        "classes",
        "method",
        "theirs / ours",
        "ours, s",
        "theirs, s",
        "maps apart, of the largest value",
    )
    return grid(header, rows)


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
