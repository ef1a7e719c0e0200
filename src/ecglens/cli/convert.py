# SPDX-License-Identifier: Apache-2.0
"""`ecglens convert`: any ECG file that can be read, to WFDB or DICOM."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ecglens.cli.arguments import Files, Json, Start, Stop, ecg_files, stretch_name
from ecglens.cli.console import Outcome, ProgressLine, conclude, exit_code_for, say

if TYPE_CHECKING:
    from ecglens.ecg import ECG
    from ecglens.errors import EcglensError


class Format(StrEnum):
    """What `convert` writes."""

    WFDB = "wfdb"
    DICOM = "dicom"


Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the converted records.")]
Gain = Annotated[float, typer.Option(help="Steps per mV: 1000 keeps whole microvolts, up to 32.767 mV.")]


def convert(
    files: Files,
    out: Out,
    to: Annotated[Format, typer.Option(help="What to write.")] = Format.WFDB,
    gain: Gain = 1000.0,
    start: Start = None,
    stop: Stop = None,
    number: Annotated[bool, typer.Option("--number", help="Call the records ecg-00001, ... instead.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace records that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Convert ECG files, or folders of them, to WFDB or DICOM. What cannot be converted is listed with the reason.

    Records are called after their files, folders within a folder are kept: look out for file names that name people,
    or use --number.

    Example: ecglens convert my-ecg.dcm converted/
    """
    how = _How(to, gain, start, stop, number, overwrite)
    raise typer.Exit(conclude(lambda: _convert(files, out, how), as_json))


class _How(NamedTuple):
    """The options of one call."""

    to: Format
    gain: float
    start: float | None
    stop: float | None
    number: bool
    overwrite: bool


def _convert(paths: list[Path], out: Path, how: _How) -> Outcome:
    from ecglens.errors import InputError, UnsafeError

    files, progress = [(file, path) for path in paths for file in ecg_files([path])], ProgressLine()
    written: list[dict[str, Any]] = []
    errors: list[EcglensError] = []
    taken: set[Path] = set()
    for k, (file, given) in enumerate(files, 1):
        name = f"ecg-{k:05d}" if how.number else stretch_name(_record_name(file), how.start, how.stop)
        folder = out if how.number else out / _folder_below(file, given)
        try:
            written.append(_convert_one(file, folder / name, how, taken))
        except (InputError, UnsafeError) as error:
            errors.append(error)
            say(f"left out: {error}")
        progress("convert", k, len(files))
    for record in written:
        for finding in record["findings"]:
            if finding["severity"] != "note":
                say(f"{finding['severity']}: {record['file']}: {finding['reason']}")
    told = {"format": how.to.value, "written": written, "left_out": [error.as_dict() for error in errors]}
    lines = [f"{record['file']} -> {record['to']}" for record in written]
    lines.append(f"{len(written)} of {len(files)} converted to {how.to.value}.")
    return Outcome(
        told, "\n".join(lines), f"ecglens check {out}" if written else "", exit_code_for(len(written), errors)
    )


def _convert_one(file: Path, record: Path, how: _How, taken: set[Path]) -> dict[str, Any]:
    """Read `file`, write it as `record` (a path without suffix) and say what was done."""
    from ecglens.errors import InputError
    from ecglens.formats.read import read

    targets = [record.with_name(record.name + suffix) for suffix in _SUFFIXES[how.to]]
    there = [target for target in targets if os.path.lexists(target)]
    # Not even --overwrite replaces what this call wrote, or the file that is being read.
    sources = [path for path in (file, file.with_suffix(".hea"), file.with_suffix(".dat")) if os.path.exists(path)]
    same = any(os.path.samefile(a, b) for a in there if os.path.exists(a) for b in sources)
    if there and (not how.overwrite or same or record in taken):
        fix = "give another folder, or --number" if same or record in taken else "give another folder, or --overwrite"
        raise InputError(file, "output", f"{there[0]} is there", "a new file", fix, kind="exists")
    ecg = replace(read(file, how.start, how.stop), record_id=record.name)
    path = _write(ecg, record, how.to, how.gain)
    taken.add(record)
    return {
        "file": str(file), "to": str(path), "leads": list(ecg.leads), "fs": ecg.fs, "duration": ecg.duration,
        "findings": [finding.as_dict() for finding in ecg.findings],
    }  # fmt: skip


_SUFFIXES = {Format.WFDB: (".hea", ".dat"), Format.DICOM: (".dcm",)}


def _write(ecg: ECG, record: Path, to: Format, gain: float) -> Path:
    from ecglens.formats.dicom_writer import write_dicom
    from ecglens.formats.wfdb import write_wfdb

    if to is Format.WFDB:
        return write_wfdb(ecg, record.parent, gain=gain)
    return write_dicom(ecg, record.with_name(record.name + ".dcm"), gain=gain)


def _record_name(file: Path) -> str:
    """Return the name of the record: that of its file, with only what every system and WFDB allows."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", file.stem).strip("_-")[:80] or "ecg"


def _folder_below(file: Path, given: Path) -> Path:
    """Return the folder of a file below the folder that was given, made of safe names; empty for a file by itself."""
    if not os.path.isdir(given):
        return Path()
    inner = file.relative_to(given).parent.parts
    return Path(*(re.sub(r"[^A-Za-z0-9_-]+", "_", part) for part in inner))
