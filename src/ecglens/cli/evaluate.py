# SPDX-License-Identifier: Apache-2.0
"""`ecglens evaluate`: how good is a bundle on patients it has never seen?"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, columns, conclude
from ecglens.statistics.figures import interval, interval_methods, number

if TYPE_CHECKING:
    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.datasets.label_map import Mapped
    from ecglens.prediction.evaluate import Evaluation
    from ecglens.runs.run import Run


def evaluate(
    data: Data,
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or `pretrained`."),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="A fold, several (9,10), or all; default: 10 where there are folds, else all."),
    min_likelihood: float | None = typer.Option(None, help="Label rule; default: the bundle's own."),
    label_map: str = typer.Option("", help="CSV that says what labels with other names mean, or a shipped one's name."),
    thresholds: str = typer.Option(
        "", help="Rule of the thresholds: f1, specificity-0.90, ...; default: the bundle's."
    ),
    out: Path | None = typer.Option(None, help="Folder for tables; default: the run folder, where BUNDLE is one."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Score a bundle on held-out patients, with 95 % intervals by patient bootstrap.

    Example: ecglens evaluate runs/first --data ptbxl/ --fold 10
    """
    chosen = Choice(data, dataset, fold, min_likelihood, label_map, thresholds)
    raise typer.Exit(conclude(lambda: _evaluate(bundle, chosen, out, seed), as_json))


@dataclass(frozen=True)
class Choice:
    """On what to test, by which labels and thresholds; empty means as the bundle has it."""

    data: str
    dataset: str | None
    fold: str
    min_likelihood: float | None
    label_map: str
    thresholds: str


def _evaluate(where: str, chosen: Choice, out: Path | None, seed: int) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.prediction.calibration import deciding_by
    from ecglens.preprocessing.prepare import describe_exclusions

    bundle = Bundle.load(where)
    if chosen.thresholds:
        bundle = deciding_by(bundle, chosen.thresholds)
    cohort, mapped, special = _labelled(bundle, chosen)
    result, by_fold, part, name = score(where, bundle, cohort, chosen.fold, seed, chosen.thresholds)
    found = result.as_dict()
    if by_fold:
        found["per_fold"] = {str(k): one.as_dict()["macro_auroc"] for k, one in by_fold.items()}
    found |= {"bundle": bundle.name, "data": cohort.name, "fold": name}
    found["thresholds_by"] = chosen.thresholds or "bundle"
    if mapped:
        found["label_map"] = {"file": chosen.label_map} | mapped.as_dict()
    written = _write(result, found, Path(where), out, f"{cohort.name}-fold-{name}{special}")
    here = {e.record_id for e in result.excluded} & set(part.record_ids)
    reasons = describe_exclusions([e for e in result.excluded if e.record_id in here])
    text = _in_words(bundle, cohort, name, found) + _fold_by_fold(found)
    text += _map_in_words(mapped) if mapped else ""
    text += (
        f"\nLeft out of this fold: {len(here)} ({', '.join(f'{kind} {n}' for kind, n in reasons.items())})"
        if here
        else ""
    )
    next_step = f"ecglens report {where}" if written else ""
    return Outcome(found, text, next_step, PARTLY if here else 0)


def _labelled(bundle: Bundle, chosen: Choice) -> tuple[Cohort, Mapped | None, str]:
    """Return the cohort with labels of the bundle's classes, what a label map did, and how the folder tells it."""
    from ecglens.datasets.label_map import load_label_map
    from ecglens.datasets.load import load_cohort

    own_rule = float(bundle.details.get("arguments", {}).get("min_likelihood", 0))
    rule = own_rule if chosen.min_likelihood is None else chosen.min_likelihood
    special = "" if rule == own_rule else f"-likelihood-{rule:g}"
    special += f"-{chosen.thresholds}" if chosen.thresholds else ""
    if not chosen.label_map:
        return load_for(bundle, chosen.data, chosen.dataset, rule), None, special
    label_map = load_label_map(chosen.label_map)  # it begins at the data set's usual labels
    mapped = label_map.applied(load_cohort(chosen.data, chosen.dataset, min_likelihood=rule), bundle.classes)
    return mapped.cohort, mapped, f"{special}-{label_map.name}"


