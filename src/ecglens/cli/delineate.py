# SPDX-License-Identifier: Apache-2.0
"""`ecglens delineate`: where P, QRS and T begin, peak and end, in every record of a cohort."""

from __future__ import annotations

from pathlib import Path

import typer

from ecglens.cli.arguments import Data, Json
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, conclude


def delineate(
    data: Data,
    out: Path = typer.Option(..., help="Run folder to write."),
    soft: bool = typer.Option(False, "--soft", help="Write the soft segmentation too (uint8, 24 classes, 100 Hz)."),
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was cut off."),
    as_json: Json = False,
) -> None:
    """Delineate a whole cohort: onset, peak and offset of P, QRS and T per record, lead and beat, as one CSV.

    Example: ecglens delineate --data ptbxl/ --soft --out runs/waves
    """
    raise typer.Exit(conclude(lambda: _delineate(data, out, soft, resume), as_json))


def _delineate(data: str, out: Path, soft: bool, resume: bool) -> Outcome:
    from ecglens.datasets.load import load_cohort
    from ecglens.waveform.delineate_cohort import delineate_cohort

    cohort = load_cohort(data)
    done = delineate_cohort(
        cohort, out, soft=soft, resume=resume, arguments={"data": data}, progress=ProgressLine()
    )  # fmt: skip
    beatless = int((done.records["n_beats"] == 0).sum()) - len(done.left_out)
    told = {
        "run": str(done.folder),
        "records": len(done.records),
        "beats": done.n_beats,
        "without_beats": beatless,
        "left_out": list(done.left_out),
        "marks": str(done.folder / "tables" / "marks.csv"),
        "segments": str(done.folder / "arrays" / "segments.npy") if soft else None,
    }
    text = (
        f"{len(done.records)} records, {done.n_beats} beats, {beatless} records without beats, "
        f"{len(done.left_out)} left out\nmarks     {told['marks']}"
        + (f"\nsegments  {told['segments']}" if soft else "")
    )
    return Outcome(told, text, "", PARTLY if done.left_out else 0)
