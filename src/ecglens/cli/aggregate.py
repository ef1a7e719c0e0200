# SPDX-License-Identifier: Apache-2.0
"""`ecglens aggregate`: where does the evidence for a diagnosis lie, over a whole cohort?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, conclude
from ecglens.cli.verdicts import UNAUDITED_DEFAULT, drawn_methods, verdict_of, verdicts_on

if TYPE_CHECKING:
    from ecglens.aggregation.glocal import Glocal
    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.explainers.explained import ExplainedCohort
    from ecglens.runs.run import Run

ALL, MAPS, RESULT = "all", "maps", "aggregate.json"


def aggregate(
    data: Data,
    where: str = typer.Argument(..., metavar="BUNDLE|RUN", help="A bundle, a family, or a finished `explain --data`."),
    target: str = typer.Option(ALL, help="A class, several by comma, or all."),
    method: str = typer.Option(UNAUDITED_DEFAULT, help="Explanation method."),
    by: str = typer.Option("segment", help="segment: 24 soft segments; beat: -300 to 500 ms around each beat."),
    select: str = typer.Option(
        "labelled", help="Whose maps: labelled, predicted (called so), top100 (largest probability)."
    ),
    compare: str = typer.Option(
        "", help="Also compare groups: sex, age:65, device, site, correct, or another run of `explain --data`."
    ),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="As in explain --data."),
    limit: int = typer.Option(0, min=0, help="The first so many records by name; 0: all."),
    min_beats: int = typer.Option(3, min=1, help="Beats that a record must have for a cell of it to count."),
    audit: str = typer.Option("", help="Folder or audit.json with verdicts; default: beside the bundle, or shipped."),
    even_if_failed: bool = typer.Option(False, "--even-if-failed", help="Use a method that failed the audit, stamped."),
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was cut off; keeps maps that are there."),
    out: Path = typer.Option(..., help="Run folder: maps, tables, aggregate.json and a page."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Average the explanations of a cohort in cells: segments of leads, or phases of the beat.

    Example: ecglens aggregate runs/family --data ptbxl/ --target IMI --method saliency --by segment --out runs/imi
    """
    asked = Asked(where, data, target, method, by, select, compare, dataset, fold, limit, min_beats, audit,
                  even_if_failed, seed)  # fmt: skip
    raise typer.Exit(conclude(lambda: _aggregate(asked, out, resume), as_json))


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    where: str
    data: str
    target: str
    method: str
    by: str
    select: str
    compare: str
    dataset: str | None
    fold: str
    limit: int
    min_beats: int
    audit: str
    even_if_failed: bool
    seed: int


@dataclass(frozen=True)
class _Source:
    """Where the maps come from: a bundle (or family) that is still to explain, or a run that has."""

    bundle: Bundle | None
    explained: ExplainedCohort | None
    cohort: Cohort
    verdict: str
    name: str


def _aggregate(asked: Asked, out: Path, resume: bool) -> Outcome:
    from ecglens.aggregation.glocal import Averaging, refuse_other_data
    from ecglens.aggregation.glocal import aggregate as average
    from ecglens.aggregation.marks import marks_cache
    from ecglens.aggregation.selection import SELECTIONS, check_comparison
    from ecglens.errors import UsageError
    from ecglens.explainers.explained import ExplainedCohort
    from ecglens.runs.run import Run

    how = Averaging(asked.by, asked.select, asked.compare, asked.min_beats, seed=asked.seed)
    other = None
    if asked.select not in SELECTIONS:
        raise UsageError("aggregate", "--select", asked.select, ", ".join(SELECTIONS))
    if (Path(asked.compare) / "run.json").exists() and asked.compare:
        other, how = ExplainedCohort.open(asked.compare), replace(how, compare="")
    source = _source(asked)
    if other is not None:  # what is drawn of both is worth what the lesser of them is
        source = replace(source, verdict=_worst([source.verdict, _verdict(asked, other, asked.compare, "")]))
    if how.compare:
        check_comparison(how.compare, source.cohort)
    run = Run(out)
    with run.writing():
        run = Run.create(out, "aggregate", vars(asked), asked.seed, resume)
        explained = source.explained or _explain(asked, source, run)
        targets = _targets(asked, explained)
        if other is not None:
            refuse_other_data(other, explained, targets, asked.method)
        found, left_out = average(
            explained, source.cohort, targets, asked.method, how, other=other, cache=marks_cache(),
            progress=ProgressLine(),
        )  # fmt: skip
        found = [replace(one, verdict=source.verdict) for one in found]
        return _write(asked, source, run, found, left_out, explained)


