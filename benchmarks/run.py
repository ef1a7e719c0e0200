# SPDX-License-Identifier: Apache-2.0
"""`make bench`: side by side, in one run, against what a user would pick instead. Writes benchmarks/results.json.

    python benchmarks/run.py [--data PTBXL]

Without PTB-XL (and without $ECGLENS_DATA/ptbxl) the records are simulated. About five minutes on two cores.
The ratio theirs / ours counts, not the seconds: above 1, ecglens is faster.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import bootstrap
import records

from ecglens.runs.files import write_json

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of PTB-XL; default: $ECGLENS_DATA/ptbxl, if it is there")
    asked = parser.parse_args()
    usual = Path(os.environ.get("ECGLENS_DATA", "nowhere")) / "ptbxl"
    data = asked.data or (usual if (usual / "ptbxl_database.csv").exists() else None)
    found = [*records.rows(data), *bootstrap.rows()]
    write_json(RESULTS, found)
    for row in found:
        ratio = row["ratio"]
        print(f"{ratio['median']:8.1f} x  [{ratio['low']:.1f}, {ratio['high']:.1f}]  {row['stage']}  vs  {row['peer']}")
    print(f"wrote {RESULTS.name}")


if __name__ == "__main__":
    main()
