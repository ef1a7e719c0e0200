# SPDX-License-Identifier: Apache-2.0
"""HL7 annotated ECG (aECG), the format of drug trials: XML with the samples as decimal digits.

Read as the aECG implementation guide (2005) lays it out: a series of code RHYTHM holds one sequence set, which holds
one time sequence (a first time and an increment) and one sequence per lead; mV = origin + scale * digit. The
representative beat, annotations and everything about the trial and its people are left out.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import MILLIVOLTS
from ecglens.formats.checks import lead_findings, rate_findings, scale_findings, signal_findings
from ecglens.formats.clinical import age, facts, moment, sex, with_limb_leads
from ecglens.formats.xml import has_root, integers, number, read_xml, text

ROOT = "AnnotatedECG"
MAX_LEADS = 64
MAX_DIGIT = 2**31
REPORTED_AGE = "21612-7"  # LOINC

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMESTAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(?:\.\d{1,9})?(?:[-+]\d{4})?", re.ASCII)
_LEAD = re.compile(r"(?:MDC|MINDRAY|PRO|[A-Z]{2,12})_ECG_LEAD_(\w{1,16})", re.ASCII)


def is_aecg(head: bytes, path: Path) -> bool:
    """Tell whether a file that begins with `head` is an HL7 aECG."""
    return has_root(head, ROOT)


def read_aecg(path: Path) -> ECG:
    """Read an HL7 aECG. Raises FormatError for what contradicts itself, UnsafeError for XML that attacks."""
    path = Path(path)
    root = read_xml(path, ROOT)
    series, findings = _rhythm(path, root)
    sets = series.findall("component/sequenceSet")
    if len(sets) != 1:
        raise FormatError(
            path, "sequence sets", len(sets), "one, of leads recorded together", "export the leads as one set",
            kind="unsupported",
        )  # fmt: skip
    sequences = [(_code(sequence), sequence.find("value")) for sequence in sets[0].findall("component/sequence")]
    times = [value for code, value in sequences if code.startswith("TIME_")]
    leads = [(code, value) for code, value in sequences if not code.startswith("TIME_")]
    if len(times) != 1 or not 1 <= len(leads) <= MAX_LEADS:
        found = f"{len(times)} time sequences, {len(leads)} leads"
        raise FormatError(path, "sequences", found, f"one time sequence, 1 to {MAX_LEADS} leads", kind="layout")
    fs = _rate(path, times[0])
    names = [_lead_name(path, code) for code, _ in leads]
    rows = [_lead(path, name, value) for name, (_, value) in zip(names, leads, strict=True)]
    lengths = {row[0].size for row in rows}
    if len(lengths) != 1:
        raise FormatError(
            path, "digits", f"{min(lengths)} to {max(lengths)} in a lead", "as many in each lead",
            "export the ECG again", kind="length",
        )  # fmt: skip
    signal = np.stack([zero + scale * digits for digits, scale, zero in rows]).astype(np.float32)
    scales, zeros = [row[1] for row in rows], [row[2] for row in rows]
    findings += _duration_findings(series, signal.shape[1] / fs) + rate_findings(fs) + lead_findings(names)
    findings += scale_findings(names, scales, zeros)
    findings += signal_findings(signal, names)
    metadata, noticed = _facts(root, series, times[0])
    return with_limb_leads(ECG(signal, fs, tuple(names), path.stem, 0.0, metadata, tuple(findings + noticed)))


def _rhythm(path: Path, root: Element) -> tuple[Element, list[Finding]]:
    """Return the series of the recording, and findings on what else there is."""
    every = root.findall("component/series")
    rhythms = [series for series in every if _code(series) == "RHYTHM"]
    if not rhythms:
        found = ", ".join(_code(series) or "without a code" for series in every) or "none"
        raise FormatError(path, "series", found, "one of code RHYTHM", kind="no_rhythm")
    findings = []
    if len(rhythms) > 1:
        findings.append(Finding("other_waveforms", "warning", f"the first of {len(rhythms)} rhythm series is read"))
    if len(every) > len(rhythms) or rhythms[0].find("derivation/derivedSeries") is not None:
        findings.append(Finding("median_beats", "note", "representative beats left out: the rhythm is read"))
    return rhythms[0], findings


def _code(element: Element) -> str:
    code = element.find("code")
    return "" if code is None else code.get("code", "").strip().upper()


def _attribute(element: Element | None, where: str, name: str) -> str:
    found = element.find(where) if element is not None else None
    return "" if found is None else found.get(name, "").strip()


def _rate(path: Path, time: Element | None) -> float:
    """Return the sampling rate, in Hz; an increment rounded in the file (0.00333 s) stands for the next whole rate."""
    written, unit = _attribute(time, "increment", "value"), _attribute(time, "increment", "unit")
    if unit not in _SECONDS:
        raise FormatError(path, "time increment, unit", unit or "missing", ", ".join(_SECONDS), kind="sampling_rate")
    low, high = (1 / fs / _SECONDS[unit] for fs in (MAX_FS, MIN_FS))
    step = number(path, "time increment", written, low, high, kind="sampling_rate") * _SECONDS[unit]
    decimals = len(written.partition(".")[2]) if "e" not in written.lower() else 15
    rounding = 0.5 * 10.0**-decimals * _SECONDS[unit]
    nearest = round(1 / step)
    return float(nearest) if abs(1 / nearest - step) <= max(rounding, 1e-12) and decimals > 2 else 1 / step


def _lead_name(path: Path, code: str) -> str:
    found = _LEAD.fullmatch(code)
    if found is None:
        raise FormatError(
            path, "sequence code", code or "missing", "MDC_ECG_LEAD_ and the lead", "export it again",
            kind="no_lead_name",
        )  # fmt: skip
    return found[1]


def _lead(path: Path, name: str, value: Element | None) -> tuple[np.ndarray, float, float]:
    """Return (digits, mV per digit, mV of digit 0) of one lead."""
    written = []
    for field in ("scale", "origin"):
        unit = _attribute(value, field, "unit")
        if unit not in MILLIVOLTS:
            allowed = ", ".join(MILLIVOLTS)
            raise FormatError(
                path, f"lead {name}, unit of {field}", unit or "missing", allowed, kind="units", lead=name
            )
        low = 1e-9 if field == "scale" else -1e6
        found = _attribute(value, field, "value")
        written.append(number(path, f"lead {name}, {field}", found, low, 1e6, kind="gain") * MILLIVOLTS[unit])
    digits = integers(path, f"lead {name}, digits", text(value, "digits"), MAX_DIGIT)
    return digits, written[0], written[1]


def _duration_findings(series: Element, duration: float) -> list[Finding]:
    """Compare the samples with the times the series begins and ends at, which are often given to the second only."""
    begin, end = (_timestamp(_attribute(series, f"effectiveTime/{side}", "value")) for side in ("low", "high"))
    if begin is None or end is None:
        return []
    stated = (end - begin).total_seconds()
    if abs(stated - duration) <= 1.0:
        return []
    return [Finding("duration", "warning", f"{duration:g} s of samples, {stated:g} s between first and last time")]


def _timestamp(written: str) -> datetime.datetime | None:
    found = _TIMESTAMP.fullmatch(written)
    return moment(*(part for part in found.groups() if part is not None)) if found else None


def _facts(root: Element, series: Element, time: Element | None) -> tuple[dict[str, Any], list[Finding]]:
    """Return metadata and findings; of the people in the file only age and sex are looked at."""
    person = root.find(
        "componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject/subjectDemographicPerson"
    )
    years = None
    for variable in root.findall("controlVariable/relatedObservation"):
        if _code(variable) == REPORTED_AGE:
            years = age(_attribute(variable, "value", "value"), _attribute(variable, "value", "unit"))
    places = [
        (root, "effectiveTime/center"),
        (root, "effectiveTime/low"),
        (series, "effectiveTime/low"),
        (time, "head"),
    ]
    dates = [when for element, where in places if (when := _timestamp(_attribute(element, where, "value"))) is not None]
    metadata, findings = facts(
        "HL7 aECG",
        text(series, "author/seriesAuthor/manufacturedSeriesDevice/manufacturerModelName"),
        dates[0] if dates else None,
        _timestamp(_attribute(person, "birthTime", "value")),
        years,
        sex(_attribute(person, "administrativeGenderCode", "code")),
    )
    if dates and max(dates) - min(dates) > datetime.timedelta(minutes=1):
        findings.append(Finding("date", "warning", "the times of the recording contradict each other"))
    return metadata, findings
