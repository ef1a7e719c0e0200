# SPDX-License-Identifier: Apache-2.0
"""The seal of DICOM files that ecglens writes: their UIDs are a digest of all other bytes.

DICOM has no checksum. But a UID may be any number of 128 bits (PS3.5 annex B.2), so ours is made from the file
itself, written with placeholders where the UIDs go. Whoever reads the file can do the same sum.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ecglens.errors import FormatError
from ecglens.formats.dicom_elements import DicomFile, text

IMPLEMENTATION = "2.25.332393245804443077228039980895316429638"  # who wrote the file: ecglens
N_UIDS = 4  # study, series, frame of reference, instance
_FIRST = 10**38  # numbers from here on have 39 digits, so that a UID takes as many bytes as its placeholder
_IMPLEMENTATION_TAG, _INSTANCE_TAG = 0x00020012, 0x00080018


def uids(number: int) -> list[str]:
    """Return the UIDs of a file; the last is that of the instance.

    >>> uids(0)[-1]
    '2.25.100000000000000000000000000000000000003'
    """
    return [f"2.25.{_FIRST + number + k}" for k in range(N_UIDS)]


PLACEHOLDERS = uids(0)


def sealed(content: bytes) -> bytes:
    """Return a file that was written with PLACEHOLDERS, with UIDs made from its bytes."""
    return bytes(_exchanged(content, PLACEHOLDERS, uids(_number(content))))


def _number(content: bytes | bytearray) -> int:
    digest = int.from_bytes(hashlib.sha256(content).digest()[:16], "big")
    return N_UIDS + digest % (2**128 - _FIRST - 2 * N_UIDS)  # never one of the placeholders


def check_seal(path: Path, file: DicomFile) -> None:
    """Raise FormatError (kind `checksum`) where a file that ecglens wrote is not as it was written."""
    if text(file.meta, _IMPLEMENTATION_TAG) != IMPLEMENTATION:
        return
    instance = text(file.elements, _INSTANCE_TAG)
    digits = instance.removeprefix("2.25.")
    number = int(digits) - _FIRST - N_UIDS + 1 if digits.isascii() and digits.isdecimal() and len(digits) == 39 else 0
    # As written, it had placeholders where it has UIDs now, and nowhere else.
    before = _exchanged(file.raw, uids(number), PLACEHOLDERS)
    if number < N_UIDS or any(uid.encode() in file.raw for uid in PLACEHOLDERS) or _number(before) != number:
        raise FormatError(
            path, "instance UID", "not the one that belongs to this content", "a file as ecglens wrote it",
            "copy the file again; a program that edits it must write its own implementation class UID",
            kind="checksum",
        )  # fmt: skip


def _exchanged(content: bytes, old: list[str], new: list[str]) -> bytearray:
    """Return a copy of the file with other UIDs, of the same length; in place, since a file can have 128 MB."""
    changed = bytearray(content)
    for one, other in zip(old, new, strict=True):
        at = content.find(one.encode())
        while at >= 0:
            changed[at : at + len(one)] = other.encode()
            at = content.find(one.encode(), at + len(one))
    return changed
