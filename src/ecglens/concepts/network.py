# SPDX-License-Identifier: Apache-2.0
"""One network asked about all concepts: activations and slopes once, then directions and what the answer does on them.

What a layer with time steps holds for a record is its mean over steps (`steps="mean"`) or all of its steps
(`steps="each"`, as in xai4ecg), and the mean over the record's windows. Windows begin anywhere in a beat, so that no
step differs from another on average: a direction that is the same at every step loses nothing and has far fewer
numbers to fit. The slope along a direction is that of the record's logit, the mean over windows, by the chain rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ecglens.bundle import Bundle, as_tensor
from ecglens.cohort import Cohort
from ecglens.concepts.cav import Cav, find_fit, solve_shrunk
from ecglens.concepts.matching import matched_draw
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
_TOGETHER = 16  # records
PARTS = 5  # into which held-out people are dealt where one bundle is fitted and scored on them
SHARE = 2 / 3  # of the people who take part in one CAV


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

    held     layer -> [record, dimension], all records of the cohort
    slopes   layer -> [class, scored record, dimension]
    scored   places of the scored records
    """

    held: dict[str, np.ndarray]
    slopes: dict[str, np.ndarray]
    scored: np.ndarray


@dataclass(frozen=True)
class How:
    """How directions are fitted: by `FITS`, over `STEPS`, how many per network and split."""

    fit: str = "closed"
    steps: str = "mean"
    n_cavs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        find_fit(self.fit)
        if self.steps not in STEPS:
            raise UsageError("test-concepts", "--steps", self.steps, ", ".join(STEPS))
        if not 2 <= self.n_cavs <= 1000:
            raise UsageError("test-concepts", "--cavs", self.n_cavs, "2 to 1000")


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
    asked: Asked, signals: Sequence[np.ndarray], layers: Sequence[str], classes: Sequence[str], steps: str
) -> Held:
    """Return what the network holds for all prepared `signals`, and its slopes for those that are scored."""
    rows = np.stack([asked.bundle.target_row(name) for name in classes])
    scored = set(asked.scored.tolist())
    held: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in layers}
    slopes: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in layers}
    with borrowed(asked.network) as network:
        for places in _batches([s.shape[1] for s in signals], scored):
            windows = asked.bundle.preprocessing.cut(np.stack([signals[i] for i in places]), asked.bundle.fs)
            flat, n = as_tensor(windows.reshape(-1, *windows.shape[2:])), windows.shape[1]
            found: dict[str, Tensor] = {}
            if places[0] in scored:
                now, found = activations_and_gradients(network, flat, layers, rows)
            else:
                now = activations(network, flat, layers)
            for name in layers:
                held[name] += zip(places, _of_records(now[name][None], n, steps, False)[0], strict=True)
                if found:
                    each = _of_records(found[name], n, steps, True)
                    slopes[name] += zip(places, np.swapaxes(each, 0, 1), strict=True)
    return Held(
        {name: _in_order(values) for name, values in held.items()},
        {name: np.swapaxes(_in_order(values), 0, 1) for name, values in slopes.items()},
        asked.scored,
    )


def _batches(lengths: Sequence[int], scored: set[int]) -> Iterator[list[int]]:
    """Yield places of records of one length, all of them scored or none."""
    for places in group_by_length(lengths).values():
        for side in ([i for i in places if i in scored], [i for i in places if i not in scored]):
            yield from (side[k : k + _TOGETHER] for k in range(0, len(side), _TOGETHER))


def _of_records(values: Tensor, n_windows: int, steps: str, slope: bool) -> np.ndarray:
    """Return [target, record, dimension] of values [target, window, channel(, step)]: the mean over windows.

    A step further on all steps of a layer at once adds up the slopes by each.
    """
    if values.ndim == 4 and steps == "mean":
        values = values.sum(dim=-1) if slope else values.mean(dim=-1)
    flat = values.reshape(len(values), -1, n_windows, values[0, 0].numel())
    return flat.mean(dim=2).numpy()


