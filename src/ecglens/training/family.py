# SPDX-License-Identifier: Apache-2.0
"""Families: the same recipe trained on other patients (folds) or from other beginnings (seeds), and their average.

RUN/members/fold-3   the training of one member, a run of its own
RUN/bundles/fold-3   the bundle that has seen nobody of fold 3; with several seeds, their average
RUN/bundles/seed-1   the bundle of one seed
RUN/bundles/final    the average of all, for new patients
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.bundle import Bundle, TrainedOn
from ecglens.cohort import Cohort, Excluded
from ecglens.errors import UsageError
from ecglens.models.average import Average, members_of
from ecglens.models.registry import MOST_MEMBERS
from ecglens.prediction.calibration import calibrate, thresholds_of
from ecglens.prediction.evaluate import score_prepared
from ecglens.preprocessing.prepare import Prepared, describe_exclusions, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.training.card import model_card
from ecglens.training.classes import learnable
from ecglens.training.recipes import Recipe
from ecglens.training.train import FOLDS, has_folds, split_for_training, train

N_FOLDS = 10  # drawn where a cohort has none


@dataclass(frozen=True)
class Family:
    """What `train_family` returns: its run, the bundles by name (`fold-3`, `seed-1`, `final`), and who was left out."""

    run: Run
    bundles: dict[str, Bundle]
    excluded: tuple[Excluded, ...] = ()


@dataclass(frozen=True)
class _Member:
    name: str
    group: str  # the bundle it goes into
    seed: int
    folds: Mapping[str, Sequence[int]]


def train_family(
    cohort: Cohort,
    recipe: Recipe,
    out: str | Path,
    *,
    cross_validate: bool = False,
    seeds: int = 1,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    drop_empty_classes: bool = False,
    min_patients: int = 0,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Family:
    """Train several bundles of one recipe, and average them.

    cross_validate   one bundle per fold, trained without it; the fold before it chooses epoch and thresholds. Folds
                     are the cohort's, or drawn by patient where it has none
    seeds            networks per fold (or on folds 1-8), from `seed` on; they are averaged
    drop_empty_classes, min_patients  as in `train`, over the parts of all members: all have the same classes

    A member that is finished is not trained again on `resume`. The average of the seeds is calibrated on the
    validation records; that of the folds has seen everybody here, and takes the medians of its members' temperatures
    and thresholds. Raises UsageError for a family of one, and what `train` raises.
    """
    if not cross_validate and seeds < 2:
        raise UsageError("train", "family", "one seed, no folds", "several seeds, or --folds all")
    cohort = with_folds(cohort, seed)
    members = _members(cohort, cross_validate, seeds, seed)
    if len(members) > MOST_MEMBERS:
        raise UsageError("train", "networks", len(members), f"up to {MOST_MEMBERS}", "fewer --seeds")
    if drop_empty_classes or min_patients:  # before the first member is trained: all have the same outputs
        cohort = learnable(cohort, [cohort.split("fold", folds=member.folds) for member in members], min_patients)
    for member in members:
        split_for_training(cohort, seed, member.folds)  # refuses now what the last member could not learn
    run = Run(Path(out))
    with run.writing():
        begun_before = run.begun
        described = dict(arguments or {}) | {"recipe": recipe.as_config(), "members": [m.name for m in members]}
        run = Run.create(run.folder, "train-family", described, seed, resume, by_content=("data",))
        with run.discarded_if_refused(begun_before):
            everybody = prepare(cohort, recipe.preprocessing, cache=cache, progress=progress)
            for member in members:  # again: what could not be read is gone now
                split_for_training(everybody.cohort, seed, member.folds)
            data = _about_data(everybody)
            run.refuse_other_data(run.read().get("data", {}).get("sha256"), data["sha256"], "signals and labels")
            run.note(data=data)
        groups: dict[str, list[Bundle]] = {}
        for number, member in enumerate(members):
            where = run.folder / "members" / member.name
            tell = _counted(progress, f"{member.name}, {number + 1} of {len(members)}")
            bundle = _train_member(cohort, everybody, recipe, where, member, arguments or {}, tell)
            groups.setdefault(member.group, []).append(bundle)
        bundles = {name: _joined(name, own, everybody, members, recipe) for name, own in groups.items()}
        bundles["final"] = _final(bundles, everybody, members, recipe, cross_validate)
        for name, bundle in bundles.items():
            bundle.save(run.bundle_folder(name))
        excluded = _excluded(run, members)
        run.note(
            bundles={name: bundle.weights_sha256 for name, bundle in bundles.items()},
            members=[_about(run, member) for member in members],
            folds={record: int(fold) for record, fold in cohort.metadata["fold"].items()},
            data=data | {"excluded": describe_exclusions((*cohort.excluded, *excluded))},
            weights_sha256=bundles["final"].weights_sha256,
            finished=True,
        )
    return Family(run, bundles, excluded)


def average(bundles: Sequence[Bundle], name: str, trained_on: TrainedOn) -> Bundle:
    """Return one bundle whose logits are the mean of those of `bundles`, which must agree in all but their weights.

    bundles      of one network each, or averages of as many: then of all networks behind them
    trained_on   everybody whom a member has seen; salts differ, so this cannot be read off the members

    Temperatures, offsets and thresholds (by every rule) are the medians of the members', until they are fitted on
    records that no member was trained on. Raises UsageError where outputs, preparation, architecture or label rule
    differ.
    """
    first = bundles[0]
    for other in bundles[1:]:
        if other.classes != first.classes:
            raise UsageError(name, "outputs", ", ".join(other.classes), f"{', '.join(first.classes)}, as the others")
        for what in ("preprocessing", "architecture", "arguments", "label_rule"):
            if getattr(other, what) != getattr(first, what):
                raise UsageError(name, what, getattr(other, what), f"{getattr(first, what)}, as the others")
    outputs = tuple(
        replace(
            output,
            temperature=float(np.median([b.outputs[k].temperature for b in bundles])),
            offset=float(np.median([b.outputs[k].offset for b in bundles])),
            threshold=_median([b.outputs[k].threshold for b in bundles]),
        )
        for k, output in enumerate(first.outputs)
    )
    networks = [network for bundle in bundles for network in members_of(bundle.network)]
    one = {"architecture": first.architecture, "arguments": first.arguments}
    if first.architecture == "Average":
        one = {name: first.arguments[name] for name in one}
    rules = [thresholds_of(bundle) for bundle in bundles]
    thresholds = {
        rule: {name: _median([each[rule][name] for each in rules]) for name in first.classes}
        for rule in rules[0] if all(rule in each for each in rules)
    }  # fmt: skip
    epochs = [bundle.details.get("best_epoch") for bundle in bundles]
    return replace(
        first,
        network=Average(networks),
        architecture="Average",
        arguments=one | {"n_members": len(networks)},
        outputs=outputs,
        name=name,
        trained_on=trained_on,
        card="",
        details={
            **first.details, "members": [bundle.weights_sha256 for bundle in bundles], "thresholds": thresholds,
            "best_epoch": epochs,
        },
    )  # fmt: skip


def with_folds(cohort: Cohort, seed: int, n_folds: int = N_FOLDS) -> Cohort:
    """Return the cohort with a fold for each record: its own folds, or folds drawn by patient.

    Raises LeakError where a patient is unknown and folds have to be drawn.
    """
    if has_folds(cohort):
        return cohort
    parts = cohort.split("patient", fractions={str(k): 1 / n_folds for k in range(1, n_folds + 1)}, seed=seed)
    fold = {record: int(name) for name, part in parts.items() for record in part.record_ids}
    return replace(cohort, metadata=cohort.metadata.assign(fold=[fold[record] for record in cohort.record_ids]))


def _members(cohort: Cohort, cross_validate: bool, seeds: int, seed: int) -> list[_Member]:
    numbers = range(seed, seed + seeds)
    if not cross_validate:
        return [_Member(f"seed-{number}", f"seed-{number}", number, FOLDS) for number in numbers]
    folds = sorted({int(fold) for fold in cohort.metadata["fold"]})
    if len(folds) < 3:
        raise UsageError(cohort.name, "folds", folds, "three or more: to train on, to choose on, to be left out")
    members = []
    for place, tested in enumerate(folds):
        valid = folds[place - 1]  # the fold before; before the first comes the last
        parts = {"train": [fold for fold in folds if fold not in (tested, valid)], "valid": [valid]}
        group = f"fold-{tested}"
        members += [_Member(group if seeds == 1 else f"{group}-seed-{n}", group, n, parts) for n in numbers]
    return members


def _train_member(
    cohort: Cohort, everybody: Prepared, recipe: Recipe, folder: Path, member: _Member, arguments: Mapping[str, Any],
    progress: Progress,
) -> Bundle:  # fmt: skip
    begun = (folder / "run.json").exists()
    if begun and Run(folder).read().get("finished"):
        return Bundle.load(folder)
    return train(
        cohort, recipe, folder, seed=member.seed, resume=begun, arguments=arguments, folds=member.folds,
        prepared=everybody, progress=progress,
    ).bundle  # fmt: skip


def _about(run: Run, member: _Member) -> dict[str, Any]:
    """Return what the page of the family tells of one member."""
    about = Run(run.folder / "members" / member.name).read()
    left_out = member.group.removeprefix("fold-") if member.group.startswith("fold-") else None
    return {
        "name": member.name, "seed": member.seed, "left_out": left_out, "best_epoch": about["best_epoch"],
        "macro_auroc": about["valid"]["macro_auroc"],
    }  # fmt: skip


def _about_data(everybody: Prepared) -> dict[str, Any]:
    cohort = everybody.cohort
    return {
        "name": cohort.name, "label_rule": cohort.label_rule, "classes": list(cohort.classes),
        "sha256": hash_of([everybody.fingerprints, cohort.labels.to_csv(index=False)]),
        "n_records": {"all folds": len(cohort)}, "n_patients": {"all folds": cohort.n_patients},
        "labels": {"all folds": cohort.labels.sum().astype(int).to_dict()},
        "citation": cohort.citation,
    }  # fmt: skip


def _excluded(run: Run, members: Sequence[_Member]) -> tuple[Excluded, ...]:
    """Gather whom the members left out (not those that the loader left out by rule), and write the table."""
    tables = [Run(run.folder / "members" / member.name).read_table("excluded") for member in members]
    whole = pd.concat([table for table in tables if table is not None]).drop_duplicates("record_id")
    run.write_table("excluded", whole.drop(columns="part"))
    unusable = whole[whole["part"] != "loading"]
    return tuple(Excluded(str(row.record_id), str(row.kind), str(row.reason)) for row in unusable.itertuples())


def _joined(
    name: str, own: Sequence[Bundle], everybody: Prepared, members: Sequence[_Member], recipe: Recipe
) -> Bundle:
    """Return the bundle of one group: its only member, or the average of its seeds, which saw the same people."""
    if len(own) == 1:
        return replace(own[0], name=f"{own[0].name}, {name}")
    folds = next(member.folds for member in members if member.group == name)
    joined = average(own, f"{own[0].name}, {name}, mean of {len(own)} seeds", own[0].trained_on)
    return _calibrated(joined, _folds(everybody, folds["valid"]), recipe)


def _calibrated(joined: Bundle, valid: Prepared, recipe: Recipe) -> Bundle:
    """Return an average calibrated on the records that chose its members' epochs, with its card."""
    bundle = calibrate(joined, valid, method=recipe.calibration, rule=recipe.thresholds)
    figures = score_prepared(bundle, valid, n_resamples=2000, seed=0).as_dict()
    return replace(bundle, card=model_card(bundle, figures))


