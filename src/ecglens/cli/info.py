# SPDX-License-Identifier: Apache-2.0
"""`ecglens data info`: what is in a data set, in words, as JSON and as a page."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import FOLDER, Dataset, Json, MinLikelihood, Seed, Task
from ecglens.cli.console import Outcome, ProgressLine, columns, conclude, exit_code_for

if TYPE_CHECKING:
    from ecglens.datasets.describe import CohortDescription, Prevalence
    from ecglens.datasets.survey import Survey

PAGE, TABLE = "info.html", "info.json"


def info(
    where: str = typer.Argument(metavar="DIR", help=FOLDER),
    dataset: Dataset = None,
    task: Task = "superdiagnostic",
    min_likelihood: MinLikelihood = 0.0,
    out: Path | None = typer.Option(None, help="Folder, or .html file, for the page; info.json goes beside it."),
    signals: bool = typer.Option(True, "--signals/--no-signals", help="Open the ECG files, or leave them closed."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what a data set holds: records, patients, labels, ages, what is missing, damaged or there twice.

    Example: ecglens data info ptbxl/ --out pages/
    """
    raise typer.Exit(conclude(lambda: _info(where, dataset, task, min_likelihood, out, signals, seed), as_json))


def _info(
    where: str, dataset: str | None, task: str, min_likelihood: float, out: Path | None, signals: bool, seed: int
) -> Outcome:
    from ecglens.datasets.describe import describe_cohort
    from ecglens.datasets.load import load_cohort
    from ecglens.datasets.survey import survey_signals

    page = None if out is None else _page_path(out)
    cohort = load_cohort(where, dataset, task=task, min_likelihood=min_likelihood, seed=seed)
    about = describe_cohort(cohort)
    survey = survey_signals(cohort, progress=ProgressLine()) if signals else None
    closed = {"recordings": None, "unreadable": None, "duplicates": None}
    found = about.as_dict() | (closed if survey is None else survey.as_dict())
    options = f" --dataset {dataset}" if dataset is not None else ""
    options += f" --task {task}" if task != "superdiagnostic" else ""
    options += f" --min-likelihood {min_likelihood:g}" if min_likelihood else ""
    text = _in_words(about, survey)
    labelled = about.unlabelled < about.records
    next_step = f"ecglens train --data {where} --model lenet{options} --out runs/first" if labelled else ""
    if page is not None:
        repeat = f"ecglens data info {where}{options}{'' if signals else ' --no-signals'} --seed {seed} --out {out}"
        found |= {"page": str(page), "json": str(_json_path(page))}
        _write(page, found, about, survey, repeat)
        text += f"\n\nWrote {page} and {_json_path(page)}."
        next_step = f"open {page}"
    return Outcome(found, text, next_step, 0 if survey is None else exit_code_for(survey.n, survey.errors))


def _page_path(out: Path) -> Path:
    """Return where the page goes. Raises UsageError where `out` is some other file."""
    from ecglens.errors import UsageError

    if out.suffix.lower() in (".html", ".htm") and not out.is_dir():
        return out
    if out.exists() and not out.is_dir():
        raise UsageError("data info", "--out", out, "a folder, or a file whose name ends in .html")
    return out / PAGE


def _json_path(page: Path) -> Path:
    return page.with_name(TABLE) if page.name == PAGE else page.with_suffix(".json")


def _write(page: Path, found: dict[str, Any], about: CohortDescription, survey: Survey | None, repeat: str) -> None:
    from ecglens import __version__
    from ecglens.cli.console import JSON_SCHEMA
    from ecglens.reporting.cohort import cohort_report
    from ecglens.reporting.html import write_report
    from ecglens.runs.files import write_json
    from ecglens.statistics.figures import clean

    made = (("repeat", repeat), ("ecglens", __version__), ("python", platform.python_version()))
    write_json(_json_path(page), {"schema": JSON_SCHEMA} | clean(found))
    write_report(cohort_report(about, survey, made), page)


def _in_words(about: CohortDescription, survey: Survey | None) -> str:
    from ecglens.errors import printable
    from ecglens.reporting.cohort import attention, records_of_patients

    people = "{:,}".format if about.patients is not None else lambda _: "unknown"
    rows = [(printable(k, 40), f"{f.n_positive:,}", people(f.n_patients_positive), *_share(f))
            for k, f in about.prevalence.items()]  # fmt: skip
    text = f"{about.name}: {records_of_patients(about)}\nLabel rule: {about.label_rule}\n\n"
    if rows:
        text += columns(("label", "records", "patients", "share", "95 % interval"), rows) + "\n\n"
    text += "\n".join(f"{title:<20}{told}" for title, told in _summary(about, survey))
    concerns = attention(about, survey)
    if concerns:
        text += "\n\nTo look at first:\n" + "\n".join(f"  {concern}" for concern in concerns)
    if survey is None:
        text += "\n\nThe files were not opened (--no-signals): nothing is known of their signals, or of duplicates."
    return text + (f"\n\n{about.citation}" if about.citation else "")


def _share(figure: Prevalence) -> tuple[str, str]:
    if figure.value is None or figure.low is None or figure.high is None:
        return "n/a", ""
    return f"{figure.value:.1%}", f"{figure.low:.1%} to {figure.high:.1%}"


def _summary(about: CohortDescription, survey: Survey | None) -> list[tuple[str, str]]:
    from ecglens.errors import printable

    ages: dict[str, Any] = {name: years for name, years in about.age.items() if name != "over_89"}
    if about.age.get("over_89"):
        ages["max"] = "90 and over"
    parts: list[tuple[str, dict[Any, Any]]] = [
        ("sex", about.sex),
        ("age in years", ages),
        ("folds", about.folds),
        ("devices", about.devices),
        ("sites", about.sites),
        ("labels per record", about.labels_per_record),
        ("missing", about.missing),
        ("left out", about.excluded),
    ]
    if survey is not None:
        told = survey.as_dict()
        parts += [
            ("length in s", told["recordings"]["duration_s"]),
            ("sampling rate in Hz", survey.sampling_rates),
            ("leads", survey.leads),
            ("flagged", survey.flagged),
            ("unreadable", {"records": len(survey.unreadable)} if survey.unreadable else {}),
            ("duplicates", {"groups": len(survey.duplicates)} if survey.duplicates else {}),
        ]
    return [(title, printable(_told(counts), 200)) for title, counts in parts]


def _told(counts: dict[Any, Any]) -> str:
    """Return a few values by name; of many the first."""
    shown = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in counts.items()]
    more = f", and {len(shown) - 12} others" if len(shown) > 12 else ""
    return " ".join((", ".join(shown[:12]) + more).split()) or "none"
