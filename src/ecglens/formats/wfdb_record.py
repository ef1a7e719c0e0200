# SPDX-License-Identifier: Apache-2.0
"""One WFDB record of one segment: its integers compared with what the header declares, and turned into mV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecglens.errors import Finding, FormatError, printable
from ecglens.formats.channels import MILLIVOLTS
from ecglens.formats.contents import refuse_other_content
from ecglens.formats.wfdb_header import Header, SignalSpec
from ecglens.formats.wfdb_packing import GAPS, WIDE
from ecglens.formats.wfdb_signals import open_signals
from ecglens.leads import canonical_lead
from ecglens.runs.files import contained, open_regular
from ecglens.shapes import Signal


class Stretch(NamedTuple):
    """Part of a record, or all of it: float32 [lead, time] in mV, fs in Hz, number of the first sample."""

    signal: Signal
    leads: tuple[str, ...]
    fs: float
    first: int
    formats: frozenset[int]
    findings: tuple[Finding, ...]


def read_stretch(path: Path, header: Header, verify: bool, pick: Callable[[int, float], tuple[int, int]]) -> Stretch:
    """Read the samples that `pick(number of samples, fs)` chooses: the first one and the one behind the last."""
    refuse_unusable_leads(path, header)
    per_frame = _refuse_undecodable(path, header)
    fs = header.fs * per_frame
    with open_signals(header, path) as files:
        n_samples = files[0].n_frames * per_frame
        first, last = pick(n_samples, fs)
        blocks = [file.samples(first, last) for file in files]
    raw = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    findings = [*header.findings, *(finding for file in files for finding in file.findings)]
    findings += _verify(path, header, raw, verify, first == 0, last - first == n_samples)
    leads = tuple(spec.lead for spec in header.signals)
    formats = frozenset(spec.format for spec in header.signals)
    return Stretch(_millivolts(raw, header.signals), leads, fs, first, formats, tuple(findings))


def refuse_unusable_leads(path: Path, header: Header) -> None:
    """Raise FormatError for signals without a lead name, leads that occur twice, units that are no voltage."""
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


def _refuse_undecodable(path: Path, header: Header) -> int:
    """Return the samples per frame. Raises FormatError for a storage that header(5) allows but that is not read."""
    per_frame = header.signals[0].samples_per_frame
    for spec in header.signals:
        found = _unsupported(spec, per_frame)
        if found:
            known = ", ".join(map(str, GAPS))
            raise FormatError(
                path, f"lead {spec.lead}, format", found, f"format {known}, all leads at one rate, no skew",
                "convert the record to format 16 (WFDB: xform)", kind="unsupported", lead=spec.lead,
            )  # fmt: skip
    return per_frame


def _unsupported(spec: SignalSpec, per_frame: int) -> str:
    if spec.format not in GAPS:
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
    for spec, row, checksum in zip(header.signals, raw, checksums(raw), strict=True):
        if whole and spec.checksum is not None and spec.checksum % 2**16 != checksum:
            _refuse_altered(path, spec, "checksum", checksum, spec.checksum % 2**16)
        if from_start and spec.initial_value not in (None, row[0]):
            _refuse_altered(path, spec, "initial value", int(row[0]), spec.initial_value)
    findings = []
    missing = [spec.lead for spec in header.signals if spec.checksum is None]
    if missing:
        reason = f"no checksum for {printable(', '.join(missing))}: damage would go unseen"
        findings.append(Finding("no_checksum", "warning", reason))
    wide = [spec.lead for spec in header.signals if spec.checksum is not None and spec.format in WIDE]
    if wide:
        reason = f"checksums cover the lower 16 bits only, and {printable(', '.join(wide))} have more"
        findings.append(Finding("weak_checksum", "warning", reason))
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


def checksums(raw: np.ndarray) -> list[int]:
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
        gap = GAPS[spec.format]
        if gap is not None and row.min() == gap:  # the lowest value that the format can hold
            samples[row == gap] = np.nan
    return signal
