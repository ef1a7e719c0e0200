# SPDX-License-Identifier: Apache-2.0
"""The training loop: epochs, learning rate, the best weights, checkpoints. What is learnt is the caller's business."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ecglens.errors import InputError
from ecglens.runs.draws import derived_seed
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress
from ecglens.training.checkpoint import State, load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.safetensors"
LEARN_SLOWER = "train it with a lower learning rate (`Recipe.lr`)"  # what is to be done where a training diverges


@dataclass(frozen=True)
class Lesson:
    """What an epoch is made of, and what tells whether it was a good one.

    steps     batches of an epoch
    epochs    at most
    patience  epochs without a better score after which training stops
    losses    epoch -> each batch's loss, not yet differentiated, with the number of records in it
    rate      (step of the whole training, scores of the epochs before) -> learning rate
    score     epoch -> how good the network is now, higher is better
    measure   what the score is called in the history
    words     what it is called in the progress; empty where the last epoch is the best, and there is nothing to tell
    """

    steps: int
    epochs: int
    patience: int
    losses: Callable[[int], Iterator[tuple[Tensor, int]]]
    rate: Callable[[int, list[float]], float]
    score: Callable[[int], float]
    measure: str
    words: str


def learn(
    network: nn.Module, lesson: Lesson, folder: Path, journal: Journal, *, seed: int, weight_decay: float,
    progress: Progress,
) -> State:  # fmt: skip
    """Train `network` in place by AdamW, leave it with its best weights at rest, and return the history.

    Goes on where the checkpoint in `folder` stands, to the same bits: what an epoch draws depends on (seed, epoch).
    Raises InputError where the loss stops being a number.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=weight_decay)
    state = State(0, 0, -math.inf, {}, [])
    if (folder / CHECKPOINT).exists():
        state = load_checkpoint(folder / CHECKPOINT, network, optimizer)
    while state.epoch < lesson.epochs and state.epoch - state.best_epoch < lesson.patience:
        epoch = state.epoch + 1
        loss = _epoch(network, lesson, optimizer, epoch, [entry[lesson.measure] for entry in state.history], seed)
        _refuse_divergence(loss, epoch, folder)
        _refuse_divergence(_largest(network), epoch, folder, "largest weight after")
        score = lesson.score(epoch)
        _refuse_divergence(score, epoch, folder, f"{lesson.words or lesson.measure} after")
        state.epoch = epoch
        state.history.append({"epoch": epoch, "train_loss": loss, lesson.measure: score})
        if score > state.best_score:
            state.best_epoch, state.best_score = epoch, score
            state.best_weights = {name: value.clone() for name, value in network.state_dict().items()}
        save_checkpoint(folder / CHECKPOINT, network, optimizer, state)
        journal.record("epoch", str(epoch), state.history[-1])
        note = f"loss {loss:.3f}"
        if lesson.words:
            note = f"{lesson.words} {score:.3f}, best {state.best_score:.3f} in epoch {state.best_epoch}"
        progress("training", epoch, lesson.epochs, note)
    network.load_state_dict(state.best_weights)
    network.eval()
    return state


def _epoch(
    network: nn.Module, lesson: Lesson, optimizer: torch.optim.Optimizer, epoch: int, scores: list[float], seed: int
) -> float:
    """Return the mean loss of one epoch."""
    network.train()
    total, n = 0.0, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "dropout", epoch))
        for step, (loss, records) in enumerate(lesson.losses(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = lesson.rate((epoch - 1) * lesson.steps + step, scores)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total, n = total + loss.item() * records, n + records
    return total / n


def _largest(network: nn.Module) -> float:
    """Return the largest size of a weight or running statistic; infinite or NaN where one is."""
    sizes = [value.detach().double().abs().max() for value in network.state_dict().values() if value.numel()]
    return float(torch.stack(sizes).max())  # which is NaN where one is


def _refuse_divergence(value: float, epoch: int, folder: Path, what: str = "training loss in") -> None:
    if not math.isfinite(value):
        raise InputError(
            folder, f"{what} epoch {epoch}", value, "finite",
            f"{LEARN_SLOWER}; "
            + (f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "no epoch was finished"),
            kind="diverged",
        )  # fmt: skip
