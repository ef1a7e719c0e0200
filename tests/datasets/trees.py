# SPDX-License-Identifier: Apache-2.0
"""Records, annotations and damage as the trees of `conftest.py` need them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import wfdb

TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def walk(n_leads: int, n_samples: int, seed: int = 0) -> np.ndarray:
    """Return integers [lead, time] that never leave 11 bits."""
    return np.random.default_rng(seed).integers(-3, 4, (n_leads, n_samples)).cumsum(axis=1).clip(-900, 900)


def write_record(
    folder: Path,
    name: str,
    fs: float,
    leads: Sequence[str],
    samples: np.ndarray,
    comments: Sequence[str] = (),
    *,
    gain: str = "200",
    resolution: int = 12,
    zero: int = 0,
    file: str = "",
    head: bytes = b"",
    sums: bool = True,
) -> Path:
    """Write a record in format 16 with the header as its publisher would, sums and first values included."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.asarray(samples + zero, "<i2")
    file = file or f"{name}.dat"
    (folder / file).write_bytes(head + np.ascontiguousarray(stored.T).tobytes())
    lines = [f"{name} {len(leads)} {fs:g} {samples.shape[1]}"]
    for lead, row in zip(leads, stored, strict=True):
        total = int(row.astype(np.int64).sum() + 2**15) % 2**16 - 2**15
        known = f"{row[0]} {total}" if sums else "0 0"
        lines.append(f"{file} 16{f'+{len(head)}' if head else ''} {gain} {resolution} {zero} {known} 0 {lead}")
    path = folder / f"{name}.hea"
    path.write_text("\n".join([*lines, *(f"#{comment}" for comment in comments)]) + "\n")
    return path


def annotate(header: Path, extension: str, marks: Sequence[tuple[int, str, str]]) -> None:
    """Write annotations (sample, symbol, note) beside a header, with the wfdb package."""
    wfdb.wrann(
        header.stem, extension, np.array([m[0] for m in marks]), [m[1] for m in marks],
        aux_note=[m[2] for m in marks], write_dir=str(header.parent),
    )  # fmt: skip


def blank(path: Path, samples: int) -> None:
    """Overwrite the start of a signal file of two channels, as erased memory reads."""
    raw = path.read_bytes()
    path.write_bytes(b"\xff" * (samples * 4) + raw[samples * 4 :])


def matlab_head(rows: int, columns: int) -> bytes:
    """Return what stands before the 16-bit integers of a matrix `val` in a MATLAB version 4 file."""
    return struct.pack("<5i", 30, rows, columns, 0, 4) + b"val\0"
