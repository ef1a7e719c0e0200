# SPDX-License-Identifier: Apache-2.0
"""Sub-types that were found, beside their labels."""

from __future__ import annotations

import json
from pathlib import Path

from tabulated.layout import ROOT, grid, interval

NOT_MEASURED = "Not measured yet: `ecglens find-subtypes`, then `python benchmarks/subtypes.py NAME=DIR`."


def subtypes(root: Path = ROOT) -> str:
    """Return one row per run: what was clustered, how stable it is, and what labels say."""
    path = root / "benchmarks" / "subtypes.json"
    if not path.exists():
        return NOT_MEASURED
    rows = []
    found = json.loads(path.read_text(encoding="utf-8"))
    for row in found:
        chosen, bound = row["chosen"], row["upper_bound"]
        labels = [interval(row["accuracy"]), interval(row["ari"]), f"{row['majority']:.3f}"] if bound else [""] * 3
        best = f"{interval(bound['accuracy'])} ({bound['method']}, {bound['k']})" if bound else ""
        halves = "n/a" if chosen["halves"] is None else f"{chosen['halves']:.2f}"
        rows.append((
            row["name"], f"{row['group']}, {row['n']:,}", row["by"], f"{chosen['method']}, {chosen['k']}",
            f"{halves} ({'stable' if chosen['stable'] else 'not stable'})", *labels, best,
        ))  # fmt: skip
    header = ("networks", "group, records", "by", "chosen", "halves", "accuracy", "adjusted Rand", "majority",
              "upper bound: accuracy")  # fmt: skip
    counts = {f"{name} {n:,}" for row in found for name, n in row.get("per_class", {}).items()}
    rules = "; ".join(dict.fromkeys(row["label_rule"] for row in found))
    return (
        f"{grid(header, rows)}\n\nEach record by the network that has not seen it; records with exactly one sub-label: "
        f"{', '.join(sorted(counts)) or 'none'}. Label rules: {rules}."
    )
