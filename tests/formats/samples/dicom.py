# SPDX-License-Identifier: Apache-2.0
"""DICOM waveforms: as ecglens writes them, and as another maker would, with a median beat and without a seal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ecglens.ecg import ECG
from ecglens.formats.dicom_writer import write_dicom


def make_dicom(folder: Path, ecg: ECG, name: str = "rec") -> Path:
    return write_dicom(ecg, folder / f"{name}.dcm")


def make_foreign_dicom(folder: Path, ecg: ECG, name: str = "rec", syntax: str = ExplicitVRLittleEndian) -> Path:
    """Another maker's file: named patient, rhythm and median beat, no seal."""
    path = write_dicom(ecg, folder / f"{name}.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.ImplementationClassUID = generate_uid(entropy_srcs=["another maker"])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "12345678", "19610102"
    dataset.PatientSex, dataset.PatientAge, dataset.AcquisitionDateTime = "F", "058Y", "20190203111213"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Model 3"
    dataset.add_new(0x00091001, "LO", "Jane Doe, private")
    beat = Dataset()
    beat.update(dataset.WaveformSequence[0])
    beat.WaveformOriginality, beat.MultiplexGroupLabel = "DERIVED", "MEDIAN BEAT"
    beat.NumberOfWaveformSamples = 60
    beat.WaveformData = np.zeros((60, len(ecg.leads)), "<i2").tobytes()
    dataset.WaveformSequence = [beat, dataset.WaveformSequence[0]]
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    dataset.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=little)
    return path
