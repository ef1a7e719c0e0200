# SPDX-License-Identifier: Apache-2.0
"""Reading an ECG from whatever file it is in: finds the reader, or says what the file really is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ecglens.ecg import ECG
from ecglens.errors import FormatError, InputError, UnsafeError
from ecglens.formats.aecg import is_aecg, read_aecg
from ecglens.formats.cardiosoft import is_cardiosoft, read_cardiosoft
from ecglens.formats.contents import refuse_other_content
from ecglens.formats.dicom import read_dicom, recognises_dicom
from ecglens.formats.edf import read_edf, recognises_edf
from ecglens.formats.ishne import is_ishne, read_ishne
from ecglens.formats.muse import is_muse, read_muse
from ecglens.formats.npy import is_listed_npy, read_npy, recognises_npy
from ecglens.formats.scp import is_scp, read_scp
from ecglens.formats.sierra import is_sierra, read_sierra
from ecglens.formats.table import is_listed_table, read_table, recognises_table
from ecglens.formats.wfdb import header_path, read_wfdb
from ecglens.runs.files import open_regular

HEAD_BYTES = 4096


class Reader(NamedTuple):
    """How one format is recognised and read.

    recognises  (first `HEAD_BYTES` of the file, its path) -> is it this format; decides by content wherever the
                format has a signature, by the suffix only where it has none
    read        path -> ECG
    suffixes    what its files are usually called, in small letters; a folder is searched for these
    listed      where other files carry these suffixes too: which of them a folder's search takes for ECGs, asked
                like `recognises`; None: all
    """

    recognises: Callable[[bytes, Path], bool]
    read: Callable[[Path], ECG]
    suffixes: tuple[str, ...] = ()
    listed: Callable[[bytes, Path], bool] | None = None


# Formats of one file, asked in this order; one file and one line here adds another. WFDB, whose records are several
# files, comes before them all. Readers import what they need when they are called.
READERS: dict[str, Reader] = {
    "DICOM waveform": Reader(recognises_dicom, read_dicom, (".dcm",)),
    "EDF": Reader(recognises_edf, read_edf, (".edf",)),
    "HL7 aECG": Reader(is_aecg, read_aecg, (".xml",)),
    "Philips Sierra XML": Reader(is_sierra, read_sierra, (".xml",)),
    "GE MUSE XML": Reader(is_muse, read_muse, (".xml",)),
    "GE CardioSoft XML": Reader(is_cardiosoft, read_cardiosoft, (".xml",)),
    "SCP-ECG": Reader(is_scp, read_scp, (".scp",)),
    "ISHNE Holter": Reader(is_ishne, read_ishne, (".ecg",)),
    "NumPy .npy with a .json": Reader(recognises_npy, read_npy, (".npy",), is_listed_npy),
    "CSV or TSV with lead names": Reader(recognises_table, read_table, (".csv", ".tsv"), is_listed_table),
}


def read(path: str | Path, start: float | None = None, stop: float | None = None) -> ECG:
    """Read one ECG, float32 [lead, time] in mV, from a file or a WFDB record name without extension.

    start, stop  read only the samples with start <= t < stop, in s on the recording's clock; None: from its first,
                 to its last. Of a WFDB record no more than these samples is read.

    Raises FormatError where the file is damaged or no ECG (and says what it is), InputError where it is missing
    or a folder, UnsafeError where it is a link, a pipe or points outside its folder, SignalError where the stretch
    is not inside the recording.
    """
    path = Path(path)
    if "\x00" in str(path):
        raise InputError(path, "path", "a NUL character", "a path", "check the path", kind="missing_file")
    if os.path.isdir(path):
        _refuse_folder(path)
    if path.suffix.lower() in (".hea", ".dat", ".mat") or (
        os.path.lexists(header_path(path)) and not os.path.lexists(path)
    ):
        return _read_record(path, start, stop)
    head = _head(path)
    reader = _reader(path, head)
    if reader is not None:
        return _stretch(reader.read(path), start, stop)
    if os.path.lexists(header_path(path)):
        return _read_record(path, start, stop)
    refuse_other_content(path, head, _formats())
    raise FormatError(
        path, "content", "no ECG format we know", _formats(), "convert it to WFDB format 16", kind="unknown_format"
    )


def _read_record(path: Path, start: float | None, stop: float | None) -> ECG:
    try:
        return read_wfdb(path, start=start, stop=stop)
    except InputError as error:
        # A `.dat` on its own is worth a look before its missing header is blamed.
        if error.kind != "missing_file" or not os.path.lexists(path):
            raise
        head = _head(path)
        reader = _reader(path, head)
        if reader is None:
            refuse_other_content(path, head, _formats())
            raise
    return _stretch(reader.read(path), start, stop)


def _reader(path: Path, head: bytes) -> Reader | None:
    return next((reader for reader in READERS.values() if reader.recognises(head, path)), None)


def _stretch(ecg: ECG, start: float | None, stop: float | None) -> ECG:
    if start is None and stop is None:
        return ecg
    end = ecg.start + ecg.duration
    return ecg.crop(ecg.start if start is None else start, end if stop is None else stop)


def record_paths(folder: str | Path) -> list[Path]:
    """Return the ECG files in `folder` and below, WFDB records by their header, sorted; hidden files are passed over.

    Folders that are links are not entered. A header that is a link is listed: `read` refuses it with a reason,
    which is better than a record that silently is not there. Raises InputError for what is no readable folder.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        found = "no folder" if os.path.lexists(folder) else "nothing there"
        raise InputError(folder, "folder", found, "a folder of records", "check the path", kind="missing_folder")
    paths = []
    suffixes = (".hea", *(suffix for reader in READERS.values() for suffix in reader.suffixes))
    for root, folders, files in os.walk(folder, onerror=_refuse_unlistable, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        named = [Path(root, name) for name in files if name.lower().endswith(suffixes) and not name.startswith(".")]
        paths += [path for path in named if _is_listed(path)]
    return sorted(paths)


def _is_listed(path: Path) -> bool:
    """Tell whether a file that is called like an ECG is to be listed as one."""
    asked = next((reader.listed for reader in READERS.values() if path.name.lower().endswith(reader.suffixes)), None)
    if asked is None:
        return True
    try:
        return asked(_head(path), path)
    except (InputError, UnsafeError):  # a table that is a link, say: no reason to think that it is an ECG
        return False


def _refuse_folder(path: Path) -> None:
    if not record_paths(path):
        raise InputError(
            path, "folder", "no ECG files", "WFDB headers (.hea) in it", "check the path", kind="empty_folder"
        )
    raise InputError(
        path, "file", "a folder", "one ECG", "name one of its records, or load the folder as a cohort",
        kind="not_a_file",
    )  # fmt: skip


def _refuse_unlistable(error: OSError) -> None:
    reason = os.strerror(error.errno or 0)
    raise InputError(error.filename, "folder", reason, "a readable folder", kind="unreadable") from None


def _head(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(HEAD_BYTES)


def _formats() -> str:
    return ", ".join(["WFDB (.hea with its .dat, or the record's name)", *READERS])
