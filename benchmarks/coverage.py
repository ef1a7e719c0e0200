# SPDX-License-Identifier: Apache-2.0
"""Do 95 % intervals hold the truth in 95 % of cohorts? 1,000 simulated ones, whose patients come several times.

    python benchmarks/coverage.py [--cohorts 1000] [--out benchmarks/coverage.json]

Each cohort has 60 patients with four records each; each patient has the label with a chance of one half. A record's
score is N(label, 1), and half of its variance is the patient's own. What is said is sigmoid(2 score - 1), so the truth
is known: AUROC Phi(1 / sqrt 2), sensitivity and specificity Phi(1 / 2), slope 1/2, intercept 0; the other truths are
those of one cohort of a million records. Coverage is given with the range that honest intervals would have in 95 of
100 such runs, and beside it what resampling records instead of patients would give.

A second set of cohorts has three classes, which half, a quarter and a tenth of the patients have (the rarest one with
twice the distance, so that sensitivities of 1 are common), and a second network that sees less: macro averages, the
rare class alone, and the paired difference of both networks, as `score_table` and `paired_difference` tell them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit

from ecglens.statistics import metrics
from ecglens.statistics.bootstrap import MIN_PATIENTS, interval, paired_difference, patient_weights, score_table
from ecglens.statistics.decision import net_benefit
from ecglens.statistics.reliability import brier, recalibration

N_PATIENTS, PER_PATIENT, WITHIN, N_RESAMPLES, CUT, ACT = 60, 4, 0.5, 400, 0.5, 0.2
SHARES, DISTANCES, WEAKER = (0.5, 0.25, 0.1), (1.0, 1.0, 2.0), 0.7  # of the three classes; what the other network sees
CLASSES = ("common", "scarce", "rare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = rows(asked.cohorts) + together(asked.cohorts)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
    for row in found:
        covered = f"patients {row['by_patient']:.3f}  records {row['by_record']:.3f}"
        print(f"{row['figure']:24s} truth {row['truth']:7.4f}  {covered}  (honest: {row['honest']})")


def rows(n_cohorts: int) -> list[dict]:
    """Return the coverage of each figure's interval, resampling patients and resampling records."""
    truth = {
        name: float(value[0]) for name, value in figures(*simulated(np.random.default_rng(1), 250_000)[:2]).items()
    }
    truth |= {"auroc": float(stats.norm.cdf(1 / np.sqrt(2))), "slope": 0.5, "intercept": 0.0}
    truth |= {"sensitivity": float(stats.norm.cdf(0.5)), "specificity": float(stats.norm.cdf(0.5))}
    hits = {name: [0, 0] for name in truth}
    generator = np.random.default_rng(2)
    for k in range(n_cohorts):
        labels, logits, patient = simulated(generator, N_PATIENTS)
        for side, ids in enumerate((patient, np.arange(patient.size))):
            drawn = figures(labels, logits, patient_weights(ids, N_RESAMPLES, k))
            for name, values in drawn.items():
                low, high, _ = interval(values)
                hits[name][side] += low <= truth[name] <= high
    honest = [float(x) / n_cohorts for x in stats.binom.interval(0.95, n_cohorts, 0.95)]
    return [
        {"figure": name, "truth": truth[name], "by_patient": patients / n_cohorts, "by_record": records / n_cohorts,
         "honest": honest, "cohorts": n_cohorts}
        for name, (patients, records) in hits.items()
    ]  # fmt: skip


def together(n_cohorts: int) -> list[dict]:
    """Return the coverage of macro averages, of the rare class and of paired differences, as users are told them."""
    auroc = stats.norm.cdf(np.array(DISTANCES) / np.sqrt(2))
    found = stats.norm.cdf(np.array(DISTANCES) / 2)  # sensitivity and specificity, cut midway
    weaker = stats.norm.cdf(WEAKER * np.array(DISTANCES) / np.sqrt(2))
    truth = {
        "macro auroc": auroc.mean(), "macro balanced_accuracy": found.mean(), "scarce auroc": auroc[1],
        "scarce sensitivity": found[1], "rare auroc": auroc[2],
        "rare sensitivity": found[2], "rare specificity": found[2], "difference": auroc.mean() - weaker.mean(),
    }  # fmt: skip
    hits, told = {name: np.zeros(2) for name in truth}, dict.fromkeys(truth, 0)
    generator = np.random.default_rng(3)
    for k in range(n_cohorts):
        labels, ours, theirs, patient = simulated_classes(generator)
        if min(len(np.unique(patient[labels[:, c] == 1])) for c in range(len(SHARES))) < MIN_PATIENTS:
            continue  # the rare class has no figures, as users are told
        for side, ids in enumerate((patient, np.arange(patient.size))):
            cuts = [d / 2 for d in DISTANCES]
            table = score_table(labels, ours, CLASSES, ids, cuts, n_resamples=N_RESAMPLES, seed=k)
            bounds = {f"{c} {m}": (low, high) for c, m, low, high in zip(
                table["class"], table["metric"], table["low"], table["high"], strict=True)}  # fmt: skip
            pair = paired_difference(labels, ours, theirs, ids, n_resamples=N_RESAMPLES, seed=k)
            bounds["difference"] = (pair.low, pair.high)
            for name in truth:
                low, high = bounds[name]
                hits[name][side] += low <= truth[name] <= high
                told[name] += side == 0
    return [
        {"figure": name, "truth": float(truth[name]), "by_patient": hits[name][0] / told[name],
         "by_record": hits[name][1] / told[name], "cohorts": told[name],
         "honest": [float(x) / told[name] for x in stats.binom.interval(0.95, told[name], 0.95)]}
        for name in truth
    ]  # fmt: skip


def simulated_classes(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores of two networks (each [record, class]) and patients [record]."""
    patient = np.repeat(np.arange(N_PATIENTS), PER_PATIENT)
    labels = (generator.random((N_PATIENTS, len(SHARES))) < SHARES).astype(float)[patient]
    own = generator.normal(size=(N_PATIENTS, len(SHARES)))[patient]
    noise = [
        np.sqrt(WITHIN) * own + np.sqrt(1 - WITHIN) * generator.normal(size=labels.shape) for _ in range(2)
    ]  # both networks see the same patient, each record with noise of its own
    return labels, labels * DISTANCES + noise[0], WEAKER * labels * DISTANCES + noise[1], patient


def simulated(generator: np.random.Generator, n_patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, logits and patients [record]."""
    patient = np.repeat(np.arange(n_patients), PER_PATIENT)
    labels = (generator.random(n_patients) < 0.5).astype(float)[patient]
    own, single = generator.normal(size=n_patients)[patient], generator.normal(size=patient.size)
    return labels, 2 * (labels + np.sqrt(WITHIN) * own + np.sqrt(1 - WITHIN) * single) - 1, patient


def figures(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return every figure [resample]."""
    weights = np.ones((1, labels.size), np.uint8) if weights is None else weights
    said = expit(logits)
    free = metrics.discrimination(labels, said, weights)
    counts = metrics.confusion(labels, metrics.decide(said, CUT), weights)
    intercept, slope = recalibration(labels, logits, weights)
    return {
        "auroc": free.auroc, "average_precision": free.average_precision, "f1": metrics.f1(counts),
        "sensitivity": metrics.sensitivity(counts), "specificity": metrics.specificity(counts),
        "brier": brier(labels, said, weights), "slope": slope, "intercept": intercept,
        "level": recalibration(labels, logits, weights, slope=1.0)[0],
        "net_benefit": net_benefit(labels, said, [ACT], weights)[:, 0],
    }  # fmt: skip


if __name__ == "__main__":
    main()
