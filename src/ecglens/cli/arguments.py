# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs take, and the files they name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")]
Seed = Annotated[int, typer.Option(help="Where chance plays: the same seed gives the same result.")]
FOLDER = "Folder of a published data set (`ecglens data list`), or of your own ECGs with a CSV; or: simulated."
Data = Annotated[str, typer.Option(help=FOLDER)]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="Which data set the folder holds (ptbxl, mitdb, ..., folder); default: found out from its files."
    ),
]
Task = Annotated[
    str,
    typer.Option(
        help="What the labels are to be, where a data set has several; superdiagnostic: PTB-XL's five classes, "
        "and what is usual in any other data set."
    ),
]
MinLikelihood = Annotated[float, typer.Option(help="PTB-XL only. 0: every statement counts; 50: TrustECG's rule.")]
Start = Annotated[
    float | None,
    typer.Option(help="Use of each recording only what lies from this second of its clock on; default: its beginning."),
]
Stop = Annotated[
    float | None, typer.Option(help="... and before this second; default: its end. A long file is not read whole.")
]
Files = Annotated[list[Path], typer.Argument(help="ECG files (WFDB: the .hea), or folders of them.")]
BundleOption = Annotated[str, typer.Option("--bundle", help="A bundle, a run folder, or the shipped `pretrained`.")]


def stretch_name(name: str, start: float | None, stop: float | None) -> str:
    """Return a name for results of a stretch: that of the recording with the stretch's ends, in s.

    >>> stretch_name("100", 600, 610.5), stretch_name("100", None, 10), stretch_name("100", None, None)
    ('100_600-610_5s', '100_begin-10s', '100')
    """
    if start is None and stop is None:
        return name
    ends = ["begin" if start is None else f"{start:.12g}", "end" if stop is None else f"{stop:.12g}"]
    return f"{name}_{'-'.join(ends)}s".replace(".", "_")


def stretch_options(start: float | None, stop: float | None) -> str:
    """Return the options that name a stretch, for the next command; empty for whole recordings."""
    given = (("start", start), ("stop", stop))
    return "".join(f" --{name} {value:.12g}" for name, value in given if value is not None)


def ecg_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files behind the paths: folders opened up, header and signal of one record counted once.

    A folder without ECGs stays in the list, so that `read` refuses it with the reason and the batch goes on.
    """
    from ecglens.formats.read import record_paths

    files: list[Path] = []
    for path in paths:
        if os.path.isdir(path):  # unlike Path.is_dir, it does not raise for a name that is too long
            files += record_paths(path) or [path]
        else:
            files.append(path)
    headers = {path.with_suffix("") for path in files if path.suffix == ".hea"}
    return list(dict.fromkeys(p for p in files if not (p.suffix == ".dat" and p.with_suffix("") in headers)))
