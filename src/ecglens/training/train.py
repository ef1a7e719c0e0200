# SPDX-License-Identifier: Apache-2.0
"""`train`: from a cohort and a recipe to a bundle, resumable, and the same bits for the same seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ecglens.bundle import Bundle, Output, TrainedOn
from ecglens.cohort import Cohort, Excluded
from ecglens.errors import InputError, TableError
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES, MODELS
from ecglens.prediction.calibration import calibrate
from ecglens.prediction.evaluate import score_prepared
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared, describe_exclusions, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.draws import derived_seed, record_keys, uniform
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.statistics.metrics import auroc
from ecglens.training.augmentation import apply, draw
from ecglens.training.card import model_card
from ecglens.training.checkpoint import State
from ecglens.training.classes import learnable, refuse_unlearnable
from ecglens.training.loop import LEARN_SLOWER, Lesson, learn
from ecglens.training.loss import class_weights, multilabel_loss
from ecglens.training.precision import at_precision
from ecglens.training.recipes import Recipe

FOLDS: Mapping[str, Sequence[int]] = {"train": range(1, 9), "valid": [9]}
LAST_GOOD = "last-good"  # bundle of a training that diverged: its best epoch before


@dataclass(frozen=True)
class Trained:
    """What `train` returns.

    valid      how the bundle did on the records that chose its epoch
    excluded   records that could not be used, and why (not those that the loader left out by rule)
    """

    run: Run
    bundle: Bundle
    best_epoch: int
    valid: dict[str, Any]
    excluded: tuple[Excluded, ...] = ()


def train(
    cohort: Cohort,
    recipe: Recipe,
    out: str | Path,
    *,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    drop_empty_classes: bool = False,
    min_patients: int = 0,
    folds: Mapping[str, Sequence[int]] = FOLDS,
    prepared: Prepared | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train on folds 1-8 (or 80 % of the patients where there are no folds), choose on fold 9 (or 10 %).

    folds                other folds to train on (`train`) and to choose on (`valid`)
    prepared             the whole cohort, already read and prepared as the recipe says
    drop_empty_classes   leave out, and name in the label rule, classes that nobody (or everybody) in a part has,
                         instead of refusing; their records stay
    min_patients         leave out, and name alike, classes with fewer training patients than this, and empty ones

    Other folds, usually 10, are not read. Writes a run folder with history, tables and the bundle `final`.
    A training that diverges is refused, and the best epoch before is kept as the bundle `last-good`.
    Raises LockedError for a second trainer in `out`, TableError for a class nobody has, ContractError where a resumed
    run had other arguments or other data.
    """
    run = Run(Path(out))
    with run.writing():
        described = dict(arguments or {}) | {"recipe": recipe.as_config(), "seed": seed}
        if folds is not FOLDS:
            described["folds"] = {name: list(chosen) for name, chosen in folds.items()}
        begun_before = run.begun
        run = Run.create(run.folder, "train", described, seed, resume, by_content=("data",))
        with run.discarded_if_refused(begun_before):
            if drop_empty_classes or min_patients:
                cohort = learnable(cohort, [_split(cohort, seed, folds)], min_patients)
            parts = split_for_training(cohort, seed, folds)
            read = {
                name: prepare(part, recipe.preprocessing, cache=cache, progress=progress)
                if prepared is None
                else prepared.part(part)
                for name, part in parts.items()
            }
            for name, part in read.items():
                refuse_unlearnable(name, part.cohort)  # again: what could not be read is gone now
            _note_data(run, cohort, read)
        with run.journal() as journal:
            try:
                network, state = fit(recipe, read["train"], read["valid"], run.folder, journal, seed, progress)
            except InputError as error:
                if error.kind != "diverged" or not (epochs := len(journal.keys("epoch"))):
                    raise
                until = replace(recipe, epochs=epochs)  # the checkpoint is there: nothing is trained again
                network, state = fit(until, read["train"], read["valid"], run.folder, journal, seed, silent)
                kept = run.bundle_folder(LAST_GOOD)
                _bundle(cohort, recipe, network, state, read, seed, arguments or {}).save(kept)
                fix = f"{LEARN_SLOWER}; the best epoch before, {state.best_epoch}, is kept as {kept}"
                raise InputError(error.where, error.field, error.found, error.allowed, fix, kind="diverged") from None
        bundle = _bundle(cohort, recipe, network, state, read, seed, arguments or {})
        valid = score_prepared(bundle, read["valid"], n_resamples=2000, seed=seed)
        bundle = replace(bundle, card=model_card(bundle, valid.as_dict()))
        bundle.save(run.bundle_folder())
        run.write_table("history", pd.DataFrame(state.history))
        run.write_table("valid-scores", valid.scores)
        figures = valid.as_dict() | {"excluded": describe_exclusions(valid.excluded)}
        run.note(best_epoch=state.best_epoch, valid=figures, weights_sha256=bundle.weights_sha256, finished=True)
    left_out = tuple(entry for part in read.values() for entry in part.excluded)
    return Trained(run, bundle, state.best_epoch, figures, left_out)


