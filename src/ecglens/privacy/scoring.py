# SPDX-License-Identifier: Apache-2.0
"""One attacker on one split: trained, asked, and what it said as comparisons, ranks or class scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from ecglens.errors import InputError
from ecglens.models.cost import multiply_adds
from ecglens.models.lenet import count_parameters
from ecglens.privacy import unveiled
from ecglens.privacy.attackers import ATTACKERS, Attacker, Pupil, answers, train_to_name, train_to_tell_apart
from ecglens.privacy.beats import Beats, mean_beats
from ecglens.privacy.compared import Compared
from ecglens.privacy.feature_shares import AT_MOST, FeatureShares, feature_shares, of_either_kind
from ecglens.privacy.protocols import Split
from ecglens.privacy.score_norm import cohort_scale, normed
from ecglens.privacy.windows import LENGTH, Windowed
from ecglens.runs.draws import derived_seed, evenly
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress
from ecglens.runs.stopwatch import Stopwatch
from ecglens.statistics.identification import OpenSet, Ranked, open_set
from ecglens.statistics.verification import Trials
from ecglens.training.precision import FLOAT32

_PAIRS_AT_ONCE = 100_000  # of recordings that are compared

Floats = NDArray[np.float64]
# (numbers of units, of others) -> how alike the first are, the second, ... [pair]
Alike = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]
# The same pairs -> what each feature adds to how alike they are.
Shared = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray], FeatureShares | None]
# (trained network, positions of the windows it was asked about, whether it embeds): a look before it is forgotten.
Look = Callable[[nn.Module, NDArray[np.int64], bool], None]


@dataclass(frozen=True, eq=False)
class Heard:
    """What an attacker said of one fold.

    trials    comparisons of recordings of people it never saw
    ranks     where the right person stood among the gallery
    everybody ... in a gallery that holds the people trained on as well
    open_set  the nearest person, known or not
    compared  what trials and ranks were counted from
    scores    of classes, by window [window, class], with `labels`, `people` and `recordings` [window]
    cost      seconds of all sessions, parameters, multiply-additions
    shares    what each feature adds, of models that can be read
    """

    trials: Trials | None = None
    ranks: Ranked | None = None
    everybody: Ranked | None = None
    open_set: OpenSet | None = None
    compared: Compared | None = None
    scores: Floats | None = None
    labels: NDArray[np.int64] | None = None
    people: NDArray | None = None
    recordings: NDArray | None = None
    databases: NDArray | None = None
    cost: Mapping[str, float] | None = None
    shares: FeatureShares | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """What all attackers work on: windows, what they look like, their measured features where a model needs them."""

    windowed: Windowed
    seen: NDArray[np.float32]
    features: Floats | None

    @property
    def table(self) -> pd.DataFrame:
        """One row a window."""
        return self.windowed.table

    @cached_property
    def beats(self) -> Beats:
        """Mean beats of the windows, made when an attacker first asks for them."""
        return mean_beats(self.windowed)

    def shown(self, attacker: Attacker, at: np.ndarray) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what an attacker sees of the windows at `at`, and for each piece the place in `at` of its window."""
        if not attacker.beats:
            return self.seen[at], np.arange(len(at))
        each = [np.flatnonzero(self.beats.window == window) for window in at]
        seen = self.beats.signal[..., slice(*attacker.part)]
        return seen[np.concatenate(each)], np.repeat(np.arange(len(at)), [len(one) for one in each])

    def pupil(self, attacker: Attacker, at: np.ndarray, labels: np.ndarray) -> Pupil:
        """Return what an attacker learns from: the windows at `at`, whose labels these are, as it sees them."""
        names = self.windowed.ids
        ids = [names[i] for i in at]
        signal, place = self.shown(attacker, at)
        first = np.searchsorted(place, place)  # pieces of a window are numbered
        return Pupil.of(
            signal, labels[place], [f"{ids[p]}/{i - f}" for i, (p, f) in enumerate(zip(place, first, strict=True))]
        )


