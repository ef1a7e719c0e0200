# SPDX-License-Identifier: Apache-2.0
"""Families under test: each record is scored by the bundle that has seen nobody of its fold; two runs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort, Excluded
from ecglens.errors import ContractError, UsageError
from ecglens.prediction.assess import assess
from ecglens.prediction.calibration import deciding_by, thresholds_of
from ecglens.prediction.evaluate import N_RESAMPLES, Evaluation, people_of, prepare_strangers, score_prepared, sides_of
from ecglens.runs.cache import Cache
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run
from ecglens.statistics.bootstrap import METRICS, Estimate, paired_difference, score_table
from ecglens.statistics.metrics import auroc, decide

_THRESHOLD_FREE = METRICS[:2]


def folds_of(where: str | Path, cohort: Cohort) -> Cohort | None:
    """Return the cohort with the folds that the family at `where` was cross-validated on.

    None where `where` is no run of `ecglens train --folds all`, or the cohort is not the one it was trained on: then
    its bundle `final` is the one to score. Records that were not there at training are left out, and listed.
    """
    if not (Path(where) / "run.json").exists():
        return None
    about = Run(Path(where)).read()
    if not _is_cross_validated(about) or about["data"]["name"] != cohort.name:
        return None
    folds = about["folds"]
    new = [record for record in cohort.record_ids if record not in folds]
    known = cohort.take([i for i, record in enumerate(cohort.record_ids) if record in folds])
    reasons = tuple(Excluded(r, "new_record", "was not there when the family was trained: no fold") for r in new)
    metadata = known.metadata.assign(fold=[folds[record] for record in known.record_ids])
    return replace(known, metadata=metadata, excluded=(*known.excluded, *reasons))


def evaluate_family(
    run: Run,
    cohort: Cohort,
    *,
    rule: str = "",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> tuple[Evaluation, dict[int, Evaluation]]:
    """Score each record of `cohort` with the bundle trained without its fold: all together, and fold by fold.

    rule   by which each network's thresholds were chosen (`calibration.RULES`); default its own

    Discrimination of all together ranks probabilities of different networks among each other, which costs a little;
    decisions are each network's own, at its own thresholds. Raises ContractError where the run is no family of folds
    or the cohort another one, LeakError where a bundle has seen a patient of its own fold.
    """
    known = _with_folds(run, cohort)
    parts: dict[int, Evaluation] = {}
    by_rule: dict[str, list[pd.DataFrame]] = {}
    for fold, own, part in bundles_of(run, known):
        bundle = deciding_by(own, rule) if rule else own
        strangers = prepare_strangers(bundle, part, cache=cache, progress=progress)
        parts[fold] = score_prepared(bundle, strangers, n_resamples=n_resamples, seed=seed, progress=progress)
        for name, cuts in thresholds_of(bundle).items():
            by_rule.setdefault(name, []).append(_decisions(parts[fold].probabilities, cuts))
    decided_by = {name: pd.concat(tables) for name, tables in by_rule.items() if len(tables) == len(parts)}
    return _together(known, parts, decided_by, n_resamples, seed), parts


def bundles_of(run: Run, cohort: Cohort) -> Iterator[tuple[int, Bundle, Cohort]]:
    """Yield each fold with the bundle that has seen nobody of it, and the records of `cohort` that are in it.

    Raises ContractError where the run is no family of folds or the cohort another one.
    """
    known = _with_folds(run, cohort)
    for fold in sorted({int(fold) for fold in known.metadata["fold"]}):
        yield fold, Bundle.load(run.bundle_folder(f"fold-{fold}")), known.where(fold=fold)


def weights_of(tested: Bundle | Run, cohort: Cohort) -> list[str]:
    """Return the hash of the weights of each network that is asked: of a bundle its own, of a family one per fold."""
    bundles = [tested] if isinstance(tested, Bundle) else [bundle for _, bundle, _ in bundles_of(tested, cohort)]
    return [bundle.weights_sha256 for bundle in bundles]


def _with_folds(run: Run, cohort: Cohort) -> Cohort:
    known = folds_of(run.folder, cohort)
    if known is None or not len(known):
        raise ContractError(
            run.folder, "family", f"no bundles per fold for {cohort.name}",
            "a run of `ecglens train --folds all` on this data", "for other data use its bundle `final`",
        )  # fmt: skip
    return known


def compare(a: Evaluation, b: Evaluation, people: Mapping[str, str], *, seed: int = 0) -> pd.DataFrame:
    """Return the AUROC of a minus that of b on the records both have scored, per class and `macro`, paired by patient.

    people   patient of each record

    Columns: class, value, low, high, n, n_patients, method, auroc_a, auroc_b. Raises ContractError where classes or
    labels of the two differ.
    """
    shared = [record for record in a.labels.index if record in b.labels.index]
    if list(a.labels.columns) != list(b.labels.columns):
        raise ContractError("compare", "classes", ", ".join(b.labels.columns), ", ".join(a.labels.columns))
    if not shared:
        raise UsageError("compare", "records", "none in common", "two evaluations of the same records")
    labels = a.labels.loc[shared].to_numpy()
    if not np.array_equal(labels, b.labels.loc[shared].to_numpy(), equal_nan=True):
        raise ContractError(
            "compare", "labels", f"{a.label_rule} and {b.label_rule}", "one label rule", "score both under one rule"
        )
    first, second = (e.probabilities.loc[shared].to_numpy() for e in (a, b))
    patients = [people[record] for record in shared]
    every = range(labels.shape[1])
    differences = [_difference(labels, first, second, [k], patients, seed) for k in every]
    known = [k for k in every if not np.isnan(differences[k].value)]
    told = [*differences, _difference(labels, first, second, list(every), patients, seed)]
    columns = [*([k] if k in known else [] for k in every), known]
    return pd.DataFrame([
        {
            "class": name, **difference.as_dict(),
            "auroc_a": _mean_auroc(labels, first, of), "auroc_b": _mean_auroc(labels, second, of),
        }
        for name, difference, of in zip((*a.labels.columns, "macro"), told, columns, strict=True)
    ])  # fmt: skip


def _difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, of: list[int], patients: Sequence[str], seed: int
) -> Estimate:
    return paired_difference(labels[:, of], first[:, of], second[:, of], patients, seed=seed)


def _is_cross_validated(about: Mapping[str, Any]) -> bool:
    return any(name.startswith("fold-") for name in about.get("bundles", {}))


def _together(
    cohort: Cohort, parts: Mapping[int, Evaluation], decided_by: Mapping[str, pd.DataFrame], n_resamples: int, seed: int
) -> Evaluation:  # fmt: skip
    probabilities = pd.concat([part.probabilities for part in parts.values()])
    labels = pd.concat([part.labels for part in parts.values()])
    decided = pd.concat([_decisions(part.probabilities, part.thresholds) for part in parts.values()])
    place = {record: i for i, record in enumerate(cohort.record_ids)}
    used = cohort.take([place[record] for record in labels.index])
    people = people_of(used)
    ranked, called = (
        score_table(labels.to_numpy(), table.to_numpy(), list(labels.columns), people, cuts, n_resamples=n_resamples,
                    seed=seed)
        for table, cuts in ((probabilities, None), (decided, [0.5] * labels.shape[1]))
    )  # fmt: skip
    free = ranked["metric"].isin(_THRESHOLD_FREE)
    scores = ranked.where(free, called)
    scores["threshold"] = np.nan  # each fold has its own
    excluded = {entry.record_id: entry for part in parts.values() for entry in part.excluded}
    known = labels.notna().any(axis=1).to_numpy()
    assessment = assess(
        labels, probabilities, people, used.metadata, [None] * labels.shape[1], decided=decided,
        decided_by=decided_by, n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    return Evaluation(
        scores, probabilities, labels, dict.fromkeys(labels.columns), cohort.label_rule, int(known.sum()),
        len({person for person, k in zip(people, known, strict=True) if k}), tuple(excluded.values()),
        sides_of(labels, people), assessment, decided,
    )  # fmt: skip


def _decisions(probabilities: pd.DataFrame, cuts: Mapping[str, float | None]) -> pd.DataFrame:
    """Return 1 or 0 [record x class] at thresholds by class; never 1 where there is none."""
    columns = {}
    for name in probabilities.columns:
        cut = cuts[str(name)]
        columns[name] = decide(probabilities[name].to_numpy(), np.inf if cut is None else cut).astype(float)
    return pd.DataFrame(columns, index=probabilities.index)


def _mean_auroc(labels: np.ndarray, said: np.ndarray, columns: Sequence[int]) -> float:
    """Return the mean AUROC of the columns on records whose label is known; NaN of none."""
    known = [~np.isnan(labels[:, k]) for k in columns]
    each = [auroc(labels[here, k], said[here, k]) for k, here in zip(columns, known, strict=True)]
    return float(np.mean(each)) if each else float("nan")
