# SPDX-License-Identifier: Apache-2.0
"""What audits found on real models, and the paper's claims beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, grid

NOT_AUDITED = "Not measured yet: `ecglens audit`, then `python benchmarks/audit.py`."
RULES = {"planted": "planted", "deletion": "deletion", "randomization": "randomisation", "temporal": "temporal",
         "temporal_real": "temporal, real"}  # fmt: skip


def audits(root: Path = ROOT) -> str:
    """Return verdict and figures of each method on each audited model."""
    return "\n\n".join(_one(name, told) for name, told in _told(root).items()) or NOT_AUDITED


def claims(root: Path = ROOT) -> str:
    """Return the temporal and spatial figures of the paper's methods, beside what the paper says of them."""
    parts = []
    for name, told in _told(root).items():
        for suffix, source in (("", "simulated ECGs"), ("_real", "real ECGs")):
            rests = told["rests_on"].get(f"temporal{suffix}", {})
            if "facts" in rests:
                parts.append(_claims(f"{name}, {source}", told["audit"]["methods"], rests["facts"], suffix))
            elif "refused" in rests:
                parts.append(f"**{name}, {source}**: not tested. {rests['refused']}")
    return "\n\n".join(parts) or NOT_AUDITED


SAID = {
    "saliency": "passes, alone",
    "integrated_gradients": "drawn to the QRS",
    "lrp": "drawn to the QRS",
    "gradcam": "",
    "guided_gradcam": "fails (as Grad-CAM)",
}


def _claims(title: str, methods: Mapping[str, Any], facts: Mapping[str, Any], suffix: str) -> str:
    rows = []
    for name, said in SAID.items():
        if name in methods:
            tests = methods[name]["tests"]
            cells = [_cell(tests.get(f"temporal_{w}{suffix}")) for w in ("P", "R", "T")]
            rows.append(
                (f"`{name}`", said, *cells, _cell(tests.get(f"spatial{suffix}")), _n(tests, f"temporal{suffix}"))
            )
    read = "; ".join(
        f"{wave} MAE {one['mae']['value']:.3f} mV, R² {one['r2']['value']:.3f}, by lead {one['r2_by_lead']:.2f}"
        for wave, one in facts["readers"].items()
    )
    header = ("method", "the paper", "temporal P", "temporal R", "temporal T", "spatial", "N")
    one = next(iter(facts["readers"].values()))["r2"]
    return (
        f"**{title}**\n\n{grid(header, rows)}\n\nTemporal: peak inside the wave less the largest value outside, above "
        f"0 holds. Spatial: chance {len(facts['leads']) ** -0.5:.2f}. Twins trained on {facts['trained_on']} records; "
        f"on {one['n']} others of {one['n_patients']} patients: {read}."
    )


def _one(name: str, told: Mapping[str, Any]) -> str:
    audit = told["audit"]
    rules = [rule for rule in RULES if any(rule in m["tests"] for m in audit["methods"].values())]
    rows = [
        (f"`{method}`", found["verdict"], *(_cell(found["tests"].get(rule)) for rule in rules), found["reason"])
        for method, found in audit["methods"].items()
        if found["tests"]
    ]
    about = told["rests_on"].get("deletion", {})
    facts = about.get("facts")
    asked = (
        f"{facts['data']}, {facts['n']} records of {facts['n_patients']} patients explained" if facts else "no records"
    )
    best = audit["default_method"]
    refused = [f"`{m}`" for m, found in audit["methods"].items() if not found["tests"]]
    end = f" Refused by the linter: {', '.join(refused)}." if refused else ""
    return (
        f"**{name}**, weights `{audit['weights_sha256'][:16]}`. "
        + (f"Best that passes: `{best}`." if best else "No method passes.")
        + f"\n\n{grid(('method', 'verdict', *(RULES[r] for r in rules), 'why'), rows)}\n\n"
        f"These weights on {asked}; twins on simulated ECGs. N of each figure stands in `audit.json`. "
        f"{told['seconds'] / 60:.0f} minutes, one core, beside other work.{end}"
    )


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "not tested"
    if found["low"] is None:
        return f"{found['value']:z.2f} [no interval]"
    return f"{found['value']:z.2f} [{found['low']:z.2f}, {found['high']:z.2f}]"


def _n(tests: Mapping[str, Any], name: str) -> str:
    return str(tests[name]["n"]) if name in tests else ""


def _told(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "audit.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
