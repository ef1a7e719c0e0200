# SPDX-License-Identifier: Apache-2.0
"""One writer per folder: a kernel lock that dies with its process, so that no stale lock can remain."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from ecglens.errors import LockedError
from ecglens.runs.files import disk_fault


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs. Raises LockedError (exit code 5) naming the other writer."""
    path = Path(folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise disk_fault(path, error) from error
    try:
        _take(handle, path)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        me = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.pwrite(handle, json.dumps(me).encode(), 0)
    except BlockingIOError:
        raise LockedError(
            path.parent, "lock", f"held by {_holder(handle)}", "one writer at a time", "wait for it, or write elsewhere"
        ) from None
    except OSError as error:  # a full disk, or a file system without locks
        raise disk_fault(path, error) from error


def _holder(handle: int) -> str:
    try:
        told = json.loads(os.pread(handle, 1000, 0))
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
