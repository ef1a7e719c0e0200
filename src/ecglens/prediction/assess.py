# SPDX-License-Identifier: Apache-2.0
"""Beyond how well classes are told apart: may the probabilities be believed, what are decisions worth, and for whom?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecglens.statistics.bootstrap import score_table
from ecglens.statistics.decision import decision_curve
from ecglens.statistics.figures import json_number, records
from ecglens.statistics.metrics import decide
from ecglens.statistics.reliability import calibration_table, reliability_curve
from ecglens.statistics.subgroups import subgroup_table
from ecglens.statistics.task import MACRO
from ecglens.statistics.together import Cooccurrence, cooccurrence

_FIGURE = ("value", "low", "high")
_AT_A_POINT = ("sensitivity", "specificity", "ppv", "f1")


@dataclass(frozen=True, eq=False)
class Assessment:
    """What stands beside the scores of an evaluation, each figure with its interval over patients.

    calibration   tidy: class, metric (brier, slope, ...), value, low, high, reference, ... see `calibration_table`
    reliability   one row per class and bin: class, mean_probability, observed, low, high, n, n_positive, n_patients
    decisions     decision curves, see `decision_curve`
    points        operating points: rule, class, metric, value, low, high, threshold, n, n_positive, method
    subgroups     see `subgroup_table`
    together      which labels and calls come together
    """

    calibration: pd.DataFrame
    reliability: pd.DataFrame
    decisions: pd.DataFrame
    points: pd.DataFrame
    subgroups: pd.DataFrame
    together: Cooccurrence
    classes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the assessment as it stands in JSON output."""
        return {
            "calibration": {"per_class": {name: self._calibration(name) for name in self.classes}},
            "decision_curves": {"per_class": {name: self._decisions(name) for name in self.classes}},
            "operating_points": self._points(),
            "subgroups": self._subgroups(),
            "cooccurrence": {
                "classes": list(self.classes),
                "true_and_true": self.together.true_and_true.tolist(),
                "true_and_called": self.together.true_and_called.tolist(),
            },
        }

    def _calibration(self, name: str) -> dict[str, Any]:
        rows = self.calibration[self.calibration["class"] == name]
        columns = (*_FIGURE, "reference", "n", "n_positive", "n_patients", "method")
        bins = self.reliability[self.reliability["class"] == name].drop(columns="class")
        told = {str(row["metric"]): {key: json_number(row[key]) for key in columns} for _, row in rows.iterrows()}
        return told | {"reliability": records(bins)}

    def _decisions(self, name: str) -> dict[str, list[Any]]:
        rows = self.decisions[self.decisions["class"] == name].drop(columns=["class", "n", "n_positive"])
        return {str(column): [json_number(value) for value in rows[column]] for column in rows.columns}

    def _points(self) -> list[dict[str, Any]]:
        entries = []
        for (rule, name), rows in self.points.groupby(["rule", "class"], sort=False):
            figures = {row["metric"]: {key: json_number(row[key]) for key in _FIGURE} for _, row in rows.iterrows()}
            first = rows.iloc[0]
            about = {key: json_number(first[key]) for key in ("threshold", "n", "n_positive")}
            entries.append({"rule": rule, "class": name} | about | figures)
        return entries

    def _subgroups(self) -> list[dict[str, Any]]:
        entries = []
        for (by, group, name), rows in self.subgroups.groupby(["by", "group", "class"], sort=False):
            figures = {row["metric"]: {key: json_number(row[key]) for key in _FIGURE} for _, row in rows.iterrows()}
            first = rows.iloc[0]
            about = {key: json_number(first[key]) for key in ("n", "n_positive", "n_patients", "method")}
            entries.append({"by": by, "group": group, "class": name} | about | figures)
        return entries


def assess(
    labels: pd.DataFrame,
    probabilities: pd.DataFrame,
    people: Sequence[str],
    metadata: pd.DataFrame,
    thresholds: Sequence[float | None],
    points: Mapping[str, Mapping[str, float | None]] | None = None,
    *,
    decided: pd.DataFrame | None = None,
    decided_by: Mapping[str, pd.DataFrame] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Assessment:
    """Return everything beyond the scores.

    labels, probabilities   [record x class]; labels 1, 0, NaN for unknown
    people                  one key per record, see `evaluate.people_of`
    metadata                sex, age, device, site of the records, in their order
    thresholds              that decide, one per class
    points                  {rule: {class: threshold}}: further operating points, from validation records
    decided                 [record x class] 1 or 0, where thresholds differ from record to record (a family's); then
                            `thresholds` say nothing
    decided_by              {rule: alike}: the further operating points then, in place of `points`
    """
    classes = tuple(str(name) for name in labels.columns)
    truth, said = labels.to_numpy(float), probabilities.to_numpy(float)
    draws = {"n_resamples": n_resamples, "seed": seed}
    cuts = [np.nan if cut is None else cut for cut in thresholds]
    called = np.column_stack([decide(said[:, k], cut) if not np.isnan(cut) else np.full(len(said), np.nan)
                              for k, cut in enumerate(cuts)])  # fmt: skip
    groups = subgroup_table(truth, said, classes, people, metadata, thresholds, **draws)
    if decided is not None:
        called = decided.to_numpy(float)
        at = subgroup_table(truth, called, classes, people, metadata, [0.5] * len(classes), **draws)
        groups = groups.where(groups["metric"] == "auroc", at)  # both have the same rows
    asked: dict[str, tuple[np.ndarray, list[float | None] | None]]
    asked = {rule: (said, [cuts[name] for name in classes]) for rule, cuts in (points or {}).items()}
    if decided_by is not None:
        asked = {rule: (table.to_numpy(float), None) for rule, table in decided_by.items()}
    return Assessment(
        calibration_table(truth, said, classes, people, **draws),
        _reliability(truth, said, classes, people),
        decision_curve(truth, said, classes, people, n_resamples=n_resamples, seed=seed),
        _operating_points(truth, classes, people, asked, draws),
        groups,
        cooccurrence(truth, called),
        classes,
    )


def _reliability(truth: np.ndarray, said: np.ndarray, classes: Sequence[str], people: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"class": name} | point._asdict()
        for k, name in enumerate(classes)
        for point in reliability_curve(truth[:, k], said[:, k], people)
    ]
    names = ("class", "mean_probability", "observed", "low", "high", "n", "n_positive", "n_patients")
    return pd.DataFrame(rows, columns=list(names))


def _operating_points(
    truth: np.ndarray,
    classes: Sequence[str],
    people: Sequence[str],
    asked: Mapping[str, tuple[np.ndarray, Sequence[float | None] | None]],
    draws: Mapping[str, int],
) -> pd.DataFrame:
    """Return the figures of the decisions that each rule makes.

    asked   by rule: probabilities [record, class] and a threshold per class; or decisions, 1 or 0, and None
    """
    tables = []
    for rule, (said, cuts) in asked.items():
        table = score_table(truth, said, classes, people, cuts or [0.5] * len(classes), **draws)
        table = table[table["metric"].isin(_AT_A_POINT) & (table["class"] != MACRO)].assign(rule=rule)
        tables.append(table if cuts else table.assign(threshold=np.nan))
    columns = ["rule", "class", "metric", "value", "low", "high", "threshold", "n", "n_positive", "method"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
