# SPDX-License-Identifier: Apache-2.0
"""WFDB records (PhysioNet): a text header `.hea` and signal files, every declared checksum compared on reading.

`wfdb_header` reads the header, `wfdb_signals` the integers, whole or a stretch; here they are compared with what the
header declares and become float32 [lead, time] in mV. Written is format 16.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import Finding, FormatError, SignalError, UsageError, printable
from ecglens.formats.contents import other_content, refuse_other_content
from ecglens.formats.wfdb_header import (
    MAX_GAIN,
    MILLIVOLTS,
    MIN_GAIN,
    Header,
    SignalSpec,
    header_path,
    read_header,
)
from ecglens.formats.wfdb_signals import PACKINGS, open_signals
from ecglens.leads import canonical_lead
from ecglens.runs.files import contained, open_regular, write_bytes, write_text
from ecglens.shapes import Signal

__all__ = [
    "Header", "SignalSpec", "header_path", "other_content", "read_header", "read_wfdb", "refuse_other_content",
    "write_wfdb",
]  # fmt: skip

GAP = -32768  # what format 16 writes for a missing sample

_RECORD_NAME = re.compile(r"[A-Za-z0-9_-]+")


def read_wfdb(path: str | Path, *, verify: bool = True, start: float | None = None, stop: float | None = None) -> ECG:
    """Read one record as an ECG, float32 [lead, time] in mV; missing samples become NaN.

    path         the record without extension, its `.hea`, or its `.dat`
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
    per_frame = _refuse_undecodable(path, header)
    fs = header.fs * per_frame
    with open_signals(header, path) as files:
        n_samples = files[0].n_frames * per_frame
        first, last = _sample_range(path, header.start, fs, n_samples, start, stop)
        blocks = [file.samples(first, last) for file in files]
    raw = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    findings = [*header.findings, *(finding for file in files for finding in file.findings)]
    findings += _verify(path, header, raw, verify, first == 0, last - first == n_samples)
    signal = _millivolts(raw, header.signals)
    leads = tuple(spec.lead for spec in header.signals)
    formats = ", ".join(str(number) for number in sorted({spec.format for spec in header.signals}))
    metadata = {"format": f"WFDB {formats}"}
    return ECG(signal, fs, leads, path.stem, header.start + first / fs, metadata, tuple(findings))


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
    raw = _to_integers(ecg, gain)
    folder = Path(folder)
    write_bytes(folder / f"{ecg.record_id}.dat", np.ascontiguousarray(raw.T, dtype="<i2").tobytes())
    lines = [f"{ecg.record_id} {len(ecg.leads)} {_rate_text(ecg)} {ecg.n_samples}"]
    for lead, row, checksum in zip(ecg.leads, raw, _checksums(raw), strict=True):
        lines.append(f"{ecg.record_id}.dat 16 {_positional(gain)}(0)/mV 16 0 {row[0]} {checksum} 0 {lead}")
    path = folder / f"{ecg.record_id}.hea"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _sample_range(
    path: Path, begin: float, fs: float, n_samples: int, start: float | None, stop: float | None
) -> tuple[int, int]:
    """Return the first sample of start <= t < stop and the one behind the last, as `ECG.crop` picks them."""
    edges = [
        0.0 if start is None else math.ceil((start - begin) * fs - 1e-6) if math.isfinite(start) else math.nan,
        n_samples if stop is None else math.ceil((stop - begin) * fs - 1e-6) if math.isfinite(stop) else math.nan,
    ]
    if not 0 <= edges[0] < edges[1] <= n_samples:  # NaN compares as outside
        wanted = f"[{begin if start is None else start:g}, {begin + n_samples / fs if stop is None else stop:g}) s"
        raise SignalError(
            path, "crop", wanted, f"inside [{begin:g}, {begin + n_samples / fs:g}) s and not empty", kind="crop"
        )
    return int(edges[0]), int(edges[1])


def _refuse_undecodable(path: Path, header: Header) -> int:
    """Return the samples per frame. Raises FormatError for what header(5) allows but `read_wfdb` makes no ECG of."""
    seen: dict[str, str] = {}
    for number, spec in enumerate(header.signals):
        where = spec.lead or f"signal {number}"
        if not spec.lead:
            raise FormatError(
                path, where, "no lead name", "a lead name at the end of each signal line",
                "write the names into the header", kind="no_lead_name",
            )  # fmt: skip
        standard = canonical_lead(spec.lead)
        if standard in seen:
            raise FormatError(
                path, f"lead {where}", f"{standard} twice ({seen[standard]!r}, {spec.lead!r})", "each lead once",
                "remove or rename the extra channel", kind="duplicate_lead", lead=standard,
            )  # fmt: skip
        seen[standard] = spec.lead
        if spec.units not in MILLIVOLTS:
            raise FormatError(
                path, f"lead {where}, units", spec.units, ", ".join(MILLIVOLTS),
                "remove the channel if it is no ECG lead, or correct its units", kind="units", lead=where,
            )  # fmt: skip
        found = _unsupported(spec, header.signals[0].samples_per_frame)
        if found:
            known = ", ".join(map(str, PACKINGS))
            raise FormatError(
                path, f"lead {where}, format", found, f"format {known}, all leads at one rate, no skew",
                "convert the record to format 16 (WFDB: xform)", kind="unsupported", lead=where,
            )  # fmt: skip
    return header.signals[0].samples_per_frame


