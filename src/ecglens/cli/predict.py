# SPDX-License-Identifier: Apache-2.0
"""`ecglens predict`: what does a bundle say of these ECGs?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecglens.cli.arguments import BundleOption, Files, Json, Start, Stop, ecg_files, stretch_options
from ecglens.cli.console import Outcome, ProgressLine, columns, conclude, exit_code_for, say
from ecglens.cli.verdicts import verdicts_on

if TYPE_CHECKING:
    from ecglens.bundle import Bundle


def predict(
    files: Files, bundle: BundleOption = "pretrained", start: Start = None, stop: Stop = None, as_json: Json = False
) -> None:
    """Give probabilities and decisions for ECG files. A file that cannot be used is listed with the reason.

    Example: ecglens predict my-ecg.hea
    """
    raise typer.Exit(conclude(lambda: _predict(files, bundle, start, stop), as_json))


def _predict(paths: list[Path], bundle_name: str, start: float | None, stop: float | None) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.prediction.predict import predict_files

    bundle = Bundle.load(bundle_name)
    files = ecg_files(paths)
    predictions = predict_files(bundle, files, ProgressLine(), start, stop)
    records = [
        {
            "file": str(path),
            "record_id": p.record_id,
            "probabilities": p.probabilities,
            "decisions": p.decisions,
            "flags": [finding.as_dict() for finding in p.flags],
            "rejected": None if p.rejected is None else str(p.rejected),
        }
        for path, p in zip(files, predictions, strict=True)
    ]
    errors = [p.rejected for p in predictions if p.rejected is not None]
    rows = [
        (p.record_id, *[_cell(p.probabilities[name], p.decisions.get(name)) for name in bundle.classes])
        for p in predictions
        if p.rejected is None
    ]
    text = columns(("record", *bundle.classes), rows) if rows else "No ECG could be used."
    text += "\n* at or above the threshold that maximises F1 on the validation patients" if rows else ""
    thresholds = {output.name: output.threshold for output in bundle.outputs}
    given = ", ".join(f"{name} {value:.3f}" for name, value in thresholds.items() if value is not None)
    text += f"\nThresholds: {given}" if rows and given else ""
    for error in errors:
        say(f"left out: {error}")
    for prediction in predictions:
        for flag in prediction.flags:
            say(f"{flag.severity}: {prediction.record_id}: {flag.reason}")
    text += f"\nLabel rule of the bundle: {bundle.label_rule}. Research software, not a medical device." if rows else ""
    first = next((f for f, p in zip(files, predictions, strict=True) if p.rejected is None), None)
    with_bundle = "" if bundle_name == "pretrained" else f" --bundle {bundle_name}"
    next_step = ""
    if first:
        how = f"{with_bundle}{stretch_options(start, stop)}{_stamped(bundle, bundle_name)}"
        next_step = f"ecglens explain {first}{how} --out explained/"
    code = exit_code_for(len(predictions) - len(errors), errors)
    told = {"bundle": bundle.name, "thresholds": thresholds, "records": records}
    return Outcome(told, text, next_step, code)


def _stamped(bundle: Bundle, where: str) -> str:
    """Return the option without which `explain` would refuse: no method has passed the audit of these weights."""
    from ecglens.errors import EcglensError

    try:
        verdicts = verdicts_on(bundle, where, "")
    except EcglensError:  # an audit that cannot be read is for `explain` to refuse: predictions are not lost for it
        return ""
    return " --even-if-failed" if verdicts.audited and not verdicts.default_method else ""


def _cell(probability: float, decision: bool | None) -> str:
    return f"{probability:.3f}{'*' if decision else ' '}"
