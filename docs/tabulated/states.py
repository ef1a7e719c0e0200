# SPDX-License-Identifier: Apache-2.0
"""States of networks: what was found on real records, and against simulated truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ecglens.concepts.state_doubts import DOUBTS
from tabulated.layout import ROOT, grid, interval

NOT_MEASURED = "Not measured yet: `ecglens segment-states`, then `python benchmarks/states.py NAME=DIR`."
SPOILT = ("shift_1", "shift_4", "shift_7", "noise_20_db", "noise_10_db", "one_lead_less")
NOT_SIMULATED = "Not measured yet: `python benchmarks/states_truth.py`."


def states(root: Path = ROOT) -> str:
    """Return what each network's states are, one row per network."""
    rows = []
    for name, told in _told(root).items():
        beat = told["alignment"]
        rows.append((
            name, f"{told['n']:,} of {told['n_patients']:,}", str(told["k"]),
            {True: "yes", False: "no", None: "not tried"}[told["stability"]["stable"]],
            _percent(told["fidelity"]), f"{beat['nmi']:.3f}", _three(beat.get("random_nmi")), f"{beat['chance']:.3f}",
            told["split"], f"{told['gap']:.1g}", f"{_sees(told['grid']):,.0f} ms",
        ))  # fmt: skip
    if not rows:
        return NOT_MEASURED
    header = ("network", "records of patients", "states", "stable", "fidelity", "shared with the beat",
              "random weights", "shifted", "split", "left over", "a step sees")  # fmt: skip
    one = next(iter(_told(root).values()))
    return (
        f"{grid(header, rows)}\n\nRecords that no network was trained on (fold 10; of a family all folds, each by the "
        f"network that had not seen it). Label rule: {one['label_rule']}."
    )


def certainty(root: Path = ROOT) -> str:
    """Return how well doubt finds wrong decisions, by where the doubt comes from."""
    rows = []
    for name, told in _told(root).items():
        found = told["certainty"]
        wrong = f"{found['n_wrong']:,} of {found['n_decisions']:,}"
        rows += [(name, wrong, words, interval(found[key]["auroc"]), interval(found[key]["aurc"]))
                 for key, words in DOUBTS.items() if key in found]  # fmt: skip
    if not rows:
        return NOT_MEASURED
    header = ("network", "wrong decisions", "doubt by", "AUROC of finding them", "area under risk over coverage")
    return f"{grid(header, rows)}\n\n0.5 finds nothing; a smaller area is better. Records and label rule as above."


def surrogate(root: Path = ROOT) -> str:
    """Return forests on states beside their baselines."""
    rows = []
    for name, told in _told(root).items():
        table: dict[str, dict[str, Any]] = {}
        for row in told["surrogate"]:
            table.setdefault(row["features"], {})[row["metric"]] = row
        for features, cells in table.items():
            figures = (interval(cells[m]) if m in cells else "" for m in ("fidelity", "kappa", "accuracy", "auroc"))
            rows.append((name, features, *figures))
    if not rows:
        return NOT_MEASURED
    table_text = grid(("network", "the forest is told", "fidelity", "kappa", "accuracy", "AUROC"), rows)
    paper = "fidelity 0.949, accuracy 0.882 (network 0.884), AUROC 0.796 (0.814)"
    return f"{table_text}\n\nThe paper, on its own labels and split: {paper}."


def stability(root: Path = ROOT) -> str:
    """Return how strips agree after shifts, noise and retraining."""
    rows = []
    for name, told in _told(root).items():
        found = told["stability"]
        cells = [interval(found[key]) for key in SPOILT]
        networks = found["networks"]
        other = (
            f"{networks['value']:.2f} ({networks['pairs']} pairs, other {networks.get('differ', 'folds')})"
            if networks
            else "not tested"
        )
        rows.append((name, _plain(found["seeds"]), _plain(found["halves"]), *cells, other))
    if not rows:
        return NOT_MEASURED
    header = ("network", "seeds", "halves", "1 sample", "4 samples", "7 samples", "noise 20 dB", "10 dB", "a lead less",
              "networks")  # fmt: skip
    return f"{grid(header, rows)}\n\nAdjusted Rand index: 1 the same strips, 0 chance."


def truth(root: Path = ROOT) -> str:
    """Return the agreement with simulated truth, beside random weights."""
    path = root / "benchmarks" / "states_truth.json"
    if not path.exists():
        return NOT_SIMULATED
    found = json.loads(path.read_text(encoding="utf-8"))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for row in found["rows"]:
        key = (row["model"], row["blocks"], str(row["k"]), row["truth"])
        cells.setdefault(key, {})[row["states"]] = interval(row)
    kinds = ("trained", "random weights", "trained minus random", "raw 80-ms windows")
    rows = [(*key, *(told.get(kind, "") for kind in kinds)) for key, told in cells.items()]
    n = found["rows"][0]
    return (
        f"{grid(('network', 'blocks', 'states', 'truth', *kinds), rows)}\n\nAdjusted Rand index (of QRS: F1) over "
        f"samples of {n['n']:,} simulated records of {n['n_patients']:,} people; networks learnt {found['epochs']} "
        f"epochs from {found['people']:,} others."
    )


def _told(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "states.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _sees(told: dict[str, Any]) -> float:
    """Return the receptive field in ms: nothing is seen beyond the window."""
    return float(min(max(told["receptive_field_ms"]), told["window_ms"]))


def _percent(figure: dict[str, float]) -> str:
    return f"{100 * figure['value']:.1f} % [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"


def _plain(value: float | None) -> str:
    return "not tried" if value is None else f"{value:.2f}"


def _three(value: float | None) -> str:
    return "not tested" if value is None else f"{value:.3f}"
