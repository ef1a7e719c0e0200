# SPDX-License-Identifier: Apache-2.0
"""Make the shipped bundles of PTB-XL's superclasses, and of its subclasses with 20 training patients or more.

    python recipes/pretrained.py --data PTBXL [--name pretrained] [--out runs/pretrained]
    python recipes/pretrained.py --data PTBXL [--name pretrained] --calibrate-only

pretrained   five wide LeNets, their logits averaged, so that no lucky seed is picked; six to ten minutes on two cores
ecgnet       one ECGNet, the variant that did best on fold 9; half an hour
sub          five LeNets on the subclasses (IMI, AMI, LVH, CLBBB, ...), averaged; six minutes

Trains on folds 1-8 (each network keeps its best epoch on fold 9). Calibration and thresholds come from fold 9; fold 10
is scored at the end and chooses nothing. `--calibrate-only` keeps the shipped weights and fits the rest anew.
Writes the bundle to src/ecglens/weights/NAME and the figures to recipes/NAME.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecglens.bundle import Bundle
from ecglens.cli.console import ProgressLine
from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.prediction.calibration import calibrate
from ecglens.prediction.evaluate import evaluate, score_prepared
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import write_json
from ecglens.runs.run import Run
from ecglens.statistics.figures import clean
from ecglens.training.card import model_card
from ecglens.training.family import average
from ecglens.training.recipes import recipe_for
from ecglens.training.train import train

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "src" / "ecglens" / "weights"
SUPER: dict[str, Any] = {"task": "superdiagnostic", "min_likelihood": 0.0}
SUB: dict[str, Any] = {"task": "subdiagnostic", "min_likelihood": 0.0}
SHIPPED = {  # model, seeds, task, least training patients of a class
    "pretrained": ("lenet-wide", 5, SUPER, 0),
    "ecgnet": ("ecgnet-class", 1, SUPER, 0),
    "sub": ("lenet", 5, SUB, 20),
}


def main() -> None:
    """Train, choose on fold 9, test once on fold 10, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of PTB-XL")
    parser.add_argument("--name", choices=list(SHIPPED), default="pretrained")
    parser.add_argument("--out", type=Path, help="folder for one run per seed; default: runs/NAME")
    parser.add_argument("--calibrate-only", action="store_true", help="keep the shipped weights")
    asked = parser.parse_args()
    cohort, cache = load_cohort(asked.data, **SHIPPED[asked.name][2]), Cache(default_cache())
    if asked.calibrate_only:
        bundle = Bundle.load(WEIGHTS / asked.name)
    else:
        bundle = trained(asked.name, cohort, asked.out or Path("runs") / asked.name, cache)
    print(ship(asked.name, bundle, cohort, cache).card)


def trained(name: str, cohort: Cohort, out: Path, cache: Cache) -> Bundle:
    """Return the average of one network per seed (or the only one), not yet calibrated."""
    progress, scores = ProgressLine(), {}
    model, seeds, task, min_patients = SHIPPED[name]
    for seed in range(seeds):
        folder = out / f"seed-{seed}"
        done = folder.exists()
        if not (done and Run(folder).read().get("finished")):
            train(cohort, recipe_for(model), folder, seed=seed, resume=done, arguments=task, min_patients=min_patients,
                  cache=cache, progress=progress)  # fmt: skip
        scores[seed] = Run(folder).read()["valid"]["macro_auroc"]["value"]
    members = [Bundle.load(out / f"seed-{seed}") for seed in scores]
    first = members[0]
    chosen = {
        "validation_macro_auroc_by_seed": scores,
        "best_epoch": [m.details["best_epoch"] for m in members] if seeds > 1 else first.details["best_epoch"],
    }
    joined = average(members, name, first.trained_on) if seeds > 1 else replace(first, name=name)  # all saw the same
    return replace(joined, details={**first.details, **chosen, "arguments": task})


def ship(name: str, bundle: Bundle, cohort: Cohort, cache: Cache) -> Bundle:
    """Calibrate on fold 9, test on fold 10, write bundle, card and figures."""
    valid = prepare(cohort.where(fold=9), bundle.preprocessing, cache=cache)
    bundle = calibrate(bundle, valid)
    on_valid = score_prepared(bundle, valid, n_resamples=2000, seed=0).as_dict()
    tested = evaluate(bundle, cohort.where(fold=10), cache=cache, progress=ProgressLine())
    figures = clean(replace(tested, assessment=None).as_dict())  # scores alone; `ecglens evaluate` shows the rest
    shipped = replace(bundle, card=model_card(bundle, on_valid, figures))
    shipped.save(WEIGHTS / name)
    mean = {label: float(p) for label, p in tested.probabilities.mean().items()}
    about = {"schema": 1, "fold": 10, "mean_probability": mean, "weights_sha256": shipped.weights_sha256}
    chosen = {what: bundle.details[what] for what in ("validation_macro_auroc_by_seed", "best_epoch")}
    chosen["validation_macro_auroc_averaged"] = on_valid["macro_auroc"]
    write_json(HERE / f"{name}.json", about | chosen | figures)
    return shipped


if __name__ == "__main__":
    main()
