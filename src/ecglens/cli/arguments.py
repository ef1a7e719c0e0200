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
Data = Annotated[
    str, typer.Option(help="Folder with PTB-XL (whole or in part) or with ECG files and a CSV; or: simulated.")
]
Files = Annotated[list[Path], typer.Argument(help="ECG files (WFDB: the .hea), or folders of them.")]
BundleOption = Annotated[str, typer.Option("--bundle", help="A bundle, a run folder, or the shipped `pretrained`.")]


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
