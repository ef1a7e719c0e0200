# SPDX-License-Identifier: Apache-2.0
"""Planted truth: where the evidence is known, is the map there?

Twins are trained on simulated people (modes A, B, C of `worlds`), and the audited weights are asked about simulated
people of their own classes, where they tell them. Four figures of |map| against the evidence mask, each with what a map
that knows nothing would get:

mass       share of the map inside the evidence                   chance: the evidence's share of the record
rank       share of the evidence among as many largest values     chance: the same
pointing   whether the largest value lies in it, 20 ms leeway     chance: share of the evidence with that leeway
auroc      of |map| as a score for evidence                       chance: 0.5

Lead and time together; in time alone the map is summed over the leads, and what is evidence in any lead counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecglens.auditing.estimate import estimate
from ecglens.auditing.maps import Cases, logits_of, maps_of, target_logits
from ecglens.auditing.twins import macro_auroc
from ecglens.auditing.verdict import RULES, USES_SHORTCUT, On, TestResult, judge
from ecglens.auditing.work import Found, Test, Work
from ecglens.auditing.worlds import SHORTCUT, cases_at, in_turns, on_grid
from ecglens.bundle import Bundle
from ecglens.errors import ContractError
from ecglens.explainers.methods import EXPLAINERS, Method
from ecglens.statistics.metrics import auroc

LEEWAY = 0.02  # s, of the pointing game
FIGURES = ("mass", "rank", "pointing", "auroc")


@dataclass(frozen=True, eq=False)
class Planted:
    """Cases with known evidence, a network that was asked, and what the energy of the signal gets on them."""

    bundle: Bundle
    cases: Cases
    about: dict[str, Any]
    work: Work
    figure: str  # "planted", "planted_dipolar", ...
    energy: dict[str, np.ndarray]
    decides: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        counts = {t: self.cases.targets.count(t) for t in dict.fromkeys(self.cases.targets)}
        return self.about | {"n": len(self.cases), "n_patients": self.cases.n_patients, "targets": counts}

    def run(self, name: str, method: Method) -> Found:
        """Return all figures of one method: both, and in time alone."""
        n = self.work.count(method, len(self.cases))
        cases = self.cases.first(n)
        maps = maps_of(self.bundle, cases, method, name)
        found = truth_figures(maps, cases)
        on: On = "weights" if self.figure == "planted_weights" else "twins"
        results: dict[str, TestResult] = {}
        for key, (values, chance) in found.items():
            results[f"{self.figure}_{key}"] = estimate(values, cases.patients, on, float(np.nanmean(chance)))
        # In mode A a lead is not unique, so that there the comparison with the energy is in time.
        which = "rank" if self.decides or self.figure == "shortcut" else "time_rank"
        values, chance = found[which]
        beyond = self.energy[which][:n]
        main = estimate(values - beyond, cases.patients, on, float(np.nanmean(chance - beyond)))
        results = {self.figure: judge(RULES["planted"], main) if self.decides else main} | results
        by_lead = np.abs(maps).sum(axis=2)
        share = by_lead / np.maximum(by_lead.sum(axis=1, keepdims=True), 1e-30)
        per_class = {
            target: share[[k for k, t in enumerate(cases.targets) if t == target]].mean(axis=0).round(4).tolist()
            for target in dict.fromkeys(cases.targets)
        }
        return Found(results, {"share_by_lead": per_class, "leads": list(cases.leads)})


def truth_figures(maps: np.ndarray, cases: Cases) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each figure and its chance, [case] both: `mass`, ... on lead and time, `time_mass`, ... in time alone."""
    assert cases.evidence is not None
    leeway = max(1, round(LEEWAY * cases.fs))
    columns: dict[str, list[tuple[float, float]]] = {}
    for found, truth in zip(np.abs(maps.astype(np.float64)), cases.evidence, strict=True):
        for prefix, size, mask in (("", found, truth), ("time_", found.sum(axis=0)[None], truth.any(axis=0)[None])):
            for name, pair in _of_one(size, mask, leeway).items():
                columns.setdefault(prefix + name, []).append(pair)
    return {name: (np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])) for name, pairs in columns.items()}


def _of_one(size: np.ndarray, mask: np.ndarray, leeway: int) -> dict[str, tuple[float, float]]:
    """Return figure and chance of |map| [row, time] against its mask; an empty map points nowhere."""
    if not mask.any():
        return dict.fromkeys(FIGURES, (np.nan, np.nan))
    total, share, k = size.sum(), float(mask.mean()), int(mask.sum())
    if total == 0:
        return {"mass": (0.0, share), "rank": (0.0, share), "pointing": (0.0, share), "auroc": (0.5, 0.5)}
    # Equal values share their places: the expected number of hits, so that a constant map gets chance and no more.
    level = np.partition(size.ravel(), size.size - k)[size.size - k]
    above, ties = size > level, size == level
    hits = (mask & above).sum() + (mask & ties).sum() * (k - above.sum()) / ties.sum()
    near = mask.copy()
    for shift in range(1, leeway + 1):
        near[:, shift:] |= mask[:, :-shift]
        near[:, :-shift] |= mask[:, shift:]
    top = size == size.max()
    return {
        "mass": (float(size[mask].sum() / total), share),
        "rank": (float(hits / k), share),
        "pointing": (float(near[top].mean()), float(near.mean())),
        "auroc": (0.5 if mask.all() else float(auroc(mask.ravel().astype(float), size.ravel())), 0.5),
    }


