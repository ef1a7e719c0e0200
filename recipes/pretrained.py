# SPDX-License-Identifier: Apache-2.0
"""Make the shipped bundle `pretrained`: five wide LeNets on PTB-XL's superclasses, averaged.

    python recipes/pretrained.py --data PTBXL [--out runs/pretrained] [--seeds 5]
    python recipes/pretrained.py --data PTBXL --calibrate-only

Trains one network per seed on folds 1-8 (each keeps its best epoch on fold 9) and averages their logits, so that no
lucky seed is picked. Calibration and thresholds of the average come from fold 9; fold 10 is scored at the end and
chooses nothing. Six to ten minutes on two cores; `--calibrate-only` keeps the shipped weights and fits the rest anew.
Writes the bundle to src/ecglens/weights/pretrained and the figures to recipes/pretrained.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ecglens.bundle import Bundle
from ecglens.cli.console import ProgressLine, clean
from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.prediction.calibration import calibrate
from ecglens.prediction.evaluate import evaluate, score_prepared
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import write_json
from ecglens.runs.run import Run
from ecglens.training.card import model_card
from ecglens.training.family import average
from ecglens.training.recipes import recipe_for
from ecglens.training.train import train

HERE = Path(__file__).parent
TARGET = HERE.parent / "src" / "ecglens" / "weights" / "pretrained"
TASK = {"task": "superdiagnostic", "min_likelihood": 0.0}


def main() -> None:
    """Train, choose on fold 9, test once on fold 10, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of PTB-XL")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrained"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calibrate-only", action="store_true", help="keep the shipped weights")
    asked = parser.parse_args()
    cohort, cache = load_cohort(asked.data, **TASK), Cache(default_cache())
    bundle = Bundle.load(TARGET) if asked.calibrate_only else trained(cohort, asked.out, asked.seeds, cache)
    print(ship(bundle, cohort, cache).card)


def trained(cohort: Cohort, out: Path, seeds: int, cache: Cache) -> Bundle:
    """Return the average of one network per seed, not yet calibrated."""
    progress, scores = ProgressLine(), {}
    for seed in range(seeds):
        folder = out / f"seed-{seed}"
        done = folder.exists()
        if not (done and Run(folder).read().get("finished")):
            train(cohort, recipe_for("lenet-wide"), folder, seed=seed, resume=done, arguments=TASK, cache=cache,
                  progress=progress)  # fmt: skip
        scores[seed] = Run(folder).read()["valid"]["macro_auroc"]["value"]
    members = [Bundle.load(out / f"seed-{seed}") for seed in scores]
    first = members[0]
    chosen = {"validation_macro_auroc_by_seed": scores, "best_epoch": [m.details["best_epoch"] for m in members]}
    joined = average(members, "pretrained", first.trained_on)  # all saw the same people
    return replace(joined, details={**first.details, **chosen})


def ship(bundle: Bundle, cohort: Cohort, cache: Cache) -> Bundle:
    """Calibrate on fold 9, test on fold 10, write bundle, card and figures."""
    valid = prepare(cohort.where(fold=9), bundle.preprocessing, cache=cache)
    bundle = calibrate(bundle, valid)
    on_valid = score_prepared(bundle, valid, n_resamples=2000, seed=0).as_dict()
    tested = evaluate(bundle, cohort.where(fold=10), cache=cache, progress=ProgressLine())
    figures = clean(replace(tested, assessment=None).as_dict())  # scores alone; `ecglens evaluate` shows the rest
    shipped = replace(bundle, card=model_card(bundle, on_valid, figures))
    shipped.save(TARGET)
    mean = {name: float(p) for name, p in tested.probabilities.mean().items()}
    about = {"schema": 1, "fold": 10, "mean_probability": mean, "weights_sha256": shipped.weights_sha256}
    chosen = {name: bundle.details[name] for name in ("validation_macro_auroc_by_seed", "best_epoch")}
    chosen["validation_macro_auroc_averaged"] = on_valid["macro_auroc"]
    write_json(HERE / "pretrained.json", about | chosen | figures)
    return shipped


if __name__ == "__main__":
    main()
