# SPDX-License-Identifier: Apache-2.0
"""What the recordings of a cohort are like: each is read once, looked at, and let go, so memory stays flat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.duplicates import same_recordings
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, Finding, InputError, UnsafeError
from ecglens.preprocessing.pipeline import Admission
from ecglens.runs.progress import Progress, silent


@dataclass(frozen=True)
class Survey:
    """What reading every record of a cohort showed.

    n               records that could be read
    unreadable      the others, with the reason
    errors          what was raised for them, in the same order
    durations       of each record read, in s [record]
    sampling_rates  {rate in Hz: records}
    leads           {lead: records that have it}, most frequent first
    flags           (record id, finding): what would keep a record from being used, or should be known before it is
    notes           {kind: records} of harmless remarks that readers made
    duplicates      groups of record ids that hold the same samples, whatever their files are called
    """

    n: int
    unreadable: tuple[Excluded, ...]
    errors: tuple[EcglensError, ...]
    durations: tuple[float, ...]
    sampling_rates: dict[str, int]
    leads: dict[str, int]
    flags: tuple[tuple[str, Finding], ...]
    notes: dict[str, int]
    duplicates: tuple[tuple[str, ...], ...]

    @property
    def flagged(self) -> dict[str, int]:
        """{kind: records flagged}, most frequent first."""
        return self.count("error", "warning")

    def count(self, *severities: str) -> dict[str, int]:
        """Return {kind: records} of the flags of these severities, most frequent first."""
        chosen = {(record, finding.kind) for record, finding in self.flags if finding.severity in severities}
        return _ranked(Counter(kind for _, kind in sorted(chosen)))

    def as_dict(self) -> dict[str, Any]:
        """Return the survey as it stands in JSON."""
        seconds = np.array(self.durations)
        lengths = {
            "min": float(seconds.min()), "median": float(np.median(seconds)), "max": float(seconds.max()),
            "total": float(seconds.sum()),
        } if self.n else {}  # fmt: skip
        return {
            "recordings": {
                "read": self.n,
                "duration_s": lengths,
                "sampling_rates": self.sampling_rates,
                "leads": self.leads,
                "flagged": self.flagged,
                "notes": self.notes,
                "flags": [{"record_id": record} | finding.as_dict() for record, finding in self.flags],
            },
            "unreadable": [{"record_id": e.record_id, "kind": e.kind, "reason": e.reason} for e in self.unreadable],
            "duplicates": [list(group) for group in self.duplicates],
        }


def survey_signals(cohort: Cohort, *, progress: Progress = silent) -> Survey:
    """Read every record once and say what was found: lengths, rates, leads, problems, duplicates, unreadable files.

    A record is flagged for what `Admission` refuses in an ECG of any length and any leads: an amplitude that no
    ECG in mV has, a flat lead, a gap.
    """
    work = _Work()
    for index, record_id in enumerate(cohort.record_ids):
        try:
            work.add(record_id, cohort.records[index])
        except (InputError, UnsafeError, ContractError) as error:
            work.refuse(record_id, error)
        progress("reading", index + 1, len(cohort), f"{len(work.errors)} unreadable" if work.errors else "")
    return work.done()


class _Work:
    """Keeps a few numbers of each record, never its samples."""

    def __init__(self) -> None:
        self.errors: list[EcglensError] = []
        self.unreadable: list[Excluded] = []
        self.ids: list[str] = []
        self.fingerprints: list[str] = []
        self.durations: list[float] = []
        self.rates: Counter[str] = Counter()
        self.leads: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.flags: list[tuple[str, Finding]] = []

    def add(self, record_id: str, ecg: ECG) -> None:
        findings = Admission(ecg.leads, min_duration=0.0).findings(ecg)
        self.ids.append(record_id)
        self.fingerprints.append(ecg.fingerprint())
        self.durations.append(ecg.duration)
        self.rates[f"{ecg.fs:g}"] += 1
        self.leads.update(ecg.leads)
        self.notes.update({finding.kind for finding in findings if finding.severity == "note"})
        self.flags += [(record_id, finding) for finding in findings if finding.severity != "note"]

    def refuse(self, record_id: str, error: EcglensError) -> None:
        self.errors.append(error)
        self.unreadable.append(Excluded(record_id, error.kind, str(error)))

    def done(self) -> Survey:
        return Survey(
            len(self.ids), tuple(self.unreadable), tuple(self.errors), tuple(self.durations), _ranked(self.rates),
            _ranked(self.leads), tuple(self.flags), _ranked(self.notes),
            same_recordings(self.ids, self.fingerprints),
        )  # fmt: skip


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """Return counts as a plain dictionary, most frequent first, first seen first among equals."""
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
