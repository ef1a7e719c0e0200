# SPDX-License-Identifier: Apache-2.0
"""EDF and EDF+ (Kemp 1992, Kemp and Olivan 2003): the ECG channels of a recording, every declared size compared.

A header of fixed columns, then data records, each of which holds a stretch of every channel as 16-bit integers.
Nothing in the format guards the samples, so all that a header says twice is compared: its own length, the size of
the file, the range of the samples, the day, and in EDF+ the time that each record says it begins at. The gaps of a
discontinuous recording (EDF+D) become NaN.

Channels that are no ECG, and annotations, are left out and listed. Of the person only age and sex are kept, and
only where EDF+ says them in their own place; of the recording only the day.
"""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import Finding, FormatError, printable
from ecglens.formats.channels import (
    MAX_LEADS,
    Scale,
    fill_millivolts,
    frozen,
    known_lead,
    per_millivolt,
    refuse_doubled,
    refuse_lying_size,
    refuse_rate,
    refuse_too_many,
)
from ecglens.formats.checks import lead_findings, odd_scales, rate_findings, signal_findings
from ecglens.formats.clinical import MAX_AGE
from ecglens.runs.files import open_regular

VERSION = b"0       "
ANNOTATIONS = "EDF Annotations"
# Columns of a channel behind the fixed 256 bytes: name and width. Each stands for all channels in turn.
_COLUMNS = (("label", 16), ("transducer", 80), ("unit", 8), ("physical minimum", 8), ("physical maximum", 8),
            ("digital minimum", 8), ("digital maximum", 8), ("filters", 80), ("samples per record", 8),
            ("reserved", 32))  # fmt: skip
_PER_CHANNEL = 256
_BLOCK_BYTES = 2**22
MAX_RECORD = 2**24  # values in a data record; the format recommends 30,720
MAX_TIMED_RECORDS = 2**19  # records of EDF+, each with its time: six days of 1 s
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{1,24})?)(?:\x15\d{1,12}(?:\.\d{1,24})?)?\x14")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class _Channel(NamedTuple):
    """One channel as the header describes it; `begin` is its first value in a record, of `n` ones."""

    label: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[int, int]
    n: int
    begin: int


class _Header(NamedTuple):
    """The header: `plus` is C, D or empty (plain EDF), `width` the values in a record, `seconds` its length."""

    path: Path
    plus: str
    n_records: int
    seconds: float
    size: int
    width: int
    channels: tuple[_Channel, ...]
    metadata: dict[str, Any]
    findings: tuple[Finding, ...]

    def fault(self, field: str, found: object, allowed: str, kind: str = "edf", lead: str | None = None,
              fix: str = "copy or export the file again") -> FormatError:  # fmt: skip
        return FormatError(self.path, field, found, allowed, fix, kind=kind, lead=lead)


def recognises_edf(head: bytes, path: Path) -> bool:
    """Tell whether a file begins like EDF: its version field, then numbers where the header has numbers."""
    return head.startswith(VERSION) and re.fullmatch(rb" *-?\d+ *", head[184:192]) is not None


def read_edf(path: str | Path) -> ECG:
    """Read the ECG channels of an EDF or EDF+ file as an ECG, float32 [lead, time] in mV.

    metadata: date (day of the recording), and in EDF+ age (years) and sex, where they are given.

    Raises FormatError: `edf` (a field of the header), `truncated`, `trailing_bytes`, `no_leads` (no ECG channel with a
    voltage), `sampling_rate` (ECG channels of several rates), `duplicate_lead`, `discontinuous` (records that
    overlap), `too_large`, `changed`.
    """
    path = Path(path)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        header = _read_header(path, file, before.st_size)
        leads, channels, findings = _ecg_channels(header)
        fs = channels[0].n / header.seconds
        refuse_rate(path, fs)
        findings = [*header.findings, *findings, *rate_findings(fs)]
        scales = [_scale(channel) for channel in channels]
        refuse_too_many(path, len(leads), header.n_records * channels[0].n)
        places, start, noticed = _places(header, file, fs, channels[0].n)
        n_samples = int(places[-1]) + channels[0].n
        refuse_too_many(path, len(leads), n_samples)
        signal = np.full((len(leads), n_samples), np.nan, np.float32)
        beyond = _fill(header, file, signal, channels, scales, places)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise header.fault("content", "changed during reading", "a file at rest", "changed")
    findings += [*noticed, *odd_scales(leads, scales), *_out_of_range(leads, beyond), *signal_findings(signal, leads)]
    return ECG(frozen(signal), fs, leads, path.stem, start, header.metadata, tuple(findings))


