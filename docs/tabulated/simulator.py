# SPDX-License-Identifier: Apache-2.0
"""The simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, grid, interval


def simulator(root: Path = ROOT) -> str:
    """Return what `benchmarks/simulator.py` measured, or the sentence that it was not run."""
    path = root / "benchmarks" / "simulator.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks/simulator.py --data ptbxl/` writes `benchmarks/simulator.json`."
    facts = json.loads(path.read_text(encoding="utf-8"))
    algebra, rules, normals = (facts[name] for name in ("algebra", "rules", "normals"))
    lines = [
        f"Worst violation of the limb laws before noise in {algebra['n']} ECGs: {algebra['einthoven_mv']:.1g} mV. "
        f"Evidence of planted lesions outside their lead: {algebra['planted_elsewhere_mv']:g} mV.",
        f"**Rules**, share of {rules['NORM']['n']} people each; for NORM, those who meet none.",
        grid(("condition", "meets its own", "most common other"),
             [(name, f"{f['own']:.3f}", f"{f['most_common_other']} {f['share']:.2f}" if f["share"] else "")
              for name, f in rules.items()]),
        f"**{normals['n']} normal people, exact marks, against published limits** (amplitudes in mV, intervals in ms).",
        grid(("", "limits", "2, 25, 50, 75, 98 %", "inside"),
             [(name, " to ".join(f"{v:g}" for v in f["limits"]), ", ".join(f"{v:.3g}" for v in f["percentiles"]),
               f"{f['inside']:.1%}") for name, f in normals["table"].items()]),
    ]  # fmt: skip
    if "speed" in facts:
        speed = facts["speed"]
        lines.insert(1, f"{speed['n']} records with their truth: {speed['processor_seconds']:.0f} s of a processor, of "
                        f"which two share the work; {speed['seconds']:.0f} s on two that others used too.")  # fmt: skip
    lines += _against_real(facts) if "side_by_side" in facts else []
    return "\n\n".join(lines + (_transfer(facts) if "transfer_real" in facts else []))


def _against_real(facts: Mapping[str, Any]) -> list[str]:
    def three(values: Sequence[float]) -> str:
        return ", ".join(f"{v:.3g}" for v in values)

    rows, told = facts["side_by_side"], facts["discriminator"]
    return [
        f"**Beside {rows[0]['n'][0]} normal ECGs of PTB-XL** ({rows[0]['n'][1]} simulated), both measured alike, "
        "plainly, with their noise: 2nd, 50th and 98th percentile, and how much of the two histograms is shared.",
        grid(("", "real", "simulated", "shared"),
             [(r["what"], three(r["real"]), three(r["simulated"]), f"{r['overlap']:.2f}") for r in rows]),
        "**Can they be told apart?** Easily. A forest of trees that judges normal ECGs, real or simulated, reaches "
        + " and ".join(f"{f['auroc']:.4f} from {name}" for name, f in told.items())
        + f" (AUROC, N = {next(iter(told.values()))['n']}, fold 10; 0.5 would be not at all).",
    ]  # fmt: skip


def _transfer(facts: Mapping[str, Any]) -> list[str]:
    found = facts["transfer_simulated"] | facts["transfer_real"]
    classes = list(next(iter(found.values())))
    return [
        "**Transfer**: AUROC [95 % interval] on fold 10 of a LeNet trained (10 epochs) on one world, tested on "
        "another. It says how much of what a network learns in one helps in the other; the classes are not made of the "
        "same conditions.",
        grid(("trained on, tested on", *classes),
             [(name.replace(" on ", ", "), *(interval(f[c]) for c in classes)) for name, f in found.items()]),
    ]  # fmt: skip
