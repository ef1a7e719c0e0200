# SPDX-License-Identifier: Apache-2.0
"""Sub-types that were found, beside their labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, grid, interval

GROUPS = ("MI", "AMI,IMI", "AMI,IMI alone")  # in the order of the table
NOT_MEASURED = "Not measured yet: `ecglens find-subtypes`, then `python benchmarks/subtypes.py NAME=DIR`."


def subtypes(root: Path = ROOT) -> str:
    """Return one row per run: what was clustered, how stable it is, and what labels say."""
    path = root / "benchmarks" / "subtypes.json"
    if not path.exists():
        return NOT_MEASURED
    rows = []
    found = json.loads(path.read_text(encoding="utf-8"))
    found.sort(key=lambda row: (GROUPS.index(row["group"]), "15" in row["name"], row["by"], row["target"]))
    for row in found:
        chosen, bound = row["chosen"], row["upper_bound"]
        labels = [interval(row["accuracy"]), interval(row["ari"]), f"{row['majority']:.3f}"] if bound else [""] * 3
        best = f"{interval(bound['accuracy'])} ({bound['method']}, {bound['k']})" if bound else ""
        halves = "n/a" if chosen["halves"] is None else f"{chosen['halves']:.2f}"
        rows.append((
            row["name"], f"{row['group']}, {row['n']:,}", _by(row), f"{chosen['method']}, {chosen['k']}",
            f"{halves} ({'stable' if chosen['stable'] else 'not stable'})", _made_of(row, "network"),
            _made_of(row, "explained"), *labels, best,
        ))  # fmt: skip
    header = ("networks", "group, records", "by", "chosen", "halves", "goes with the network",
              "with the class explained", "accuracy", "adjusted Rand", "majority", "upper bound: accuracy")  # fmt: skip
    counts = {f"{name} {n:,}" for row in found for name, n in row.get("per_class", {}).items()}
    rules = "; ".join(dict.fromkeys(row["label_rule"] for row in found))
    return (
        f"{grid(header, rows)}\n\nEach record by the network that has not seen it; records with exactly one sub-label: "
        f"{', '.join(sorted(counts)) or 'none'}. Label rules: {rules}."
    )


def _by(row: dict[str, Any]) -> str:
    fixed = row["by"] == "attributions" and row["target"] != "called"
    return f"{row['by']} for {row['target']}" if fixed else row["by"]


def _made_of(row: dict[str, Any], what: str) -> str:
    """Return how closely clusters go with what was done to the records: Cramer's V and p."""
    found = row["made_of"][what]
    return "" if found is None else f"{found['v']:.2f} (p {found['p']:.2g})"


def asmi(root: Path = ROOT) -> str:
    """Return one row per cluster inside anteroseptal infarction: who they are, and the R waves that were measured."""
    found = json.loads((root / "benchmarks" / "asmi.json").read_text(encoding="utf-8"))
    rows = []
    for name, run in found.items():
        p = {row["covariate"]: row["p"] for row in run["differences"]}
        infarction = "MI" if "MI" in run["clusters"][0]["probabilities"] else "AMI"
        for one in run["clusters"]:
            first = one["cluster"] == 1
            halves = f"{run['chosen']['halves']:.2f} ({'stable' if run['chosen']['stable'] else 'not stable'})"
            rows.append((
                name if first else "", halves if first else "", str(one["n"]), interval(one["share_female"]),
                f"{p['share_female']:.2f}" if first else "", interval(one["R in V1, mV"]), interval(one["R in V3, mV"]),
                interval(one["no R in V1 to V3"]), interval(one["probabilities"]["NORM"]),
                interval(one["probabilities"][infarction]),
            ))  # fmt: skip
    run = next(iter(found.values()))
    header = ("networks: by", "halves", "n", "women", "p", "R in V1, mV", "R in V3, mV", "no R in V1 to V3", "P(NORM)",
              "P(MI) or P(AMI)")  # fmt: skip
    return (
        f"{grid(header, rows)}\n\nASMI: N = {run['n']} records of {run['n_patients']} patients, each by the network "
        "that has not seen them. Brackets: 95 % over patients. p: of the share of women, clusters dealt out anew among "
        "patients, Holm over covariates. R waves: `ecglens.measure` on the record, not the network."
    )