def _final(
    bundles: Mapping[str, Bundle], everybody: Prepared, members: Sequence[_Member], recipe: Recipe, cross_validate: bool
) -> Bundle:
    own = list(bundles.values())
    name = f"mean of {len(own)} {'folds' if cross_validate else 'seeds'}"
    if not cross_validate:
        valid = _folds(everybody, members[0].folds["valid"])
        return _calibrated(average(own, name, own[0].trained_on), valid, recipe)
    salt = hash_of([bundle.weights_sha256 for bundle in own])[:16]
    seen = TrainedOn.of(salt, train=(everybody.cohort.patient_keys, everybody.fingerprints))
    joined = average(own, name, seen)
    details = dict(joined.details) | {
        "n_records": {"all folds": len(everybody.cohort)}, "n_patients": {"all folds": everybody.cohort.n_patients},
        "selected_on": "each fold on another",
    }  # fmt: skip
    joined = replace(joined, details=details)
    return replace(joined, card=model_card(joined, None))


def _folds(everybody: Prepared, folds: Sequence[int]) -> Prepared:
    return everybody.part(everybody.cohort.where(fold=list(folds)))


def _counted(progress: Progress, member: str) -> Progress:
    def tell(what: str, done: int, of: int, note: str) -> None:
        progress(f"{what} {member}", done, of, note)

    return tell


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
