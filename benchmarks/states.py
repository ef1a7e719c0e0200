# SPDX-License-Identifier: Apache-2.0
"""Gather runs of `ecglens segment-states` into one file that the documentation's tables are made of.

    ecglens segment-states RUN --data PTBXL --out DIR        (a quarter of an hour on a free core)
    python benchmarks/states.py NAME=DIR ...

NAME is what the tables call the network. No record's name or figure is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ecglens.concepts.state_result import Segmented
from ecglens.runs.files import read_json, write_json

OUT = Path(__file__).with_name("states.json")
_OF_RECORDS = ("records", "excluded")


def gathered(folder: Path) -> dict[str, Any]:
    """Return what the tables need of one run."""
    found = Segmented.open(folder)
    told = {key: value for key, value in found.about.items() if key not in _OF_RECORDS}
    for doubt in told["certainty"].values():
        if isinstance(doubt, dict):
            for curve in ("coverage", "risk"):
                doubt.pop(curve, None)
    told["alignment"]["without_beats"] = len(told["alignment"]["without_beats"])
    about = found.run.read()
    return told | {"seed": about["seed"], "weights_sha256": about["arguments"]["weights_sha256"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    told = read_json(chosen.out) if chosen.out.exists() else {}
    for text in chosen.runs:
        name, _, folder = text.partition("=")
        told[name] = gathered(Path(folder))
    write_json(chosen.out, told)


if __name__ == "__main__":
    main()
