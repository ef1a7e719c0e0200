# SPDX-License-Identifier: Apache-2.0
"""What an evaluation says, as sections of a page: how good, whether to believe it, what it is worth, for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from ecglens.plotting.calibration import plot_cooccurrence, plot_decision_curves, plot_reliability
from ecglens.plotting.curves import plot_confusion, plot_intervals, plot_precision_recall, plot_roc
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Section, Table
from ecglens.statistics.figures import interval, interval_methods, number
from ecglens.statistics.metrics import confusion, decide, pr_points, roc_points

PANELS = 6  # classes that get a panel of their own, the most frequent ones


def evaluation_sections(told: dict[str, Any], predictions: pd.DataFrame) -> list[Section]:
    """Return the sections of one evaluation, from `evaluation.json` and `predictions.csv`."""
    where = f"{told['data']}, fold {told['fold']}"
    sections = [_how_good(told, where), _curves(told, predictions, where)]
    if "calibration" in told:  # evaluations of earlier versions have scores alone
        sections += [
            _calibration(told, where),
            _decisions(told, where),
            _together(told, where),
            _subgroups(told, where),
        ]
    return [section for section in sections if section is not None]


# ------------------------------------------------------------------------------------------------ how good, and curves


def _how_good(told: dict[str, Any], where: str) -> Section:
    macro, classes = told["macro_auroc"], list(told["per_class"])
    held_out = "of a data set with labels of its own" if "label_map" in told else "who were held out"
    auroc = [*(told["per_class"][name]["auroc"] for name in classes), macro]
    values, lows, highs = ([_nan(figure[key]) for figure in auroc] for key in ("value", "low", "high"))
    dots = plot_intervals([*classes, "macro"], values, lows, highs, 0.5, "AUROC, 95 % interval")
    caption = f"AUROC per class with 95 % intervals, {_n(told)}. The dashed line is chance."
    return Section(
        f"How good: {where}",
        f"Macro AUROC {interval(macro)} on {told['n']} records of {told['n_patients']} patients {held_out} "
        f"({where}); chance is 0.5.",
        (_figure(dots, caption, "AUROC per class"),),
        _score_tables(told),
        (*told.get("warnings", []), *_mapped(told)),
        method=f"Intervals: {interval_methods(told)}; resampling patients, not records. Thresholds come from "
        f"validation patients and were not changed here. Label rule: {told['label_rule']}. Baseline is the better of "
        "the two answers that never look at the ECG (yes to all, no to all).",
    )


def _mapped(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what a label map did."""
    if "label_map" not in told:
        return ()
    unused = ", ".join(f"{entry['label']} ({entry['records']})" for entry in told["label_map"]["not_used"])
    return (
        f"Labels come from {told['data']} through the map {told['label_map']['file']}. They are not the labels the "
        "network was trained on: another rule, other readers. A low figure may be the network's fault or the map's.",
        f"Labels that were not used, with the number of records that have them: {unused or 'none'}.",
    )


def _score_tables(told: Mapping[str, Any]) -> tuple[Table, Table]:
    """Return how well classes are told apart, and how good the decisions at the thresholds are."""
    apart, decided = [], []
    for name, figures in {**told["per_class"], "macro": told["macro"]}.items():
        single = name != "macro"
        n_positive = str(figures["auroc"]["n_positive"]) if single else ""
        ranked, found = figures["auroc"], figures["average_precision"]
        apart.append(
            (name, n_positive, interval(ranked), number(ranked["chance"]), interval(found), number(found["chance"]))
        )
        f1 = figures["f1"]
        cells = [interval(figures[metric]) for metric in ("ppv", "sensitivity", "specificity")]
        threshold = number(figures["threshold"]) if single else ""
        decided.append((name, n_positive, threshold, *cells, interval(f1), number(f1["baseline"])))
    first = Table(
        ("class", "n+", "AUROC", "chance", "average precision", "chance"),
        tuple(apart),
        f"How well each class is told apart: 95 % intervals, {_n(told)}; n+ is the number with the label.",
    )
    second = Table(
        ("class", "n+", "threshold", "precision", "sensitivity", "specificity", "F1", "baseline"),
        tuple(decided),
        f"Decisions at the validation thresholds: 95 % intervals, {_n(told)}; baseline is F1 of one answer for all. "
        "Sensitivity is also called recall.",
    )
    return first, second


