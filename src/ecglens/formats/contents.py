# SPDX-License-Identifier: Apache-2.0
"""What a file really is, from its first bytes: for the message when it is not what its name says."""

from __future__ import annotations

from pathlib import Path

from ecglens.errors import FormatError

# What a file that is not what its name says usually is: first bytes and words for the message.
_CONTENTS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF-", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"version https://git-lfs", "a git-LFS pointer (the data itself was never downloaded)"),
    (b"/annex/objects/", "a git-annex pointer (the data itself was never downloaded)"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file of version 5 to 7"),
    (b"MATLAB 7.3", "a MATLAB file of version 7.3"),
    (b"<!doctype html", "an HTML page (probably the error page of a download)"),
    (b"<html", "an HTML page (probably the error page of a download)"),
    (b"<?xml", "an XML file"),
)


def other_content(head: bytes) -> str | None:
    """Say in words what a file really is, from its first bytes (132 suffice), or None where that is not known.

    >>> other_content(b"PK\\x03\\x04...")
    'a zip archive'
    """
    if not head:
        return "an empty file"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:32].lower()
    return next((words for magic, words in _CONTENTS if start.startswith(magic) or lower.startswith(magic)), None)


def refuse_other_content(path: Path, head: bytes, expected: str) -> None:
    """Raise FormatError (kind `content`) where the first bytes show that the file is something else."""
    found = other_content(head)
    if found:
        raise FormatError(path, "content", found, expected, "download or export the file again", kind="content")
