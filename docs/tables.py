# SPDX-License-Identifier: Apache-2.0
"""Write the tables of figures that README and docs show, from the files that the measurements wrote.

    python docs/tables.py            rewrite what stands between the markers
    python docs/tables.py --check    change nothing; exit 1 where a table is stale

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. No figure in the documentation is typed by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tabulated import (
    audit,
    concepts,
    data,
    evaluation,
    explanations,
    glocal,
    identification,
    networks,
    simulator,
    speed,
    states,
    subtypes,
    waveform,
)
from tabulated.layout import ROOT

TABLES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "figures": ("README.md", evaluation.figures),
    "benchmarks": ("docs/benchmarks.md", speed.benchmarks),
    "simulator": ("docs/methods/simulator.md", simulator.simulator),
    "measurements": ("docs/methods/measurements.md", waveform.measurements),
    "rules": ("docs/methods/criteria.md", waveform.rules),
    "concepts": ("docs/methods/criteria.md", waveform.concepts),
    "statements": ("docs/methods/criteria.md", waveform.statements),
    "delineation": ("docs/methods/delineation.md", waveform.delineation),
    "delineation-speed": ("docs/methods/delineation.md", waveform.delineation_speed),
    "delineation-segments": ("docs/methods/delineation.md", waveform.delineation_segments),
    "delineation-simulated": ("docs/methods/delineation.md", waveform.delineation_simulated),
    "delineation-parts": ("docs/methods/delineation.md", waveform.delineation_parts),
    "levels": ("docs/methods/evaluation.md", evaluation.levels),
    "calibration": ("docs/methods/evaluation.md", evaluation.calibration),
    "coverage": ("docs/methods/evaluation.md", evaluation.coverage),
    "learning": ("docs/methods/evaluation.md", evaluation.learning_curve),
    "ludb": ("docs/how-to/label-map.md", evaluation.ludb),
    "kills": ("docs/how-to/resume.md", evaluation.kills),
    "networks": ("docs/methods/networks.md", networks.networks),
    "balance": ("docs/methods/networks.md", networks.balance),
    "subclasses": ("docs/methods/networks.md", networks.subclasses),
    "subclasses-folds": ("docs/methods/networks.md", networks.subclasses_folds),
    "papers": ("docs/methods/networks.md", networks.papers),
    "trustecg": ("docs/methods/networks.md", networks.trustecg),
    "which-map": ("docs/methods/which-map.md", explanations.which_map),
    "explainers": ("docs/methods/explainers.md", speed.explainers),
    "audits": ("docs/methods/audit.md", audit.audits),
    "claims": ("docs/methods/audit.md", audit.claims),
    "glocal-largest": ("docs/methods/glocal.md", glocal.largest),
    "glocal-every": ("docs/methods/glocal.md", glocal.every),
    "glocal-expected": ("docs/methods/glocal.md", glocal.expected),
    "glocal-groups": ("docs/methods/glocal.md", glocal.groups),
    "glocal-claims": ("docs/methods/glocal.md", glocal.claims),
    "glocal-truth": ("docs/methods/glocal.md", glocal.truth),
    "states": ("docs/methods/states.md", states.states),
    "states-surrogate": ("docs/methods/states.md", states.surrogate),
    "states-certainty": ("docs/methods/states.md", states.certainty),
    "states-stability": ("docs/methods/states.md", states.stability),
    "subtypes": ("docs/methods/subtypes.md", subtypes.subtypes),
    "asmi": ("docs/methods/subtypes.md", subtypes.asmi),
    "states-truth": ("docs/methods/states.md", states.truth),
    "concept-verdicts": ("docs/methods/concepts.md", concepts.verdicts),
    "concept-counts": ("docs/methods/concepts.md", concepts.counts),
    "concept-speed": ("docs/methods/concepts.md", concepts.speed),
    "concept-truth": ("docs/methods/concepts.md", concepts.truth),
    "reid-named": ("docs/methods/transecg-numbers.md", identification.named),
    "reid-table1": ("docs/methods/transecg-numbers.md", identification.table_one),
    "reid-looked": ("docs/methods/transecg-numbers.md", identification.looked_at),
    "reid-agreement": ("docs/methods/transecg-numbers.md", identification.agreement),
    "reid-table2": ("docs/methods/transecg-numbers.md", identification.table_two),
    "reid-strangers": ("docs/methods/identification.md", identification.strangers),
    "reid-gallery": ("docs/methods/identification.md", identification.gallery),
    "reid-open": ("docs/methods/identification.md", identification.open_set),
    "reid-seeds": ("docs/methods/identification.md", identification.other_seeds),
    "reid-databases": ("docs/methods/identification.md", identification.by_database),
    "reid-needed": ("docs/methods/identification.md", identification.needed),
    "fuzz": ("docs/reference/formats.md", data.fuzz),
    "exactness": ("docs/reference/data-sets.md", data.exactness),
}


def refreshed(text: str, name: str, table: str) -> str:
    """Return `text` with `table` between the markers of `name`. Raises ValueError where there are none."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"markers <!-- {name} --> and <!-- /{name} --> must stand there once")
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def stale(root: Path = ROOT) -> list[str]:
    """Return the files whose table is not what the measurements say."""
    return [path for path, (old, new) in _pages(root).items() if old != new]


def main(arguments: Sequence[str]) -> int:
    """Rewrite the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 where a table is stale")
    if parser.parse_args(arguments).check:
        found = stale()
        for path in found:
            print(f"{path}: stale; run python docs/tables.py", file=sys.stderr)
        return 1 if found else 0
    for path, (old, new) in _pages(ROOT).items():
        if old != new:
            (ROOT / path).write_text(new, encoding="utf-8")
            print(f"{path}: rewritten")
    return 0


def _pages(root: Path) -> dict[str, tuple[str, str]]:
    """Return {page: (as it is, as it should be)}; a page may hold several tables."""
    pages: dict[str, tuple[str, str]] = {}
    for name, (path, table) in TABLES.items():
        old, new = pages.get(path) or ((root / path).read_text(encoding="utf-8"),) * 2
        pages[path] = (old, refreshed(new, name, table(root)))
    return pages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
