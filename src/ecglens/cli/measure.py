# SPDX-License-Identifier: Apache-2.0
"""`ecglens measure`: rate, intervals, axes and the waves of each lead, of files or of a whole cohort."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecglens.cli.arguments import Dataset, Json, ecg_files
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, columns, conclude, exit_code_for, say

if TYPE_CHECKING:
    from ecglens.ecg import ECG
    from ecglens.errors import EcglensError
    from ecglens.fiducials import Fiducials
    from ecglens.waveform.criteria import Decision
    from ecglens.waveform.measurements import Measurements

Files = Annotated[list[Path] | None, typer.Argument(help="ECG files (WFDB: the .hea), or folders of them.")]
Marks = Annotated[
    str, typer.Option(help="Measure at these marks of a WFDB record (atr, or ludb: one file per lead) instead.")
]
SHOWN = (
    "heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_fridericia_ms", "p_axis_deg", "qrs_axis_deg", "t_axis_deg",
)  # fmt: skip
HEADS = ("record", "rate", "PR", "QRS", "QT", "QTc(F)", "P axis", "QRS axis", "T axis", "beats")


def measure(
    files: Files = None,
    data: str = typer.Option("", help="Instead of files: a data set, as DIR of `data info`."),
    dataset: Dataset = None,
    out: Path | None = typer.Option(None, help="With --data: the CSV to write; with --plot: folder for pictures."),
    plot: bool = typer.Option(False, "--plot", help="Draw each ECG with its waves tinted and intervals written."),
    marks: Marks = "",
    resume: bool = typer.Option(False, "--resume", help="With --data: go on where it was cut off."),
    overwrite: bool = typer.Option(False, "--overwrite", help="With --data: replace a CSV that is there."),
    as_json: Json = False,
) -> None:
    """Measure ECGs: rate, intervals, axes, waves and ST of each lead, and published criteria.

    Example: ecglens measure my-ecg.hea --plot
    """
    if data:
        raise typer.Exit(conclude(lambda: _measure_cohort(data, dataset, files or [], out, resume, overwrite), as_json))
    raise typer.Exit(conclude(lambda: _measure_files(files or [], marks, out, plot), as_json))


# ------------------------------------------------------------------------------------------------------------ files


def _measure_files(paths: list[Path], marks: str, out: Path | None, plot: bool) -> Outcome:
    from ecglens.errors import InputError, UnsafeError, UsageError

    if not paths:
        raise UsageError("measure", "FILE", "none", "ECG files, or --data with a data set")
    files, progress = ecg_files(paths), ProgressLine()
    records: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    errors: list[EcglensError] = []
    for k, file in enumerate(files, 1):
        try:
            record, row = _measure_file(file, marks, (out or Path("measured")) if plot else None)
            records.append(record)
            rows.append(row)
        except (InputError, UnsafeError) as error:
            errors.append(error)
            say(f"left out: {error}")
        progress("measure", k, len(files))
    text = columns(HEADS, rows) if rows else "No ECG could be measured."
    if rows:
        text += "\nRate per minute, intervals in ms, axes in degrees; -: not measured, --json says why."
        text += "\n" + "\n".join(_met(record) for record in records)
        text += "\nResearch software, not a medical device."
    told = {"records": records, "left_out": [error.as_dict() for error in errors]}
    next_step = f"ecglens measure {paths[0]} --plot" if rows and not plot else ""
    return Outcome(told, text, next_step, exit_code_for(len(records), errors))


def _measure_file(file: Path, marks: str, folder: Path | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return one record as it stands in JSON, and as a row of the table; draw it into `folder` where one is given."""
    from ecglens.formats.read import read

    ecg = read(file)
    fiducials = _fiducials(file, ecg, marks)
    found, decisions = _measured(ecg, fiducials)
    record = {
        "file": str(file),
        "fs": ecg.fs,
        "r_peaks": _r_samples(ecg, fiducials),
        "waves": _waves(fiducials),
        "measurements": found.as_dict(),
        "criteria": {name: decision.met for name, decision in decisions.items()},
    }
    if folder is not None:
        record["picture"] = str(_draw(file, ecg, fiducials, found, folder))
    beats = f"{found.beats.used.sum()}/{found.beats.times.size}" if found.beats is not None else "0"
    return record, (file.stem, *(_cell(found, name) for name in SHOWN), beats)


def _fiducials(file: Path, ecg: ECG, marks: str) -> Fiducials:
    from ecglens.formats.delineations import read_annotations

    if marks:
        return read_annotations(file, None if marks == "ludb" else marks)
    from ecglens.waveform.delineate import delineate

    return delineate(ecg)


def _measured(ecg: ECG, fiducials: Fiducials) -> tuple[Measurements, dict[str, Decision]]:
    from ecglens.waveform.criteria import decide_all
    from ecglens.waveform.measure import measure as measure_ecg

    found = measure_ecg(ecg, fiducials)
    return found, decide_all(ecg, found)


def _r_samples(ecg: ECG, fiducials: Fiducials) -> list[int]:
    from ecglens.waveform.beats import beat_times

    times = [time for time in beat_times(fiducials).tolist() if math.isfinite(time)]
    return [min(max(round((time - ecg.start) * ecg.fs), 0), ecg.n_samples - 1) for time in times]


