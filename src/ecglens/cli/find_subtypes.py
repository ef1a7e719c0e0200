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
    import numpy as np
    import pandas as pd

    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.concepts.subtype_study import Subtyped

FINER_TASK = "subdiagnostic"


def find_subtypes(
    data: Data,
    group: str = typer.Option(
        ..., help="The records to look into: those with this label, or with any of several: AMI,IMI."
    ),
    out: Path = typer.Option(..., help="Run folder to write: subtypes.json, subtypes.html, tables."),
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or a shipped one."),
    by: str = typer.Option("attributions", help="What records are clustered by: attributions, signals, or features."),
    truth: str = typer.Option("", help="Sub-labels to compare with afterwards, joined by comma: AMI,IMI."),
    task: str = typer.Option(FINER_TASK, help="PTB-XL: which labels --truth is of; --group may be too."),
    alone: bool = typer.Option(False, "--alone", help="Leave out records that have none, or several, of --truth's."),
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
    asked = Asked(data, dataset, group, by, truth, task, target, fold, alone)
    raise typer.Exit(conclude(lambda: _find_subtypes(bundle, asked, out, seed, resume), as_json))


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    data: str
    dataset: str | None
    group: str
    by: str
    truth: str
    task: str
    target: str
    fold: str
    alone: bool = False


def _find_subtypes(where: str, asked: Asked, out: Path, seed: int, resume: bool) -> Outcome:
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
    every = load_for(bundle, asked.data, asked.dataset, every_label=True)
    family, cohort, name = choose_records(where, every, asked.fold)
    group, truth = group_and_truth(bundle, cohort, asked)
    found = run_study(
        family or bundle, cohort, group, out, name=f"{asked.group}{' alone' * asked.alone}", by=asked.by,
        truth=truth, target=asked.target, seed=seed, resume=resume,
        arguments={"bundle": where, "data": asked.data, "fold": name, "truth": asked.truth, "task": asked.task},
        cache=Cache(default_cache()), progress=ProgressLine(),
    )  # fmt: skip
    page = out / PAGE
    with found.run.writing():
        write_report(subtypes_report(found), page)
    told = found.as_dict() | {"fold": name, "run": str(out), "page": str(page)}
    here = {entry["record_id"] for entry in told["excluded"]} & set(cohort.record_ids)
    return Outcome(told, _in_words(found, page), f"open {page}", PARTLY if here or told["without_beats"] else 0)


def group_and_truth(bundle: Bundle, cohort: Cohort, asked: Asked) -> tuple[np.ndarray, pd.Series | None]:
    """Return who is in the group, bool [record], and the sub-label of each record that has exactly one, by record id.

    Raises UsageError for labels that the data do not have, and for `alone` without any to be alone.
    """
    from ecglens.errors import UsageError

    wide, fine = _labels(bundle, cohort, asked)
    group, names = listed(asked.group), listed(asked.truth)
    if not group or not set(group) <= set(wide):
        raise UsageError("find-subtypes", "--group", asked.group, f"one or more of {', '.join(map(str, wide))}")
    if len(names) == 1 or not set(names) <= set(fine):
        allowed = (
            f"two or more of {', '.join(map(str, fine))}" if len(fine) > 1 else "none: these data have no sub-labels"
        )
        raise UsageError("find-subtypes", "--truth", asked.truth, allowed)
    inside = wide[group].eq(1).any(axis=1).to_numpy()
    if not names:
        if asked.alone:
            raise UsageError("find-subtypes", "--alone", "no --truth", "with the sub-labels that may stand alone")
        return inside, None
    own, alone = fine[names].eq(1), fine.eq(1).sum(axis=1).eq(1)
    truth = own.idxmax(axis=1).where(own.any(axis=1) & alone)
    return inside & (truth.notna().to_numpy() | (not asked.alone)), truth


def _labels(bundle: Bundle, cohort: Cohort, asked: Asked) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what --group may name, and what --truth may, both under the bundle's own label rule.

    --group: the data set's usual labels (PTB-XL: superclasses), then the bundle's, then those of --task; so whatever a
    network knows, it can be asked about a superclass. A name in several of them (STTC) is that of the first.
    --truth: those of --task; where the data set has no such tasks, all others than the group's.
    """
    from ecglens.cli.evaluate import load_for
    from ecglens.datasets.load import DATASETS, USUAL_TASK

    def of(task: str) -> pd.DataFrame:
        labels = load_for(bundle, asked.data, asked.dataset, task=task).labels
        return labels.reindex(cohort.labels.index).fillna(0.0)

    own, known = cohort.labels, DATASETS.get(cohort.name)
    if known is None or not known.tasks:
        groups = [name for name in listed(asked.group) if name not in listed(asked.truth)]
        return own, own.drop(columns=groups, errors="ignore")
    usual = of(USUAL_TASK)
    fine = of(asked.task) if asked.task in known.tasks or asked.task != FINER_TASK else own
    wide = usual
    for more in (own, fine):
        wide = wide.join(more[[name for name in more if name not in wide]])
    return wide, fine


def _in_words(found: Subtyped, page: Path) -> str:
    from ecglens.reporting.subtypes import clusters_of, covariate_name
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
    apart = [
        (
            covariate_name(one["covariate"]),
            clusters_of(one),
            interval(one),
            "n/a" if one["p"] is None else f"{one['p']:.4f}",
        )
        for one in about["differences"]
    ]
    header = ("largest difference in", "clusters", "difference", "p (Holm)")
    text += f"\n\n{columns(header, apart)}"
    if about["accuracy"] is not None:
        text += (
            f"\n\nAgainst {', '.join(about['sublabels'])}: accuracy {interval(about['accuracy'])}, adjusted Rand index "
            f"{interval(about['ari'])}, majority {about['majority']:.3f}; upper bound, chosen by the labels: "
            f"{interval(about['upper_bound']['accuracy'])}"
        )
    return f"{text}\n\nPage: {page}"
