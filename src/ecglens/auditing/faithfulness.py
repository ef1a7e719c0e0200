# SPDX-License-Identifier: Apache-2.0
"""Faithfulness: does what the map marks change the answer of the audited weights?

An ECG is divided into regions: lead group (the limb leads together, since hiding one of them alone makes a signal that
no heart makes) x 100 ms. A map ranks them by its mean over a region: contributions by their sign, since what speaks
against a class raises its logit when hidden; sensitivities and the rest by size.

deletion    regions are hidden in that order; how far the logit has fallen, averaged over shares of the ECG, less the
            same for random orders. One figure per filler, and the worst of them decides
insertion   the other way round: from an ECG that is hidden altogether
sensitivity_n   over random sets of regions, the correlation of what the map says they carry with the logit's fall
infidelity      the share of those falls, squared, that the map leaves unexplained after the best scale (Yeh et al.
                2019, arXiv 1901.09392); 0 is perfect, 1 says nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecglens.auditing.estimate import estimate
from ecglens.auditing.maps import Cases, logits_of, target_logits
from ecglens.auditing.verdict import RULES, TestResult, judge
from ecglens.auditing.work import Asked, Found, Test, Work
from ecglens.explainers.fillers import Recording, find_filler
from ecglens.explainers.methods import Method
from ecglens.explainers.regions import Region, lead_groups
from ecglens.runs.draws import record_keys, uniform

WINDOW = 0.1  # s
SHARES = (0.02, 0.1, 0.3)  # of all regions, that are hidden (or shown)
FILLERS = ("zero", "line", "matched_noise")  # zero is TrustECG's, and the mean of a signal without its baseline
ORDERS = 3  # random ones, of which the mean is compared with
SETS, SIZES = 16, (0.01, 0.05, 0.2)  # random sets of regions per size, for sensitivity-n and infidelity


@dataclass(frozen=True, eq=False)
class Grid:
    """Regions of a record: groups of leads x windows. `groups` holds positions of leads, `window` samples."""

    groups: tuple[tuple[int, ...], ...]
    window: int
    n_samples: int

    @property
    def n_windows(self) -> int:
        """Windows of a record; the last may be shorter."""
        return -(-self.n_samples // self.window)

    @property
    def n_regions(self) -> int:
        """Regions of a record."""
        return len(self.groups) * self.n_windows

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of `values` [..., lead, time] over each region [..., region]."""
        edges = np.arange(0, self.n_samples, self.window)
        by_window = np.add.reduceat(values.astype(np.float64), edges, axis=-1)
        parts = [by_window[..., list(rows), :].sum(axis=-2) for rows in self.groups]
        return np.concatenate(parts, axis=-1)

    def sizes(self) -> np.ndarray:
        """Return samples times leads of each region [region]."""
        n_leads = 1 + max(max(rows) for rows in self.groups)
        return self.sums(np.ones((n_leads, self.n_samples)))

    def recordings(self, signal: np.ndarray, leads: tuple[str, ...], name: str) -> list[Recording]:
        """Return each group of leads of a record by itself: what is hidden in one of them does not touch the others."""
        return [Recording(signal[list(rows)], tuple(leads[k] for k in rows), name) for rows in self.groups]

    def hide(self, recordings: list[Recording], hidden: np.ndarray, filler: str) -> np.ndarray:
        """Return the record [lead, time] with regions hidden [region, bool], all of a group's at once."""
        fill = find_filler(filler)
        out = np.empty((sum(map(len, self.groups)), self.n_samples), np.float32)
        for rows, group, windows in zip(self.groups, recordings, hidden.reshape(len(recordings), -1), strict=True):
            times = np.repeat(windows, self.window)[: self.n_samples]
            whole = Region("hidden", tuple(range(len(rows))), times)
            out[list(rows)] = fill(group, whole) if windows.any() else group.signal
        return out


def grid_of(cases: Cases) -> Grid:
    """Return the regions of the cases' records."""
    groups = tuple(lead_groups(cases.leads).values())
    return Grid(groups, max(1, round(WINDOW * cases.fs)), cases.signals.shape[-1])


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """The audited weights' cases, with what no method changes: random orders and random sets, and their answers.

    whole    the target's logit of each record [case]
    random   [filler, deletion or insertion, case]: mean fall (rise) over the shares, by random orders
    curves   the same by share [filler, deletion or insertion, case, share]
    sets     bool [case, set, region], falls [case, set]
    """

    work: Work
    asked: Asked
    grid: Grid
    random: np.ndarray
    sets: np.ndarray
    falls: np.ndarray

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        return self.asked.facts | {"regions": self.grid.n_regions, "window_ms": 1000 * WINDOW, "shares": list(SHARES),
                                   "fillers": list(FILLERS), "random_orders": ORDERS}  # fmt: skip

    def run(self, name: str, method: Method) -> Found:
        """Return deletion and insertion by filler, sensitivity-n and infidelity."""
        maps = self.work.maps(name, method)
        cases = self.asked.cases.first(len(maps))
        n = len(cases)
        signed = method.unit == "logit"
        scores = self.grid.sums(maps if signed else np.abs(maps)) / self.grid.sizes()
        # Ties in an order of their own, drawn, and not in the order of leads and time.
        ties = uniform(0, "audit/ties", record_keys(cases.record_ids), self.grid.n_regions)
        ranked = np.stack([np.lexsort((t, -s)) for s, t in zip(scores, ties, strict=True)])
        curves = effects(self.work, cases, self.grid, ranked)  # [filler, 2, case, share]
        beyond = curves - self.random[:, :, :n]
        each = beyond.mean(axis=3)
        results: dict[str, TestResult] = {}
        for k, filler in enumerate(FILLERS):
            for j, kind in enumerate(("deletion", "insertion")):
                results[f"{kind}_{filler}"] = estimate(each[k, j], cases.patients, "weights", 0.0)
        worst = min((results[f"deletion_{f}"] for f in FILLERS), key=_lower)
        results = {"deletion": judge(RULES["deletion"], worst)} | results
        said = np.einsum("csr,cr->cs", self.sets[:n], self.grid.sums(self._carried(maps, cases, signed)))
        results["sensitivity_n"] = estimate(correlations(said, self.falls[:n]), cases.patients, "weights", 0.0)
        results["infidelity"] = estimate(unexplained(said, self.falls[:n]), cases.patients, "weights", 1.0)
        mean = curves.mean(axis=2).round(4).tolist()  # [filler, 2, share]
        chance = self.random[:, :, :n].mean(axis=2).round(4).tolist()
        return Found(results, {"shares": list(SHARES), "fillers": list(FILLERS), "curves": mean, "random": chance})

    def _carried(self, maps: np.ndarray, cases: Cases, signed: bool) -> np.ndarray:
        """Return what each sample carries: the map where it is in logits, its size elsewhere.

        For a gradient that is gradient times what hiding takes away, here the distance from the lead's mean.
        """
        if signed:
            return maps
        return maps * (cases.signals - cases.signals.mean(axis=2, keepdims=True))