def fit(
    recipe: Recipe, train: Prepared, valid: Prepared, folder: Path, journal: Journal, seed: int, progress: Progress
) -> tuple[nn.Module, State]:
    """Train a network of the recipe. Returns it with its best weights, and the history."""
    signals, labels = train.stack(), train.cohort.labels.to_numpy()
    keys = record_keys(train.cohort.record_ids)
    weights = torch.from_numpy(class_weights(labels, recipe.balance)).float()
    network = _network(recipe, signals.shape[1], labels.shape[1], seed)
    steps = max(1, math.ceil((len(signals) - 1) / recipe.batch))  # batch norm cannot learn from one record alone

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        order = np.argsort(uniform(seed, f"order/{epoch}", keys, 1)[:, 0])
        drawn = draw(recipe.augmentation, keys, signals.shape[1], signals.shape[2], seed, epoch)
        for step in range(steps):
            batch = order[step * recipe.batch : (step + 1) * recipe.batch if step < steps - 1 else None]
            x, y = apply(recipe.augmentation, drawn, signals, labels, keys, batch, seed, epoch)
            logits = at_precision(recipe.precision, network, torch.from_numpy(x))
            yield multilabel_loss(logits, torch.from_numpy(y), weights), len(batch)

    lesson = Lesson(
        steps, recipe.epochs, recipe.patience, losses,
        lambda step, scores: learning_rate(recipe, step, recipe.epochs * steps, scores),
        lambda _: macro_auroc(network, recipe, valid), "valid_macro_auroc", "validation macro AUROC",
    )  # fmt: skip
    decay = recipe.weight_decay
    return network, learn(network, lesson, folder, journal, seed=seed, weight_decay=decay, progress=progress)


def learning_rate(recipe: Recipe, step: int, steps: int, scores: Sequence[float]) -> float:
    """Return the learning rate of a step of `steps`, after epochs that scored `scores` on validation."""
    if recipe.schedule == "one_cycle":
        return one_cycle(recipe, step, steps)
    return recipe.lr * (0.5 ** halvings(scores, recipe.plateau) if recipe.schedule == "plateau" else 1.0)


def halvings(scores: Sequence[float], patience: int) -> int:
    """Return how often the rate was halved: each time more than `patience` epochs in a row brought nothing better.

    Better means by more than 0.01 %, as in PyTorch's ReduceLROnPlateau, from the scores alone, so that a resumed
    training needs no further state.
    """
    best, waited, halved = -math.inf, 0, 0
    for score in scores:
        waited = waited + 1 if score <= best * (1 + 1e-4) else 0
        best = max(best, score) if waited == 0 else best
        if waited > patience:
            halved, waited = halved + 1, 0
    return halved


