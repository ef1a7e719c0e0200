# SPDX-License-Identifier: Apache-2.0
"""`ecglens explain`: why does a bundle say this of an ECG?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import BundleOption, Files, Json, Start, Stop, ecg_files, stretch_name
from ecglens.cli.console import Outcome, ProgressLine, clean, conclude, exit_code_for, say

if TYPE_CHECKING:
    from ecglens.bundle import Bundle
    from ecglens.ecg import ECG
    from ecglens.errors import EcglensError
    from ecglens.explanation import Explanation
    from ecglens.fiducials import Fiducials
    from ecglens.prediction.predict import Prediction


PREDICTED = "predicted"
BESIDE_ATTENTION = ("occlusion_lead_zero", "occlusion_lead_mean", "occlusion_lead")  # on the page
Stretch = tuple[float | None, float | None]  # start and stop in s, None: the recording's own


def explain(
    files: Files,
    target: str = typer.Option(
        PREDICTED,
        help="An output (MI), a difference (MI - NORM), several by comma, or predicted: what the bundle decides.",
    ),
    method: str = typer.Option("saliency", help="Explanation method, or several by comma; see the reference."),
    bundle: BundleOption = "pretrained",
    start: Start = None,
    stop: Stop = None,
    out: Path = typer.Option(Path("explained"), help="Folder for attributions (.npy), pictures and pages."),
    as_json: Json = False,
) -> None:
    """Explain a prediction: attribution [lead, time] as .npy, the picture on ECG paper, and a page per ECG.

    Example: ecglens explain my-ecg.hea --target MI --method saliency --out explained/
    """
    raise typer.Exit(conclude(lambda: _explain(files, target, method, bundle, (start, stop), out), as_json))


def _explain(paths: list[Path], target: str, method: str, bundle_name: str, stretch: Stretch, out: Path) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.errors import ContractError, InputError, UnsafeError
    from ecglens.explainers.explain import find_method
    from ecglens.formats.read import read
    from ecglens.runs.files import write_json
    from ecglens.runs.lock import writing

    bundle = Bundle.load(bundle_name)
    methods = list(dict.fromkeys(name.strip() for name in method.split(",")))
    for name in methods:
        find_method(name)
    targets = list(dict.fromkeys(name.strip() for name in target.split(",")))
    for name in targets:
        if name != PREDICTED:
            bundle.target_row(name)
    files, progress = ecg_files(paths), ProgressLine()
    entries: list[dict[str, Any]] = []
    errors: list[EcglensError] = []
    names: list[str] = []
    with writing(out):
        for done, path in enumerate(files, 1):
            try:
                ecg = read(path, *stretch)
                name = _free_name(stretch_name(ecg.record_id, *stretch), names)
                entries += _explain_one(bundle, ecg, path, targets, methods, out / name)
                names.append(name)
            except (InputError, UnsafeError, ContractError) as error:
                errors.append(error)
            progress("explaining", done, len(files), "")
        told = {"explanations": entries, "rejected": [error.as_dict() for error in errors], "bundle": bundle.name}
        index = out / "explanations.json"
        write_json(index, clean({"schema": 1, "explanations": [*_kept(index, entries), *entries]}))
    lines = [
        f"{e['file']}: {e['target']} {_percent(e['probability'])}, explained by {e['method']} ({e['verdict']} on this "
        f"model)\n  {e['sentence']}\n  picture {e['picture']}\n  page    {e['page']}"
        for e in entries
    ] or ["No ECG could be used."]
    for fault in errors:
        say(f"left out: {fault}")
    next_step = f"open {entries[0]['page']}" if entries else ""
    return Outcome(told, "\n".join(lines), next_step, exit_code_for(len(files) - len(errors), errors))


def _explain_one(
    bundle: Bundle, ecg: ECG, path: Path, targets: list[str], methods: list[str], stem: Path
) -> list[dict[str, Any]]:
    from ecglens.explainers.explain import explain as explain_ecg
    from ecglens.plotting.attribution import plot_explanation
    from ecglens.plotting.side_by_side import plot_explanations
    from ecglens.plotting.style import figure_bytes
    from ecglens.prediction.predict import predict
    from ecglens.reporting.html import write_report
    from ecglens.reporting.record import record_report
    from ecglens.runs.files import write_bytes, write_npy
    from ecglens.waveform.delineate import delineate

    prediction = predict(bundle, ecg)
    named = _named(targets, prediction)
    marks = delineate(ecg)
    explanations = explain_ecg(bundle, ecg, named, methods, fiducials=marks)
    hidden = explain_ecg(bundle, ecg, named, BESIDE_ATTENTION) if "attention" in methods else []
    thresholds = {o.name: o.threshold for o in bundle.outputs if o.threshold is not None}
    page = stem.with_name(f"{stem.name}.html")
    report = record_report(
        ecg, explanations, prediction.probabilities, prediction.decisions, thresholds, prediction.flags,
        [("file", path.name), ("bundle", bundle.name), ("weights", bundle.weights_sha256[:16]), *_versions()],
        marks, hidden,
    )  # fmt: skip
    write_report(report, page)
    entries, together = [], stem.with_name(f"{stem.name}-side-by-side.png")
    if len(explanations) > 1:
        write_bytes(together, figure_bytes(plot_explanations(ecg, explanations, marks), "png", dpi=130))
    for explanation in explanations:
        name = (
            f"{stem.name}-{_slug(explanation.target)}-{explanation.method}"  # names may hold dots: no with_suffix here
        )
        values, picture = stem.with_name(f"{name}.npy"), stem.with_name(f"{name}.png")
        write_npy(values, explanation.values)
        write_bytes(picture, figure_bytes(plot_explanation(ecg, explanation, marks=marks), "png", dpi=130))
        entries.append(_entry(explanation, path, marks) | {
            "bundle": bundle.name, "weights_sha256": bundle.weights_sha256,
            "attribution": str(values), "picture": str(picture), "page": str(page),
            "side_by_side": str(together) if len(explanations) > 1 else None,
        })  # fmt: skip
    return entries


def _named(targets: list[str], prediction: Prediction) -> list[str]:
    """Return the targets with `predicted` replaced by the classes decided on, or else by the most probable one."""
    if PREDICTED not in targets:
        return targets
    decided = [name for name, yes in prediction.decisions.items() if yes]
    most = max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    return list(dict.fromkeys([t for t in targets if t != PREDICTED] + (decided or [most])))


def _kept(index: Path, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what an earlier call listed in this folder, without what this call has made again."""
    from ecglens.runs.files import read_json

    made = {entry["attribution"] for entry in new}
    earlier = read_json(index)["explanations"] if index.exists() else []
    return [entry for entry in earlier if entry["attribution"] not in made]


