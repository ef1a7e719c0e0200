# SPDX-License-Identifier: Apache-2.0
"""`ecglens report`: one page that tells a run."""

from __future__ import annotations

from pathlib import Path

import typer

from ecglens.cli.arguments import Json
from ecglens.cli.console import Outcome, conclude


def report(
    run: Path = typer.Argument(metavar="RUN", help="Run folder that `ecglens train` wrote."),
    as_json: Json = False,
) -> None:
    """Write RUN/report.html: figures with intervals, curves, data, explanations, how to repeat it. One file.

    Example: ecglens report runs/first
    """
    raise typer.Exit(conclude(lambda: _report(run), as_json))


def _report(folder: Path) -> Outcome:
    from ecglens.reporting.html import write_report
    from ecglens.reporting.run import build_run_report
    from ecglens.runs.run import Run

    run = Run.open(folder)
    with run.writing():
        page = build_run_report(run)
        path = folder / "report.html"
        write_report(page, path)
    size = path.stat().st_size
    text = f"Wrote {path} ({size / 1000:.0f} kB, {len(page.sections)} sections)."
    return Outcome({"run": str(folder), "report": str(path), "bytes": size}, text, f"open {path}")
