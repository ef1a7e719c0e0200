# SPDX-License-Identifier: Apache-2.0
"""The signal files of a WFDB record: from bytes to integers [lead, time], only those of the stretch asked for.

A signal file is one long row of samples, frame after frame: one sample of each of its signals (or several, "samples
per frame"), then the next frame. How a sample is stored follows signal(5) of the WFDB Applications Guide. Sizes are
compared before anything is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ecglens.errors import Finding, FormatError
from ecglens.formats.contents import refuse_other_content
from ecglens.formats.wfdb_header import Header, SignalSpec
from ecglens.runs.files import contained, open_regular

MAX_SIGNAL_BYTES = 2 * 2**30  # 24 h of 12 leads at 1 kHz fit


class Packing(NamedTuple):
    """How a format lays samples into bytes.

    unpack   whole groups as bytes [byte] -> integers [sample]
    samples  in one group
    bytes    of one group
    tail     bytes that 0, 1, ... samples of a last, unfinished group take
    gap      the value that stands for a missing sample, or None
    """

    unpack: Callable[[np.ndarray], np.ndarray]
    samples: int
    bytes: int
    tail: tuple[int, ...]
    gap: int | None

    def bytes_for(self, n_samples: int) -> int:
        """Return how many bytes `n_samples` samples take."""
        groups, rest = divmod(n_samples, self.samples)
        return groups * self.bytes + self.tail[rest]

    def padded(self, n_samples: int) -> int:
        """Return the same with the last group filled up, as some programs write it."""
        return -(-n_samples // self.samples) * self.bytes

    def samples_in(self, n_bytes: int) -> int:
        """Return how many samples fit into `n_bytes` bytes."""
        groups, rest = divmod(n_bytes, self.bytes)
        return groups * self.samples + max(n for n, size in enumerate(self.tail) if size <= rest)


def _unpack_16(data: np.ndarray) -> np.ndarray:
    return data.view("<i2")


def _unpack_212(data: np.ndarray) -> np.ndarray:
    """Return 12-bit samples: two of them share three bytes, the middle one holds the upper four bits of both."""
    triplets = data.reshape(-1, 3).astype(np.uint16)
    samples = np.empty((len(triplets), 2), np.uint16)
    # Placed in the upper 12 bits, so that shifting back down as a signed number fills in the sign.
    samples[:, 0] = triplets[:, 0] << 4 | triplets[:, 1] << 12
    samples[:, 1] = triplets[:, 2] << 4 | (triplets[:, 1] & 0xF0) << 8
    signed = samples.reshape(-1).view(np.int16)
    signed >>= 4
    return signed


PACKINGS = {
    16: Packing(_unpack_16, 1, 2, (0,), -(2**15)),
    212: Packing(_unpack_212, 2, 3, (0, 2), -(2**11)),
}


class SignalFile:
    """One open signal file: `n_frames` frames of `n_signals` signals, read by stretches."""

    def __init__(self, path: Path, file: BinaryIO, specs: Sequence[SignalSpec], n_frames: int | None) -> None:
        """Compare the size with the `n_frames` that the header declares (None: it does not). Raises FormatError."""
        self.path, self.file = path, file
        self.n_signals = len(specs)
        self.per_frame = specs[0].samples_per_frame
        self.offset = specs[0].byte_offset
        self.packing = PACKINGS[specs[0].format]
        self.before = os.fstat(file.fileno())
        self.n_frames, self.findings = self._frames(n_frames)

    @property
    def frame(self) -> int:
        """Samples in one frame, of all signals together."""
        return self.n_signals * self.per_frame

    def samples(self, first: int, last: int) -> np.ndarray:
        """Return samples `first` to `last` (left out) of each signal as integers [signal, time].

        Nothing else is read. Raises FormatError where the file changed since it was opened, or is too large.
        """
        first_frame, last_frame = first // self.per_frame, -(-last // self.per_frame)
        row = self._row(first_frame * self.frame, last_frame * self.frame)
        frames = row.reshape(-1, self.n_signals, self.per_frame).transpose(1, 0, 2)
        # Native byte order, each signal in one piece.
        signals = np.ascontiguousarray(frames, dtype=row.dtype.newbyteorder("=")).reshape(self.n_signals, -1)
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
        self._refuse_changed(len(data) != end - begin)
        return data

    def _refuse_changed(self, short: bool) -> None:
        after = os.fstat(self.file.fileno())
        if short or (self.before.st_size, self.before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise FormatError(
                self.path, "content", "changed during reading", "a file at rest", "read again when it is written",
                kind="changed",
            )  # fmt: skip

    def _frames(self, declared: int | None) -> tuple[int, tuple[Finding, ...]]:
        """Return how many frames there are and what was noticed. Raises FormatError where they do not fit the file."""
        packing, available = self.packing, self.before.st_size - self.offset
        if declared is None:
            frames = packing.samples_in(max(available, 0)) // self.frame
            total = frames * self.frame
            if not frames or available not in (packing.bytes_for(total), packing.padded(total)):
                whole = f"whole frames of {self.frame} samples"
                refuse_truncated(self.path, self.file, f"{max(available, 0)} bytes of samples", whole)
            reason = f"number of samples not declared, {frames * self.per_frame} found in {self.path.name}"
            return frames, (Finding("length_from_file", "note", reason),)
        needed = packing.bytes_for(declared * self.frame)
        if available < needed:
            found, allowed = f"{max(available, 0)} bytes of samples", f"the {needed} bytes that the header declares"
            refuse_truncated(self.path, self.file, found, allowed)
        if available in (needed, packing.padded(declared * self.frame)):
            return declared, ()
        reason = f"{self.path.name} holds {available - needed} bytes more than the header declares"
        return declared, (Finding("trailing_bytes", "warning", reason),)


@contextmanager
def open_signals(header: Header, path: Path) -> Iterator[list[SignalFile]]:
    """Open the signal files of the header at `path`, in the order of its signals; all hold the same number of frames.

    Raises FormatError (kinds `layout`, `truncated`, `content`), UnsafeError, InputError where a file is missing.
    """
    seen: set[str] = set()
    with ExitStack() as stack:
        files = []
        for (name, _, _), group in groupby(
            header.signals, key=lambda spec: (spec.file_name, spec.format, spec.byte_offset)
        ):
            if name in seen:
                raise FormatError(
                    path, "signal lines", f"{name} in several places, formats or byte offsets",
                    "the signals of one file together, alike", "correct the header", kind="layout",
                )  # fmt: skip
            seen.add(name)
            where = contained(path.parent, name, path)
            opened = stack.enter_context(open_regular(where))
            files.append(SignalFile(where, opened, list(group), header.n_samples))
        lengths = {file.n_frames for file in files}
        if len(lengths) > 1:
            raise FormatError(
                path, "number of samples", f"not declared, and the files hold {sorted(lengths)}", "one length for all",
                "write the number of samples into the header", kind="truncated",
            )  # fmt: skip
        yield files


def refuse_truncated(path: Path, file: BinaryIO, found: str, allowed: str) -> None:
    """Raise FormatError: what the file really is where that shows, else kind `truncated`."""
    file.seek(0)
    refuse_other_content(path, file.read(512), "a WFDB signal file")
    raise FormatError(path, "size", found, allowed, "copy or download the file again", kind="truncated")
