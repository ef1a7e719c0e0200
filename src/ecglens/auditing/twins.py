# SPDX-License-Identifier: Apache-2.0
"""Twins: networks of the audited architecture, trained for a test whose truth is known.

What a method does to an architecture can be seen on them; what it does to the audited weights cannot. Every figure
says on which of the two it rests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch.nn.functional import binary_cross_entropy_with_logits

from ecglens.auditing.maps import logits_of
from ecglens.auditing.verdict import TWIN_KNOWS
from ecglens.auditing.worlds import World
from ecglens.bundle import Bundle, Output, load_weights
from ecglens.errors import ContractError
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Preprocessing, Standardize
from ecglens.runs.draws import derived_seed, record_keys
from ecglens.runs.files import read_bytes, write_bytes
from ecglens.runs.progress import Progress, silent
from ecglens.statistics.metrics import auroc
from ecglens.training.augmentation import Augmentation, apply, draw
from ecglens.training.loss import regression_loss
from ecglens.training.recipes import Recipe
from ecglens.training.train import one_cycle

_LARGEST = 64 * 2**20  # bytes of a twin's weights


@dataclass(frozen=True)
class Schedule:
    """How twins are trained: AdamW, one cycle, random crops, the last epoch; nothing is chosen by a score."""

    epochs: int = 40
    batch: int = 32
    lr: float = 3e-3
    weight_decay: float = 1e-2

    def recipe(self, window: int) -> Recipe:
        """Return the schedule as a recipe."""
        return Recipe("twin", Augmentation(crop=window), epochs=self.epochs, batch=self.batch, lr=self.lr,
                      weight_decay=self.weight_decay)  # fmt: skip


def schedule_for(bundle: Bundle, epochs: int = 0) -> Schedule:
    """Return the schedule of a bundle's twins: its recipe's learning rate where it is known."""
    recipe = bundle.details.get("recipe", {})
    lr = float(recipe.get("lr", 3e-3)) if isinstance(recipe, dict) else 3e-3
    return Schedule(epochs=epochs or Schedule.epochs, lr=min(lr, 3e-3))


def untrained(bundle: Bundle, outputs: tuple[str, ...], kind: str, seed: int, amplitudes: bool = False) -> Bundle:
    """Return a bundle of the same architecture with other outputs and weights drawn from `seed`.

    amplitudes   leave out of the preparation what takes amplitudes away (standardisation)

    Raises ContractError for a network that the registry cannot build anew.
    """
    architecture, arguments = single(bundle)
    sized = arguments | {"n_leads": len(bundle.preprocessing.leads), "n_outputs": len(outputs)}
    network = initialized(ARCHITECTURES[architecture], sized, derived_seed(seed, "twin"))
    made = tuple(Output(name, kind=kind, unit="mV" if kind == "regression" else "") for name in outputs)
    prepare = keeping_amplitudes(bundle.preprocessing) if amplitudes else bundle.preprocessing
    return Bundle(network, made, prepare, bundle.fs, architecture, sized, f"twin of {bundle.name}")


def single(bundle: Bundle) -> tuple[str, dict[str, Any]]:
    """Return architecture and arguments of one network: those of a member, where the bundle is an average."""
    architecture, arguments = bundle.architecture, dict(bundle.arguments)
    if architecture == "Average":
        architecture, arguments = str(arguments["architecture"]), dict(arguments["arguments"])
    if architecture not in ARCHITECTURES:
        raise ContractError(
            bundle.name, "architecture", architecture or "unknown", ", ".join(ARCHITECTURES),
            "twins need a network that models/registry.py can build", kind="no_twins",
        )  # fmt: skip
    return architecture, arguments


def keeping_amplitudes(preprocessing: Preprocessing) -> Preprocessing:
    """Return the preparation without standardisation: what comes out is in millivolts."""
    kept = tuple(step for step in preprocessing.record_steps if not isinstance(step, Standardize))
    inside = tuple(step for step in preprocessing.window_steps if not isinstance(step, Standardize))
    return replace(preprocessing, record_steps=kept, window_steps=inside)


def train_twin(
    twin: Bundle, signals: np.ndarray, targets: np.ndarray, ids: tuple[str, ...], schedule: Schedule, seed: int,
    progress: Progress = silent, stage: str = "training a twin",
) -> Bundle:  # fmt: skip
    """Return the twin trained on `signals` [record, lead, time] to give `targets` [record, output], NaN unknown.

    Binary cross-entropy for classes, squared error for values. The same seed gives the same bits.
    """
    regression = twin.outputs[0].kind == "regression"
    network, keys = twin.network, record_keys(ids)
    recipe = schedule.recipe(twin.preprocessing.windows.length)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    steps = math.ceil(len(signals) / recipe.batch)
    ones = torch.ones(targets.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "twin/dropout"))
        for epoch in range(recipe.epochs):
            network.train()
            order = np.random.default_rng(derived_seed(seed, "twin/order", epoch)).permutation(len(signals))
            drawn = draw(recipe.augmentation, keys, signals.shape[1], signals.shape[2], seed, epoch)
            for step in range(steps):
                batch = order[step * recipe.batch : (step + 1) * recipe.batch]
                if len(batch) < 2:  # batch norm has no deviation of one
                    continue
                x, y = apply(recipe.augmentation, drawn, signals, targets, keys, batch, seed, epoch)
                optimizer.param_groups[0]["lr"] = one_cycle(recipe, epoch * steps + step, recipe.epochs * steps)
                outputs, wanted = network(torch.from_numpy(x)), torch.from_numpy(y)
                loss = regression_loss(outputs, wanted, ones) if regression else classes_loss(outputs, wanted)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            progress(stage, epoch + 1, recipe.epochs, "")
    network.eval()
    return twin


def classes_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean binary cross-entropy; unknown labels are left out."""
    known = ~torch.isnan(labels)
    return binary_cross_entropy_with_logits(logits[known], labels[known])


