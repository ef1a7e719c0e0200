# SPDX-License-Identifier: Apache-2.0
"""How do I get ECG files to try things on? Write one simulated ECG per condition as WFDB.

    python examples/write_simulated_ecgs.py FOLDER

The records are taken from fold 10 of the simulated cohort, which `ecglens train --data simulated` never reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ecglens import load_cohort, write_wfdb


def main(folder: Path) -> list[Path]:
    """Write the first held-out record of each class and return the headers' paths."""
    held_out = load_cohort("simulated").where(fold=10)
    written = []
    for name in held_out.classes:
        first = held_out.where(held_out.labels[name].to_numpy() == 1)[0]
        written.append(write_wfdb(first, folder))
        print(f"{written[-1]}: {name}")
    return written


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "simulated-ecgs"))
