# SPDX-License-Identifier: Apache-2.0
"""WFDB records (PhysioNet): a text header `.hea` and signal files, every declared checksum compared on reading.

Samples are stored [time, lead] as 16-bit integers ("format 16"); what is returned is float32 [lead, time] in mV.
The header follows header(5) of the WFDB Applications Guide, read strictly: a field that does not parse is refused,
never skipped, because a skipped field shifts the meaning of the ones behind it. Deliberate differences:

- A gain of 0 ("not calibrated") is refused; a missing gain is 200 per mV as the guide says, and flagged.
- A negative gain is legal (inverted polarity); it is used as written, and flagged.
- A missing sampling rate is refused (the guide would assume 250 Hz), so are signals without lead names.
- Comments are dropped unseen: they may name people. So are date and time of the recording.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError, SignalError, UsageError, printable
from ecglens.leads import OTHER_LEADS, STANDARD_LEADS, canonical_lead
from ecglens.runs.files import contained, open_regular, read_bytes, write_bytes, write_text
from ecglens.shapes import Signal

MAX_HEADER_BYTES = 2**20
MAX_SIGNAL_BYTES = 2 * 2**30  # 24 h of 12 leads at 1 kHz fit
MAX_SIGNALS = 256
MIN_GAIN, MAX_GAIN = 1e-9, 1e9  # ADC units per physical unit; beyond, float32 mV would overflow or vanish
DEFAULT_GAIN = 200.0
GAP = -32768  # what format 16 writes for a missing sample

# How many mV one physical unit is. Both code points of the micro sign occur: U+00B5 and U+03BC.
MILLIVOLTS = {"mV": 1.0, "mv": 1.0, "uV": 1e-3, "uv": 1e-3, "\u00b5V": 1e-3, "\u03bcV": 1e-3,
              "V": 1e3, "v": 1e3, "nV": 1e-6, "nv": 1e-6}  # fmt: skip

KNOWN_FORMATS = (0, 8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524)

# Rates that recorders and the public data sets use. Another one is possible, but more often a damaged header.
USUAL_FS = frozenset(
    (50, 60, 64, 75, 80, 100, 120, 125, 128, 150, 160, 180, 200, 240, 250, 256, 257, 300, 320, 333, 360, 400, 480, 500,
     512, 600, 640, 750, 800, 960, 977, 1000, 1024, 1200, 1250, 1500, 1600, 2000, 2048, 2400, 2500, 3000, 4000)
)  # fmt: skip

_NUMBER = r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,3})?"
_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
_RECORD_NAME = re.compile(r"[A-Za-z0-9_-]+")
_RECORD = re.compile(r"(?P<name>[^\s/]+)(?:/(?P<segments>\d{1,15}))?", re.ASCII)
_RATE = re.compile(rf"(?P<fs>{_NUMBER})(?:/(?P<counter>{_NUMBER})(?:\((?P<base>{_NUMBER})\))?)?", re.ASCII)
_STORAGE = re.compile(r"(\d{1,3})(?:x(\d{1,9}))?(?::(\d{1,9}))?(?:\+(\d{1,15}))?", re.ASCII)
_GAIN = re.compile(rf"({_NUMBER})(?:\((-?\d{{1,10}})\))?(?:/(\S+))?", re.ASCII)
_CLOCK = re.compile(
    r"\d{1,2}(?::\d{1,2}){0,2}(?:\.\d{1,9})?|\d{1,2}[/-](?:\d{1,2}|[A-Za-z]{3})[/-]\d{2,4}|\d{4}-\d\d-\d\d", re.ASCII
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# Fields 4 to 8 of a signal line: name and allowed range.
_NUMERIC_FIELDS = (
    ("ADC resolution", 0, 32),
    ("ADC zero", -(2**31), 2**31),
    ("initial value", -(2**31), 2**31),
    ("checksum", -(2**15), 2**16 - 1),
    ("block size", 0, 2**31),
)

# What a file that is not what its name says usually is: first bytes and words for the message.
_CONTENTS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF-", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"version https://git-lfs", "a git-LFS pointer (the data itself was never downloaded)"),
    (b"/annex/objects/", "a git-annex pointer (the data itself was never downloaded)"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"<!doctype html", "an HTML page (probably the error page of a download)"),
    (b"<html", "an HTML page (probably the error page of a download)"),
    (b"<?xml", "an XML file"),
)


class SignalSpec(NamedTuple):
    """One signal line of a header.

    gain is in ADC units per physical unit; mV = (sample - baseline) / gain * MILLIVOLTS[units]. `lead` is the
    description as written, "" where there is none.
    """

    file_name: str
    format: int
    samples_per_frame: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    units: str
    adc_resolution: int
    adc_zero: int
    initial_value: int | None
    checksum: int | None
    block_size: int
    lead: str


@dataclass(frozen=True)
class Header:
    """A WFDB header: fs in Hz, n_samples per signal (None where not declared), start in s on the base counter."""

    record_name: str
    fs: float
    n_samples: int | None
    signals: tuple[SignalSpec, ...]
    start: float = 0.0
    findings: tuple[Finding, ...] = ()

    @property
    def n_signals(self) -> int:
        """Number of signals."""
        return len(self.signals)


class _Place(NamedTuple):
    """A line of a header, so that an error can say where."""

    path: Path
    line: int

    def error(self, field: str, found: object, allowed: str, fix: str = "correct the header", kind: str = "header",
              lead: str | None = None) -> FormatError:  # fmt: skip
        return FormatError(self.path, f"line {self.line}, {field}", found, allowed, fix, kind=kind, lead=lead)


def read_header(path: str | Path) -> Header:
    """Read a WFDB header: of `path` itself, of a record name without extension, or beside a `.dat`.

    Checks syntax and ranges; whether the signals can be decoded is for `read_wfdb` to say. Comments are not kept.
    Raises FormatError (file, line, field), InputError where the file is missing, UnsafeError where it is a link.
    """
    path = header_path(path)
    raw = read_bytes(path, MAX_HEADER_BYTES)
    refuse_other_content(path, raw[:512], "a WFDB header")
    lines = _content_lines(path, raw)
    if not lines:
        raise FormatError(path, "content", "only comments or blank lines", "a record line", kind="header")
    place, line = lines[0]
    name, n_signals, fs, n_samples, start = _record_line(place, line)
    if n_signals != len(lines) - 1:
        raise place.error(
            "number of signals", f"{n_signals} declared, {len(lines) - 1} signal lines", "one line per signal"
        )
    findings = _record_findings(path, name, fs)
    signals = []
    for place, line in lines[1:]:
        spec, noticed = _signal_line(place, line)
        signals.append(spec)
        findings += noticed
    return Header(name, fs, n_samples, tuple(signals), start, (*findings, *_odd_ones_out(signals)))


def read_wfdb(path: str | Path, *, verify: bool = True) -> ECG:
    """Read one record as an ECG, float32 [lead, time] in mV; missing samples become NaN.

    path    the record without extension, its `.hea`, or its `.dat`
    verify  compare every declared checksum and initial value; False reads all the same and flags `not_verified`

    Raises FormatError (kinds `header`, `truncated`, `checksum`, `units`, `unsupported`, ...), UnsafeError where a
    signal file is a link, a pipe or outside the record's folder, SignalError where the samples are no ECG.
    """
    path = header_path(path)
    header = read_header(path)
    _refuse_undecodable(path, header)
    raw, findings = _read_samples(path, header)
    findings = [*header.findings, *findings, *_verify(path, header, raw, verify)]
    signal = _millivolts(raw, header.signals)
    leads = tuple(spec.lead for spec in header.signals)
    return ECG(signal, header.fs, leads, path.stem, header.start, {"format": "WFDB 16"}, tuple(findings))


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


def header_path(path: str | Path) -> Path:
    """Return the path of the header that belongs to a record name, a `.hea` or a `.dat`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return path
    return path.with_suffix(".hea") if suffix == ".dat" else Path(f"{path}.hea")


