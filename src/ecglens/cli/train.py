# SPDX-License-Identifier: Apache-2.0
"""`ecglens train`: from ECGs to a bundle."""

from __future__ import annotations

from pathlib import Path

import typer

from ecglens.cli.arguments import Data, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, conclude
from ecglens.statistics.figures import interval


def train(
    data: Data,
    out: Path = typer.Option(..., help="Run folder to write."),
    model: str = typer.Option(
        "lenet", help="Network: lenet, lenet-wide, ecgnet, ecgnet-lead, ecgnet-class, xresnet1d50, resnet1d."
    ),
    task: str = typer.Option("superdiagnostic", help="Label task of PTB-XL."),
    min_likelihood: float = typer.Option(0.0, help="0: every statement counts; 50: TrustECG's rule."),
    epochs: int = typer.Option(0, min=0, help="Epochs; 0: as in the recipe."),
    drop_empty_classes: bool = typer.Option(
        False, "--drop-empty-classes", help="Leave out classes that nobody in a part has, instead of refusing."
    ),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was cut off; ends with the same bits."),
    no_cache: bool = typer.Option(False, "--no-cache", help="Do not keep prepared signals."),
    as_json: Json = False,
) -> None:
    """Train a network on folds 1-8, choose its epoch and thresholds on fold 9, and write a run folder.

    Example: ecglens train --data ptbxl/ --model lenet --task superdiagnostic --out runs/first
    """
    chosen = {"data": data, "model": model, "task": task, "min_likelihood": min_likelihood, "epochs": epochs}
    if drop_empty_classes:
        chosen["drop_empty_classes"] = True
    raise typer.Exit(conclude(lambda: _train(chosen, out, seed, resume, no_cache), as_json))


def _train(chosen: dict, out: Path, seed: int, resume: bool, no_cache: bool) -> Outcome:
    from dataclasses import asdict, replace

    from ecglens.datasets.load import load_cohort
    from ecglens.preprocessing.prepare import describe_exclusions
    from ecglens.runs.cache import Cache, default_cache
    from ecglens.training.recipes import recipe_for
    from ecglens.training.train import train as train_bundle

    recipe = recipe_for(chosen["model"])
    if chosen["epochs"] > 0:
        recipe = replace(recipe, epochs=chosen["epochs"])
    cohort = load_cohort(chosen["data"], task=chosen["task"], min_likelihood=chosen["min_likelihood"], seed=seed)
    trained = train_bundle(
        cohort, recipe, out, seed=seed, resume=resume, arguments=chosen,
        drop_empty_classes="drop_empty_classes" in chosen,
        cache=None if no_cache else Cache(default_cache()), progress=ProgressLine(),
    )  # fmt: skip
    valid, left_out = trained.valid, trained.excluded
    folder = trained.run.bundle_folder()
    text = (
        f"Trained {chosen['model']} on {cohort.name}; best epoch {trained.best_epoch}.\n"
        f"Validation macro AUROC {interval(valid['macro_auroc'])} (N = {valid['n']} records of "
        f"{valid['n_patients']} patients; chosen on them, hence optimistic; chance 0.5).\n"
        f"Label rule: {valid['label_rule']}\nBundle: {folder}"
    )
    if left_out:
        reasons = ", ".join(f"{kind} {count}" for kind, count in describe_exclusions(left_out).items())
        text += f"\nLeft out: {len(left_out)} ({reasons}), listed in {trained.run.folder / 'tables' / 'excluded.csv'}"
    result = {
        "run": str(out), "bundle": str(folder), "best_epoch": trained.best_epoch, "valid": valid,
        "excluded": [asdict(entry) for entry in left_out],
    }  # fmt: skip
    next_step = f"ecglens evaluate {out} --data {chosen['data']}"
    return Outcome(result, text, next_step, PARTLY if left_out else 0)
