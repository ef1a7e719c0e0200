# SPDX-License-Identifier: Apache-2.0
"""How do I get from ECGs to a tested network and an explanation, in Python?

    python examples/train_and_explain.py [FOLDER]

Uses the simulated cohort; put the folder of PTB-XL into `load_cohort` for the real thing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ecglens import evaluate, explain, load_cohort, recipe_for, train


def main(folder: Path, epochs: int = 10) -> float:
    """Train, test on people the network has never seen, and explain one of them."""
    cohort = load_cohort("simulated")
    bundle = train(cohort, replace(recipe_for("lenet"), epochs=epochs), folder).bundle
    tested = evaluate(bundle, cohort.where(fold=10))
    macro = tested.as_dict()["macro_auroc"]
    print(f"macro AUROC {macro['value']:.3f} [{macro['low']:.3f}, {macro['high']:.3f}], N = {tested.n}")
    ecg = cohort.where(fold=10)[0]
    (why,) = explain(bundle, ecg, ["MI"], method="saliency")
    print(f"{ecg.record_id}: MI {why.probability:.3f}; share by lead {why.share_by_lead()}")
    return float(macro["value"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
