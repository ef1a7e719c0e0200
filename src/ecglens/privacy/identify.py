# SPDX-License-Identifier: Apache-2.0
"""`identify`: how surely could somebody with these ECGs say whose they are, or what sex and age? Aggregates only.

RUN/identification.json   the figures, as the command line prints them
RUN/tables/               figures, gallery curves, DET points, people by age group; nobody's records
RUN/work/                 networks in training, while the run lasts: they recognise people, so they are deleted then
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.errors import UsageError
from ecglens.preprocessing.prepare import describe_exclusions
from ecglens.privacy import unveiled
from ecglens.privacy.attackers import ATTACKERS, PEOPLE_A_BATCH, STEPS_AN_EPOCH
from ecglens.privacy.controls import as_json, controls, refuse_doubled_recordings
from ecglens.privacy.protocols import Split, make_splits
from ecglens.privacy.scoring import Heard, Material, name, tell_apart
from ecglens.privacy.windows import PER_PERSON, Windowed, count_age_groups, cut_windows
from ecglens.runs.files import write_json
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run
from ecglens.statistics.biometrics import (
    OpenSet,
    Ranked,
    chance,
    detection_and_identification,
    error_rates,
    identification,
    joined,
    mean_over_people,
    random_gallery_hits,
    verification,
)
from ecglens.statistics.bootstrap import Estimate
from ecglens.statistics.classification import classification
from ecglens.statistics.figures import clean

RESULT = "identification.json"
NAMED = ("transecg", "cnn", "bilstm", *unveiled.MODELS)  # what `all` means
MODELS = (*ATTACKERS, *unveiled.MODELS)
PURPOSE = "risk-assessment"
FMRS, FARS = (0.01, 0.001), (0.1, 0.01)
ALIVE = 0.886  # TransECG's accuracy for identity under random windows, which an attack that works must reach
_SIZES = (2, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000)
_DET_POINTS = 200
# Windows a second in training, on one core of 2026; only to say beforehand how long a run takes.
_SPEED = {
    "transecg": 86.0,
    "transecg-patch5": 12.0,
    "cnn": 400.0,
    "cnn-beats": 1500.0,
    "cnn-ghazarian": 250.0,
    "bilstm": 60.0,
}


@dataclass(frozen=True)
class Identified:
    """What `identify` returns: its run, and the figures as they stand in JSON."""

    run: Run
    data: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return self.data


def identify(
    cohorts: Sequence[Cohort],
    out: str | Path,
    *,
    task: str = "person",
    protocol: str = "verification",
    models: Sequence[str] = ("cnn",),
    lead: str = "auto",
    preparation: str = "paper",
    per_person: int = PER_PERSON,
    n_folds: int = 5,
    n_resamples: int = 2000,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Identified:
    """Measure what attackers find out from one lead of the people in `cohorts`, on splits worth their name.

    task        person, or sex and age (always on people never trained on, unless the protocol is `paper`)
    protocol    a name of `protocols.PROTOCOLS`
    models      names of MODELS
    lead, preparation, per_person   see `windows.cut_windows`
    n_folds     parts of the people, each asked about by a network that has not seen it

    Nothing that is written says whose a record is. Raises InputError, with the protocol to use instead, where the data
    do not have what the protocol needs; LeakError where one recording stands there as two people's; UsageError for an
    unknown task, protocol or model; ContractError where a resumed run had other arguments.
    """
    unknown = [model for model in models if model not in MODELS]
    if unknown or not models:
        raise UsageError("identify", "model", ", ".join(unknown) or "none", f"all, {', '.join(MODELS)}")
    run, began = Run(Path(out)), time.monotonic()
    described = dict(arguments or {}) | {
        "task": task, "protocol": protocol, "models": list(models), "lead": lead, "preparation": preparation,
        "per_person": per_person, "n_folds": n_folds, "n_resamples": n_resamples,
    }  # fmt: skip
    with run.writing():
        began_before = (run.folder / "run.json").exists()
        run = Run.create(run.folder, "identify", described, seed, resume)
        try:
            windowed = cut_windows(
                cohorts, preparation=preparation, lead=lead, per_person=per_person, progress=progress
            )
            refuse_doubled_recordings(windowed.table)
            splits = make_splits(windowed.table, protocol, task, n_folds=n_folds, seed=seed)
        except BaseException:
            if not began_before:
                run.discard()  # data that are refused leave no run behind
            raise
        expected = expected_seconds(models, windowed, splits, task, protocol)
        run.note(expected_seconds=expected)
        progress("expected", 0, len(models) * len(splits), f"about {max(1, round(expected / 60))} min in all")
        material = Material(windowed, windowed.seen(), _features(models, windowed, progress))
        labels, classes = _labels(windowed.table, splits, task)
        figures, tables = {}, _Tables()
        for model in models:
            heard = []
            for number, split in enumerate(splits):
                where = run.folder / "work" / model / split.name
                tell = _counted(progress, f"{model}, {split.name} of {len(splits)}")
                if task == "person" and split.unseen_people:
                    heard.append(tell_apart(model, material, split, where, seed=seed + number, progress=tell))
                else:
                    heard.append(
                        name(model, material, split, labels, classes, where, seed=seed + number, progress=tell)
                    )
            figures[model] = _figures(heard, task, n_resamples, seed) | _within(heard, windowed, n_resamples, seed)
            tables.add(model, heard, n_resamples, seed)
            progress("attackers", len(figures), len(models), model)
        data = _data(windowed, splits, task, protocol, figures, labels, seed, n_resamples)
        write_json(run.folder / RESULT, clean(data))
        tables.write(run, figures)
        shutil.rmtree(run.folder / "work", ignore_errors=True)
        _note(run, windowed, cohorts, splits, figures, time.monotonic() - began, tables)
    return Identified(run, data)


def expected_seconds(
    models: Sequence[str], windowed: Windowed, splits: Sequence[Split], task: str, protocol: str
) -> float:
    """Return about how long the attackers take, in s, at the speed of one core of 2026."""
    total = 0.0
    for model in models:
        if model not in ATTACKERS:
            total += 0.03 * len(windowed) + 10 * len(splits)
            continue
        apart = task == "person" and protocol in ("verification", "open-set", "cross-session")
        recipe = ATTACKERS[model].embed if apart else ATTACKERS[model].classify
        each = STEPS_AN_EPOCH * PEOPLE_A_BATCH
        total += sum(recipe.epochs * (each if apart else len(split.train)) for split in splits) / _SPEED[model]
    return total


# -------------------------------------------------------------------------------------------------------------- figures


def _figures(heard: Sequence[Heard], task: str, n_resamples: int, seed: int) -> dict[str, dict[str, float]]:
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
    hits, people, chances, offset = [], [], [], 0
    for part in ranks:
        own = size or part.n_others + 1
        hits.append(random_gallery_hits(part.better, part.ties, part.n_others, own, k))
        people.append(part.people + offset)
        chances.append(np.full(len(part.people), min(1.0, k / own)))
        offset += int(part.people.max(initial=0)) + 1
    told = mean_over_people(np.concatenate(hits), np.concatenate(people), n_resamples=n_resamples, seed=seed)
    return told, float(np.concatenate(chances).mean())


def _class_figures(heard: Sequence[Heard], task: str, n_resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """Return accuracy and its kin by window, and by person (sex, age) or by recording (person) as one answer."""
    rows = _rows(heard)
    scores, labels, people = rows["scores"], rows["labels"], rows["people"]
    if task == "person":
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
    mean = pd.DataFrame(scores).groupby(people).mean()
    truth = pd.Series(labels).groupby(people).first()
    told, chances = classification(
        mean.to_numpy(), truth.to_numpy(), mean.index.tolist(), n_resamples=n_resamples, seed=seed
    )
    out = {metric: as_json(estimate, chances[metric]) for metric, estimate in told.items()}
    by_window, window_chances = classification(scores, labels, people, n_resamples=n_resamples, seed=seed)
    return out | {"window_accuracy": as_json(by_window["accuracy"], window_chances["accuracy"])}


def _rows(heard: Sequence[Heard]) -> dict[str, np.ndarray]:
    return {
        key: np.concatenate([getattr(part, key) for part in heard])
        for key in ("scores", "labels", "people", "recordings", "databases")
    }


def _one_open_set(parts: Sequence[OpenSet]) -> OpenSet:
    offset, people = 0, []
    for part in parts:
        people.append(part.people + offset)
        offset += int(part.people.max()) + 1
    return OpenSet(
        np.concatenate([p.scores for p in parts]), np.concatenate([p.right for p in parts]),
        np.concatenate([p.known for p in parts]), np.concatenate(people), parts[0].size,
    )  # fmt: skip


def _within(heard: Sequence[Heard], windowed: Windowed, n_resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the accuracy on each database alone, where there are several and classes were named."""
    if windowed.table["database"].nunique() < 2 or heard[0].scores is None:
        return {}
    rows, out = _rows(heard), {}
    for database in sorted(set(rows["databases"].tolist())):
        here = rows["databases"] == database
        right = rows["scores"][here].argmax(axis=1) == rows["labels"][here]
        told = mean_over_people(right, rows["people"][here], n_resamples=n_resamples, seed=seed)
        commonest = float(np.bincount(rows["labels"][here]).max() / here.sum())
        out[f"within_{database}"] = as_json(told, commonest)
    return out


