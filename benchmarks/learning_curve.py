# SPDX-License-Identifier: Apache-2.0
"""Macro AUROC by number of training patients, on real ECGs.

    python benchmarks/learning_curve.py --data PTBXL [--model lenet] [--epochs 0] [--out runs/learning-curve]
                                        [--figures benchmarks/learning_curve.json]

Writes one run folder per size below `--out`, `learning-curve.csv` and `learning-curve.svg` beside them, with
`--figures` what the documentation shows, and prints the table. With LeNet's own 60 epochs: two to four minutes on two
cores.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ecglens.cli.console import ProgressLine
from ecglens.datasets.load import load_cohort
from ecglens.plotting.calibration import plot_learning_curve
from ecglens.plotting.style import figure_bytes
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import write_bytes, write_json, write_text
from ecglens.training.learning_curve import learning_curve
from ecglens.training.recipes import recipe_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of PTB-XL, or: simulated")
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--epochs", type=int, default=0, help="0: as in the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/learning-curve"))
    parser.add_argument("--figures", type=Path)
    asked = parser.parse_args()
    recipe = recipe_for(asked.model)
    if asked.epochs:
        recipe = replace(recipe, epochs=asked.epochs)
    table = learning_curve(load_cohort(asked.data), recipe, asked.out, seed=asked.seed, cache=Cache(default_cache()),
                           progress=ProgressLine())  # fmt: skip
    write_text(asked.out / "learning-curve.csv", table.to_csv(index=False))
    if asked.figures:
        about = {"model": asked.model, "epochs": recipe.epochs, "seed": asked.seed}
        write_json(asked.figures, about | {"rows": table.drop(columns=["metric"]).to_dict("records")})
    figure = plot_learning_curve(
        table["n_train"].tolist(), table["value"].tolist(), table["low"].tolist(), table["high"].tolist(),
        "Macro AUROC, fold 10",
    )  # fmt: skip
    write_bytes(asked.out / "learning-curve.svg", figure_bytes(figure))
    print(table.drop(columns="method").round(3).to_string(index=False))


if __name__ == "__main__":
    main()