def _read_header(path: Path, file: BinaryIO, size: int) -> _Header:
    fixed = file.read(256)
    header = _Header(path, "", 0, 0.0, size, 0, (), {}, ())
    if len(fixed) < 256 or not fixed.startswith(VERSION):
        raise header.fault("header", f"{len(fixed)} bytes", "256 bytes that begin with version 0", "truncated")
    text = fixed.decode("latin-1")
    n_channels = _integer(header, "number of channels", text[252:256], 1, MAX_LEADS)
    declared = _integer(header, "header length", text[184:192], 256, 2**31)
    if declared != 256 + n_channels * _PER_CHANNEL:
        raise header.fault("header length", declared, f"{256 + n_channels * _PER_CHANNEL} for {n_channels} channels")
    n_records = _integer(header, "number of records", text[236:244], -1, 2**31)
    seconds = _number(header, "record duration", text[244:252])
    if not 0 < seconds <= 1e6:
        raise header.fault("record duration", f"{seconds:g} s", "above 0 s: a file of annotations has no signal")
    rest = file.read(n_channels * _PER_CHANNEL)
    if len(rest) < n_channels * _PER_CHANNEL:
        raise header.fault("header", f"{256 + len(rest)} bytes", f"{declared} bytes", "truncated")
    channels = _channels(header, rest.decode("latin-1"), n_channels)
    width = sum(channel.n for channel in channels)
    if width > MAX_RECORD:
        raise header.fault("record", f"{width} values", f"at most {MAX_RECORD}", "too_large")
    n_records, findings = _count_records(header, n_records, 2 * width, size - declared)
    plus = {"EDF+C": "C", "EDF+D": "D"}.get(text[192:197], "")
    if not plus and text[192:236].strip():
        findings.append(Finding("edf_kind", "warning", f"neither EDF nor EDF+: {text[192:236].strip()!r}"))
    metadata, noticed = _metadata(text, plus)
    return _Header(path, plus, n_records, seconds, declared, width, channels, metadata, (*findings, *noticed))


def _channels(header: _Header, text: str, n: int) -> tuple[_Channel, ...]:
    columns: dict[str, list[str]] = {}
    at = 0
    for name, width in _COLUMNS:
        columns[name] = [text[at + width * k : at + width * (k + 1)] for k in range(n)]
        at += width * n
    channels: list[_Channel] = []
    begin = 0
    for k in range(n):
        one = {name: values[k] for name, values in columns.items()}
        label = one["label"].strip()
        where = f"channel {k + 1} ({printable(label)})"
        size = _integer(header, f"{where}, samples per record", one["samples per record"], 1, 2**24)
        low = high = math.nan
        first = last = 0
        if label != ANNOTATIONS:
            low, high = (
                _number(header, f"{where}, {end}", one[end]) for end in ("physical minimum", "physical maximum")
            )
            first, last = (_digital(header, where, end, one[end]) for end in ("digital minimum", "digital maximum"))
        channels.append(_Channel(label, one["unit"].strip(), (low, high), (first, last), size, begin))
        begin += size
    return tuple(channels)


def _count_records(header: _Header, declared: int, record: int, available: int) -> tuple[int, list[Finding]]:
    """Return the number of records, of `record` bytes each; what the header declares must be what is there."""
    if declared == -1 and available > 0 and available % record == 0:
        n = available // record
        return n, [Finding("length_from_file", "warning", f"the header does not say how many records; {n} found")]
    if declared < 1:
        raise header.fault("number of records", declared, "at least 1")
    if available < declared * record:
        refuse_lying_size(header.path, declared * record, available)
        raise header.fault(
            "size", f"{available} bytes of samples", f"{declared * record}, as the header declares", "truncated"
        )
    if available > declared * record:
        found = f"{available - declared * record} bytes more than the header declares"
        raise header.fault("size", found, "a header that belongs to its samples", "trailing_bytes")
    return declared, []


