# SPDX-License-Identifier: Apache-2.0
"""Reading: fuzzing and exactness."""

from __future__ import annotations

import json
from pathlib import Path

from tabulated.layout import ROOT, grid, percent


def fuzz(root: Path = ROOT) -> str:
    """Return what became of mutated files, by target."""
    rows = []
    for row in json.loads((root / "benchmarks" / "fuzz.json").read_text(encoding="utf-8")):
        counts, n = row["outcomes"], row["mutants"]
        shares = (f"{100 * counts.get(what, 0) / n:.1f} %" for what in ("refused", "flagged", "same"))
        peer = "none reads it"
        if row["peer"]:
            silent = row["peer_outcomes"].get("silent", 0)
            peer = f"{row['peer']}: {percent(silent, row['peer_mutants'])} of {row['peer_mutants']:,}"
        silent = percent(counts.get("silent", 0), n)
        rows.append((row["name"], f"{n:,}", *shares, silent, f"{row['seconds']:.2f}", peer))
    header = ("what is mutated", "mutants", "refused", "flagged", "the same ECG", "**silent**", "slowest, s",
              "silent by")  # fmt: skip
    return grid(header, rows)


def exactness(root: Path = ROOT) -> str:
    """Return how the records and annotations of each data set were read."""
    found = json.loads((root / "benchmarks" / "exactness.json").read_text(encoding="utf-8"))
    marks = {row["data_set"]: row for row in found["annotations"]}
    rows = []
    for row in found["records"]:
        refused = ", ".join(f"{n} {kind}" for kind, n in row["refused"].items()) or "none"
        people = "nobody knows" if row["patients"] is None else f"{row['patients']:,}"
        of = marks[row["data_set"]]
        files = f"{of['exact']} of {of['files']} ({of['marks']:,} marks)" if of["files"] else "none there"
        exact = f"{row['exact']:,} of {row['records'] - sum(row['refused'].values()):,}"
        rows.append((row["data_set"], f"{row['records']:,}", people, f"{row['seconds']:.1f}", exact, refused, files))
    header = ("data set", "records", "patients", "read in s", "exact", "refused", "annotation files exact")
    return grid(header, rows)
