# SPDX-License-Identifier: Apache-2.0
"""What the WFDB data sets share: finding headers, what their comments say of a person, recordings in stretches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.datasets.sources import SOURCES
from ecglens.ecg import ECG
from ecglens.errors import EcglensError, Finding, FormatError, InputError, UnsafeError, UsageError
from ecglens.fiducials import Fiducials
from ecglens.formats.channels import MILLIVOLTS
from ecglens.formats.clinical import MAX_AGE
from ecglens.formats.delineations import read_annotations
from ecglens.formats.read import read
from ecglens.formats.wfdb import SignalSpec, read_header, read_wfdb
from ecglens.formats.wfdb_comments import age_and_sex as age_and_sex
from ecglens.formats.wfdb_comments import comments as comments
from ecglens.formats.wfdb_comments import is_tape as is_tape
from ecglens.runs.cache import identity

HOUR = 3600.0


class Part(NamedTuple):
    """One record of a cohort: a recording, or the stretch of it with start <= t < stop, in s on its clock.

    None: from its first sample, to its last.
    """

    record_id: str
    path: Path
    start: float | None = None
    stop: float | None = None


def headers(folder: Path, pattern: str = "*.hea") -> list[Path]:
    """Return the headers right inside a folder that match `pattern`, by name; hidden files are passed over."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def first_headers(folder: Path, depth: int = 4, limit: int = 1) -> Iterator[Path]:
    """Yield the first `limit` headers in a folder and `depth` levels below, without listing all of a large tree."""
    found = 0
    for root, folders, files in os.walk(folder):
        level = len(Path(root).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if level < depth else []
        for name in sorted(name for name in files if name.endswith(".hea") and not name.startswith(".")):
            yield Path(root, name)
            found += 1
            if found == limit:
                return


def known_age(years: Any) -> float | None:
    """Return an age in years, or None for what stands for "unknown": nothing, no number, negative, above 120."""
    try:
        value = float(years)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value <= MAX_AGE else None


def stretches(record_id: str, path: Path, seconds: float | None) -> list[Part]:
    """Return a recording as parts of `seconds` (whole seconds; None: one part), the last as long as what is left.

    Parts are called `14046@03600`: the recording, and whole seconds since its first sample. Reads the header only,
    and raises what is wrong with it.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 1 and seconds == int(seconds)):
        raise UsageError("load", "stretch", f"{seconds} s", "whole seconds, at least 1, or None for whole recordings")
    header = read_header(path)
    if seconds is None:
        return [Part(record_id, path)]
    if header.n_samples is None:
        raise FormatError(path, "number of samples", "not declared", "a length, to divide it", "load it whole")
    count = max(1, math.ceil(header.n_samples / header.fs / seconds - 1e-9))
    edges = [header.start + k * seconds for k in range(count)]
    stops = [*edges[1:], None]
    return [
        Part(f"{record_id}@{int(k * seconds):05d}", path, start, stop)
        for k, (start, stop) in enumerate(zip(edges, stops, strict=True))
    ]


@dataclass(frozen=True)
class Recording:
    """One recording of a data set: its id, its header, and what is known of the person (patient_id, age, sex, ...)."""

    record_id: str
    path: Path
    person: Mapping[str, Any]


def divided(
    recordings: Sequence[Recording], seconds: float | None
) -> tuple[list[tuple[Recording, Part]], list[Excluded]]:
    """Return the parts of all recordings, each with its recording, and the recordings whose header is no good."""
    parts: list[tuple[Recording, Part]] = []
    excluded: list[Excluded] = []
    for recording in recordings:
        try:
            parts += [(recording, part) for part in stretches(recording.record_id, recording.path, seconds)]
        except (InputError, UnsafeError) as error:
            excluded.append(left_out(recording.record_id, error))
    return parts, excluded


def cohort_of_parts(
    name: str,
    parts: Sequence[tuple[Recording, Part]],
    labels: pd.DataFrame,
    label_rule: str,
    *,
    excluded: Sequence[Excluded] = (),
    read: Callable[[Part], ECG] | None = None,
    marks: str | None = None,
    cacheable: bool = True,
) -> Cohort:
    """Return the cohort of a data set of `sources`, read and marked part by part when asked for.

    marks      annotation files of its records: `atr`, ...; `leads`: one file per lead; None: it has none
    cacheable  False where options change what is read from the same files: the cache keys on files and ids alone
    """
    items = [part for _, part in parts]
    if not items:
        reason = excluded[0].reason if excluded else "no record of it is here"
        raise InputError(name, "records", "none that can be used", "at least one", reason, kind="no_records")
    rows = [{**recording.person, "recording": recording.record_id} for recording, _ in parts]
    metadata = pd.DataFrame(rows, index=labels.index, dtype=object)
    if "age" in metadata:
        metadata["age"] = pd.to_numeric(metadata["age"])
    return Cohort(
        name,
        Lazy(read or read_part, items),
        labels,
        metadata,
        label_rule=label_rule,
        excluded=tuple(excluded),
        fiducials=None if marks is None else Lazy(partial(_marks_of, extension=marks), items),
        citation=credit(name),
        files=[files_of(part.path) for part in items] if cacheable else None,
    )


def _marks_of(part: Part, extension: str) -> Fiducials:
    """Return what is marked in one part of a recording, times in s on its clock. Raises as `read_annotations` does."""
    if extension == "leads":
        return read_annotations(part.path)
    files = [part.path, part.path.with_suffix(f".{extension}")]
    try:
        state = tuple(identity(files))
    except OSError:
        state = ()  # reading will say what is missing
    whole = _all_marks(part.path, extension, state)
    if part.start is None and part.stop is None:
        return whole
    start = -math.inf if part.start is None else part.start
    return whole.crop(start, math.inf if part.stop is None else part.stop)


@lru_cache(maxsize=1)  # parts are read in order, and a day of beats takes half a second to decode
def _all_marks(path: Path, extension: str, state: tuple[tuple[int, int, int, int], ...]) -> Fiducials:
    """Return all marks of a recording; read again where `state`, what the system says of the files, differs."""
    return read_annotations(path, extension)


def credit(name: str) -> str:
    """Return whom to credit for a data set, and its licence, as it stands below every result."""
    source = SOURCES[name]
    title = "" if source.title.lower() in source.citation.lower() else f"{source.title}, version {source.version}. "
    return f"{title}{source.citation} Licence: {source.licence}."


def left_out(record_id: str, error: EcglensError) -> Excluded:
    """Return the entry for a record that an error keeps out."""
    return Excluded(record_id, error.kind, str(error))


def read_part(part: Part) -> ECG:
    """Read one part, and no more than it; clipping at the converter's limits is flagged."""
    ecg = read(part.path, part.start, part.stop)
    findings = (*ecg.findings, *clipping(ecg, read_header(part.path).signals))
    return replace(ecg, record_id=part.record_id, findings=findings)


def read_part_unsummed(part: Part) -> ECG:
    """Read one part of a data set whose headers give 0 for every first value and checksum, where no sum was taken.

    Such zeros declare nothing: without them a record is read as one without checksums, and flagged so.
    """
    try:
        return read_part(part)
    except FormatError as error:
        specs = read_header(part.path).signals
        if error.kind != "checksum" or any(spec.checksum or spec.initial_value for spec in specs):
            raise
    ecg = read_wfdb(part.path, verify=False, start=part.start, stop=part.stop)
    findings = [found for found in ecg.findings if found.kind != "not_verified"]
    findings.append(Finding("no_checksum", "warning", "the header gives no checksums: damage would go unseen"))
    return replace(ecg, record_id=part.record_id, findings=(*findings, *clipping(ecg, specs)))


def load_holter(
    name: str, root: Path, names: Sequence[str], stretch: float | None, default: float, annotator: str
) -> Cohort:
    """Load a data set of long recordings without labels, each of another person, in stretches."""
    recordings, excluded = found_recordings(root, names, {})
    parts, unreadable = divided(recordings, stretch)
    return cohort_of_parts(
        name, parts, no_labels([part.record_id for _, part in parts]), f"{name} publishes no diagnoses: no labels",
        excluded=[*excluded, *unreadable], marks=annotator, cacheable=stretch == default,
    )  # fmt: skip


def found_recordings(
    root: Path, names: Sequence[str], same_person: Mapping[str, str]
) -> tuple[list[Recording], list[Excluded]]:
    """Return the recordings of these names, with age and sex of their headers, and those that are not in this copy.

    same_person  {recording: the recording whose person it shows again}; all others are another person each
    """
    recordings, excluded = [], []
    for name in names:
        path = root / f"{name}.hea"
        if not path.exists():
            excluded.append(Excluded(name, "absent", "its files are not in this copy"))
            continue
        try:
            age, sex = age_and_sex(comments(path))
        except (InputError, UnsafeError) as error:
            excluded.append(left_out(name, error))
            continue
        person = {"patient_id": same_person.get(name, name), "age": age, "sex": sex}
        recordings.append(Recording(name, path, person))
    return recordings, excluded


def is_record(path: Path, fs: float, annotator: str) -> bool:
    """Tell whether a header of this sampling rate lies at `path`, with the annotations of `annotator` beside it."""
    if not (path.exists() and path.with_suffix(f".{annotator}").exists()):
        return False
    try:
        return read_header(path).fs == fs
    except (InputError, UnsafeError):
        return False


def clipping(ecg: ECG, specs: Sequence[SignalSpec]) -> list[Finding]:
    """Return a finding per lead that stays at a limit of its converter for two samples or more."""
    findings = []
    for row, spec in zip(ecg.signal, specs, strict=True):
        if not 0 < spec.adc_resolution < 16:  # 16 bits: the limit is that of the file, and seldom the converter's
            continue
        half = 2 ** (spec.adc_resolution - 1)
        scale = MILLIVOLTS[spec.units] / spec.gain
        low, high = sorted((spec.adc_zero + end - spec.baseline) * scale for end in (-half, half - 1))
        tolerance = abs(scale) / 4
        at_limit = (row <= low + tolerance) | (row >= high - tolerance)
        if (at_limit[1:] & at_limit[:-1]).any():  # one sample alone may be a peak that just reaches it
            reason = f"{int(at_limit.sum())} samples at the converter's limits ({low:.2f} and {high:.2f} mV)"
            findings.append(Finding("clipped", "warning", reason, spec.lead or None))
    return findings


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a record: its header and the signal file beside it."""
    return tuple(file for file in (path, path.with_suffix(".dat"), path.with_suffix(".mat")) if file.exists())


def no_labels(ids: Sequence[str]) -> pd.DataFrame:
    """Return a table of labels without a class, for data sets that publish none."""
    return pd.DataFrame(np.empty((len(ids), 0)), index=list(ids))
