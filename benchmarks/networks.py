# SPDX-License-Identifier: Apache-2.0
"""Every network trained and tested on real ECGs, by the commands a user would give.

    python benchmarks/networks.py PTBXL --runs runs/networks [--only lenet-folds ...] [--figures JSON]

Each experiment is `ecglens train` (gone on with where it was cut off, not repeated where it is finished), `ecglens
evaluate`, and where a peer is named `ecglens compare`. What is already in `--figures` stays unless its experiment is
named again. All of them take about a day of one core; the time of each stands in the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecglens import Bundle
from ecglens.models.average import members_of
from ecglens.runs.files import write_json

FOLDS = ("--folds", "all")
HALF = ("--precision", "bfloat16")  # halves the time of an ECGNet on a processor that has it
SUB = ("--task", "subdiagnostic", "--min-patients", "20")


@dataclass(frozen=True)
class Experiment:
    """One row: what is trained (arguments of `ecglens train`), on which fold it is tested, against which other row."""

    arguments: tuple[str, ...]
    fold: str = "10"
    peer: str = ""
    beside: str = ""  # a second one


def _of(*arguments: str, fold: str = "10", peer: str = "", beside: str = "") -> Experiment:
    return Experiment(arguments, fold, peer, beside)


EXPERIMENTS = {
    # Which network: fold 10, then everybody.
    "lenet": _of("--model", "lenet"),
    "lenet-wide": _of("--model", "lenet-wide", peer="lenet"),
    "xresnet1d50": _of("--model", "xresnet1d50", peer="lenet"),
    "resnet1d": _of("--model", "resnet1d", peer="lenet"),
    "ecgnet": _of("--model", "ecgnet", peer="lenet"),
    "ecgnet-lead": _of("--model", "ecgnet-lead", peer="ecgnet"),
    "ecgnet-class": _of("--model", "ecgnet-class", peer="ecgnet"),
    "lenet-seeds": _of("--model", "lenet", "--seeds", "5", peer="lenet"),
    "lenet-folds": _of("--model", "lenet", *FOLDS, fold="all"),
    "lenet-again-folds": _of("--model", "lenet", *FOLDS, fold="all"),  # on another machine: what rounding does
    "resnet1d-folds": _of("--model", "resnet1d", "--epochs", "12", *FOLDS, fold="all", peer="lenet-folds"),
    "ecgnet-folds": _of("--model", "ecgnet", "--epochs", "12", *HALF, *FOLDS, fold="all", peer="lenet-folds"),
    "ecgnet-lead-folds": _of(
        "--model", "ecgnet-lead", "--epochs", "12", *HALF, *FOLDS, fold="all", peer="lenet-folds", beside="ecgnet-folds"
    ),
    "lenet-wide-folds": _of("--model", "lenet-wide", *FOLDS, fold="all", peer="lenet-folds"),
    "lenet-seeds-folds": _of("--model", "lenet", *FOLDS, "--seeds", "5", fold="all", peer="lenet-folds"),
    "xresnet1d50-folds": _of("--model", "xresnet1d50", "--epochs", "12", *FOLDS, fold="all", peer="lenet-folds"),
    "ecgnet-class-folds": _of(
        "--model",
        "ecgnet-class",
        "--epochs",
        "12",
        *HALF,
        *FOLDS,
        fold="all",
        peer="lenet-folds",
        beside="ecgnet-folds",
    ),
    # How rare classes weigh (TrustECG, section 5.1).
    "balance-none": _of("--model", "lenet", "--balance", "none", *FOLDS, fold="all", peer="lenet-folds"),
    "balance-full": _of("--model", "lenet", "--balance", "full", *FOLDS, fold="all", peer="lenet-folds"),
    # The papers' recipes.
    "trustecg": _of("--model", "ecgnet", "--recipe", "trustecg", *HALF),
    "trustecg-code": _of("--model", "ecgnet", "--recipe", "trustecg-code", *HALF),
    "xai4ecg-lenet": _of("--model", "lenet", "--recipe", "xai4ecg", "--task", "subdiagnostic", "--drop-empty-classes"),
    "xai4ecg-xresnet": _of(
        "--model", "xresnet1d50", "--recipe", "xai4ecg", "--task", "subdiagnostic", "--drop-empty-classes"
    ),
    # 23 sub-classes by our own recipe.
    "sub-lenet": _of("--model", "lenet", "--task", "subdiagnostic", "--drop-empty-classes"),
    "sub-xresnet": _of("--model", "xresnet1d50", "--task", "subdiagnostic", "--drop-empty-classes", peer="sub-lenet"),
    # Those that 20 patients have, over ten folds: the families behind maps of cohorts, concepts and sub-types.
    "sub-lenet-folds": _of(*SUB, "--model", "lenet", *FOLDS, fold="all"),
    "sub-xresnet-folds": _of(
        *SUB, "--model", "xresnet1d50", "--epochs", "12", *FOLDS, fold="all", peer="sub-lenet-folds"
    ),
}


def ecglens(*arguments: str) -> dict[str, Any]:
    """Run one command and return its JSON; its progress goes to the terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "ecglens", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (0, 7):  # 7: some records were left out, and are listed
        raise SystemExit(f"ecglens {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}")
    return dict(json.loads(done.stdout))


