# SPDX-License-Identifier: Apache-2.0
"""GE CardioSoft XML (`<CardiologyXML>`, as in UK Biobank): samples as numbers between commas.

`StripData` is the recording that is printed and read. Median beats, vector loops and the longer unfiltered
`FullDisclosure` are left out and noted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.checks import lead_findings, rate_findings, signal_findings
from ecglens.formats.clinical import age, facts, moment, sex, with_limb_leads
from ecglens.formats.xml import has_root, integers, number, read_xml, text, whole

ROOT = "CardiologyXML"
MAX_LEADS = 64
MAX_SAMPLES = 2**24


def is_cardiosoft(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is a GE CardioSoft XML."""
    return has_root(head, ROOT)


def read_cardiosoft(path: Path) -> ECG:
    """Read a GE CardioSoft XML. Raises FormatError for what contradicts itself, UnsafeError for XML that attacks."""
    path = Path(path)
    root = read_xml(path, ROOT)
    strips = root.findall("StripData")
    if len(strips) != 1:
        raise FormatError(path, "StripData", f"{len(strips)} of them", "one", kind="no_rhythm")
    strip = strips[0]
    fs = number(path, "SampleRate", _in_unit(path, strip, "SampleRate", "Hz"), MIN_FS, MAX_FS, kind="sampling_rate")
    step = number(path, "Resolution", _in_unit(path, strip, "Resolution", "uVperLsb"), 1e-3, 1e3, kind="gain") / 1000
    n_leads = whole(path, "NumberOfLeads", text(strip, "NumberOfLeads"), 1, MAX_LEADS, kind="length")
    declared = text(strip, "ChannelSampleCountTotal")
    n_samples = whole(path, "ChannelSampleCountTotal", declared, 1, MAX_SAMPLES, kind="length")
    stored = strip.findall("WaveformData")
    if len(stored) != n_leads:
        raise FormatError(path, "NumberOfLeads", n_leads, f"{len(stored)}, the leads there are", kind="length")
    names = [_lead_name(path, lead) for lead in stored]
    rows = [_samples(path, name, lead, n_samples) for name, lead in zip(names, stored, strict=True)]
    signal = (np.stack(rows) * step).astype(np.float32)
    metadata, findings = _facts(root)
    findings += rate_findings(fs) + lead_findings(names) + signal_findings(signal, names)
    findings += _left_out(root)
    return with_limb_leads(ECG(signal, fs, tuple(names), path.stem, 0.0, metadata, tuple(findings)))


def _in_unit(path: Path, strip: Element, field: str, unit: str) -> str:
    element = strip.find(field)
    found = "" if element is None else element.get("units", "")
    if found != unit:
        raise FormatError(path, f"unit of {field}", found or "missing", unit, "export the ECG again", kind="units")
    return text(element)


def _lead_name(path: Path, lead: Element) -> str:
    name = lead.get("lead", "").strip()
    if not name:
        raise FormatError(path, "WaveformData", "no lead", "the name of the lead", kind="no_lead_name")
    return name


def _samples(path: Path, name: str, lead: Element, n_samples: int) -> np.ndarray:
    samples = integers(path, f"lead {name}", text(lead), 2**15, ",")
    if samples.size != n_samples:
        raise FormatError(
            path, f"lead {name}, samples", samples.size, f"{n_samples}, as ChannelSampleCountTotal says",
            "export the ECG again", kind="length", lead=name,
        )  # fmt: skip
    return samples


def _left_out(root: Element) -> list[Finding]:
    findings = []
    if root.find("RestingECGMeasurements/MedianSamples") is not None:
        findings.append(Finding("median_beats", "note", "median beats left out: the rhythm is read"))
    if root.find("FullDisclosure") is not None:
        findings.append(Finding("other_waveforms", "note", "the full disclosure left out: the strip is read"))
    return findings


def _facts(root: Element) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; of the patient only age and sex are looked at."""
    person, when = root.find("PatientInfo"), root.find("ObservationDateTime")
    date = [text(when, part) for part in ("Year", "Month", "Day", "Hour", "Minute", "Second")]
    born = [text(person, f"BirthDateTime/{part}") for part in ("Year", "Month", "Day")]
    years = person.find("Age") if person is not None else None
    return facts(
        "GE CardioSoft XML",
        text(root, "ClinicalInfo/DeviceInfo/Desc"),
        moment(*date),
        moment(*born),
        age(text(years), "" if years is None else years.get("units", "")),
        sex(text(person, "Gender")),
    )
