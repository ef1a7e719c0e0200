# SPDX-License-Identifier: Apache-2.0
"""Where maps of cohorts lie on real ECGs, beside what was expected, and what is found on simulated ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecglens.statistics.boundary import wilson
from tabulated.layout import grid, measured

NOT_RUN = "not run"
NETWORKS = {"lenet": "LeNet", "xresnet": "XResNet1d50"}
LEAD_METHODS = {"leads_attention": "lead attention", "leads_occlusion": "a lead set to zero"}


def largest(root: Path) -> str:
    """Return the largest cells of each class."""
    rows = []
    for network, name, told in _judged(root):
        cells = "; ".join(f"{cell['cell']} {cell['lift']:.1f}" for cell in told["top"])
        n = f"{told['n_records']:,} / {told['n_patients']:,}"
        rows.append((network, name, n, cells, f"{told['members']['median']:.2f}"))
    head = ("network", "class", "records / patients", "the seven largest cells, with their lift", "members agree")
    return f"{grid(head, rows)}\n\n{_architectures(root)}"


def every(root: Path) -> str:
    """Return the three largest cells of every class that has enough records."""
    found = measured(root, "glocal").get("every")
    if not found:
        return NOT_RUN
    rows = [
        (name, f"{told['n_records']:,} / {told['n_patients']:,}",
         "; ".join(f"{cell['cell']} {cell['lift']:.1f}" for cell in told["top"]), f"{told['n_significant']:,}")
        for name, told in found.items()
    ]  # fmt: skip
    head = (
        "class",
        "records / patients",
        "the three largest cells, with their lift",
        "cells beyond slid maps (q 0.05)",
    )
    return grid(head, rows)


def expected(root: Path) -> str:
    """Return how many of the largest cells were expected."""
    rows = []
    for network, name, told in _judged(root):
        found = told.get("hits")
        if not found:
            continue
        beside = (told.get("against_norm") or {}).get("hits")
        rows.append((
            network, name, f"{found['n']} of {found['n_top']}",
            ", ".join(" ".join(cell) for cell in found["cells"]) or "none",
            f"{found['n_expected']} of {found['n_cells']}", _p(found["p_hypergeometric"]), _p(found["p_shift"]),
            NOT_RUN if beside is None else f"{beside['n']} of {beside['n_top']}, p {_p(beside['p_hypergeometric'])}",
        ))  # fmt: skip
    head = ("network", "class", "expected among the largest", "which", "expected in all", "p, random cells",
            "p, shifted maps", "among the largest differences from NORM")  # fmt: skip
    return grid(head, rows)


def groups(root: Path) -> str:
    """Return in how many cells groups differ."""
    found = measured(root, "glocal")["groups"]
    classes = list(next(iter(found.values())))
    rows = [(f"`{by}`", *(_group(told[name]) for name in classes)) for by, told in found.items()]
    return grid(("cells that differ (q 0.05) of those compared", *classes), rows)


def claims(root: Path) -> str:
    """Return what TrustECG says of leads, by attention and by occlusion."""
    rows = []
    for key, title in LEAD_METHODS.items():
        found = measured(root, "glocal").get(key, NOT_RUN)
        if found == NOT_RUN:
            rows.append((title, NOT_RUN, "", "", "", ""))
            continue
        for claim, told in found.items():
            if "left_out" in told:
                rows.append((title, claim, f"{told['n_records']}", "too few records", "", ""))
                continue
            share = f"{told['share']:.2f} [{told['low']:.2f}, {told['high']:.2f}]"
            rows.append((title, f"{claim}: {', '.join(told['leads'])}", f"{told['n_records']}", share,
                         f"{told['even']:.2f}", _p(told["p_sets"])))  # fmt: skip
    return grid(("by", "claim", "records", "their share", "even share", "sets of as many leads with more"), rows)


_ASKED = {
    "millivolts": "networks given mV: the largest of 12 x 6 cells overlaps the evidence by half",
    "prepared": "networks given the default recipe's signals: the same",
    "null": "simulated people, labels by lot: two groups are said to differ",
    "deals": "real people of one label, dealt into two groups of 60: the same",
}


def truth(root: Path) -> str:
    """Return what is found on cohorts whose truth is known."""
    rows = []
    for kind, told in measured(root, "glocal_truth").items():
        of, auroc = told["cohorts"], told["auroc"]
        for name, n in told.get("right", {"saliency": told.get("alarm")}).items():
            low, high = wilson(n, of)
            share = f"{n / of:.2f} [{low:.2f}, {high:.2f}]"
            rows.append((_ASKED[kind], name, f"{n} of {of}", share, "" if auroc is None else f"{auroc:.2f}"))
    return grid(("what", "maps", "cohorts", "share [95 %, Wilson]", "median AUROC of the networks"), rows)


def _judged(root: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Go through what was found, by network and class."""
    found = measured(root, "glocal")
    for network, title in NETWORKS.items():
        if found[network] != NOT_RUN:
            yield from ((title, name, told) for name, told in found[network].items())


def _group(told: Any) -> str:
    if isinstance(told, str):
        return "too few"
    sizes = f"{told['n_a']} {told['a']}, {told['n_b']} {told['b']}"
    return f"**{told['n_differ']}** of {told['n_compared']} ({sizes})"


def _architectures(root: Path) -> str:
    found: str | Mapping[str, float] = measured(root, "glocal")["architectures"]
    if isinstance(found, str):
        return f"Rank correlation of all cells between the two networks: {found}."
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    return f"Rank correlation of all cells between the two networks: {told}."


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"
