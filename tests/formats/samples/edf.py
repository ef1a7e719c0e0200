# SPDX-License-Identifier: Apache-2.0
"""EDF+ as edfio writes it: ECG channels in uV, a breathing channel at another rate, an annotation, a patient."""

from __future__ import annotations

import datetime
from pathlib import Path

import edfio
import numpy as np

from ecglens.ecg import ECG


def make_edf(folder: Path, ecg: ECG, name: str = "rec", plus: bool = True) -> Path:
    """Write records of 0.1 s; the recording must be a whole number of them."""
    limits = {"physical_range": (-32768.0, 32767.0), "digital_range": (-32768, 32767)}
    signals = [
        edfio.EdfSignal(1000 * row.astype(float), ecg.fs, label=f"ECG {lead}", physical_dimension="uV", **limits)
        for lead, row in zip(ecg.leads, ecg.signal, strict=True)
    ]
    breathing = np.sin(np.arange(round(ecg.duration * 10)))
    signals.append(edfio.EdfSignal(breathing, 10, label="Resp chest", physical_dimension="", physical_range=(-1, 1)))
    day = datetime.date(2019, 2, 3)
    about = {}
    if plus:
        about = {
            "patient": edfio.Patient(code="12345678", sex="F", birthdate=datetime.date(1961, 1, 2), name="Jane_Doe"),
            "recording": edfio.Recording(startdate=day, investigator_technician_code="J_Smith"),
            "annotations": [edfio.EdfAnnotation(0.1, None, "Jane coughed")],
        }  # fmt: skip
    path = folder / f"{name}.edf"
    edfio.Edf(signals, starttime=datetime.time(11, 12, 13), data_record_duration=0.1, **about).write(path)
    return path