def hear(
    model: str, material: Material, split: Split, labels: pd.Series, classes: list[str], folder: Path, *, seed: int,
    progress: Progress, look: Look | None = None, precision: str = FLOAT32,
) -> Heard:  # fmt: skip
    """Train an attacker on a split as its protocol wants it, networks at a `precision`, and ask it."""
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / "journal.sqlite") as journal:
        watch = Stopwatch(journal)

        def tell(stage: str, done: int, total: int, note: str) -> None:
            watch.note()  # an epoch is finished and kept
            progress(stage, done, total, note)

        how: dict[str, Any] = {"seed": seed, "progress": tell, "look": look, "precision": precision}
        if split.compares:
            heard = tell_apart(model, material, split, folder, journal, **how)
        else:
            heard = name(model, material, split, labels, classes, folder, journal, **how)
        return replace(heard, cost=dict(heard.cost or {}) | {"seconds": watch.seconds})


def refuse_unlearnable(
    models: Sequence[str], material: Material, splits: Sequence[Split], labels: pd.Series, seed: int
) -> None:
    """Raise InputError where an attacker could not learn from a split, before any other is trained on it.

    seed   that of the first split; each has one more, as in `identify`
    """
    readable = any(model in unveiled.MODELS for model in models)
    for number, split in enumerate(splits):
        if split.compares:
            if readable:
                _pairs_learnt(material, split, seed + number)
        elif labels.iloc[split.train].nunique() < 2:
            raise InputError(
                "identify", "classes to learn from", f"{labels.iloc[split.train].nunique()} in {split.name}",
                "2 or more", "add data", kind="too_few_people",
            )  # fmt: skip


def tell_apart(
    model: str, material: Material, split: Split, folder: Path, journal: Journal, *, seed: int, progress: Progress,
    look: Look | None = None, precision: str = FLOAT32,
) -> Heard:  # fmt: skip
    """Train on the people of a split, and compare the recordings of those it has not seen."""
    parts = (split.enrol, split.probe, split.beside)
    at_all = np.concatenate(parts)
    rows = material.table.iloc[at_all].assign(role=np.repeat([0, 1, 2], [len(part) for part in parts]), at=at_all)
    units = rows.groupby(["role", "recording"], sort=True)
    owners = units[["person", "database"]].first().reset_index()
    at = [group.to_numpy() for _, group in units["at"]]
    shared: Shared | None = None
    if model in unveiled.MODELS:
        alike, about, shared = _compared(model, material, split, at, seed)
        plain = alike
    else:
        attacker = ATTACKERS[model].at(precision)
        alike, plain, network, about = _embedded(attacker, material, split, at, folder, journal, seed, progress)
        if look is not None:
            asked = [each for each, role in zip(at, owners["role"], strict=True) if role < 2]
            look(network, np.concatenate(asked).astype(np.int64), True)
    people = pd.factorize(owners["person"])[0].astype(np.int64)
    names = owners["person"].to_numpy().astype(str)
    enrolled, probes, beside = (np.flatnonzero(owners["role"] == role) for role in range(3))
    between = _block(alike, probes, enrolled)
    across = split.protocol == "cross-session"
    if across:
        one, other = np.repeat(probes, len(enrolled)), np.tile(enrolled, len(probes))
    else:
        one, other = np.triu_indices(len(enrolled) + len(probes), k=1)
    scores = between.ravel() if across else alike(one, other)
    databases = owners["database"].to_numpy()
    compared = Compared(scores, one, other, between, enrolled, probes, people, databases, across)
    found = open_set(between, people[probes], people[enrolled]) if split.protocol == "open-set" else None
    everybody = None
    if len(beside):  # on the plain scale: people trained on would be measured against themselves on the other
        plainly = compared if plain is alike else replace(compared, between=_block(plain, probes, enrolled))
        everybody = plainly.ranks((_block(plain, probes, beside), people[beside]))
    trials = compared.trials()
    few = of_either_kind(trials)
    shares = shared(one[few], other[few], np.stack([names[one[few]], names[other[few]]], axis=1)) if shared else None
    return Heard(trials, compared.ranks(), everybody, found, compared, cost=about, shares=shares)


def _block(alike: Alike, rows: np.ndarray, columns: np.ndarray) -> Floats:
    """Return how alike units are [row, column]."""
    pairs = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
    return alike(*pairs).reshape(len(rows), len(columns))


