# SPDX-License-Identifier: Apache-2.0
"""What attackers said of all folds, as figures with intervals over people and chance, and as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecglens.privacy.scoring import Heard
from ecglens.runs.run import Run
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.classification import FIGURES, classification, macro_roc
from ecglens.statistics.figures import as_json
from ecglens.statistics.identification import (
    OpenSet,
    Ranked,
    chance,
    detection_and_identification,
    identification,
    random_gallery_hits,
)
from ecglens.statistics.people import mean_over_people, numbered_on
from ecglens.statistics.verification import error_rates, joined, verification

FMRS, FARS = (0.01, 0.001), (0.1, 0.01)
GALLERIES = ("unseen", "everybody")  # people never trained on, and beside them those who were
_RANKS_OF = {"unseen": "ranks", "everybody": "everybody"}
CURVE_RANKS = (1, 5, 10)
UNIT_OF = {"person": "window", "sex": "person", "age": "person"}  # what is named once
_SIZES = (2, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000)
_DET_POINTS = 200


def figures_of(heard: Sequence[Heard], task: str, n_resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of one attacker over all folds: metric -> value, low, high, chance."""
    how = {"n_resamples": n_resamples, "seed": seed}
    trials = [part.trials for part in heard if part.trials is not None]
    if not trials:
        return _class_figures(heard, task, n_resamples, seed)
    told = verification(joined(trials), fmrs=FMRS, **how)
    out = {metric: as_json(estimate, chance(metric)) for metric, estimate in told.items()}
    ranks = [part.ranks for part in heard if part.ranks is not None]
    for k in (1, 5):
        out[f"rank{k}"] = as_json(*rank_over_folds(ranks, k, n_resamples=n_resamples, seed=seed))
    everybody = [part.everybody for part in heard if part.everybody is not None]
    if everybody:
        for k in (1, 5):
            told_rank = rank_over_folds(everybody, k, n_resamples=n_resamples, seed=seed)
            out[f"rank{k}_everybody"] = as_json(*told_rank)
    opened = [part.open_set for part in heard if part.open_set is not None]
    if opened:
        whole = _one_open_set(opened)
        size = round(float(np.mean([part.size for part in opened])))
        for far in FARS:
            told_far = detection_and_identification(whole, far, **how)
            out[f"dir_at_{far:g}"] = as_json(told_far, chance(f"dir_at_{far:g}", gallery_size=size))
    return out


def rank_over_folds(
    ranks: Sequence[Ranked], k: int, *, size: int | None = None, n_resamples: int = 2000, seed: int = 0
) -> tuple[Estimate, float]:
    """Return rank-k over the probes of all folds, each in a gallery of its own fold, and chance.

    size   people in the gallery; None: all of the fold
    """
    hits, chances = [], []
    for part in ranks:
        own = size or part.n_others + 1
        hits.append(random_gallery_hits(part.better, part.ties, part.n_others, own, k))
        chances.append(np.full(len(part.people), min(1.0, k / own)))
    people = numbered_on([part.people for part in ranks])
    told = mean_over_people(np.concatenate(hits), np.concatenate(people), n_resamples=n_resamples, seed=seed)
    return told, float(np.concatenate(chances).mean())


