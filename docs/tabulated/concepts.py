# SPDX-License-Identifier: Apache-2.0
"""What families of networks use concepts for on real ECGs, and what is found on simulated ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulated.layout import grid, measured

FAMILIES = {"sub-lenet-folds": ("CLBBB", "LVH", "IMI", "AMI", "NORM"), "lenet-folds": ()}


def verdicts(root: Path) -> str:
    """Return for each family and concept in how many layers it speaks for or against each class."""
    found, parts = measured(root, "concepts"), []
    for family, chosen in FAMILIES.items():
        told = found[family]
        classes = list(chosen) or list(told["per_class"])
        rows = [(c["concept"], *(_layers(told, c["concept"], name) for name in classes)) for c in told["concepts"]]
        head = [f"{name} (N = {told['per_class'][name]['n']:,})" for name in classes]
        n = f"{told['n']:,} records of {told['n_patients']:,} patients, {len(told['networks'])} networks"
        parts.append(f"{n}; layers of {len(told['layers'])}:\n\n{grid(['concept', *head], rows)}")
    return "\n\n".join(parts)


def _layers(told: Mapping[str, Any], concept: str, name: str) -> str:
    cells = [cell for cell in told["cells"] if (cell["concept"], cell["class"]) == (concept, name)]
    counts = {word: sum(cell["verdict"] == word for cell in cells) for word in ("uses it for", "uses it against")}
    words = [f"{word.split()[-1]} {n}" for word, n in counts.items() if n]
    return ", ".join(words) or "\u2013"


def counts(root: Path) -> str:
    """Return how many records have each concept, and why cells cannot be told."""
    told = measured(root, "concepts")["sub-lenet-folds"]
    rows = [
        (c["concept"], c["about"], f"{c['n_with']:,}", f"{c['n_patients_with']:,}", f"{c['n_unknown']:,}",
         f"{c['n_matched']:,}")
        for c in told["concepts"]
    ]  # fmt: skip
    left = "".join(f"\n\nLeft out: {one['reason']}." for one in told["left_out"])
    return grid(("concept", "what", "records", "patients", "cannot be told", "with a match"), rows) + left


def speed(root: Path) -> str:
    """Return how many times longer captum takes."""
    rows = [
        (f"`{row['fit']}`", f"`{row['steps']}`", f"{row['ratio']['median']:.1f} [{row['ratio']['low']:.1f}, "
         f"{row['ratio']['high']:.1f}]", f"{row['ours']:.2f} s", f"{row['theirs']:.2f} s")
        for row in measured(root, "concepts")["speed"]
    ]  # fmt: skip
    return grid(("fit", "steps", "captum's time over ours", "ours", "captum"), rows)


def truth(root: Path) -> str:
    """Return shares of repetitions with Wilson's intervals."""
    told = measured(root, "concepts_truth")
    rows = [
        (*name.split("; "), f"{figure['n']} of {told['repetitions']}", f"{figure['share']:.2f} [{figure['low']:.2f}, "
         f"{figure['high']:.2f}]")
        for name, figure in told.items() if isinstance(figure, dict)
    ]  # fmt: skip
    return grid(("what", "gates", "repetitions", "share [95 %]"), rows)
