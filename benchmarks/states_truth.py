# SPDX-License-Identifier: Apache-2.0
"""States against simulated ECGs whose parts and lesions are known to the sample.

    python benchmarks/states_truth.py [--people 300] [--epochs 8] [--work DIR]     (resumes what --work holds)

Two truths: the part of the beat (P, PQ, QRS, ST, T, TP), and the part with or without a lesion (evidence above what can
be seen in any lead). Networks learn NORM, MI and CD from some people; states are fitted on these and read off others.
Adjusted Rand index over samples, with its interval over people, beside the same network with random weights and raw
80-ms windows of the trace; the difference to random weights is paired by person. Beside it the F1 with which QRS is
found by the state that finds it best; each kind of states has its own best one, and each resample.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecglens import simulate_cohort
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.concepts.state_alignment import PARTS, parts_of
from ecglens.concepts.state_field import grid_of
from ecglens.concepts.state_network import learn, strips_by, with_random_weights
from ecglens.concepts.state_stability import N_RESAMPLES, ari_of_tables, tables_of
from ecglens.concepts.state_surrogate import RawWindows
from ecglens.concepts.states import fit_states
from ecglens.prediction.evaluate import people_of
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.files import read_json, write_json
from ecglens.runs.run import Run
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.training.recipes import recipe_for
from ecglens.training.train import train

OUT = Path(__file__).with_name("states_truth.json")
CLASSES = ("NORM", "IMI", "CLBBB")
MODELS = ("lenet", "resnet1d")
KS = (6, 8, 12)
SEED = 11
BEAT, LESION, QRS = "part of the beat", "part, with or without lesion", "QRS, F1 of the best state"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300, help="records to learn from; a third as many to be read")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--work", type=Path, default=Path("states-truth"), help="where what is finished is kept")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    known = simulate_cohort(chosen.people, classes=CLASSES, seed=SEED)
    others = simulate_cohort(chosen.people // 3, classes=CLASSES, seed=SEED + 1)
    rows: list[dict[str, Any]] = []
    for model in chosen.models.split(","):
        done = chosen.work / f"{model}-{chosen.people}-{chosen.epochs}.json"
        if not done.exists():
            bundle = _network(model, known, chosen.epochs, chosen.work / f"{model}-{chosen.people}-{chosen.epochs}")
            write_json(done, _rows(model, bundle, known, others))
        rows += read_json(done)
    write_json(chosen.out, {"rows": rows, "people": chosen.people, "epochs": chosen.epochs, "seed": SEED})
    for row in rows:
        print(row)


def _network(model: str, cohort: Cohort, epochs: int, folder: Path) -> Bundle:
    recipe = replace(recipe_for(model), epochs=epochs)
    resume = (folder / "run.json").exists()
    if resume and Run(folder).read().get("finished"):
        return Bundle.load(folder)
    return train(cohort, recipe, folder, resume=resume).bundle


def _rows(model: str, bundle: Bundle, known: Cohort, others: Cohort) -> list[dict[str, Any]]:
    fit, score = (prepare(cohort, bundle.preprocessing) for cohort in (known, others))
    truths = _truths(score)
    people = people_of(score.cohort)
    weights = patient_weights(people, N_RESAMPLES, SEED).astype(float)
    networks = {"trained": bundle.network, "random weights": with_random_weights(bundle, list(fit.signals), SEED)}
    rows = []
    for blocks in ("last", "last3"):
        grid = grid_of(bundle, blocks)
        learnt = {
            name: learn(bundle, network, grid, None, fit.signals, fit.cohort.record_ids, 20_000, SEED)
            for name, network in networks.items()
        }  # fmt: skip
        for k in KS:
            strips = {}
            for name, network in networks.items():
                states = fit_states(learnt[name].vectors, k, "soft", SEED, 4)
                strips[name] = strips_by(bundle, network, grid, learnt[name].axes, states, score.signals)
            if blocks == "last":
                strips["raw 80-ms windows"] = _raw(fit, score, k)
            for truth, (labels, n) in truths.items():
                tables = {name: tables_of(found, labels, k, n) for name, found in strips.items()}
                about = {"model": model, "blocks": blocks, "k": k}
                rows += _figures(about | {"truth": truth}, tables, weights, people, ari_of_tables)
                if truth == BEAT:
                    rows += _figures(about | {"truth": QRS}, tables, weights, people, f1_of_qrs)
    return rows


def _truths(score: Prepared) -> dict[str, tuple[list[np.ndarray], int]]:
    cohort = score.cohort
    assert cohort.fiducials is not None
    assert cohort.evidence is not None
    plain, lesion = [], []
    for i in range(len(cohort)):
        n = score.signals[i].shape[1]
        ecg = cohort[i]
        part = parts_of(cohort.fiducials[i], ecg.start + np.arange(n) / score.fs).astype(np.int16)
        at = np.minimum((np.arange(n) * ecg.fs / score.fs).astype(int), ecg.n_samples - 1)
        there = cohort.evidence[i].mask[:, at].any(axis=0)
        plain.append(part)
        lesion.append(np.where(part >= 0, part + len(PARTS) * there, -1).astype(np.int16))
    return {BEAT: (plain, len(PARTS)), LESION: (lesion, 2 * len(PARTS))}


def _raw(fit: Prepared, score: Prepared, k: int) -> list[np.ndarray]:
    raw = RawWindows(list(fit.signals), fit.fs, k, SEED)
    strips = []
    for signal in score.signals:
        strip = np.repeat(raw.strip(np.asarray(signal)), raw.length)
        strips.append(np.pad(strip, (0, signal.shape[1] - len(strip)), constant_values=-1).astype(np.int16))
    return strips


def f1_of_qrs(tables: np.ndarray) -> np.ndarray:
    """Return the F1 of finding QRS by the state that finds it best [...], of tables [..., state, part]."""
    both = tables[..., PARTS.index("QRS")]
    return np.asarray((2 * both / (tables.sum(axis=-1) + both.sum(axis=-1, keepdims=True))).max(axis=-1))


def _figures(
    about: dict[str, Any], tables: dict[str, np.ndarray], weights: np.ndarray, people: list[str],
    figure: Callable[[np.ndarray], np.ndarray],
) -> list[dict[str, Any]]:  # fmt: skip
    drawn = {name: figure(np.tensordot(weights, each, axes=1)) for name, each in tables.items()}
    values = {name: float(figure(each.sum(axis=0))) for name, each in tables.items()}
    n = {"n": len(people), "n_patients": len(set(people))}
    rows = []
    for name, value in values.items():
        low, high, _ = interval(drawn[name])
        rows.append(about | {"states": name, "value": value, "low": low, "high": high} | n)
    low, high, _ = interval(drawn["trained"] - drawn["random weights"])
    gained = values["trained"] - values["random weights"]
    return [*rows, about | {"states": "trained minus random", "value": gained, "low": low, "high": high} | n]


if __name__ == "__main__":
    main()
