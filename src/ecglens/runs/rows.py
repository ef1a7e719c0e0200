# SPDX-License-Identifier: Apache-2.0
"""A `.npy` file that is written row by row, in any order, and read without loading it.

Rows are written as bytes, not through a map: where the disk is full, a map kills the process, and a write raises. What
has not been written is 0 and takes no space.

>>> import tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder:
...     path = pathlib.Path(folder) / "a.npy"
...     with RowFile.create(path, (3, 2), "<f2") as rows:
...         rows.write(1, np.array([0.5, 2.0]))
...     np.load(path, mmap_mode="r").tolist()
[[0.0, 0.0], [0.5, 2.0], [0.0, 0.0]]
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ecglens.errors import FormatError, SignalError
from ecglens.runs.files import disk_fault


class RowFile:
    """An open `.npy` of a fixed shape; row i is `array[i]`."""

    def __init__(self, path: Path, shape: Sequence[int], dtype: str) -> None:
        """Use `create` or `resume`."""
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self._header = _header(self.shape, self.dtype)
        self._handle = -1

    @classmethod
    def create(cls, path: Path, shape: Sequence[int], dtype: str) -> RowFile:
        """Make the file, all 0, in place of one that may be there. Raises EnvironmentFault."""
        rows = cls(path, shape, dtype)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            os.ftruncate(rows._handle, len(rows._header) + rows.dtype.itemsize * math.prod(rows.shape))
            rows._put(rows._header, 0)
            rows.flush()
        except OSError as error:
            raise disk_fault(path, error) from error
        return rows

    @classmethod
    def resume(cls, path: Path, shape: Sequence[int], dtype: str) -> RowFile:
        """Open a file that `create` made. Raises FormatError where it is another one."""
        rows = cls(path, shape, dtype)
        try:
            rows._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise FormatError(path, "array", error.strerror, "the array of this run", "start a new run") from error
        if os.pread(rows._handle, len(rows._header), 0) != rows._header:
            raise FormatError(path, "array", "another shape or type", f"{rows.dtype} {rows.shape}", "start a new run")
        return rows

    def write(self, row: int, values: np.ndarray) -> None:
        """Write one row. Raises EnvironmentFault where the disk does not allow it."""
        data = np.ascontiguousarray(values, dtype=self.dtype)
        if data.shape != self.shape[1:] or not 0 <= row < self.shape[0]:
            raise SignalError(
                self.path, f"row {row}", f"shape {data.shape}", f"{self.shape[1:]}, row below {self.shape[0]}"
            )
        try:
            self._put(data.tobytes(), len(self._header) + row * data.nbytes)
        except OSError as error:
            raise disk_fault(self.path, error) from error

    def flush(self) -> None:
        """Wait until all that was written is on the disk."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise disk_fault(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, data: bytes, at: int) -> None:
        left = memoryview(data)
        while left:
            n = os.pwrite(self._handle, left, at)
            left, at = left[n:], at + n


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        text, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return text.getvalue()
