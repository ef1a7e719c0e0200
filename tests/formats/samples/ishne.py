# SPDX-License-Identifier: Apache-2.0
"""A small ISHNE Holter recording."""

from __future__ import annotations

import binascii
import struct
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from ecglens.formats.ishne import GAP, LEADS
from samples.patient import ADDRESS, BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED


def make_ishne(folder: Path, ecg: ECG, name: str = "rec", step: int = 1000) -> Path:
    """Write `name`.ecg, `step` in nV; gaps (NaN) as -32768."""
    codes = {lead: code for code, lead in LEADS.items()}
    n_leads, spare = len(ecg.leads), 12 - len(ecg.leads)
    note = f"{NAME} {FAMILY}, {ADDRESS}".encode()
    fixed = struct.pack("<4i h", len(note), ecg.n_samples, 522, 522 + len(note), 1)
    fixed += struct.pack("40s 40s 20s", NAME.encode(), FAMILY.encode(), HOSPITAL_ID.encode())
    fixed += struct.pack("<2h 3h 3h 3h 3h", 2, 0, *BORN[::-1], *RECORDED[2::-1], *RECORDED[2::-1], *RECORDED[3:])
    fixed += struct.pack("<h", n_leads)
    for values, absent in (([codes[lead] for lead in ecg.leads], -9), ([1] * n_leads, -9), ([step] * n_leads, -9)):
        fixed += struct.pack("<12h", *values, *[absent] * spare)
    fixed += struct.pack("<h 40s h 80s 80s 88s", 0, DEVICE.encode(), round(ecg.fs), b"", b"", b"")
    assert len(fixed) == 512
    header = fixed + note
    samples = np.where(np.isnan(ecg.signal), GAP, np.rint(ecg.signal.astype(float) * 1e6 / step)).astype("<i2")
    path = folder / f"{name}.ecg"
    checksum = struct.pack("<H", binascii.crc_hqx(header, 0xFFFF))
    path.write_bytes(b"ISHNE1.0" + checksum + header + samples.T.tobytes())
    return path
