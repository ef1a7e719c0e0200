# SPDX-License-Identifier: Apache-2.0
"""A folder of arrays that were expensive to make, kept by what they were made from, verified when used.

An entry is written array by array beside its place and renamed into it, so that memory stays flat, a kill leaves no
half entry and two writers cannot meet. Each array carries a checksum; a damaged entry is dropped and made again.

`key_of_files` names files by their content. The content of unchanged files is not read twice: what the system says of
a file (size, inode, times of change) leads to its content, as found when it was read.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import math
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ecglens.errors import EcglensError, EnvironmentFault
from ecglens.runs.files import disk_fault, sha256, write_text
from ecglens.runs.run import hash_of

_LOG = logging.getLogger(__name__)
SETTLED = 2.0  # s since a file changed before its times are trusted to tell the next change
STALE, FORSAKEN = 60.0, 86400.0  # s without a write: a lock tells whether the writer lives; without locks, it is dead
_BLOCK = 1 << 20
_KNOWN = "known"  # folder of the entries that lead from files, as the system sees them, to their content


def default_cache() -> Path:
    """Return `$ECGLENS_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("ECGLENS_CACHE")
    root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ecglens"
    return root / "prepared"


def identity(paths: Sequence[Path]) -> list[tuple[int, int, int, int]]:
    """Return (size, time of change, time of change of anything about it, inode) per file; times in ns.

    Equal as long as nobody touches the files, whatever the folder is called. Raises OSError.
    """
    states = [os.stat(path) for path in paths]
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in states]


class Cache:
    """Entries of float32 arrays with a JSON index, under `folder`; `damaged` counts those that were dropped."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when the first entry is written."""
        self.folder = Path(folder)
        self.damaged = 0

    def load(self, key: str) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Return the arrays (memory-mapped, read-only) and facts of an entry; None where missing or damaged."""
        entry = self.folder / key
        try:
            signed = json.loads((entry / "index.json").read_bytes())
            index = signed["index"]
            if signed["crc32"] != _text_checksum(index):
                raise ValueError("checksum of the index")
            _verify(entry / "values.npy", index["shapes"], index["crc32"])
            return _mapped(entry / "values.npy", index["shapes"]), index["facts"]
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, RecursionError) as error:
            if not entry.exists():
                return None
            _LOG.warning("cache entry %s is damaged (%s) and will be made again", key, error)
            self.damaged += 1
            shutil.rmtree(entry, ignore_errors=True)
            return None

    def writer(self, key: str) -> Writer:
        """Return a writer that takes the arrays of an entry one by one; use it in a `with`."""
        return Writer(self.folder, key)

    def store(self, key: str, arrays: Sequence[np.ndarray], facts: dict[str, Any]) -> None:
        """Keep float32 arrays with JSON facts. Raises EnvironmentFault where the disk does not allow it."""
        with self.writer(key) as writer:
            for array in arrays:
                writer.append(array)
            writer.finish(facts)

    def size(self) -> int:
        """Return the bytes that all entries take."""
        return sum(path.stat().st_size for path in self.folder.glob("*/*") if path.is_file())

    def key_of_files(self, paths: Sequence[Path]) -> str | None:
        """Return a word for the content of these files, in this order; None where one cannot be read.

        Files whose size, inode and times of change are as they were are not read again. What that cannot see: a
        change that leaves all four alone, which takes a clock set back or a disk written past its file system.
        """
        unique = list(dict.fromkeys(paths))
        try:
            seen = identity(unique)
            known = self.folder / _KNOWN / hash_of(seen)[:32]
            if known.is_file() and re.fullmatch(r"[0-9a-f]{64}", text := known.read_text("ascii")):
                return text
            with ThreadPoolExecutor(2) as pool:  # the hash lets others run while it works
                content = hash_of(list(pool.map(sha256, unique)))
            if identity(unique) != seen:
                return None
        except (OSError, ValueError, EcglensError):
            return None  # whoever reads the files will say which, and why
        if time.time() - max((changed for _, _, changed, _ in seen), default=0) / 1e9 > SETTLED:
            with contextlib.suppress(EnvironmentFault):
                write_text(known, content)
        return content


class Writer:
    """Writes one entry: `append` arrays, then `finish`. Without `finish`, leaving the `with` removes all traces."""

    def __init__(self, folder: Path, key: str) -> None:
        """Nothing is written before the first array."""
        self.place = folder / key
        self.shapes: list[list[int]] = []
        self._checksums: list[int] = []
        self._part: Path | None = None
        self._file: io.FileIO | None = None
        self._lock = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, array: np.ndarray) -> None:
        """Write one array. Raises EnvironmentFault where the disk does not allow it; those before are still there."""
        data = np.ascontiguousarray(array, dtype="<f4")
        with self._faults():
            if self._file is None:
                self._begin()
            assert self._file is not None
            _write_all(self._file, _bytes(data))  # not through a map: a full disk would kill, not raise
        self.shapes.append(list(data.shape))
        self._checksums.append(zlib.crc32(_bytes(data)))

    def written(self) -> list[np.ndarray]:
        """Return the arrays so far, in memory."""
        if self._part is None or not self.shapes:
            return []
        flat = np.fromfile(self._part / "values.npy", "<f4", _size(self.shapes), offset=len(_npy_header(0)))
        return _slices(flat, self.shapes)

    def finish(self, facts: dict[str, Any]) -> list[np.ndarray]:
        """Put the entry in its place and return its arrays, memory-mapped. Raises EnvironmentFault.

        Where another writer was faster, its entry stays: it was made from the same.
        """
        with self._faults():
            if self._file is None:
                self._begin()
            assert self._file is not None
            assert self._part is not None
            self._file.seek(0)
            _write_all(self._file, memoryview(_npy_header(_size(self.shapes))))
            index = {"shapes": self.shapes, "crc32": self._checksums, "facts": facts}
            (self._part / "index.json").write_text(json.dumps({"crc32": _text_checksum(index), "index": index}))
            arrays = _mapped(self._part / "values.npy", self.shapes)  # stays readable, whoever removes the file
            try:
                self._part.rename(self.place)
            except OSError:
                if not (self.place / "index.json").exists():
                    raise
        return arrays

    def close(self) -> None:
        """Remove what was not finished, and let go of the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._part is not None:
            shutil.rmtree(self._part, ignore_errors=True)
            self._part = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _begin(self) -> None:
        self.place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(self.place.parent)
        self._part = Path(tempfile.mkdtemp(prefix=f".{self.place.name}.", dir=self.place.parent))
        self._lock = os.open(self._part, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # where the file system has no locks, age alone tells
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file = (self._part / "values.npy").open("wb", buffering=0)
        _write_all(self._file, memoryview(_npy_header(0)))  # as long as that of any size

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_fault(self.place, error) from error


def _sweep(folder: Path) -> None:
    """Remove what killed writers left: folders whose lock nobody holds."""
    for path in folder.glob(".*.*"):
        with contextlib.suppress(OSError):
            age = time.time() - max(p.stat(follow_symlinks=False).st_mtime for p in (path, *path.glob("*")))
            if age > STALE and path.is_dir() and not path.is_symlink() and not _held(path, age):
                shutil.rmtree(path, ignore_errors=True)


def _held(path: Path, age: float) -> bool:
    """Tell whether a writer lives; by age where the file system knows no locks."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return age < FORSAKEN
    finally:
        os.close(handle)
    return False


def _verify(path: Path, shapes: Sequence[Sequence[int]], checksums: Sequence[int]) -> None:
    """Check header, size and each array of a file that a Writer wrote. Raises ValueError.

    It is read, not mapped, so that the memory of this process stays as it is; in two threads, since zlib lets others
    run while it sums.
    """
    header = _npy_header(_size(shapes))
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("header")
        if os.fstat(file.fileno()).st_size != len(header) + 4 * _size(shapes):
            raise ValueError("size")
    half = len(shapes) // 2
    middle = len(header) + 4 * _size(shapes[:half])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_checksums_from, path, len(header), shapes[:half])
        second = _checksums_from(path, middle, shapes[half:])
        if first.result() + second != checksums:
            raise ValueError("checksum")


def _checksums_from(path: Path, start: int, shapes: Sequence[Sequence[int]]) -> list[int]:
    """Return the checksum of each array, the first of which lies at byte `start`."""
    found, buffer = [], memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        for shape in shapes:
            left, checksum = 4 * math.prod(shape), 0
            while left > 0:
                n = file.readinto(buffer[: min(left, _BLOCK)])
                if not n:
                    raise ValueError("end of the file")
                checksum, left = zlib.crc32(buffer[:n], checksum), left - n
            found.append(checksum)
    return found


def _mapped(path: Path, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return the arrays of a file that a Writer wrote, memory-mapped and read-only."""
    size = _size(shapes)
    if size == 0:  # nothing to map
        return [np.zeros(shape, "<f4") for shape in shapes]
    # As a plain array: slicing a memmap object costs fifty times as much, and there are thousands of slices.
    flat = np.asarray(np.memmap(path, "<f4", "r", offset=len(_npy_header(size)), shape=(size,)))
    return _slices(flat, shapes)


def _npy_header(size: int) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (size,)})
    return header.getvalue()


def _write_all(file: io.FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _size(shapes: Sequence[Sequence[int]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _text_checksum(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _slices(flat: np.ndarray, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return [flat[a:b].reshape(shape) for a, b, shape in zip(edges[:-1], edges[1:], shapes, strict=True)]