def score(
    where: str, bundle: Bundle, cohort: Cohort, fold: str, seed: int, thresholds: str = ""
) -> tuple[Evaluation, dict[int, Evaluation], Cohort, str]:
    """Score the bundle at `where` on a fold, a cross-validated family on its own folds by its own `thresholds`.

    Returns the evaluation, that of each fold (families only), the records scored, and the name of the fold.
    """
    from ecglens.prediction.evaluate import evaluate as score_bundle
    from ecglens.prediction.family import evaluate_family
    from ecglens.runs.cache import Cache, default_cache

    cache, progress = Cache(default_cache()), ProgressLine()
    family, part, name = choose_records(where, cohort, fold)
    if family is None:
        if name == "all" and cohort.metadata["fold"].isna().all():
            part, name = strangers_to(bundle, part)
        return score_bundle(bundle, part, seed=seed, cache=cache, progress=progress), {}, part, name
    return *evaluate_family(family, part, rule=thresholds, seed=seed, cache=cache, progress=progress), part, name


def strangers_to(bundle: Bundle, cohort: Cohort) -> tuple[Cohort, str]:
    """Return the records of people who neither trained nor chose the bundle, and the name of that part.

    Data without folds were divided by patient when the bundle was trained: who was held out then is known by the
    others. All are returned where it knows none, or nobody else: then scoring refuses them.
    """
    from dataclasses import replace

    from ecglens.cohort import Excluded

    roles = (bundle.trained_on.holds(role, cohort.patient_keys) for role in ("train", "valid"))
    known = [any(each) for each in zip(*roles, strict=True)]
    if not any(known) or all(known):
        return cohort, "all"
    kept = cohort.take([i for i, seen in enumerate(known) if not seen])
    did = "the patient trained this bundle, or chose its epoch and thresholds"
    left = tuple(Excluded(r, "own_patient", did) for r, seen in zip(cohort.record_ids, known, strict=True) if seen)
    return replace(kept, excluded=(*kept.excluded, *left)), "unseen"


def choose_records(where: str, cohort: Cohort, fold: str) -> tuple[Run | None, Cohort, str]:
    """Return who is asked, on which records, and the name of the fold.

    A family of folds is its run: all records unless a fold is named, each for the network that has not seen its
    patient. A single bundle is None: the fold that `choose_fold` chooses.
    """
    from ecglens.prediction.family import folds_of
    from ecglens.runs.run import Run

    folds = folds_of(where, cohort)
    if folds is None:
        return None, *choose_fold(cohort, fold)
    return Run(Path(where)), *choose_fold(folds, fold or "all")


def load_for(
    bundle: Bundle,
    data: str,
    dataset: str | None = None,
    min_likelihood: float | None = None,
    *,
    task: str = "",
    every_label: bool = False,
) -> Cohort:
    """Load the cohort at `data` with the bundle's labels, under its own label rule unless another is given.

    task          labels of another task than the bundle's, under the same rule
    every_label   of a folder of one's own: also labels that the bundle does not know, which are refused otherwise
    """
    from ecglens.datasets.load import load_cohort

    own = label_options(bundle)
    if min_likelihood is not None:
        own["min_likelihood"] = float(min_likelihood)
    if task:
        own["task"] = task
    return load_cohort(data, dataset, classes=None if every_label else bundle.classes, **own)


def label_options(bundle: Bundle) -> dict[str, Any]:
    """Return what `load_cohort` must be told to give the labels that the bundle learnt."""
    trained_with = bundle.details.get("arguments", {})
    return {
        "task": trained_with.get("task", "superdiagnostic"),
        "min_likelihood": float(trained_with.get("min_likelihood", 0)),
        "keep_unlabelled": bool(trained_with.get("keep_unlabelled", False)),
        "seed": int(bundle.details.get("seed", 0)),
    }


def _fold_by_fold(found: dict) -> str:
    parts = [f"{fold} {interval(figures)}" for fold, figures in found.get("per_fold", {}).items()]
    return f"\nFold by fold, each by the bundle that has not seen it: {'; '.join(parts)}" if parts else ""


def choose_fold(cohort: Cohort, fold: str) -> tuple[Cohort, str]:
    """Return the chosen folds and their name. Raises UsageError for a fold that does not exist."""
    from ecglens.errors import UsageError

    known = sorted({int(f) for f in cohort.metadata["fold"].dropna()})
    name = fold or ("10" if 10 in known else "all")
    if name == "all":
        return cohort, name
    try:
        wanted = [int(part) for part in name.split(",")]
    except ValueError:
        wanted = [-1]
    if not set(wanted) <= set(known):
        allowed = ", ".join(map(str, known)) + ", all" if known else "all (this data set has no folds)"
        raise UsageError(cohort.name, "fold", name, allowed)
    return cohort.where(fold=wanted), name


