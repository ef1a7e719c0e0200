# SPDX-License-Identifier: Apache-2.0
"""The one place that opens untrusted files and the one place that writes: contained, regular, atomic.

Reading: `contained` resolves a name inside a folder and refuses everything that leaves it, `open_regular`
opens without following links and refuses pipes and devices before a read could hang.
Writing: to a temporary file in the same folder, flushed to the disk, then renamed. A kill or a full disk
leaves the old file or the new one, never a third.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np

from ecglens.errors import EnvironmentFault, FormatError, InputError, UnsafeError

MAX_TEXT_BYTES = 64 * 2**20
PART = ".part"  # ends the name of a file that is being written; a kill may leave one


def contained(folder: Path, name: str, where: object) -> Path:
    """Return the path of `name` directly or below `folder`; refuse anything that leaves it or is a link.

    `where` is the file that asked (a header), for the message. Raises UnsafeError.
    """
    fix = "keep all files of a record in its own folder"
    unwritable = any(c < " " or "\ud800" <= c <= "\udfff" for c in name)  # control characters, half characters
    odd = unwritable or "\\" in name or "://" in name or name.startswith("~")
    if not Path(name).name or odd or Path(name).is_absolute():
        raise UnsafeError(where, "file name", repr(name), "a plain name inside the record's folder", fix, kind="path")
    if ".." in Path(name).parts:
        raise UnsafeError(where, "file name", repr(name), "a name without '..'", fix, kind="path")
    root = Path(os.path.realpath(folder))
    path = root / name
    if Path(os.path.realpath(path)) != path or path.is_symlink():  # the second: a link to itself
        raise UnsafeError(where, "file name", f"{name!r}, a link", "a regular file", fix, kind="link")
    return path


def open_regular(path: Path, *, follow_links: bool = False) -> BufferedReader:
    """Open a regular file for reading; a pipe, device, folder or (unless allowed) link is refused, never waited on.

    Raises InputError where the file is missing or unreadable, UnsafeError where it is no regular file.
    """
    if "\x00" in os.fspath(path):
        raise InputError(path, "file", "a NUL character", "a path", "check the path", kind="missing_file")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise InputError(
            path, "file", "nothing there", "an existing file", "check the path", kind="missing_file"
        ) from None
    except IsADirectoryError:
        raise InputError(path, "file", "a folder", "a file", kind="not_a_file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeError(path, "file", "a symbolic link", "a regular file", kind="link") from None
        if error.errno == errno.ENXIO:
            raise UnsafeError(path, "file", "a pipe, socket or device", "a regular file", kind="not_regular") from None
        raise InputError(path, "file", os.strerror(error.errno or 0), "a readable file", kind="unreadable") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise InputError(path, "file", "a folder", "a file", kind="not_a_file")
        raise UnsafeError(path, "file", "a pipe, socket or device", "a regular file", kind="not_regular")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int, *, follow_links: bool = False) -> bytes:
    """Read a regular file of at most `limit` bytes; a larger one is refused before anything is allocated."""
    with open_regular(path, follow_links=follow_links) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:  # the second where the file grew meanwhile, or told no size
        raise FormatError(path, "size", f"{max(size, len(data))} bytes", f"at most {limit}", kind="too_large")
    return data


def read_json(path: Path, limit: int = MAX_TEXT_BYTES) -> Any:
    """Read a JSON file. Raises FormatError where it is not JSON."""
    raw = read_bytes(path, limit, follow_links=True)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "content", f"no JSON ({error})", "JSON", kind="json") from None


@contextlib.contextmanager
def atomic_writer(path: Path, mode: str = "wb", *, durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file that becomes `path` when the block ends without an exception.

    durable  wait until the disk has it; not needed for one of many files that can be made again

    Raises EnvironmentFault (exit code 5) where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by open itself, so that the umask holds without being asked for: asking changes it for all threads.
        name = path.parent / f".{path.name[:50]}.{secrets.token_hex(8)}{PART}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        temporary = name
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
        with os.fdopen(handle, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise disk_fault(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write bytes atomically."""
    with atomic_writer(path, durable=durable) as file:
        file.write(data)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON atomically, keys in the order given; NaN is refused (write null)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", durable=durable)


def write_npy(path: Path, array: np.ndarray, *, durable: bool = True) -> None:
    """Write a `.npy` file atomically; object arrays are refused."""
    with atomic_writer(path, durable=durable) as file:
        np.save(file, array, allow_pickle=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with open_regular(path, follow_links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_fault(path: Path, error: OSError) -> EnvironmentFault:
    """Say in one line why `path` could not be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    fix = {
        errno.ENOSPC: "free some space, or write elsewhere",
        errno.EDQUOT: "free some space, or write elsewhere",
        errno.EFBIG: "raise the file size limit, or write elsewhere",
        errno.EACCES: "choose a folder you may write to",
        errno.EROFS: "choose a folder you may write to",
    }.get(error.errno or 0, "check the folder")
    return EnvironmentFault(path, "writing", reason, "", fix, kind="disk")


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk too; some file systems refuse fsync on folders, which is no fault.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
