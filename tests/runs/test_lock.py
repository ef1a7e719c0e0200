# SPDX-License-Identifier: Apache-2.0
"""One writer at a time, named to the second; the kernel frees the lock of the dead."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecglens.errors import EnvironmentFault, LockedError
from ecglens.runs.lock import writing

HOLD = (
    "import sys, time; from pathlib import Path; from ecglens.runs.lock import writing\n"
    "with writing(Path(sys.argv[1])): print('held', flush=True); time.sleep(20)"
)
TRY = (
    "import sys; from pathlib import Path; from ecglens.runs.lock import writing\n"
    "from ecglens.errors import LockedError\n"
    "try:\n  with writing(Path(sys.argv[1])): print('got it')\n"
    "except LockedError as error: print(error); sys.exit(error.exit_code)"
)


def attempt(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", TRY, str(folder)], capture_output=True, text=True)


def test_second_process_is_told_who_writes_and_death_frees_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        refused = attempt(tmp_path)
        assert refused.returncode == 5
        assert f"process {holder.pid} on " in refused.stdout
        with pytest.raises(LockedError, match=f"process {holder.pid} ") as caught, writing(tmp_path):
            pass
        assert caught.value.kind == "locked"
        holder.send_signal(signal.SIGKILL)
    with writing(tmp_path):  # the file still lies there; the lock does not
        pass
    assert attempt(tmp_path).stdout == "got it\n"


def test_the_same_process_cannot_write_twice_either(tmp_path: Path) -> None:
    with writing(tmp_path / "new"):
        with pytest.raises(LockedError, match=f"process {os.getpid()} "), writing(tmp_path / "new"):
            pass
        with writing(tmp_path / "other"):
            pass
    with writing(tmp_path / "new"):
        pass


def test_an_exception_frees_the_lock_and_passes(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), writing(tmp_path):
        raise OSError("mine")  # of the work, not of the lock: not turned into another error
    with writing(tmp_path):
        pass


def test_a_lock_file_with_anything_in_it_does_not_matter(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"[1]", b"\xff", b"x" * 5000):
        (tmp_path / ".lock").write_bytes(content)
        with writing(tmp_path):
            pass
        handle = os.open(tmp_path / ".lock", os.O_RDWR)
        os.truncate(handle, 0)
        os.pwrite(handle, content, 0)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="held by another process"), writing(tmp_path):
            pass
        os.close(handle)


@pytest.mark.parametrize("name", ["ftruncate", "pwrite", "open"])
def test_a_full_disk_is_a_fault_of_the_environment(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        with pytest.raises(EnvironmentFault) as caught, writing(tmp_path):
            pass
    assert (caught.value.exit_code, caught.value.kind) == (5, "disk")
    with writing(tmp_path):  # and nothing stays locked
        pass


def test_a_file_system_without_locks_is_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(EnvironmentFault, match="No locks"), writing(tmp_path):
        pass


def test_a_link_as_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"keep")
    (tmp_path / ".lock").symlink_to("precious")
    with pytest.raises(EnvironmentFault), writing(tmp_path):
        pass
    assert (tmp_path / "precious").read_bytes() == b"keep"
