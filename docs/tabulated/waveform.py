# SPDX-License-Identifier: Apache-2.0
"""Delineation, measurements, criteria."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulated.layout import ROOT, bracket, grid, interval, milliseconds

NOT_DELINEATED = "Not measured yet: `python benchmarks/delineation.py` measures it."
WIDE, SHOWN = 0.15, ("sensitivity", "ppv", "f1")


def delineation(root: Path = ROOT) -> str:
    """Return F1 and errors of each mark for each method, all leads together."""
    facts = _delineation_rows(root)
    if not facts:
        return NOT_DELINEATED
    found = {(r["method"], r["mark"], r["tolerance"]): r for r in facts if (r["lead"], r["rhythm"]) == ("all", "all")}
    rows = []
    for (method, mark, tolerance), row in found.items():
        if tolerance == WIDE:
            near = [found[method, mark, narrow] for narrow in (0.04, 0.02)]
            rows.append((mark.replace("_", " "), method, str(row["n"]), *(bracket(row[m]) for m in SHOWN),
                         *(f"{n['f1'][0]:.3f}" for n in near), milliseconds(row)))  # fmt: skip
    rows.sort(key=lambda row: list(dict.fromkeys(r["mark"] for r in facts)).index(row[0].replace(" ", "_")))
    header = ("mark", "method", "marks", "sensitivity", "PPV", "F1, 150 ms", "F1, 40 ms", "F1, 20 ms",
              "error, ms: mean, SD")  # fmt: skip
    return grid(header, rows)


def delineation_speed(root: Path = ROOT) -> str:
    """Return CPU time a record, and how many times faster than the slowest."""
    path = root / "benchmarks" / "delineation.json"
    if not path.exists():
        return NOT_DELINEATED
    found = json.loads(path.read_text(encoding="utf-8"))["cpu_ms"]
    ours = found["ecglens"]
    rows = [(name, f"{ms:.0f}", f"{ms / ours:.1f}") for name, ms in found.items()]
    return grid(("method", "CPU time a record of 12 leads, 10 s, 500 Hz, ms (median)", "times ecglens"), rows)


def delineation_segments(root: Path = ROOT) -> str:
    """Return how well the 24 segments are found, beside what Wagner et al. print for theirs."""
    path = root / "benchmarks" / "delineation.json"
    found = json.loads(path.read_text(encoding="utf-8"))["segments"] if path.exists() else {}
    if not found:
        return NOT_DELINEATED
    rows = [
        (f"ecglens, simulated, {name}", f"{f['n']} ECGs, {f['samples']:,} samples", f"{f['accuracy']:.3f}",
         f"{f['macro_f1']:.3f}", f"{f['macro_auc']:.3f}")
        for name, f in found.items()
    ]  # fmt: skip
    path = root / "benchmarks" / "segments.json"
    against = json.loads(path.read_text(encoding="utf-8"))["segments"] if path.exists() else {}
    rows += [
        (f"ecglens, PTB-XL against ecgdeli 1.0.0, {name}", f"{f['n']} ECGs, {f['samples']:,} samples",
         f"{f['accuracy']:.3f}", f"{f['macro_f1']:.3f}", f"{f['macro_auc']:.3f}")
        for name, f in against.items()
    ]  # fmt: skip
    rows.append(("Wagner et al., PTB-XL against ECGDeli (as printed)", "7,207 records", "0.75", "0.64", "0.98"))
    return grid(("what", "of", "accuracy", "macro F1", "macro AUC"), rows)


def delineation_simulated(root: Path = ROOT) -> str:
    """Return F1 and errors of each mark against exact ones."""
    path = root / "benchmarks" / "delineation.json"
    found = json.loads(path.read_text(encoding="utf-8"))["simulated"] if path.exists() else []
    if not found:
        return NOT_DELINEATED
    rows = [(r["mark"].replace("_", " "), str(r["n"]), *(bracket(r[m]) for m in SHOWN), milliseconds(r)) for r in found]
    return grid(("mark", "marks", "sensitivity", "PPV", "F1, 150 ms", "error, ms: mean, SD"), rows)


def delineation_parts(root: Path = ROOT) -> str:
    """Return F1 and SD of ecglens by lead and by rhythm."""
    facts = [r for r in _delineation_rows(root) if r["method"] == "ecglens" and r["tolerance"] == WIDE]
    if not facts:
        return NOT_DELINEATED
    marks = list(dict.fromkeys(row["mark"] for row in facts))
    parts: dict[str, list[str]] = {}
    for row in facts:
        name = row["lead"] if row["lead"] != "all" else f"{row['rhythm']} ({row['n_patients']} people)"
        figure = "none marked" if not row["n"] else f"{row['f1'][0]:.3f} ({1000 * row['error_sd'][0]:.0f})"
        parts.setdefault(name, []).append(figure)
    rows = [(name, *cells) for name, cells in parts.items()]
    header = ("part", *(mark.replace("_", " ") for mark in marks))
    return f"F1 within 150 ms, and in brackets the SD of the error in ms.\n\n{grid(header, rows)}"


def _delineation_rows(root: Path) -> list[dict[str, Any]]:
    path = root / "benchmarks" / "delineation.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def _waveform_facts(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "measure.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def measurements(root: Path = ROOT) -> str:
    """Return how far measurements at our marks lie from those at other marks."""
    found = _waveform_facts(root)
    header = ("measurement", "n", "records", "mean [95 %]", "SD [95 %]")
    titles = {
        "ludb": "LUDB, marks made by hand", "simulated": "Simulated, exact marks",
        "generator": "Simulated, against the generator's own intervals",
    }  # fmt: skip
    parts = []
    for key, title in titles.items():
        rows = [
            (f"`{row['name']}`", f"{row['n']:,}", f"{row['n_records']}", _bounds(row["mean"], row["name"]),
             _bounds(row["sd"], row["name"]))
            for row in found.get(key, [])
        ]  # fmt: skip
        parts.append(f"{title}:\n\n{grid(header, rows)}" if rows else f"{title}: not measured yet.")
    if "time_ms" in found:
        parts.append(_spent(found["time_ms"]))
    return "\n\n".join(parts)


def _spent(told: Mapping[str, Any]) -> str:
    names = {"read": "read", "peaks": "R peaks", "delineate": "delineate", "measure": "measure"}
    words = ", ".join(f"{name} {told[key]:.0f}" for key, name in names.items())
    total = told["read"] + told["delineate"] + told["measure"]  # delineating finds the R peaks itself
    line = f"Processor time for a record of 12 leads, 10 s, 500 Hz, in ms, one thread, median of 40: {words}."
    if told.get("neurokit2_dwt"):
        ratio = told["neurokit2_dwt"] / total
        line += f" neurokit2's `dwt` over 12 leads in the same run: {told['neurokit2_dwt']:.0f} ({ratio:.0f} times)."
    return line


def _bounds(figure: Mapping[str, Any], name: str) -> str:
    if figure["value"] is None:
        return "n/a"
    digits = 3 if name.endswith("_mv") else 1
    value, low, high = (f"{figure[key]:z.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def rules(root: Path = ROOT) -> str:
    """Return the criteria as they stand in the code."""
    from ecglens.waveform.criteria import CRITERIA

    return grid(("name", "in words", "after"), [(f"`{n}`", rule.about, rule.source) for n, rule in CRITERIA.items()])


def concepts(root: Path = ROOT) -> str:
    """Return how our criteria agree with the published flags."""
    return _agreements(_waveform_facts(root).get("concepts", []), "published flag")


def statements(root: Path = ROOT) -> str:
    """Return how our criteria agree with the statements of PTB-XL."""
    return _agreements(_waveform_facts(root).get("statements", []), "statement")


def _agreements(found: Sequence[Mapping[str, Any]], against: str) -> str:
    if not found:
        return "Not measured yet: `python benchmarks/measure.py`."
    header = (
        "criterion",
        against,
        "n",
        "cannot tell",
        "ours",
        "theirs",
        "MCC [95 %]",
        "both",
        "only ours",
        "only theirs",
    )
    rows = [
        (f"`{row['name']}`" + (f", {row['note']}" if row["note"] else ""), f"`{row['against']}`",
         f"{row['n']:,}", str(row["cannot_tell"]), f"{row['ours']:.1%}", f"{row['theirs']:.1%}",
         interval(row["mcc"]),
         str(row["both"]), str(row["only_ours"]), str(row["only_theirs"]))
        for row in found
    ]  # fmt: skip
    return (
        f"{grid(header, rows)}\n\nPTB-XL, the records at hand but every sixth (those chose two constants). MCC: "
        "Matthews' correlation; brackets: 95 % percentile interval of 1,000 resamples of patients."
    )