def energy_of(bundle: Bundle, cases: Cases) -> dict[str, np.ndarray]:
    """Return what the squared signal gets: the bar that a method has to clear."""
    maps = maps_of(bundle, cases, EXPLAINERS["energy"], "energy")
    return {name: values for name, (values, _) in truth_figures(maps, cases).items()}


def prepare_planted(work: Work) -> Planted:
    """Mode B on a twin: lead and time are both known. This one decides."""
    return _on_twin(work, "B", "planted", decides=True)


def prepare_dipolar(work: Work) -> Planted:
    """Mode A on a twin: time is known."""
    return _on_twin(work, "A", "planted_dipolar")


def _on_twin(work: Work, world: str, figure: str, decides: bool = False) -> Planted:
    twin, home = work.twin(world), work.world(world)
    ill = tuple(name for name in home.cohort.classes if name != "NORM")  # nothing marks the normal ones
    cases = home.cases(ill, work.size.cases, twin.classes, work.seed)
    about = {"twin_auroc": macro_auroc(twin, home.signals[home.test], home.labels[home.test]),
             "simulated": len(home.cohort), "tested": int(home.test.sum())}  # fmt: skip
    return Planted(twin, cases, about, work, figure, energy_of(twin, cases), decides)


def prepare_weights(work: Work) -> Planted:
    """The audited weights on simulated people of those of their classes that they tell (AUROC of the class)."""
    world = work.world("weights")
    raw = logits_of(work.bundle, world.signals)
    told = {}
    for k, name in enumerate(world.cohort.classes):
        column = work.bundle.classes.index(name)
        there = world.labels[:, k]
        told[name] = float(auroc(there, raw[:, column])) if 0 < there.sum() < len(there) else float("nan")
    known = tuple(name for name, found in told.items() if name != "NORM" and found >= 0.8)
    if not known:
        found = ", ".join(f"{name} {value:.2f}" for name, value in told.items())
        raise ContractError("the model on simulated ECGs", "AUROC by class", found, "0.8 or more for one ill class",
                            "it does not read these simulated ECGs", kind="knows_nothing")  # fmt: skip
    cases = world.cases(known, work.size.cases, work.bundle.classes, work.seed)
    return Planted(work.bundle, cases, {"auroc_by_class": told, "scored": list(known)}, work, "planted_weights",
                   energy_of(work.bundle, cases))  # fmt: skip


def prepare_shortcut(work: Work) -> Planted:
    """Mode C on a twin: its class goes with a mark. Does the map show the mark, where the twin uses it?

    Whether it does is asked of the twin itself: the same ECGs without the mark.
    """
    twin, world = work.twin("C"), work.world("C")
    evidence = world.cohort.evidence
    assert evidence is not None
    ill = world.labels[:, world.cohort.classes.index(SHORTCUT)] == 1
    both = [int(i) for i in np.flatnonzero(world.test & ill) if "shortcut" in evidence[int(i)].parts]
    only = np.zeros((len(world.cohort), 1))
    only[both] = 1
    drawn = in_turns(only, (SHORTCUT,), (SHORTCUT,), world.cohort.record_ids, work.size.cases // 2, work.seed)
    chosen = [i for i, _ in drawn]
    truth = np.stack([on_grid(evidence[i]["shortcut"].mask, world, world.cohort[i].fs) for i in chosen])
    marks = None if world.cohort.fiducials is None else tuple(world.cohort.fiducials[i] for i in chosen)
    cases = cases_at(world.cohort, world.signals, chosen, [SHORTCUT] * len(chosen), twin.classes, world.fs, world.leads,
                     marks, truth)  # fmt: skip
    without = [replace(world.cohort[i], signal=world.cohort[i].signal - evidence[i]["shortcut"].weight) for i in chosen]
    plain = np.asarray(twin.preprocessing.apply(without).signal)  # the mark is a bump upwards: its size is the mark
    fall = estimate(target_logits(twin, cases) - target_logits(twin, cases, plain), cases.patients, "twins", 0.0)
    if fall.low is None or fall.low <= USES_SHORTCUT:
        raise ContractError(
            "twin in world C", "fall of the logit without the mark", f"{fall.value:.2f}, lower bound {fall.low}",
            f"a lower bound above {USES_SHORTCUT:g}", "the twin does not use the mark, so no map has to show it",
            kind="unused",
        )  # fmt: skip
    about = {"fall_without_mark": fall.as_dict(), "lead": str(world.leads[int(truth[0].any(axis=1).argmax())])}
    return Planted(twin, cases, about, work, "shortcut", energy_of(twin, cases))


def _names(figure: str) -> tuple[str, ...]:
    return (figure, *(f"{figure}_{prefix}{name}" for prefix in ("", "time_") for name in FIGURES))


TESTS = (
    Test("planted", _names("planted"), "twins", prepare_planted),
    Test("planted_dipolar", _names("planted_dipolar"), "twins", prepare_dipolar),
    Test("shortcut", _names("shortcut"), "twins", prepare_shortcut),
    Test("planted_weights", _names("planted_weights"), "weights", prepare_weights),
)
