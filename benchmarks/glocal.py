# SPDX-License-Identifier: Apache-2.0
"""Glocal maps on real ECGs: where NORM, LVH, CLBBB, IMI and AMI lie, beside what a cardiologist expects.

    ecglens train --data PTBXL --task subdiagnostic --min-patients 20 --model lenet --folds all --out RUNS/sub-lenet
    ecglens train ... --model xresnet1d50 --folds all --out RUNS/sub-xresnet            (hours; "not run" without)
    ecglens aggregate RUNS/sub-lenet --data PTBXL --target NORM,LVH,CLBBB,IMI,AMI --even-if-failed --out OUT/lenet
    ecglens aggregate RUNS/sub-lenet --data PTBXL --target all --even-if-failed --out OUT/all
    python benchmarks/glocal.py --data PTBXL --lenet OUT/lenet/maps [--xresnet OUT/xresnet/maps] [--every OUT/all]
                               [--attention RUN] [--occlusion RUN] [--out benchmarks/glocal.json]

The expectation (`glocal_expectation.csv`, `glocal_lead_claims.csv`) was written down before the first run. RUN of the
lead claims is a finished `ecglens explain --data` on superclasses: `attention` of ECGNet, `occlusion_lead` of any. What
is in --out already stays unless its run is given again.
"""

from __future__ import annotations

import argparse
import csv
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.aggregation.agreement import Hits, hits, rank_agreement, read_expectation
from ecglens.aggregation.glocal import Averaging, Glocal, aggregate
from ecglens.aggregation.groups import difference
from ecglens.aggregation.marks import marks_cache
from ecglens.aggregation.selection import group, refuse_few
from ecglens.aggregation.tables import WORDS, as_dict, between_as_dict, cell_words
from ecglens.cli.console import ProgressLine
from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.errors import InputError
from ecglens.explainers.explained import ExplainedCohort
from ecglens.plotting.glocal import plot_segments
from ecglens.plotting.style import figure_bytes
from ecglens.runs.files import read_json, write_bytes, write_json
from ecglens.statistics.bootstrap import patient_weights
from ecglens.statistics.figures import clean
from ecglens.statistics.least_group import is_too_small

HERE = Path(__file__).parent
TARGETS = ["NORM", "LVH", "CLBBB", "IMI", "AMI"]
NOT_RUN = "not run"
TOP = 7


def main() -> None:
    """Average, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of PTB-XL")
    for name in ("lenet", "xresnet", "attention", "occlusion"):
        parser.add_argument(f"--{name}", type=Path, help="a finished `ecglens explain --data`")
    parser.add_argument("--every", type=Path, help="a finished `ecglens aggregate --target all`")
    parser.add_argument("--compare", default="sex,age:65,device,site,correct")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    parser.add_argument("--out", type=Path, default=HERE / "glocal.json")
    asked = parser.parse_args()
    cohort = load_cohort(asked.data, task="subdiagnostic", keep_unlabelled=True)
    found: dict[str, Any] = {"schema": 1} | (read_json(asked.out) if asked.out.exists() else {})
    averages: dict[str, list[Glocal]] = {}
    for name in ("lenet", "xresnet"):
        folder = getattr(asked, name)
        if folder is None:
            found.setdefault(name, NOT_RUN)
            continue
        averages[name] = _averages(ExplainedCohort.open(folder), cohort)
        found[name] = {one.target: _judged(one) for one in averages[name]}
        if asked.pictures:
            _draw(name, averages[name], asked.pictures)
    if len(averages) == 2 or "architectures" not in found:
        found["architectures"] = _architectures(averages)
    if asked.lenet is not None:
        found["groups"] = _groups(
            ExplainedCohort.open(asked.lenet), cohort, averages["lenet"], asked.compare.split(",")
        )
    for name in ("attention", "occlusion"):
        folder = getattr(asked, name)
        if folder is not None or f"leads_{name}" not in found:
            found[f"leads_{name}"] = NOT_RUN if folder is None else _lead_claims(ExplainedCohort.open(folder), cohort)
    if asked.every is not None:
        found["every"] = {one["target"]: _first(one) for one in read_json(asked.every / "aggregate.json")["targets"]}
    write_json(asked.out, clean(found))


def _averages(explained: ExplainedCohort, cohort: Cohort) -> list[Glocal]:
    targets = [name for name in TARGETS if name in explained.targets]
    return aggregate(explained, cohort, targets, explained.methods[0], Averaging(), cache=marks_cache(),
                     progress=ProgressLine())[0]  # fmt: skip


def _judged(one: Glocal) -> dict[str, Any]:
    """Return the largest cells of a target, and how many of them were expected."""
    expected = read_expectation(HERE / "glocal_expectation.csv").get(one.target)
    told = as_dict(one)
    kept = {name: told[name] for name in ("n_records", "n_patients", "n_beats", "excluded", "absent", "members")}
    kept["top"] = [
        {"cell": cell_words(one, *at), "lead": one.leads[at[0]], "segment": one.cells[at[1]],
         "value": one.summary.mean[at], "low": one.summary.low[at], "high": one.summary.high[at],
         "lift": one.summary.lift[at], "q": one.q[at], "n": int(one.summary.n[at])}
        for at in one.order()[:TOP]
    ]  # fmt: skip
    kept["n_significant"] = int((np.nan_to_num(one.q, nan=1.0) <= 0.05).sum())
    kept["n_null_cells"] = int(np.isnan(one.summary.mean).sum())
    if one.against is not None:
        kept["against_norm"] = {
            "n_differ": int(one.against.differs().sum()), "surest": told["against_norm"]["cells"][:TOP],
            "hits": None if expected is None else _hits(one, one.against.value, expected, None),
        }  # fmt: skip
    if expected is not None:
        shifted = np.where(np.isfinite(one.summary.mean), one.null.shifted(), np.nan)
        kept["hits"] = _hits(one, one.summary.mean, expected, shifted)
    return kept


def _first(told: dict[str, Any]) -> dict[str, Any]:
    """Return the three largest of a target's cells that exceed the shift null."""
    sure = [cell for cell in told["cells"] if cell["q"] is not None and cell["q"] <= 0.05]
    top = sorted(sure, key=lambda cell: cell["rank"])[:3]
    return {
        "n_records": told["n_records"], "n_patients": told["n_patients"], "n_significant": len(sure),
        "top": [{"cell": f"{WORDS[cell['segment']]} in {cell['lead']}", **cell} for cell in top],
    }  # fmt: skip


