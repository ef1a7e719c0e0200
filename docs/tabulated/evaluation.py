# SPDX-License-Identifier: Apache-2.0
"""Figures of the shipped bundle, its calibration, and what the measurements of the evaluator say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tabulated.layout import ROOT, grid, interval, measured


def figures(root: Path = ROOT) -> str:
    """Return the figures of the shipped bundle on fold 10, with all that a reader needs to weigh them."""
    facts = json.loads((root / "recipes" / "pretrained.json").read_text(encoding="utf-8"))
    rows = [
        (
            name,
            str(found["auroc"]["n_positive"]),
            interval(found["auroc"]),
            interval(found["average_precision"]),
            f"{found['average_precision']['chance']:.3f}",
            interval(found["f1"]),
            f"{found['f1']['baseline']:.3f}",
        )
        for name, found in facts["per_class"].items()
    ]
    macro = facts["macro"]
    rows.append(
        (
            "macro",
            "",
            *(interval(macro[m]) for m in ("auroc", "average_precision")),
            f"{macro['average_precision']['chance']:.3f}",
            interval(macro["f1"]),
            f"{macro['f1']['baseline']:.3f}",
        )
    )
    header = ("class", "n+", "AUROC", "average precision", "its chance", "F1", "its baseline")
    return (
        f"{grid(header, rows)}\n\n"
        f"N = {facts['n']} records of {facts['n_patients']} patients, fold {facts['fold']} of a partial copy of "
        f"PTB-XL, never used for training or choosing. Label rule: {facts['label_rule']}. Brackets: "
        f"{facts['macro_auroc']['method']}. Chance for AUROC is 0.5. The baseline of F1 is the better of the two "
        "answers that never look at the ECG: yes to all, no to all."
    )


def levels(root: Path = ROOT) -> str:
    """Return mean probability beside the share of records with the label, per class of the shipped bundle."""
    facts = json.loads((root / "recipes" / "pretrained.json").read_text(encoding="utf-8"))
    classes = facts["per_class"]
    share = {name: found["average_precision"]["chance"] for name, found in classes.items()}
    rows = [
        ("mean probability", *(f"{facts['mean_probability'][name]:.3f}" for name in classes)),
        ("share with the label", *(f"{share[name]:.3f}" for name in classes)),
    ]
    return f"{grid(('', *classes), rows)}\n\nFold {facts['fold']}, N = {facts['n']} records."


def calibration(root: Path = ROOT) -> str:
    """Return what each calibration costs, on the validation records that choose and on those that do not."""
    facts = measured(root, "calibration")
    rows = [
        (
            name,
            f"{row['validation_log_loss']:.4f}",
            f"{row['validation_brier']:.4f}",
            _change(row["validation_over_temperature"]),
            f"{row['test_log_loss']:.4f}",
            f"{row['test_brier']:.4f}",
            _change(row["test_over_temperature"]),
        )
        for name, row in facts["methods"].items()
    ]
    header = ("calibration", "log loss, fold 9", "Brier", "against temperature", "log loss, fold 10", "Brier",
              "against temperature")  # fmt: skip
    return (
        f"{grid(header, rows)}\n\nMeans over the classes; shipped network; fold 9 (N = {facts['n']['9']} records) "
        f"cross-validated by patient, fold 10 (N = {facts['n']['10']}) with what all of fold 9 says. Differences of "
        "log loss with 95 % intervals over patients; below 0 is better."
    )


def ludb(root: Path = ROOT) -> str:
    """Return the figures of the shipped bundle on LUDB, through its label map."""
    facts = measured(root, "calibration")["ludb"]
    rows = [
        (
            name,
            str(found["auroc"]["n_positive"]),
            str(found["auroc"]["n"]),
            *(interval(found[m]) for m in ("auroc", "sensitivity", "specificity")),
        )
        for name, found in facts["per_class"].items()
    ]
    rows.append(("macro", "", "", interval(facts["macro_auroc"]), "", ""))
    header = ("class", "n+", "n", "AUROC", "sensitivity", "specificity")
    return (
        f"{grid(header, rows)}\n\nN = {facts['n']} records of {facts['n_patients']} people; n: those whose label the "
        f"map tells. Thresholds of PTB-XL's validation patients. Brackets: {facts['macro_auroc']['method']}. Chance "
        "for AUROC is 0.5."
    )


def coverage(root: Path = ROOT) -> str:
    """Return how often intervals hold the truth."""
    found = measured(root, "coverage")
    rows = [(row["figure"].replace("_", " "), f"{row['by_patient']:.1%}", f"{row['by_record']:.1%}") for row in found]
    low, high = found[0]["honest"]
    table = grid(("figure", "resampling patients", "resampling records"), rows)
    return (
        f"{table}\n\n{found[0]['cohorts']:,} simulated cohorts of 60 patients with four records each. Exact 95 % "
        f"intervals would give {low:.1%} to {high:.1%} in 95 of 100 such runs. Macro figures are of three classes: "
        "one that half of the patients have, a scarce one (a quarter, about 15 patients) and a rare one (a tenth, "
        "about 6); the difference is of two networks' macro AUROC, paired."
    )


def kills(root: Path = ROOT) -> str:
    """Return the last line of the log of a training that was killed again and again."""
    log = root / "benchmarks" / "training_kills.txt"
    return f"    {log.read_text(encoding='utf-8').splitlines()[-1]}"


def learning_curve(root: Path = ROOT) -> str:
    """Return macro AUROC by size of the training set."""
    facts = measured(root, "learning_curve")
    rows = [
        (f"{row['fraction']:.0%}", f"{row['n_train']:,}", f"{row['n_train_patients']:,}", interval(row))
        for row in facts["rows"]
    ]
    last = facts["rows"][-1]
    return (
        f"{grid(('of the training patients', 'records', 'patients', 'macro AUROC, fold 10'), rows)}\n\n"
        f"`{facts['model']}`, {facts['epochs']} epochs, seed {facts['seed']}; N = {last['n']} test records of "
        f"{last['n_patients']} patients, 95 % intervals over them."
    )


def _change(difference: Mapping[str, float]) -> str:
    """Return a difference with its interval, empty where a thing is compared with itself."""
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]" if value or low or high else ""
