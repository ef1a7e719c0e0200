# SPDX-License-Identifier: Apache-2.0
"""Make the shipped bundle `pretrained`: five wide LeNets on PTB-XL's superclasses, averaged.

    python recipes/pretrained.py --data PTBXL [--out runs/pretrained] [--seeds 5]

Trains one network per seed on folds 1-8 (each keeps its best epoch on fold 9) and averages their logits, so that no
lucky seed is picked. Temperatures and thresholds of the average come from fold 9; fold 10 is scored at the end and
chooses nothing. Six to ten minutes on two cores. Writes the bundle to src/ecglens/weights/pretrained and the figures
to recipes/pretrained.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ecglens.bundle import Bundle
from ecglens.cli.console import ProgressLine, clean
from ecglens.datasets.load import load_cohort
from ecglens.models.average import Average
from ecglens.prediction.calibration import calibrate
from ecglens.prediction.evaluate import evaluate, score_prepared
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import write_json
from ecglens.runs.run import Run
from ecglens.training.card import model_card
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
    asked = parser.parse_args()
    cohort = load_cohort(asked.data, **TASK)
    cache, progress = Cache(default_cache()), ProgressLine()
    scores = {}
    for seed in range(asked.seeds):
        folder = asked.out / f"seed-{seed}"
        done = folder.exists()
        if not (done and Run(folder).read().get("finished")):
            train(cohort, recipe_for("lenet-wide"), folder, seed=seed, resume=done, arguments=TASK, cache=cache,
                  progress=progress)  # fmt: skip
        scores[seed] = Run(folder).read()["valid"]["macro_auroc"]["value"]
    members = [Bundle.load(asked.out / f"seed-{seed}") for seed in scores]
    first, valid = members[0], prepare(cohort.where(fold=9), members[0].preprocessing, cache=cache)
    chosen = {"validation_macro_auroc_by_seed": scores, "best_epoch": [m.details["best_epoch"] for m in members]}
    average = replace(
        first,
        network=Average([member.network for member in members]),
        architecture="Average",
        arguments={"architecture": first.architecture, "arguments": first.arguments, "n_members": len(members)},
        name="pretrained",
        details={**first.details, **chosen},
    )
    average = calibrate(average, valid)
    on_valid = score_prepared(average, valid, n_resamples=2000, seed=0).as_dict()
    tested = evaluate(average, cohort.where(fold=10), cache=cache, progress=progress)
    figures = clean(tested.as_dict())
    shipped = replace(average, card=model_card(average, on_valid, figures))
    shipped.save(TARGET)
    mean = {name: float(p) for name, p in tested.probabilities.mean().items()}
    chosen["validation_macro_auroc_averaged"] = on_valid["macro_auroc"]
    about = {"schema": 1, "fold": 10, "mean_probability": mean, "weights_sha256": shipped.weights_sha256}
    facts = about | chosen | figures
    write_json(HERE / "pretrained.json", facts)
    print(shipped.card)


if __name__ == "__main__":
    main()