def name(
    model: str, material: Material, split: Split, labels: pd.Series, classes: list[str], folder: Path,
    journal: Journal, *, seed: int, progress: Progress, look: Look | None = None, precision: str = FLOAT32,
) -> Heard:  # fmt: skip
    """Train on the labels of a split, and name those of its probes."""
    places = {label: i for i, label in enumerate(classes)}
    numbers = np.array([places.get(label, -1) for label in labels])
    train, valid, probe = ([i for i in part if numbers[i] >= 0] for part in (split.train, split.valid, split.probe))
    shares = None
    if model in unveiled.MODELS:
        assert material.features is not None
        fitted = unveiled.fit_readable(
            model, (material.features[train], numbers[train]), (material.features[valid], numbers[valid]), seed
        )
        asked = material.features[probe]
        scores, about = fitted.probabilities(asked, len(classes)), _readable_cost(fitted)
        told = evenly(len(asked), AT_MOST)
        owners = material.table["person"].to_numpy().astype(str)[probe]
        shares = feature_shares(model, fitted, asked[told], material.features[train], owners[told])
    else:
        attacker = ATTACKERS[model].at(precision)
        learnt, held_back = (material.pupil(attacker, np.array(part), numbers[part]) for part in (train, valid))
        networks = _taught(attacker, folder, journal, seed, lambda where, own, number: train_to_name(
            attacker, learnt, held_back, len(classes), where, own, seed=number, progress=progress
        ))  # fmt: skip
        signal, place = material.shown(attacker, np.array(probe))
        each = [softmax(_means(answers(one, attacker.classify, signal), place), axis=1) for one in networks]
        scores, about = np.mean(each, axis=0), _cost(networks, attacker.classify.augmentation.crop)
        if look is not None:
            look(networks[0], np.array(probe, np.int64), False)
    rows = material.table.iloc[probe]
    return Heard(
        scores=scores, labels=numbers[probe], people=rows["person"].to_numpy(), recordings=rows["recording"].to_numpy(),
        databases=rows["database"].to_numpy(), cost=about, shares=shares,
    )  # fmt: skip


def _embedded(
    attacker: Attacker, material: Material, split: Split, at: list[np.ndarray], folder: Path, journal: Journal,
    seed: int, progress: Progress,
) -> tuple[Alike, Alike, nn.Module, dict[str, float]]:  # fmt: skip
    """Return how alike units of windows are, the cosine of their mean embeddings, and the network that embeds them.

    How alike they are is the cosine as well, or that on the scale of the people trained on (`score_norm`).
    """
    learners = np.sort(np.concatenate([split.train, split.valid]))  # nothing is chosen, so nothing is held back
    owners = material.table["person"].iloc[learners]
    pupil = material.pupil(attacker, learners, pd.factorize(owners)[0])
    networks = _taught(attacker, folder, journal, seed, lambda where, own, number: train_to_tell_apart(
        attacker, pupil, where, own, seed=number, progress=progress
    ))  # fmt: skip

    def embedded(parts: list[np.ndarray]) -> Floats:
        shown = [material.shown(attacker, part)[0] for part in parts]
        each = [[answers(one, attacker.embed, part, unit=True).mean(axis=0) for part in shown] for one in networks]
        return _unit(np.concatenate([_unit(np.stack(one)) for one in each], axis=1))

    units = embedded(at)
    cosine = _in_parts(lambda one, other: np.einsum("pf,pf->p", units[one], units[other]))
    alike = cosine
    if attacker.normed:
        people = [learners[owners.to_numpy() == person] for person in np.unique(owners)]
        mean, spread = cohort_scale(units, embedded(people))

        def alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
            return normed(cosine(one, other), (mean[one], spread[one]), (mean[other], spread[other]))

    return alike, cosine, networks[0], _cost(networks, attacker.embed.augmentation.crop)


