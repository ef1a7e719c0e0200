# SPDX-License-Identifier: Apache-2.0
"""A folder of arrays that were expensive to make, kept by what they were made from, verified when used.

An entry is written beside its place and renamed into it, so that a kill leaves no half entry and two writers
cannot meet. Each part carries a checksum; a damaged entry is dropped and made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.runs.files import disk_fault

_LOG = logging.getLogger(__name__)


def default_cache() -> Path:
    """Return `$ECGLENS_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("ECGLENS_CACHE")
    root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ecglens"
    return root / "prepared"


def files_key(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return (path, size, time of change in ns) per file: equal while nobody touches the files."""
    key = []
    for path in paths:
        status = os.stat(path)
        key.append((os.fspath(path), status.st_size, status.st_mtime_ns))
    return key


class Cache:
    """Entries of float32 arrays with a JSON index, under `folder`."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when the first entry is written."""
        self.folder = Path(folder)

    def load(self, key: str) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Return the arrays (memory-mapped, read-only) and facts of an entry; None where missing or damaged."""
        entry = self.folder / key
        try:
            signed = json.loads((entry / "index.json").read_bytes())
            index = signed["index"]
            if signed["crc32"] != _text_checksum(index):
                raise ValueError("checksum of the index")
            arrays = _slices(_mapped(entry / "values.npy", _size(index["shapes"])), index["shapes"])
            if _checksums(arrays) != index["crc32"]:
                raise ValueError("checksum")
            return arrays, index["facts"]
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, RecursionError) as error:
            if not entry.exists():
                return None
            _LOG.warning("cache entry %s is damaged (%s) and will be made again", key, error)
            shutil.rmtree(entry, ignore_errors=True)
            return None

    def store(self, key: str, arrays: Sequence[np.ndarray], facts: dict[str, Any]) -> None:
        """Keep float32 arrays with JSON facts. Raises EnvironmentFault where the disk does not allow it."""
        shapes = [list(a.shape) for a in arrays]
        index = {"shapes": shapes, "crc32": [_checksum(np.asarray(a, "<f4")) for a in arrays], "facts": facts}
        part = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
            with (part / "values.npy").open("wb") as file:  # not through a map: a full disk would kill, not raise
                file.write(_npy_header(_size(shapes)))
                for array in arrays:
                    file.write(np.ascontiguousarray(array, dtype="<f4").data)
            (part / "index.json").write_text(json.dumps({"crc32": _text_checksum(index), "index": index}))
            with contextlib.suppress(FileExistsError):
                part.rename(self.folder / key)
        except OSError as error:
            if not (self.folder / key / "index.json").exists():  # another writer was faster: as good as ours
                raise disk_fault(self.folder / key, error) from error
        finally:
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)


def _mapped(path: Path, size: int) -> np.ndarray:
    """Return the float32 values of a `.npy` file that `store` wrote; its header must be the very bytes written."""
    header = _npy_header(size)
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("header")
    # As a plain array: slicing a memmap object costs fifty times as much, and there are thousands of slices.
    return np.asarray(np.memmap(path, "<f4", "r", offset=len(header), shape=(size,)))


def _npy_header(size: int) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (size,)})
    return header.getvalue()


def _size(shapes: Sequence[Sequence[int]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _checksums(arrays: Sequence[np.ndarray]) -> list[int]:
    """Return the checksum of each array; in two threads, since zlib lets others run while it sums."""
    half = len(arrays) // 2
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: [_checksum(array) for array in arrays[:half]])
        second = [_checksum(array) for array in arrays[half:]]
        return first.result() + second


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B"))


def _text_checksum(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _slices(flat: np.ndarray, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return [flat[a:b].reshape(shape) for a, b, shape in zip(edges[:-1], edges[1:], shapes, strict=True)]