def _curves(told: Mapping[str, Any], predictions: pd.DataFrame, where: str) -> Section | None:
    rocs, prs, tables = {}, {}, {}
    for name, figures in told["per_class"].items():
        labels = predictions[f"label {name}"].to_numpy(float)
        said = predictions[f"probability {name}"].to_numpy(float)
        if not {0.0, 1.0} <= set(labels[~np.isnan(labels)]):
            continue
        roc, pr = roc_points(labels, said), pr_points(labels, said)
        rocs[name] = (roc.false_positive_rate, roc.sensitivity, interval(figures["auroc"]))
        prevalence = float(np.nanmean(labels))
        prs[name] = (pr.recall, pr.precision, prevalence, interval(figures["average_precision"]))
        called = _called(name, figures["threshold"], predictions)
        if called is not None:
            counts = confusion(labels, called)
            tables[name] = np.array([[counts.tn, counts.fp], [counts.fn, counts.tp]])
    if not rocs:
        return None
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
    return Section(f"Curves and decisions: {where}", "", tuple(curves))


def _called(name: str, threshold: float | None, predictions: pd.DataFrame) -> np.ndarray | None:
    """Return who was called: by the threshold, or, in a family, by the threshold of each record's own fold."""
    if f"called {name}" in predictions:
        return predictions[f"called {name}"].to_numpy(float) == 1
    return None if threshold is None else decide(predictions[f"probability {name}"].to_numpy(float), threshold)


# ------------------------------------------------------------------------------------- to believe it, and to act on it


def _calibration(told: Mapping[str, Any], where: str) -> Section | None:
    classes = told["calibration"]["per_class"]
    usable = {name: about for name, about in classes.items() if about["brier"]["value"] is not None}
    if not usable:
        return None
    shown = _most_frequent({name: about["brier"]["n_positive"] for name, about in usable.items()})
    curves = {}
    for name in shown:
        bins = usable[name]["reliability"]
        columns = (np.array([point[key] for point in bins]) for key in ("mean_probability", "observed", "low", "high"))
        said, observed, low, high = columns
        curves[name] = (said, observed, low, high, f"slope {_short(usable[name]['slope'])}")
    caption = (
        f"Reliability, {_n(told)}: records in bins of equal number by rising probability; points below the dashed line "
        f"were promised too much. Bars: 95 % intervals of each share.{_others(shown, classes)}"
    )
    rows, fitted = [], []
    for name, about in classes.items():
        said = about["mean_probability"]
        fitted.append((name, *(_short(about[metric]) for metric in ("slope", "intercept", "level"))))
        error = f"{number(about['ece']['value'])} ({number(about['ece']['reference'])})"
        brier = (interval(about["brier"]), number(about["brier"]["reference"]))
        rows.append((name, *brier, interval(said), number(said["reference"]), error))
    errors = Table(
        ("class", "Brier", "trivial", "mean probability", "share with label", "error (if perfect)"),
        tuple(rows),
        f"How far off: 95 % intervals, {_n(told)}. Trivial: the Brier score of the prevalence said to everyone. Error: "
        "mean gap of the curve, and in brackets what a perfectly calibrated network would show with as many records.",
    )
    lines = Table(
        ("class", "slope (1)", "intercept (0)", "level (0)"),
        tuple(fitted),
        f"In which direction: 95 % intervals, {_n(told)}. In brackets what is right. Slope below 1: too sure; level "
        "below 0: too high on average.",
    )
    return Section(
        f"Are the probabilities what they say: {where}",
        _calibration_in_words(usable),
        (_figure(plot_reliability(curves), caption, "Reliability curves"),),
        (errors, lines),
        method="Slope and intercept: logistic regression of the label on the logit (Cox). Level: the intercept where "
        "the slope is held at 1; below 0 the probabilities are too high. Trivial Brier score: the prevalence p said "
        "to everyone, p (1 - p). Shares of bins: Wilson intervals with the independent records that patients leave.",
    )


