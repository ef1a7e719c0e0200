# SPDX-License-Identifier: Apache-2.0
"""Concepts on real ECGs by families of networks, and the time of it beside captum's TCAV. Writes concepts.json.

    python benchmarks/concepts.py real RUN PTBXL OUT [VALUES]    a family of folds; VALUES: tables/values.csv of a run
    python benchmarks/concepts.py pictures FOLDER                of the classes of the paper, from concepts.json
    python benchmarks/concepts.py speed                          on a LeNet with random weights

Speed: 8 groups against each other in pairs of concept and random group, five classes, five layers, one network. captum
as its users call it (TCAV with its own classifier), class by class; ecglens with all it needs for the same scores.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.concept import TCAV
from captum.concept import Concept as CaptumConcept
from timing import side_by_side

from ecglens.bundle import Bundle, Output
from ecglens.concepts.cav import find_fit
from ecglens.concepts.definition import load_concepts
from ecglens.concepts.network import Asked, gather
from ecglens.concepts.result import ConceptTest
from ecglens.concepts.study import study_concepts
from ecglens.concepts.values import read_values
from ecglens.models.lenet import LeNet, initialized
from ecglens.plotting.concepts import plot_association, plot_concept_scores
from ecglens.plotting.style import figure_bytes
from ecglens.prediction.family import folds_of
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.preprocessing.windows import Windows
from ecglens.runs.cache import Cache, default_cache
from ecglens.runs.files import read_json, write_bytes, write_json
from ecglens.runs.run import Run
from ecglens.training.recipes import PREPROCESSING

RESULTS = Path(__file__).with_name("concepts.json")
PAPER = ("CLBBB", "LVH", "IMI", "AMI", "NORM")  # xai4ecg's classes
N_CONCEPTS, N_RANDOM, N_EACH, N_CLASSES, SAMPLES = 4, 2, 64, 5, 250
LAYERS = {"block-1": "blocks.0", "block-2": "blocks.1", "pool": "pool", "head-1": "head.0", "head-2": "head.1"}


def main(arguments: list[str]) -> None:
    """Do what is asked and put it into concepts.json, beside what is there."""
    found = read_json(RESULTS) if RESULTS.exists() else {}
    if arguments[:1] == ["real"]:
        found |= {Path(arguments[1]).name: real(*arguments[1:])}
    elif arguments[:1] == ["pictures"]:
        pictures(found["sub-lenet-folds"], Path(arguments[1]))
    else:
        found |= {
            "speed": [speed(fit, steps) for fit, steps in (("closed", "mean"), ("closed", "each"), ("sgd", "each"))]
        }
    write_json(RESULTS, found)


def real(where: str, data: str, out: str, values: str = "") -> dict[str, Any]:
    """Return counts and verdicts of a family on the records that it was cross-validated on."""
    from ecglens.cli.evaluate import load_for

    bundle, folder = Bundle.load(where), Path(out)
    began = time.monotonic()
    if (folder / "concepts.json").exists():
        test = ConceptTest.open(folder)
    else:
        cohort = folds_of(where, load_for(bundle, data))
        assert cohort is not None
        known = read_values(values) if values else None
        test = study_concepts(
            Run(Path(where)), cohort, load_concepts(), folder, known_values=known, cache=Cache(default_cache()),
            resume=(folder / "run.json").exists(), arguments={"bundle": where, "data": data, "fold": "all"},
            progress=lambda stage, done, total, note: print(stage, done, total, note, flush=True),
        )  # fmt: skip
    about = test.about
    seconds = time.monotonic() - began
    cells = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in cell.items()}
        for cell in about["cells"]
    ]
    kept = ("n", "n_patients", "label_rule", "layers", "networks", "per_class", "concepts", "left_out", "association")
    print(f"N = {about['n']} records of {about['n_patients']} patients, {seconds:.0f} s")
    for cell in cells:
        if cell["verdict"] != "cannot tell":
            print(*(cell[key] for key in ("concept", "class", "layer", "verdict", "score", "iqr", "accuracy", "p")))
    return {key: about[key] for key in kept} | {"n_excluded": len(about["excluded"]), "cells": cells}


def pictures(told: dict[str, Any], folder: Path) -> None:
    """Write the two pictures of the documentation."""
    cells, table = pd.DataFrame(told["cells"]), pd.DataFrame(told["association"])
    counts = {name: told["per_class"][name]["n"] for name in PAPER}
    for name, figure in (
        ("concepts", plot_concept_scores(cells[cells["class"].isin(PAPER)], counts)),
        ("concepts-diagnoses", plot_association(table[table["class"].isin(PAPER)])),
    ):
        write_bytes(folder / f"{name}.png", figure_bytes(figure, "png", dpi=110))


def speed(fit: str, steps: str) -> dict[str, Any]:
    """Return how many times longer captum takes for the same number of scores."""
    warnings.simplefilter("ignore")
    generator = np.random.default_rng(0)
    network = initialized(LeNet, {"n_outputs": N_CLASSES}, 0).eval()
    groups = generator.standard_normal((N_CONCEPTS + N_RANDOM, N_EACH, 12, SAMPLES)).astype(np.float32)
    inputs = generator.standard_normal((N_CLASSES, N_EACH, 12, SAMPLES)).astype(np.float32)
    signals = [*groups.reshape(-1, 12, SAMPLES), *inputs.reshape(-1, 12, SAMPLES)]
    outputs = tuple(Output(f"C{k}", "multilabel") for k in range(N_CLASSES))
    window = Preprocessing(PREPROCESSING.admission, (), Windows(SAMPLES, SAMPLES))
    bundle = Bundle(network, outputs, window, 100.0)
    n_grouped = len(groups) * N_EACH
    scored = np.arange(n_grouped, len(signals))
    labels = pd.DataFrame(np.zeros((len(signals), N_CLASSES)), columns=[o.name for o in outputs])
    for k in range(N_CLASSES):
        labels.iloc[n_grouped + k * N_EACH : n_grouped + (k + 1) * N_EACH, k] = 1

    def ours() -> dict[tuple[int, int, str, int], float]:
        asked = Asked("speed", bundle, network, ((np.arange(n_grouped), scored),))
        held = gather(asked, signals, list(LAYERS), labels, steps)
        scores = {}
        for concept in range(N_CONCEPTS):
            for other in range(N_CONCEPTS, len(groups)):
                for name, values in held.held.items():
                    parts = (values[k * N_EACH : (k + 1) * N_EACH] for k in (concept, other))
                    direction = find_fit(fit)(*parts, 0).direction.astype(np.float32)
                    for k in range(N_CLASSES):
                        scores[concept, other, name, k] = float((held.slopes[name][k] @ direction > 0).mean())
        return scores

    def theirs() -> None:
        sets = [CaptumConcept(k, f"g{k}", torch.from_numpy(group).split(N_EACH)) for k, group in enumerate(groups)]
        pairs = [[sets[a], sets[b]] for a in range(N_CONCEPTS) for b in range(N_CONCEPTS, len(groups))]
        with tempfile.TemporaryDirectory() as folder:
            tcav = TCAV(network, list(LAYERS.values()), save_path=folder)
            for k in range(N_CLASSES):
                tcav.interpret(torch.from_numpy(inputs[k]), pairs, target=k)

    row = side_by_side(ours, theirs, 3) | {
        "scores": len(ours()),
        "fit": fit,
        "steps": steps,
        "threads": torch.get_num_threads(),
    }
    print(
        f"{fit}, {steps}: {row['ratio']['median']:.1f} x [{row['ratio']['low']:.1f}, {row['ratio']['high']:.1f}]",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
