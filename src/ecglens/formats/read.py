# SPDX-License-Identifier: Apache-2.0
"""Reading an ECG from whatever file it is in: finds the reader, or says what the file really is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ecglens.ecg import ECG
from ecglens.errors import FormatError, InputError
from ecglens.formats.wfdb import header_path, other_content, read_wfdb, refuse_other_content
from ecglens.runs.files import open_regular

READERS: dict[str, Callable[[Path], ECG]] = {
    ".hea": read_wfdb,
    ".dat": read_wfdb,
}


def read(path: str | Path) -> ECG:
    """Read one ECG, float32 [lead, time] in mV, from a file or a WFDB record name without extension.

    Raises FormatError where the file is damaged or no ECG (and says what it is), InputError where it is missing
    or a folder, UnsafeError where it is a link, a pipe or points outside its folder.
    """
    path = Path(path)
    if "\x00" in str(path):
        raise InputError(path, "path", "a NUL character", "a path", "check the path", kind="missing_file")
    reader = READERS.get(path.suffix.lower())
    if reader is None and os.path.lexists(header_path(path)):
        reader = read_wfdb
    if reader is None or os.path.isdir(path):
        _refuse_unreadable(path)
        raise FormatError(
            path, "content", "no ECG format we know", _formats(), "convert it to WFDB format 16", kind="unknown_format"
        )
    try:
        return reader(path)
    except InputError as error:
        # A `.dat` on its own is worth a look before its missing header is blamed.
        if error.kind == "missing_file" and os.path.lexists(path):
            refuse_other_content(path, _head(path), _formats())
        raise


def record_paths(folder: str | Path) -> list[Path]:
    """Return the headers (`.hea`) of all records in `folder` and below, sorted; hidden files are passed over.

    Folders that are links are not entered. A header that is a link is listed: `read` refuses it with a reason,
    which is better than a record that silently is not there. Raises InputError for what is no readable folder.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        found = "no folder" if os.path.lexists(folder) else "nothing there"
        raise InputError(folder, "folder", found, "a folder of records", "check the path", kind="missing_folder")
    paths = []
    for root, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(root, name) for name in files if name.lower().endswith(".hea") and not name.startswith(".")]
    return sorted(paths)


def _refuse_unreadable(path: Path) -> None:
    """Raise for a missing file, a folder, and for a file that is known to be something else."""
    if os.path.isdir(path):
        if not record_paths(path):
            raise InputError(
                path, "folder", "no ECG files", "WFDB headers (.hea) in it", "check the path", kind="empty_folder"
            )
        raise InputError(
            path, "file", "a folder", "one ECG", "name one of its records, or load the folder as a cohort",
            kind="not_a_file",
        )  # fmt: skip
    head = _head(path)
    other = other_content(head)
    if other:
        raise FormatError(
            path,
            "content",
            other,
            _formats(),
            "name an ECG file, or convert this one to WFDB format 16",
            kind="content",
        )


def _refuse_folder(error: OSError) -> None:
    reason = os.strerror(error.errno or 0)
    raise InputError(error.filename, "folder", reason, "a readable folder", kind="unreadable") from None


def _head(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(512)


def _formats() -> str:
    return f"an ECG file ({', '.join(READERS)}) or a WFDB record name"