def _waves(fiducials: Fiducials) -> list[dict[str, Any]]:
    """Return onset, peak and offset in s of every wave of every beat and lead, null where absent."""
    told = []
    for lead in fiducials.leads:
        for wave, peak in (("P", "P_peak"), ("QRS", "R_peak"), ("T", "T_peak")):
            marks = (fiducials[lead, f"{wave}_onset"], fiducials[lead, peak], fiducials[lead, f"{wave}_offset"])
            for onset, top, offset in zip(*(times.tolist() for times in marks), strict=True):
                told.append({"lead": lead, "wave": wave, "onset": _seconds(onset), "peak": _seconds(top),
                             "offset": _seconds(offset)})  # fmt: skip
    return told


def _seconds(time: float) -> float | None:
    return round(time, 4) if math.isfinite(time) else None


def _cell(found: Measurements, name: str) -> str:
    value = found[name].value
    return "-" if value is None else f"{value:z.0f}"


def _met(record: dict[str, Any]) -> str:
    met = [name for name, state in record["criteria"].items() if state]
    return f"{Path(record['file']).stem}: criteria met: {', '.join(met) or 'none'}"


# ------------------------------------------------------------------------------------------------------------ picture


def _draw(file: Path, ecg: ECG, fiducials: Fiducials, found: Measurements, folder: Path) -> Path:
    from ecglens.plotting.style import figure_bytes
    from ecglens.plotting.waves import plot_waves
    from ecglens.runs.files import write_bytes

    figure = plot_waves(
        ecg, fiducials, title=file.stem, lines=summary_lines(found), brackets=interval_brackets(ecg, found)
    )
    path = folder / f"{file.stem}-waves.png"
    write_bytes(path, figure_bytes(figure, "png"))
    return path


def summary_lines(found: Measurements) -> list[str]:
    """Return the measurements of the whole ECG as two lines above a picture."""
    names = {"heart_rate_bpm": "Rate", "p_ms": "P", "pr_ms": "PR", "qrs_ms": "QRS", "qt_ms": "QT",
             "qtc_bazett_ms": "QTc Bazett", "qtc_fridericia_ms": "Fridericia"}  # fmt: skip
    first = "   ".join(f"{label} {_short(found, name)}" for name, label in names.items())
    axes = {"p_axis_deg": "P", "qrs_axis_deg": "QRS", "t_axis_deg": "T"}
    second = "Axis: " + "   ".join(f"{label} {_short(found, name)}" for name, label in axes.items())
    if found.beats is not None:
        second += f"      median of {found.beats.used.sum()} of {found.beats.times.size} beats"
    return [first, second]


def _short(found: Measurements, name: str) -> str:
    value = found[name]
    if value.value is None:
        return "\u2013"
    unit = {"1/min": "/min", "deg": "\u00b0", "ms": " ms"}[value.unit]
    error = "" if value.uncertainty is None else f"\u00b1{value.uncertainty:.0f}"
    return f"{value.value:z.0f}{error}{unit}".replace("-", "\u2212")


def interval_brackets(ecg: ECG, found: Measurements) -> list[tuple[str, float, float]]:
    """Return PR, QRS and QT of the first used beat that the strip shows whole."""
    if found.beats is None or "QRS" not in found.ends:
        return []
    ends = found.ends
    on, off = ends["QRS"]
    pairs = {"PR": (ends["P"][0], on) if "P" in ends else None, "QRS": (on, off),
             "QT": (on, ends["T"][1]) if "T" in ends else None}  # fmt: skip
    known = {name: pair for name, pair in pairs.items() if pair is not None}
    first, last = min(a for a, _ in known.values()), max(b for _, b in known.values())
    used = found.beats.times[found.beats.used]
    shown = used[(used + first >= ecg.start) & (used + last <= ecg.start + min(ecg.duration, 10.0))]
    if not shown.size:
        return []
    beat = float(shown[0])
    return [(f"{name} {1000 * (b - a):.0f} ms", beat + a, beat + b) for name, (a, b) in known.items()]


# ------------------------------------------------------------------------------------------------------------ cohort


def _measure_cohort(
    data: str, dataset: str | None, files: list[Path], out: Path | None, resume: bool, overwrite: bool
) -> Outcome:
    from ecglens.datasets.load import load_cohort
    from ecglens.errors import UsageError
    from ecglens.waveform.tabulate import measure_cohort

    if files or out is None:
        raise UsageError("measure", "--data", "FILE as well" if files else "no --out", "--data DIR --out FILE.csv")
    cohort = load_cohort(data, dataset, keep_unlabelled=True)
    done = measure_cohort(cohort, out, resume=resume, overwrite=overwrite, progress=ProgressLine())
    for error in done.left_out:
        say(f"left out: {error['message']}")
    told = {"table": str(out), "records_measured": done.measured, "left_out": list(done.left_out)}
    text = f"{done.measured:,} of {len(cohort):,} records measured: {out}"
    return Outcome(told, text, "", 0 if not done.left_out else PARTLY if done.measured else 3)
