# SPDX-License-Identifier: Apache-2.0
"""The page of a risk assessment, for a data officer: the worst attacker first, then how, among how many, what not.

Aggregates only: nothing on it, and nothing in the run folder, says whose a record is.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import InputError
from ecglens.plotting.curves import plot_roc
from ecglens.plotting.identification import plot_det, plot_gallery
from ecglens.plotting.style import figure_bytes
from ecglens.privacy import unveiled
from ecglens.privacy.attackers import ATTACKERS
from ecglens.privacy.feature_shares import largest_first
from ecglens.privacy.left_out import by_reason, in_words
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.beat_parts import beat_sections
from ecglens.reporting.identification_controls import controls_section
from ecglens.reporting.risk import TITLES, among_how_many, first_section, worst, worst_by
from ecglens.runs.files import read_json
from ecglens.runs.run import Run
from ecglens.statistics.classification import FIGURES
from ecglens.statistics.figures import interval, number

RESULT = "identification.json"
_SAYS = {
    "verification": "Are two recordings of one person? Asked of people that no attacker was trained on.",
    "open-set": "Who is it, or is it nobody here? Asked of people that no attacker was trained on.",
    "cross-session": "Who is it, by a recording of another day? Asked of people that no attacker was trained on.",
    "closed-set": "Who is it, among people whose other recordings, or another stretch, the attacker was trained on?",
    "paper": "Who is it, by a window out of the very recording the attacker was trained on? Inflated: see below.",
}


def identification_report(run: Run) -> Report:
    """Return the page of a finished run. Raises InputError where it is not finished."""
    about = run.read()
    if not about.get("finished") or not (run.folder / RESULT).exists():
        raise InputError(run.folder, "identify", "not finished", "a finished run", "ecglens identify ... --resume")
    data = read_json(run.folder / RESULT)
    parts = beat_sections(run, data)
    sections = (
        first_section(data), _gallery(run, data), _classes(run, data), *parts, _gone_by(data), _attackers(run, data),
        _repeated(data), controls_section(data), _not_tried(data), _people(about, data),
    )  # fmt: skip
    asked = _SAYS[data["protocol"]] if data["task"] == "person" else _SAID[data["controls"]["inflated"]]
    return Report(
        "What these ECGs give away",
        f"Task {data['task']}, protocol {data['protocol']}: {asked}",
        tuple(section for section in sections if section is not None),
        _provenance(about),
    )


_PARTS = "People in each part. Networks that tell strangers apart choose nothing, and learn from those as well."
_SAID = {
    False: "asked of people that no attacker was trained on.",
    True: "asked of other windows of the very recordings the attacker was trained on. Inflated: see below.",
}


def _gallery(run: Run, data: Mapping[str, Any]) -> Section | None:
    gallery, det = run.read_table("gallery"), run.read_table("det")
    if gallery is None or det is None:
        return None
    curves = {
        kind: {
            str(name): {str(column): rows[column].tolist() for column in rows}
            for name, rows in gallery[(gallery["gallery"] == kind) & (gallery["rank"] == 1)].groupby(
                "model", sort=False
            )
        }
        for kind in ("unseen", "everybody")
    }
    rates = {
        str(name): (rows["fmr"].to_numpy(), rows["fnmr"].to_numpy()) for name, rows in det.groupby("model", sort=False)
    }
    trials = run.read()["n_trials"]
    pictures = (
        Figure(
            figure_bytes(plot_gallery(curves["unseen"])),
            "Share of recordings whose person comes first, by size of the gallery; bands are 95 % intervals over "
            f"{gallery['n_people'].max()} people with {gallery['n_probes'].max()} recordings to look for.",
            "Rank-1 against gallery size by attacker, with the line of chance",
        ),
        *_everybody(curves["everybody"]),
        _ranks(gallery[gallery["gallery"] == "unseen"], worst_by(data, "rank1")),
        Figure(
            figure_bytes(plot_det(rates)),
            f"Both errors: {trials['genuine']:,} comparisons of one person, {trials['impostor']:,} of two.",
            "False non-match rate against false match rate by attacker",
        ),
    )
    how = (
        "The value for a smaller gallery is the exact mean over all galleries of that size. Nothing is extrapolated "
        "beyond the people who were there: in a larger gallery fewer are found. Ranks 5 and 10 of all "
        "attackers stand in tables/gallery.csv."
    )
    return Section("Among how many?", among_how_many(data), pictures, method=how)


def _ranks(rows: pd.DataFrame, model: str) -> Figure:
    """Return the picture of all ranks of the attacker that finds most first."""
    own = rows[rows["model"] == model]
    named = {f"rank {k}": k for k in sorted(own["rank"].unique().tolist())}
    curves = {
        name: {column: own.loc[own["rank"] == k, column].tolist() for column in ("size", "value", "low", "high")}
        for name, k in named.items()
    }
    caption = (
        f"{model}, which finds most first: share of recordings whose person is among the first "
        f"{', '.join(str(k) for k in named.values())}, by size of the gallery of people never trained on."
    )
    return Figure(figure_bytes(plot_gallery(curves, named)), caption, f"Ranks of {model} against gallery size")


def _everybody(curves: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return the picture of the gallery that holds the people trained on as well, where there is one."""
    if not curves:
        return ()
    caption = (
        "The same in a gallery of everybody: beside the people never trained on, from whom all recordings that are "
        "looked for come, it holds those who were. Where both pictures have a size, they say whether that matters."
    )
    scaled = [name for name in curves if name in ATTACKERS and ATTACKERS[name].normed]
    if scaled:
        caption += f" But of {', '.join(scaled)}: this one is by plain cosines, not on the scale of people trained on."
    return (Figure(figure_bytes(plot_gallery(curves)), caption, "Rank-1 against gallery size, everybody in it"),)


