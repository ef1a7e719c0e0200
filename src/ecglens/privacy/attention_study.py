# SPDX-License-Identifier: Apache-2.0
"""From which part of the beat? What the class token of a trained TransECG looks at, in every window that was asked.

One `Looked` per network, which is gone afterwards: networks that recognise people are not kept. `summarize` makes
figures of the networks of all folds; heads of two networks have nothing in common but their number, so what is said
of heads is said of each network, and what is said of the mean over heads is said of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ecglens.cohort import Batch
from ecglens.explainers.attention import attention_gradient, attention_rollout
from ecglens.models.transecg import TransECG
from ecglens.privacy.enrichment import (
    Laid,
    concordance,
    enrichment,
    masses,
    rank_agreement,
    shares_among,
    shift_p,
    shifted,
)
from ecglens.privacy.heads import WAYS, Heads, at_once, look_at_heads, outputs
from ecglens.privacy.intervals import INTERVALS, PARTITION, Marked, bridged, median_lengths, overlap
from ecglens.privacy.mean_beat import Beats, mean_beat
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.multiplicity import holm

# Table II of TransECG: its three intervals of most attention by task, which sum to 100 % because they are only three.
PAPER = {
    "sex": {"QRS": 0.5829, "S-T": 0.2428, "P-Q": 0.1743},
    "age": {"P-R": 0.4629, "Q-T": 0.3687, "QRS": 0.1684},
    "person": {"QRS": 0.5397, "S-T": 0.2554, "P-R": 0.2049},
}
AGAINST = (
    ("attention", "occlusion"), ("rollout", "occlusion"), ("gradient x attention", "occlusion"),
    ("length alone", "occlusion"), ("attention", "rollout"), ("attention", "gradient x attention"),
)  # fmt: skip

# More than of the mean over heads: the least p, 2 / 5000, must stay below 0.05 when corrected for six heads' thirty.
HEAD_SHIFTS = 4999

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Looked:
    """What one network looked at.

    fold      its name
    laid      patches of the windows it was asked about, laid on the beat
    heads     of its last block
    floor     the same network with random weights: its mean attention [window, patch]
    rollout, gradient   other maps over patches [window, patch]
    occlusion change of the answer when each of PARTITION is bridged [window, interval], NaN where it is not there
    beats     mean beats of the people, with maps over them
    lengths   median length of each interval, in s
    patch     of its tokens, in s
    """

    fold: str
    laid: Laid
    heads: Heads
    floor: Floats
    rollout: Floats
    gradient: Floats
    occlusion: Floats
    beats: Beats
    lengths: dict[str, float]
    patch: float


def look(
    network: TransECG, floor: TransECG, signal: np.ndarray, marked: Marked, people: np.ndarray, fs: float, fold: str,
    *, embeds: bool,
) -> Looked:  # fmt: skip
    """Ask a network, and one like it with random weights, where they look in `signal` float32 [window, lead, time].

    people   whose window it is [window]
    embeds   the outputs are an embedding, not logits
    """
    heads = look_at_heads(network, signal, embeds=embeds)
    at_random = look_at_heads(floor, signal, embeds=embeds).mean
    overlaps = np.stack(
        [overlap(each, n_samples=signal.shape[-1], patch=network.patch) for each in marked.stretches]
    ).astype(np.float32)
    series = {"attention": heads.mean, "random weights": at_random}
    series |= {f"head {h + 1}": heads.attention[:, h] for h in range(heads.attention.shape[1])}
    return Looked(
        fold, Laid(overlaps, people), heads, at_random, _rollout(network, signal, fs),
        _gradient(network, signal, heads.targets, fs), _occlusion(network, signal, marked, heads),
        mean_beat(signal[:, 0], series, marked.marks, people, fs), median_lengths(marked.stretches, fs),
        network.patch / fs,
    )  # fmt: skip


def _batch(signal: np.ndarray, fs: float) -> Batch:
    leads = tuple(f"lead {k + 1}" for k in range(signal.shape[1]))
    return Batch(signal, fs, leads, tuple(map(str, range(len(signal)))))


def _on_patches(network: TransECG, values: np.ndarray) -> Floats:
    """Return [window, patch] of a map [window, target, lead, time] of one target."""
    flat = values[:, 0].sum(axis=1).astype(np.float64)
    n_patches = flat.shape[1] // network.patch
    return flat[:, : n_patches * network.patch].reshape(len(flat), n_patches, -1).sum(axis=2)


def _rollout(network: TransECG, signal: np.ndarray, fs: float) -> Floats:
    size = at_once(network)
    row = np.ones((1, network.head.out_features), np.float32)  # the same for every target
    return np.concatenate([
        _on_patches(network, np.asarray(attention_rollout(network, _batch(signal[i : i + size], fs), row).values))
        for i in range(0, len(signal), size)
    ])  # fmt: skip


def _gradient(network: TransECG, signal: np.ndarray, targets: Floats, fs: float) -> Floats:
    """Return attention weighted by the gradient of each window's own answer; windows of one target go together."""
    out, size = np.zeros((len(signal), signal.shape[-1] // network.patch)), max(1, at_once(network) // 2)
    rows, which = np.unique(targets, axis=0, return_inverse=True)
    for number, row in enumerate(rows.astype(np.float32)):
        mine = np.flatnonzero(which.ravel() == number)
        for i in range(0, len(mine), size):
            at = mine[i : i + size]
            out[at] = _on_patches(
                network, np.asarray(attention_gradient(network, _batch(signal[at], fs), row[None]).values)
            )
    return out


def _occlusion(network: TransECG, signal: np.ndarray, marked: Marked, heads: Heads) -> Floats:
    """Return how much each window's answer changes when an interval is bridged, whatever its sign."""
    out = np.full((len(signal), len(PARTITION)), np.nan)
    before = (heads.answers * heads.targets).sum(axis=1)
    for k, name in enumerate(PARTITION):
        there = np.flatnonzero([len(each[name]) > 0 for each in marked.stretches])
        if not len(there):
            continue
        hidden = np.stack([bridged(signal[i], marked.stretches[i][name]) for i in there])
        out[there, k] = np.abs((outputs(network, hidden) * heads.targets[there]).sum(axis=1) - before[there])
    return out


# ------------------------------------------------------------------------------------------------------------- figures


def summarize(parts: Sequence[Looked], task: str, *, n_resamples: int = 2000, seed: int = 0) -> dict:
    """Return the study of all folds, JSON-ready: see the reference of `identify`."""
    how = {"n_resamples": n_resamples, "seed": seed}
    laid = Laid(
        np.concatenate([part.laid.overlaps for part in parts]), np.concatenate([part.laid.people for part in parts])
    )
    mean = np.concatenate([part.heads.mean for part in parts])
    lengths = _pooled_lengths(parts)
    return {
        "n_windows": len(mean), "n_people": len(np.unique(laid.people)), "patch_ms": 1000 * parts[0].patch,
        "covered": float(laid.shares[:, : len(PARTITION)].sum(axis=1).mean()),
        "to_itself": float(np.mean([part.heads.to_itself.mean() for part in parts])),
        "intervals": _interval_rows(mean, laid, parts, lengths, **how),
        "heads": [row for part in parts for row in _head_rows(part, **how)],
        "networks": [_network_row(part, **how) for part in parts],
        "against": _against(parts, laid, mean, **how),
        "paper": _as_the_paper_tells_it(masses(mean, laid.overlaps), laid, task, **how),
    }  # fmt: skip


def _pooled_lengths(parts: Sequence[Looked]) -> dict[str, float]:
    table = pd.DataFrame([part.lengths for part in parts])
    return {name: float(table[name].median()) for name in INTERVALS}


def _interval_rows(
    mean: Floats, laid: Laid, parts: Sequence[Looked], lengths: Mapping[str, float], *, n_resamples: int, seed: int
) -> list[dict]:
    """Return one row an interval: what the mean over heads has of it, and what it need not be."""
    mass = masses(mean, laid.overlaps)
    told = enrichment(mass, laid, n_resamples=n_resamples, seed=seed)
    floor = enrichment(
        masses(np.concatenate([p.floor for p in parts]), laid.overlaps), laid, n_resamples=n_resamples, seed=seed
    )
    by_place = np.concatenate([np.broadcast_to(p.heads.mean.mean(axis=0), p.heads.mean.shape) for p in parts])
    place = enrichment(masses(by_place, laid.overlaps), laid, n_resamples=2, seed=seed)
    turned = shifted(mean, laid, seed=seed)
    p = np.array([shift_p(each.value, turned[:, k]) for k, each in enumerate(told)])
    corrected = np.concatenate([holm(p[: len(PARTITION)]), holm(p[len(PARTITION) :])])
    return [
        _figure(told[k]) | {
            "interval": name, "partition": name in PARTITION, "mass": float(mass[:, k].mean()),
            "time": float(laid.shares[:, k].mean()), "p": float(corrected[k]),
            "random_weights": _figure(floor[k]), "by_place": place[k].value, "length_ms": 1000 * lengths[name],
            "resolved": bool(lengths[name] >= parts[0].patch),
        }
        for k, name in enumerate(INTERVALS)
    ]  # fmt: skip


def _head_rows(part: Looked, *, n_resamples: int, seed: int) -> list[dict]:
    """Return one row a head; p are corrected for all heads of the network and the five intervals of each."""
    rows, p = [], []
    weights = head_weights(part.heads)
    for head in range(part.heads.attention.shape[1]):
        attention = part.heads.attention[:, head]
        told = enrichment(masses(attention, part.laid.overlaps), part.laid, n_resamples=n_resamples, seed=seed)
        turned = shifted(attention, part.laid, n_shifts=HEAD_SHIFTS, seed=seed)
        p.append([shift_p(told[k].value, turned[:, k]) for k in range(len(PARTITION))])
        row: dict = {"fold": part.fold, "head": head + 1} | {way: float(weights[way][head]) for way in WAYS}
        row["intervals"] = [{"interval": name} | _figure(told[k]) for k, name in enumerate(PARTITION)]
        rows.append(row)
    for row, corrected in zip(rows, holm(p), strict=True):
        for each, value in zip(row["intervals"], corrected, strict=True):
            each["p"] = float(value)
    return rows


def head_weights(heads: Heads) -> dict[str, Floats]:
    """Return the weight of each head in the three WAYS, each relative to its largest [head]."""
    raw = {
        "projection": heads.projection, "value": heads.value.mean(axis=0),
        "ablation": np.abs(heads.ablation).mean(axis=0),
    }  # fmt: skip
    return {way: values / max(float(values.max()), 1e-300) for way, values in raw.items()}


def _network_row(part: Looked, *, n_resamples: int, seed: int) -> dict:
    """Return how far the three ways agree in one network, and how far windows agree on the order of heads."""
    weights, how = head_weights(part.heads), {"n_resamples": n_resamples, "seed": seed}
    row: dict = {"fold": part.fold}
    for one, other in (("projection", "value"), ("projection", "ablation"), ("value", "ablation")):
        row[f"{one}_{other}"] = _spearman(weights[one], weights[other])
    people = part.laid.people
    row["value_over_windows"] = _figure(concordance(part.heads.value, people, **how))
    row["ablation_over_windows"] = _figure(concordance(np.abs(part.heads.ablation), people, **how))
    return row


def _spearman(one: Floats, other: Floats) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def _against(parts: Sequence[Looked], laid: Laid, mean: Floats, *, n_resamples: int, seed: int) -> list[dict]:
    """Return how far maps agree on which of PARTITION has most, where a window has them all."""
    n = len(PARTITION)
    maps = {
        "attention": masses(mean, laid.overlaps)[:, :n],
        "rollout": masses(np.concatenate([part.rollout for part in parts]), laid.overlaps)[:, :n],
        "gradient x attention": masses(np.concatenate([part.gradient for part in parts]), laid.overlaps)[:, :n],
        "occlusion": np.concatenate([part.occlusion for part in parts]),
        "length alone": laid.shares[:, :n],
    }
    whole = (laid.shares[:, :n] > 0).all(axis=1)
    return [
        {"of": one, "with": other} | _figure(
            rank_agreement(maps[one][whole], maps[other][whole], laid.people[whole], n_resamples=n_resamples, seed=seed)
        )
        for one, other in AGAINST
    ]  # fmt: skip


def _as_the_paper_tells_it(mass: Floats, laid: Laid, task: str, *, n_resamples: int, seed: int) -> list[dict]:
    """Return the shares among the paper's three intervals: the paper's, ours, that of their length, ours per time."""
    names, how = tuple(PAPER[task]), {"n_resamples": n_resamples, "seed": seed}
    ours = shares_among(mass, laid, names, per_time=False, **how)
    length = shares_among(laid.shares, laid, names, per_time=False, **how)
    per_time = shares_among(mass, laid, names, per_time=True, **how)
    return [
        {"interval": name, "paper": PAPER[task][name]} | _figure(ours[k])
        | {"length_alone": length[k].value, "per_time": _figure(per_time[k])}
        for k, name in enumerate(names)
    ]  # fmt: skip


def _figure(told: Estimate) -> dict:
    return {"value": told.value, "low": told.low, "high": told.high}
