# SPDX-License-Identifier: Apache-2.0
"""`ecglens data simulate`: ECGs whose truth is known, as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from ecglens.cli.arguments import Json, Seed
from ecglens.cli.console import Outcome, ProgressLine, columns, conclude, listed

WARNING = (
    "A dipole has rank 3: in mode A each lead can be computed from three others, so which lead a finding is in is not "
    "unique. Score time strictly and leads softly, or simulate with --mode B."
)


def simulate(
    folder: Path = typer.Argument(metavar="DIR", help="New or empty folder to write."),
    n: int = typer.Option(200, min=1, help="Records."),
    classes: str = typer.Option("", help="Conditions joined by comma; default: ten of all five superclasses."),
    mode: str = typer.Option("A", help="A dipolar, B planted in one lead, C shortcut."),
    lead: str = typer.Option("V3", help="Where mode B plants: I, II, V1 to V6."),
    shortcut: str = typer.Option("", help="Mode C: the label that the mark goes with; default: the last one."),
    rho: float = typer.Option(0.9, help="Mode C: how strongly, 0 to 1."),
    task: str = typer.Option("superdiagnostic", help="superdiagnostic, or subdiagnostic: a label per condition."),
    severity: str = typer.Option("1", help="Of the lesions: one number, or two joined by comma to draw between."),
    comorbidity: float = typer.Option(0.0, help="Share of the ill who have a second condition."),
    sessions: int = typer.Option(0, min=0, help="Records of each person, weeks apart; 0: one in three comes twice."),
    faults: float = typer.Option(0.0, help="Share of the records with a quality fault, all kinds alike."),
    fs: float = typer.Option(500.0, help="Sampling rate, in Hz."),
    duration: float = typer.Option(10.0, help="In s."),
    workers: int = typer.Option(0, min=0, help="Processes; 0: two where there are two cores."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write simulated ECGs as WFDB with a table, and beside them where the evidence is and the exact marks.

    Example: ecglens data simulate planted/ --n 500 --classes NORM,IMI,CLBBB --mode B --lead V2
    """
    asked = {
        "n": n, "classes": classes, "mode": mode, "lead": lead, "shortcut": shortcut, "rho": rho, "task": task,
        "severity": severity, "comorbidity": comorbidity, "sessions": sessions, "faults": faults, "fs": fs,
        "duration": duration, "seed": seed,
    }  # fmt: skip
    raise typer.Exit(conclude(lambda: _simulate(folder, asked, workers), as_json))


def _simulate(folder: Path, asked: dict[str, Any], workers: int) -> Outcome:
    from ecglens.datasets.simulated import write_simulated

    cohort, dipolar = _cohort(asked)
    line = ProgressLine()
    table = write_simulated(
        cohort, folder, workers=workers or min(2, os.cpu_count() or 1), facts={"asked": asked},
        progress=lambda done, total: line("Writing", done, total),
    )  # fmt: skip
    labels = {str(name): int(count) for name, count in cohort.labels.sum().items()}
    warning = WARNING if dipolar else ""
    found = {
        "folder": str(folder), "table": str(table), "records": len(cohort), "patients": cohort.n_patients,
        "labels": labels, "label_rule": cohort.label_rule, "warning": warning or None,
    }  # fmt: skip
    rows = [(name, str(count), f"{count / len(cohort):.1%}") for name, count in labels.items()]
    text = (
        f"Wrote {len(cohort)} records of {cohort.n_patients} patients to {folder}\nLabel rule: {cohort.label_rule}\n\n"
        + columns(("label", "records", "share"), rows)
        + (f"\n\n{warning}" if warning else "")
    )
    return Outcome(found, text, f"ecglens train --data {folder} --out runs/simulated")


def _cohort(asked: dict[str, Any]) -> tuple[Any, bool]:
    """Return the cohort, and whether leads are not unique in it."""
    from ecglens.errors import UsageError
    from ecglens.simulation import DEFAULT_CLASSES, FAULTS, Shortcut, simulate_cohort
    from ecglens.simulation.checks import MODES
    from ecglens.simulation.cohort import SUPERCLASSES
    from ecglens.simulation.pathologies import CONDITIONS

    classes = tuple(listed(asked["classes"])) or DEFAULT_CLASSES
    mode, chosen = MODES.get(asked["mode"].strip()), None
    try:
        low, high = ([float(part) for part in asked["severity"].split(",")] * 2)[:2]
    except ValueError:
        raise UsageError("--severity", "value", asked["severity"], "a number, or two joined by comma") from None
    if mode == "shortcut":
        present = {CONDITIONS[c].superclass for c in classes if c in CONDITIONS} - {""}
        last = max(present, key=SUPERCLASSES.index, default="") if asked["task"] != "subdiagnostic" else classes[-1]
        chosen = Shortcut(asked["shortcut"] or last, rho=asked["rho"])
    if not 0.0 <= asked["faults"] <= 1.0:
        raise UsageError("--faults", "value", asked["faults"], "a share, 0 to 1")
    share = asked["faults"] / len(FAULTS)
    cohort = simulate_cohort(
        asked["n"], classes=classes, task=asked["task"], seed=asked["seed"], fs=asked["fs"],
        duration=asked["duration"], severity=(low, high), comorbidity=asked["comorbidity"],
        sessions=asked["sessions"] or None, mode=asked["mode"].strip(), lead=asked["lead"], shortcut=chosen,
        faults=dict.fromkeys(FAULTS, share) if share else None,
    )  # fmt: skip
    return cohort, mode != "planted"