def _unsupported(spec: SignalSpec, per_frame: int) -> str:
    if spec.format not in PACKINGS:
        return f"format {spec.format}"
    if spec.samples_per_frame != per_frame:
        return f"{spec.samples_per_frame} samples per frame where the first lead has {per_frame}"
    return f"a skew of {spec.skew} samples" if spec.skew else ""


def _verify(path: Path, header: Header, raw: np.ndarray, verify: bool, from_start: bool, whole: bool) -> list[Finding]:
    """Compare the samples, integers [lead, time], with what the header declares.

    from_start, whole  whether they begin with the record's first sample, and whether they are all of it

    Raises FormatError (kind `checksum`).
    """
    if not verify:
        return [Finding("not_verified", "warning", "checksums not compared, on request")]
    for spec, row, checksum in zip(header.signals, raw, _checksums(raw), strict=True):
        if whole and spec.checksum is not None and spec.checksum % 2**16 != checksum:
            _refuse_altered(path, spec, "checksum", checksum, spec.checksum % 2**16)
        if from_start and spec.initial_value not in (None, row[0]):
            _refuse_altered(path, spec, "initial value", int(row[0]), spec.initial_value)
    findings = []
    missing = [spec.lead for spec in header.signals if spec.checksum is None]
    if missing:
        reason = f"no checksum for {printable(', '.join(missing))}: damage would go unseen"
        findings.append(Finding("no_checksum", "warning", reason))
    if not whole:
        findings.append(Finding("not_verified", "note", "only a stretch was read, and checksums cover whole records"))
    return findings


def _refuse_altered(path: Path, spec: SignalSpec, field: str, found: int, declared: int) -> None:
    signals = contained(path.parent, spec.file_name, path)
    with open_regular(signals) as file:
        refuse_other_content(signals, file.read(512), "a WFDB signal file")
    raise FormatError(
        path, f"lead {spec.lead}, {field}", f"{found} in {spec.file_name}", f"{declared} as the header declares",
        "one of the two files is damaged: download or copy both again", kind="checksum", lead=spec.lead,
    )  # fmt: skip


def _checksums(raw: np.ndarray) -> list[int]:
    """Return the sum of the samples, integers [lead, time], of each lead modulo 65536."""
    # Summed in 16 bits the wrap-around is the modulo, and five times faster than in 64.
    return np.add.reduce(raw, axis=1, dtype=np.int16).view(np.uint16).tolist()


def _millivolts(raw: np.ndarray, signals: Sequence[SignalSpec]) -> Signal:
    """Return float32 [lead, time] in mV from raw integers [lead, time]; gaps become NaN."""
    signal = np.empty(raw.shape, np.float32)
    for samples, row, spec in zip(signal, raw, signals, strict=True):
        # In float64 up to the last step; lead by lead, so that the float64 copy stays in the processor's cache.
        millivolts = row - float(spec.baseline)
        millivolts /= spec.gain / MILLIVOLTS[spec.units]
        samples[:] = millivolts
        gap = PACKINGS[spec.format].gap
        if gap is not None and row.min() == gap:  # the lowest value that the format can hold
            samples[row == gap] = np.nan
    return signal


def _to_integers(ecg: ECG, gain: float) -> np.ndarray:
    """Return the samples as format 16 stores them, int16 [lead, time]."""
    scaled = np.rint(ecg.signal.astype(np.float64) * gain)
    beyond = (np.abs(scaled) > -GAP - 1).any(axis=1)  # NaN compares False
    if beyond.any():
        lead = ecg.leads[int(np.argmax(beyond))]
        peak = float(np.nanmax(np.abs(ecg[lead])))
        raise SignalError(
            ecg.record_id, f"lead {lead}", f"{peak:g} mV", f"up to {(-GAP - 1) / gain:g} mV at gain {gain:g}",
            "write with a lower gain", kind="amplitude", lead=lead,
        )  # fmt: skip
    return np.where(np.isnan(scaled), GAP, scaled).astype(np.int16)


def _rate_text(ecg: ECG) -> str:
    # A start other than 0 is kept as the reading, at sample 0, of a counter that ticks once a second.
    return _positional(ecg.fs) + (f"/1({_positional(ecg.start)})" if ecg.start else "")


def _positional(value: float) -> str:
    """Return a float in full, without exponent, so that reading gives the same float.

    >>> _positional(500.0), _positional(1e-07), _positional(1000 / 3)
    ('500', '0.0000001', '333.3333333333333')
    """
    return np.format_float_positional(value, trim="-")
