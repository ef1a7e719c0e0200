# SPDX-License-Identifier: Apache-2.0
"""DICOM waveforms (PS3.3 §A.34, §C.10.9): the rhythm of an ECG object, with all that a label or a length gives away.

An object holds one or more multiplex groups: usually the rhythm as recorded (ORIGINAL) and a median beat computed
from it (DERIVED). Read is the longest original group that is no beat; findings name the others. Samples are
(value * sensitivity * correction + baseline) in the channel's unit.

Kept of the person and the visit: age, sex, date, device. Names, identifiers, birth date and time of day are not.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import (
    MAX_LEADS,
    Scale,
    frozen,
    known_lead,
    millivolts,
    per_millivolt,
    refuse_doubled,
    refuse_rate,
    refuse_too_many,
)
from ecglens.formats.checks import lead_findings, odd_scales, rate_findings, signal_findings
from ecglens.formats.clinical import MAX_AGE
from ecglens.formats.dicom_elements import PREAMBLE, DicomFile, Elements, Syntax, items, read_elements, text
from ecglens.formats.dicom_seal import check_seal
from ecglens.shapes import Signal

# Tags, by their names in PS3.6.
SOP_CLASS, SOP_INSTANCE, MEDIA_INSTANCE = 0x00080016, 0x00080018, 0x00020003
DATES = (0x0008002A, 0x00080022, 0x00080023, 0x00080020)  # acquisition (with time), acquisition, content, study
MANUFACTURER, MODEL = 0x00080070, 0x00081090
BIRTH_DATE, SEX, AGE = 0x00100030, 0x00100040, 0x00101010
WAVEFORMS, ORIGINALITY, N_CHANNELS, N_SAMPLES = 0x54000100, 0x003A0004, 0x003A0005, 0x003A0010
RATE, LABEL, GROUP_OFFSET = 0x003A001A, 0x003A0020, 0x00181068
BITS, INTERPRETATION, PADDING, DATA = 0x54001004, 0x54001006, 0x5400100A, 0x54001010
CHANNELS, CHANNEL_LABEL, STATUS, SOURCE = 0x003A0200, 0x003A0203, 0x003A0205, 0x003A0208
SENSITIVITY, UNITS, CORRECTION, BASELINE = 0x003A0210, 0x003A0211, 0x003A0212, 0x003A0213
TIME_SKEW, SAMPLE_SKEW, CHANNEL_OFFSET, BITS_STORED = 0x003A0214, 0x003A0215, 0x003A0218, 0x003A021A
CODE, SCHEME, MEANING = 0x00080100, 0x00080102, 0x00080104

# Number of a lead in SCP-ECG (scheme SCPECG, 5.6.3-9-N) and in IEEE 11073 (scheme MDC, 2:N): the same in both.
LEAD_CODES = {
    1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR",
    3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7", 66: "V8", 67: "V9",
    11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 16: "X", 17: "Y", 18: "Z",
}  # fmt: skip
_CODE = re.compile(r"(?:5\.6\.3-9-|(?:MDC )?2:)(\d{1,3})", re.ASCII)
# How the samples are stored: numpy type and bits. MB and AB (sound, logarithmic) are no ECG.
_TYPES = {"SB": ("i1", 8), "UB": ("u1", 8), "SS": ("i2", 16), "US": ("u2", 16), "SL": ("i4", 32), "UL": ("u4", 32)}
_BEAT = re.compile(r"median|beat|average|representative|template|mean", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,3})?", re.ASCII)
_SHORTEST = 2.0  # s; a derived group below is taken for a beat
_PDF, _WAVES = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.9."
_HEADERLESS = tuple(bytes((group, 0, number, 0)) for group in (2, 8) for number in (0, 1, 2, 5, 8, 16, 18, 20, 22, 24))
_OLDEST = 1950  # a date before any digital recorder stands for "unknown"


class _Channel(NamedTuple):
    """What one channel says: lead (None: no ECG), scale, skew in samples, samples before its first usable one."""

    lead: str | None
    scale: Scale | None
    skew: float
    offset: int
    bits: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Group:
    """One multiplex group: its elements, fs in Hz, and where it stands."""

    path: Path
    number: int
    elements: Elements
    syntax: Syntax

    def fault(self, field: str, found: object, allowed: str, fix: str = "export the recording again",
              kind: str = "dicom", lead: str | None = None) -> FormatError:  # fmt: skip
        return FormatError(self.path, f"waveform {self.number}, {field}", found, allowed, fix, kind=kind, lead=lead)

    def integer(self, tag: int, field: str) -> int:
        value = self.elements.get(tag)
        if value is None or isinstance(value, list) or len(value) not in (2, 4):
            raise self.fault(field, "nothing" if value is None else "no number", "a whole number")
        return int.from_bytes(value, "big" if self.syntax.big_endian else "little")

    def number_in(self, elements: Elements, tag: int, field: str, default: float | None = None,
                  lead: str | None = None) -> float:  # fmt: skip
        written = text(elements, tag)
        if not written and default is not None:
            return default
        if not _NUMBER.fullmatch(written) or not math.isfinite(float(written)):
            raise self.fault(field, written or "nothing", "a number", lead=lead)
        return float(written)

    @property
    def fs(self) -> float:
        return self.number_in(self.elements, RATE, "sampling rate")

    @property
    def n_samples(self) -> int:
        return self.integer(N_SAMPLES, "number of samples")

    @property
    def seconds(self) -> float:
        return self.n_samples / self.fs if self.fs > 0 else 0.0

    @property
    def original(self) -> bool:
        return text(self.elements, ORIGINALITY) == "ORIGINAL"

    @property
    def name(self) -> str:
        label = text(self.elements, LABEL) or text(self.elements, ORIGINALITY) or "no label"
        return f"{self.number} ({label}, {self.seconds:g} s)"


def recognises_dicom(head: bytes, path: Path) -> bool:
    """Tell whether a file begins like DICOM, with the signature or (to be refused with a reason) without."""
    return head[PREAMBLE : PREAMBLE + 4] == b"DICM" or head.startswith(_HEADERLESS)


def read_dicom(path: str | Path) -> ECG:
    """Read the rhythm of a DICOM waveform object as an ECG, float32 [lead, time] in mV; padding becomes NaN.

    metadata: age (years), sex, device, date (day of the recording, without the time).

    Raises FormatError: `content` (a DICOM file that holds no waveform, or no DICOM), `dicom` (damaged), `truncated`,
    `unsupported` (sample types, skew), `units`, `no_rhythm`, `duplicate_lead`, `checksum` (written by ecglens and
    changed since), `too_large`.
    """
    path = Path(path)
    file = read_elements(path)
    check_seal(path, file)
    group, findings = _rhythm(path, file)
    refuse_rate(path, group.fs)
    findings = [*file.findings, *_identity(file), *findings, *rate_findings(group.fs)]
    channels = _channels(group)
    used = [k for k, channel in enumerate(channels) if channel.lead is not None]
    findings += [finding for channel in channels for finding in channel.findings]
    if not used:
        raise group.fault("channels", "no ECG lead", "channels whose source is an ECG lead", kind="no_leads")
    chosen = [channels[k] for k in used]
    leads = tuple(str(channel.lead) for channel in chosen)
    refuse_doubled(path, leads)
    raw = _samples(group, len(channels))
    scales = [channel.scale for channel in chosen if channel.scale is not None]
    findings += [*odd_scales(leads, scales), *_beyond_stored_bits(raw, channels, used)]
    signal = millivolts(raw if len(used) == len(channels) else raw[:, used], scales)
    findings += _blank_padding(signal, raw, used, _padding(group, raw.dtype))
    findings += _shift(group, signal, leads, chosen)
    findings += signal_findings(signal, leads)
    metadata, noticed = _metadata(file.elements)
    start = group.number_in(group.elements, GROUP_OFFSET, "time offset", 0.0) / 1000
    return ECG(frozen(signal), group.fs, leads, path.stem, start, metadata, (*findings, *noticed))


def _rhythm(path: Path, file: DicomFile) -> tuple[_Group, list[Finding]]:
    """Return the group to read, and findings about the others."""
    found = items(file.elements, WAVEFORMS)
    if not found:
        kind = text(file.elements, SOP_CLASS)
        what = "a DICOM file with a PDF in it" if kind == _PDF else f"a DICOM file without waveforms (class {kind})"
        raise FormatError(path, "content", what, "a DICOM waveform object", "export the ECG as a waveform",
                          kind="content")  # fmt: skip
    groups = [_Group(path, number, elements, file.syntax) for number, elements in enumerate(found, 1)]
    rhythms = [g for g in groups if not _BEAT.search(text(g.elements, LABEL)) and (g.original or g.seconds > _SHORTEST)]
    if not rhythms:
        names = ", ".join(group.name for group in groups)
        raise FormatError(path, "waveforms", f"only {names}", "a rhythm as recorded", "export the whole recording",
                          kind="no_rhythm")  # fmt: skip
    group = max(rhythms, key=lambda g: (g.original, g.seconds))
    findings = []
    if not group.original:
        reason = f"waveform {group.name} is read; it is not marked as the original recording"
        findings.append(Finding("derived_group", "warning", reason))
    left = [other for other in groups if other is not group]
    if left:
        grave = any(other in rhythms and other.original for other in left)
        reason = f"waveform {group.name} is read, not {', '.join(other.name for other in left)}"
        findings.append(Finding("other_groups", "warning" if grave else "note", reason))
    return group, findings


def _identity(file: DicomFile) -> list[Finding]:
    """Compare what the object says of itself twice."""
    findings = []
    if text(file.meta, MEDIA_INSTANCE) != text(file.elements, SOP_INSTANCE):
        findings.append(Finding("identity", "warning", "header and object carry different instance UIDs"))
    if not text(file.elements, SOP_CLASS).startswith(_WAVES):
        reason = f"class {text(file.elements, SOP_CLASS)} is no DICOM waveform of an ECG"
        findings.append(Finding("sop_class", "warning", reason))
    return findings


def _samples(group: _Group, n_channels: int) -> np.ndarray:
    """Return the samples as stored, [time, channel]. Sizes are compared before anything is allocated."""
    interpretation, bits = text(group.elements, INTERPRETATION), group.integer(BITS, "bits allocated")
    declared = group.integer(N_CHANNELS, "number of channels")
    if declared != n_channels:
        raise group.fault("number of channels", f"{declared}, {n_channels} described", "as many as are described")
    if interpretation not in _TYPES:
        raise group.fault("sample interpretation", interpretation or "nothing", ", ".join(_TYPES), kind="unsupported")
    code, needed = _TYPES[interpretation]
    if bits != needed:
        raise group.fault("bits allocated", f"{bits} for {interpretation}", f"{needed} for {interpretation}")
    data = group.elements.get(DATA)
    size = len(data) if data is not None and not isinstance(data, list) else 0
    expected = group.n_samples * n_channels * bits // 8
    if not expected or size != expected + expected % 2:  # values have an even length
        found = f"{size} bytes of samples"
        raise group.fault("waveform data", found, f"the {expected} bytes that are declared", kind="truncated")
    refuse_too_many(group.path, n_channels, group.n_samples)
    order = ">" if group.syntax.big_endian else "<"
    raw = np.frombuffer(data, f"{order}{code}", group.n_samples * n_channels)  # type: ignore[arg-type]
    return raw.reshape(-1, n_channels)


def _padding(group: _Group, kind: np.dtype) -> int | None:
    """Return the value that stands for a missing sample, or None where there is none."""
    value = group.elements.get(PADDING)
    if value is None or isinstance(value, list) or len(value) == 0:
        return None
    if len(value) < kind.itemsize:
        raise group.fault("padding value", f"{len(value)} bytes", f"{kind.itemsize} bytes, like a sample")
    return int(np.frombuffer(value, kind, 1)[0])


def _blank_padding(signal: Signal, raw: np.ndarray, used: Sequence[int], padding: int | None) -> list[Finding]:
    """Make a gap of every sample that is padding.

    Some recorders declare 0, which real samples have too. Such a value is padding only where all channels have it.
    """
    if padding is None:
        return []
    missing = raw == padding
    if not missing.any():
        return []
    others = raw[~missing]
    if not others.size or not others.min() < padding < others.max():
        signal[missing[:, used].T] = np.nan
        return []
    blank = missing.all(axis=1) if raw.shape[1] > 2 else np.zeros(len(raw), bool)
    signal[:, blank] = np.nan
    reason = f"the padding value {padding} lies among the samples, so only what all channels lack is missing"
    return [Finding("padding_value", "note", f"{reason} ({int(blank.sum())} samples)")]


def _channels(group: _Group) -> list[_Channel]:
    described = items(group.elements, CHANNELS)
    if not 0 < len(described) <= MAX_LEADS:
        raise group.fault("channels", f"{len(described)} described", f"1 to {MAX_LEADS}")
    return [_channel(group, number, elements) for number, elements in enumerate(described, 1)]


def _channel(group: _Group, number: int, elements: Elements) -> _Channel:
    lead, findings = _lead(group, number, elements)
    unit = text(_first(elements, UNITS), CODE)
    if lead is None or (unit and per_millivolt(unit) is None):
        reason = f"channel {number} ({lead or 'no ECG lead'}, in {unit or 'no unit'}) is not read"
        return _Channel(None, None, 0.0, 0, 0, (*findings, Finding("other_channel", "warning", reason, lead)))
    status = text(elements, STATUS)
    if status not in ("", "OK"):
        findings.append(Finding("channel_status", "warning", f"the recorder says {status} of this channel", lead))
    scale = _scale(group, elements, lead, unit)
    skew = group.number_in(elements, SAMPLE_SKEW, "sample skew", 0.0, lead)
    if not text(elements, SAMPLE_SKEW):
        skew = group.number_in(elements, TIME_SKEW, "time skew", 0.0, lead) * group.fs
    offset = group.number_in(elements, CHANNEL_OFFSET, "channel offset", 0.0, lead)
    if lead == "-aVR":
        lead, scale = "aVR", Scale(-scale.slope, -scale.offset, scale.per_millivolt)
        findings.append(Finding("inverted_lead", "note", "recorded as -aVR, turned over", lead))
    bits = _stored_bits(elements, group.syntax)
    return _Channel(lead, scale, skew, max(0, round(offset)), bits, tuple(findings))


def _scale(group: _Group, elements: Elements, lead: str, unit: str) -> Scale:
    parts = per_millivolt(unit)
    if parts is None or not text(elements, SENSITIVITY):
        raise group.fault(
            f"lead {lead}, sensitivity", "not calibrated: no sensitivity or no unit", "a sensitivity in uV, mV or V",
            "export the recording with its calibration", kind="units", lead=lead,
        )  # fmt: skip
    slope = group.number_in(elements, SENSITIVITY, f"lead {lead}, sensitivity", lead=lead)
    slope *= group.number_in(elements, CORRECTION, f"lead {lead}, correction factor", 1.0, lead)
    offset = group.number_in(elements, BASELINE, f"lead {lead}, baseline", 0.0, lead)
    if not 1e-9 <= abs(slope) / parts <= 1e3 or abs(offset) / parts > 1e6:
        raise group.fault(f"lead {lead}, sensitivity", f"{slope:g} {unit} a step from {offset:g}", "1e-9 to 1000 mV",
                          kind="gain", lead=lead)  # fmt: skip
    return Scale(slope, offset, parts)


def _lead(group: _Group, number: int, elements: Elements) -> tuple[str | None, list[Finding]]:
    """Return the lead of a channel by its code, else by the words beside it; the two must not contradict."""
    source = _first(elements, SOURCE)
    coded = _CODE.fullmatch(text(source, CODE))
    by_code = LEAD_CODES.get(int(coded[1])) if coded else None
    words = text(source, MEANING) or text(elements, CHANNEL_LABEL)
    inverted = re.search(r"[-\u2212]\s*aVR", words, re.IGNORECASE) is not None
    by_words = "-aVR" if inverted else known_lead(words) or known_lead(text(elements, CHANNEL_LABEL))
    if by_code and by_words and by_code != by_words:
        raise group.fault(f"channel {number}", f"code of {by_code}, but the words {words!r}", "one lead",
                          "find out which is right", kind="lead_conflict", lead=by_code)  # fmt: skip
    lead = by_code or by_words
    if lead is not None or not words or per_millivolt(text(_first(elements, UNITS), CODE)) is None:
        return lead, []
    name = words[:32]
    return name, lead_findings([name])


def _first(elements: Elements, tag: int) -> Elements:
    """Return the first item of a sequence, an empty one where there is none."""
    found = items(elements, tag)
    return found[0] if found else {}


def _stored_bits(elements: Elements, syntax: Syntax) -> int:
    """Return the bits that a channel uses of each sample, 0 where it does not say."""
    value = elements.get(BITS_STORED)
    if value is None or isinstance(value, list) or len(value) != 2:
        return 0
    return int.from_bytes(value, "big" if syntax.big_endian else "little")


def _beyond_stored_bits(raw: np.ndarray, channels: Sequence[_Channel], used: Sequence[int]) -> list[Finding]:
    """Flag samples that need more bits than the channel says it uses."""
    findings = []
    for k in used:
        bits, total = channels[k].bits, 8 * raw.dtype.itemsize
        if bits > total:
            findings.append(Finding("stored_bits", "warning", f"{bits} bits in samples of {total}", channels[k].lead))
        elif 0 < bits < total:
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if raw.dtype.kind == "i" else (0, 2**bits - 1)
            if raw[:, k].min() < low or raw[:, k].max() > high:
                reason = f"samples beyond the {bits} bits that the channel uses"
                findings.append(Finding("stored_bits", "warning", reason, channels[k].lead))
    return findings


def _shift(group: _Group, signal: Signal, leads: Sequence[str], channels: Sequence[_Channel]) -> list[Finding]:
    """Blank what lies before a channel's first usable sample; refuse channels that are not simultaneous."""
    findings = []
    for row, lead, channel in zip(signal, leads, channels, strict=True):
        if channel.offset:
            row[: channel.offset] = np.nan
            reason = f"the first {channel.offset} samples are not usable, says the file; they are a gap"
            findings.append(Finding("channel_offset", "warning", reason, lead))
    skews = [channel.skew for channel in channels]
    spread = max(skews) - min(skews)
    if spread > 1 or max(map(abs, skews)) > group.n_samples:
        raise group.fault("skew", f"channels up to {spread:g} samples apart", "at most one sample", kind="unsupported")
    if spread > 0:
        reason = f"channels were sampled up to {1000 * spread / group.fs:.3g} ms apart; not corrected"
        findings.append(Finding("skew", "warning", reason))
    return findings