def _ecg_channels(header: _Header) -> tuple[tuple[str, ...], list[_Channel], list[Finding]]:
    """Return the leads, their channels, and findings about what is left out."""
    leads, channels, findings = [], [], []
    for channel in header.channels:
        lead = known_lead(channel.label)
        if lead is None and re.match(r"E[CK]G\b", channel.label, re.IGNORECASE):
            lead = channel.label
            findings += lead_findings([lead])
        if channel.label == ANNOTATIONS:
            findings.append(Finding("annotations", "note", "annotations in the file are not read"))
        elif lead is None or per_millivolt(channel.unit) is None:
            why = "is no ECG lead" if lead is None else f"is in {channel.unit or 'no unit'}, which is no voltage"
            severity = "note" if lead is None else "warning"
            findings.append(Finding("other_channel", severity, f"channel {channel.label!r} {why}; not read", lead))  # type: ignore[arg-type]
        else:
            _refuse_uncalibrated(header, channel, lead)
            leads.append(lead)
            channels.append(channel)
    if not channels:
        labels = ", ".join(channel.label for channel in header.channels)
        raise header.fault("channels", labels, "at least one ECG lead in uV, mV or V", "no_leads")
    refuse_doubled(header.path, leads)
    if len({channel.n for channel in channels}) > 1:
        rates = ", ".join(f"{lead} {c.n / header.seconds:g} Hz" for lead, c in zip(leads, channels, strict=True))
        raise header.fault("sampling rate", rates, "one rate for all leads", "sampling_rate",
                           fix="export the leads at one rate")  # fmt: skip
    return tuple(leads), channels, findings


def _refuse_uncalibrated(header: _Header, channel: _Channel, lead: str) -> None:
    (low, high), (first, last) = channel.physical, channel.digital
    if low == high or first >= last:
        found = f"{low:g} to {high:g} {channel.unit} for the values {first} to {last}"
        raise header.fault(f"lead {lead}, range", found, "two different ends, rising values", "gain", lead)


def _scale(channel: _Channel) -> Scale:
    (low, high), (first, last) = channel.physical, channel.digital
    slope = (high - low) / (last - first)
    return Scale(slope, low - first * slope, per_millivolt(channel.unit) or math.nan)


def _places(header: _Header, file: BinaryIO, fs: float, n: int) -> tuple[np.ndarray, float, list[Finding]]:
    """Return the first sample of each record on the ECG's grid, the time of sample 0 in s, and findings."""
    straight = n * np.arange(header.n_records, dtype=np.int64)
    clock = next((channel for channel in header.channels if channel.label == ANNOTATIONS), None)
    if not header.plus:
        return straight, 0.0, []
    if clock is None:
        return straight, 0.0, [Finding("no_clock", "warning", "EDF+ without the times of its records")]
    onsets = _onsets(header, file, clock)
    samples = (onsets - onsets[0]) * fs
    places = np.rint(samples).astype(np.int64)
    steps = np.diff(places)
    late = float(np.abs(samples - places).max())
    findings = []
    if late > 0.01:
        findings.append(Finding("off_grid", "warning", f"records begin up to {late:.2g} samples off the grid"))
    if (steps < n).any():
        at = int(np.argmax(steps < n)) + 1
        found = f"record {at + 1} at {onsets[at]:g} s, before the one ahead of it ends"
        raise header.fault("times of the records", found, "records one after the other", "discontinuous")
    gaps = int((steps > n).sum())
    if gaps and header.plus == "C":
        raise header.fault("times of the records", f"{gaps} gaps", "none in EDF+C", "discontinuous")
    if gaps:
        seconds = float((steps - n)[steps > n].sum()) / fs
        findings.append(Finding("discontinuous", "warning", f"{gaps} gaps between records, {seconds:g} s in all"))
    return places, float(onsets[0]), findings


