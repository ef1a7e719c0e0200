# SPDX-License-Identifier: Apache-2.0
"""Gather runs of `ecglens find-subtypes` into one file that the documentation's table is made of.

    ecglens find-subtypes FAMILY --data PTBXL --group MI --truth AMI,IMI --by signals --out DIR
    python benchmarks/subtypes.py NAME=DIR ...

NAME is what the table calls the networks. No record's name or figure is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ecglens.concepts.subtype_study import Subtyped
from ecglens.runs.files import read_json, write_json

OUT = Path(__file__).with_name("subtypes.json")
_LEFT_OUT = ("records", "excluded", "cells", "grid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    rows = read_json(chosen.out) if chosen.out.exists() else []
    for text in chosen.runs:
        name, _, folder = text.partition("=")
        about = Subtyped.open(folder).about
        sure = sum(cell["p"] is not None and cell["p"] < 0.05 for cell in about["cells"])
        kept = {key: value for key, value in about.items() if key not in _LEFT_OUT}
        told = {"name": name, "n_cells": len(about["cells"]), "n_sure": sure} | kept
        key = ("name", "group", "by", "target")
        rows = [row for row in rows if any(row[k] != told[k] for k in key)] + [told]
    write_json(chosen.out, rows)


if __name__ == "__main__":
    main()
