# SPDX-License-Identifier: Apache-2.0
"""Networks that recognise people, and how each is trained: to name those it knows, or to embed those it never saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.windows import Windows
from ecglens.privacy.beats import AFTER, BEFORE
from ecglens.privacy.other_days import N_NUMBERS, OtherDay, on_another_day
from ecglens.runs.draws import derived_seed, normal, record_keys, uniform
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress
from ecglens.statistics.verification import equal_error_rate, pairs
from ecglens.training.augmentation import Augmentation, apply, draw
from ecglens.training.loop import Lesson, learn
from ecglens.training.loss import CosineMargin, multiclass_loss
from ecglens.training.precision import at_precision
from ecglens.training.recipes import Recipe
from ecglens.training.train import learning_rate

FEATURES = 64  # of an embedding
MARGIN, SCALE = 0.2, 16.0
PEOPLE_A_BATCH = 48
STEPS_AN_EPOCH = 50  # of an embedding, whose epochs are only where it is looked at and kept
_SLOW_STEPS = 25  # of an epoch of networks that learn slowly: few people are shown several times before it is judged
_AT_ONCE = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attacker:
    """A network and its two trainings.

    architecture, arguments  of `models.registry`
    classify   how it learns to name people, sexes or age groups: cross-entropy, early stopping on held-out windows
    embed      how it learns to tell people apart: cosine margin, a fixed number of steps
    says       what it is, and what it is not
    beats      it sees the mean beats of a window (`privacy.beats`), and its answer is the mean over them
    part       samples of a mean beat that it sees, from and to; default all
    members    how many networks that differ in their seed alone: embeddings side by side, class scores averaged
    steps_an_epoch  of naming, about, and at least one pass: early stopping counts epochs, learning takes steps
    other_day  how much the mean beats that it learns to tell people apart from are changed (`privacy.other_days`)
    normed     comparisons are scaled by how alike each recording is to people trained on (`privacy.score_norm`)
    """

    architecture: str
    arguments: Mapping[str, Any]
    classify: Recipe
    embed: Recipe
    says: str
    beats: bool = False
    part: tuple[int, int] = (0, BEFORE + AFTER)
    members: int = 1
    normed: bool = False
    other_day: OtherDay | None = None
    steps_an_epoch: int = 1

    def passes(self, n: int) -> int:
        """Return how often an epoch of naming shows each of `n` pieces of signal.

        >>> [ATTACKERS["transecg"].passes(n) for n in (90, 600, 1600)], ATTACKERS["cnn"].passes(90)
        ([12, 2, 1], 1)
        """
        return max(1, round(self.steps_an_epoch / math.ceil(n / self.classify.batch)))

    def at(self, precision: str) -> Attacker:
        """Return the same, learning at another precision (`training.precision`)."""
        classify, embed = (replace(recipe, precision=precision) for recipe in (self.classify, self.embed))
        return replace(self, classify=classify, embed=embed)


def _named(model: str, crop: int, **how: Any) -> Recipe:
    return Recipe(model, Augmentation(crop=crop), schedule="plateau", balance="none", **how)


def _told_apart(model: str, crop: int, steps: int, **how: Any) -> Recipe:
    changed = Augmentation(crop=crop, gain=0.1, noise=0.02)
    epochs = math.ceil(steps / STEPS_AN_EPOCH)
    return Recipe(model, changed, epochs=epochs, patience=epochs, batch=PEOPLE_A_BATCH, balance="none", **how)


# Learning rate, epochs and batch of TransECG as in its paper, where it says them (see docs/methods/identification.md).
_TRANSECG = _named("transecg", 2000, epochs=45, batch=64, lr=1e-4, weight_decay=1e-2, patience=7)
_TRANSECG_APART = _told_apart("transecg", 2000, 600, lr=5e-4)
_JITTER = 4  # samples of a beat on each side that a crop may leave out
_P_TO_T = (BEFORE - 55 - _JITTER, BEFORE + 105 + _JITTER)  # 0.22 s before to 0.42 s behind the centre of QRS


def _of_beats(part: tuple[int, int], says: str, **more: Any) -> Attacker:
    crop = part[1] - part[0] - 2 * _JITTER
    return Attacker(
        "CNN1d", {"widths": [32, 64, 64], "kernel": 9, "dropout": 0.3, "pooling": "none", "length": crop},
        _named("cnn-beats", crop, epochs=40, lr=1e-3, weight_decay=1e-2, patience=8),
        _told_apart("cnn-beats", crop, 600, lr=3e-3), says, beats=True, part=part, **more,
    )  # fmt: skip


ATTACKERS: dict[str, Attacker] = {
    "transecg": Attacker(
        "TransECG", {}, _TRANSECG, _TRANSECG_APART, "TransECG (Wang et al. 2025), pre-norm", steps_an_epoch=_SLOW_STEPS,
    ),
    "transecg-patch5": Attacker(
        "TransECG", {"patch": 5}, _TRANSECG, _TRANSECG_APART, "TransECG with patches of 20 ms: Q-R and R-S",
        steps_an_epoch=_SLOW_STEPS,
    ),
    "cnn": Attacker(
        "CNN1d",
        {"widths": [32, 64, 128, 128], "kernel": 9, "dropout": 0.0, "pooling": "mean_max", "strides": [2, 2, 1, 1]},
        _named("cnn", 1000, epochs=40, lr=1e-3, weight_decay=1e-2, patience=8),
        _told_apart("cnn", 1000, 1500, lr=3e-3),
        "a small convolutional network of ours",
    ),
    "cnn-beats": _of_beats(
        (0, BEFORE + AFTER),
        "a small convolutional network of ours that sees mean beats, in time where hearts of other rates have them",
    ),
    "cnn-beats-5": _of_beats(
        _P_TO_T,
        "five of cnn-beats that see P to T alone, learn from beats as they might be on other days, and compare on the "
        "scale of the people trained on",
        members=5, normed=True, other_day=OtherDay(),
    ),
    "cnn-ghazarian": Attacker(
        "CNN1d", {}, _named("cnn", 2000, epochs=40, lr=1e-3, weight_decay=1e-2, patience=8),
        _told_apart("cnn", 2000, 600, lr=3e-3),
        "a stand-in for Ghazarian et al. 2021, whose layers are not published",
    ),
    "bilstm": Attacker(
        "BiLSTM", {}, _named("bilstm", 2000, epochs=30, batch=32, lr=3e-3, patience=6),
        _told_apart("bilstm", 1000, 300, lr=2e-3),
        "a stand-in for Kim and Pyun 2020, whose sizes are not known", steps_an_epoch=_SLOW_STEPS,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pupil:
    """Windows to learn from: float32 [window, lead, time], a number of its class or person each, a key for draws."""

    signal: NDArray[np.float32]
    labels: NDArray[np.int64]
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, signal: np.ndarray, labels: np.ndarray, ids: Sequence[str]) -> Pupil:
        """Return windows whose draws depend on their `ids` [window] alone, in the order of these."""
        keys = record_keys(ids)
        order = np.argsort(keys)
        return cls(signal[order], np.asarray(labels, np.int64)[order], keys[order])


def train_to_name(
    attacker: Attacker, train: Pupil, valid: Pupil, n_classes: int, folder: Path, journal: Journal, *, seed: int,
    progress: Progress,
) -> nn.Module:  # fmt: skip
    """Return a network [window] -> logits [window, class], with the weights that named most `valid` windows rightly."""
    recipe, passes = attacker.classify, attacker.passes(len(train.signal))
    network = built(attacker, train.signal.shape[1], n_classes, recipe.augmentation.crop, seed)
    one_hot, ones = np.eye(n_classes)[train.labels], torch.ones(n_classes)
    steps = math.ceil(len(train.signal) / recipe.batch)

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        for number in range(epoch * passes, (epoch + 1) * passes):
            yield from once(number)

    def once(epoch: int) -> Iterator[tuple[Tensor, int]]:
        order = np.argsort(uniform(seed, f"order/{epoch}", train.keys, 1)[:, 0])
        drawn = draw(recipe.augmentation, train.keys, train.signal.shape[1], train.signal.shape[2], seed, epoch)
        for batch in np.array_split(order, steps):
            x, y = apply(recipe.augmentation, drawn, train.signal, one_hot, train.keys, batch, seed, epoch)
            logits = at_precision(recipe.precision, network, torch.from_numpy(x))
            yield multiclass_loss(logits, torch.from_numpy(y), ones), len(batch)

    def score(_: int) -> float:
        settle(network, train.signal, recipe.augmentation.crop)
        return float((answers(network, recipe, valid.signal).argmax(axis=1) == valid.labels).mean())

    lesson = _lesson(recipe, steps * passes, losses, score, "valid_accuracy", "validation accuracy")
    learn(network, lesson, folder, journal, seed=seed, weight_decay=recipe.weight_decay, progress=progress)
    return network


def train_to_tell_apart(
    attacker: Attacker, train: Pupil, folder: Path, journal: Journal, *, seed: int, progress: Progress
) -> nn.Module:
    """Return a network [window] -> embedding [window, FEATURES]; the people it learnt are forgotten, the angle stays.

    Each step shows PEOPLE_A_BATCH different people, one window of each. The last weights are kept: nothing is chosen.
    """
    recipe = attacker.embed
    network = built(attacker, train.signal.shape[1], FEATURES, recipe.augmentation.crop, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "directions"))
        both = nn.ModuleDict({"network": network})
        both["margin"] = margin = CosineMargin(FEATURES, int(train.labels.max()) + 1, MARGIN, SCALE)
    owners = [np.flatnonzero(train.labels == person) for person in range(int(train.labels.max()) + 1)]
    size = min(recipe.batch, len(owners))

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        random = np.random.default_rng(derived_seed(seed, "people", epoch))
        drawn = draw(recipe.augmentation, train.keys, train.signal.shape[1], train.signal.shape[2], seed, epoch)
        for step in range(STEPS_AN_EPOCH):
            people = random.permutation(len(owners))[:size]
            batch = np.array([random.choice(owners[person]) for person in people])
            moved = replace(drawn, start=_starts(random, train.signal.shape[2], recipe.augmentation.crop, drawn.start))
            at = epoch * STEPS_AN_EPOCH + step
            x, _ = apply(
                recipe.augmentation, moved, train.signal, np.zeros((len(train.signal), 1)), train.keys, batch, seed, at,
            )  # fmt: skip
            if attacker.other_day is not None:
                numbers = normal(seed, f"other day/{at}", train.keys[batch], N_NUMBERS)
                x = on_another_day(attacker.other_day, x, BEFORE - attacker.part[0] - moved.start[batch], numbers)
            embeddings = at_precision(recipe.precision, network, torch.from_numpy(x))
            yield margin(embeddings, torch.from_numpy(people)), len(batch)

    def score(epoch: int) -> float:
        settle(network, train.signal, recipe.augmentation.crop)
        return float(epoch)

    lesson = _lesson(recipe, STEPS_AN_EPOCH, losses, score, "kept", "")
    learn(both, lesson, folder, journal, seed=seed, weight_decay=recipe.weight_decay, progress=progress)
    return network


def settle(network: nn.Module, signal: np.ndarray, crop: int) -> None:
    """Take the statistics of normalisations without a momentum anew, of what was learnt from, as the network is now.

    Weights of a recurrent network move in each step by more than what it says of windows differs: running means are
    those of a network that is gone, and answers would be one class for all. In float32, as answers are.
    """
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm1d) and each.momentum is None]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
    network.train()
    first = (signal.shape[2] - crop) // 2
    with torch.no_grad():
        for part in np.array_split(signal[:, :, first : first + crop], math.ceil(len(signal) / _AT_ONCE)):
            network(torch.from_numpy(np.ascontiguousarray(part)))


def answers(network: nn.Module, recipe: Recipe, signal: np.ndarray, *, unit: bool = False) -> Floats:
    """Return [window, output] of `signal` [window, lead, time]: the mean over crops of the recipe's length.

    unit  embeddings: each crop's scaled to length 1 before the mean, and the mean again
    """
    crop = recipe.augmentation.crop
    cut = Windows(crop, max(1, crop // 2)).cut(signal)
    flat = np.ascontiguousarray(cut.reshape(-1, *cut.shape[2:]), dtype=np.float32)
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(flat[i : i + _AT_ONCE])) for i in range(0, len(flat), _AT_ONCE)]
        out = torch.cat(parts)
        out = (normalize(out) if unit else out).reshape(*cut.shape[:2], -1).mean(dim=1)
    return (normalize(out) if unit else out).double().numpy()


def window_error(embeddings: Floats, people: np.ndarray) -> float:
    """Return the equal error rate between all pairs of windows, as a quick look at an embedding."""
    return equal_error_rate(pairs(embeddings @ embeddings.T, people))


def built(attacker: Attacker, n_leads: int, n_outputs: int, length: int, seed: int) -> nn.Module:
    """Return the untrained network of an attacker for windows of `length` samples."""
    sizes: dict[str, Any] = {"n_leads": n_leads, "n_outputs": n_outputs}
    if attacker.architecture == "TransECG":
        sizes["length"] = length
    build = ARCHITECTURES[attacker.architecture]
    return initialized(build, dict(attacker.arguments) | sizes, derived_seed(seed, "weights"))


def _lesson(recipe: Recipe, steps: int, losses: Any, score: Any, measure: str, words: str) -> Lesson:
    def rate(step: int, scores: list[float]) -> float:
        return learning_rate(recipe, step, recipe.epochs * steps, scores)

    return Lesson(steps, recipe.epochs, recipe.patience, losses, rate, score, measure, words)


def _starts(random: np.random.Generator, n_samples: int, crop: int, like: np.ndarray) -> NDArray[np.int64]:
    return random.integers(n_samples - crop + 1, size=like.shape)
