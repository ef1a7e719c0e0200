# SPDX-License-Identifier: Apache-2.0
"""`ecglens train`: from ECGs to a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed, Task
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, conclude
from ecglens.statistics.figures import interval

if TYPE_CHECKING:
    from ecglens.cohort import Cohort, Excluded
    from ecglens.runs.run import Run
    from ecglens.training.recipes import Recipe


def train(
    data: Data,
    out: Path = typer.Option(..., help="Run folder to write."),
    model: str = typer.Option(
        "lenet", help="Network: lenet, lenet-wide, ecgnet, ecgnet-lead, ecgnet-class, xresnet1d50, resnet1d."
    ),
    recipe: str = typer.Option("ours", help="How it is trained: ours, trustecg, trustecg-code, xai4ecg."),
    dataset: Dataset = None,
    task: Task = "superdiagnostic",
    min_likelihood: float | None = typer.Option(
        None, help="0: every statement counts; 50: TrustECG's rule. Default: the recipe's."
    ),
    balance: str = typer.Option("", help="Weight of rare classes: none, sqrt, full. Default: the recipe's."),
    calibration: str = typer.Option("", help="Scaling of probabilities: platt, temperature. Default: the recipe's."),
    thresholds: str = typer.Option(
        "", help="Rule of the thresholds: f1, or specificity-0.95 (any share). Default: the recipe's."
    ),
    precision: str = typer.Option(
        "", help="Of the forward pass: float32, bfloat16 (faster where the processor has it). Default: the recipe's."
    ),
    folds: str = typer.Option("", help="all: cross-validation by patient, one bundle per fold."),
    seeds: int = typer.Option(1, min=1, help="Networks that differ in their seed alone; they are averaged."),
    epochs: int = typer.Option(0, min=0, help="Epochs; 0: as in the recipe."),
    drop_empty_classes: bool = typer.Option(
        False, "--drop-empty-classes", help="Leave out classes that nobody in a part has, instead of refusing."
    ),
    min_patients: int = typer.Option(
        0, min=0, help="Leave out classes with fewer training patients than this (in any fold), and empty ones."
    ),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was cut off; ends with the same bits."),
    no_cache: bool = typer.Option(False, "--no-cache", help="Do not keep prepared signals."),
    as_json: Json = False,
) -> None:
    """Train a network on folds 1-8, choose its epoch and thresholds on fold 9, and write a run folder.

    Example: ecglens train --data ptbxl/ --model lenet --task superdiagnostic --out runs/first
    """
    asked = {"data": data, "model": model, "task": task, "min_likelihood": min_likelihood, "epochs": epochs}
    # What is not asked for is not written down, so that a run can be resumed by a later version that asks for more.
    asked |= {"dataset": dataset} if dataset is not None else {}
    asked |= {"recipe_name": recipe} if recipe != "ours" else {}
    named = {"balance": balance, "calibration": calibration, "thresholds": thresholds, "precision": precision}
    asked |= {name: value for name, value in named.items() if value}
    asked |= {"drop_empty_classes": True} if drop_empty_classes else {}
    asked |= {"min_patients": min_patients} if min_patients else {}
    asked |= {"folds": folds, "seeds": seeds} if folds or seeds > 1 else {}
    raise typer.Exit(conclude(lambda: _train(asked, out, seed, resume, no_cache), as_json))


def _train(asked: dict, out: Path, seed: int, resume: bool, no_cache: bool) -> Outcome:
    from ecglens.datasets.load import load_cohort
    from ecglens.runs.cache import Cache, default_cache

    recipe = _recipe(asked)
    chosen = asked | {"min_likelihood": recipe.min_likelihood}
    if recipe.keep_unlabelled:
        chosen["keep_unlabelled"] = True
    cohort = load_cohort(
        asked["data"], asked.get("dataset"), task=asked["task"], min_likelihood=recipe.min_likelihood,
        keep_unlabelled=recipe.keep_unlabelled, seed=seed,
    )  # fmt: skip
    how = {
        "seed": seed, "resume": resume, "arguments": chosen, "drop_empty_classes": "drop_empty_classes" in asked,
        "min_patients": asked.get("min_patients", 0),
        "cache": None if no_cache else Cache(default_cache()), "progress": ProgressLine(),
    }  # fmt: skip
    return (_family if "folds" in asked else _single)(cohort, recipe, out, asked, how)


def _recipe(asked: dict) -> Recipe:
    """Return the recipe with what was asked to be different."""
    from dataclasses import replace

    from ecglens.training.recipes import recipe_for

    recipe = recipe_for(asked["model"], asked.get("recipe_name", "ours"))
    named = ("epochs", "balance", "calibration", "thresholds", "precision")
    changes = {name: asked[name] for name in named if asked.get(name)}
    if asked["min_likelihood"] is not None:
        changes["min_likelihood"] = asked["min_likelihood"]
    return replace(recipe, **changes)


def _family(cohort: Cohort, recipe: Recipe, out: Path, asked: dict, how: dict) -> Outcome:
    from ecglens.errors import UsageError
    from ecglens.training.family import train_family

    if asked["folds"] not in ("", "all"):
        raise UsageError("train", "folds", asked["folds"], "all")
    family = train_family(cohort, recipe, out, cross_validate=bool(asked["folds"]), seeds=asked["seeds"], **how)
    names = list(family.bundles)
    text = f"Trained {len(names) - 1} bundles of {recipe.model} on {cohort.name}: {', '.join(names)}."
    text += f"\nLabel rule: {family.bundles['final'].label_rule}"
    fold = " --fold all" if asked["folds"] else ""
    text += _left_out(family.excluded, family.run)
    result = {
        "run": str(out), "bundles": {name: str(family.run.bundle_folder(name)) for name in names},
        "excluded": [asdict(entry) for entry in family.excluded],
    }  # fmt: skip
    next_step = f"ecglens evaluate {out} {_same_data(asked)}{fold}"
    return Outcome(result, text, next_step, PARTLY if family.excluded else 0)


def _left_out(excluded: Sequence[Excluded], run: Run) -> str:
    from ecglens.preprocessing.prepare import describe_exclusions

    reasons = ", ".join(f"{kind} {count}" for kind, count in describe_exclusions(excluded).items())
    where = run.folder / "tables" / "excluded.csv"
    return f"\nLeft out: {len(excluded)} ({reasons}), listed in {where}" if excluded else ""


def _single(cohort: Cohort, recipe: Recipe, out: Path, asked: dict, how: dict) -> Outcome:
    from ecglens.training.train import train as train_bundle

    trained = train_bundle(cohort, recipe, out, **how)
    valid, left_out = trained.valid, trained.excluded
    folder = trained.run.bundle_folder()
    text = (
        f"Trained {recipe.model} on {cohort.name}; best epoch {trained.best_epoch}.\n"
        f"Validation macro AUROC {interval(valid['macro_auroc'])} (N = {valid['n']} records of "
        f"{valid['n_patients']} patients; chosen on them, hence optimistic; chance 0.5).\n"
        f"Label rule: {valid['label_rule']}\nBundle: {folder}"
    )
    text += _left_out(left_out, trained.run)
    result = {
        "run": str(out), "bundle": str(folder), "best_epoch": trained.best_epoch, "valid": valid,
        "excluded": [asdict(entry) for entry in left_out],
    }  # fmt: skip
    return Outcome(result, text, f"ecglens evaluate {out} {_same_data(asked)}", PARTLY if left_out else 0)


def _same_data(asked: dict) -> str:
    return f"--data {asked['data']}" + (f" --dataset {asked['dataset']}" if "dataset" in asked else "")