def _free_name(record_id: str, taken: list[str]) -> str:
    """Return a name for the results of a record: its own, with a number where another record has it already."""
    name, number = record_id, 1
    while name in taken:
        number += 1
        name = f"{record_id}-{number}"
    return name


def _entry(explanation: Explanation, path: Path, marks: Fiducials) -> dict[str, Any]:
    from ecglens.shares import share_out, where_sentence

    shares = share_out(explanation, marks)
    return {
        "file": str(path),
        "record_id": explanation.record_id,
        "target": explanation.target,
        "method": explanation.method,
        "probability": explanation.probability,
        "leads": list(explanation.leads),
        "fs": explanation.fs,
        "start": explanation.start,
        "unit": explanation.unit,
        "resolution_ms": explanation.resolution_ms,
        "verdict": explanation.verdict,
        "completeness_gap": explanation.completeness_gap,
        "warnings": list(explanation.warnings),
        "share_by_lead": explanation.share_by_lead(),
        "sentence": where_sentence(explanation, shares),
        "shares": shares.as_rows(),
    }


def _slug(target: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in target.replace(" - ", "-vs-"))


def _percent(probability: float | None) -> str:
    return "difference" if probability is None else f"{probability:.3f}"


def _versions() -> list[tuple[str, str]]:
    from ecglens.runs.run import provenance

    return [(name, version) for name, version in provenance()["versions"].items() if name in ("ecglens", "torch")]
