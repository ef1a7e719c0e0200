# SPDX-License-Identifier: Apache-2.0
"""Small valid files of every format, written by the tests, and what a fuzzer needs to know of each.

A row of `TARGETS`: name; maker (folder -> the file to mutate, what to give to the reader); reader; kind of change;
and the library to compare with, if one reads the format.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import mutate_bytes, mutate_start, mutate_text

from ecglens.ecg import ECG
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import LIMB_ALGEBRA, STANDARD_LEADS
from samples.aecg import make_aecg
from samples.cardiosoft import make_cardiosoft
from samples.ishne import make_ishne
from samples.muse import make_muse
from samples.scp import make_scp
from samples.sierra import make_sierra


def small_ecg(n_samples: int = 500, fs: float = 500.0, name: str = "rec") -> ECG:
    """Twelve leads of smooth random waves up to about 1.5 mV, whole microvolts, Einthoven's law within 1 uV."""
    rng = np.random.default_rng(7)
    steps = rng.standard_normal((8, n_samples)).cumsum(axis=1)
    free = np.round(1.5 * steps / np.abs(steps).max(axis=1, keepdims=True), 3)
    limb = [a * free[0] + b * free[1] for a, b in LIMB_ALGEBRA.values()]
    signal = np.round(np.concatenate([np.stack(limb), free[2:]]), 3)
    return ECG(signal.astype(np.float32), fs, STANDARD_LEADS, name)


def _wfdb_header(folder: Path) -> tuple[Path, Path]:
    header = write_wfdb(small_ecg(), folder)
    return header, header


def _wfdb_samples(folder: Path) -> tuple[Path, Path]:
    header = write_wfdb(small_ecg(), folder)
    return header.with_suffix(".dat"), header


def _wfdb_package(path: Path) -> Any:
    import wfdb

    record = wfdb.rdrecord(str(path.with_suffix("")))
    return record.p_signal, float(record.fs), tuple(record.sig_name)


def _sample(make: Callable[..., Path]) -> Callable[[Path], tuple[Path, Path]]:
    def made(folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        path = make(folder, small_ecg())
        return path, path

    return made


def _ecgdatakit(path: Path) -> Any:
    from ecgdatakit import FileParser

    record = FileParser().parse(path)
    facts = record.patient.age, record.patient.sex, str(record.recording.date)
    return tuple((lead.label, lead.sampling_rate, lead.samples) for lead in record.leads), facts


TARGETS = [
    ("WFDB header", _wfdb_header, read, mutate_text, ("wfdb", _wfdb_package)),
    ("WFDB samples, format 16", _wfdb_samples, read, mutate_bytes, ("wfdb", _wfdb_package)),
    ("HL7 aECG", _sample(make_aecg), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("Philips Sierra XML", _sample(make_sierra), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("GE MUSE XML", _sample(make_muse), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("GE CardioSoft XML", _sample(make_cardiosoft), read, mutate_text, None),
    ("SCP-ECG", _sample(make_scp), read, mutate_bytes, ("ecgdatakit", _ecgdatakit)),
    ("ISHNE Holter", _sample(make_ishne), read, mutate_bytes, ("ecgdatakit", _ecgdatakit)),
    ("ISHNE Holter, header", _sample(make_ishne), read, mutate_start, ("ecgdatakit", _ecgdatakit)),
]