def _in_order(values: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    return np.stack([value for _, value in sorted(values, key=lambda pair: pair[0])])


@dataclass(frozen=True, eq=False)
class Answers:
    """What one network says of all concepts; NaN where there was nothing to fit or to score.

    called      share of the CAVs that say a record has it [layer, concept, scored record]
    signs       share of the CAVs along which a record's logit rises [layer, concept, class, scored record]; NaN
                where the record is not of the class
    scores      share of the class's records whose logit rises, per CAV [layer, concept, class, split x CAV]
    stability   mean cosine between the CAVs of a split [layer, concept]
    reads       what the class's logit reads of a record in a layer, in standard deviations
                [split, layer, class, record]; 0 where directions are not fitted on the record
    """

    called: np.ndarray
    signs: np.ndarray
    scores: np.ndarray
    stability: np.ndarray
    reads: np.ndarray


def answers_of(
    asked: Asked, held: Held, members: np.ndarray, strata: np.ndarray, labels: np.ndarray, people: np.ndarray, how: How
) -> Answers:
    """Fit and score all directions of one network.

    members   [concept, record], strata [concept, record]
    labels    [record, class] of the classes whose slopes were gathered
    people    number of the person [record]
    """
    layers, n_classes = list(held.held), labels.shape[1]
    shape = (len(layers), len(members))
    called = np.full((*shape, len(held.scored)), np.nan, np.float32)
    signs = np.full((*shape, n_classes, len(held.scored)), np.nan, np.float32)
    scores = np.full((*shape, n_classes, len(asked.splits) * how.n_cavs), np.nan, np.float32)
    stability = np.full((*shape, len(asked.splits)), np.nan, np.float32)
    of_class = (labels[held.scored] == 1).T  # [class, scored record]
    for s, (fit, score) in enumerate(asked.splits):
        here = np.isin(held.scored, score)
        ours = slice(s * how.n_cavs, (s + 1) * how.n_cavs)
        for c in range(len(members)):
            draws = _draws(asked.name, s, c, fit, members[c], strata[c], people, how)
            for k, name in enumerate(layers):
                cavs = [find_fit(how.fit)(held.held[name][yes], held.held[name][no], seed) for yes, no, seed in draws]
                if not cavs:
                    continue
                rises = _rises(held.slopes[name][:, here], cavs)  # [CAV, class, record]
                called[k, c, here] = np.mean([cav.has(held.held[name][held.scored[here]]) for cav in cavs], axis=0)
                signs[k, c][:, here] = np.where(of_class[:, here], rises.mean(axis=0), np.nan)
                scores[k, c][:, ours] = _share(rises, of_class[:, here])
                stability[k, c, s] = _mean_cosine(cavs)
    return Answers(called, signs, scores, _mean(stability), _reads(asked, held, of_class))


def _draws(
    name: str, split: int, concept: int, fit: np.ndarray, members: np.ndarray, strata: np.ndarray, people: np.ndarray,
    how: How,
) -> list[tuple[np.ndarray, np.ndarray, int]]:  # fmt: skip
    """Return (places with it, places without, seed) per CAV; nothing where a draw finds fewer than two of a kind."""
    drawn = []
    for k in range(how.n_cavs):
        seed = derived_seed(how.seed, "cav", name, split, concept, k)
        generator = np.random.default_rng(seed)
        yes, no = matched_draw(members[fit], strata[fit], people[fit], SHARE, generator)
        if len(yes) < 2:
            return []
        drawn.append((fit[yes], fit[no], seed))
    return drawn


def _rises(slopes: np.ndarray, cavs: Sequence[Cav]) -> np.ndarray:
    """Tell where the logit rises along each direction [CAV, class, record]."""
    directions = np.stack([cav.direction for cav in cavs], axis=1).astype(np.float32)
    return np.moveaxis(slopes @ directions, -1, 0) > 0


def _share(rises: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Return the share of the class's records [class, CAV], NaN where the class has none."""
    n = of_class.sum(axis=1)
    share = (rises & of_class).sum(axis=2) / np.maximum(n, 1)
    return np.asarray(np.where(n > 0, share, np.nan).T)


def _mean_cosine(cavs: Sequence[Cav]) -> float:
    directions = np.stack([cav.direction for cav in cavs])
    table = directions @ directions.T
    return float((table.sum() - np.trace(table)) / (len(cavs) * (len(cavs) - 1)))


def _mean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    n = known.sum(axis=-1)
    return np.asarray(np.where(n > 0, np.where(known, values, 0).sum(axis=-1) / np.maximum(n, 1), np.nan))


def _reads(asked: Asked, held: Held, of_class: np.ndarray) -> np.ndarray:
    """Return what the logit reads: activations along C^-1 (mean slope of the class's records).

    The mean of it over records with a concept, minus that over matched ones without, is the mean slope along the
    concept's direction (that of the closed form): linear in who has the concept, hence quick for any number of groups.
    """
    n_records = len(next(iter(held.held.values())))
    reads = np.zeros((len(asked.splits), len(held.held), len(of_class), n_records), np.float32)
    for s, (fit, score) in enumerate(asked.splits):
        here = np.isin(held.scored, score)
        for k, (name, values) in enumerate(held.held.items()):
            mine = of_class[:, here].astype(np.float32)
            counts = np.maximum(mine.sum(axis=1, keepdims=True), 1)
            slope = np.einsum("cr,crd->cd", mine / counts, held.slopes[name][:, here])
            centred = values[fit] - values[fit].mean(axis=0, dtype=float)
            told = centred @ solve_shrunk(centred, slope.T.astype(float))
            spread = told.std(axis=0)
            reads[s, k][:, fit] = (told / np.where(spread > 0, spread, np.inf)).T
    return reads
