# SPDX-License-Identifier: Apache-2.0
"""Reading, caching and preparing records, against the wfdb package and SciPy used record by record."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from scipy.signal import butter, resample_poly, sosfiltfilt
from timing import seconds, side_by_side

from ecglens import read, simulate_cohort, write_wfdb
from ecglens.cohort import Cohort
from ecglens.datasets.folder import load_folder
from ecglens.datasets.ptbxl import load_ptbxl
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache
from ecglens.training.recipes import PREPROCESSING

N_RECORDS = 2500


def cohort_of_files(data: Path | None, scratch: Path, n: int = N_RECORDS) -> Cohort:
    """Return `n` records on disk: PTB-XL where it is given, else simulated ECGs, each written several times."""
    if data is not None:
        return load_ptbxl(data, keep_unlabelled=True).take(range(n))
    distinct = simulate_cohort(n=100)
    rows = ["file,patient_id,labels"]
    for k in range(n):
        if k < len(distinct):
            write_wfdb(distinct[k], scratch)
        name = f"copy{k:05d}"
        source = scratch / f"sim-{k % 100 + 1:05d}"
        header = source.with_suffix(".hea").read_text().replace(source.name, name)
        (scratch / f"{name}.hea").write_text(header)
        (scratch / f"{name}.dat").write_bytes(source.with_suffix(".dat").read_bytes())
        rows.append(f"{name}.hea,p{k},NORM")
    (scratch / "records.csv").write_text("\n".join(rows) + "\n")
    return load_folder(scratch)


def rows(data: Path | None, rounds: int = 3) -> list[dict[str, Any]]:
    """Return the rows of this file."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "records").mkdir()
        cohort = cohort_of_files(data, scratch / "records")
        what = f"{len(cohort)} {'PTB-XL' if data else 'simulated'} records of 12 x 5,000 samples"
        return [reading(cohort, what, rounds), preparing(cohort, what, rounds), caching(cohort, what, scratch, rounds)]


def reading(cohort: Cohort, what: str, rounds: int) -> dict[str, Any]:
    """Read and verify all files, against a loop over wfdb.rdrecord, which verifies nothing."""
    assert cohort.files is not None
    headers = [files[0] for files in cohort.files]
    names = [str(path.with_suffix("")) for path in headers]
    differences = [
        float(np.nanmax(np.abs(read(path).signal - wfdb.rdrecord(name).p_signal.T)))
        for path, name in zip(headers[::25], names[::25], strict=True)
    ]
    raw = seconds(lambda: [np.fromfile(files[1], dtype="<i2") for files in cohort.files or ()])
    timed = side_by_side(lambda: [read(p) for p in headers], lambda: [wfdb.rdrecord(n) for n in names], rounds)
    return {
        "stage": f"reading and verifying {what}",
        "peer": "wfdb.rdrecord in a loop (verifies nothing)",
        **timed,
        "agreement": {"max_abs_difference_mv": max(differences), "n": len(differences)},
        "limit": {"what": "numpy.fromfile of the same bytes", "seconds": raw},
    }


def scipy_record_by_record(signal: np.ndarray) -> np.ndarray:
    """Return one record prepared as most scripts do it."""
    slow = resample_poly(signal, 1, 5, axis=1)
    filtered = sosfiltfilt(butter(2, [0.5, 40], "bandpass", fs=100, output="sos"), slow, axis=1)
    return ((filtered - filtered.mean()) / (filtered.std() + 1e-8)).astype(np.float32)


def preparing(cohort: Cohort, what: str, rounds: int) -> dict[str, Any]:
    """Resample, filter and standardise records in memory, against SciPy record by record."""
    n = min(1000, len(cohort))
    ecgs = [cohort[i] for i in range(n)]
    groups = [ecgs[i : i + 32] for i in range(0, n, 32)]  # as `prepare` does

    def ours() -> list[np.ndarray]:
        return [np.asarray(PREPROCESSING.transform(group).signal) for group in groups]

    def theirs() -> list[np.ndarray]:
        return [scipy_record_by_record(ecg.signal) for ecg in ecgs]

    apart = float(np.abs(np.concatenate(ours()) - np.stack(theirs())).max())
    return {
        "stage": f"500 to 100 Hz, 0.5-40 Hz zero phase, standardised, {n} of the records",
        "peer": "scipy.signal record by record",
        **side_by_side(ours, theirs, rounds),
        "agreement": {"max_abs_difference_deviations": apart},
    }


def caching(cohort: Cohort, what: str, scratch: Path, rounds: int) -> dict[str, Any]:
    """Load a prepared cohort for the second time, every value read, against reading and preparing again."""
    cache = Cache(scratch / "cache")
    first = prepare(cohort, PREPROCESSING, cache=cache)
    assert cohort.files is not None
    names = [str(files[0].with_suffix("")) for files in cohort.files]

    def ours() -> float:
        return float(sum(signal[0, 0] for signal in prepare(cohort, PREPROCESSING, cache=cache).signals))

    def theirs() -> list[np.ndarray]:
        return [scipy_record_by_record(wfdb.rdrecord(name).p_signal.T) for name in names]

    again = prepare(cohort, PREPROCESSING, cache=cache)
    same = all(np.array_equal(a, b) for a, b in zip(first.signals, again.signals, strict=True))
    size = sum(signal.nbytes for signal in again.signals)
    raw = seconds(lambda: np.fromfile(next((scratch / "cache").glob("*/values.npy")), dtype=np.float32))
    return {
        "stage": f"second load of {what}, prepared, checksums verified ({size / 1e6:.0f} MB)",
        "peer": "wfdb.rdrecord and scipy.signal again",
        **side_by_side(ours, theirs, max(1, rounds - 1)),
        "agreement": {"equal_to_first_load": same},
        "limit": {"what": "numpy.fromfile of the cached values", "seconds": raw},
    }
