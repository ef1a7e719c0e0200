# SPDX-License-Identifier: Apache-2.0
"""Philips Sierra XML (`<restingecgdata>`, PageWriter and TraceMasterVue), versions 1.03 to 1.04.02.

The samples stand in `<parsedwaveforms>`: 16-bit integers in base64, as text, or compressed by Philips' XLI: per lead
LZW with codes of 10 bits, high bytes before low bytes, second differences, and of III, aVR, aVL and aVF only what is
left after predicting them from I and II. The prediction halves with truncation towards 0, as the encoder did (its
residuals are symmetric about 0 that way and no other; rounding down, as ecgdatakit
2.0.3 does, is a step off in every third sample).
The recorder's calibration pulse behind the ECG is cut off and noted, the representative beats are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.checks import lead_findings, rate_findings, signal_findings
from ecglens.formats.clinical import age, facts, moment, sex, with_limb_leads
from ecglens.formats.xml import base64_bytes, has_root, integers, number, read_xml, text, whole
from ecglens.leads import LIMB_LEADS, STANDARD_LEADS, canonical_lead

ROOT = "restingecgdata"
VERSIONS = frozenset(("1.03", "1.04", "1.04.01", "1.04.02"))
DOCUMENTS = frozenset(("SierraECG", "PhilipsECG"))
MAX_LEADS = 16
MAX_SAMPLES = 2**20  # per lead
MIN_PULSE = 0.1  # s
CALIBRATION = 1.0  # mV

_CODE_BITS = 10
_LAST_CODE, _END = 1022, 1023
_CHUNK_HEADER = 8
_FALSE, _TRUE = ("false", "f", "no", "0"), ("true", "t", "yes", "1")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)", re.ASCII)


class _Layout(NamedTuple):
    """What the file says about its samples; `step` in mV per unit, `zero` the unit that stands for 0 mV."""

    leads: tuple[str, ...]
    n_samples: int
    fs: float
    step: float
    zero: int
    signed: bool


def is_sierra(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is a Philips Sierra XML."""
    return has_root(head, ROOT)


def read_sierra(path: Path) -> ECG:
    """Read a Philips Sierra XML. Raises FormatError for what contradicts itself, UnsafeError for XML that attacks."""
    path = Path(path)
    root = read_xml(path, ROOT)
    document = text(root, "documentinfo/documenttype"), text(root, "documentinfo/documentversion")
    if document[0] not in DOCUMENTS or document[1] not in VERSIONS:
        allowed = f"{' or '.join(sorted(DOCUMENTS))}, {', '.join(sorted(VERSIONS))}"
        raise FormatError(path, "document version", " ".join(document), allowed, kind="unsupported")
    parsed = root.findall("waveforms/parsedwaveforms")
    if len(parsed) != 1:
        raise FormatError(path, "parsedwaveforms", f"{len(parsed)} of them", "one", kind="no_rhythm")
    layout = _layout(path, parsed[0], root.find("dataacquisition/signalcharacteristics"))
    raw = _samples(path, parsed[0], layout)
    signal = ((raw - layout.zero) * layout.step).astype(np.float32)
    signal, findings = _without_calibration(signal, layout.fs)
    if root.find("waveforms/repbeats") is not None:
        findings.append(Finding("median_beats", "note", "representative beats left out: the rhythm is read"))
    findings += rate_findings(layout.fs) + lead_findings(layout.leads)
    findings += signal_findings(signal, layout.leads)
    metadata, noticed = _facts(root)
    ecg = ECG(signal, layout.fs, layout.leads, path.stem, 0.0, metadata, tuple(findings + noticed))
    return with_limb_leads(ecg)


def _layout(path: Path, parsed: Element, described: Element | None) -> _Layout:
    def one(field: str, *names: str, default: str = "") -> str:
        """Return what a field says, by whichever of its names, as attribute or element; refuse two answers."""
        found = {parsed.get(name, "").strip() for name in names} | {text(described, name) for name in names}
        found = {value for value in found if value} or {default}
        values = {_as_number(value) for value in found}
        if len(values) > 1:
            raise FormatError(path, field, " and ".join(sorted(found)), "one value", kind="contradiction")
        return max(found)

    rate = one("sampling rate", "samplespersecond", "samplingrate")
    fs = number(path, "sampling rate", rate, MIN_FS, MAX_FS, kind="sampling_rate")
    resolution = one("resolution", "resolution", "signalresolution")
    step = number(path, "resolution in uV", resolution, 1e-3, 1e3, kind="gain") / 1000
    zero = whole(path, "signaloffset", one("signaloffset", "signaloffset", default="0"), -(2**16), 2**16)
    if whole(path, "bitspersample", one("bitspersample", "bitspersample", "nbitspersample"), 1, 64) != 16:
        raise FormatError(
            path, "bitspersample", one("bits", "bitspersample", "nbitspersample"), "16", kind="unsupported"
        )
    signed = one("signalsigned", "signalsigned", default="True").lower()
    if signed not in _TRUE + _FALSE:
        raise FormatError(path, "signalsigned", signed, "True or False", kind="number")
    names = _lead_names(path, parsed, described)
    milliseconds = parsed.get("durationperchannel", "")
    n_samples = number(path, "durationperchannel", milliseconds, 1, 1e8, kind="length") * fs / 1000
    if not n_samples.is_integer() or not 1 <= n_samples <= MAX_SAMPLES:
        found = f"{milliseconds} ms, {n_samples:g} samples"
        raise FormatError(path, "durationperchannel", found, f"1 to {MAX_SAMPLES} whole samples", kind="length")
    return _Layout(names, int(n_samples), fs, step, zero, signed in _TRUE)


