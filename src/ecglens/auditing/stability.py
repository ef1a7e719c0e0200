# SPDX-License-Identifier: Apache-2.0
"""Stability: is the map the same where it should be?

seeds     between twins that differ in their seed alone and tell the classes equally well
shift     the ECG moved by 1 to 8 samples, the map moved back
noise     white noise of 5 % of the prepared signal's deviation added

All as rank correlation of |map|. Agreement between methods on the audited weights is a matrix on the page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ecglens.auditing.estimate import estimate
from ecglens.auditing.maps import Cases, maps_of
from ecglens.auditing.similarity import spearman_of_sizes
from ecglens.auditing.work import Found, Test, Work
from ecglens.bundle import Bundle
from ecglens.explainers.methods import Method
from ecglens.runs.draws import normal, record_keys

SHIFTS = (1, 2, 4, 8)  # samples
NOISE = 0.05  # of the deviation


@dataclass(frozen=True, eq=False)
class Stability:
    """Twins of several seeds, and records that none of them learnt from."""

    work: Work
    twins: tuple[Bundle, ...]
    cases: Cases

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        return {"n": len(self.cases), "n_patients": self.cases.n_patients, "seeds": len(self.twins)}

    def run(self, name: str, method: Method) -> Found:
        """Return agreement between seeds, under shifts and under noise."""
        cases = self.cases.first(self.work.count(method, len(self.cases)))
        maps = [maps_of(twin, cases, method, name) for twin in self.twins]
        pairs = [spearman_of_sizes(a, b) for a, b in combinations(maps, 2)]
        by_shift = [self._shifted(cases, maps[0], k, method, name) for k in SHIFTS]
        noisy = maps_of(self.twins[0], replace(cases, signals=with_noise(cases)), method, name)
        found = {
            "seeds": np.mean(pairs, axis=0) if pairs else np.full(len(cases), np.nan),
            "shift": np.mean(by_shift, axis=0),
            "noise": spearman_of_sizes(maps[0], noisy),
        }
        results = {key: estimate(values, cases.patients, "twins", 0.0) for key, values in found.items()}
        return Found(results, {"shifts": list(SHIFTS), "by_shift": [round(float(v.mean()), 4) for v in by_shift]})

    def _shifted(self, cases: Cases, before: np.ndarray, by: int, method: Method, name: str) -> np.ndarray:
        """Return the agreement [case] of the map with that of the ECG moved by some samples, edges apart."""
        moved = replace(cases, signals=np.roll(cases.signals, by, axis=-1), fiducials=_moved(cases, by))
        back = np.roll(maps_of(self.twins[0], moved, method, name), -by, axis=-1)
        edge = max(by, cases.signals.shape[-1] // 10)  # what wrapped around is not the ECG
        return spearman_of_sizes(before[..., edge:-edge], back[..., edge:-edge])


def _moved(cases: Cases, by: int) -> Any:
    if cases.fiducials is None:
        return None
    return tuple(replace(marks, times=marks.times + by / cases.fs) for marks in cases.fiducials)


def with_noise(cases: Cases) -> np.ndarray:
    """Return the cases' signals with white noise."""
    drawn = normal(0, "audit/noise", record_keys(cases.record_ids), cases.signals[0].size).reshape(cases.signals.shape)
    return np.asarray(cases.signals + NOISE * cases.signals.std(axis=(1, 2), keepdims=True) * drawn, dtype=np.float32)


def prepare(work: Work) -> Stability:
    """Train twins that differ in their seed alone."""
    world = work.world("A")
    twins = tuple(work.twin("A", seed) for seed in range(work.size.seeds))
    ill = tuple(name for name in world.cohort.classes if name != "NORM")
    return Stability(work, twins, world.cases(ill, work.size.stable, twins[0].classes, work.seed))


def agreement(maps: dict[str, np.ndarray]) -> tuple[list[str], list[list[float]]]:
    """Return the methods, and the mean rank correlation of |map| of each pair on the cases that both have."""
    names = list(maps)
    table = np.eye(len(names))
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        n = min(len(maps[a]), len(maps[b]))
        table[i, j] = table[j, i] = float(spearman_of_sizes(maps[a][:n], maps[b][:n]).mean())
    return names, table.round(3).tolist()


TESTS = (Test("stability", ("seeds", "shift", "noise"), "twins", prepare),)