def _class_figures(heard: Sequence[Heard], task: str, n_resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """Return accuracy and its kin by window, and by person (sex, age) or by recording (person) as one answer."""
    rows = rows_of(heard)
    scores, labels, people = rows["scores"], rows["labels"], rows["people"]
    if UNIT_OF[task] == "window":
        told, chances = classification(scores, labels, people, n_resamples=n_resamples, seed=seed)
        out = {metric: as_json(estimate, chances[metric]) for metric, estimate in told.items()}
        mean = pd.DataFrame(scores).groupby(rows["recordings"]).mean()
        truth = pd.Series(labels).groupby(rows["recordings"]).first()
        owner = pd.Series(people).groupby(rows["recordings"]).first()
        right = mean.to_numpy()[np.arange(len(mean)), truth.to_numpy()][:, None]
        better, ties = (mean.to_numpy() > right).sum(axis=1), (mean.to_numpy() == right).sum(axis=1) - 1
        found = Ranked(better, ties, pd.factorize(owner)[0].astype(np.int64), scores.shape[1] - 1)
        ranks = identification(found, n_resamples=n_resamples, seed=seed)
        return out | {k: as_json(v, chance(k, gallery_size=scores.shape[1])) for k, v in ranks.items()}
    told, chances = classification(*_answers(rows, task), n_resamples=n_resamples, seed=seed)
    out = {metric: as_json(estimate, chances[metric]) for metric, estimate in told.items()}
    by_window, window_chances = classification(scores, labels, people, n_resamples=n_resamples, seed=seed)
    return out | {"window_accuracy": as_json(by_window["accuracy"], window_chances["accuracy"])}


def _answers(rows: Mapping[str, np.ndarray], task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores [item, class], labels and people [item]: of windows, or of people, whose windows are averaged."""
    if UNIT_OF[task] == "window":
        return rows["scores"], rows["labels"], rows["people"]
    mean = pd.DataFrame(rows["scores"]).groupby(rows["people"]).mean()
    truth = pd.Series(rows["labels"]).groupby(rows["people"]).first()
    return mean.to_numpy(), truth.to_numpy(), mean.index.to_numpy()


def rows_of(heard: Sequence[Heard]) -> dict[str, np.ndarray]:
    """Return `scores` [window, class], `labels`, `people`, `recordings` and `databases` [window] of all folds."""
    return {
        key: np.concatenate([getattr(part, key) for part in heard])
        for key in ("scores", "labels", "people", "recordings", "databases")
    }


def _one_open_set(parts: Sequence[OpenSet]) -> OpenSet:
    scores, right, known = (np.concatenate([getattr(p, key) for p in parts]) for key in ("scores", "right", "known"))
    return OpenSet(scores, right, known, np.concatenate(numbered_on([p.people for p in parts])), parts[0].size)


def _curve(model: str, gallery: str, ranks: Sequence[Ranked], n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """Return a row for each rank of CURVE_RANKS and each size of the gallery, up to the smallest of the folds."""
    largest = min(part.n_others for part in ranks) + 1
    rows = []
    for k in CURVE_RANKS:
        for size in sorted({*[s for s in _SIZES if s < largest], largest}):
            told, level = rank_over_folds(ranks, k, size=size, n_resamples=n_resamples, seed=seed)
            about = {"model": model, "gallery": gallery, "rank": k, "size": size}
            rows.append(about | as_json(told, level) | {"n_people": told.n_patients, "n_probes": told.n})
    return rows


def _roc_curves(model: str, heard: Sequence[Heard], task: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the points of the mean ROC curve over classes, and of each class where these are not people."""
    scores, labels, _ = _answers(rows_of(heard), task)
    curves = macro_roc(scores, labels)
    named = {None: "mean"} | ({} if task == "person" else dict(enumerate(classes)))
    return [
        {"model": model, "class": name, "fpr": fpr, "tpr": tpr}
        for k, name in named.items() if k in curves for fpr, tpr in zip(*curves[k], strict=True)
    ]  # fmt: skip


class Tables:
    """Curves of each attacker: gallery size, DET, ROC, cost.

    task      of the run
    classes   their names, in order; of sex and age alone are they told
    """

    def __init__(self, task: str = "person", classes: Sequence[str] = ()) -> None:
        self.task, self.classes = task, classes
        self.roc: list[dict[str, Any]] = []
        self.asked: dict[str, dict[str, int]] = {}
        self.gallery: list[dict[str, Any]] = []
        self.det: list[dict[str, Any]] = []
        self.cost: dict[str, dict[str, float]] = {}
        self.n_trials: dict[str, int] = {}

    def add(self, model: str, heard: Sequence[Heard], n_resamples: int, seed: int) -> None:
        """Take in what one attacker said of all folds."""
        parts = [part.cost for part in heard if part.cost is not None]
        self.cost[model] = {
            "parameters": float(max(part["parameters"] for part in parts)),
            "multiply_adds": float(max(part["multiply_adds"] for part in parts)),
            "seconds": float(sum(part["seconds"] for part in parts)),
        }
        if heard[0].scores is not None:
            self.roc += _roc_curves(model, heard, self.task, self.classes)
            _, labels, people = _answers(rows_of(heard), self.task)
            self.asked[model] = {"n_people": len(set(people.tolist())), "n_asked": len(labels)}
        trials = [part.trials for part in heard if part.trials is not None]
        if trials:
            whole = joined(trials)
            self.n_trials = {"genuine": int(whole.genuine.sum()), "impostor": int((~whole.genuine).sum())}
            rates = error_rates(whole)
            # Evenly on the logarithmic scale that it is drawn on; where strangers are rarely accepted matters most.
            wanted = np.concatenate([[0.0], np.geomspace(1e-4, 1, _DET_POINTS)])
            at = np.unique(np.searchsorted(rates.fmr, wanted, side="right") - 1)
            at = at[at >= 0]
            self.det += [{"model": model, "fmr": rates.fmr[i], "fnmr": rates.fnmr[i]} for i in at]
        for gallery in GALLERIES:
            ranks = [found for part in heard if (found := getattr(part, _RANKS_OF[gallery])) is not None]
            if ranks:
                self.gallery += _curve(model, gallery, ranks, n_resamples, seed)

    def write(self, run: Run, figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        """Write the tables, and with them all figures."""
        rows = [{"model": m, "metric": k} | dict(v) for m, each in figures.items() for k, v in each.items()]
        run.write_table("figures", pd.DataFrame(rows))
        run.write_table("cost", pd.DataFrame(self.cost).T.rename_axis("model").reset_index())
        if self.roc:
            run.write_table("table1", pd.DataFrame([self._line(model, each) for model, each in figures.items()]))
            run.write_table("roc", pd.DataFrame(self.roc))
        if self.gallery:
            run.write_table("gallery", pd.DataFrame(self.gallery))
        if self.det:
            run.write_table("det", pd.DataFrame(self.det))

    def _line(self, model: str, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return an attacker's line of Table I."""
        line: dict[str, Any] = {"task": self.task, "model": model, "unit": UNIT_OF[self.task]} | self.asked[model]
        for metric in FIGURES:
            figure = figures[metric]
            line |= {metric: figure["value"]} | {f"{metric}_{end}": figure[end] for end in ("low", "high", "chance")}
        return line | self.cost[model]