def _as_number(written: str) -> float | str:
    try:
        return float(written)
    except ValueError:
        return written.lower()


def _lead_names(path: Path, parsed: Element, described: Element | None) -> tuple[str, ...]:
    """Return the names of the leads that are stored, from their list or from the name of a set of twelve."""
    counts = [parsed.get("numberofleads", ""), text(described, "numberchannelsvalid")]
    counts = [count for count in counts if count] or [""]
    n_leads = whole(path, "number of leads", counts[0], 1, MAX_LEADS, kind="length")
    if any(count.lstrip("0") != str(n_leads) for count in counts):
        raise FormatError(path, "number of leads", " and ".join(counts), "one value", kind="contradiction")
    names = parsed.get("leadlabels", "").split()
    if not names:
        kind = text(described, "acquisitiontype") or text(described, "leadset")
        names = list(STANDARD_LEADS) if kind in ("STD-12", "10-WIRE") and n_leads == 12 else []
    if len(names) < n_leads:
        found = f"{len(names)} names for {n_leads} leads"
        raise FormatError(path, "leadlabels", found, "a name for each lead", kind="no_lead_name")
    return tuple(canonical_lead(name) for name in names[:n_leads])


def _samples(path: Path, parsed: Element, layout: _Layout) -> np.ndarray:
    """Return the samples, int64 [lead, time]; there are as many as declared."""
    encoding = parsed.get("dataencoding", "")
    method = parsed.get("compression") or parsed.get("compressmethod") or ""
    if parsed.get("compressflag", "").strip().lower() in _FALSE or method.lower() in ("uncompressed", "none"):
        method = ""
    if method and (method.upper() != "XLI" or encoding != "Base64"):
        raise FormatError(path, "compression", f"{method}, {encoding}", "XLI in Base64, or none", kind="unsupported")
    if method:
        return _xli(path, base64_bytes(path, "parsedwaveforms", text(parsed)), layout)
    shape = len(layout.leads), layout.n_samples
    if encoding == "Base64":
        data = base64_bytes(path, "parsedwaveforms", text(parsed))
        _refuse_length(path, len(data), 2 * shape[0] * shape[1], "bytes")
        return np.frombuffer(data, "<i2" if layout.signed else "<u2").astype(np.int64).reshape(shape)
    if encoding == "Plain":
        samples = integers(path, "parsedwaveforms", text(parsed), 2**16)
        _refuse_length(path, samples.size, shape[0] * shape[1], "samples")
        return samples.reshape(shape)
    raise FormatError(path, "dataencoding", encoding or "missing", "Base64 or Plain", kind="unsupported")


def _refuse_length(path: Path, found: int, declared: int, what: str) -> None:
    if found != declared:
        allowed = f"{declared}, as leads and duration say"
        raise FormatError(path, f"parsedwaveforms, {what}", found, allowed, "export the ECG again", kind="length")


def _xli(path: Path, data: bytes, layout: _Layout) -> np.ndarray:
    """Return the samples, int64 [lead, time], of XLI data: a chunk per channel, empty channels behind the leads."""
    rows: list[np.ndarray] = []
    at = n_chunks = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        first = int.from_bytes(data[at + 6 : at + 8], "little", signed=True)
        begin, at = at + _CHUNK_HEADER, at + _CHUNK_HEADER + size
        n_chunks += 1
        if not size or at > len(data) or n_chunks > MAX_LEADS:
            found = f"{size} bytes in chunk {n_chunks}"
            allowed = f"up to {max(len(data) - begin, 0)}, and up to {MAX_LEADS} chunks"
            raise FormatError(path, "XLI chunk", found, allowed, "export the ECG again", kind="compression")
        unpacked = _lzw(path, data[begin:at], 2 * layout.n_samples)
        if len(rows) < len(layout.leads):
            rows.append(_undo_differences(path, unpacked, first))
    if len(rows) < len(layout.leads):
        raise FormatError(path, "XLI chunks", n_chunks, f"{len(layout.leads)}, one per lead", kind="length")
    if layout.leads[:6] == LIMB_LEADS:
        _undo_prediction(rows)
    samples = np.stack(rows)
    if np.abs(samples).max() >= 2**15:
        raise FormatError(
            path, "XLI samples", "beyond 16 bits", "16 bits", "the file is damaged: export it again", kind="compression"
        )
    return samples


