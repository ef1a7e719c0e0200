# SPDX-License-Identifier: Apache-2.0
"""The text header of a WFDB record, read strictly.

It follows header(5) of the WFDB Applications Guide: a field that does not parse is refused, never skipped, because a
skipped field shifts the meaning of the ones behind it. Deliberate differences:

- A gain of 0 ("not calibrated") is refused; a missing gain is 200 per mV as the guide says, and flagged.
- A negative gain is legal (inverted polarity); it is used as written, and flagged.
- A missing sampling rate is refused (the guide would assume 250 Hz).
- Comments are dropped unseen: they may name people. So are date and time of the recording.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ecglens.ecg import MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import MILLIVOLTS, standard_lead
from ecglens.formats.checks import lead_findings, rate_findings, scale_findings
from ecglens.formats.contents import refuse_other_content
from ecglens.runs.files import contained, read_bytes

MAX_HEADER_BYTES = 2**20
MAX_SIGNALS = 256
MAX_SEGMENTS = 20_000
MIN_GAIN, MAX_GAIN = 1e-9, 1e9  # ADC units per physical unit; beyond, float32 mV would overflow or vanish
DEFAULT_GAIN = 200.0

KNOWN_FORMATS = (0, 8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524)

_NUMBER = r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,3})?"
_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
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


class Segment(NamedTuple):
    """One part of a multi-segment record: a record of its own, `~` for a gap, no samples for the list of signals."""

    name: str
    n_samples: int


@dataclass(frozen=True)
class Header:
    """A WFDB header: fs in Hz, n_samples per signal (None where not declared), start in s on the base counter.

    A multi-segment record has `segments` and no `signals` of its own; `n_signals` are those of its segments.
    """

    record_name: str
    n_signals: int
    fs: float
    n_samples: int | None
    signals: tuple[SignalSpec, ...]
    start: float = 0.0
    findings: tuple[Finding, ...] = ()
    segments: tuple[Segment, ...] = ()


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
    name, n_segments, n_signals, fs, n_samples, start = _record_line(place, line)
    findings = _record_findings(path, name, fs)
    if n_segments is not None:
        segments = _segments(place, n_segments, n_samples, lines[1:])
        total = sum(segment.n_samples for segment in segments)
        return Header(name, n_signals, fs, total, (), start, tuple(findings), segments)
    if n_signals != len(lines) - 1:
        raise place.error(
            "number of signals", f"{n_signals} declared, {len(lines) - 1} signal lines", "one line per signal"
        )
    signals = []
    for place, line in lines[1:]:
        spec, noticed = _signal_line(place, line)
        signals.append(spec)
        findings += noticed
    return Header(name, n_signals, fs, n_samples, tuple(signals), start, (*findings, *_odd_ones_out(signals)))


def header_path(path: str | Path) -> Path:
    """Return the path of the header that belongs to a record name, a `.hea`, a `.dat` or a `.mat`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return path
    return path.with_suffix(".hea") if suffix in (".dat", ".mat") else Path(f"{path}.hea")


def decode_header(raw: bytes) -> str:
    """Return the text of a header: UTF-8, or Latin-1 where it is not."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _content_lines(path: Path, raw: bytes) -> list[tuple[_Place, str]]:
    """Return the lines that are neither blank nor comments, with their places. LF or CRLF."""
    lines = []
    for number, line in enumerate(decode_header(raw).split("\n"), 1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        place = _Place(path, number)
        if _CONTROL.search(stripped):
            raise place.error("text", "control characters", "printable text", "this is no text file; get it again")
        lines.append((place, stripped))
    return lines


def _record_line(place: _Place, line: str) -> tuple[str, int | None, int, float, int | None, float]:
    """Return record name, number of segments (None: it has none), number of signals, fs in Hz, samples, start in s."""
    fields = line.split()
    name = _RECORD.fullmatch(fields[0])
    if name is None:
        raise place.error("record name", fields[0], "a name without '/'")
    n_segments = None
    if name["segments"] is not None:
        n_segments = _integer(place, "number of segments", 1, MAX_SEGMENTS, name["segments"])
    if len(fields) < 3:
        raise place.error("record line", f"{len(fields)} fields", "record name, number of signals, sampling rate")
    n_signals = _integer(place, "number of signals", 1, MAX_SIGNALS, fields[1])
    fs, start = _sampling_rate(place, fields[2])
    n_samples = _integer(place, "number of samples", 0, 10**15, fields[3]) if len(fields) > 3 else 0
    for clock in fields[4:]:
        if len(fields) > 6 or not _CLOCK.fullmatch(clock):
            raise place.error("base time and date", " ".join(fields[4:]), "HH:MM:SS DD/MM/YYYY or nothing")
    return name["name"], n_segments, n_signals, fs, n_samples or None, start


def _segments(
    place: _Place, n_segments: int, n_samples: int | None, lines: list[tuple[_Place, str]]
) -> tuple[Segment, ...]:
    """Parse the segment lines: a name and a number of samples each; their sum is the length of the record."""
    if n_segments != len(lines):
        raise place.error("number of segments", f"{n_segments} declared, {len(lines)} lines", "one line per segment")
    segments = []
    for at, line in lines:
        fields = line.split()
        if ".." in fields[0] or fields[0].startswith("/"):
            contained(at.path.parent, fields[0], at.path)  # refuses it as unsafe
        if len(fields) != 2 or "/" in fields[0]:
            raise at.error("segment line", line, "a record name and a number of samples")
        segments.append(Segment(fields[0], _integer(at, "number of samples", 0, 10**15, fields[1])))
    total = sum(segment.n_samples for segment in segments)
    if not total or n_samples not in (None, total):
        raise place.error("number of samples", f"{n_samples}", f"{total}, the sum of the segments, and not 0")
    return tuple(segments)


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
    has_lead = len(fields) == 9 or (len(fields) > 2 and standard_lead(fields[-1]) is not None)
    lead = fields.pop() if has_lead else ""
    storage = _storage(place, fields[1])
    numbers = [_integer(place, *field, text) for field, text in zip(_NUMERIC_FIELDS, fields[3:8], strict=False)]
    resolution, zero, initial, checksum, block = (*numbers, None, None, None, None, None)[:5]
    gain, baseline, units, findings = _gain(place, fields[2] if len(fields) > 2 else "", lead)
    if baseline is None:
        baseline = zero or 0
    if abs(baseline) > 2**16:
        findings.append(Finding("baseline", "warning", f"baseline {baseline} is beyond 16 bits", lead))
    findings += lead_findings([lead] if lead else [])
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
    return findings + rate_findings(fs)


def _odd_ones_out(signals: Sequence[SignalSpec]) -> list[Finding]:
    gains = [spec.gain / MILLIVOLTS.get(spec.units, math.nan) for spec in signals]
    baselines = [float(spec.baseline) for spec in signals]
    return scale_findings([spec.lead or None for spec in signals], gains, baselines, (" per mV", ""))
