# SPDX-License-Identifier: Apache-2.0
"""Write `bundle-schema-1`: a bundle as this schema defined it, which every later version must load and agree with.

    python tests/golden/make_bundle.py

Never run it again for an old schema: the point is that the old files stay as they are.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ecglens import Bundle, Output, predict, simulate_ecg
from ecglens.bundle import BUNDLE_SCHEMA, TrainedOn
from ecglens.models.lenet import LeNet, initialized
from ecglens.preprocessing.windows import Windows
from ecglens.training.recipes import PREPROCESSING

FOLDER = Path(__file__).parent / f"bundle-schema-{BUNDLE_SCHEMA}"
SIZES = {
    "n_leads": 12,
    "n_outputs": 3,
    "widths": [4, 4, 4],
    "kernels": [7, 5, 5],
    "dropout": [0.1, 0.2, 0.4],
    "hidden": 4,
}
OUTPUTS = (Output("MI", threshold=0.4, temperature=1.5), Output("age", "regression", "years"), Output("HYP"))


def make() -> Bundle:
    """Return a small bundle with several kinds of output."""
    return Bundle(
        initialized(LeNet, SIZES, 1),
        OUTPUTS,
        replace(PREPROCESSING, windows=Windows(300, 150)),
        100.0,
        "LeNet",
        SIZES,
        "golden",
        TrainedOn.of("salt", train=(["ptbxl:1", "ptbxl:2"], ["a", "b"]), valid=(["ptbxl:3"], ["c"])),
        "made by hand",
        "nobody's data",
        "# golden\n",
    )


if __name__ == "__main__":
    bundle = make()
    bundle.save(FOLDER)
    told = predict(bundle, simulate_ecg("golden", "IMI").ecg).probabilities
    (FOLDER / "expected.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)