def classifier(bundle: Bundle, world: World, schedule: Schedule, seed: int, folder: Path | None = None,
               progress: Progress = silent, permuted: bool = False) -> Bundle:  # fmt: skip
    """Return a twin that tells the classes of `world`, trained on its training folds, or read back from `folder`.

    permuted   deal the labels out to other records first: a network that learnt nothing about classes
    """
    twin = untrained(bundle, world.cohort.classes, "multilabel", seed)
    name = f"{world.name}{'-permuted' if permuted else ''}-seed-{seed}"
    if folder is not None and restored(twin, folder / f"{name}.safetensors"):
        return twin
    mine = np.flatnonzero(~world.test)
    labels = world.labels[mine]
    if permuted:
        labels = labels[np.random.default_rng(derived_seed(seed, "audit/permuted")).permutation(len(labels))]
    ids = tuple(world.cohort.record_ids[i] for i in mine)
    train_twin(twin, world.signals[mine], labels, ids, schedule, seed, progress, f"training twin {name}")
    keep(twin, folder, name)
    return twin


def keep(twin: Bundle, folder: Path | None, name: str) -> None:
    """Write a twin's weights into `folder`, where there is one: a kill does not train it again."""
    if folder is not None:
        state = {key: t.detach().contiguous() for key, t in twin.network.state_dict().items()}
        write_bytes(folder / f"{name}.safetensors", save_tensors(state))


def restored(twin: Bundle, path: Path) -> bool:
    """Put weights that were kept back into the twin, and tell whether there were any."""
    if not path.exists():
        return False
    load_weights(twin.network, read_bytes(path, _LARGEST), path)
    twin.network.eval()
    return True


def macro_auroc(twin: Bundle, signals: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean AUROC over the classes that some records have and some have not."""
    raw = logits_of(twin, signals)
    each = [auroc(labels[:, k], raw[:, k]) for k in range(labels.shape[1]) if 0 < np.nansum(labels[:, k]) < len(labels)]
    return float(np.mean(each)) if each else math.nan


def refuse_ignorant(twin: Bundle, world: World, at_least: float = TWIN_KNOWS) -> float:
    """Return the twin's AUROC on people it has not seen. Raises ContractError where it learnt too little to ask it."""
    found = macro_auroc(twin, world.signals[world.test], world.labels[world.test])
    if not found >= at_least:
        raise ContractError(
            f"twin in world {world.name}", "macro AUROC", f"{found:.2f}", f"{at_least:g} or more",
            "nothing can be asked of a network that learnt nothing", kind="unlearnable",
        )  # fmt: skip
    return found