def _calibration_in_words(usable: Mapping[str, Any]) -> str:
    """Say which classes are surely off, and in which direction: those whose interval leaves out the right value."""
    sides = (
        ("slope", 1.0, "too sure", "too timid"),
        ("level", 0.0, "too high", "too low"),
    )
    words = []
    for metric, right, below, above in sides:
        off = {below: [], above: []}  # type: dict[str, list[str]]
        for name, about in usable.items():
            if about[metric]["low"] is not None and about[metric]["high"] < right:
                off[below].append(name)
            elif about[metric]["low"] is not None and about[metric]["low"] > right:
                off[above].append(name)
        words += [f"{side} for {', '.join(names)}" for side, names in off.items() if names]
    if not words:
        return "No class shows probabilities that are surely off; the intervals say how much that is worth."
    return f"The probabilities are {'; '.join(words)}."


def _decisions(told: Mapping[str, Any], where: str) -> Section | None:
    classes = {name: curve for name, curve in told["decision_curves"]["per_class"].items() if curve["threshold"]}
    if not classes:
        return None
    shown = _most_frequent({name: told["per_class"][name]["auroc"]["n_positive"] for name in classes})
    keys = ("threshold", "net_benefit", "low", "high", "treat_all")  # null where few patients have the label
    curves = {name: tuple(np.array([_nan(v) for v in classes[name][key]]) for key in keys) for name in shown}
    caption = (
        f"Net benefit of acting on the probability, {_n(told)}, with 95 % bands; beside it treating all (dashed) and "
        f"treating none (0).{_others(shown, told['per_class'])}"
    )
    rows = [(name, _worth(curve)) for name, curve in classes.items()]
    words = "Where the interval of the gain over the better of treating all and treating none lies above 0."
    tables = [Table(("class", "acting beats both defaults"), tuple(rows), words)]
    if told["operating_points"]:
        tables.append(_points_table(told))
    return Section(
        f"Is acting on it worth it: {where}",
        "The network is worth acting on where its curve lies above both lines.",
        (_figure(plot_decision_curves(curves), caption, "Decision curves"),),  # type: ignore[arg-type]
        tuple(tables),
        method="Net benefit: true positives per record minus false positives per record times t / (1 - t), where t is "
        "the probability from which one acts (Vickers and Elkin 2006). Bands hold threshold by threshold.",
    )


def _worth(curve: Mapping[str, Sequence[float]]) -> str:
    """Say between which thresholds the gain is surely above 0."""
    if all(low is None for low in curve["gain_low"]):
        return "too few patients to say"
    gains = zip(curve["threshold"], curve["gain_low"], strict=True)
    stretches = [
        [t for t, _ in run] for sure, run in groupby(gains, lambda one: one[1] is not None and one[1] > 0) if sure
    ]
    told = [f"{run[0]:.0%}" + f" to {run[-1]:.0%}" * (len(run) > 1) for run in stretches]
    return ", ".join(told) if told else "nowhere for sure"


def _points_table(told: Mapping[str, Any]) -> Table:
    rows = [
        (
            point["rule"], point["class"], number(point["threshold"]), interval(point["sensitivity"]),
            interval(point["specificity"]), interval(point["ppv"]),
        )
        for point in told["operating_points"]
    ]  # fmt: skip
    return Table(
        ("thresholds by", "class", "threshold", "sensitivity", "specificity", "precision"),
        tuple(rows),
        f"Thresholds that validation patients chose, and what they give here: 95 % intervals, {_n(told)}.",
    )


# -------------------------------------------------------------------------------------------- together, and for whom


