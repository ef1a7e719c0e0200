# SPDX-License-Identifier: Apache-2.0
"""Does the average point at the lesion? Simulated cohorts whose truth is known, a small network each.

    python benchmarks/glocal_truth.py [--cohorts 100] [--kinds millivolts,null] [--out benchmarks/glocal_truth.jsonl]
    python benchmarks/glocal_truth.py --deals 200 --maps RUN --data PTBXL

Planted: a lesion in one lead alone (mode B; a limb lead takes the others along), another lead, lesion and people each
time. A LeNet is trained on folds 1-6 to tell it from normal; the maps of folds 8-10 are averaged over 12 leads x 6
segments (P, PQ, QRS, ST, T, rest), on our own marks; saliency and gradient x input, each as the mean over the ill and
as their lift less that of the normals. Right is a largest cell that overlaps the evidence by half: of the smaller of
the two, mean over records, half or more lies in the other.

- `millivolts`: the network is given mV. The evidence is where the ECG differs in mV, so this asks of the average alone.
- `prepared`: the network is given what the default recipe makes of it. Its high-pass lifts the whole lead where ST
  falls, and dividing by one deviation changes all leads: evidence is where it was not planted, and the network reads
  it there. This asks of average and preparation together.

Null: the same without a lesion, labels dealt out to people by lot. An alarm is any of 12 x 24 cells that differs
between the held-out "ill" and "normal" at a false discovery rate of 5 %: promised is an alarm in 5 % of such cohorts.
`--deals` asks the same of maps of real records: people labelled NORM, dealt into two groups of 60 again and again.

Cohorts 0 to 199 were looked at while this was made; those that count begin at 200.
Resumable: each cohort is a line of the output, and one that is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.aggregation.cells import WAVES_OF, SoftCells, cell_means, coarse, segment_cells
from ecglens.aggregation.groups import difference
from ecglens.aggregation.marks import mark
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.explainers.explain import explain
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explanation import CohortExplanation, Explanation
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.runs.files import write_json
from ecglens.segments import SEGMENTS
from ecglens.simulation.cohort import simulate_cohort
from ecglens.training.recipes import MILLIVOLTS, PREPROCESSING, recipe_for
from ecglens.training.train import train

LEADS = ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")  # that a lesion can be planted in
LESIONS = ("IMI", "LVH", "CLBBB", "STD", "INVT", "LAE")  # Q, R, wide QRS, ST, T, P
N_RECORDS, EPOCHS = 400, 12
FOLDS = {"train": range(1, 7), "valid": [7]}
IN_MV = replace(PREPROCESSING, record_steps=MILLIVOLTS.record_steps)  # the windows of the default recipe
TESTED = [8, 9, 10]
METHODS = ("saliency", "gradient_x_input")
AGAINST = "against normal"


def main() -> None:
    """Do the cohorts that are missing, then say the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=100, help="of each kind")
    parser.add_argument("--first", type=int, default=200, help="the first one's number")
    parser.add_argument("--kinds", default="millivolts,null", help=", ".join(MAKE))
    parser.add_argument("--deals", type=int, default=0, help="of real maps, in place of simulated cohorts")
    parser.add_argument("--maps", type=Path, help="a run of `ecglens explain --data`")
    parser.add_argument("--data", type=Path, help="its records")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    asked = parser.parse_args()
    lines = asked.out.read_text(encoding="utf-8").splitlines() if asked.out.exists() else []
    done = [json.loads(line) for line in lines]
    if asked.deals:
        tell(done, asked.out, dealt(asked.maps, asked.data, asked.deals))
    else:
        there = {(line["kind"], line["seed"]) for line in done}
        for seed in range(asked.first, asked.first + asked.cohorts):
            for kind in asked.kinds.split(","):
                if (kind, seed) not in there:
                    began = time.process_time()
                    line = {"kind": kind, "seed": seed} | MAKE[kind](seed)
                    tell(done, asked.out, [line | {"cpu_s": round(time.process_time() - began, 1)}])
    of_kind = {kind: [line for line in done if line["kind"] == kind] for kind in (*MAKE, "deals")}
    found = {kind: summary(own) for kind, own in of_kind.items() if own}
    write_json(asked.out.with_suffix(".json"), found)