def _metadata(elements: Elements) -> tuple[dict[str, Any], list[Finding]]:
    metadata: dict[str, Any] = {"format": "DICOM waveform"}
    findings = []
    day = next((found for tag in DATES if (found := _day(text(elements, tag)))), None)
    age, reason = _age(text(elements, AGE), _day(text(elements, BIRTH_DATE), 1850), day)
    if reason:
        findings.append(Finding("age", "warning", reason))
    sex = {"M": "male", "F": "female"}.get(text(elements, SEX))
    parts = [text(elements, tag) for tag in (MANUFACTURER, MODEL)]
    device = " ".join(part for part in parts if part.isprintable() and part)[:64]
    for key, value in (("age", age), ("sex", sex), ("device", device), ("date", day and day.isoformat())):
        if value:
            metadata[key] = value
    return metadata, findings


def _day(written: str, oldest: int = _OLDEST) -> datetime.date | None:
    """Return the day of a DICOM date or date and time."""
    if not re.fullmatch(r"\d{8}(?:[\d.+-]*)", written, re.ASCII):
        return None
    try:
        day = datetime.date(int(written[:4]), int(written[4:6]), int(written[6:8]))
    except ValueError:
        return None
    return day if day.year >= oldest else None


def _age(written: str, born: datetime.date | None, day: datetime.date | None) -> tuple[float | None, str]:
    """Return the age in years, and what is wrong with it; above 89 it stays a number."""
    match = re.fullmatch(r"(\d{3})([YMWD])", written, re.ASCII)
    days = {"Y": 365.25, "M": 365.25 / 12, "W": 7.0, "D": 1.0}
    told = None if match is None else int(match[1]) * days[match[2]] / 365.25
    wrong = f"{written!r} is no age" if written and match is None else ""
    computed = None
    if born is not None and day is not None:
        computed = float(day.year - born.year - ((day.month, day.day) < (born.month, born.day)))
    if told is not None and computed is not None and abs(told - computed) > 1.5:
        wrong = f"the age {told:g} and the date of birth ({computed:g} years) contradict each other"
    age = told if told is not None else computed
    if age is not None and not 0 <= age <= MAX_AGE:
        return None, f"an age of {age:g} years is not kept"
    return age, wrong
