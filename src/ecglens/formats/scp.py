# SPDX-License-Identifier: Apache-2.0
"""SCP-ECG (EN 1064, ISO 11073-91064): sections with a CRC each, samples often Huffman-coded differences.

Sizes, pointers, CRCs and counts are checked here before ecgdatakit decodes the samples: it would allocate what a
file declares and only warn of a CRC. The limb leads that most writers leave out are derived and noted; the reference
beat (section 5) is left out. Of section 1 only age, sex, device and date are kept.
"""

from __future__ import annotations

import binascii
import datetime
import os
import struct
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import EnvironmentFault, Finding, FormatError
from ecglens.formats.channels import refuse_lying_size
from ecglens.formats.checks import lead_findings, limb_findings, rate_findings
from ecglens.formats.clinical import facts, with_limb_leads
from ecglens.runs.files import open_regular

MAX_BYTES = 2**23
MAX_LEADS = 64
MAX_SAMPLES = 400_000  # all leads together: Huffman codes are read bit by bit, in about a second for so many
MAX_BEATS = 20_000  # subtraction zones times leads
MAX_SECTIONS = 64

_SECTION_HEADER = 16
_DEFAULT_TABLE = 19999
_OWN_SECTIONS = 11  # sections above belong to the manufacturer


class Section(NamedTuple):
    """Where a section lies: its first byte, its length with header."""

    start: int
    length: int

    def body(self, data: bytes) -> bytes:
        """Return the section without its header."""
        return data[self.start + _SECTION_HEADER : self.start + self.length]


