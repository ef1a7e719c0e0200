# SPDX-License-Identifier: Apache-2.0
"""The signal files of a WFDB record: from bytes to integers [lead, time], only those of the stretch asked for.

A signal file is one long row of samples, frame after frame: one sample of each of its signals (or several, "samples
per frame"), then the next frame. Sizes are compared before anything is allocated.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import refuse_lying_size
from ecglens.formats.contents import refuse_other_content
from ecglens.formats.wfdb_flac import FlacFile
from ecglens.formats.wfdb_header import Header, SignalSpec
from ecglens.formats.wfdb_packing import FLAC_BITS, PACKINGS
from ecglens.runs.files import contained, open_regular

MAX_SIGNAL_BYTES = 2 * 2**30  # 24 h of 12 leads at 1 kHz fit

# MATLAB's number for the type of a version 4 matrix that holds samples of a format, low byte first.
_MATLAB_TYPES = {16: 30, 32: 20, 80: 50}


class SignalFile:
    """One open signal file of fixed width: `n_frames` frames of `n_signals` signals, read by stretches."""

    def __init__(self, path: Path, file: BinaryIO, specs: Sequence[SignalSpec], n_frames: int | None) -> None:
        """Compare the size with the `n_frames` that the header declares (None: it does not). Raises FormatError."""
        self.path, self.file = path, file
        self.n_signals = len(specs)
        self.per_frame = specs[0].samples_per_frame
        self.offset = specs[0].byte_offset
        self.packing = PACKINGS[specs[0].format]
        # Format 8: each sample is the one before it, at first the initial value, and a difference.
        self.before_first = [spec.initial_value or 0 for spec in specs] if specs[0].format == 8 else None
        self.before = os.fstat(file.fileno())
        self.n_frames, self.findings = self._frames(n_frames)
        if path.suffix.lower() == ".mat":
            self._compare_matlab_header(specs[0].format)

    @property
    def frame(self) -> int:
        """Samples in one frame, of all signals together."""
        return self.n_signals * self.per_frame

    def samples(self, first: int, last: int) -> np.ndarray:
        """Return samples `first` to `last` (left out) of each signal as integers [signal, time].

        Nothing else is read, but for format 8, whose samples are sums of all before them.
        Raises FormatError where the file changed since it was opened, or is too large.
        """
        first_frame = 0 if self.before_first is not None else first // self.per_frame
        row = self._row(first_frame * self.frame, -(-last // self.per_frame) * self.frame)
        frames = row.reshape(-1, self.n_signals, self.per_frame).transpose(1, 0, 2)
        # Native byte order, each signal in one piece.
        signals = np.ascontiguousarray(frames, dtype=row.dtype.newbyteorder("=")).reshape(self.n_signals, -1)
        if self.before_first is not None:
            signals = signals.cumsum(axis=1, dtype=np.int64) + np.array(self.before_first)[:, None]
        skipped = first - first_frame * self.per_frame
        return signals[:, skipped : skipped + last - first]

    def _row(self, first: int, last: int) -> np.ndarray:
        """Return samples `first` to `last` (left out) of the file's one long row."""
        group = first // self.packing.samples
        begin, end = group * self.packing.bytes, self.packing.bytes_for(last)
        data = self._bytes(begin, end)
        data += bytes(-len(data) % self.packing.bytes)
        row = self.packing.unpack(np.frombuffer(data, np.uint8))
        skipped = first - group * self.packing.samples
        return row[skipped : skipped + last - first]

    def _bytes(self, begin: int, end: int) -> bytes:
        if end - begin > MAX_SIGNAL_BYTES:
            raise FormatError(
                self.path, "size", f"{end - begin} bytes", f"at most {MAX_SIGNAL_BYTES}",
                "read it in pieces (start, stop)", kind="too_large",
            )  # fmt: skip
        self.file.seek(self.offset + begin)
        data = self.file.read(end - begin)
        after = os.fstat(self.file.fileno())
        same = (self.before.st_size, self.before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if len(data) != end - begin or not same:
            raise FormatError(
                self.path, "content", "changed during reading", "a file at rest", "read again when it is written",
                kind="changed",
            )  # fmt: skip
        return data

    def _frames(self, declared: int | None) -> tuple[int, tuple[Finding, ...]]:
        """Return how many frames there are and what was noticed. Raises FormatError where they do not fit the file."""
        packing, available = self.packing, self.before.st_size - self.offset
        if declared is None:
            frames = packing.samples_in(max(available, 0)) // self.frame
            total = frames * self.frame
            if not frames or available not in (packing.bytes_for(total), packing.padded(total)):
                self._refuse_truncated(available, f"whole frames of {self.frame} samples")
            reason = f"number of samples not declared, {frames * self.per_frame} found in {self.path.name}"
            return frames, (Finding("length_from_file", "note", reason),)
        needed = packing.bytes_for(declared * self.frame)
        if available < needed:
            refuse_lying_size(self.path, needed, available)
            self._refuse_truncated(available, f"the {needed} bytes that the header declares")
        if available in (needed, packing.padded(declared * self.frame)):
            return declared, ()
        reason = f"{self.path.name} holds {available - needed} bytes more than the header declares"
        return declared, (Finding("trailing_bytes", "warning", reason),)

    def _refuse_truncated(self, available: int, allowed: str) -> None:
        self.file.seek(0)
        refuse_other_content(self.path, self.file.read(512), "a WFDB signal file")
        found = f"{max(available, 0)} bytes of samples"
        raise FormatError(self.path, "size", found, allowed, "copy or download the file again", kind="truncated")

    def _compare_matlab_header(self, number: int) -> None:
        """Refuse a `.mat` whose own header (MATLAB version 4: type, rows, columns, ...) tells of another matrix."""
        self.file.seek(0)
        head = self.file.read(512)
        refuse_other_content(self.path, head, "a MATLAB version 4 matrix")
        found = struct.unpack("<5i", head[:20].ljust(20, b"\0"))
        expected = (_MATLAB_TYPES.get(number), self.frame, self.n_frames, 0, self.offset - 20)
        if found != expected:
            raise FormatError(
                self.path, "MATLAB version 4 header", f"type, rows, columns, imaginary, name length {found}",
                f"{expected}, as the WFDB header says", "save `val` as integers with -v4, or correct the header",
                kind="layout",
            )  # fmt: skip


@contextmanager
def open_signals(header: Header, path: Path) -> Iterator[list[SignalFile | FlacFile]]:
    """Open the signal files of the header at `path`, in the order of its signals; all hold the same number of frames.

    Raises FormatError (kinds `layout`, `truncated`, `content`), UnsafeError, InputError where a file is missing.
    """
    seen: set[str] = set()
    with ExitStack() as stack:
        files: list[SignalFile | FlacFile] = []
        for (name, number, _), group in groupby(header.signals, lambda spec: (spec[0], spec[1], spec.byte_offset)):
            if name in seen:
                raise FormatError(
                    path, "signal lines", f"{name} in several places, formats or byte offsets",
                    "the signals of one file together, alike", "correct the header", kind="layout",
                )  # fmt: skip
            seen.add(name)
            where = contained(path.parent, name, path)
            opened = stack.enter_context(open_regular(where))
            kind = FlacFile if number in FLAC_BITS else SignalFile
            files.append(kind(where, opened, list(group), header.n_samples))
        lengths = {file.n_frames for file in files}
        if len(lengths) > 1:
            raise FormatError(
                path, "number of samples", f"not declared, and the files hold {sorted(lengths)}", "one length for all",
                "write the number of samples into the header", kind="truncated",
            )  # fmt: skip
        yield files
