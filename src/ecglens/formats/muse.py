# SPDX-License-Identifier: Apache-2.0
"""GE MUSE XML (`<RestingECG>`): 16-bit samples in base64, each lead with its length, unit and CRC-32.

MUSE stores eight leads (I, II, V1 to V6); the other limb leads are derived and noted. The first waveform of most
files is the median beat; it is the one of type Rhythm that is read.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.checks import lead_findings, limb_findings, rate_findings, scale_findings
from ecglens.formats.clinical import age, facts, moment, sex, with_limb_leads
from ecglens.formats.xml import base64_bytes, has_root, number, read_xml, text, whole

ROOT = "RestingECG"
MAX_LEADS = 64
MAX_SAMPLES = 2**22

_MILLIVOLTS = {"MICROVOLTS": 1e-3, "MILLIVOLTS": 1.0}


def is_muse(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is a GE MUSE XML."""
    return has_root(head, ROOT)


def read_muse(path: Path) -> ECG:
    """Read a GE MUSE XML. Raises FormatError for what contradicts itself, UnsafeError for XML that attacks."""
    path = Path(path)
    root = read_xml(path, ROOT)
    waveform, findings = _rhythm(path, root)
    exponent = whole(path, "SampleExponent", text(waveform, "SampleExponent") or "0", -6, 6, kind="sampling_rate")
    base = number(path, "SampleBase", text(waveform, "SampleBase"), 1, 1e9, kind="sampling_rate")
    fs = number(path, "sampling rate", f"{base * 10.0**exponent:.12g}", MIN_FS, MAX_FS, kind="sampling_rate")
    stored = waveform.findall("LeadData")
    declared = whole(path, "NumberofLeads", text(waveform, "NumberofLeads"), 1, MAX_LEADS, kind="length")
    if declared != len(stored):
        raise FormatError(path, "NumberofLeads", declared, f"{len(stored)}, the leads there are", kind="length")
    names = [_lead_name(path, lead) for lead in stored]
    samples = [_samples(path, name, lead) for name, lead in zip(names, stored, strict=True)]
    lengths = {row.size for row in samples}
    if len(lengths) != 1:
        found = f"{min(lengths)} to {max(lengths)} samples in a lead"
        raise FormatError(path, "LeadSampleCountTotal", found, "as many in each lead", kind="length")
    scales = [_scale(path, name, lead) for name, lead in zip(names, stored, strict=True)]
    signal = np.stack([row * scale for row, scale in zip(samples, scales, strict=True)]).astype(np.float32)
    findings += rate_findings(fs) + lead_findings(names) + scale_findings(names, scales, [0.0] * len(names))
    findings += limb_findings(signal, names) + _flags(names, stored)
    metadata, noticed = _facts(root)
    return with_limb_leads(ECG(signal, fs, tuple(names), path.stem, 0.0, metadata, tuple(findings + noticed)))


def _rhythm(path: Path, root: Element) -> tuple[Element, list[Finding]]:
    waveforms = root.findall("Waveform")
    kinds = [text(waveform, "WaveformType").lower() for waveform in waveforms]
    rhythms = [waveform for waveform, kind in zip(waveforms, kinds, strict=True) if kind == "rhythm"]
    if len(rhythms) != 1:
        found = f"{len(rhythms)} of type Rhythm, of {len(waveforms)}"
        raise FormatError(path, "waveforms", found, "one of type Rhythm", kind="no_rhythm")
    sampling = text(rhythms[0], "SampleType").upper()
    if sampling not in ("", "CONTINUOUS_SAMPLES"):
        raise FormatError(path, "SampleType", sampling, "CONTINUOUS_SAMPLES", kind="unsupported")
    others = [kind for kind in kinds if kind != "rhythm"]
    if set(others) - {"median"}:
        return rhythms[0], [Finding("other_waveforms", "warning", "waveforms of an unknown type left out")]
    note = Finding("median_beats", "note", "median beats left out: the rhythm is read")
    return rhythms[0], [note] if others else []


