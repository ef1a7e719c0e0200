# SPDX-License-Identifier: Apache-2.0
"""Do 95 % intervals hold the truth in 95 % of cohorts? 1,000 simulated ones, whose patients come several times.

    python benchmarks/coverage.py [--cohorts 1000] [--out benchmarks/coverage.json]

Each cohort has 60 patients with four records each; each patient has the label with a chance of one half. A record's
score is N(label, 1), and half of its variance is the patient's own. What is said is sigmoid(2 score - 1), so the truth
is known: AUROC Phi(1 / sqrt 2), sensitivity and specificity Phi(1 / 2), slope 1/2, intercept 0; the other truths are
those of one cohort of a million records. Coverage is given with the range that honest intervals would have in 95 of
100 such runs, and beside it what resampling records instead of patients would give.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit

from ecglens.statistics import metrics
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.decision import net_benefit
from ecglens.statistics.reliability import brier, recalibration

N_PATIENTS, PER_PATIENT, WITHIN, N_RESAMPLES, CUT, ACT = 60, 4, 0.5, 400, 0.5, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = rows(asked.cohorts)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
    for row in found:
        covered = f"patients {row['by_patient']:.3f}  records {row['by_record']:.3f}"
        print(f"{row['figure']:18s} truth {row['truth']:7.4f}  {covered}  (honest: {row['honest']})")


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