def is_scp(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is an SCP-ECG record: section 0 comes first and points at itself."""
    if len(head) < 32:
        return False
    section, length = struct.unpack_from("<HI", head, 8)
    own, _, index = struct.unpack_from("<HII", head, 22)
    named = head[16:22] == b"SCPECG"
    return section == 0 and 26 <= length < 2**16 and own == 0 and (index == 7 or named)


def read_scp(path: Path) -> ECG:
    """Read an SCP-ECG record. Raises FormatError (kind `checksum` for a CRC), EnvironmentFault without ecgdatakit."""
    path = Path(path)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        if before.st_size > MAX_BYTES:
            raise FormatError(path, "size", f"{before.st_size} bytes", f"at most {MAX_BYTES}", kind="too_large")
        data = file.read(MAX_BYTES)
        size = _record_size(path, data)
        sections = _sections(path, data[:size])
        names, fs = _check_samples(path, data, sections)
        record, findings = _decode(path)
        after = os.stat(path)
    if any(getattr(before, field) != getattr(after, field) for field in ("st_ino", "st_size", "st_mtime_ns")):
        raise FormatError(path, "content", "changed during reading", "a file at rest", "read it again", kind="changed")
    if len(data) > size:
        reason = f"{len(data) - size} bytes more than the record declares"
        findings.append(Finding("trailing_bytes", "warning", reason))
    return _to_ecg(path, record, names, fs, findings)


def _record_size(path: Path, data: bytes) -> int:
    """Return the declared length of the record, in bytes, once it fits the file and its CRC."""
    if len(data) < 32:
        raise FormatError(path, "size", f"{len(data)} bytes", "a preamble and section 0", kind="truncated")
    stored, size = struct.unpack_from("<HI", data)
    refuse_lying_size(path, size, len(data))
    if not 32 <= size <= len(data):
        raise FormatError(path, "record size", size, f"at most the {len(data)} bytes of the file", kind="truncated")
    _check_crc(path, "record", data[2:size], stored)
    return size


def _check_crc(path: Path, what: str, content: bytes, stored: int) -> None:
    found = binascii.crc_hqx(content, 0xFFFF)
    if found != stored:
        raise FormatError(
            path, f"CRC of {what}", stored, f"{found}, that of its bytes", "the file is damaged: export it again",
            kind="checksum",
        )  # fmt: skip


def _sections(path: Path, data: bytes) -> dict[int, Section]:
    """Return the sections by number; each lies inside the record, none over another, and its CRC agrees."""
    length = struct.unpack_from("<I", data, 10)[0]
    if not _SECTION_HEADER + 10 <= length <= min(len(data) - 6, _SECTION_HEADER + 10 * MAX_SECTIONS):
        raise FormatError(path, "length of section 0", length, f"up to {MAX_SECTIONS} pointers", kind="section")
    found = {0: Section(6, length)}
    _check_crc(path, "section 0", data[8 : 6 + length], struct.unpack_from("<H", data, 6)[0])
    for at in range(6 + _SECTION_HEADER, 6 + length - 9, 10):
        number, size, index = struct.unpack_from("<HII", data, at)
        if number == 0 or size == 0:
            continue
        if number in found or size < _SECTION_HEADER or index < 1 or index - 1 + size > len(data):
            raise FormatError(
                path, f"section {number}", f"{size} bytes from byte {index}", f"once, within {len(data)} bytes",
                "the file is damaged: export it again", kind="section",
            )  # fmt: skip
        found[number] = Section(index - 1, size)
        if number <= _OWN_SECTIONS:
            stored, own, own_size = struct.unpack_from("<HHI", data, index - 1)
            if (own, own_size) != (number, size):
                what = f"header of section {number}"
                raise FormatError(path, what, f"section {own}, {own_size} bytes", f"{size} bytes", kind="section")
            _check_crc(path, f"section {number}", data[index + 1 : index - 1 + size], stored)
    places = sorted(found.values())
    if any(one.start + one.length > other.start for one, other in pairwise(places)):
        raise FormatError(path, "sections", "one over another", "one behind another", kind="section")
    return found


def _check_samples(path: Path, data: bytes, sections: dict[int, Section]) -> tuple[int, float]:
    """Return (samples per lead, sampling rate in Hz) once every count fits the bytes that are there."""
    for number, what in ((3, "the leads"), (6, "the rhythm")):
        if number not in sections:
            raise FormatError(path, f"section {number}", "missing", what, kind="no_rhythm")
    leads, rhythm = sections[3].body(data), sections[6].body(data)
    n_leads = leads[0] if leads else 0
    if not 1 <= n_leads <= MAX_LEADS or len(leads) < 2 + 9 * n_leads:
        raise FormatError(path, "number of leads", n_leads, f"1 to {MAX_LEADS}, each described", kind="length")
    spans = {struct.unpack_from("<II", leads, 2 + 9 * i) for i in range(n_leads)}
    first, last = next(iter(spans))
    n_samples = last - first + 1
    if len(spans) > 1 or first < 1 or n_samples < 1 or n_leads * n_samples > MAX_SAMPLES:
        found = f"{len(spans)} different stretches, the first of samples {first} to {last}"
        allowed = f"one stretch for all leads, up to {MAX_SAMPLES // n_leads} samples"
        raise FormatError(path, "samples per lead", found, allowed, kind="length")
    if len(rhythm) < 6 + 2 * n_leads:
        raise FormatError(path, "section 6", f"{len(rhythm)} bytes", "a length per lead", kind="length")
    scale, interval = struct.unpack_from("<HH", rhythm)
    if not scale:
        raise FormatError(path, "amplitude multiplier", 0, "nV per unit", kind="gain")
    if not 1e6 / MAX_FS <= interval <= 1e6 / MIN_FS:
        raise FormatError(path, "sample interval", f"{interval} us", "250 to 20000 us", kind="sampling_rate")
    _check_lengths(path, data, sections, n_leads, n_samples)
    nearest = round(1e6 / interval)
    return n_samples, float(nearest) if abs(1e6 / nearest - interval) <= 0.5 else 1e6 / interval


def _check_lengths(path: Path, data: bytes, sections: dict[int, Section], n_leads: int, n_samples: int) -> None:
    """Compare the lengths of the leads with the samples they are to hold, and count what costs time to decode."""
    rhythm = sections[6].body(data)
    lengths = struct.unpack_from(f"<{n_leads}H", rhythm, 6)
    spare = len(rhythm) - 6 - 2 * n_leads - sum(lengths)
    packed = 2 in sections
    fits = all(n_samples <= 8 * n if packed else n == 2 * n_samples for n in lengths)
    if not 0 <= spare <= 1 or not fits:  # sections have even lengths
        found = f"leads of {min(lengths)} to {max(lengths)} bytes, {spare} bytes left over"
        raise FormatError(path, "section 6", found, f"{n_samples} samples in each lead", kind="length")
    tables = sections[2].body(data) if packed else b""
    if packed and (len(tables) < 2 or struct.unpack_from("<H", tables)[0] == 0):
        raise FormatError(path, "section 2", "no Huffman table", "a table", kind="compression")
    beats = sections[4].body(data) if 4 in sections else b""
    if len(beats) >= 6:
        length, _, n_beats = struct.unpack_from("<3H", beats)
        interval = struct.unpack_from("<H", sections[5].body(data), 2)[0] if 5 in sections else 0
        n_reference = n_leads * length * 1000 // max(interval, 1) if interval else 0
        if n_beats * n_leads > MAX_BEATS or n_reference > MAX_SAMPLES:
            found = f"{n_beats} beats, reference of {length} ms"
            raise FormatError(path, "section 4", found, f"up to {MAX_BEATS} beats over all leads", kind="too_large")


def _decode(path: Path) -> tuple[Any, list[Finding]]:
    """Return ecgdatakit's record and what it warned of. Raises FormatError (kind `damaged`) for whatever it raises."""
    try:
        from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser
    except ImportError:
        raise EnvironmentFault(
            path, "package", "ecgdatakit is not installed", "ecgdatakit", 'pip install "ecglens[formats]"',
            kind="missing_package",
        ) from None  # fmt: skip
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            record = SCPECGParser().parse(path)
        except Exception as error:
            raise FormatError(
                path, "samples", f"not decodable ({type(error).__name__}: {error})", "an SCP-ECG record",
                "the file is damaged: export it again", kind="damaged",
            ) from None  # fmt: skip
    return record, [Finding("decoder", "warning", str(warning.message)) for warning in warned]


def _to_ecg(path: Path, record: Any, n_samples: int, fs: float, findings: list[Finding]) -> ECG:
    names, rows, steps = [], [], []
    for lead in record.leads:
        if len(lead.samples) != n_samples or lead.resolution_unit != "uV":
            found = f"{len(lead.samples)} samples in {lead.resolution_unit or 'no unit'}"
            raise FormatError(path, f"lead {lead.label}", found, f"{n_samples} samples in uV", kind="damaged")
        inverted = lead.label == "-aVR"
        if inverted:
            findings.append(Finding("inverted_lead", "note", "stored as -aVR, turned to aVR", "aVR"))
        names.append("aVR" if inverted else lead.label)
        steps.append(lead.resolution / 1000)
        rows.append(np.asarray(lead.samples) * (-steps[-1] if inverted else steps[-1]))
    signal = np.stack(rows).astype(np.float32)
    findings += rate_findings(fs) + lead_findings(names) + limb_findings(signal, names)
    if record.median_beats:
        findings.append(Finding("median_beats", "note", "reference beats left out: the rhythm is read"))
    metadata, noticed = _facts(record)
    return with_limb_leads(ECG(signal, fs, tuple(names), path.stem, 0.0, metadata, tuple(findings + noticed)))


def _facts(record: Any) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; the name, number and date of birth that the record holds go no further."""
    patient, when = record.patient, record.recording.date
    if isinstance(when, datetime.datetime):
        when = when.replace(tzinfo=None)
    device = record.recording.device.model
    stated = float(patient.age) if patient.age is not None and 0 < patient.age <= 130 else None
    return facts("SCP-ECG", device, when, patient.birth_date, stated, {"M": "male", "F": "female"}.get(patient.sex))
