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
from ecglens.formats.delineations import read_annotations
from ecglens.formats.read import read
from ecglens.leads import LIMB_ALGEBRA, STANDARD_LEADS

from .aecg import make_aecg
from .cardiosoft import make_cardiosoft
from .dicom import make_dicom, make_foreign_dicom
from .edf import make_edf
from .ishne import make_ishne
from .muse import make_muse
from .npy import make_npy
from .scp import make_scp
from .sierra import make_sierra
from .table import make_table
from .wfdb import make_annotations, make_packed, make_segments, make_wfdb


def small_ecg(n_samples: int = 500, fs: float = 500.0, name: str = "rec") -> ECG:
    """Twelve leads of smooth random waves up to about 1.5 mV, whole microvolts, Einthoven's law within 1 uV."""
    rng = np.random.default_rng(7)
    steps = rng.standard_normal((8, n_samples)).cumsum(axis=1)
    free = np.round(1.5 * steps / np.abs(steps).max(axis=1, keepdims=True), 3)
    limb = [a * free[0] + b * free[1] for a, b in LIMB_ALGEBRA.values()]
    signal = np.round(np.concatenate([np.stack(limb), free[2:]]), 3)
    return ECG(signal.astype(np.float32), fs, STANDARD_LEADS, name)


def _wfdb_samples(number: int) -> Callable[[Path], tuple[Path, Path]]:
    """Return a maker of a record of this format, of which the samples are mutated."""

    def made(folder: Path) -> tuple[Path, Path]:
        header = make_wfdb(folder, small_ecg()) if number == 16 else make_packed(folder, small_ecg(), number)
        return header.with_suffix(".dat"), header

    return made


def _annotations(path: Path) -> Any:
    found = read_annotations(path)
    return found.times, found.leads, found.beat_labels, found.rhythms


def _wfdb_annotations(path: Path) -> Any:
    import wfdb

    found = wfdb.rdann(str(path.with_suffix("")), "atr")
    return found.sample, tuple(found.symbol), tuple(found.aux_note)


def _wfdb_package(path: Path) -> Any:
    import wfdb

    record = wfdb.rdrecord(str(path.with_suffix("")))
    return record.p_signal, float(record.fs), tuple(record.sig_name)


def _dicom_package(path: Path) -> Any:
    import pydicom

    dataset = pydicom.dcmread(path)
    group = max(range(len(dataset.WaveformSequence)), key=lambda k: dataset.WaveformSequence[k].NumberOfWaveformSamples)
    described = dataset.WaveformSequence[group].ChannelDefinitionSequence
    leads = tuple(channel.ChannelSourceSequence[0].CodeMeaning for channel in described)
    about = (dataset.get("PatientAge"), dataset.get("PatientSex"))
    return dataset.waveform_array(group), float(dataset.WaveformSequence[group].SamplingFrequency), leads, about


def _edf_package(path: Path) -> Any:
    import edfio

    edf = edfio.read_edf(path)
    return tuple((signal.label, signal.sampling_frequency, signal.data) for signal in edf.signals)


def _table_package(path: Path) -> Any:
    import pandas as pd

    table = pd.read_csv(path)
    return table.to_numpy(dtype=float), tuple(table.columns)


def _npy_package(path: Path) -> Any:
    return np.load(path)


def _one(make: Callable[[Path, ECG], Path]) -> Callable[[Path], tuple[Path, Path]]:
    """Return a maker of a format of one file: what is mutated is what is read."""

    def made(folder: Path) -> tuple[Path, Path]:
        path = make(folder, small_ecg())
        return path, path

    return made


def _unsealed_npy(folder: Path, ecg: ECG) -> Path:
    return make_npy(folder, ecg, sealed=False)


def _ecgdatakit(path: Path) -> Any:
    from ecgdatakit import FileParser

    record = FileParser().parse(path)
    facts = record.patient.age, record.patient.sex, str(record.recording.date)
    return tuple((lead.label, lead.sampling_rate, lead.samples) for lead in record.leads), facts


TARGETS = [
    ("WFDB header", _one(make_wfdb), read, mutate_text, ("wfdb", _wfdb_package)),
    ("WFDB header of segments", _one(make_segments), read, mutate_text, ("wfdb", _wfdb_package)),
    ("WFDB samples, format 16", _wfdb_samples(16), read, mutate_bytes, ("wfdb", _wfdb_package)),
    ("WFDB samples, format 212", _wfdb_samples(212), read, mutate_bytes, ("wfdb", _wfdb_package)),
    ("WFDB samples, format 310", _wfdb_samples(310), read, mutate_bytes, ("wfdb", _wfdb_package)),
    ("WFDB annotations", _one(make_annotations), _annotations, mutate_bytes, ("wfdb", _wfdb_annotations)),
    ("DICOM by ecglens", _one(make_dicom), read, mutate_bytes, ("pydicom", _dicom_package)),
    ("DICOM by others", _one(make_foreign_dicom), read, mutate_bytes, ("pydicom", _dicom_package)),
    ("DICOM by others, start", _one(make_foreign_dicom), read, mutate_start, ("pydicom", _dicom_package)),
    ("EDF", _one(make_edf), read, mutate_bytes, ("edfio", _edf_package)),
    ("EDF start", _one(make_edf), read, mutate_start, ("edfio", _edf_package)),
    ("CSV", _one(make_table), read, mutate_text, ("pandas", _table_package)),
    ("npy with its hash", _one(make_npy), read, mutate_bytes, ("numpy", _npy_package)),
    ("npy without a hash", _one(_unsealed_npy), read, mutate_bytes, ("numpy", _npy_package)),
    ("HL7 aECG", _one(make_aecg), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("Philips Sierra XML", _one(make_sierra), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("GE MUSE XML", _one(make_muse), read, mutate_text, ("ecgdatakit", _ecgdatakit)),
    ("GE CardioSoft XML", _one(make_cardiosoft), read, mutate_text, None),
    ("SCP-ECG", _one(make_scp), read, mutate_bytes, ("ecgdatakit", _ecgdatakit)),
    ("ISHNE Holter", _one(make_ishne), read, mutate_bytes, ("ecgdatakit", _ecgdatakit)),
    ("ISHNE Holter, header", _one(make_ishne), read, mutate_start, ("ecgdatakit", _ecgdatakit)),
]
