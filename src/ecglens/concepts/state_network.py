# SPDX-License-Identifier: Apache-2.0
"""One network's states: fitted on its training records, read off any records.

Nothing is fitted on what is scored: the mean and spread of features, their main axes, the centres, the temperature and
the average features that contributions are measured from all come from the records to fit on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecglens.bundle import Bundle
from ecglens.concepts.state_certainty import decision_doubt
from ecglens.concepts.state_field import Axes, Grid, held_by, stacked
from ecglens.concepts.state_split import Head, contributions, evidence, onto_last
from ecglens.concepts.states import States, entropy, on_samples, strip_of
from ecglens.errors import ContractError
from ecglens.models.average import side_by_side
from ecglens.models.registry import build_network
from ecglens.runs.draws import derived_seed, record_keys, uniform
from ecglens.runs.progress import Progress, silent

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What training records teach, before states are fitted.

    axes       how features become vectors
    reference  what the head reads of average features [pooled]
    vectors    of the chosen places [place, axis]; records: number of each place's record
    """

    axes: Axes
    reference: Floats
    vectors: NDArray[np.float32]
    records: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything that turns records into states."""

    grid: Grid
    head: Head
    axes: Axes
    reference: Floats
    states: States


@dataclass(frozen=True, eq=False)
class Read:
    """What a network and its states say of records.

    shares         [record, state]: mean membership over all places, which is how the network weighs them
    contributions  [record, state, class]: what each state adds to the logit beyond that of average features
    logits, gap    [record, class]: before calibration; what the contributions leave over
    doubt          [record, class]: uncertainty of the states that the decision came from
    uncertainty    [record]: mean over places
    undecided      [record, state]: sum over places of membership times uncertainty, over the number of places
    pooled         [record, pooled]: what the head reads, mean over windows
    strips         [record, sample]: likeliest state, -1 for none; doubts: entropy of the mean membership over windows
    """

    shares: Floats
    contributions: Floats
    logits: Floats
    gap: Floats
    doubt: Floats
    uncertainty: Floats
    undecided: Floats
    pooled: Floats
    strips: NDArray[np.int16]
    doubts: NDArray[np.float32]

    def permuted(self, order: NDArray[np.intp]) -> Read:
        """Return the same with states in another order: new state j is old state `order[j]`."""
        back = np.argsort(order)
        strips = np.where(self.strips >= 0, back[self.strips], -1).astype(np.int16)
        return Read(
            self.shares[:, order], self.contributions[:, order], self.logits, self.gap, self.doubt, self.uncertainty,
            self.undecided[:, order], self.pooled, strips, self.doubts,
        )  # fmt: skip


def learn(
    bundle: Bundle, network: nn.Module, grid: Grid, head: Head | None, signals: Sequence[np.ndarray],
    record_ids: Sequence[str], n_places: int, seed: int, progress: Progress = silent,
) -> Learnt:  # fmt: skip
    """Return axes, average features and at most about `n_places` places of these records, as many of each."""
    per_record = max(1, n_places // max(1, len(signals)))
    draws = uniform(seed, "places", record_keys(record_ids), per_record)
    places: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    widths: tuple[int, ...] = ()
    total: Floats = np.zeros(1)
    n_windows = done = 0
    for chunk, windows, held in held_by(bundle, network, signals, grid.layers):
        widths = tuple(held[layer].shape[1] for layer in grid.layers)
        features = stacked(grid, held).reshape(len(chunk), windows * grid.n_steps, -1)
        at = (draws[chunk] * features.shape[1]).astype(int)
        places.append(np.take_along_axis(features, at[:, :, None], axis=1).reshape(-1, features.shape[2]))
        owners.append(np.repeat(chunk, per_record))
        if head is not None:
            total = total + head.pooled(held[grid.layers[-1]].double()).sum(dim=0).numpy()
            n_windows += windows * len(chunk)
        done += len(chunk)
        progress("learning states", done, len(signals), "")
    raw = np.concatenate(places)
    axes = Axes.fit(raw, widths)
    return Learnt(axes, total / max(n_windows, 1), axes.of(raw), np.concatenate(owners))


def read_records(
    bundle: Bundle, network: nn.Module, fitted: Fitted, signals: Sequence[np.ndarray], *, stage: str = "reading states",
    progress: Progress = silent,
) -> Read:  # fmt: skip
    """Return what the states say of prepared records. Records do not depend on each other."""
    n, k, n_classes = len(signals), fitted.states.k, len(bundle.outputs)
    length = max(signal.shape[1] for signal in signals)
    found = Read(
        shares=np.zeros((n, k)), contributions=np.zeros((n, k, n_classes)), logits=np.zeros((n, n_classes)),
        gap=np.zeros((n, n_classes)), doubt=np.zeros((n, n_classes)), uncertainty=np.zeros(n),
        undecided=np.zeros((n, k)), pooled=np.zeros((n, len(fitted.reference))),
        strips=np.full((n, length), -1, np.int16), doubts=np.full((n, length), np.nan, np.float32),
    )  # fmt: skip
    grid, reference, done = fitted.grid, torch.from_numpy(fitted.reference), 0
    for chunk, windows, held in held_by(bundle, network, signals, grid.layers):
        last = held[grid.layers[-1]]
        p, u = fitted.states.assign(fitted.axes.of(stacked(grid, held)))
        parts, logits, gap = evidence(fitted.head, last, reference)
        added = contributions(parts, p, grid.onto)
        doubted, weight = decision_doubt(parts, onto_last(u, grid.onto, last.shape[-1]))
        shape = (len(chunk), windows)
        found.shares[chunk], found.contributions[chunk] = _mean(p.mean(axis=1), shape), _mean(added, shape)
        found.logits[chunk], found.gap[chunk] = _mean(logits, shape), _mean(gap, shape)
        found.doubt[chunk] = _mean(doubted, shape) / np.maximum(_mean(weight, shape), 1e-12)
        found.uncertainty[chunk] = _mean(u.mean(axis=1), shape)
        found.undecided[chunk] = _mean((p * u[..., None]).mean(axis=1), shape)
        found.pooled[chunk] = _mean(fitted.head.pooled(last.double()).numpy(), shape)
        placed, unsure = p.reshape(*shape, *p.shape[1:]), u.reshape(*shape, -1, 1)
        for i, row in enumerate(chunk):
            n_samples = signals[row].shape[1]
            membership = laid_out(bundle, grid, placed[i], n_samples)
            found.strips[row, :n_samples] = strip_of(membership)
            of_steps = laid_out(bundle, grid, unsure[i], n_samples)[:, 0]
            found.doubts[row, :n_samples] = np.maximum(entropy(membership), of_steps)  # windows may contradict
        done += len(chunk)
        progress(stage, done, n, "")
    return found


def _mean(values: np.ndarray, shape: tuple[int, int]) -> Floats:
    """Return the mean over windows [record, ...] of values [record x window, ...]; shape: records, windows."""
    return np.asarray(values.reshape(*shape, *values.shape[1:]).mean(axis=1))


def strips_by(
    bundle: Bundle, network: nn.Module, grid: Grid, axes: Axes, states: States, signals: Sequence[np.ndarray]
) -> list[NDArray[np.int16]]:
    """Return the likeliest state of each sample of prepared records, and nothing else."""
    strips: list[NDArray[np.int16]] = [np.empty(0, np.int16)] * len(signals)
    for chunk, windows, held in held_by(bundle, network, signals, grid.layers):
        p, _ = states.assign(axes.of(stacked(grid, held)))
        for row, memberships in zip(chunk, p.reshape(len(chunk), windows, *p.shape[1:]), strict=True):
            strips[row] = strip_of(laid_out(bundle, grid, memberships, signals[row].shape[1]))
    return strips


def laid_out(bundle: Bundle, grid: Grid, values: np.ndarray, n_samples: int) -> NDArray[np.float32]:
    """Return values on samples [sample, ...] of those at places [window, step, ...]."""
    return on_samples(values, grid.nearest, bundle.preprocessing.windows.starts(n_samples), n_samples)


def shares_by(
    bundle: Bundle, network: nn.Module, grid: Grid, axes: Axes, states: States, signals: Sequence[np.ndarray]
) -> Floats:
    """Return each state's share of each record [record, state], and nothing else."""
    out = np.zeros((len(signals), states.k))
    for chunk, windows, held in held_by(bundle, network, signals, grid.layers):
        p, _ = states.assign(axes.of(stacked(grid, held)))
        out[chunk] = p.reshape(len(chunk), windows * grid.n_steps, -1).mean(axis=1)
    return out


def with_random_weights(bundle: Bundle, signals: Sequence[np.ndarray], seed: int) -> nn.Module:
    """Return the bundle's architecture with weights drawn anew, its batch norms set to these signals.

    Without the latter most units of a deep network would be silent: an unfairly weak baseline. Raises ContractError
    where the registry does not know the architecture.
    """
    if not bundle.architecture:
        raise ContractError(
            bundle.name, "architecture", "none named", "a network of the registry", "save it as a bundle", kind="method"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "random weights") % 2**63)
        network = side_by_side(build_network(bundle.architecture, bundle.arguments))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    few = [signal for signal in signals[:64] if signal.shape[1] == signals[0].shape[1]]
    windows = bundle.preprocessing.cut(np.stack(few), bundle.fs)
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        network(torch.from_numpy(np.array(windows.reshape(-1, *windows.shape[2:]), dtype=np.float32)))
    return copy.deepcopy(network).eval()


def decisions(bundle: Bundle, probabilities: np.ndarray) -> np.ndarray:
    """Return 1 or 0 [record, class] at the bundle's own thresholds; at 0.5 where it has none."""
    cuts = np.array([0.5 if cut is None else cut for cut in bundle.thresholds])
    return (probabilities >= cuts).astype(float)