def _hits(
    one: Glocal, values: np.ndarray, expected: frozenset[tuple[str, str]], shifted: np.ndarray | None
) -> dict[str, Any]:
    found: Hits = hits(values, one.leads, one.cells, expected, shifted, TOP)
    return vars(found) | {"cells": [list(cell) for cell in found.cells]}


def _architectures(averages: dict[str, list[Glocal]]) -> Any:
    """Return the rank correlation of cells between the two architectures, per target."""
    if len(averages) < 2:
        return NOT_RUN
    first, second = ({one.target: one for one in own} for own in averages.values())
    return {
        name: rank_agreement(first[name].summary.mean, second[name].summary.mean) for name in first if name in second
    }


def _groups(explained: ExplainedCohort, cohort: Cohort, averages: list[Glocal], compare: list[str]) -> dict[str, Any]:
    """Return the cells that differ between groups, per target; why not, where a group is too small."""
    found: dict[str, Any] = {}
    for by in compare:
        found[by] = {one.target: _grouped(explained, cohort, one, by) for one in averages}
    return found


def _grouped(explained: ExplainedCohort, cohort: Cohort, one: Glocal, by: str) -> Any:
    parts = group(by, explained, cohort, one.target, one.rows.rows().record_ids)
    try:
        for name, records in ((parts.a, parts.of_a), (parts.b, parts.of_b)):
            refuse_few(f"{one.target}, {by}: {name}", records, explained)
    except InputError as error:
        return str(error)
    between = difference(parts.a, one.rows.rows(parts.of_a), parts.b, one.rows.rows(parts.of_b))
    told = between_as_dict(one, between)
    return told | {"n_differ": len(told["cells"]), "cells": told["cells"][:TOP]}


def _lead_claims(explained: ExplainedCohort, cohort: Cohort) -> dict[str, Any]:
    """Return for each claim the share of its leads, and how many sets of as many leads hold more."""
    with (HERE / "glocal_lead_claims.csv").open(encoding="utf-8") as file:
        return {row["claim"]: _lead_claim(explained, cohort, row) for row in csv.DictReader(file)}


def _lead_claim(explained: ExplainedCohort, cohort: Cohort, claim: dict[str, str]) -> dict[str, Any]:
    method = explained.methods[0]
    shares = explained.shares(claim["class"], method)
    carries = set(cohort.labels.index[cohort.labels[claim["records"]] == 1])
    own = shares.loc[[name for name in shares.index if name in carries]]
    patients = explained.records.loc[own.index, "patient"].astype(str)
    if is_too_small(len(own), patients.nunique()):
        return {"n_records": len(own), "n_patients": int(patients.nunique()), "left_out": "too few"}
    leads = claim["leads"].split()
    values = own.to_numpy(float)
    weights = patient_weights(patients, 2000, 0).astype(float)
    mean = values.mean(axis=0)
    columns = [list(own.columns).index(lead) for lead in leads]
    drawn = (weights @ values / weights.sum(axis=1, keepdims=True))[:, columns].sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    sets = [mean[list(some)].sum() for some in combinations(range(len(mean)), len(leads))]
    largest = [own.columns[k] for k in np.argsort(-mean)[: len(leads)]]
    return {
        "class": claim["class"], "leads": leads, "n_records": len(own), "n_patients": int(patients.nunique()),
        "share": float(mean[columns].sum()), "low": float(low), "high": float(high), "even": len(leads) / len(mean),
        "largest": largest, "hits": len(set(largest) & set(leads)),
        "p_sets": float(np.mean(np.array(sets) >= mean[columns].sum() - 1e-12)),
    }  # fmt: skip


def _draw(name: str, averages: list[Glocal], folder: Path) -> None:
    for one in averages:
        figure = plot_segments(
            one.leads, one.cells, one.summary.mean, one.rank, unit=one.unit,
            title=f"{one.target}, {name}: mean absolute {one.method}, {one.summary.n_records:,} records, NOT TESTED",
            outlined=np.nan_to_num(one.q, nan=1.0) <= 0.05,
            foot="Numbers: the seven largest. Framed: more than the shift null (FDR 5 %). Hatched: too few.",
        )  # fmt: skip
        write_bytes(folder / f"glocal-{name}-{one.target}.png", figure_bytes(figure, "png", dpi=110))


if __name__ == "__main__":
    main()