def _onsets(header: _Header, file: BinaryIO, clock: _Channel) -> np.ndarray:
    """Return when each record begins, in s: the first annotation of each says it."""
    if header.n_records > MAX_TIMED_RECORDS:
        raise header.fault("number of records", header.n_records, f"at most {MAX_TIMED_RECORDS} in EDF+", "too_large")
    onsets = np.empty(header.n_records)
    for begin, data in _blocks(header, file):
        for record in range(begin, begin + len(data) // (2 * header.width)):
            at = 2 * ((record - begin) * header.width + clock.begin)
            told = _ONSET.match(data, at, at + min(2 * clock.n, 64))
            if told is None:
                raise header.fault(f"record {record + 1}", "no time", "a time, as EDF+ wants")
            onsets[record] = float(told[1])
    if np.abs(onsets).max() > 1e9:
        raise header.fault("times of the records", f"{np.abs(onsets).max():g} s", "within 1e9 s")
    return onsets


def _blocks(header: _Header, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the number of a record, and the bytes of it and some of the next ones."""
    step = max(1, _BLOCK_BYTES // (2 * header.width))
    file.seek(header.size)
    for begin in range(0, header.n_records, step):
        size = 2 * header.width * min(step, header.n_records - begin)
        data = file.read(size)
        if len(data) < size:
            raise header.fault("content", "changed during reading", "a file at rest", "changed")
        yield begin, data


def _fill(header: _Header, file: BinaryIO, signal: np.ndarray, channels: Sequence[_Channel], scales: Sequence[Scale],
          places: np.ndarray) -> list[int]:  # fmt: skip
    """Read the samples into `signal` [lead, time]; return for each lead how many lie outside its declared range."""
    beyond = [0] * len(channels)
    n = channels[0].n
    for begin, data in _blocks(header, file):
        records = np.frombuffer(data, "<i2").reshape(-1, header.width)
        raw = np.stack([records[:, c.begin : c.begin + c.n] for c in channels], axis=2)  # [record, time, lead]
        for lead, channel in enumerate(channels):
            values = raw[:, :, lead]
            beyond[lead] += int(((values < channel.digital[0]) | (values > channel.digital[1])).sum())
        for first, last in _runs(places[begin : begin + len(records)], n):
            place = places[begin + first]
            stretch = raw[first:last].reshape(-1, len(channels))
            fill_millivolts(signal[:, place : place + len(stretch)], stretch, scales)
    return beyond


def _runs(places: np.ndarray, n: int) -> list[tuple[int, int]]:
    """Return the half-open ranges of records that follow each other without a gap."""
    breaks = np.flatnonzero(np.diff(places) != n) + 1
    edges = [0, *breaks.tolist(), len(places)]
    return list(pairwise(edges))


def _out_of_range(leads: Sequence[str], beyond: Sequence[int]) -> list[Finding]:
    return [
        Finding("digital_range", "warning", f"{count} samples outside the range that the header declares", lead)
        for lead, count in zip(leads, beyond, strict=True)
        if count
    ]


def _metadata(text: str, plus: str) -> tuple[dict[str, Any], list[Finding]]:
    """Return what may be kept of the patient and recording fields, and contradictions between them."""
    metadata: dict[str, Any] = {"format": f"EDF+{plus}" if plus else "EDF"}
    patient, recording = text[8:88].split(), text[88:168].split()
    day, findings = _short_date(text[168:176]), []
    if plus:  # patient: code sex birthdate name; recording: Startdate day ...
        told = _long_date(recording[1]) if len(recording) > 1 and recording[0] == "Startdate" else None
        if told and day and (told.day, told.month, told.year % 100) != (day.day, day.month, day.year % 100):
            findings.append(Finding("date", "warning", f"two days of recording, {told} and {day}; neither is kept"))
            told = day = None
        day = told or day
        sex = {"M": "male", "F": "female"}.get(patient[1]) if len(patient) > 1 else None
        born = _long_date(patient[2]) if len(patient) > 2 else None
        if sex:
            metadata["sex"] = sex
        if (
            born
            and day
            and 0 <= (age := day.year - born.year - ((day.month, day.day) < (born.month, born.day))) <= MAX_AGE
        ):
            metadata["age"] = float(age)
    if day:
        metadata["date"] = day.isoformat()
    return metadata, findings


def _short_date(written: str) -> datetime.date | None:
    """Return the day from dd.mm.yy; 85 to 99 are of the last century, as EDF says. 01.01.85 stands for unknown."""
    match = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)", written, re.ASCII)
    if match is None or written == "01.01.85":
        return None
    day, month, year = map(int, match.groups())
    return _date(year + (1900 if year >= 85 else 2000), month, day)


def _long_date(written: str) -> datetime.date | None:
    """Return the day from dd-MMM-yyyy."""
    match = re.fullmatch(r"(\d\d)-([A-Z]{3})-(\d{4})", written, re.ASCII)
    if match is None or match[2] not in _MONTHS:
        return None
    return _date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _integer(header: _Header, field: str, text: str, low: int, high: int) -> int:
    written = text.strip()
    value = int(written) if _INTEGER.fullmatch(written) else None
    if value is None or not low <= value <= high:
        raise header.fault(field, written or "nothing", f"a whole number from {low} to {high}")
    return value


def _digital(header: _Header, where: str, field: str, text: str) -> int:
    return _integer(header, f"{where}, {field}", text, -(2**15), 2**15 - 1)


def _number(header: _Header, field: str, text: str) -> float:
    written = text.strip()
    value = float(written) if _NUMBER.fullmatch(written) else math.nan
    if not abs(value) <= 1e12:  # NaN and infinity compare as larger
        raise header.fault(field, written or "nothing", "a number")
    return value
