# SPDX-License-Identifier: Apache-2.0
"""Does the average point at the lesion? Simulated cohorts whose truth is known, a small network each.

    python benchmarks/glocal_truth.py [--cohorts 100] [--out benchmarks/glocal_truth.jsonl]

Planted: a lesion in one lead alone (mode B; a limb lead takes the others along), another lead, lesion and people each
time. A LeNet is trained on folds 1-6 to tell it from normal; the saliency of the ill of folds 8-10 is averaged over 12
leads x 6 segments (P, PQ, QRS, ST, T, rest), on our own marks. Right is a largest cell that overlaps the evidence by
half: of the smaller of the two, mean over records, half or more lies in the other.

Null: the same without a lesion, labels dealt out to people by lot. An alarm is any of 12 x 24 cells that differs
between the held-out "ill" and "normal" at a false discovery rate of 5 %: promised is an alarm in 5 % of such cohorts.

Resumable: each cohort is a line of the output, and one that is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.aggregation.cells import cell_means, coarse, segment_cells
from ecglens.aggregation.groups import difference
from ecglens.aggregation.marks import mark
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.explainers.explain import explain
from ecglens.explanation import CohortExplanation, Explanation
from ecglens.runs.files import write_json
from ecglens.segments import SEGMENTS
from ecglens.simulation.cohort import simulate_cohort
from ecglens.training.recipes import recipe_for
from ecglens.training.train import train

LEADS = ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")  # that a lesion can be planted in
LESIONS = ("IMI", "LVH", "CLBBB", "STD", "INVT", "LAE")  # Q, R, wide QRS, ST, T, P
N_RECORDS, EPOCHS = 400, 12
FOLDS = {"train": range(1, 7), "valid": [7]}
TESTED = [8, 9, 10]


def main() -> None:
    """Do the cohorts that are missing, then say the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=100, help="of each kind")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    asked = parser.parse_args()
    lines = asked.out.read_text(encoding="utf-8").splitlines() if asked.out.exists() else []
    done = [json.loads(line) for line in lines]
    there = {(line["kind"], line["seed"]) for line in done}
    for seed in range(asked.cohorts):
        for kind, one in (("planted", planted), ("null", null)):
            if (kind, seed) not in there:
                began = time.process_time()
                line = {"kind": kind, "seed": seed} | one(seed)
                line["cpu_s"] = round(time.process_time() - began, 1)
                done.append(line)
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    kinds = (("planted", "right"), ("null", "alarm"))
    found = {kind: summary([line for line in done if line["kind"] == kind], key) for kind, key in kinds}
    write_json(asked.out.with_suffix(".json"), found)


def summary(lines: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return in how many cohorts it was so, and how well their networks knew their class."""
    return {"cohorts": len(lines), key: sum(bool(line[key]) for line in lines),
            "auroc": float(np.median([line["auroc"] for line in lines])) if lines else None}  # fmt: skip


def planted(seed: int) -> dict[str, Any]:
    """Return where the average of one planted cohort points."""
    lead, lesion = LEADS[seed % len(LEADS)], LESIONS[(seed // len(LEADS) + seed) % len(LESIONS)]
    cohort = _cohort(seed, ("NORM", lesion), mode="planted", lead=lead)
    bundle, auroc = _trained(cohort, seed)
    tested = cohort.where(fold=TESTED)
    ill = [k for k in range(len(tested)) if tested.labels[lesion].iloc[k] == 1]
    values, overlaps = [], []
    for k in ill:
        explanation, cells = _explained(bundle, tested, k, lesion)
        six = coarse(cells)
        values.append(cell_means(np.abs(explanation.values.astype(float)), six))
        assert tested.evidence is not None
        mask = _on_grid(tested.evidence[k].mask, tested[k].fs, explanation)
        inside = (six.weights * mask[:, :, None]).sum(axis=1)
        smaller = np.minimum(six.weights.sum(axis=1), mask.sum(axis=1)[:, None])
        overlaps.append(np.where(smaller > 0, inside / np.maximum(smaller, 1e-9), 0.0))
    mean, overlap = np.nanmean(values, axis=0), np.mean(overlaps, axis=0)
    r, c = np.unravel_index(int(np.nanargmax(mean)), mean.shape)
    return {
        "lead": lead, "lesion": lesion, "auroc": round(auroc, 3), "n": len(ill),
        "top": [explanation.leads[int(r)], six.names[int(c)]], "overlap": round(float(overlap[r, c]), 3),
        "right": bool(overlap[r, c] >= 0.5),
    }  # fmt: skip


def null(seed: int) -> dict[str, Any]:
    """Return whether an average over labels that mean nothing raises an alarm."""
    cohort = _cohort(10_000 + seed, ("NORM",))
    people = sorted(set(cohort.metadata["patient_id"]))
    ill = set(np.random.default_rng(seed).permutation(people)[: len(people) // 2].tolist())
    labels = cohort.labels.assign(LOT=cohort.metadata["patient_id"].isin(ill).astype(float).to_numpy())
    cohort = replace(cohort, labels=labels[["LOT"]])
    bundle, auroc = _trained(cohort, seed)
    tested = cohort.where(fold=TESTED)
    groups = {value: CohortExplanation("LOT", "saliency", bundle.preprocessing.leads, SEGMENTS) for value in (0, 1)}
    for k in range(len(tested)):
        explanation, cells = _explained(bundle, tested, k, "LOT")
        values = np.abs(explanation.values.astype(float))
        groups[int(tested.labels["LOT"].iloc[k])].update(
            tested.record_ids[k], str(tested.patient_keys[k]), cell_means(values, cells, 3),
            n_beats=int(cells.n_beats.max()), level=float(values.mean()),
        )  # fmt: skip
    found = difference("ill", groups[1].rows(), "normal", groups[0].rows(), n_resamples=1000, seed=seed)
    return {
        "auroc": round(auroc, 3), "n": len(tested), "n_differ": int(found.differs().sum()),
        "alarm": bool(found.differs().any()),
    }  # fmt: skip


def _cohort(seed: int, classes: tuple[str, ...], **how: Any) -> Cohort:
    cohort = simulate_cohort(N_RECORDS, classes=classes, task="subdiagnostic", seed=seed, fs=100.0, **how)
    return replace(cohort, records=list(cohort.records))


def _trained(cohort: Cohort, seed: int) -> tuple[Bundle, float]:
    recipe = replace(recipe_for("lenet"), epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        found = train(cohort, recipe, Path(folder) / "run", seed=seed, folds=FOLDS)
    return found.bundle, float(found.valid["macro_auroc"]["value"])


def _explained(bundle: Bundle, cohort: Cohort, k: int, target: str) -> tuple[Explanation, Any]:
    explanation = explain(bundle, cohort[k], [target], "saliency")[0]
    marked = mark(cohort[k])
    return explanation, segment_cells(marked.marks, marked.deviation, explanation.times, explanation.leads)


def _on_grid(mask: np.ndarray, fs: float, explanation: Explanation) -> np.ndarray:
    at = np.rint((explanation.times - explanation.start) * fs).astype(int).clip(0, mask.shape[1] - 1)
    return mask[:, at]


if __name__ == "__main__":
    main()