def _classes(run: Run, data: Mapping[str, Any]) -> Section | None:
    """Return the section on naming: the table and the curves that the paper has of its six models and three tasks."""
    table, roc = run.read_table("table1"), run.read_table("roc")
    if table is None or roc is None:
        return None
    lines = table.to_dict("records")
    unit = lines[0]["unit"]
    halves = (FIGURES[:4], FIGURES[4:])  # all six with their intervals are wider than a page
    rows = [
        [(str(line["model"]), *(interval(data["models"][line["model"]][metric]) for metric in half)) for line in lines]
        for half in halves
    ]
    asked = [(f"{line['n_people']:,}", f"{line['n_asked']:,}") for line in lines]
    chances = data["models"][lines[0]["model"]]
    caption = (
        f"By {unit}, with 95 % intervals over {lines[0]['n_people']:,} people. Precision, recall and F1 are means over "
        f"classes. Chance: accuracy {number(chances['accuracy']['chance'])}, AUROC 0.5, all others "
        f"{number(chances['recall']['chance'])}."
    )
    heads = [tuple(TITLES[metric].removesuffix(" (macro)") for metric in half) for half in halves]
    tables = (
        Table(("attacker", *heads[0]), tuple(rows[0]), caption),
        Table(
            ("attacker", *heads[1], "people", "windows" if unit == "window" else "answers"),
            tuple((*one, *other) for one, other in zip(rows[1], asked, strict=True)),
        ),
        _costs(lines),
    )
    text = "As in TransECG's Table I and Figure 3. What the paper's split means for such figures is another matter."
    return Section("Named rightly", "", _roc_pictures(roc, data, unit), tables, (text,))


def _roc_pictures(roc: pd.DataFrame, data: Mapping[str, Any], unit: str) -> tuple[Figure, ...]:
    curves = {
        str(model): (rows["fpr"].to_numpy(), rows["tpr"].to_numpy(), interval(data["models"][model]["auroc"]))
        for model, rows in roc[roc["class"] == "mean"].groupby("model", sort=False)
    }
    pictures = [
        Figure(
            figure_bytes(plot_roc(curves)),
            f"One class against all others, mean over classes, by {unit}; beside each attacker its AUROC.",
            "ROC curve of each attacker, mean over classes",
        )
    ]
    model, _ = worst(data)
    own = roc[(roc["model"] == model) & (roc["class"] != "mean")]
    if own["class"].nunique() > 2:  # of two classes the curves mirror each other
        each = {
            str(name): (rows["fpr"].to_numpy(), rows["tpr"].to_numpy(), f"AUROC {_area(rows):.3f}")
            for name, rows in own.groupby("class", sort=True)
        }
        caption = f"{model}: each class against all others."
        pictures.append(Figure(figure_bytes(plot_roc(each)), caption, f"ROC curve of {model} by class"))
    return tuple(pictures)


