# SPDX-License-Identifier: Apache-2.0
"""WFDB records (PhysioNet): a text header `.hea` and signal files, every declared checksum compared on reading.

`wfdb_header` reads the header, `wfdb_signals` the integers, whole or a stretch; `wfdb_record` compares them with what
the header declares and makes mV of them; `wfdb_segments` puts records of several segments together. What is returned
is float32 [lead, time] in mV. Written is format 16.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG, sample_range
from ecglens.errors import SignalError, UsageError
from ecglens.formats.channels import frozen, to_integers
from ecglens.formats.contents import other_content, refuse_other_content
from ecglens.formats.wfdb_comments import header_person
from ecglens.formats.wfdb_header import MAX_GAIN, MIN_GAIN, Header, SignalSpec, header_path, read_header
from ecglens.formats.wfdb_record import checksums, read_stretch
from ecglens.formats.wfdb_segments import read_segments
from ecglens.runs.files import write_bytes, write_text

__all__ = [
    "Header", "SignalSpec", "header_path", "header_person", "other_content", "read_header", "read_wfdb",
    "refuse_other_content", "write_wfdb",
]  # fmt: skip

_RECORD_NAME = re.compile(r"[A-Za-z0-9_-]+")


def read_wfdb(path: str | Path, *, verify: bool = True, start: float | None = None, stop: float | None = None) -> ECG:
    """Read one record as an ECG, float32 [lead, time] in mV; missing samples become NaN.

    path         the record without extension, its `.hea`, or its `.dat` or `.mat`
    verify       compare every declared checksum and initial value; False reads all the same and flags `not_verified`
    start, stop  read only the samples with start <= t < stop, in s on the record's clock, and no more of the files
                 than that; None: from the first, to the last. Checksums cover whole records, so a stretch is flagged
                 `not_verified` too, as a note

    Raises FormatError (kinds `header`, `truncated`, `checksum`, `units`, `unsupported`, ...), UnsafeError where a
    signal file is a link, a pipe or outside the record's folder, SignalError where the samples are no ECG or the
    stretch is not inside the recording.
    """
    path = header_path(path)
    header = read_header(path)

    def pick(n_samples: int, fs: float) -> tuple[int, int]:
        return sample_range(path, header.start, fs, n_samples, start, stop)

    read_samples = read_segments if header.segments else read_stretch
    found = read_samples(path, header, verify, pick)
    metadata = {"format": f"WFDB {', '.join(map(str, sorted(found.formats)))}".rstrip()}
    begin = header.start + found.first / found.fs
    return ECG(frozen(found.signal), found.fs, found.leads, path.stem, begin, metadata, found.findings)


def write_wfdb(ecg: ECG, folder: str | Path, *, gain: float = 1000.0) -> Path:
    """Write `<record_id>.dat` and `.hea` (format 16) into `folder` and return the path of the header.

    gain  ADC units per mV: 1000 stores whole microvolts. Gaps are stored as -32768. Metadata is not written.

    An existing record is replaced; a kill in between leaves a header whose checksums do not match, never a
    plausible mixture. Raises UsageError (gain, record_id), SignalError (amplitude beyond 16 bits, lead names).
    """
    if not (math.isfinite(gain) and MIN_GAIN <= gain <= MAX_GAIN):
        raise UsageError("write_wfdb", "gain", gain, f"{MIN_GAIN:g} to {MAX_GAIN:g} per mV", kind="gain")
    if not _RECORD_NAME.fullmatch(ecg.record_id):
        raise UsageError(
            "write_wfdb", "record_id", repr(ecg.record_id), "letters, digits, _ and -",
            "give the ECG another record_id", kind="record_id",
        )  # fmt: skip
    for lead in ecg.leads:
        if not lead or not lead.isprintable():
            raise SignalError(ecg.record_id, "leads", repr(lead), "a printable name", kind="no_lead_name")
    raw = to_integers(ecg, gain)
    folder = Path(folder)
    write_bytes(folder / f"{ecg.record_id}.dat", np.ascontiguousarray(raw.T, dtype="<i2").tobytes())
    lines = [f"{ecg.record_id} {len(ecg.leads)} {_rate_text(ecg)} {ecg.n_samples}"]
    for lead, row, checksum in zip(ecg.leads, raw, checksums(raw), strict=True):
        lines.append(f"{ecg.record_id}.dat 16 {_positional(gain)}(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    path = folder / f"{ecg.record_id}.hea"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _rate_text(ecg: ECG) -> str:
    # A start other than 0 is kept as the reading, at sample 0, of a counter that ticks once a second.
    return _positional(ecg.fs) + (f"/1({_positional(ecg.start)})" if ecg.start else "")


def _positional(value: float) -> str:
    """Return a float in full, without exponent, so that reading gives the same float.

    >>> _positional(500.0), _positional(1e-07), _positional(1000 / 3)
    ('500', '0.0000001', '333.3333333333333')
    """
    return np.format_float_positional(value, trim="-")
