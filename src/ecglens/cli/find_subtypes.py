# SPDX-License-Identifier: Apache-2.0
"""`ecglens find-subtypes`: clusters inside a diagnosis, found without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, columns, conclude, listed

if TYPE_CHECKING:
    import pandas as pd

    from ecglens.cohort import Cohort
    from ecglens.concepts.subtype_study import Subtyped


def find_subtypes(
    data: Data,
    group: str = typer.Option(..., help="The records to look into: those with this label."),
    out: Path = typer.Option(..., help="Run folder to write: subtypes.json, subtypes.html, tables."),
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or a shipped one."),
    by: str = typer.Option("attributions", help="What records are clustered by: attributions, signals, or features."),
    truth: str = typer.Option("", help="Sub-labels to compare with afterwards, joined by comma: AMI,IMI."),
    task: str = typer.Option("subdiagnostic", help="PTB-XL: which labels --truth (and --group) are of."),
    target: str = typer.Option("called", help="Whose logit is explained: called (each record's highest), or a class."),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="Of one bundle: a fold, several, or all; default as in `evaluate`."),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where such a run was cut off."),
    as_json: Json = False,
) -> None:
    """Cluster the records of one diagnosis by what a network makes of them, and say how the clusters differ.

    Example: ecglens find-subtypes runs/folds --data ptbxl/ --group MI --truth AMI,IMI --out runs/mi
    """
    asked = _Asked(data, dataset, group, by, truth, task, target, fold)
    raise typer.Exit(conclude(lambda: _find_subtypes(bundle, asked, out, seed, resume), as_json))


@dataclass(frozen=True)
class _Asked:
    """What was typed."""

    data: str
    dataset: str | None
    group: str
    by: str
    truth: str
    task: str
    target: str
    fold: str


def _find_subtypes(where: str, asked: _Asked, out: Path, seed: int, resume: bool) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import choose_records, load_for
    from ecglens.concepts.subtype_study import find_subtypes as run_study
    from ecglens.concepts.subtype_vectors import BY, CALLED
    from ecglens.errors import UsageError
    from ecglens.reporting.html import write_report
    from ecglens.reporting.subtypes import PAGE, subtypes_report
    from ecglens.runs.cache import Cache, default_cache

    if asked.by not in BY:
        raise UsageError("find-subtypes", "--by", asked.by, ", ".join(BY))
    bundle = Bundle.load(where)
    if asked.target != CALLED:
        bundle.target_row(asked.target)
    family, cohort, name = choose_records(where, load_for(bundle, asked.data, asked.dataset), asked.fold)
    labels = _labels(cohort, asked)
    if asked.group not in labels:
        raise UsageError("find-subtypes", "--group", asked.group, ", ".join(map(str, labels.columns)))
    found = run_study(
        family or bundle, cohort, labels[asked.group].eq(1).to_numpy(), out, name=asked.group, by=asked.by,
        truth=_truth(labels, cohort, asked), target=asked.target, seed=seed, resume=resume,
        arguments={"bundle": where, "data": asked.data, "fold": name, "truth": asked.truth, "task": asked.task},
        cache=Cache(default_cache()), progress=ProgressLine(),
    )  # fmt: skip
    page = out / PAGE
    with found.run.writing():
        write_report(subtypes_report(found), page)
    told = found.as_dict() | {"fold": name, "run": str(out), "page": str(page)}
    here = {entry["record_id"] for entry in told["excluded"]} & set(cohort.record_ids)
    return Outcome(told, _in_words(found, page), f"open {page}", PARTLY if here or told["without_beats"] else 0)


def _labels(cohort: Cohort, asked: _Asked) -> pd.DataFrame:
    """Return the cohort's labels, joined by those of --task where the data set has tasks."""
    from ecglens.datasets.load import DATASETS, load_cohort

    known = DATASETS.get(cohort.name)
    if known is None or asked.task not in known.tasks:
        return cohort.labels
    other = load_cohort(asked.data, asked.dataset, task=asked.task).labels.reindex(cohort.labels.index).fillna(0.0)
    return cohort.labels.join(other[[name for name in other if name not in cohort.labels]])


def _truth(labels: pd.DataFrame, cohort: Cohort, asked: _Asked) -> pd.Series | None:
    """Return the one sub-label of each record that has exactly one of all that the task knows."""
    from ecglens.errors import UsageError

    names = listed(asked.truth)
    unknown = [name for name in names if name not in labels]
    if unknown or len(names) == 1:
        allowed = "two or more of " + ", ".join(map(str, labels.columns))
        raise UsageError("find-subtypes", "--truth", asked.truth, allowed)
    if not names:
        return None
    finer = [name for name in labels if name not in cohort.labels] or list(labels)
    alone = labels[finer].eq(1).sum(axis=1).eq(1)
    own = labels[names].eq(1)
    return own.idxmax(axis=1).where(own.any(axis=1) & alone)


def _in_words(found: Subtyped, page: Path) -> str:
    from ecglens.statistics.figures import interval

    about: dict[str, Any] = found.about
    chosen = about["chosen"]
    rows = [
        (str(one["id"]), f"{one['n']:,}", interval(one["share_female"]), interval(one["age"]))
        for one in about["clusters"]
    ]  # fmt: skip
    text = (
        f"{about['group']} by {about['by']}: {about['n']:,} records of {about['n_patients']:,} patients, "
        f"{chosen['k']} clusters ({chosen['method']}), {'stable' if chosen['stable'] else 'not stable'}\n"
        f"Label rule: {about['label_rule']}\n\n{columns(('cluster', 'records', 'share female', 'age'), rows)}"
    )
    if about["accuracy"] is not None:
        text += (
            f"\n\nAgainst {', '.join(about['sublabels'])}: accuracy {interval(about['accuracy'])}, adjusted Rand index "
            f"{interval(about['ari'])}, majority {about['majority']:.3f}; upper bound, chosen by the labels: "
            f"{interval(about['upper_bound']['accuracy'])}"
        )
    return f"{text}\n\nPage: {page}"