def _together(told: Mapping[str, Any], where: str) -> Section | None:
    found = told["cooccurrence"]
    classes, truth, called = found["classes"], np.array(found["true_and_true"]), np.array(found["true_and_called"])
    if len(classes) < 2:
        return None
    totals = np.diag(truth).copy()
    return Section(
        f"Labels that come together: {where}",
        "",
        (
            _figure(plot_cooccurrence(classes, truth, totals, "has also the label"),
                    f"Rows: records with the label; columns: with that label, too. {_n(told)}.",
                    "Labels that come together in truth"),
            _figure(plot_cooccurrence(classes, called, totals, "was called"),
                    f"Rows: records with the label; columns: called at the validation thresholds. {_n(told)}. The "
                    "diagonal is the sensitivity; beside it, calls that the first table does not bear out are wrong, "
                    "but wrong and missed ones may cancel.",
                    "Labels and calls that come together"),
        ),
    )  # fmt: skip


def _subgroups(told: Mapping[str, Any], where: str) -> Section | None:
    entries = told["subgroups"]
    if not entries:
        return None
    shown = _most_frequent({name: figures["auroc"]["n_positive"] for name, figures in told["per_class"].items()})
    tables, small = [], 0
    for by in dict.fromkeys(entry["by"] for entry in entries):
        groups: dict[str, dict[str, Any]] = {}
        for entry in entries:
            if entry["by"] == by:
                groups.setdefault(entry["group"], {})[entry["class"]] = entry
        rows = []
        for group, cells in groups.items():
            few = all(cells[name]["auroc"]["value"] is None for name in shown)
            small += few
            if not few:
                n = max(cells[name]["n"] for name in shown)
                rows.append((_unbroken(group), str(n), *(_cell(cells[name]) for name in shown)))
        if rows:
            caption = f"AUROC by {by}, 95 % intervals; n+ is the number of records with the label."
            tables.append(Table((by, "n", *shown), tuple(rows), caption))
    groups_are = "1 group is" if small == 1 else f"{small} groups are"
    left_out = f"{groups_are} too small in every class, and not shown. " if small else ""
    return Section(
        f"For whom: {where}",
        "How well classes are told apart within groups of these patients."
        if tables
        else "No group of these patients is large enough to be scored.",
        tables=tuple(tables),
        text=(
            f"{left_out}A cell with fewer than 10 patients who have the label, or who lack it, is not scored. "
            "Many cells are looked at together: one interval in twenty misses the truth by chance, so a difference is "
            "a question for more data, not an answer.",
        ),
        method="Sensitivity and specificity per group stand in evaluation.json, `subgroups`.",
    )


def _cell(entry: Mapping[str, Any]) -> str:
    """Return AUROC with its interval, or that the cell is too small, and how many have the label."""
    figure = "too small" if entry["auroc"]["value"] is None else _short(entry["auroc"])
    return f"{_unbroken(figure)}, {_unbroken('n+ ' + str(entry['n_positive']))}"


def _unbroken(words: str) -> str:
    """Return words that a narrow table does not part."""
    return words.replace(" ", "\u00a0")


def _most_frequent(n_positive: Mapping[str, int]) -> list[str]:
    """Return the classes that get a panel: the most frequent ones, in their order."""
    chosen = sorted(n_positive, key=lambda name: -n_positive[name])[:PANELS]
    return [name for name in n_positive if name in chosen]


def _others(shown: Sequence[str], classes: Mapping[str, Any]) -> str:
    return "" if len(shown) == len(classes) else f" The {len(shown)} most frequent of {len(classes)} classes."


def _figure(figure: Any, caption: str, alt: str) -> Figure:
    return Figure(figure_bytes(figure, "svg"), caption, alt)


def _n(told: Mapping[str, Any]) -> str:
    return f"N = {told['n']} records of {told['n_patients']} patients"


def _short(figure: Mapping[str, Any]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    return "n/a" if value is None or low is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