def _lead_name(path: Path, lead: Element) -> str:
    name = text(lead, "LeadID")
    if not name:
        raise FormatError(path, "LeadID", "missing", "the name of the lead", kind="no_lead_name")
    return name


def _samples(path: Path, name: str, lead: Element) -> np.ndarray:
    """Return the samples of one lead, int16 [time]; every declared length and the CRC-32 agree with them."""
    size = whole(path, f"lead {name}, LeadSampleSize", text(lead, "LeadSampleSize"), 1, 8, kind="length")
    if size != 2:
        raise FormatError(path, f"lead {name}, LeadSampleSize", size, "2 bytes", kind="unsupported", lead=name)
    data = base64_bytes(path, f"lead {name}, WaveFormData", text(lead, "WaveFormData"))
    for field, found in (("LeadByteCountTotal", len(data)), ("LeadSampleCountTotal", len(data) / size)):
        declared = whole(path, f"lead {name}, {field}", text(lead, field), 1, 2 * MAX_SAMPLES, kind="length")
        if declared != found:
            raise FormatError(
                path, f"lead {name}, {field}", declared, f"{found:g}, what the lead holds", "export the ECG again",
                kind="length", lead=name,
            )  # fmt: skip
    checksum = text(lead, "LeadDataCRC32")
    if checksum and whole(path, f"lead {name}, LeadDataCRC32", checksum, 0, 2**32 - 1) != zlib.crc32(data):
        raise FormatError(
            path, f"lead {name}, LeadDataCRC32", checksum, f"{zlib.crc32(data)}, that of the samples",
            "the file is damaged: export the ECG again", kind="checksum", lead=name,
        )  # fmt: skip
    return np.frombuffer(data, "<i2")


def _scale(path: Path, name: str, lead: Element) -> float:
    """Return mV per unit of a lead's samples."""
    unit = text(lead, "LeadAmplitudeUnits").upper()
    if unit not in _MILLIVOLTS:
        raise FormatError(
            path, f"lead {name}, LeadAmplitudeUnits", unit or "missing", ", ".join(_MILLIVOLTS), kind="units", lead=name
        )
    written = text(lead, "LeadAmplitudeUnitsPerBit")
    return number(path, f"lead {name}, LeadAmplitudeUnitsPerBit", written, 1e-6, 1e4, kind="gain") * _MILLIVOLTS[unit]


def _flags(names: list[str], stored: list[Element]) -> list[Finding]:
    """Return what the leads' own fields say about them."""
    findings = []
    for name, lead in zip(names, stored, strict=True):
        if text(lead, "LeadOff").upper() == "TRUE":
            findings.append(Finding("lead_off", "warning", "the recorder says that the electrode was off", name))
        for field in ("LeadTimeOffset", "LeadOffsetFirstSample", "FirstSampleBaseline"):
            if text(lead, field) not in ("", "0"):
                findings.append(Finding("offset", "warning", f"{field} {text(lead, field)} is not applied", name))
    missing = [name for name, lead in zip(names, stored, strict=True) if not text(lead, "LeadDataCRC32")]
    if missing:
        reason = f"no checksum for {', '.join(missing)}: damage would go unseen"
        findings.append(Finding("no_checksum", "warning", reason))
    return findings


def _facts(root: Element) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; of the patient only age and sex are looked at. Dates are month-day-year."""
    person, test = root.find("PatientDemographics"), root.find("TestDemographics")
    return facts(
        "GE MUSE XML",
        text(test, "AcquisitionDevice"),
        _moment(text(test, "AcquisitionDate"), text(test, "AcquisitionTime")),
        _moment(text(person, "DateofBirth"), ""),
        age(text(person, "PatientAge"), text(person, "AgeUnits")),
        sex(text(person, "Gender")),
    )


def _moment(date: str, time: str) -> Any:
    month, _, rest = date.partition("-")
    day, _, year = rest.partition("-")
    return moment(year, month, day, *(time.split(":") if time else ()))