def _source(asked: Asked) -> _Source:
    """Find the maps or who makes them, and refuse a method that failed the audit."""
    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import load_for
    from ecglens.errors import UsageError
    from ecglens.explainers.explained import ExplainedCohort
    from ecglens.explainers.methods import find_methods
    from ecglens.runs.run import Run

    about = Run(Path(asked.where)).read() if (Path(asked.where) / "run.json").exists() else {}
    if about.get("verb") == "explain":
        explained = ExplainedCohort.open(asked.where)
        for option, given in (("--fold", asked.fold), ("--limit", asked.limit)):
            if given:
                raise UsageError(asked.where, option, given, "none with maps that are made", "explain those records")
        if asked.method not in explained.methods:
            raise UsageError(asked.where, "--method", asked.method, ", ".join(explained.methods))
        cohort = _cohort_of(explained, asked)
        made_by = str(explained.about["arguments"]["bundle"])
        return _Source(None, explained, cohort, _verdict(asked, explained, asked.where, asked.audit), made_by)
    bundle = Bundle.load(asked.where)
    methods = find_methods(asked.method, {})
    if len(methods) != 1:
        raise UsageError("aggregate", "--method", asked.method, "one method")
    verdicts = verdicts_on(bundle, asked.where, asked.audit)
    drawn_methods(methods, verdicts, asked.even_if_failed)
    cohort = load_for(bundle, asked.data, asked.dataset)
    _refuse_few_labelled(asked, cohort)
    return _Source(bundle, None, cohort, verdict_of(methods[0], verdicts), bundle.name)


def _cohort_of(explained: ExplainedCohort, asked: Asked) -> Cohort:
    """Load the records that a run was asked about.

    Labels are those that the run wrote down; of records that it left out those of the same label rule, else unknown.
    """
    from ecglens.datasets.load import load_cohort
    from ecglens.errors import ContractError
    from ecglens.prediction.evaluate import people_of

    how = explained.about.get("loaded_with", {"keep_unlabelled": True})  # a run by hand does not say
    cohort = load_cohort(asked.data, asked.dataset, classes=explained.classes, **how)
    owners = dict(zip(cohort.record_ids, people_of(cohort), strict=True))
    theirs = explained.records["patient"].astype(str)
    missing = {str(record) for record, patient in theirs.items() if owners.get(str(record)) != patient}
    if missing:
        raise ContractError(
            asked.data, "records",
            f"{len(missing)} of {len(explained)} are not there, or are another patient's, such as {min(missing)}",
            "the cohort that the run explained", "give the same --data",
        )  # fmt: skip
    written = explained.records[[f"label {name}" for name in explained.classes]]
    written = written.set_axis(list(explained.classes), axis=1).astype(float)
    rule = explained.about["label_rule"]
    labels = cohort.labels.reindex(columns=list(explained.classes))
    if cohort.label_rule != rule:
        labels = labels * float("nan")
    labels.loc[written.index] = written
    return replace(cohort, labels=labels, label_rule=rule)


def _verdict(asked: Asked, explained: ExplainedCohort, where: str, audit: str) -> str:
    """Return the worst verdict on the method for all networks that made the maps at `where`.

    Where no audit of a network is at hand, the verdict that travels with the maps counts. Raises UnsafeError for a
    failed one.
    """
    from ecglens.auditing.verdicts import Verdicts, find_verdicts
    from ecglens.errors import InputError
    from ecglens.explainers.methods import find_methods

    methods = find_methods(asked.method, {})
    noted = Verdicts(explained.verdicts, {asked.method: f"{explained.verdicts.get(asked.method)}, as these maps note"})
    here = [find_verdicts(one, audit or where) for one in explained.about["arguments"]["weights_sha256"]]
    if audit and not all(found.audited for found in here):
        raise InputError(
            audit, "audit", "none of some of these weights", f"one of each of {len(here)} networks",
            "audit them, or leave --audit out", kind="missing_audit",
        )  # fmt: skip
    each = [found if found.audited else noted for found in here]
    for verdicts in each:
        drawn_methods(methods, verdicts, asked.even_if_failed)
    return _worst([verdict_of(methods[0], verdicts) for verdicts in each])


def _worst(verdicts: list[str]) -> str:
    from ecglens.explanation import NOT_TESTED

    return next(verdict for verdict in ("fails", NOT_TESTED, "passes") if verdict in verdicts)


