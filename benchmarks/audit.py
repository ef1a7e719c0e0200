# SPDX-License-Identifier: Apache-2.0
"""Gather audits into one file that the documentation's tables are made of.

    ecglens audit pretrained --data PTBXL --train-data PTBXL --out DIR        (an hour on a busy core, see its page)
    python benchmarks/audit.py NAME=DIR ... [--ship]

NAME is what the tables call the model. --ship also writes the verdicts on shipped bundles into the package, where
`ecglens explain` finds them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ecglens import Run
from ecglens.auditing.audit import EVIDENCE
from ecglens.auditing.verdicts import AUDIT_FILE, SHIPPED, read_audits, write_audit
from ecglens.bundle import Bundle, shipped_bundles
from ecglens.runs.files import read_json, write_json

HERE = Path(__file__).parent
KEPT = ("facts", "refused")


def gathered(folder: Path) -> dict[str, Any]:
    """Return what the tables need of one audit."""
    about = Run.open(folder).read()
    found = read_audits(folder / AUDIT_FILE)[about["weights_sha256"]]
    evidence = read_json(folder / EVIDENCE)["tests"]
    rests = {test: {key: told[key] for key in KEPT if key in told}
             for test, told in evidence.items() if isinstance(told, dict) and test != "agreement"}  # fmt: skip
    asked = {key: bool(value) if key.endswith("data") else value for key, value in
             about["arguments"].get("asked", {}).items()}  # fmt: skip
    return {
        "audit": found, "rests_on": rests, "size": about["arguments"]["size"], "asked": asked,
        "seconds": about["seconds"], "seed": about["seed"],
    }  # fmt: skip


def deciding(audit: dict[str, Any]) -> dict[str, Any]:
    """Return the audit with the figures that decide only: what a package needs to carry."""
    methods = {
        name: told | {"tests": {test: found for test, found in told["tests"].items() if found["threshold"] is not None}}
        for name, told in audit["methods"].items()
    }
    return audit | {"methods": methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audits", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "audit.json")
    chosen = parser.parse_args()
    told = read_json(chosen.out) if chosen.out.exists() else {}
    for text in chosen.audits:
        name, _, folder = text.partition("=")
        told[name] = gathered(Path(folder))
    write_json(chosen.out, told)
    shipped = {Bundle.load(folder).weights_sha256 for folder in shipped_bundles()}
    for one in told.values():
        if chosen.ship and one["audit"]["weights_sha256"] in shipped:
            write_audit(SHIPPED, deciding(one["audit"]))


if __name__ == "__main__":
    main()