def _lzw(path: Path, data: bytes, n_bytes: int) -> bytes:
    """Return exactly `n_bytes` bytes that LZW with 10-bit codes, highest bit first, packed into `data`."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    n_codes = bits.size // _CODE_BITS
    codes = bits[: n_codes * _CODE_BITS].reshape(n_codes, _CODE_BITS) @ (1 << np.arange(_CODE_BITS)[::-1])
    table = [bytes((value,)) for value in range(256)]
    parts, unpacked, previous = [], 0, b""
    for at, code in enumerate(codes.tolist()):
        if code == _END or unpacked > n_bytes:
            n_codes = at + 1
            break
        if code > len(table) or (code == len(table) and not previous):
            raise FormatError(
                path, "XLI data", f"code {code} before its definition", f"up to {len(table)}",
                "the file is damaged: export it again", kind="compression",
            )  # fmt: skip
        entry = table[code] if code < len(table) else previous + previous[:1]
        if previous and len(table) <= _LAST_CODE:
            table.append(previous + entry[:1])
        parts.append(entry)
        unpacked += len(entry)
        previous = entry
    unread = bits.size - n_codes * _CODE_BITS
    if unpacked != n_bytes or unread >= 32:
        found = f"{unpacked} bytes unpacked, {unread} bits left"
        raise FormatError(path, "XLI data", found, f"{n_bytes} bytes, as the duration says", kind="length")
    return b"".join(parts)


def _undo_differences(path: Path, unpacked: bytes, first: int) -> np.ndarray:
    """Return the samples of one channel, int64 [time], from second differences.

    Each code holds the difference for the sample after it: x[i] = 2 x[i-1] - x[i-2] - (code[i-1] - 64), the first
    one standing in the chunk's header.
    """
    half = len(unpacked) // 2
    high, low = (np.frombuffer(part, np.uint8).astype(np.uint16) for part in (unpacked[:half], unpacked[half:]))
    codes = (high << 8 | low).astype(np.int16).astype(np.int64)
    if codes.size < 3:
        return codes
    bends = np.concatenate([[first], codes[2:-1] - 64])
    slopes = np.concatenate([[codes[1] - codes[0]], -bends]).cumsum()
    return np.concatenate([[codes[0]], codes[0] + slopes.cumsum()])


def _undo_prediction(rows: list[np.ndarray]) -> None:
    """Turn what is stored for III, aVR, aVL and aVF, in place, into samples."""
    one, two = rows[0], rows[1]
    three = rows[2] = two - one - rows[2]
    rows[3] = -rows[3] - _half(one + two)
    rows[4] = _half(one - three) - rows[4]
    rows[5] = _half(two + three) - rows[5]


def _half(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * (np.abs(values) // 2)


def _without_calibration(signal: np.ndarray, fs: float) -> tuple[np.ndarray, list[Finding]]:
    """Cut off a calibration pulse behind the ECG: to the end, all leads are the same and either 0 or 1 mV."""
    row = signal[0]
    common = (signal == row).all(axis=0) & ((row == 0) | (np.abs(row - CALIBRATION) < 0.01))
    others = np.flatnonzero(~common)
    begin = int(others[-1]) + 1 if others.size else 0
    if len(signal) < 3 or not begin or (row[begin:] > 0).sum() < MIN_PULSE * fs:
        return signal, []
    reason = f"the last {(row.size - begin) / fs:.2f} s are the recorder's calibration pulse of 1 mV: cut off"
    return signal[:, :begin], [Finding("calibration_pulse", "note", reason)]


def _facts(root: Element) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; of the patient only age and sex are looked at."""
    acquired, person = root.find("dataacquisition"), root.find("patient/generalpatientdata")
    date, time = ("", "") if acquired is None else (acquired.get("date", ""), acquired.get("time", ""))
    return facts(
        "Philips Sierra XML",
        text(acquired, "machine"),
        _moment(date, time),
        _moment(text(person, "age/dateofbirth") or text(person, "dateofbirth"), ""),
        age(text(person, "age/years"), "years"),
        sex(text(person, "sex")),
    )


def _moment(date: str, time: str) -> Any:
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    return moment(*day.groups(), *(clock.groups() if clock else ())) if day else None