def _explain(asked: Asked, source: _Source, run: Run) -> ExplainedCohort:
    """Explain the cohort into the folder `maps`, or take the maps that are there."""
    from ecglens.cli.explain import CohortChoice, explain_records, target_names
    from ecglens.explainers.methods import find_methods

    assert source.bundle is not None
    folder, methods = run.folder / MAPS, find_methods(asked.method, {})
    begun = (folder / "run.json").exists()
    chosen = CohortChoice(asked.data, asked.dataset, asked.fold, asked.limit, begun)
    targets, verdicts = target_names(asked.target), {asked.method: source.verdict}
    return explain_records(
        asked.where, source.bundle, source.cohort, chosen, targets, methods, folder, verdicts=verdicts
    )[0]  # fmt: skip


def _refuse_few_labelled(asked: Asked, cohort: Cohort) -> None:
    """Raise InputError where no target has enough labelled records: known before hours go into their maps."""
    from ecglens.aggregation.selection import LABELLED, refuse_few_labelled
    from ecglens.cli.evaluate import choose_records
    from ecglens.cli.explain import first_records, target_names

    if asked.select != LABELLED:
        return
    part = first_records(choose_records(asked.where, cohort, asked.fold)[1], asked.limit)
    named = target_names(asked.target)
    refuse_few_labelled(part, list(part.classes) if ALL in named else [name for name in named if name in part.classes])


def _targets(asked: Asked, explained: ExplainedCohort) -> list[str]:
    """Return the targets that are classes. Raises UsageError for another word."""
    from ecglens.cli.explain import target_names
    from ecglens.errors import UsageError

    named = target_names(asked.target)
    if ALL in named:
        return [name for name in explained.targets if name in explained.classes]
    for name in named:
        if name not in explained.targets or name not in explained.classes:
            raise UsageError("aggregate", "--target", name, f"all, or of {', '.join(explained.targets)}")
    return named


def _write(
    asked: Asked, source: _Source, run: Run, found: list[Glocal], left_out: dict[str, str], explained: ExplainedCohort
) -> Outcome:
    """Write tables, the result and the page; return what is said."""
    import pandas as pd

    from ecglens.aggregation.tables import as_dict, counts, difference_rows, sentence, table_rows
    from ecglens.cli.explain import target_names, versions
    from ecglens.reporting.glocal import INDEX, glocal_report
    from ecglens.reporting.html import write_report
    from ecglens.runs.files import write_json

    for one in found:
        name = one.target.replace("/", "-")
        run.write_table(f"cells-{name}", pd.DataFrame(table_rows(one)))
        for between in (*([one.against] if one.against else []), *one.groups):
            rows = pd.DataFrame(difference_rows(one, between, only_differing=False))
            run.write_table(f"difference-{name}-{between.b.replace('/', '-').replace(' ', '-')}", rows)
        excluded = pd.DataFrame(sorted(one.excluded.items()), columns=["record_id", "reason"])
        run.write_table(f"excluded-{name}", excluded)
    page = run.folder / INDEX
    provenance = [("bundle", source.name), ("data", source.cohort.name), ("seed", str(asked.seed)), *versions()]
    write_report(glocal_report(found, left_out, source.cohort.name, provenance), page)
    told = [as_dict(one) for one in found]
    result: dict[str, Any] = (
        told[0] if asked.target != ALL and len(target_names(asked.target)) == 1 else {"targets": told}
    )
    result |= {"run": str(run.folder), "page": str(page), "left_out": left_out}
    write_json(run.folder / RESULT, {"schema": 1} | result)
    run.note(finished=True, n_explained=len(explained), targets=[one.target for one in found])
    stamp = "" if source.verdict == "passes" else f"\n{asked.method} {_stamp(source.verdict)} on these weights."
    text = "\n".join(sentence(one) for one in found) + stamp
    for one in found:
        if one.excluded:
            why = ", ".join(f"{reason} {n:,}" for reason, n in counts(one.excluded).items())
            text += f"\nLeft out of {one.target}: {len(one.excluded):,} records ({why})"
    text += "".join(f"\nLeft out: {why}" for why in left_out.values())
    text += "".join(f"\nNot compared, {one.target}: {few.reason}" for one in found for few in one.not_compared)
    lacking = any(asked.compare and not one.groups for one in found)  # NORM is compared with where it can be
    partly = bool(left_out) or lacking or any(one.excluded for one in found)
    return Outcome(result, text, f"open {page}", PARTLY if partly else 0)


def _stamp(verdict: str) -> str:
    return "failed the audit" if verdict == "fails" else "is not tested"
