# SPDX-License-Identifier: Apache-2.0
"""ISHNE Holter (`.ecg`): a header of 522 bytes, a block of text, and 16-bit samples, all little-endian.

After Badilini, The ISHNE Holter Standard Output File Format, Ann Noninvasive Electrocardiol 1998;3:263-266. The
checksum guards the header only. -32768 is a gap. The text block is dropped unseen: it may name people.
"""

from __future__ import annotations

import binascii
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import GAP, Scale, frozen, millivolts
from ecglens.formats.checks import rate_findings, scale_findings, signal_findings
from ecglens.formats.clinical import facts, moment, with_limb_leads
from ecglens.formats.wfdb_signals import MAX_SIGNAL_BYTES
from ecglens.runs.files import open_regular

MAGIC = b"ISHNE1.0"
HEADER_BYTES = 522
MAX_LEADS = 12
MAX_TEXT_BYTES = 2**24

# Lead codes of the standard; 0 (unknown) and 1 (generic bipolar) are no names.
LEADS = {2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF", 11: "V1", 12: "V2",
         13: "V3", 14: "V4", 15: "V5", 16: "V6", 17: "ES", 18: "AS", 19: "AI"}  # fmt: skip


def is_ishne(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is an ISHNE Holter recording."""
    return head.startswith(MAGIC)


def read_ishne(path: Path) -> ECG:
    """Read an ISHNE Holter recording. Raises FormatError where header, checksum and size do not agree."""
    path = Path(path)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        header, findings = _header(path, file, before.st_size)
        n_leads, fs = _within(path, header, "leads", 156, 1, MAX_LEADS), _field(header, 272)
        if not MIN_FS <= fs <= MAX_FS:
            raise FormatError(path, "sampling rate", f"{fs} Hz", f"{MIN_FS:g} to {MAX_FS:g} Hz", kind="sampling_rate")
        needed = _data_bytes(path, header, before.st_size, n_leads)
        data = file.read(needed)
        after = os.fstat(file.fileno())
    if len(data) != needed or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FormatError(path, "content", "changed during reading", "a file at rest", "read it again", kind="changed")
    resolutions = [_within(path, header, f"resolution of lead {i + 1}", 206 + 2 * i, 1, 2**15) for i in range(n_leads)]
    steps = [nanovolts / 1e6 for nanovolts in resolutions]
    names, noticed = _lead_names(header, n_leads)
    raw = np.frombuffer(data, "<i2").reshape(-1, n_leads)
    signal = millivolts(raw, [Scale(step, 0.0, 1.0) for step in steps], GAP)
    findings += noticed + rate_findings(fs) + scale_findings(names, steps, [0.0] * n_leads)
    findings += signal_findings(signal, names)
    metadata, noticed = _facts(header)
    return with_limb_leads(ECG(frozen(signal), fs, tuple(names), path.stem, 0.0, metadata, tuple(findings + noticed)))


def _field(header: bytes, at: int, layout: str = "<h") -> int:
    return struct.unpack_from(layout, header, at)[0]


def _within(path: Path, header: bytes, field: str, at: int, low: int, high: int) -> int:
    value = _field(header, at)
    if not low <= value <= high:
        raise FormatError(path, field, value, f"{low} to {high}", "copy or export the file again", kind="header")
    return value


def _header(path: Path, file: BinaryIO, size: int) -> tuple[bytes, list[Finding]]:
    """Return both blocks of the header; offsets lie inside the file and the checksum agrees."""
    fixed = file.read(HEADER_BYTES)
    if len(fixed) < HEADER_BYTES:
        raise FormatError(path, "size", f"{size} bytes", f"{HEADER_BYTES} of header", kind="truncated")
    if not fixed.startswith(MAGIC):
        raise FormatError(path, "signature", repr(fixed[:8]), MAGIC.decode(), kind="header")
    text_bytes, text_at, samples_at = (_field(fixed, at, "<i") for at in (10, 18, 22))
    if not 0 <= text_bytes <= min(MAX_TEXT_BYTES, size - HEADER_BYTES):
        raise FormatError(path, "length of the text block", text_bytes, "what the file holds", kind="header")
    if (text_at, samples_at) != (HEADER_BYTES, HEADER_BYTES + text_bytes):
        allowed = f"{HEADER_BYTES} and {HEADER_BYTES + text_bytes}"
        raise FormatError(path, "offsets of text and samples", f"{text_at} and {samples_at}", allowed, kind="header")
    header = fixed + file.read(text_bytes)
    stored, found = _field(header, 8, "<H"), binascii.crc_hqx(header[10:], 0xFFFF)
    if not stored:
        return header, [Finding("no_checksum", "warning", "no checksum of the header: damage would go unseen")]
    if stored not in (found, (found & 0xFF) << 8 | found >> 8):  # the standard leaves the order of its bytes open
        raise FormatError(
            path, "checksum of the header", stored, str(found), "the file is damaged: copy it again", kind="checksum"
        )
    return header, []


def _data_bytes(path: Path, header: bytes, size: int, n_leads: int) -> int:
    """Return the length of the samples, in bytes. The header may count them per lead or all together."""
    data_bytes, declared = size - len(header), _field(header, 14, "<i")
    frames = data_bytes // (2 * n_leads)
    if declared not in (frames, frames * n_leads) or data_bytes != 2 * n_leads * frames or not frames:
        found = f"{data_bytes} bytes for {n_leads} leads"
        allowed = f"{declared} samples per lead or together, as the header declares"
        raise FormatError(path, "samples", found, allowed, "copy the file again", kind="length")
    if data_bytes > MAX_SIGNAL_BYTES:
        raise FormatError(path, "size", data_bytes, f"at most {MAX_SIGNAL_BYTES}", "split it", kind="too_large")
    return data_bytes


def _lead_names(header: bytes, n_leads: int) -> tuple[list[str], list[Finding]]:
    """Return the names of the leads; those without one are ECG1, ECG2, ... by their place, and flagged."""
    codes = [_field(header, 158 + 2 * i) for i in range(n_leads)]
    names = [LEADS.get(code, f"ECG{i + 1}") for i, code in enumerate(codes)]
    findings = [
        Finding("no_lead_name", "warning", f"lead code {code} is no name: called {name}", name)
        for code, name in zip(codes, names, strict=True)
        if code not in LEADS
    ]
    return names, findings


def _facts(header: bytes) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; names, number and date of birth of the patient are not kept."""
    device = header[232:272].split(b"\x00")[0].decode("latin-1").strip()
    return facts(
        "ISHNE",
        "" if device.lower() in ("analog", "digital") else device,
        _moment(header, 138, 150),
        _moment(header, 132),
        None,
        {1: "male", 2: "female"}.get(_field(header, 128)),
    )


def _moment(header: bytes, date_at: int, time_at: int | None = None) -> Any:
    day, month, year = (str(_field(header, date_at + 2 * i)) for i in range(3))
    clock = [str(_field(header, time_at + 2 * i)) for i in range(3)] if time_at is not None else []
    return moment(year, month, day, *clock)
