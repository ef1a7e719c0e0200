# SPDX-License-Identifier: Apache-2.0
"""ECG-ID (Lugovaya 2005): 310 recordings of 90 people, lead I, 20 s at 500 Hz, for biometric identification.

Each file holds lead I twice, raw and filtered: two names, one lead. Only one of them is ever returned.

Eleven recordings of the published release begin with a blank: 1,024 or 2,048 samples of -1 in both channels, which
is one or two blocks of 4,096 bytes of 0xFF, as erased memory reads. Their headers still declare the checksum and the
first value of what was lost. A network that sees the blank learns to recognise it, so it is cropped away; the rest
is used with a finding, and where the release's SHA256SUMS.txt lies beside it, held to that.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ecglens.cohort import Cohort
from ecglens.datasets.records import (
    Part,
    Recording,
    age_and_sex,
    cohort_of_parts,
    comments,
    divided,
    left_out,
    no_labels,
)
from ecglens.ecg import ECG
from ecglens.errors import Finding, FormatError, InputError, UnsafeError
from ecglens.formats.wfdb import read_header, read_wfdb
from ecglens.runs.files import read_bytes

RAW, FILTERED = "ECG I", "ECG I filtered"
SUMS = "SHA256SUMS.txt"
BLANK_BLOCK = 1024  # samples of two channels in 16 bits: 4,096 bytes
_BLANK_VALUE = -1
_DATE = re.compile(r"ECG date:\s*(\d{2})\.(\d{2})\.(\d{4})")
_PERSON = re.compile(r"Person_(\d+)")
_MAX_SUMS = 2**22
_MAX_SIGNALS = 2**24


def recognises(folder: Path) -> bool:
    """Tell whether a folder holds ECG-ID: `Person_NN/rec_N.hea` with lead I twice."""
    first = next(iter(sorted(folder.glob("Person_*/rec_*.hea"))), None)
    if first is None:
        return False
    try:
        return [spec.lead for spec in read_header(first).signals] == [RAW, FILTERED]
    except (InputError, UnsafeError):
        return False


def load_ecgiddb(root: str | Path, *, filtered: bool = False) -> Cohort:
    """Load ECG-ID, or as much of it as lies under `root`; one lead, called I, and no labels.

    filtered  the publisher's filtered version of lead I instead of the raw one

    patient_id is the NN of `Person_NN`; age, sex and date of each recording are those of its header.
    """
    root = Path(root)
    recordings, excluded = [], []
    for path in sorted(root.glob("Person_*/rec_*.hea"), key=_order):
        record_id = f"{path.parent.name}/{path.stem}"
        try:
            recordings.append(Recording(record_id, path, _person(path)))
        except (InputError, UnsafeError) as error:
            excluded.append(left_out(record_id, error))
    parts, unreadable = divided(recordings, None)
    return cohort_of_parts(
        "ecgiddb", parts, no_labels([part.record_id for _, part in parts]), "ECG-ID publishes no diagnoses: no labels",
        excluded=[*excluded, *unreadable], read=partial(_read, root=root, filtered=filtered), cacheable=not filtered,
    )  # fmt: skip


def _order(path: Path) -> tuple[str, int]:
    number = path.stem.removeprefix("rec_")
    return path.parent.name, int(number) if number.isdecimal() else 0


def _person(path: Path) -> dict[str, object]:
    lines = comments(path)
    age, sex = age_and_sex(lines)
    date = _DATE.search("\n".join(lines))
    number = _PERSON.fullmatch(path.parent.name)
    return {
        "patient_id": number[1] if number else None,
        "age": age,
        "sex": sex,
        "date": f"{date[3]}-{date[2]}-{date[1]}" if date else None,
    }


def _read(part: Part, root: Path, filtered: bool) -> ECG:
    try:
        ecg = read_wfdb(part.path)
    except FormatError as error:
        if error.kind != "checksum":
            raise
        ecg = _without_blank(part, root, error)
    row = ecg.leads.index(FILTERED if filtered else RAW)
    # The names are known and explained here, so what the reader says of them is not repeated for each record.
    findings = tuple(found for found in ecg.findings if found.kind != "unknown_lead")
    return replace(ecg, signal=ecg.signal[row : row + 1], leads=("I",), record_id=part.record_id, findings=findings)


def _without_blank(part: Part, root: Path, error: FormatError) -> ECG:
    """Return the recording behind its blank; raise `error` where there is none, or not the published one."""
    raw = read_bytes(part.path.with_suffix(".dat"), _MAX_SIGNALS)
    samples = np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2)
    lost = (samples != _BLANK_VALUE).any(axis=1)
    blank = int(np.argmax(lost)) if lost.any() else len(samples)
    if blank == 0 or blank % BLANK_BLOCK or blank == len(samples):
        raise error
    published = _published_sum(root, part.path.with_suffix(".dat"))
    if published is not None and published != hashlib.sha256(raw).hexdigest():
        raise error
    ecg = read_wfdb(part.path, verify=False)
    findings = [found for found in ecg.findings if found.kind != "not_verified"]
    how = f"the file is as published ({SUMS})" if published else f"the rest is not verified (no {SUMS} beside it)"
    start = blank / ecg.fs
    findings.append(
        Finding("blank_start", "warning", f"the first {start:g} s are blank ({_BLANK_VALUE}) and left off; {how}")
    )
    whole = replace(ecg, findings=tuple(findings))
    return whole.crop(ecg.start + start, ecg.start + ecg.duration)


def _published_sum(root: Path, path: Path) -> str | None:
    """Return the SHA-256 that the release declares for a file, or None where it declares none."""
    if not (root / SUMS).exists():
        return None
    name = path.relative_to(root).as_posix()
    for line in read_bytes(root / SUMS, _MAX_SUMS, follow_links=True).decode("latin-1").splitlines():
        digest, _, listed = line.partition(" ")
        if listed.strip().lstrip("*") == name:
            return digest.lower()
    return None