def _taught(
    attacker: Attacker, folder: Path, journal: Journal, seed: int, teach: Callable[[Path, Journal, int], nn.Module]
) -> list[nn.Module]:
    """Return the networks of an attacker, each taught in a folder of its own where it has several."""
    if attacker.members == 1:
        return [teach(folder, journal, seed)]
    networks = []
    for number in range(attacker.members):
        where = folder / f"member-{number + 1}"
        where.mkdir(exist_ok=True)
        with Journal(where / "journal.sqlite") as own:
            networks.append(teach(where, own, derived_seed(seed, "member", number)))
    return networks


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _compared(
    model: str, material: Material, split: Split, at: list[np.ndarray], seed: int
) -> tuple[Alike, dict[str, float], Shared]:
    """Return how alike units are, the probability of one person by a model of how far they are apart, and why."""
    assert material.features is not None
    learnt, spread = _pairs_learnt(material, split, seed)
    fitted = unveiled.fit_readable(model, learnt[0], learnt[1], seed)
    units_asked = _summary(material.features, at) / spread
    alike = _in_parts(lambda one, other: fitted.probabilities(unveiled.pair_features(units_asked, one, other), 2)[:, 1])

    def shared(one: NDArray[np.int64], other: NDArray[np.int64], whose: NDArray) -> FeatureShares | None:
        return feature_shares(model, fitted, unveiled.pair_features(units_asked, one, other), learnt[0][0], whose)

    return alike, _readable_cost(fitted), shared


def _pairs_learnt(material: Material, split: Split, seed: int) -> tuple[list[tuple[Floats, NDArray[np.int64]]], Floats]:
    """Return (how far apart in each feature, whether of one person) of pairs to train and to validate on; the spread.

    Raises InputError where training would have only pairs of one kind.
    """
    assert material.features is not None
    parts = []
    for role in (split.train, split.valid):
        rows = material.table.iloc[role].assign(at=role)
        units = [group.to_numpy() for _, group in rows.groupby("recording")["at"]]
        first = material.table.iloc[[unit[0] for unit in units]]
        parts.append((_summary(material.features, units), first["person"].to_numpy(), first["recording"].tolist()))
    spread = _spread(parts[0][0])
    learnt = []
    for features, owners, recordings in parts:
        one, other = unveiled.pairs_to_learn(owners, recordings, seed)
        same = (owners[one] == owners[other]).astype(np.int64)
        learnt.append((unveiled.pair_features(features / spread, one, other), same))
    if len(np.unique(learnt[0][1])) < 2:
        raise InputError(
            "identify", "people to learn from", f"{len(set(parts[0][1]))} in {split.name}",
            "pairs of one person and pairs of two", "use a network (--model cnn-beats-5), or add data",
            kind="too_few_people",
        )  # fmt: skip
    return learnt, spread


def _in_parts(alike: Alike) -> Alike:
    """Return the same of many pairs in bounded memory."""

    def told(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
        cuts = range(0, len(one), _PAIRS_AT_ONCE)
        parts = [alike(one[i : i + _PAIRS_AT_ONCE], other[i : i + _PAIRS_AT_ONCE]) for i in cuts]
        return np.concatenate(parts) if parts else np.empty(0)

    return told


def _spread(features: Floats) -> Floats:
    """Return the deviation of each feature, 1 where it is never known or always the same."""
    known = ~np.isnan(features).all(axis=0)
    out = np.ones(features.shape[1])
    out[known] = np.nanstd(features[:, known], axis=0)
    return np.where(out > 0, out, 1.0)


def _summary(features: Floats, units: list[np.ndarray]) -> Floats:
    out = np.full((len(units), features.shape[1]), np.nan)
    for i, unit in enumerate(units):
        known = ~np.isnan(features[unit]).all(axis=0)
        out[i, known] = np.nanmedian(features[unit][:, known], axis=0)
    return out


def _means(values: Floats, place: np.ndarray) -> Floats:
    """Return the mean of `values` [piece, output] of each window [window, output]; `place` rises."""
    first = np.flatnonzero(np.diff(place, prepend=-1))
    counts = np.diff(np.append(first, len(place)))
    return np.asarray(np.add.reduceat(values, first) / counts[:, None])


def _cost(networks: list[nn.Module], length: int) -> dict[str, float]:
    operations = multiply_adds(networks[0], (1, length or LENGTH))
    return {
        "parameters": sum(count_parameters(network) for network in networks),
        "multiply_adds": operations * len(networks),
    }  # fmt: skip


def _readable_cost(fitted: unveiled.Readable) -> dict[str, float]:
    model = fitted.estimator
    if hasattr(model, "coef_"):
        return {"parameters": int(model.coef_.size + model.intercept_.size), "multiply_adds": int(model.coef_.size)}
    trees = [model] if hasattr(model, "tree_") else list(model.estimators_)
    depth = sum(tree.get_depth() for tree in trees)
    return {"parameters": sum(int(tree.tree_.node_count) for tree in trees), "multiply_adds": depth}
