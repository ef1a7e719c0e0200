# SPDX-License-Identifier: Apache-2.0
"""`evaluate`: how good a bundle is on patients it has never seen, with an interval on every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort, Excluded
from ecglens.errors import ContractError
from ecglens.prediction.assess import Assessment, assess
from ecglens.prediction.calibration import thresholds_of
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.progress import Progress, silent
from ecglens.statistics.bootstrap import score_table
from ecglens.statistics.figures import json_number, too_few
from ecglens.statistics.task import FEW, with_and_without

N_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one bundle on one cohort.

    scores          tidy table: class, metric, value, low, high, n, n_positive, n_patients, chance, baseline, ...
    probabilities   [record x class], index = record ids
    labels          the same shape, NaN unknown
    excluded        what was left out, and why
    sides           of each class: patients with a record that has it, and with one that lacks it
    assessment      calibration, decision curves, operating points, subgroups; None where only scores were asked for
    decided         [record x class] 1 or 0, where not one threshold decides for all records (a family's)
    """

    scores: pd.DataFrame
    probabilities: pd.DataFrame
    labels: pd.DataFrame
    thresholds: dict[str, float | None]
    label_rule: str
    n: int
    n_patients: int
    excluded: tuple[Excluded, ...]
    sides: Mapping[str, tuple[int, int]]
    assessment: Assessment | None = None
    decided: pd.DataFrame | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures must know: classes that too few patients have, or lack."""
        return too_few(self.sides, FEW)

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as it stands in JSON output."""
        per_class = {name: self._figures(name) | {"threshold": self.thresholds[name]} for name in self.labels.columns}
        return {
            "label_rule": self.label_rule,
            "n": self.n,
            "n_patients": self.n_patients,
            "macro_auroc": self._figures("macro")["auroc"],
            "macro": self._figures("macro"),
            "per_class": per_class,
            "warnings": list(self.warnings),
            "excluded": [{"record_id": e.record_id, "kind": e.kind, "reason": e.reason} for e in self.excluded],
        } | (self.assessment.as_dict() if self.assessment else {})

    def _figures(self, name: str) -> dict[str, Any]:
        rows = self.scores[self.scores["class"] == name]
        columns = ["value", "low", "high", "n", "n_positive", "n_patients", "chance", "baseline", "method"]
        return {str(row["metric"]): {key: json_number(row[key]) for key in columns} for _, row in rows.iterrows()}


def evaluate(
    bundle: Bundle,
    cohort: Cohort,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Score `bundle` on all records of `cohort` that it can use.

    Intervals are 95 %, by bootstrap over patients. Raises ContractError where the labels do not cover the bundle's
    outputs, LeakError where a patient or recording shaped or selected the weights.
    """
    prepared = prepare_strangers(bundle, cohort, cache=cache, progress=progress)
    scored = score_prepared(bundle, prepared, n_resamples=n_resamples, seed=seed, progress=progress)
    more = assess(
        scored.labels, scored.probabilities, people_of(prepared.cohort), prepared.cohort.metadata, bundle.thresholds,
        thresholds_of(bundle), n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    return replace(scored, assessment=more)


def prepare_strangers(
    bundle: Bundle, cohort: Cohort, *, cache: Cache | None = None, progress: Progress = silent
) -> Prepared:
    """Return the records of `cohort` on the bundle's grid. Raises LeakError where it has seen one of these people."""
    _check_labels(bundle, cohort)
    bundle.refuse_own_patients(cohort.name, cohort.patient_keys, ())
    prepared = prepare(cohort, bundle.preprocessing, cache=cache, progress=progress)
    bundle.refuse_own_patients(cohort.name, (), prepared.fingerprints)
    return prepared


def score_prepared(
    bundle: Bundle, prepared: Prepared, *, n_resamples: int, seed: int, progress: Progress = silent
) -> Evaluation:
    """Score records that are already on the network's grid."""
    cohort = prepared.cohort
    labels = cohort.labels[list(bundle.classes)]
    probabilities = bundle.activate(predict_raw(bundle, prepared.signals, progress))
    people = people_of(cohort)
    scores = score_table(
        labels.to_numpy(), probabilities, bundle.classes, people, bundle.thresholds, n_resamples=n_resamples, seed=seed
    )
    known = labels.notna().any(axis=1).to_numpy()
    return Evaluation(
        scores,
        pd.DataFrame(probabilities, index=labels.index, columns=labels.columns),
        labels,
        dict(zip(bundle.classes, bundle.thresholds, strict=True)),
        cohort.label_rule,
        int(known.sum()),
        len({person for person, k in zip(people, known, strict=True) if k}),
        (*cohort.excluded, *prepared.excluded),
        sides_of(labels, people),
    )


def sides_of(labels: pd.DataFrame, people: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return of each class how many people have a record that has it, and one that lacks it."""
    return {str(name): with_and_without(column, people) for name, column in labels.items()}


def people_of(cohort: Cohort) -> list[str]:
    """Return one key per record for the bootstrap: the patient, or the record itself where the patient is unknown."""
    return [
        key if key is not None else f"record:{record}"
        for key, record in zip(cohort.patient_keys, cohort.record_ids, strict=True)
    ]


def _check_labels(bundle: Bundle, cohort: Cohort) -> None:
    unscorable = [o.name for o in bundle.outputs if o.kind not in ("multilabel", "multiclass")]
    if unscorable:
        raise ContractError(bundle.name, "outputs", ", ".join(unscorable), "multilabel or multiclass outputs")
    missing: Sequence[str] = [name for name in bundle.classes if name not in cohort.classes]
    if missing:
        raise ContractError(
            cohort.name, "labels", f"no {', '.join(missing)} among {', '.join(cohort.classes) or 'no classes'}",
            f"the bundle's classes {', '.join(bundle.classes)}", "choose the task the bundle was trained for",
            kind="labels",
        )  # fmt: skip