def _area(points: pd.DataFrame) -> float:
    return float(np.trapezoid(points["tpr"], points["fpr"]))


def _attackers(run: Run, data: Mapping[str, Any]) -> Section:
    named = run.read_table("table1") is not None
    metrics = [m for m in dict.fromkeys(m for each in data["models"].values() for m in each)
               if not (named and m in FIGURES)]  # fmt: skip
    models = list(data["models"])
    rows = tuple(
        (TITLES.get(m, m), *(interval(data["models"][name][m]) if m in data["models"][name] else "" for name in models))
        for m in metrics
    )
    tables = [Table(("figure", *models), rows, "Every attacker on the same splits.")]
    cost = run.read_table("cost")
    if cost is not None and not named:
        tables.append(_costs(cost.to_dict("records")))
    tables.append(Table(("attacker", "what it is"), tuple((name, _says(name)) for name in models), _ARE))
    return Section("Other figures" if named else "Attackers", "", (), tuple(tables))


_ARE = "What the attackers are. A stand-in is no replication: the attacker that it stands for may do better."


def _says(model: str) -> str:
    if model in unveiled.SAYS:
        return unveiled.SAYS[model]
    return ATTACKERS[model].says if model in ATTACKERS else ""


def _gone_by(data: Mapping[str, Any]) -> Section | None:
    """Return what each attacker that can be read goes by, where any was asked."""
    told = data.get("feature_shares")
    if not told:
        return None
    tables = []
    for model, each in told.items():
        rows = tuple((name, interval(share)) for name, share in largest_first(each["share"])[:_LARGEST])
        kept = "below 1e-9" if each["exact"] else f"{each['gap']:.1e}, NOT exact"
        about = f"about {each['n_people']:,} people, with 95 % intervals over these, " if "n_people" in each else ""
        caption = (
            f"{model}: the {len(rows)} features with the largest shares, by {each['n']:,} answers "
            f"{about}of all folds. "
            f"Largest gap between an answer and what its shares sum to: {kept}."
        )
        tables.append(Table(("feature", "share and 95 % interval"), rows, caption))
    model, each = next(iter(told.items()))
    first, share = largest_first(each["share"])[0]
    how = (
        "Exact Shapley values: of the log-odds of a logistic regression against the training mean, of the "
        "probabilities of a tree. A share is the mean absolute value of a feature over answers and outputs, divided by "
        "the sum over all features; all stand in tables/shares.csv. Where recordings are compared, a feature is how "
        "far apart two are in it, and as many comparisons of one person were asked as of two. The forest is left out: "
        "it would take minutes a window."
    )
    conclusion = f"{model} goes most by {first}: {interval(share)} of all that features add."
    return Section("What readable attackers go by", conclusion, (), tuple(tables), (), how)


_LARGEST = 10


def _costs(lines: Sequence[Mapping[Any, Any]]) -> Table:
    rows = tuple(
        (str(line["model"]), f"{int(line['parameters']):,}", f"{int(line['multiply_adds']):,}",
         f"{line['seconds']:.0f}")
        for line in lines
    )  # fmt: skip
    caption = "What they cost; multiply-additions of one crop or mean beat. Of trees: nodes, and comparisons."
    return Table(("attacker", "parameters", "multiply-additions", "seconds"), rows, caption)


_SEEDS = {False: "One seed each", True: "Explanations and intervals of one seed each"}