def _lower(result: TestResult) -> float:
    return -np.inf if result.low is None else result.low


def effects(work: Work, cases: Cases, grid: Grid, ranked: np.ndarray) -> np.ndarray:
    """Return how far the logit falls when the first regions of `ranked` [case, region] are hidden, and how far it rises
    above that of the hidden ECG when they alone are shown: [filler, 2, case, share]."""
    column = cases.rows
    counts = [max(1, round(share * grid.n_regions)) for share in SHARES]
    out = np.empty((len(FILLERS), 2, len(cases), len(counts)))
    whole = target_logits(work.bundle, cases)
    everything = np.ones(grid.n_regions, bool)
    for c in range(len(cases)):
        masks = [np.isin(np.arange(grid.n_regions), ranked[c, :count]) for count in counts]
        own = grid.recordings(cases.signals[c], cases.leads, cases.record_ids[c])
        shown = (everything, *masks, *(~mask for mask in masks))
        copies = [grid.hide(own, hidden, filler) for filler in FILLERS for hidden in shown]
        values = (logits_of(work.bundle, np.stack(copies)) @ column[c]).reshape(len(FILLERS), -1)
        k = len(counts)
        out[:, 0, c] = whole[c] - values[:, 1 : 1 + k]
        out[:, 1, c] = values[:, 1 + k :] - values[:, :1]
    return out


def correlations(said: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Return Pearson's r within sets of one size, averaged over the sizes [case]; NaN where nothing varies.

    said, falls   [case, set], sets of one size beside each other
    """
    a, b = (x.reshape(len(x), len(SIZES), SETS) for x in (said, falls))
    a, b = a - a.mean(axis=2, keepdims=True), b - b.mean(axis=2, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=2) * (b**2).sum(axis=2))
    found = np.divide((a * b).sum(axis=2), norm, out=np.zeros_like(norm), where=norm > 1e-12)
    return np.asarray(found.mean(axis=1))


def unexplained(said: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Return the share of the falls' squares that `said` times the best number leaves [case]."""
    power = (said**2).sum(axis=1) * (falls**2).sum(axis=1)
    cross = (said * falls).sum(axis=1)
    explained = np.divide(cross * np.abs(cross), power, out=np.zeros_like(power), where=power > 1e-24)
    return np.asarray(1.0 - np.maximum(explained, 0.0))  # a scale below zero is no explanation


def prepare(work: Work) -> Faithfulness:
    """Choose the records; answer random orders and random sets once for all methods."""
    asked = work.asked()
    cases, grid = asked.cases, grid_of(asked.cases)
    keys = record_keys(cases.record_ids)
    drawn = []
    for order in range(ORDERS):
        work.progress("random orders", order, ORDERS, "")
        ranked = np.argsort(uniform(work.seed, f"audit/random/{order}", keys, grid.n_regions), axis=1)
        drawn.append(effects(work, cases, grid, ranked))
    sets, falls = _random_sets(work, cases, grid)
    return Faithfulness(work, asked, grid, np.mean(drawn, axis=0), sets, falls)


def _random_sets(work: Work, cases: Cases, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return sets of regions, bool [case, set, region], and the logit's fall when each is hidden [case, set]."""
    keys = record_keys(cases.record_ids)
    sets = np.zeros((len(cases), len(SIZES) * SETS, grid.n_regions), bool)
    for k, size in enumerate(SIZES):
        count = max(1, round(size * grid.n_regions))
        for j in range(SETS):
            chosen = np.argsort(uniform(work.seed, f"audit/sets/{k}/{j}", keys, grid.n_regions), axis=1)[:, :count]
            np.put_along_axis(sets[:, k * SETS + j], chosen, True, axis=1)
    whole = target_logits(work.bundle, cases)
    falls = np.empty(sets.shape[:2])
    for c in range(len(cases)):
        own = grid.recordings(cases.signals[c], cases.leads, cases.record_ids[c])
        copies = [grid.hide(own, hidden, "mean") for hidden in sets[c]]
        falls[c] = whole[c] - logits_of(work.bundle, np.stack(copies)) @ cases.rows[c]
    return sets, falls


_FIGURES = (
    "deletion",
    *(f"{kind}_{filler}" for filler in FILLERS for kind in ("deletion", "insertion")),
    "sensitivity_n",
    "infidelity",
)
TESTS = (Test("deletion", _FIGURES, "weights", prepare),)
