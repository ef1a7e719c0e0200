# SPDX-License-Identifier: Apache-2.0
"""The model card: what a bundle is for, what it was made from, how it did, what it must not be used for."""

from __future__ import annotations

from ecglens.bundle import Bundle
from ecglens.models.lenet import count_parameters
from ecglens.prediction.evaluate import Evaluation


def model_card(bundle: Bundle, valid: Evaluation, citation: str) -> str:
    """Return the card of a bundle as Markdown, every figure with its interval and N."""
    macro = valid.as_dict()["macro_auroc"]
    prepared = ", ".join(str(step["step"]) for step in bundle.preprocessing.as_config()["record_steps"])
    outputs = "\n".join(
        f"| {o.name} | {o.kind} | {_number(o.threshold)} | {o.temperature:.3f} |" for o in bundle.outputs
    )
    counts = bundle.details.get("n_records", {}), bundle.details.get("n_patients", {})
    return f"""# {bundle.name}

Research software, not a medical device: not for diagnosis or treatment.

| | |
| --- | --- |
| architecture | {bundle.architecture}, {count_parameters(bundle.network):,} parameters |
| input | {", ".join(bundle.preprocessing.leads)}; at least {bundle.preprocessing.admission.min_duration:g} s; prepared to {bundle.fs:g} Hz ({prepared}) |
| label rule | {bundle.label_rule} |
| records | {counts[0]} |
| patients | {counts[1]} |
| best epoch | {bundle.details.get("best_epoch")} |
| validation macro AUROC | {_number(macro["value"])} [{_number(macro["low"])}, {_number(macro["high"])}], N = {valid.n} records of {valid.n_patients} patients; **chosen on these records, hence optimistic** |

| output | kind | threshold | temperature |
| --- | --- | --- | --- |
{outputs}

Thresholds (largest F1) and temperatures were fitted on the validation records only.

## Data

{citation or "As given by the user."}

## Limits

Trained on 12-lead resting ECGs of one source; other devices, sites and populations are untested until you test them
(`ecglens evaluate`). Explanations of this bundle are "not tested" until an audit of these very weights says otherwise.
"""


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
