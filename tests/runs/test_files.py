# SPDX-License-Identifier: Apache-2.0
"""Nothing leaves its folder, nothing hangs, and a write that fails at any step leaves what was there before."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecglens.errors import EnvironmentFault, FormatError, InputError, UnsafeError
from ecglens.runs.files import (
    atomic_writer,
    contained,
    open_regular,
    read_bytes,
    read_json,
    sha256,
    write_bytes,
    write_json,
    write_npy,
    write_text,
)

# ---------------------------------------------------------------- containment


@pytest.mark.parametrize(
    "name",
    [
        "../secret", "..", "a/../../secret", "a/..", "/etc/passwd", "//etc/passwd", "http://host/x", "file:///etc/passwd",
        "..\\secret", "C:\\x", "a\x00b", "~/x", "~root/x", "", ".", "a\nb", "a\x1b[31m", "\ud800",
    ],
)  # fmt: skip
def test_a_name_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    with pytest.raises(UnsafeError) as caught:
        contained(tmp_path / "in", name, "table.csv")
    assert (caught.value.exit_code, caught.value.kind) == (4, "path")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a.dat", "deep/er/a.dat", "a..b", "..a", "a b", "ä.dat", "-x", "a~"])
def test_a_plain_name_is_found_below_its_folder(tmp_path: Path, name: str) -> None:
    assert contained(tmp_path, name, "h") == Path(os.path.realpath(tmp_path)) / name


def test_a_link_is_refused_as_file_and_as_folder_even_inside(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "x").write_text("x")
    (folder / "file").symlink_to("real/x")
    (folder / "sub").symlink_to("real")
    (folder / "away").symlink_to("/etc")
    (folder / "loop").symlink_to("loop")
    for name in ("file", "sub/x", "away/passwd", "loop"):
        with pytest.raises(UnsafeError) as caught:
            contained(folder, name, "h")
        assert caught.value.kind == "link"
    (tmp_path / "alias").symlink_to(folder)  # the folder itself is the user's own choice
    assert contained(tmp_path / "alias", "real/x", "h").read_text() == "x"


# ---------------------------------------------------------------- reading


def test_pipe_device_and_socket_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        began = time.monotonic()
        for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null"), tmp_path / "door"):
            with pytest.raises(UnsafeError) as caught:
                open_regular(path)
            assert caught.value.kind == "not_regular"
        assert time.monotonic() - began < 1


def test_link_is_refused_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"here")
    (tmp_path / "link").symlink_to("x")
    with pytest.raises(UnsafeError) as caught:
        open_regular(tmp_path / "link")
    assert caught.value.kind == "link"
    assert read_bytes(tmp_path / "link", 10, follow_links=True) == b"here"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    with pytest.raises(UnsafeError):
        read_bytes(tmp_path / "to-pipe", 10, follow_links=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gone", "missing_file"), ("", "not_a_file"), ("x/y", "unreadable"), ("n" * 300, "unreadable"),
        ("a\0b", "missing_file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InputError) as caught:
        open_regular(tmp_path / name)
    assert (caught.value.kind, caught.value.exit_code) == (kind, 3)


def test_the_limit_counts_bytes_read_not_only_the_size_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    for path, limit in ((tmp_path / "x", 4), (Path("/proc/self/status"), 10)):  # /proc tells a size of 0
        with pytest.raises(FormatError) as caught:
            read_bytes(path, limit)
        assert caught.value.kind == "too_large"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_a_format_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(FormatError) as caught:
        read_json(tmp_path / "x.json")
    assert caught.value.kind == "json"


def test_round_trips(tmp_path: Path) -> None:
    value = {"b": [1, None, 0.1], "a": "ü"}
    write_json(tmp_path / "new" / "x.json", value)
    assert read_json(tmp_path / "new" / "x.json") == value
    assert (tmp_path / "new" / "x.json").read_text(encoding="utf-8").index('"b"') < 10  # keys in the order given
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_npy(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), array)
    write_text(tmp_path / "x.txt", "a\r\nü")
    assert (tmp_path / "x.txt").read_bytes() == "a\r\nü".encode()
    assert sha256(tmp_path / "x.txt") == hashlib.sha256("a\r\nü".encode()).hexdigest()


# ---------------------------------------------------------------- atomic writing

OLD, NEW = b"old " * 10, b"new " * 60_000  # more than one buffer, so that there are several writes


class Failing:
    """Counts calls of the functions that write, and makes the n-th one fail."""

    NAMES = ("open", "fsync", "replace")

    def __init__(self, patch: pytest.MonkeyPatch, n: int, error: int) -> None:
        self.calls, self.n, self.error = 0, n, error
        for name in self.NAMES:
            patch.setattr(os, name, self.wrap(getattr(os, name)))
        # Python's file objects write without os.write: an object that goes through it stands in for them.
        patch.setattr(os, "fdopen", lambda handle, mode, **_: Slow(handle, self.wrap(os.write)))

    def wrap(self, function: Callable) -> Callable:
        def counted(*arguments, **options):
            self.calls += 1
            if self.calls == self.n:
                raise OSError(self.error, os.strerror(self.error))
            return function(*arguments, **options)

        return counted


class Slow:
    """A file whose writes are system calls of at most 64 KiB."""

    def __init__(self, handle: int, write: Callable) -> None:
        self.handle, self._write = handle, write

    def write(self, data: bytes) -> None:
        for first in range(0, len(data), 65536):
            self._write(self.handle, data[first : first + 65536])

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self.handle

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_) -> None:
        os.close(self.handle)


def writing_calls(folder: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counter = Failing(patch, -1, 0)
        write_bytes(folder / "count", NEW)
    (folder / "count").unlink()
    return counter.calls


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_every_step_may_fail_and_the_old_file_stays(tmp_path: Path, error: int) -> None:
    steps = writing_calls(tmp_path)
    assert steps >= 8  # open, four writes, fsync, replace, open and fsync of the folder
    outcomes = []
    for n in range(1, steps + 1):
        path = tmp_path / "x"
        path.write_bytes(OLD)
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, n, error)
            fault = None
            try:
                write_bytes(path, NEW)
            except EnvironmentFault as raised:
                fault = raised
        if fault is not None:
            assert (fault.exit_code, fault.kind, os.strerror(error) in str(fault)) == (5, "disk", True)
        outcomes.append((fault is not None, path.read_bytes()))
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
    replaced = steps - 2  # behind it lie only the open and the fsync that make the rename itself durable
    assert outcomes[:replaced] == [(True, OLD)] * replaced
    assert all(content == NEW for _, content in outcomes[replaced:])


def interrupt(path: Path, error: type[BaseException]) -> None:
    with atomic_writer(path) as file:
        file.write(NEW)
        raise error


def test_contents_reach_the_disk_before_the_name_and_the_name_before_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a power cut may leave depends on this order alone: contents, then the rename, then the folder's entry.
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            order.append("folder")
        else:
            order.append(f"file of {os.fstat(handle).st_size} bytes")
        fsync(handle)

    def renamed(source: object, target: object) -> None:
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_bytes(tmp_path / "x", NEW)
    assert order == [f"file of {len(NEW)} bytes", "rename", "folder"]


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", OLD)
    for error in (KeyboardInterrupt, ZeroDivisionError):
        with pytest.raises(error):
            interrupt(tmp_path / "x", error)
    with pytest.raises(ValueError):
        write_json(tmp_path / "x", {"value": float("nan")})
    with pytest.raises(ValueError):
        write_npy(tmp_path / "x", np.array([object()]))
    assert (tmp_path / "x").read_bytes() == OLD
    assert len(list(tmp_path.iterdir())) == 1


def test_a_real_limit_on_file_size_leaves_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", OLD)
    code = (
        "import resource, sys; from pathlib import Path; from ecglens.runs.files import write_bytes\n"
        "from ecglens.errors import EnvironmentFault\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_bytes(Path(sys.argv[1]), b'n' * 1_000_000)\n"
        "except EnvironmentFault as fault: print(fault); sys.exit(fault.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert "raise the file size limit" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == OLD


def test_a_folder_that_cannot_be_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault) as caught:
        write_bytes(tmp_path / "file" / "x", b"")
    assert caught.value.exit_code == 5


def test_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    contents = {i: bytes([i]) * 300_000 for i in range(256)}
    code = (
        "import sys; from pathlib import Path; from ecglens.runs.files import write_bytes\n"
        "print('go', flush=True)\n"
        "while True:\n  for i in range(256): write_bytes(Path(sys.argv[1]), bytes([i]) * 300_000)"
    )
    chance, seen = random.Random(0), set()
    write_bytes(path, contents[0])
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(chance.uniform(0.005, 0.1))
            writer.send_signal(signal.SIGKILL)
        found = path.read_bytes()
        assert found == contents[found[0]], "a third file"
        seen.add(found[0])
    assert len(seen) > 1, "no writer ever wrote"
    assert all(p == path or (p.name.startswith(".x.") and p.suffix == ".part") for p in tmp_path.iterdir())


# ---------------------------------------------------------------- permissions and names


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_umask_holds_and_is_never_touched(tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask belongs to all threads"))
            write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "x").st_mode) == 0o666 & ~mask


def test_the_longest_name_of_the_file_system_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "Ä" * 127, "漢" * 85):
        write_bytes(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(OLD)
    (tmp_path / "x").symlink_to("precious")
    write_bytes(tmp_path / "x", b"new")
    assert ((tmp_path / "precious").read_bytes(), (tmp_path / "x").is_symlink()) == (OLD, False)
