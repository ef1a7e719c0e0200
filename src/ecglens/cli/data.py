# SPDX-License-Identifier: Apache-2.0
"""`ecglens data`: what is in a data set; and data sets made up, whose truth is known."""

from __future__ import annotations

import typer

from ecglens.cli.arguments import Json, Seed
from ecglens.cli.console import Outcome, columns, conclude
from ecglens.cli.simulate import simulate

app = typer.Typer(help="Look at data sets, or simulate one.", no_args_is_help=True, rich_markup_mode=None)
app.command("simulate")(simulate)


@app.callback()
def data() -> None:
    """Look at data sets, or simulate one."""


@app.command("info")
def info(
    where: str = typer.Argument(metavar="DIR", help="Folder with PTB-XL or with ECG files and a CSV; or: simulated."),
    task: str = typer.Option("superdiagnostic", help="Label task of PTB-XL."),
    min_likelihood: float = typer.Option(0.0, help="0: every statement counts; 50: TrustECG's rule."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say how many records, patients and labels a data set holds, what is missing and what was left out.

    Example: ecglens data info ptbxl/
    """
    raise typer.Exit(conclude(lambda: _info(where, task, min_likelihood, seed), as_json))


def _info(where: str, task: str, min_likelihood: float, seed: int) -> Outcome:
    from ecglens.datasets.load import load_cohort
    from ecglens.preprocessing.prepare import describe_exclusions

    cohort = load_cohort(where, task=task, min_likelihood=min_likelihood, seed=seed)
    metadata, n = cohort.metadata, len(cohort)
    labels = {str(name): int(count) for name, count in cohort.labels.sum().items()}
    ages = metadata["age"].dropna().astype(float)
    folds = {int(str(f)): int(c) for f, c in metadata["fold"].dropna().astype(int).value_counts().sort_index().items()}
    found = {
        "name": cohort.name,
        "records": n,
        "patients": cohort.n_patients,
        "label_rule": cohort.label_rule,
        "labels": labels,
        "unlabelled": int(cohort.labels.isna().all(axis=1).sum()),
        "sex": {str(name): int(count) for name, count in metadata["sex"].value_counts().items()},
        "age": {q: float(ages.quantile(p)) for q, p in (("min", 0), ("median", 0.5), ("max", 1))} if len(ages) else {},
        "folds": folds,
        "missing": {
            str(name): int(metadata[name].isna().sum()) for name in ("patient_id", "age", "sex", "fold", "device")
        },
        "excluded": describe_exclusions(cohort.excluded),
        "citation": cohort.citation,
    }
    rows = [(name, str(count), f"{count / n:.1%}") for name, count in labels.items()]
    text = (
        f"{cohort.name}: {n} records of {cohort.n_patients} patients\nLabel rule: {cohort.label_rule}\n\n"
        + columns(("label", "records", "share"), rows)
        + "\n\n"
        + columns(("", "values"), _summary(found))
        + "\n\nFiles were not opened; `ecglens check` reads them."
        + (f"\n\n{cohort.citation}" if cohort.citation else "")
    )
    options = f" --task {task}" if task != "superdiagnostic" else ""
    options += f" --min-likelihood {min_likelihood:g}" if min_likelihood else ""
    return Outcome(found, text, f"ecglens train --data {where} --model lenet{options} --out runs/first")


def _summary(found: dict) -> list[tuple[str, str]]:
    def told(counts: dict) -> str:
        return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"

    keys = (
        ("sex", "sex"),
        ("age in years", "age"),
        ("folds", "folds"),
        ("missing", "missing"),
        ("left out", "excluded"),
    )
    return [(title, told(found[key])) for title, key in keys]
