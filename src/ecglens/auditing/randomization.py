# SPDX-License-Identifier: Apache-2.0
"""Randomisation: does the map depend on what the network learnt? (Adebayo et al. 2018, arXiv 1810.03292)

The weights are drawn anew from the head down to the input, stage by stage, and the maps compared with those of the
audited weights: rank correlation of |map| and of the signed map, and structural similarity in time. Once all weights
are redrawn the two networks share nothing but their shape, and a map that stays is a picture of the ECG.

permuted_labels   the same between two twins, one of which learnt labels that were dealt out at random
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ecglens.auditing.estimate import estimate
from ecglens.auditing.maps import Cases, is_dear, maps_of
from ecglens.auditing.similarity import spearman_of_sizes, spearman_signed, ssim
from ecglens.auditing.verdict import RULES, TestResult, judge
from ecglens.auditing.work import Asked, Found, Test, Work
from ecglens.bundle import Bundle
from ecglens.explainers.methods import Method
from ecglens.explainers.rules import leaves
from ecglens.models.average import members_of
from ecglens.runs.draws import derived_seed

STAGES = 5  # at most, from the head to the input


@dataclass(frozen=True, eq=False)
class Cascade:
    """The audited weights' cases, and bundles whose weights are redrawn down to a layer, the last one altogether."""

    work: Work
    asked: Asked
    stages: tuple[tuple[str, Bundle], ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        return self.asked.facts | {"stages": [name for name, _ in self.stages]}

    def run(self, name: str, method: Method) -> Found:
        """Return the similarity with redrawn weights; stages before the last, on a third of the records, are for the
        picture, and dear methods are not asked there."""
        n = self.work.count(method, self.work.size.redrawn)
        before = self.work.maps(name, method)[:n]
        cases = self.asked.cases.first(len(before))
        curve: dict[str, list[float | None]] = {}
        found: dict[str, np.ndarray] = {}
        for k, (_, redrawn) in enumerate(self.stages):
            last = k == len(self.stages) - 1
            if is_dear(method) and not last:
                continue
            some = len(cases) if last else max(1, len(cases) // 3)
            after = maps_of(redrawn, cases.first(some), method, name)
            found = _alike(before[:some], after)
            for figure, values in found.items():
                curve.setdefault(figure, []).append(round(float(values.mean()), 4))
        main = estimate(found["randomization"], cases.patients, "weights", 0.0)
        results: dict[str, TestResult] = {"randomization": judge(RULES["randomization"], main)}
        results |= {f: estimate(v, cases.patients, "weights", 0.0) for f, v in found.items() if f != "randomization"}
        stages = [stage for stage, _ in self.stages][-len(curve["randomization"]) :]
        return Found(results, {"stages": stages, "curves": curve})


def _alike(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "randomization": spearman_of_sizes(before, after),
        "randomization_signed": spearman_signed(before, after),
        "randomization_ssim": ssim(before, after),
    }


def prepare(work: Work) -> Cascade:
    """Redraw the weights, down to each stage."""
    return Cascade(work, work.asked(), tuple(cascade(work.bundle, work.seed)))


def cascade(bundle: Bundle, seed: int) -> list[tuple[str, Bundle]]:
    """Return (first layer that keeps its weights or "input", bundle) pairs, from the head to the input."""
    named = [name for name, layer in leaves(members_of(bundle.network)[0]) if _has_state(layer)]
    deepest_first = named[::-1]
    ends = sorted({round(k * len(deepest_first) / STAGES) for k in range(1, STAGES + 1)} - {0})
    out = []
    for end in ends:
        gone = set(deepest_first[:end])
        network = copy.deepcopy(bundle.network)
        for number, member in enumerate(members_of(network)):
            redraw(member, gone, derived_seed(seed, "redrawn", number), everything=end == len(named))
        out.append(("all layers" if end == len(named) else f"head to {deepest_first[end - 1]}",
                    replace(bundle, network=network)))  # fmt: skip
    return out


def redraw(network: nn.Module, names: set[str], seed: int, everything: bool = False) -> None:
    """Draw the weights of these layers anew, as the layers themselves begin; running statistics begin anew, too.

    everything   also redraw weights that belong to no leaf (an embedding of leads)
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        inside: set[int] = set()
        for name, layer in leaves(network):
            inside |= {id(p) for p in layer.parameters()}
            begin_anew = getattr(layer, "reset_parameters", None)
            if name in names and begin_anew is not None:
                begin_anew()
        for parameter in network.parameters():
            if everything and id(parameter) not in inside:
                parameter.copy_(parameter.std() * torch.randn_like(parameter))
    network.eval()


def _has_state(layer: nn.Module) -> bool:
    return hasattr(layer, "reset_parameters") and any(True for _ in layer.state_dict())


@dataclass(frozen=True, eq=False)
class Permuted:
    """Two twins on the same records: one learnt its labels, the other labels dealt out at random."""

    work: Work
    learnt: Bundle
    permuted: Bundle
    cases: Cases

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        return {"n": len(self.cases), "n_patients": self.cases.n_patients}

    def run(self, name: str, method: Method) -> Found:
        """Return the rank correlation of |map| between the two."""
        cases = self.cases.first(self.work.count(method, len(self.cases)))
        maps = [maps_of(twin, cases, method, name) for twin in (self.learnt, self.permuted)]
        return Found({"permuted_labels": estimate(spearman_of_sizes(*maps), cases.patients, "twins", 0.0)})


def prepare_permuted(work: Work) -> Permuted:
    """Train the two twins."""
    world = work.world("A")
    learnt, permuted = work.twin("A"), work.twin("A", permuted=True)
    ill = tuple(name for name in world.cohort.classes if name != "NORM")
    return Permuted(work, learnt, permuted, world.cases(ill, work.size.stable, learnt.classes, work.seed))


TESTS = (
    Test("randomization", ("randomization", "randomization_signed", "randomization_ssim"), "weights", prepare),
    Test("permuted_labels", ("permuted_labels",), "twins", prepare_permuted),
)