def measure(name: str, data: str, runs: Path) -> dict[str, Any]:
    """Train, test and compare one experiment."""
    asked, run = EXPERIMENTS[name], runs / name
    began = time.monotonic()
    if not _finished(run):
        ecglens("train", "--data", data, "--out", str(run), "--resume", *asked.arguments)
    seconds = time.monotonic() - began
    found = ecglens("evaluate", str(run), "--data", data, "--fold", asked.fold)
    about = {
        "command": f"ecglens train --data PTBXL {' '.join(asked.arguments)} --out {name}",
        "fold": asked.fold, "n": found["n"], "n_patients": found["n_patients"], "label_rule": found["label_rule"],
        "parameters": _parameters(run), "macro_auroc": found["macro_auroc"],
        "macro_f1": found["macro"]["f1"],
        "per_class": {
            label: {"auroc": told["auroc"], "f1": told["f1"]} for label, told in found["per_class"].items()
        },
        "per_fold": found.get("per_fold", {}),
        "valid": json.loads((run / "run.json").read_text()).get("valid", {}).get("macro_auroc"),  # chosen on it
        "excluded": found.get("excluded", {}),
        "seconds": seconds,
    }  # fmt: skip
    for key, peer in (("against", asked.peer), ("beside", asked.beside)):
        if peer and _finished(runs / peer):
            pair = ecglens("compare", str(run), str(runs / peer), "--data", data, "--fold", asked.fold)
            about[key] = {"peer": peer, "differences": pair["differences"]}
    return about


def _finished(run: Path) -> bool:
    return (run / "run.json").exists() and bool(json.loads((run / "run.json").read_text()).get("finished"))


def _parameters(run: Path) -> int:
    """Return how many weights one network has (of an average: one member's)."""
    return sum(weights.numel() for weights in members_of(Bundle.load(run).network)[0].parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of PTB-XL")
    parser.add_argument("--runs", type=Path, default=Path("runs/networks"))
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--figures", type=Path, default=Path(__file__).with_name("networks.json"))
    asked = parser.parse_args()
    for name in asked.only:
        row = measure(name, asked.data, asked.runs)
        known = json.loads(asked.figures.read_text()) if asked.figures.exists() else {}
        if row["seconds"] < 5 and name in known:
            row["seconds"] = known[name]["seconds"]  # it was trained before
        write_json(asked.figures, known | {name: row})
        value = row["macro_auroc"]
        print(f"{name}: {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}], N = {row['n']}", flush=True)


if __name__ == "__main__":
    main()
