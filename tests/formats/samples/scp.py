# SPDX-License-Identifier: Apache-2.0
"""A small SCP-ECG record: eight leads, as plain integers or as Huffman-coded second differences."""

from __future__ import annotations

import binascii
import struct
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from samples.patient import BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
CODES = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63,
         "aVF": 64, "-aVR": 65}  # fmt: skip


def crc(data: bytes) -> bytes:
    """Return the CRC that stands before these bytes."""
    return struct.pack("<H", binascii.crc_hqx(data, 0xFFFF))


def section(number: int, body: bytes) -> bytes:
    """Return a section with its header; its length is even."""
    body += b"\x00" * (len(body) % 2)
    head = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, b"SCPECG" if number == 0 else b"")
    return crc(head + body) + head + body


def record(sections: dict[int, bytes]) -> bytes:
    """Return a record of these sections (number -> with header), with pointers to all twelve."""
    at, pointers, rest = 6 + 16 + 120, struct.pack("<HII", 0, 136, 7), b""
    for number in range(1, 12):
        content = sections.get(number, b"")
        pointers += struct.pack("<HII", number, len(content), at + 1 if content else 0)
        at, rest = at + len(content), rest + content
    body = section(0, pointers) + rest
    sized = struct.pack("<I", 6 + len(body)) + body
    return crc(sized) + sized


def huffman(values: np.ndarray) -> bytes:
    """Code whole numbers with the standard's default table."""
    bits = ""
    for value in values.tolist():
        if abs(value) <= 8:
            bits += "0" if not value else "1" * abs(value) + "0" + ("1" if value < 0 else "0")
        elif -128 <= value < 128:
            bits += "1111111110" + f"{value & 0xFF:08b}"
        else:
            bits += "1111111111" + f"{value & 0xFFFF:016b}"
    bits += "0" * (-len(bits) % 16)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _person() -> bytes:
    machine = bytes(8) + DEVICE.encode()[:6] + bytes([20, 192]) + bytes(20) + b"\x00" * 5
    tags = [(0, FAMILY.encode() + b"\x00"), (1, NAME.encode() + b"\x00"), (2, HOSPITAL_ID.encode() + b"\x00"),
            (4, struct.pack("<HB", 57, 1)), (5, struct.pack("<HBB", *BORN)), (8, b"\x02"), (14, machine),
            (25, struct.pack("<HBB", *RECORDED[:3])), (26, bytes(RECORDED[3:])), (255, b"")]  # fmt: skip
    return b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in tags)


def sections_of(ecg: ECG, step: int = 1000, packed: bool = False, leads: tuple[str, ...] = EIGHT) -> dict[int, bytes]:
    """Return the sections of an ECG, number -> with header; `step` in nV."""
    rows = []
    for lead in leads:
        samples = np.rint(ecg[lead].astype(float) * 1e6 / step).astype(np.int64)
        bends = np.concatenate([samples[:2], np.diff(samples, 2)])
        rows.append(huffman(bends) if packed else samples.astype("<i2").tobytes())
    described = bytes([len(leads), 0x04 | len(leads) << 3])
    described += b"".join(struct.pack("<IIB", 1, ecg.n_samples, CODES[lead]) for lead in leads)
    rhythm = struct.pack("<HHBB", step, round(1e6 / ecg.fs), 2 if packed else 0, 0)
    rhythm += struct.pack(f"<{len(rows)}H", *map(len, rows)) + b"".join(rows)
    tables = {2: section(2, struct.pack("<H", 19999))} if packed else {}
    return {1: section(1, _person()), 3: section(3, described), 6: section(6, rhythm)} | tables


def make_scp(folder: Path, ecg: ECG, name: str = "rec", step: int = 1000, packed: bool = False) -> Path:
    """Write `name`.scp, `step` in nV; `packed`: Huffman-coded second differences."""
    path = folder / f"{name}.scp"
    path.write_bytes(record(sections_of(ecg, step, packed)))
    return path
