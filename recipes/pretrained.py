# SPDX-License-Identifier: Apache-2.0
"""Make the shipped bundle `pretrained`: a wide LeNet on PTB-XL's superclasses.

    python recipes/pretrained.py --data PTBXL [--out runs/pretrained] [--seeds 5]

Trains one network per seed on folds 1-8, keeps the seed whose validation macro AUROC (fold 9) is best, and scores
that one, once, on fold 10. Nothing is chosen on fold 10. Six to ten minutes on two cores. Writes the bundle to
src/ecglens/weights/pretrained and the figures to recipes/pretrained.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ecglens.bundle import Bundle
from ecglens.cli.console import ProgressLine, clean
from ecglens.datasets.load import load_cohort
from ecglens.prediction.evaluate import evaluate
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
    best = max(scores, key=scores.__getitem__)
    bundle = Bundle.load(asked.out / f"seed-{best}")
    tested = evaluate(bundle, cohort.where(fold=10), cache=cache, progress=progress)
    figures = clean(tested.as_dict())
    chosen = {"validation_macro_auroc_by_seed": scores, "chosen_seed": best}
    named = replace(bundle, name="pretrained", details={**bundle.details, **chosen})
    shipped = replace(named, card=model_card(named, Run(asked.out / f"seed-{best}").read()["valid"], figures))
    shipped.save(TARGET)
    facts = {"schema": 1, "fold": 10, "weights_sha256": shipped.weights_sha256} | chosen | figures
    write_json(HERE / "pretrained.json", facts)
    print(shipped.card)


if __name__ == "__main__":
    main()