# ----------------------------------------------------------------------------------------------------------------- told


class _Tables:
    """Curves of each attacker: gallery size, DET, cost."""

    def __init__(self) -> None:
        self.gallery: list[dict[str, Any]] = []
        self.det: list[dict[str, Any]] = []
        self.cost: dict[str, dict[str, float]] = {}
        self.n_trials: dict[str, int] = {}

    def add(self, model: str, heard: Sequence[Heard], n_resamples: int, seed: int) -> None:
        parts = [part.cost for part in heard if part.cost is not None]
        self.cost[model] = {
            "parameters": float(max(part["parameters"] for part in parts)),
            "multiply_adds": float(max(part["multiply_adds"] for part in parts)),
            "seconds": float(sum(part["seconds"] for part in parts)),
        }
        trials = [part.trials for part in heard if part.trials is not None]
        ranks = [part.ranks for part in heard if part.ranks is not None]
        if trials:
            whole = joined(trials)
            self.n_trials = {"genuine": int(whole.genuine.sum()), "impostor": int((~whole.genuine).sum())}
            rates = error_rates(whole)
            at = np.unique(np.linspace(0, len(rates.fmr) - 1, _DET_POINTS).round().astype(int))
            self.det += [{"model": model, "fmr": rates.fmr[i], "fnmr": rates.fnmr[i]} for i in at]
        if ranks:
            largest = min(part.n_others for part in ranks) + 1
            for size in sorted({*[s for s in _SIZES if s < largest], largest}):
                told, level = rank_over_folds(ranks, 1, size=size, n_resamples=n_resamples, seed=seed)
                self.gallery.append({"model": model, "size": size} | as_json(told, level))

    def write(self, run: Run, figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        rows = [{"model": m, "metric": k} | dict(v) for m, each in figures.items() for k, v in each.items()]
        run.write_table("figures", pd.DataFrame(rows))
        run.write_table("cost", pd.DataFrame(self.cost).T.rename_axis("model").reset_index())
        if self.gallery:
            run.write_table("gallery", pd.DataFrame(self.gallery))
        if self.det:
            run.write_table("det", pd.DataFrame(self.det))


def _data(
    windowed: Windowed, splits: Sequence[Split], task: str, protocol: str, figures: dict[str, Any], labels: pd.Series,
    seed: int, n_resamples: int,
) -> dict[str, Any]:  # fmt: skip
    asked = np.unique(np.concatenate([np.concatenate([s.enrol, s.probe]) for s in splits]))
    part = windowed.table.iloc[asked]
    gallery = [windowed.table["person"].iloc[s.enrol if len(s.enrol) else s.train].nunique() for s in splits]
    told = controls(windowed, None if task == "person" else labels, seed=seed, n_resamples=n_resamples)
    told["inflated"] = protocol == "paper"
    told["attack_alive"] = None
    if protocol == "paper" and task == "person" and "transecg" in figures:
        told["attack_alive"] = bool(figures["transecg"]["accuracy"]["value"] >= ALIVE)
    if task == "person":
        told["within_database"] = None
    else:
        told["within_database"] = {
            model: {
                metric.removeprefix("within_"): each[metric] for metric in list(each) if metric.startswith("within_")
            }
            for model, each in figures.items()
        } or None
    return {
        "task": task, "protocol": protocol, "n_people": int(part["person"].nunique()),
        "n_records": int(part["recording"].nunique()),
        "gallery_size": int(min(gallery)) if task == "person" else None, "models": figures, "controls": told,
    }  # fmt: skip


def _note(
    run: Run, windowed: Windowed, cohorts: Sequence[Cohort], splits: Sequence[Split],
    figures: Mapping[str, Any], seconds: float, tables: _Tables,
) -> None:  # fmt: skip
    people = windowed.table.drop_duplicates("person")
    run.note(
        finished=True, seconds=seconds, n_trials=tables.n_trials,
        data={
            "names": [cohort.name for cohort in cohorts], "n_people": windowed.n_people,
            "n_records": windowed.n_records, "n_windows": len(windowed),
            "people_by_database": people["database"].value_counts().to_dict(),
            "leads": {str(k): int(n) for k, n in (people["database"] + " " + people["lead"]).value_counts().items()},
            "age_groups": count_age_groups(windowed.table),
            "sex": {str(k): int(v) for k, v in people["sex"].fillna("unknown").value_counts().items()},
            "excluded": describe_exclusions(windowed.excluded), "preparation": windowed.preparation.says,
            "citation": "\n".join(dict.fromkeys(cohort.citation for cohort in cohorts if cohort.citation)),
        },
        splits=[
            {
                "name": split.name,
                **{
                    role: int(windowed.table["person"].iloc[getattr(split, role)].nunique())
                    for role in ("train", "valid", "enrol", "probe")
                },
            }
            for split in splits
        ],
    )  # fmt: skip


def _labels(table: pd.DataFrame, splits: Sequence[Split], task: str) -> tuple[pd.Series, list[str]]:
    """Return the label of each window and the classes, in order."""
    if task == "person":
        return table["person"], sorted(table["person"].iloc[splits[0].train].unique())
    labels = table["sex" if task == "sex" else "age_group"]
    learnt = np.concatenate([split.train for split in splits])
    return labels, sorted(labels.iloc[learnt].dropna().unique())


def _features(models: Sequence[str], windowed: Windowed, progress: Progress) -> np.ndarray | None:
    if not set(models) & set(unveiled.MODELS):
        return None
    return unveiled.window_features(windowed, progress)


def _counted(progress: Progress, what: str) -> Progress:
    def tell(stage: str, done: int, of: int, note: str) -> None:
        progress(f"{stage} {what}", done, of, note)

    return tell