def one_cycle(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear from lr / 25 to lr over the warm-up, then cosine to 0."""
    rising = recipe.warmup * steps
    if step < rising:
        return recipe.lr * (1 / 25 + (1 - 1 / 25) * step / rising)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def macro_auroc(network: nn.Module, recipe: Recipe, valid: Prepared) -> float:
    """Return the mean AUROC over the classes that can be estimated, windows averaged as in prediction.

    NaN where the network's answers are no numbers any more.
    """
    names = valid.cohort.classes
    bundle = Bundle(network, tuple(Output(name) for name in names), recipe.preprocessing, valid.fs)
    raw = predict_raw(bundle, valid.signals)
    if not np.isfinite(raw).all():
        return float("nan")
    labels = valid.cohort.labels.to_numpy()
    return float(np.nanmean([auroc(labels[:, k], raw[:, k]) for k in range(len(names))]))


def split_for_training(cohort: Cohort, seed: int, folds: Mapping[str, Sequence[int]] = FOLDS) -> dict[str, Cohort]:
    """Return `train` and `valid`, disjoint in patients: by the cohort's folds, or drawn where it has none.

    Raises TableError where a part has nobody with, or nobody without, a class.
    """
    parts = _split(cohort, seed, folds)
    for name, part in parts.items():
        refuse_unlearnable(name, part)
    return parts


def _split(cohort: Cohort, seed: int, folds: Mapping[str, Sequence[int]]) -> dict[str, Cohort]:
    if has_folds(cohort):
        return cohort.split("fold", folds=folds)
    return cohort.split("patient", fractions={"train": 0.8, "valid": 0.1}, seed=seed)


def has_folds(cohort: Cohort) -> bool:
    """Tell whether a cohort states folds. Raises TableError where some records have one and others have none."""
    without = cohort.metadata["fold"].isna()
    if not len(cohort) or without.all():
        return False
    if without.any():
        found = (
            f"empty in {int(without.sum())} of {len(cohort)} records, first {cohort.record_ids[int(without.argmax())]}"
        )
        raise TableError(
            cohort.name, "fold", found, "a fold for every record, or for none", "fill it in, or leave those records out"
        )
    return True


def _network(recipe: Recipe, n_leads: int, n_outputs: int, seed: int) -> nn.Module:
    architecture, arguments = MODELS[recipe.model]
    sizes = {"n_leads": n_leads, "n_outputs": n_outputs}
    return initialized(ARCHITECTURES[architecture], arguments | sizes, derived_seed(seed, "weights"))


def _bundle(
    cohort: Cohort,
    recipe: Recipe,
    network: nn.Module,
    state: State,
    prepared: Mapping[str, Prepared],
    seed: int,
    arguments: Mapping[str, Any],
) -> Bundle:
    """Put the bundle together: temperature and thresholds come from the validation records alone."""
    architecture, sizes = MODELS[recipe.model]
    valid = prepared["valid"]
    seen = {name: (part.cohort.patient_keys, part.fingerprints) for name, part in prepared.items()}
    salt = hashlib.sha256(hash_of([seed, [part.fingerprints for part in prepared.values()]]).encode()).hexdigest()[:16]
    bare = Bundle(
        network,
        tuple(Output(name) for name in cohort.classes),
        recipe.preprocessing,
        valid.fs,
        architecture,
        sizes | {"n_leads": len(recipe.preprocessing.leads), "n_outputs": len(cohort.classes)},
        f"{recipe.model} trained on {cohort.name}",
        TrainedOn.of(salt, **seen),
        cohort.label_rule,
        cohort.citation,
        details={
            "recipe": recipe.as_config(), "arguments": dict(arguments), "seed": seed, "best_epoch": state.best_epoch,
            "n_records": {name: len(part.cohort) for name, part in prepared.items()},
            "n_patients": {name: part.cohort.n_patients for name, part in prepared.items()},
            "selected_on": f"macro AUROC of the validation records; thresholds by {recipe.thresholds} there",
        },
    )  # fmt: skip
    return calibrate(bare, valid, method=recipe.calibration, rule=recipe.thresholds)


def _note_data(run: Run, cohort: Cohort, prepared: Mapping[str, Prepared]) -> None:
    excluded = [(e, "loading") for e in cohort.excluded] + [(e, n) for n, p in prepared.items() for e in p.excluded]
    rows = [{"record_id": e.record_id, "part": part, "kind": e.kind, "reason": e.reason} for e, part in excluded]
    digest = hash_of(
        {name: [part.fingerprints, part.cohort.labels.to_csv(index=False)] for name, part in prepared.items()}
    )
    run.refuse_other_data(run.read().get("data", {}).get("sha256"), digest, "signals and labels")
    run.write_table("excluded", pd.DataFrame(rows, columns=["record_id", "part", "kind", "reason"]))
    run.note(
        data={
            "name": cohort.name, "label_rule": cohort.label_rule, "classes": list(cohort.classes),
            "sha256": digest,
            "n_records": {name: len(part.cohort) for name, part in prepared.items()},
            "n_patients": {name: part.cohort.n_patients for name, part in prepared.items()},
            "labels": {name: part.cohort.labels.sum().astype(int).to_dict() for name, part in prepared.items()},
            "excluded": describe_exclusions([e for e, _ in excluded]), "citation": cohort.citation,
        }
    )  # fmt: skip
