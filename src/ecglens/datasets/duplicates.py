# SPDX-License-Identifier: Apache-2.0
"""The same recording more than once in a cohort, whatever the copies are called or stored as."""

from __future__ import annotations

from collections.abc import Sequence

from ecglens.cohort import Cohort
from ecglens.errors import InputError, UnsafeError
from ecglens.runs.progress import Progress, silent


def find_duplicates(cohort: Cohort, progress: Progress = silent) -> list[tuple[str, ...]]:
    """Return groups of record ids whose ECGs are equal, sample by sample (see `ECG.fingerprint`), in cohort order.

    Reads every record once and keeps only its fingerprint. A record that cannot be read is equal to none; who reads
    it for its own sake gets the reason. Near-equal recordings (resampled, filtered, cropped) are not found.

    >>> import numpy as np, pandas as pd
    >>> from ecglens.ecg import ECG
    >>> ecgs = [ECG(np.full((1, 500), value, np.float32), 100, ("I",)) for value in (0.1, 0.2, 0.1)]
    >>> table = pd.DataFrame(index=list("abc"))
    >>> find_duplicates(Cohort("toy", ecgs, table, table))
    [('a', 'c')]
    """
    ids: list[str] = []
    fingerprints: list[str] = []
    unread = 0
    for index, record_id in enumerate(cohort.record_ids):
        try:
            fingerprints.append(cohort[index].fingerprint())
            ids.append(record_id)
        except (InputError, UnsafeError):
            unread += 1
        progress("comparing", index + 1, len(cohort), f"{unread} not readable" if unread else "")
    return list(same_recordings(ids, fingerprints))


def same_recordings(record_ids: Sequence[str], fingerprints: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of record ids that share a fingerprint, in the order in which each first occurs.

    >>> same_recordings(["a", "b", "c"], ["x", "y", "x"])
    (('a', 'c'),)
    """
    groups: dict[str, list[str]] = {}
    for record, fingerprint in zip(record_ids, fingerprints, strict=True):
        groups.setdefault(fingerprint, []).append(record)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
