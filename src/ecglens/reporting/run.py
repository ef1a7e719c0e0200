# SPDX-License-Identifier: Apache-2.0
"""The page of a run: how good, on whom, by which rule, why, and how to repeat it. The conclusion comes first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import FormatError, InputError
from ecglens.plotting.curves import plot_confusion, plot_history, plot_intervals, plot_precision_recall, plot_roc
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.runs.files import read_bytes, read_json
from ecglens.runs.run import Run
from ecglens.statistics.figures import interval, number
from ecglens.statistics.metrics import confusion, decide, pr_points, roc_points

_MAX_PICTURE = 20 * 2**20


def build_run_report(run: Run) -> Report:
    """Return the page of a run: its evaluations (most recent data first), training, data, explanations, provenance."""
    about = run.read()
    if not about.get("finished"):
        raise InputError(run.folder, "run", "not finished", "a finished training", "ecglens train ... --resume")
    sections: list[Section] = []
    evaluations = [_load_evaluation(path) for path in sorted((run.folder / "evaluations").glob("*/evaluation.json"))]
    for told, scores, predictions in evaluations:
        sections += _evaluation_sections(told, scores, predictions)
    if not evaluations:
        sections.append(_untested(run, about))
    sections += _explanation_sections(run.folder)
    sections += [_training_section(run, about), _data_section(run, about), _limits()]
    data = about["data"]
    subtitle = f"{about['arguments']['recipe']['model']} on {data['name']}; label rule: {data['label_rule']}"
    return Report(f"Run {run.folder.name}", subtitle, tuple(sections), _provenance(run, about))


def _evaluation_sections(told: dict[str, Any], scores: pd.DataFrame, predictions: pd.DataFrame) -> list[Section]:
    macro = told["macro_auroc"]
    where = f"{told['data']}, fold {told['fold']}"
    conclusion = (
        f"Macro AUROC {interval(macro)} on {told['n']} records of {told['n_patients']} patients who were held out "
        f"({where}); chance is 0.5."
    )
    classes = list(told["per_class"])
    auroc = [told["per_class"][name]["auroc"] for name in classes]
    dots = plot_intervals(
        [*classes, "macro"],
        [_nan(f["value"]) for f in [*auroc, macro]],
        [_nan(f["low"]) for f in [*auroc, macro]],
        [_nan(f["high"]) for f in [*auroc, macro]],
        0.5,
        "AUROC, 95 % interval",
    )
    first = Section(
        f"How good: {where}",
        conclusion,
        (
            _figure(
                dots, f"AUROC per class with 95 % intervals, {_n(told)}. The dashed line is chance.", "AUROC per class"
            ),
        ),
        _score_tables(told),
        method=f"Intervals: {macro['method']}, resampling patients, not records. Thresholds come from validation "
        f"patients and were not changed here. Label rule: {told['label_rule']}. Baseline is the better of the two "
        "answers that never look at the ECG (yes to all, no to all).",
    )
    labels = {c: predictions[f"label {c}"].to_numpy(float) for c in classes}
    probabilities = {c: predictions[f"probability {c}"].to_numpy(float) for c in classes}
    usable = [c for c in classes if {0.0, 1.0} <= set(labels[c][~np.isnan(labels[c])])]
    rocs, prs, tables = {}, {}, {}
    for name in usable:
        roc, pr = roc_points(labels[name], probabilities[name]), pr_points(labels[name], probabilities[name])
        figures = told["per_class"][name]
        rocs[name] = (roc.false_positive_rate, roc.sensitivity, interval(figures["auroc"]))
        prevalence = float(np.nanmean(labels[name]))
        prs[name] = (pr.recall, pr.precision, prevalence, interval(figures["average_precision"]))
        if figures["threshold"] is not None:
            counts = confusion(labels[name], decide(probabilities[name], figures["threshold"]))
            tables[name] = np.array([[counts.tn, counts.fp], [counts.fn, counts.tp]])
    curves = [
        _figure(plot_roc(rocs), f"ROC curves, {_n(told)}. AUROC with 95 % interval beside each name.", "ROC curves"),
        _figure(
            plot_precision_recall(prs),
            f"Precision and recall, {_n(told)}. Dashed: chance, the share of records with the label.",
            "Precision-recall curves",
        ),
    ]
    if tables:
        caption = f"Decisions at the validation thresholds, {_n(told)}: counts, and shares of each row."
        curves.append(_figure(plot_confusion(tables), caption, "Confusion tables"))
    second = Section(f"Curves and decisions: {where}", "", tuple(curves))
    return [first, second] if usable else [first]


def _score_tables(told: Mapping[str, Any]) -> tuple[Table, Table]:
    """Return how well classes are told apart, and how good the decisions at the thresholds are."""
    apart, decided = [], []
    for name, figures in {**told["per_class"], "macro": told["macro"]}.items():
        single = name != "macro"
        apart.append(
            (
                name,
                str(figures["auroc"]["n_positive"]) if single else "",
                interval(figures["auroc"]),
                number(figures["auroc"]["chance"]),
                interval(figures["average_precision"]),
                number(figures["average_precision"]["chance"]),
            )
        )
        decided.append(
            (
                name,
                number(figures["threshold"]) if single else "",
                interval(figures["f1"]),
                number(figures["f1"]["baseline"]),
                interval(figures["sensitivity"]),
                interval(figures["specificity"]),
            )
        )
    first = Table(
        ("class", "n+", "AUROC", "chance", "average precision", "chance"),
        tuple(apart),
        f"How well each class is told apart: 95 % intervals, {_n(told)}; n+ is the number with the label.",
    )
    second = Table(
        ("class", "threshold", "F1", "baseline", "sensitivity", "specificity"),
        tuple(decided),
        f"Decisions at the validation thresholds: 95 % intervals, {_n(told)}; baseline is one answer for all.",
    )
    return first, second


def _untested(run: Run, about: Mapping[str, Any]) -> Section:
    valid = about["valid"]
    return Section(
        "How good",
        "Not tested on held-out patients yet.",
        text=(
            f"On the {valid['n']} validation records that chose its epoch the macro AUROC is "
            f"{interval(valid['macro_auroc'])}, which is optimistic.",
            f"Run: ecglens evaluate {run.folder} --data {about['arguments'].get('data', 'DIR')}"
            + (f" --dataset {about['arguments']['dataset']}" if "dataset" in about["arguments"] else ""),
        ),
    )


def _explanation_sections(folder: Path) -> list[Section]:
    index = folder / "explanations" / "explanations.json"
    if not index.exists():
        return []
    entries = read_json(index)["explanations"]
    figures = []
    for entry in entries[:6]:
        picture = folder / "explanations" / Path(entry["picture"]).name
        probability = "" if entry["probability"] is None else f", probability {entry['probability']:.3f}"
        shares = sorted(entry["share_by_lead"].items(), key=lambda item: -item[1])[:3]
        caption = (
            f"Record {entry['record_id']}: {entry['target']}{probability}, by {entry['method']} "
            f"({entry['verdict']} on this model). The largest shares of the map lie in "
            + ", ".join(f"{lead} ({share:.0%})" for lead, share in shares)
            + f"; an even spread would put {1 / max(1, len(entry['leads'])):.0%} in each lead."
        )
        figures.append(Figure(read_bytes(picture, _MAX_PICTURE), caption, f"ECG with explanation of {entry['target']}"))
    verdicts = sorted({entry["verdict"] for entry in entries})
    return [
        Section(
            "Why: single records",
            f"{_counted(len(entries), 'explanation')}; the method is {' / '.join(verdicts)} on this model, so read "
            "them as questions, not as answers.",
            tuple(figures),
            method="Attributions are of the combined logit over all windows, as predicted. Orange: a higher voltage "
            "here raises the logit; blue: it lowers it.",
        )
    ]


def _training_section(run: Run, about: Mapping[str, Any]) -> Section:
    history = run.read_table("history")
    if history is None:
        raise FormatError(run.folder / "tables" / "history.csv", "table", "missing", "written by ecglens train")
    figure = plot_history(
        history["epoch"].tolist(),
        history["train_loss"].tolist(),
        history["valid_macro_auroc"].tolist(),
        about["best_epoch"],
    )
    recipe = about["arguments"]["recipe"]
    valid = about["valid"]
    return Section(
        "Training",
        f"Epoch {about['best_epoch']} of {len(history)} was kept: validation macro AUROC "
        f"{interval(valid['macro_auroc'])} (N = {valid['n']}; chosen on these records, hence optimistic).",
        (_figure(figure, "Training loss and validation macro AUROC by epoch.", "Training history"),),
        method=f"AdamW, learning rate {recipe['lr']}, weight decay {recipe['weight_decay']}, batch {recipe['batch']}, "
        f"augmentation {recipe['augmentation']}, seed {about['seed']}.",
    )


def _data_section(run: Run, about: Mapping[str, Any]) -> Section:
    data = about["data"]
    rows = [
        (part, str(data["n_records"][part]), str(data["n_patients"][part]), *[str(n) for n in counts.values()])
        for part, counts in data["labels"].items()
    ]
    left_out = ", ".join(f"{kind} {count}" for kind, count in data["excluded"].items()) or "nothing"
    return Section(
        "Data",
        f"{sum(data['n_records'].values())} records of {data['name']} were used for training and validation; "
        f"left out: {left_out}.",
        tables=(Table(("part", "records", "patients", *data["classes"]), tuple(rows), "Records with each label."),),
        text=(data["citation"],) if data["citation"] else (),
        method=f"Splits by patient. What was left out, and why: {run.folder.name}/tables/excluded.csv.",
    )


def _limits() -> Section:
    return Section(
        "Limits",
        "These figures hold for patients like those of this data set, recorded like them.",
        text=(
            "Another hospital, device or population is untested until it is tested.",
            "A probability is not a diagnosis. An explanation method is not to be believed before it has been "
            "tested on the very model.",
        ),
    )


def _provenance(run: Run, about: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    arguments = {k: v for k, v in about["arguments"].items() if k not in ("recipe", "seed")}
    repeat = " ".join(
        f"--{k.replace('_', '-')}" if v is True else f"--{k.replace('_', '-')} {v}"
        for k, v in arguments.items()
        if v not in (0, "", None)
    )
    return (
        ("repeat", f"ecglens train {repeat} --seed {about['seed']} --out {run.folder.name}"),
        ("weights SHA-256", about["weights_sha256"]),
        ("data SHA-256", about["data"]["sha256"]),
        ("started", about["started"]),
        *[(name, str(version)) for name, version in about["versions"].items()],
    )


def _load_evaluation(path: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    folder = path.parent
    return read_json(path), pd.read_csv(folder / "scores.csv"), pd.read_csv(folder / "predictions.csv")


def _figure(figure: Any, caption: str, alt: str) -> Figure:
    return Figure(figure_bytes(figure, "svg"), caption, alt)


def _n(told: Mapping[str, Any]) -> str:
    return f"N = {told['n']} records of {told['n_patients']} patients"


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
