# SPDX-License-Identifier: Apache-2.0
"""What the layers of a network hold for each record, and how its logits change with it: once, for all concepts.

What a layer with time steps holds for a record is its mean over steps (`steps="mean"`) or all of its steps
(`steps="each"`, as in xai4ecg), and the mean over the record's windows. Windows begin anywhere in a beat, so that no
step differs from another on average: a direction that is the same at every step loses nothing and has far fewer
numbers to fit. The slope along a direction is that of the record's logit, the mean over windows, by the chain rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor, nn

from ecglens.bundle import Bundle, as_tensor
from ecglens.cohort import Cohort
from ecglens.errors import UsageError
from ecglens.explainers.explain import borrowed
from ecglens.models.activations import activations, activations_and_gradients, layer_names, six_of
from ecglens.models.average import Average
from ecglens.prediction.evaluate import people_of
from ecglens.prediction.family import bundles_of
from ecglens.preprocessing.windows import group_by_length
from ecglens.runs.draws import derived_seed
from ecglens.runs.run import Run

STEPS = ("mean", "each")
_TOGETHER = 128  # windows
PARTS = 5  # into which held-out people are dealt where one bundle is fitted and scored on them


@dataclass(frozen=True, eq=False)
class Asked:
    """One network and whom its directions are fitted and scored on.

    splits   (fit, score): places in the cohort, no person in both
    """

    name: str
    bundle: Bundle
    network: nn.Module
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def scored(self) -> np.ndarray:
        """Places of all records that are scored."""
        return np.unique(np.concatenate([score for _, score in self.splits]))


@dataclass(frozen=True, eq=False)
class Held:
    """What a network's layers hold, and how its logits change with it.

    held       layer -> [record, dimension], all records of the cohort
    of_class   places of the scored records of each class
    slopes     layer -> of each class, its slope by the layer for those records [record of the class, dimension]
    """

    held: dict[str, np.ndarray]
    of_class: tuple[np.ndarray, ...]
    slopes: dict[str, list[np.ndarray]]


def family_asked(run: Run, cohort: Cohort) -> list[Asked]:
    """Return each network of a family of folds, fitted on the other folds and scored on the one it has not seen."""
    place = {record: i for i, record in enumerate(cohort.record_ids)}
    asked = []
    for fold, bundle, part in bundles_of(run, cohort):
        bundle.refuse_own_patients(cohort.name, part.patient_keys, ())
        score = np.array([place[record] for record in part.record_ids])
        asked.append(Asked(f"fold-{fold}", bundle, bundle.network, ((_strangers(cohort, score), score),)))
    return asked


def bundle_asked(bundle: Bundle, cohort: Cohort, fit: np.ndarray | None = None, seed: int = 0) -> list[Asked]:
    """Return the network of a bundle, or each member of an average.

    fit   bool [record]: fit on these, which the bundle may have seen, and score the others; None: deal the people into
          five parts, score each part and fit on the other four

    Raises LeakError where the bundle has seen somebody who is scored.
    """
    scored = np.ones(len(cohort), bool) if fit is None else ~fit
    keys = [key for key, here in zip(cohort.patient_keys, scored, strict=True) if here]
    bundle.refuse_own_patients(cohort.name, keys, ())
    if fit is None:
        people, codes = np.unique(np.array(people_of(cohort), dtype=object).astype(str), return_inverse=True)
        part = np.random.default_rng(derived_seed(seed, "parts")).permutation(len(people))[codes] % PARTS
        splits = tuple((np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(PARTS))
    else:
        score = np.flatnonzero(scored)
        splits = ((_strangers(cohort, score), score),)
    if not isinstance(bundle.network, Average):
        return [Asked("network", bundle, bundle.network, splits)]
    return [Asked(f"member-{k}", bundle, member, splits) for k, member in enumerate(bundle.network.members, 1)]


def _strangers(cohort: Cohort, score: np.ndarray) -> np.ndarray:
    """Return the places of all records of people who are not scored."""
    people = np.array(people_of(cohort), dtype=object)
    return np.flatnonzero(~np.isin(people.astype(str), people[score].astype(str)))


def choose_layers(network: nn.Module, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the layers to be asked: those named, or six from input to output. Raises UsageError for an unknown one."""
    member = network.members[0] if isinstance(network, Average) else network
    names = layer_names(member)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UsageError("test-concepts", "layer", ", ".join(unknown), ", ".join(names), kind="unknown_layer")
    return tuple(name for name in names if name in wanted) or six_of(names)


def gather(
    asked: Asked, signals: Sequence[np.ndarray], layers: Sequence[str], labels: pd.DataFrame, steps: str
) -> Held:
    """Return what the network holds for all prepared `signals`, and each class's slopes for its scored records.

    labels   [record, class]: 1 where the record is of the class
    """
    scored = asked.scored
    of_class = tuple(scored[labels[name].to_numpy()[scored] == 1] for name in labels.columns)
    slopes: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    with borrowed(asked.network) as network:
        parts = [
            (places, _over_windows(activations(network, flat, layers), n, steps, False))
            for places, flat, n in _batches(asked.bundle, signals, np.arange(len(signals)))
        ]
        held = _in_order(parts, layers)
        for name, own in zip(labels.columns, of_class, strict=True):
            row = asked.bundle.target_row(str(name))[None]
            found = [
                (places, _over_windows(_slopes(network, flat, layers, row), n, steps, True))
                for places, flat, n in _batches(asked.bundle, signals, own)
            ]
            for layer, values in _in_order(found, layers).items():
                slopes[layer].append(values if len(own) else np.zeros((0, held[layer].shape[1]), np.float32))
    return Held(held, of_class, slopes)


def _slopes(network: nn.Module, flat: Tensor, layers: Sequence[str], row: np.ndarray) -> dict[str, Tensor]:
    slopes = activations_and_gradients(network, flat, layers, row)[1]
    return {name: by_target[0] for name, by_target in slopes.items()}


def _batches(
    bundle: Bundle, signals: Sequence[np.ndarray], places: np.ndarray
) -> Iterator[tuple[list[int], Tensor, int]]:
    """Yield places of records of one length, their windows [window, lead, time], and the windows of each record."""
    for chosen in group_by_length([signals[i].shape[1] for i in places]).values():
        own = [int(places[k]) for k in chosen]
        n_windows = len(bundle.preprocessing.windows.starts(signals[own[0]].shape[1]))
        size = max(1, _TOGETHER // n_windows)
        for some in (own[first : first + size] for first in range(0, len(own), size)):
            windows = bundle.preprocessing.cut(np.stack([signals[i] for i in some]), bundle.fs)
            yield some, as_tensor(windows.reshape(-1, *windows.shape[2:])), n_windows


def _over_windows(found: Mapping[str, Tensor], n_windows: int, steps: str, slope: bool) -> dict[str, np.ndarray]:
    """Return layer -> [record, dimension] of values [window, channel(, step)]: the mean over a record's windows.

    To go further on all steps of a layer at once adds up the slopes by each.
    """
    told = {}
    for name, values in found.items():
        if values.ndim == 3 and steps == "mean":
            values = values.sum(dim=-1) if slope else values.mean(dim=-1)
        told[name] = values.reshape(-1, n_windows, values[0].numel()).mean(dim=1).numpy()
    return told


def _in_order(parts: Sequence[tuple[list[int], dict[str, np.ndarray]]], layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Return layer -> [record, dimension], records by their places."""
    order = np.argsort([place for places, _ in parts for place in places])
    if not len(order):
        return {name: np.zeros((0, 0), np.float32) for name in layers}
    return {name: np.concatenate([values[name] for _, values in parts])[order] for name in layers}
