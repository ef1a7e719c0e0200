# SPDX-License-Identifier: Apache-2.0
"""Does `test-concepts` find what networks use, and keep silent where they do not? Writes concepts_truth.jsonl.

    OMP_NUM_THREADS=1 python benchmarks/concepts_truth.py [N]    repetitions 0 .. N - 1; those there are not done again

In each repetition a cohort of 240 simulated ECGs, half of them with an infarction, half of either kind with a mark:
a half sine of 60 ms and 1 mV in V3 after each R peak. Two families of five small networks are trained by fold:

used     their class is the mark, with one label in ten turned round, so that the mark is not the label
unused   their class is the infarction, of which the mark says nothing

Both are asked about the mark, and about a list of records drawn at random. "Found" is the verdict "uses it for" in at
least one layer; an alarm is any verdict on the mark of the unused family, or on the random list of either. Shares stand
with Wilson's interval over repetitions, for all gates together, and without the test against random groups.

That a class does not follow the mark does not make its networks blind to it. So where the unused family raises an
alarm, the mark itself is put into records without it and taken out of the others, and each network is asked about the
people it has not seen: which way does the class's logit go, and how far?
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.concepts.answers import Directions, answers_of
from ecglens.concepts.cells import cells_of
from ecglens.concepts.definition import Concept
from ecglens.concepts.groups import Group
from ecglens.concepts.matching import strata_of
from ecglens.concepts.network import Asked, choose_layers, gather
from ecglens.concepts.verdict import CANNOT_TELL, USES_FOR, slope_test
from ecglens.ecg import ECG
from ecglens.models.lenet import LeNet, initialized
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.draws import derived_seed
from ecglens.runs.files import write_bytes, write_json
from ecglens.simulation.cohort import simulate_cohort
from ecglens.statistics.boundary import wilson
from ecglens.training.recipes import PREPROCESSING
from ecglens.waveform.rpeaks import detect_r_peaks

LINES = Path(__file__).with_name("concepts_truth.jsonl")
SUMMARY = Path(__file__).with_name("concepts_truth.json")
N_RECORDS, FOLDS, EPOCHS, BATCH, CROP, SIZE_MV = 240, 5, 12, 16, 250, 1.0
N_RANDOM, TURNED = 2000, 0.1
ARCHITECTURE: dict[str, Any] = {"n_outputs": 1, "widths": [12, 16, 24], "hidden": 16}


def main(n: int) -> None:
    """Do what is missing, then sum up."""
    for repetition in range(n):
        rows = read_lines()
        if repetition in rows and ("moved" in rows[repetition]["unused"] or not _alarm(rows[repetition])):
            continue
        began = time.monotonic()
        row = {"repetition": repetition} | repeat(repetition) | {"seconds": round(time.monotonic() - began, 1)}
        lines = [json.dumps(each) + "\n" for each in (rows | {repetition: row}).values()]
        write_bytes(LINES, "".join(lines).encode())
        print(json.dumps(row), flush=True)
    write_json(SUMMARY, summary(list(read_lines().values())))


def read_lines() -> dict[int, dict[str, Any]]:
    """Return what is done, by repetition."""
    lines = LINES.read_text().splitlines() if LINES.exists() else []
    return {row["repetition"]: row for row in map(json.loads, lines)}


def repeat(seed: int) -> dict[str, Any]:
    """Return what one repetition finds: verdicts by family, concept and layer."""
    generator = np.random.default_rng(derived_seed(seed, "truth"))
    cohort, toggled, marked = marked_cohort(seed, generator)
    prepared = prepare(cohort, PREPROCESSING)
    infarction = cohort.labels["MI"].to_numpy()
    turned = generator.random(len(cohort)) < TURNED
    listed = (generator.permutation(len(cohort)) < len(cohort) // 2).astype(float)
    targets = {"used": np.where(turned, 1 - marked, marked), "unused": infarction}
    found: dict[str, Any] = {}
    for family, target in targets.items():
        asked, auroc = train_family(prepared, target, derived_seed(seed, family))
        cells = ask(asked, prepared, target, {"mark": marked, "list": listed}, seed)
        found[family] = {"auroc": round(auroc, 3)} | {
            concept: [[c.layer, c.verdict, c.score, c.iqr, c.accuracy, c.p] for c in some.itertuples()]
            for concept, some in cells.round(3).groupby("concept")
        }
        if family == "unused":
            found[family]["moved"] = moved(asked, prepared, prepare(toggled, PREPROCESSING), marked, target)
    return json.loads(pd.Series(found).to_json())


def marked_cohort(seed: int, generator: np.random.Generator) -> tuple[Cohort, Cohort, np.ndarray]:
    """Return ECGs of NORM and MI in five folds, one per person; the same with the mark toggled; who is marked."""
    made = simulate_cohort(2 * N_RECORDS, classes=("NORM", "IMI"), seed=seed, fs=100)
    made = made.take(np.flatnonzero(~made.metadata["patient_id"].duplicated())[:N_RECORDS])
    infarction = made.labels["MI"].to_numpy()
    marked, fold = np.zeros(len(made)), np.zeros(len(made), int)
    for kind in (0, 1):  # as many marked in each kind, as many of each in every fold
        places = generator.permutation(np.flatnonzero(infarction == kind))
        marked[places[::2]] = 1
        for half in (places[::2], places[1::2]):
            fold[half] = np.arange(len(half)) % FOLDS + 1
    bare = list(made)
    both = [bare, [with_mark(ecg) for ecg in bare]]
    cohort, toggled = (
        Cohort("truth", [both[int(has) ^ swap][k] for k, has in enumerate(marked)], made.labels[["MI"]],
               made.metadata.assign(fold=fold), "simulated")
        for swap in (0, 1)
    )  # fmt: skip
    return cohort, toggled, marked


def with_mark(ecg: ECG) -> ECG:
    """Return the ECG with a half sine of 60 ms in V3, 300 ms after each R peak."""
    signal = np.array(ecg.signal)
    bump = SIZE_MV * np.sin(np.pi * (np.arange(6) + 0.5) / 6)
    for time_s in detect_r_peaks(ecg).times:
        first = round((time_s - ecg.start + 0.3) * ecg.fs)
        if 0 <= first <= ecg.n_samples - 6:
            signal[ecg.leads.index("V3"), first : first + 6] += bump
    return ECG(signal, ecg.fs, ecg.leads, ecg.record_id, ecg.start, ecg.metadata)


def train_family(prepared: Prepared, target: np.ndarray, seed: int) -> tuple[list[Asked], float]:
    """Return a network per fold, trained on the others, and the mean AUROC on the folds they have not seen."""
    from sklearn.metrics import roc_auc_score

    signals, fold = prepared.stack(), prepared.cohort.metadata["fold"].to_numpy()
    asked, scores = [], []
    for k in range(1, FOLDS + 1):
        fit, score = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        network = trained(signals[fit], target[fit], derived_seed(seed, k))
        bundle = Bundle(network, (Output("TARGET", "multilabel"),), PREPROCESSING, prepared.fs)
        scores.append(roc_auc_score(target[score], logits_of(bundle, signals[score])))
        asked.append(Asked(f"fold-{k}", bundle, network, ((fit, score),)))
    return asked, float(np.mean(scores))


def logits_of(bundle: Bundle, signals: np.ndarray) -> np.ndarray:
    """Return the logit of each record, the mean over its windows."""
    windows = bundle.preprocessing.cut(signals, bundle.fs)
    with torch.no_grad():
        each = bundle.network(torch.from_numpy(windows.reshape(-1, *windows.shape[2:])))
    return np.asarray(each.reshape(len(signals), -1).mean(1).numpy())


def moved(
    asked: list[Asked], prepared: Prepared, toggled: Prepared, marked: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """Return what the mark does to the logit of unseen records of the class: how many rise, how far in deviations."""
    signals, others = prepared.stack(), toggled.stack()
    logits, gain = np.zeros(len(signals)), np.zeros(len(signals))
    for one in asked:
        ((_, score),) = one.splits
        logits[score] = logits_of(one.bundle, signals[score])
        gain[score] = np.where(marked[score], 1, -1) * (logits[score] - logits_of(one.bundle, others[score]))
    own = target == 1
    shift = gain[own].mean() / logits[own].std(ddof=1)
    return {"rises": round(float((gain[own] > 0).mean()), 3), "shift": round(float(shift), 3), "n": int(own.sum())}


def trained(signals: np.ndarray, target: np.ndarray, seed: int) -> nn.Module:
    """Return a small LeNet after a few epochs on random crops."""
    generator = np.random.default_rng(seed)
    network = initialized(LeNet, ARCHITECTURE, seed % 2**31).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(EPOCHS):
        order = generator.permutation(len(signals))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[first : first + BATCH]
            begin = generator.integers(signals.shape[2] - CROP + 1)
            batch = torch.from_numpy(np.ascontiguousarray(signals[chosen, :, begin : begin + CROP]))
            optimizer.zero_grad()
            loss(network(batch)[:, 0], torch.from_numpy(target[chosen].astype(np.float32))).backward()
            optimizer.step()
    return network.eval()


def ask(
    asked: list[Asked], prepared: Prepared, target: np.ndarray, concepts: dict[str, np.ndarray], seed: int
) -> pd.DataFrame:
    """Return the cells of a family."""
    cohort, how = prepared.cohort, Directions(n_cavs=10, seed=seed)
    layers = choose_layers(asked[0].network)
    strata, shared = strata_of(cohort)
    groups = [Group(Concept(n, n, records=frozenset()), members, strata, shared) for n, members in concepts.items()]
    labels, people = pd.DataFrame({"TARGET": target}, index=cohort.labels.index), np.arange(len(cohort))
    members, every = np.stack([g.members for g in groups]), np.stack([g.strata for g in groups])
    answers = [
        (one, answers_of(one, gather(one, prepared.signals, layers, labels, how.steps), members, every, people, how))
        for one in asked
    ]  # fmt: skip
    tests = [slope_test(answers, g.members, g.strata, people, N_RANDOM, derived_seed(seed, g.concept.name))
             for g in groups]  # fmt: skip
    return cells_of(answers, groups, tests, labels, layers, people, N_RANDOM, seed)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return shares of repetitions with Wilson's intervals."""
    questions = {
        "found": ("used", "mark", True), "alarm, mark unused": ("unused", "mark", False),
        "alarm, random list, used": ("used", "list", False), "alarm, random list, unused": ("unused", "list", False),
    }  # fmt: skip
    told: dict[str, Any] = {"repetitions": len(rows), "seconds": round(float(np.mean([r["seconds"] for r in rows])), 1)}
    told |= {f"auroc_{family}": round(float(np.mean([r[family]["auroc"] for r in rows])), 3)
             for family in ("used", "unused")}  # fmt: skip
    for name, (family, concept, power) in questions.items():
        for gates, decide in (("all", _told), ("without the test", _told_by_scores)):
            hits = sum(any(decide(cell, power) for cell in row[family][concept]) for row in rows)
            low, high = wilson(hits, len(rows))
            told[f"{name}; {gates}"] = {"n": hits, "share": hits / len(rows), "low": low, "high": high}
    alarms = [row["unused"] for row in rows if _alarm(row) and "moved" in row["unused"]]
    right = sum(all((cell[1] == USES_FOR) == (one["moved"]["rises"] > 0.5) for cell in one["mark"]
                    if cell[1] != CANNOT_TELL) for one in alarms)  # fmt: skip
    for name, hits in (("the way the mark moves the logit", right), ("the other way", len(alarms) - right)):
        low, high = wilson(hits, len(rows))
        told[f"alarm, mark unused, {name}; all"] = {"n": hits, "share": hits / len(rows), "low": low, "high": high}
    return told | {"moved": [one["moved"] for one in alarms]}


def _alarm(row: dict[str, Any]) -> bool:
    return any(_told(cell, power=False) for cell in row["unused"]["mark"])


def _told(cell: list, power: bool) -> bool:
    return cell[1] == USES_FOR if power else cell[1] != CANNOT_TELL


def _told_by_scores(cell: list, power: bool) -> bool:
    _, _, score, iqr, accuracy, _ = cell
    if None in (score, iqr, accuracy) or accuracy <= 0.7 or iqr >= 0.25 or abs(score - 0.5) <= iqr / 2:
        return False
    return score > 0.5 if power else True


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