def tell(done: list[dict[str, Any]], out: Path, lines: list[dict[str, Any]]) -> None:
    """Keep new lines."""
    done += lines
    with out.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    print("\n".join(map(json.dumps, lines)), flush=True)


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many were right by way of asking, or alarmed, and how well their networks knew their class."""
    auroc = [line["auroc"] for line in lines if "auroc" in line]
    told: dict[str, Any] = {"cohorts": len(lines), "auroc": float(np.median(auroc)) if auroc else None}
    if "alarm" in lines[0]:
        return told | {"alarm": sum(line["alarm"] for line in lines)}
    return told | {"right": {name: sum(line["tops"][name][2] >= 0.5 for line in lines) for name in lines[0]["tops"]}}


def planted(seed: int, preprocessing: Preprocessing = IN_MV) -> dict[str, Any]:
    """Return where the averages of one planted cohort point, by method, alone and against the normals."""
    lead, lesion = LEADS[seed % len(LEADS)], LESIONS[(seed // len(LEADS) + seed) % len(LESIONS)]
    cohort = _cohort(seed, ("NORM", lesion), mode="planted", lead=lead)
    bundle, auroc = _trained(cohort, seed, preprocessing)
    tested = cohort.where(fold=TESTED)
    assert tested.evidence is not None
    leads, cells = bundle.preprocessing.leads, tuple(WAVES_OF)
    maps = {(m, ill): CohortExplanation(lesion, m, leads, cells) for m in METHODS for ill in (False, True)}
    overlaps = []
    for k in range(len(tested)):
        ill = bool(tested.labels[lesion].iloc[k] == 1)
        marked = mark(tested[k])
        for explanation in explain(bundle, tested[k], [lesion], METHODS):
            six = coarse(segment_cells(marked.marks, marked.deviation, explanation.times, explanation.leads))
            method = explanation.method
            values = np.abs(explanation.values.astype(float))
            maps[method, ill].update(
                tested.record_ids[k], str(tested.patient_keys[k]), cell_means(values, six),
                n_beats=int(six.n_beats.max()), level=float(values.mean()),
            )  # fmt: skip
        if ill:
            overlaps.append(_overlap(six, _on_grid(tested.evidence[k].mask, tested[k].fs, explanation)))
    overlap, tops = np.mean(overlaps, axis=0), {}
    for method in METHODS:
        found = difference("ill", maps[method, True].rows(), "normal", maps[method, False].rows(), n_resamples=200)
        for name, mean in (
            (method, np.nanmean(maps[method, True].rows().values, axis=0)),
            (f"{method} {AGAINST}", found.value),
        ):
            r, c = np.unravel_index(int(np.nanargmax(mean)), mean.shape)
            tops[name] = [leads[int(r)], cells[int(c)], round(float(overlap[r, c]), 3)]
    return {"lead": lead, "lesion": lesion, "auroc": round(auroc, 3), "n": len(overlaps), "tops": tops}


def _overlap(cells: SoftCells, mask: np.ndarray) -> np.ndarray:
    """Return how much of the smaller of cell and evidence lies in the other [lead, cell]."""
    inside = (cells.weights * mask[:, :, None]).sum(axis=1)
    smaller = np.minimum(cells.weights.sum(axis=1), mask.sum(axis=1)[:, None])
    return np.where(smaller > 0, inside / np.maximum(smaller, 1e-9), 0.0)


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


def dealt(maps: Path, data: Path, times: int) -> list[dict[str, Any]]:
    """Return, for each deal of people labelled NORM into two groups of 60, whether they are said to differ."""
    explained = ExplainedCohort.open(maps)
    cohort = load_cohort(data, keep_unlabelled=True)
    normal = explained.records.index[explained.records["label NORM"] == 1][:360]
    rows, places = {}, {record_id: k for k, record_id in enumerate(cohort.record_ids)}
    for explanation in explained.each(explained.targets[-1], "saliency", list(normal)):
        k, values = places[explanation.record_id], np.abs(explanation.values.astype(float))
        marked = mark(cohort[k])
        cells = segment_cells(marked.marks, marked.deviation, explanation.times, explanation.leads)
        one = {"n_beats": int(cells.n_beats.max()), "level": float(values.mean())}
        rows[explanation.record_id] = (str(cohort.patient_keys[k]), cell_means(values, cells, 3), one)
    people = sorted({patient for patient, _, _ in rows.values()})
    return [
        {"kind": "deals", "seed": deal, "alarm": _deal(rows, people, explained.leads, deal)} for deal in range(times)
    ]


def _deal(rows: dict[str, Any], people: list[str], leads: tuple[str, ...], deal: int) -> bool:
    drawn = np.random.default_rng(deal).permutation(people)[:120].tolist()
    sides = []
    for side in (set(drawn[:60]), set(drawn[60:])):
        own = CohortExplanation("NORM", "saliency", leads, SEGMENTS)
        for record_id, (patient, values, about) in rows.items():
            if patient in side:
                own.update(record_id, patient, values, **about)
        sides.append(own.rows())
    return bool(difference("one", sides[0], "other", sides[1], n_resamples=1000, seed=deal).differs().any())


def _cohort(seed: int, classes: tuple[str, ...], **how: Any) -> Cohort:
    cohort = simulate_cohort(N_RECORDS, classes=classes, task="subdiagnostic", seed=seed, fs=100.0, **how)
    return replace(cohort, records=list(cohort.records))


def _trained(cohort: Cohort, seed: int, preprocessing: Preprocessing = PREPROCESSING) -> tuple[Bundle, float]:
    recipe = replace(recipe_for("lenet"), epochs=EPOCHS, preprocessing=preprocessing)
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


MAKE: dict[str, Callable[[int], dict[str, Any]]] = {
    "millivolts": planted, "prepared": partial(planted, preprocessing=PREPROCESSING), "null": null,
}  # fmt: skip


if __name__ == "__main__":
    main()
