# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/networks.py` measured: networks, families, weights of classes, the papers' recipes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, grid, interval

Rows = dict[str, dict[str, Any]]
NOT_RUN = "not run"
NETWORKS = {
    "lenet": "`lenet`",
    "lenet-again": "`lenet`, trained on another processor",
    "lenet-wide": "`lenet-wide`",
    "lenet-seeds": "`lenet`, mean of 5 seeds",
    "xresnet1d50": "`xresnet1d50`",
    "resnet1d": "`resnet1d`",
    "ecgnet": "`ecgnet`",
    "ecgnet-lead": "`ecgnet-lead`",
    "ecgnet-class": "`ecgnet-class`",
}
BALANCE = {"balance-none": "`none`: 1", "lenet-folds": "`sqrt` (ours, TrustECG's)", "balance-full": "`full`"}
# What the papers print, with which network, and why ours differs.
PAPERS = {
    "trustecg": (
        "TrustECG, report", "0.912", "a tenth of the records; the folds differ; its run went on from trained weights",
    ),
    "trustecg-code": ("TrustECG, notebook", "0.9123", "as above"),
    "xai4ecg-lenet": ("xai4ecg, LeNet, sub-diagnostic", "0.9245", "a tenth of the records, fewer classes"),
    "xai4ecg-xresnet": ("xai4ecg, XResNet, sub-diagnostic", "0.9292", "a tenth of the records, fewer classes"),
}  # fmt: skip


def _rows(root: Path) -> Rows:
    path = root / "benchmarks" / "networks.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def networks(root: Path = ROOT) -> str:
    """Return each network on fold 10 and on all ten folds, the hardest class apart."""
    found, rows = _rows(root), []
    for name, title in NETWORKS.items():
        alone, everybody = found.get(name), found.get(f"{name}-folds")
        if not alone and not everybody:
            continue
        told = alone or everybody
        assert told is not None
        chosen = interval(alone["valid"]) if alone and alone.get("valid") else ""
        gain = _gain(everybody, "macro")
        seeds = _asked(told, "--seeds")
        size = f"{seeds} x " * bool(seeds) + f"{told['parameters']:,}"
        rows.append((title, size, chosen, *_pair(alone), *_pair(everybody), gain))
    header = (
        "network",
        "parameters",
        "fold 9",
        "fold 10",
        "HYP",
        "ten folds",
        "HYP",
        "less `lenet`, paired, ten folds",
    )
    helped = _gain(found.get("lenet-seeds-folds"), "HYP")
    words = f" AUROC of HYP, the mean of 5 seeds less one `lenet`, ten folds: {helped}." if helped else ""
    return f"{grid(header, rows)}\n\n{_how(found, ('lenet', 'lenet-folds'))}{words}"


def balance(root: Path = ROOT) -> str:
    """Return what the weight of rare classes changes."""
    found = _rows(root)
    rows = [
        (title, interval(row["macro_auroc"]), interval(row["macro_f1"]), interval(row["per_class"]["HYP"]["auroc"]),
         _gain(row, "macro"))
        for name, title in BALANCE.items() if (row := found.get(name))
    ]  # fmt: skip
    header = ("`--balance`", "macro AUROC", "macro F1", "AUROC of HYP", "macro AUROC less `sqrt`, paired")
    return f"{grid(header, rows)}\n\n`lenet`, ten folds. {_how(found, ('lenet-folds',))}" if rows else NOT_RUN


def papers(root: Path = ROOT) -> str:
    """Return their figure beside ours, and the command for the whole of PTB-XL."""
    found, rows = _rows(root), []
    for name, (title, theirs, why) in PAPERS.items():
        row = found.get(name)
        ours = f"{interval(row['macro_auroc'])}{_otherwise(row)}, N = {row['n']}, {_classes(row)}" if row else NOT_RUN
        command = row["command"] if row else ""
        rows.append((title, theirs, ours, why, f"`{command}`" if command else ""))
    header = ("whose, which", "their macro AUROC", "ours on the partial copy, fold 10", "why it differs", "the command")
    label = "Brackets: 95 % over patients, 2,000 resamples; a class that nobody in fold 10 has is left out of the mean."
    return f"{grid(header, rows)}\n\n{label} Theirs are over all their classes. Each recipe has its own label rule."


def _classes(row: Mapping[str, Any]) -> str:
    """Return how many classes the mean is over."""
    known = sum(one["auroc"]["value"] is not None for one in row["per_class"].values())
    return f"mean of {known} classes"


def subclasses(root: Path = ROOT) -> str:
    """Return the sub-diagnostic classes, with how many records have each."""
    return _by_class(_rows(root), {"sub-lenet": "`lenet`", "sub-xresnet": "`xresnet1d50`"})


def subclasses_folds(root: Path = ROOT) -> str:
    """Return the same of the classes that 20 patients have, each record by the network that has not seen it."""
    found = _rows(root)
    table = _by_class(found, {"sub-lenet-folds": "`lenet`", "sub-xresnet-folds": "`xresnet1d50`"})
    gain = _gain(found.get("sub-xresnet-folds"), "macro")
    return f"{table} `xresnet1d50` less `lenet`, paired: {gain}." if gain else table


def _by_class(found: Rows, titles: Mapping[str, str]) -> str:
    """Return a column for each network, a row for each class."""
    told = {name: found[name] for name in titles if name in found}
    if not told:
        return NOT_RUN
    first = next(iter(told.values()))
    rows = [
        (label, str(one["auroc"]["n_positive"]), *(interval(row["per_class"][label]["auroc"]) for row in told.values()))
        for label, one in first["per_class"].items()
    ]
    rows.append(("macro", "", *(f"{interval(row['macro_auroc'])}{_otherwise(row)}" for row in told.values())))
    header = ("class", "n+", *(f"AUROC, {titles[name]}" for name in told))
    return f"{grid(header, rows)}\n\n{_how(found, tuple(told))}"


def _pair(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if not row:
        return NOT_RUN, NOT_RUN
    return f"{interval(row['macro_auroc'])}{_otherwise(row)}", interval(row["per_class"]["HYP"]["auroc"])


def _otherwise(row: Mapping[str, Any]) -> str:
    """Say where a network was trained otherwise than its recipe says."""
    epochs, precision = _asked(row, "--epochs"), _asked(row, "--precision")
    told = [f"{epochs} epochs"] * bool(epochs) + [precision] * bool(precision)
    return f" ({', '.join(told)})" if told else ""


def _asked(row: Mapping[str, Any], option: str) -> str:
    """Return what the command asked for by an option; empty where it left it to the recipe."""
    words = row["command"].split()
    return words[words.index(option) + 1] if option in words else ""


def _gain(row: Mapping[str, Any] | None, label: str) -> str:
    told = (row or {}).get("against", {}).get("differences", [])
    for figure in told:
        if figure["class"] == label:
            return f"{figure['value']:+.3f} [{figure['low']:+.3f}, {figure['high']:+.3f}]"
    return ""


def _how(found: Rows, names: tuple[str, ...]) -> str:
    told = [found[name] for name in names if name in found]
    if not told:
        return ""
    each = [f"{_place(row)}: N = {row['n']:,} records of {row['n_patients']:,} patients" for row in told]
    sizes = "; ".join(dict.fromkeys(each))
    return (
        f"{sizes[0].upper()}{sizes[1:]}. Label rule: {told[0]['label_rule']}. "
        f"Brackets: {told[0]['macro_auroc']['method']}. Chance is 0.5."
    )


def _place(row: Mapping[str, Any]) -> str:
    return "ten folds" if row["fold"] == "all" else f"fold {row['fold']}"
