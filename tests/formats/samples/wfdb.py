# SPDX-License-Identifier: Apache-2.0
"""Small WFDB records: format 16, packed formats, several segments, annotations. Packed here as signal(5) tells it."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from ecglens.formats.wfdb import write_wfdb


def pack_212(row: np.ndarray) -> bytes:
    """Pack as signal(5) says it in words, one bit string after the other: nothing of the reader is used here."""
    words = [int(value) % 4096 for value in row]
    packed = bytearray()
    for i in range(0, len(words), 2):
        first, second = words[i], words[i + 1] if i + 1 < len(words) else 0
        packed += bytes([first % 256, first // 256 + second // 256 * 16, second % 256])
    return bytes(packed[:-1] if len(words) % 2 else packed)


def pack(number: int, row: list[int]) -> bytes:
    """Pack one row of integers, number by number."""
    match number:
        case 24:
            return b"".join((v % 2**24).to_bytes(3, "little") for v in row)
        case 32:
            return struct.pack(f"<{len(row)}i", *row)
        case 61:
            return struct.pack(f">{len(row)}h", *row)
        case 80:
            return bytes(v + 128 for v in row)
        case 160:
            return struct.pack(f"<{len(row)}H", *(v + 2**15 for v in row))
    packed = b""
    for i in range(0, len(row), 3):
        a, b, c = (v % 1024 for v in [*row[i : i + 3], 0, 0][:3])
        if number == 310:
            packed += struct.pack("<2H", a << 1 | (c & 31) << 11, b << 1 | c >> 5 << 11)
        else:
            packed += struct.pack("<I", a | b << 10 | c << 20)
    return packed


def make_wfdb(folder: Path, ecg: ECG) -> Path:
    """Write the ECG in format 16 and return its header."""
    return write_wfdb(ecg, folder)


def make_packed(folder: Path, ecg: ECG, number: int) -> Path:
    """Write the ECG in format 212 or 310, with checksums, and return its header."""
    raw = np.rint(ecg.signal * 200).astype(int)
    row = raw.T.reshape(-1)
    packed = pack_212(row) if number == 212 else pack(number, row.tolist())
    (folder / f"{ecg.record_id}.dat").write_bytes(packed)
    lines = [f"{ecg.record_id} {len(raw)} {ecg.fs:g} {raw.shape[1]}"]
    for lead, samples in zip(ecg.leads, raw, strict=True):
        lines.append(f"{ecg.record_id}.dat {number} 200(0)/mV 10 0 {samples[0]} {samples.sum() % 65536} 0 {lead}")
    header = folder / f"{ecg.record_id}.hea"
    header.write_text("\n".join(lines) + "\n")
    return header


def make_segments(folder: Path, ecg: ECG) -> Path:
    """Write the ECG as a record of three segments, each a record of its own."""
    edges = np.linspace(0, ecg.n_samples, 4).astype(int).tolist()
    lines = [f"{ecg.record_id}/3 {len(ecg.leads)} {ecg.fs:g} {ecg.n_samples}"]
    for name, (first, last) in zip("abc", pairwise(edges), strict=True):
        write_wfdb(ECG(ecg.signal[:, first:last], ecg.fs, ecg.leads, name), folder)
        lines.append(f"{name} {last - first}")
    header = folder / f"{ecg.record_id}.hea"
    header.write_text("\n".join(lines) + "\n")
    return header


def make_annotations(folder: Path, ecg: ECG) -> Path:
    """Write the ECG with the beats of half an hour, as the MIT format has them: words of a code and an interval."""
    write_wfdb(ECG(np.zeros((2, 1800 * 100), np.float32), 100, ("MLII", "V1"), ecg.record_id), folder)
    rng = np.random.default_rng(3)
    words = [28 << 10 | 18, 63 << 10 | 2, int.from_bytes(b"(N", "little")]  # a rhythm, and its name
    beats = rng.choice([1, 1, 1, 5, 8], 300) << 10 | rng.integers(40, 110, 300)
    words += beats.tolist()
    path = folder / f"{ecg.record_id}.atr"
    path.write_bytes(struct.pack(f"<{len(words)}H", *words) + bytes(2))
    return path
