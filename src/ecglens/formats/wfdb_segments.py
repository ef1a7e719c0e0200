# SPDX-License-Identifier: Apache-2.0
"""WFDB records of several segments: records of their own, read one after the other and laid end to end.

In the fixed layout all segments have the same leads. In the variable layout the first segment holds no samples but
lists all leads, and each other segment has some of them. Missing are: `~`, a segment that was never recorded; a
segment whose files are not there (flagged); in the variable layout a lead that a segment does not have. All of it is
NaN. Segments are one deep: one that has segments itself is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecglens.errors import Finding, FormatError, InputError, printable
from ecglens.formats.wfdb_header import Header, Segment, read_header
from ecglens.formats.wfdb_record import Stretch, read_stretch, refuse_unusable_leads
from ecglens.leads import canonical_lead
from ecglens.runs.files import contained

NULL = "~"
# A header of a few bytes can declare days of gaps, so what is allocated is limited, not what is read.
MAX_ASSEMBLED_BYTES = 2**29


def read_segments(path: Path, header: Header, verify: bool, pick: Callable[[int, float], tuple[int, int]]) -> Stretch:
    """Read the samples that `pick(number of samples, fs)` chooses; only segments that hold some of them are read."""
    assert header.n_samples is not None
    first, last = pick(header.n_samples, header.fs)
    leads = segment_leads(path, header)
    if 4 * len(leads) * (last - first) > MAX_ASSEMBLED_BYTES:
        raise FormatError(
            path, "size", f"{4 * len(leads) * (last - first)} bytes as float32", f"at most {MAX_ASSEMBLED_BYTES}",
            "read it in pieces (start, stop)", kind="too_large",
        )  # fmt: skip
    signal = np.full((len(leads), last - first), np.nan, np.float32)
    formats: set[int] = set()
    findings = list(header.findings)
    missing: InputError | None = None
    end = 0
    for segment in header.segments:
        begin, end = end, end + segment.n_samples
        if segment.name == NULL or end <= first or last <= begin:
            continue
        try:
            found = _read_segment(path, header, segment, verify, max(first - begin, 0), min(last, end) - begin)
        except InputError as error:
            if error.kind != "missing_file":
                raise
            missing = error
            reason = f"the files of segment {segment.name} are not there: {segment.n_samples} samples are missing"
            findings.append(Finding("missing_segment", "warning", reason))
            continue
        at = begin + found.first - first
        signal[_rows(path, segment, header, leads, found.leads), at : at + found.signal.shape[1]] = found.signal
        formats |= found.formats
        findings += found.findings
    if missing and not formats:
        raise missing  # not one sample to give
    return Stretch(signal, leads, header.fs, first, frozenset(formats), _merged(findings))


def segment_leads(path: Path, header: Header) -> tuple[str, ...]:
    """Return the leads of the record: of its list of signals, or of its first segment that is there."""
    missing: InputError | None = None
    for segment in header.segments:
        if segment.name == NULL:
            continue
        try:
            listed = _segment_header(path, header, segment)
        except InputError as error:
            if error.kind != "missing_file" or _is_variable(header):
                raise
            missing = error
            continue
        if len(listed.signals) != header.n_signals:
            raise FormatError(
                path, f"segment {segment.name}", f"{len(listed.signals)} signals", f"{header.n_signals}",
                "correct the headers", kind="segments",
            )  # fmt: skip
        refuse_unusable_leads(path, listed)
        return tuple(canonical_lead(spec.lead) for spec in listed.signals)
    raise missing or FormatError(path, "segments", "only gaps", "at least one segment with samples", kind="segments")


def _is_variable(header: Header) -> bool:
    return header.segments[0].n_samples == 0


def _segment_path(path: Path, segment: Segment) -> Path:
    return contained(path.parent, f"{segment.name}.hea", path)


def _segment_header(path: Path, header: Header, segment: Segment) -> Header:
    found = read_header(_segment_path(path, segment))
    if found.segments or segment.name == path.stem:
        raise FormatError(
            path, f"segment {segment.name}", "a record of several segments itself", "a record of one segment",
            "correct the headers", kind="segments",
        )  # fmt: skip
    if found.fs != header.fs:
        raise FormatError(
            path, f"segment {segment.name}", f"{found.fs:g} Hz", f"{header.fs:g} Hz as the record",
            "correct the headers", kind="segments",
        )  # fmt: skip
    return found


def _read_segment(path: Path, header: Header, segment: Segment, verify: bool, first: int, last: int) -> Stretch:
    """Read samples `first` to `last` (left out) of one segment, after comparing its length and rate."""

    def pick(n_samples: int, fs: float) -> tuple[int, int]:
        if (n_samples, fs) != (segment.n_samples, header.fs):
            raise FormatError(
                path, f"segment {segment.name}", f"{n_samples} samples at {fs:g} Hz",
                f"{segment.n_samples} at {header.fs:g} Hz as the record says", "copy or download the record again",
                kind="segments",
            )  # fmt: skip
        return first, last

    return read_stretch(_segment_path(path, segment), _segment_header(path, header, segment), verify, pick)


def _rows(path: Path, segment: Segment, header: Header, leads: tuple[str, ...], found: tuple[str, ...]) -> list[int]:
    """Return which rows of the record the leads of a segment are."""
    names = [canonical_lead(name) for name in found]
    fits = set(names) <= set(leads) if _is_variable(header) else tuple(names) == leads
    if not fits:
        raise FormatError(
            path, f"segment {segment.name}, leads", printable(", ".join(names)), printable(", ".join(leads)),
            "correct the headers", kind="segments",
        )  # fmt: skip
    return [leads.index(name) for name in names]


def _merged(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return one finding of each kind, severity and lead: segments repeat what is true of all of them."""
    alike: dict[tuple[str, str, str | None], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.kind, finding.severity, finding.lead), []).append(finding)
    return tuple(
        Finding(kind, group[0].severity, group[0].reason + (f" (and {len(group) - 1} more)" if group[1:] else ""), lead)
        for (kind, _, lead), group in alike.items()
    )