def _refuse_other_records(folder: Path, result: Evaluation) -> None:
    """Refuse to write over the figures of other records: two folders of data may have one name."""
    from ecglens.errors import UsageError

    before = folder / "predictions.csv"
    if not before.exists():
        return
    with before.open(encoding="utf-8", newline="") as lines:
        told = {row[0] for row in csv.reader(lines) if row} - {"record_id"}
    if not told & set(result.labels.index):
        raise UsageError(
            folder, "evaluation", f"one of {len(told)} other records", "none, or one of these records",
            "choose another --out",
        )  # fmt: skip


def _write(result: Evaluation, found: dict, where: Path, out: Path | None, name: str) -> bool:
    """Write tables to `out`, or into the run that the bundle belongs to; tell whether there was a place."""
    from ecglens.runs.files import write_json, write_text
    from ecglens.runs.run import Run
    from ecglens.statistics.figures import clean

    is_run = (where / "run.json").exists()
    if out is None and not is_run:
        return False
    folder = out / name if out is not None else where / "evaluations" / name
    _refuse_other_records(folder, result)
    with Run(out if out is not None else where).writing():
        table = result.probabilities.add_prefix("probability ").join(result.labels.add_prefix("label "))
        if result.decided is not None:
            table = table.join(result.decided.add_prefix("called "))
        write_text(folder / "predictions.csv", table.to_csv(index_label="record_id"))
        write_text(folder / "scores.csv", result.scores.to_csv(index=False))
        write_json(folder / "evaluation.json", clean({"schema": 1} | found))
    return is_run and out is None


def _in_words(bundle: Bundle, cohort: Cohort, fold: str, found: dict) -> str:
    rows = [
        (
            name,
            str(figures["auroc"]["n_positive"]),
            interval(figures["auroc"]),
            interval(figures["average_precision"]),
            interval(figures["f1"]),
            interval(figures["sensitivity"]),
            interval(figures["specificity"]),
        )
        for name, figures in {**found["per_class"], "macro": found["macro"]}.items()
    ]
    warning = "".join(f"\n{sentence}" for sentence in found["warnings"])
    f1 = {name: figures["f1"]["baseline"] for name, figures in found["per_class"].items()}
    always = ", ".join(f"{name} {value:.3f}" for name, value in f1.items() if value is not None)
    return (
        f"{bundle.name}, tested on {cohort.name}, fold {fold}: macro AUROC {interval(found['macro_auroc'])}, "
        f"N = {found['n']} records of {found['n_patients']} patients (chance 0.5)\n"
        f"Label rule: {found['label_rule']}\n\n"
        + columns(("class", "n+", "AUROC", "average precision", "F1", "sensitivity", "specificity"), rows)
        + f"\n\nIntervals: {interval_methods(found)}. Thresholds were fitted on validation patients."
        f"{warning}\nTrivial baseline (one answer for all), F1: {always}{_trust_in_words(found)}"
    )


def _trust_in_words(found: dict) -> str:
    """Say whether the probabilities may be taken at their word, and what other thresholds would do."""
    rows = []
    for name, told in found["calibration"]["per_class"].items():
        said, brier = told["mean_probability"], told["brier"]
        fitted = (interval(told["slope"]), interval(told["level"]))
        level = (number(said["value"]), number(said["reference"]))
        rows.append((name, interval(brier), number(brier["reference"]), *fitted, *level))
    header = ("class", "Brier", "trivial", "slope (1)", "level (0)", "mean probability", "share with label")
    text = (
        "\n\nCalibration: are probabilities what they say? Slope below 1: too sure; level below 0: too high.\n"
        f"{columns(header, rows)}"
    )
    points = [
        (
            p["rule"],
            p["class"],
            number(p["threshold"]),
            *(interval(p[m]) for m in ("sensitivity", "specificity", "ppv")),
        )
        for p in found["operating_points"]
    ]
    if points:
        titles = ("thresholds by", "class", "threshold", "sensitivity", "specificity", "precision")
        text += f"\n\nWhat other thresholds, fitted on validation patients, give here:\n{columns(titles, points)}"
    return text


def _map_in_words(mapped: Mapped) -> str:
    """Say which labels were not used."""
    text = ""
    for words, labels in (
        ("that no line of the map names", mapped.unmapped),
        ("set aside by the map", mapped.set_aside),
    ):
        if labels:
            counts = sorted(labels.items(), key=lambda item: -item[1])
            text += f"\nLabels {words}: " + ", ".join(f"{name} ({n})" for name, n in counts)
    if mapped.absent:
        text += f"\nIn the map, but not in these data: {', '.join(mapped.absent)}"
    return text + "\nMapped labels are not the labels the bundle was trained on: another rule, other readers."
