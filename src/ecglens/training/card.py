# SPDX-License-Identifier: Apache-2.0
"""The model card: what a bundle is for, what it was made from, how it did, what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecglens.bundle import Bundle
from ecglens.models.lenet import count_parameters
from ecglens.statistics.figures import interval, interval_methods, number

_METRICS = ("auroc", "average_precision", "f1")


def model_card(bundle: Bundle, valid: Mapping[str, Any] | None, tested: Mapping[str, Any] | None = None) -> str:
    """Return the card of a bundle as Markdown, every figure with its interval and N.

    valid    figures on the records that chose epoch and thresholds, as `Evaluation.as_dict` gives them; None for the
             average of folds, which has seen everybody
    tested   figures on held-out patients, alike, or None where it was not tested yet
    """
    prepared = ", ".join(str(step["step"]) for step in bundle.preprocessing.as_config()["record_steps"])
    admission = bundle.preprocessing.admission
    outputs = [
        f"| {o.name} | {o.kind} | {number(o.threshold)} | {o.temperature:.3f} | {o.offset:.3f} |"
        for o in bundle.outputs
    ]
    data = [
        f"| {part} | {count:,} | {bundle.details['n_patients'][part]:,} |"
        for part, count in bundle.details.get("n_records", {}).items()
    ]
    return f"""# {bundle.name}

Research software, not a medical device: not for diagnosis or treatment.

| | |
| --- | --- |
| architecture | {_architecture(bundle)}, {count_parameters(bundle.network):,} parameters |
| leads | {", ".join(bundle.preprocessing.leads)} |
| input | at least {admission.min_duration:g} s; prepared to {bundle.fs:g} Hz ({prepared}) |
| label rule | {bundle.label_rule} |
| epoch kept | {bundle.details.get("best_epoch")} |

{_test_section(tested)}
## Made from

| part | records | patients |
| --- | --- | --- |
{chr(10).join(data)}

{bundle.attribution or "Data as given by the user."}

## Chosen on validation records

{_chosen(valid)}

| output | kind | threshold | temperature | offset |
| --- | --- | --- | --- | --- |
{chr(10).join(outputs)}

## Limits

{_level(bundle)}

Made from resting ECGs of one source. Other devices, sites and populations are untested until you test them
(`ecglens evaluate`). Explanations of this bundle are "not tested" until an audit of these very weights says otherwise.
"""


def _chosen(valid: Mapping[str, Any] | None) -> str:
    if valid is None:
        return """Each member's epoch, thresholds, temperatures and offsets were chosen on a fold that it was not
trained on; those given here are their medians. The average has seen everybody, so it has no figure of its own:
`ecglens evaluate RUN --fold all` scores each member on the fold that it has not seen."""
    return f"""Epoch, thresholds (largest F1), temperatures and offsets were chosen on the validation records:
macro AUROC {interval(valid["macro_auroc"])}, N = {valid["n"]} records of {valid["n_patients"]} patients. **These
figures are optimistic, because the records chose the model.**"""


def _level(bundle: Bundle) -> str:
    """Say what the probabilities of this bundle may be taken for."""
    if bundle.details.get("calibration") == "platt":
        return """Temperature and offset make the probabilities right on average for the validation records. Where
labels are more or less frequent, or made by another rule, they are not: `ecglens evaluate` shows by how much."""
    return """Training weights the positives of rare classes, so probabilities lie above the share of records with the
label; a temperature corrects how sure the network is, not that level. Use the thresholds, or recalibrate."""


def _architecture(bundle: Bundle) -> str:
    if bundle.architecture != "Average":
        return bundle.architecture
    return f"mean of {bundle.arguments['n_members']} {bundle.arguments['architecture']} networks"


def _test_section(tested: Mapping[str, Any] | None) -> str:
    if tested is None:
        return "## Test\n\nNot tested on held-out patients yet: `ecglens evaluate`.\n"
    rows = [
        f"| {name} | {figures['auroc']['n_positive']} | " + " | ".join(interval(figures[m]) for m in _METRICS) + " |"
        for name, figures in tested["per_class"].items()
    ]
    rows.append("| **macro** | | " + " | ".join(interval(tested["macro"][m]) for m in _METRICS) + " |")
    return f"""## Test on held-out patients

N = {tested["n"]} records of {tested["n_patients"]} patients. Label rule: {tested["label_rule"]}.
Values with 95 % intervals by bootstrap over patients: {interval_methods(tested)}. Chance for AUROC is 0.5, for
average precision the share of records with the label (n+ / N).

| class | n+ | AUROC | average precision | F1 |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
"""