def other_content(head: bytes) -> str | None:
    """Say in words what a file really is, from its first bytes (132 suffice), or None where that is not known.

    >>> other_content(b"PK\\x03\\x04...")
    'a zip archive'
    """
    if not head:
        return "an empty file"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:32].lower()
    return next((words for magic, words in _CONTENTS if start.startswith(magic) or lower.startswith(magic)), None)


def refuse_other_content(path: Path, head: bytes, expected: str) -> None:
    """Raise FormatError (kind `content`) where the first bytes show that the file is something else."""
    found = other_content(head)
    if found:
        raise FormatError(path, "content", found, expected, "download or export the file again", kind="content")


def _content_lines(path: Path, raw: bytes) -> list[tuple[_Place, str]]:
    """Return the lines that are neither blank nor comments, with their places. LF or CRLF, UTF-8 or Latin-1."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        place = _Place(path, number)
        if _CONTROL.search(stripped):
            raise place.error("text", "control characters", "printable text", "this is no text file; get it again")
        lines.append((place, stripped))
    return lines


def _record_line(place: _Place, line: str) -> tuple[str, int, float, int | None, float]:
    """Return record name, number of signals, fs in Hz, number of samples (None: not declared), start in s."""
    fields = line.split()
    name = _RECORD.fullmatch(fields[0])
    if name is None:
        raise place.error("record name", fields[0], "a name without '/'")
    if name["segments"] is not None:
        raise place.error(
            "record name", f"{fields[0]}, a multi-segment record", "single-segment records",
            "write the record as one segment first (WFDB: xform, rdsamp)", "unsupported",
        )  # fmt: skip
    if len(fields) < 3:
        raise place.error("record line", f"{len(fields)} fields", "record name, number of signals, sampling rate")
    n_signals = _integer(place, "number of signals", 1, MAX_SIGNALS, fields[1])
    fs, start = _sampling_rate(place, fields[2])
    n_samples = _integer(place, "number of samples", 0, 10**15, fields[3]) if len(fields) > 3 else 0
    for clock in fields[4:]:
        if len(fields) > 6 or not _CLOCK.fullmatch(clock):
            raise place.error("base time and date", " ".join(fields[4:]), "HH:MM:SS DD/MM/YYYY or nothing")
    return name["name"], n_signals, fs, n_samples or None, start


def _sampling_rate(place: _Place, text: str) -> tuple[float, float]:
    """Return fs in Hz and the start in s from `fs[/counter_frequency[(base_counter)]]`."""
    match = _RATE.fullmatch(text)
    allowed = f"{MIN_FS:g} to {MAX_FS:g} Hz"
    if match is None:
        raise place.error("sampling rate", text, allowed, kind="sampling_rate")
    fs = float(match["fs"])
    if not MIN_FS <= fs <= MAX_FS:
        raise place.error("sampling rate", f"{text} Hz", allowed, kind="sampling_rate")
    # header(5): the base counter is what a clock of counter_frequency shows at sample 0.
    counter, base = float(match["counter"] or fs), float(match["base"] or 0.0)
    start = base / counter if 1e-3 <= counter <= 1e9 else math.nan
    if not abs(start) < 1e9:
        raise place.error("counter frequency and base counter", text, "a positive frequency, a start within 1e9 s")
    return fs, start


def _signal_line(place: _Place, line: str) -> tuple[SignalSpec, list[Finding]]:
    """Parse one signal line; fields may be left out from the right only.

    Many hand-written headers leave out numbers but give the lead. That is understood only where the word is a
    lead we know: any other word there is a damaged number.
    """
    fields = line.split(None, 8)
    if len(fields) < 2:
        raise place.error("signal line", line, "file name, format, gain, ...")
    has_lead = len(fields) == 9 or (len(fields) > 2 and _is_known_lead(fields[-1]))
    lead = fields.pop() if has_lead else ""
    storage = _storage(place, fields[1])
    numbers = [_integer(place, *field, text) for field, text in zip(_NUMERIC_FIELDS, fields[3:8], strict=False)]
    resolution, zero, initial, checksum, block = (*numbers, None, None, None, None, None)[:5]
    gain, baseline, units, findings = _gain(place, fields[2] if len(fields) > 2 else "", lead)
    if baseline is None:
        baseline = zero or 0
    if abs(baseline) > 2**16:
        findings.append(Finding("baseline", "warning", f"baseline {baseline} is beyond 16 bits", lead))
    if lead and not _is_known_lead(lead):
        findings.append(Finding("unknown_lead", "warning", f"{lead!r} is not a lead name we know", lead))
    spec = SignalSpec(
        fields[0], *storage, gain, baseline, units, resolution or 0, zero or 0, initial, checksum, block or 0, lead
    )
    return spec, findings


def _storage(place: _Place, text: str) -> tuple[int, int, int, int]:
    """Return format, samples per frame, skew in samples, byte offset from `16x2:3+24`."""
    storage = _parse_storage(text)
    if storage is None or storage[0] not in KNOWN_FORMATS or storage[1] == 0:
        raise place.error("format", text, f"one of {', '.join(map(str, KNOWN_FORMATS))}", kind="signal_format")
    return storage


def _gain(place: _Place, text: str, lead: str) -> tuple[float, int | None, str, list[Finding]]:
    """Return gain per unit, baseline (None: not given), units and findings from `gain[(baseline)][/units]`."""
    if not text:
        reasons = f"no gain given, {DEFAULT_GAIN:g} per mV assumed", "no units given, mV assumed"
        findings = [Finding("gain_assumed", "warning", reasons[0], lead or None)]
        return DEFAULT_GAIN, None, "mV", [*findings, Finding("units_assumed", "note", reasons[1], lead or None)]
    gain, baseline, units = _parse_gain(text)
    if not MIN_GAIN <= abs(gain) <= MAX_GAIN:
        raise place.error(
            "gain", text, f"{MIN_GAIN:g} to {MAX_GAIN:g} ADC units per physical unit, as in 1000(0)/mV",
            "look the calibration up and write it into the header", "gain", lead or None,
        )  # fmt: skip
    findings = []
    if gain < 0:
        findings.append(Finding("negative_gain", "warning", f"gain {gain:g}: the polarity is inverted", lead or None))
    if units is None:
        findings.append(Finding("units_assumed", "note", "no units given, mV assumed", lead or None))
    return gain, baseline, units or "mV", findings


# These see the same few words again and again, so the answers are remembered.
@lru_cache(maxsize=1024)
def _parse_storage(text: str) -> tuple[int, int, int, int] | None:
    match = _STORAGE.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2] or 1), int(match[3] or 0), int(match[4] or 0))


@lru_cache(maxsize=1024)
def _parse_gain(text: str) -> tuple[float, int | None, str | None]:
    """Return gain (NaN where `text` is none), baseline and units."""
    match = _GAIN.fullmatch(text)
    if match is None:
        return math.nan, None, None
    return float(match[1]), None if match[2] is None else int(match[2]), match[3]


@lru_cache(maxsize=1024)
def _is_known_lead(name: str) -> bool:
    standard = canonical_lead(name)
    return standard in STANDARD_LEADS or standard.upper() in OTHER_LEADS


def _integer(place: _Place, field: str, low: int, high: int, text: str) -> int:
    value = int(text) if _INTEGER.fullmatch(text) else None
    if value is None or not low <= value <= high:
        raise place.error(field, text, f"an integer from {low} to {high}")
    return value


def _record_findings(path: Path, name: str, fs: float) -> list[Finding]:
    findings = []
    if name != path.stem:
        reason = f"the header calls the record {name!r}, its file name {path.stem!r}"
        findings.append(Finding("record_name", "warning", reason))
    if fs not in USUAL_FS:
        findings.append(Finding("unusual_fs", "warning", f"{fs:g} Hz is no rate that recorders commonly use"))
    return findings


def _odd_ones_out(signals: Sequence[SignalSpec]) -> list[Finding]:
    """Flag a gain or baseline that differs where most leads agree: nothing else in a header guards these two."""
    gains = [spec.gain / MILLIVOLTS.get(spec.units, math.nan) for spec in signals]
    common = _majority(gains)
    if common is None:  # calibrated lead by lead, so baselines differ too
        return []
    findings = _flag_odd("gain", common, gains, signals)
    baselines = [float(spec.baseline) for spec in signals]
    common = _majority(baselines)
    return findings if common is None else findings + _flag_odd("baseline", common, baselines, signals)


def _majority(values: Sequence[float]) -> float | None:
    common, count = Counter(values).most_common(1)[0]
    return common if count >= 2 and 2 * count > len(values) else None


def _flag_odd(field: str, common: float, values: Sequence[float], signals: Sequence[SignalSpec]) -> list[Finding]:
    return [
        Finding(f"odd_{field}", "warning", f"{field} {value:g} where most leads have {common:g}", spec.lead or None)
        for spec, value in zip(signals, values, strict=True)
        if value != common
    ]


def _refuse_undecodable(path: Path, header: Header) -> None:
    """Raise FormatError for what header(5) allows but `read_wfdb` cannot turn into an ECG."""
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
        found = _unsupported(spec)
        if found:
            raise FormatError(
                path, f"lead {where}, format", found, "format 16, one sample per frame, no skew",
                "convert the record to format 16 (WFDB: xform)", kind="unsupported", lead=where,
            )  # fmt: skip


def _unsupported(spec: SignalSpec) -> str:
    if spec.format != 16:
        return f"format {spec.format}"
    if spec.samples_per_frame != 1:
        return f"{spec.samples_per_frame} samples per frame"
    return f"a skew of {spec.skew} samples" if spec.skew else ""


def _read_samples(path: Path, header: Header) -> tuple[np.ndarray, list[Finding]]:
    """Return the raw samples, int16 [lead, time], of all signal files of a record."""
    blocks, findings = [], []
    seen: set[str] = set()
    for (name, offset), specs in groupby(header.signals, key=lambda spec: (spec.file_name, spec.byte_offset)):
        if name in seen:
            raise FormatError(
                path, "signal lines", f"{name} in several places or with several byte offsets",
                "the signals of one file together, with one offset", "correct the header", kind="layout",
            )  # fmt: skip
        seen.add(name)
        block, noticed = _signal_file(path, name, offset, len(list(specs)), header.n_samples)
        blocks.append(block)
        findings += noticed
    lengths = {block.shape[1] for block in blocks}
    if len(lengths) > 1:
        raise FormatError(
            path, "number of samples", f"not declared, and the files hold {sorted(lengths)}", "one length for all",
            "write the number of samples into the header", kind="truncated",
        )  # fmt: skip
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), findings


def _signal_file(
    header: Path, name: str, offset: int, n_channels: int, n_samples: int | None
) -> tuple[np.ndarray, list[Finding]]:
    """Return the samples of one signal file, int16 [channel, time]. Sizes are compared before anything is allocated."""
    path = contained(header.parent, name, header)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        needed, findings = _needed_bytes(path, file, before.st_size - offset, 2 * n_channels, n_samples)
        file.seek(offset)
        data = file.read(needed)
        after = os.fstat(file.fileno())
    if len(data) != needed or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FormatError(
            path, "content", "changed during reading", "a file at rest", "read again when it is written", kind="changed"
        )
    samples = np.frombuffer(data, "<i2").reshape(-1, n_channels)
    return np.ascontiguousarray(samples.T, dtype=np.int16), findings


def _needed_bytes(
    path: Path, file: BinaryIO, available: int, frame: int, n_samples: int | None
) -> tuple[int, list[Finding]]:
    """Return how many bytes hold the signals, of the `available` ones behind the offset; `frame` bytes per sample."""
    if n_samples is None:
        if available <= 0 or available % frame:
            _refuse_truncated(path, file, f"{max(available, 0)} bytes of samples", f"whole frames of {frame} bytes")
        needed = available
        reason = f"number of samples not declared, {available // frame} found in {path.name}"
        findings = [Finding("length_from_file", "note", reason)]
    else:
        needed = n_samples * frame
        if available < needed:
            found, allowed = f"{max(available, 0)} bytes of samples", f"the {needed} bytes that the header declares"
            _refuse_truncated(path, file, found, allowed)
        reason = f"{path.name} holds {available - needed} bytes more than the header declares"
        findings = [Finding("trailing_bytes", "warning", reason)] if available > needed else []
    if needed > MAX_SIGNAL_BYTES:
        raise FormatError(path, "size", f"{needed} bytes", f"at most {MAX_SIGNAL_BYTES}", "split it", kind="too_large")
    return needed, findings


def _refuse_truncated(path: Path, file: BinaryIO, found: str, allowed: str) -> None:
    refuse_other_content(path, file.read(512), "a WFDB signal file")
    raise FormatError(path, "size", found, allowed, "copy or download the file again", kind="truncated")


def _verify(path: Path, header: Header, raw: np.ndarray, verify: bool) -> list[Finding]:
    """Compare the samples, int16 [lead, time], with what the header declares. Raises FormatError (kind `checksum`)."""
    if not verify:
        return [Finding("not_verified", "warning", "checksums not compared, on request")]
    for spec, row, checksum in zip(header.signals, raw, _checksums(raw), strict=True):
        if spec.checksum is not None and spec.checksum % 2**16 != checksum:
            _refuse_altered(path, spec, "checksum", checksum, spec.checksum % 2**16)
        if spec.initial_value is not None and spec.initial_value != row[0]:
            _refuse_altered(path, spec, "initial value", int(row[0]), spec.initial_value)
    missing = [spec.lead for spec in header.signals if spec.checksum is None]
    if missing:
        return [
            Finding(
                "no_checksum", "warning", f"no checksum for {printable(', '.join(missing))}: damage would go unseen"
            )
        ]
    return []


def _refuse_altered(path: Path, spec: SignalSpec, field: str, found: int, declared: int) -> None:
    signals = contained(path.parent, spec.file_name, path)
    with open_regular(signals) as file:
        refuse_other_content(signals, file.read(512), "a WFDB signal file")
    raise FormatError(
        path, f"lead {spec.lead}, {field}", f"{found} in {spec.file_name}", f"{declared} as the header declares",
        "one of the two files is damaged: download or copy both again", kind="checksum", lead=spec.lead,
    )  # fmt: skip


def _checksums(raw: np.ndarray) -> list[int]:
    """Return the sum of the samples, int16 [lead, time], of each lead modulo 65536."""
    # Summed in 16 bits the wrap-around is the modulo, and five times faster than in 64.
    return np.add.reduce(raw, axis=1, dtype=np.int16).view(np.uint16).tolist()


def _millivolts(raw: np.ndarray, signals: Sequence[SignalSpec]) -> Signal:
    """Return float32 [lead, time] in mV from raw int16 [lead, time]; gaps become NaN."""
    signal = np.empty(raw.shape, np.float32)
    for samples, row, spec in zip(signal, raw, signals, strict=True):
        # In float64 up to the last step; lead by lead, so that the float64 copy stays in the processor's cache.
        millivolts = row - float(spec.baseline)
        millivolts /= spec.gain / MILLIVOLTS[spec.units]
        samples[:] = millivolts
    if raw.min() == GAP:
        signal[raw == GAP] = np.nan
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
