# SPDX-License-Identifier: Apache-2.0
"""How surely people are found by one lead, on real ECGs: the runs behind docs/methods/identification.md.

    python benchmarks/identification.py ecgid   --data ECGIDDB [--models transecg] [--out runs/identification]
    python benchmarks/identification.py dates   --data ECGIDDB
    python benchmarks/identification.py paper   --data MITDB   [--models transecg]
    python benchmarks/identification.py closed  --data MITDB
    python benchmarks/identification.py repeats --data PTBXL  (66 people with two recordings, among 1,233 and all 2,466)
    python benchmarks/identification.py repeat-dates --data PTBXL  (62 people with two dates)
    python benchmarks/identification.py sex     --data PTBXL
    python benchmarks/identification.py age     --data PTBXL
    python benchmarks/identification.py open    --data ECGIDDB  (a quarter of those looked for are in no gallery)
    python benchmarks/identification.py databases --data ECGIDDB --data PTBXL  (controls of several databases)
    python benchmarks/identification.py sex-on-mitdb --data MITDB  (all of ELSEWHERE likewise)
    ... --explain (where TransECG looks), --causal (attackers trained without each part of the beat)

Where `--models` names none, `paper` and `closed` ask TransECG, `databases` models that can be read, all others the best
attacker of ours. Each writes a run folder with its page below `--out`, says beforehand how long it will take, goes on
where it was cut off, adds its figures to `benchmarks/identification.json`, and draws the gallery curve of the docs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from identification_pictures import draw

from ecglens.cli.console import ProgressLine
from ecglens.datasets.load import load_cohort
from ecglens.privacy.identify import Identified, default_model, identify
from ecglens.reporting.html import write_report
from ecglens.reporting.identification import identification_report
from ecglens.reporting.risk import headline
from ecglens.runs.files import read_json, write_json
from ecglens.statistics.figures import clean, records

FIGURES = Path(__file__).with_suffix(".json")
# ECG-ID: 60 people to learn from, 30 to look for, three times. Floor of a small CNN: EER 7.6 %, rank-1 0.877 of 30.
RUNS: dict[str, dict[str, Any]] = {
    "ecgid": {"protocol": "verification", "n_folds": 3},
    "dates": {"protocol": "cross-session", "n_folds": 3},
    "paper": {"protocol": "paper", "models": "transecg", "per_person": 60},
    "closed": {"protocol": "closed-set", "models": "transecg", "per_person": 60},
    "repeats": {"protocol": "verification", "n_folds": 2},
    "repeat-dates": {"protocol": "cross-session", "n_folds": 2},
    "sex": {"task": "sex"},
    "age": {"task": "age"},
    "databases": {"protocol": "verification", "n_folds": 3, "models": "unveiled-lr,unveiled-forest"},
    "open": {"protocol": "open-set", "n_folds": 3},
}
ELSEWHERE = [
    *(f"{run}-on-{data}" for run in ("paper", "closed", "sex", "age") for data in ("ecgid", "mitdb", "ludb")),
    "paper-on-ptbxl", "closed-on-ptbxl",
]  # fmt: skip
FOLDS = {"age": 3, "age-on-mitdb": 3, "age-on-ludb": 4}  # of PTB-XL to save time; as the smallest age group has people


def models_of(run: str) -> list[str]:
    """Return whom a run asks where none is named: what proves something in it, else the best attacker of ours."""
    how = RUNS[run]
    best = default_model(how.get("task", "person"), how.get("protocol", "verification"))
    return how.get("models", best).split(",")


def stored(found: Identified) -> dict[str, Any]:
    """Return what the docs are made of: the figures, what they cost, and rank 1 by size of the gallery."""
    cost, gallery = found.run.read_table("cost"), found.run.read_table("gallery")
    about: dict[str, Any] = {
        "seconds": found.run.read()["seconds"],
        "cost": [] if cost is None else cost.to_dict("records"),
    }
    if gallery is not None:
        about["gallery"] = records(gallery[gallery["rank"] == 1].drop(columns="rank"))
    return clean(found.as_dict() | about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=[*RUNS, *ELSEWHERE])
    parser.add_argument("--data", required=True, action="append", help="folder of a data set")
    parser.add_argument("--models", help="attackers, joined by comma; default: as in RUNS")
    parser.add_argument("--lead", default="auto")
    parser.add_argument("--preparation", default="paper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--explain", action="store_true", help="where TransECG looks")
    parser.add_argument("--causal", action="store_true", help="train without each part of the beat")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--repeats", type=int, default=1, help="trainings with other seeds")
    parser.add_argument("--out", type=Path, default=Path("runs/identification"))
    asked = parser.parse_args()
    run = asked.run.partition("-on-")[0]
    models = asked.models.split(",") if asked.models else models_of(run)
    how = {key: value for key, value in RUNS[run].items() if key != "models"}
    how |= {"n_folds": FOLDS[asked.run]} if asked.run in FOLDS else {}
    parts = [part for part in ("explain", "causal") if getattr(asked, part)]
    parts += [asked.precision] if asked.precision != "float32" else []
    parts += [f"repeats{asked.repeats}"] if asked.repeats > 1 else []
    name = "-".join([asked.run, *models, asked.preparation, str(asked.seed), *parts])
    cohorts = [load_cohort(folder, keep_unlabelled=True) for folder in asked.data]
    found = identify(
        cohorts, asked.out / name, models=models, lead=asked.lead, preparation=asked.preparation, seed=asked.seed,
        resume=(asked.out / name / "run.json").exists(), progress=ProgressLine(every=30.0),
        explain=asked.explain, causal=asked.causal, precision=asked.precision,
        repeats=asked.repeats, **how,
    )  # fmt: skip
    write_report(identification_report(found.run), found.run.folder / "identify.html")
    told = (read_json(FIGURES) if FIGURES.exists() else {}) | {name: stored(found)}
    write_json(FIGURES, told)
    draw(told)
    print(headline(found.as_dict()))
    table = found.run.read_table("table1")
    if table is not None:
        print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