def _repeated(data: Mapping[str, Any]) -> Section | None:
    """Return what the figures would have been with other seeds, where attackers were trained several times."""
    told = data.get("repeats")
    if not told:
        return None
    rows = [
        (model, TITLES.get(metric, metric), number(each["values"][0]), number(each["mean"]),
         f"{number(each['least'])} to {number(each['largest'])}")
        for model, figures in told.items() for metric, each in figures.items()
    ]  # fmt: skip
    n = max(len(each["values"]) for figures in told.values() for each in figures.values())
    caption = (
        f"{n} trainings of each attacker on the same splits, with other seeds. Intervals elsewhere are the first's."
    )
    table = Table(("attacker", "figure", "first", "mean", "range"), tuple(rows), caption)
    words = "How much of a figure is the luck of one training? Intervals over people know nothing of it."
    return Section("With other seeds", words, (), (table,))


def _not_tried(data: Mapping[str, Any]) -> Section:
    asked = ", ".join(data["models"])
    others = ", ".join(model for model in (*ATTACKERS, *unveiled.MODELS) if model not in data["models"])
    return Section(
        "What was not tried",
        "A risk that was not measured is not a risk that is not there.",
        text=(
            f"Attackers tried: {asked}. {_SEEDS[bool(data.get('repeats'))]}, one lead, windows of 8 s."
            + (f" Attackers that there are, and were not asked (--model): {others}." if others else ""),
            "Not tried: several leads at once, attackers trained on far more people, what else lies in a folder "
            "(lengths, dates, order of files), linkage with other tables, networks or maps shared beside the ECGs.",
            *(words for part, words in _PARTS_NOT_TRIED.items() if not (data.get("explanations") or {}).get(part)),
        ),
    )


_PARTS_NOT_TRIED = {
    "flattening": "Attackers trained without one part of the beat are not in this run (--causal).",
    "attention": "Where a TransECG looks is not in this run (--explain, with transecg among the attackers).",
}


def _people(about: Mapping[str, Any], told: Mapping[str, Any]) -> Section:
    data = about["data"]
    counts = {
        "database": data["people_by_database"],
        "lead": data["leads"],
        "sex": data["sex"],
        "age": data["age_groups"],
    }
    rows = tuple((kind, str(name), str(n)) for kind, each in counts.items() for name, n in each.items())
    splits = tuple(
        (s["name"], *(str(s[role]) for role in ("train", "valid", "enrol", "probe"))) for s in about["splits"]
    )
    tables = (
        Table(("", "", "people"), rows, f"{data['n_windows']:,} windows of {data['n_records']:,} recordings."),
        Table(("split", "trained on", "to choose on", "in the gallery", "looked for"), splits, _PARTS),
    )
    text = (
        f"Records left out: {in_words(by_reason(data['excluded']))}.",
        f"People left out: {in_words(told.get('people_left_out'))}.",  # runs of before this was counted lack it
        f"Preparation: {data['preparation']}.",
    )
    return Section("Whose ECGs", f"{data['n_people']:,} people.", (), tables, text, str(data["citation"]))


def _provenance(about: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    asked = about["arguments"]
    data = " ".join(f"--data {shlex.quote(str(where))}" for where in asked.get("data", ["DIR"]))
    precision = f"--precision {asked['precision']} " if "precision" in asked else ""
    precision += f"--repeats {asked['repeats']} " if "repeats" in asked else ""
    repeat = (
        f"ecglens identify {data} --task {asked['task']} --protocol {asked['protocol']} "
        f"--model {','.join(asked['models'])} --lead {shlex.quote(asked['lead'])} --preparation {asked['preparation']} "
        f"--windows {asked['per_person']} --folds {asked['n_folds']} --seed {about['seed']} "
        f"{'--explain ' * bool(asked.get('explain'))}{'--causal ' * bool(asked.get('causal'))}"
        f"{precision}--purpose risk-assessment --out DIR"
    )
    facts = (("repeat", repeat), ("seconds", f"{about['seconds']:.0f}"), ("platform", str(about["platform"])))
    return (*facts, *((str(name), str(version)) for name, version in about["versions"].items()))
