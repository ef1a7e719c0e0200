# SPDX-License-Identifier: Apache-2.0
"""WFDB formats 508, 516, 524: signal files that are FLAC streams, decoded by libsndfile (comes with `wfdb`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ecglens.errors import EnvironmentFault, Finding, FormatError
from ecglens.formats.contents import refuse_other_content
from ecglens.formats.wfdb_header import SignalSpec
from ecglens.formats.wfdb_packing import FLAC_BITS

# A few bytes of FLAC can stand for millions of equal samples, so what is decoded is limited, not what is read.
MAX_DECODED_BYTES = 2**29
CHUNK = 2**18  # samples per signal decoded at once, so that a file that promises too much is found out early
_STREAM_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}


class FlacFile:
    """One open FLAC signal file, with what `SignalFile` has."""

    def __init__(self, path: Path, file: BinaryIO, specs: Sequence[SignalSpec], n_frames: int | None) -> None:
        """Compare the stream's own header with the `n_frames` that the record declares. Raises FormatError."""
        self.path, self.file = path, file
        self.n_signals, self.per_frame = len(specs), specs[0].samples_per_frame
        head = file.read(512)
        if not head.startswith(b"fLaC"):
            refuse_other_content(path, head, "a FLAC file")
            self._refuse("content", "no FLAC signature", "a FLAC file", "content")
        file.seek(0)
        self.stream = self._open()
        self.bits = _STREAM_BITS.get(self.stream.subtype, 99)
        if self.bits > FLAC_BITS[specs[0].format] or self.stream.channels != self.n_signals or specs[0].byte_offset:
            found = f"{self.stream.channels} signals of {self.stream.subtype}, offset {specs[0].byte_offset}"
            allowed = f"{self.n_signals} of at most {FLAC_BITS[specs[0].format]} bits, offset 0"
            self._refuse("FLAC header", found, allowed, "layout")
        self.n_frames, self.findings = self._frames(n_frames)

    def samples(self, first: int, last: int) -> np.ndarray:
        """Return samples `first` to `last` (left out) of each signal as integers [signal, time]."""
        if 4 * (last - first) * self.n_signals > MAX_DECODED_BYTES:
            found = f"{4 * (last - first) * self.n_signals} bytes when decoded"
            self._refuse("size", found, f"at most {MAX_DECODED_BYTES}", "too_large")
        blocks = []
        try:
            self.stream.seek(first)
            for begin in range(first, last, CHUNK):
                block = self.stream.read(min(CHUNK, last - begin), dtype="int32", always_2d=True)
                if len(block) < min(CHUNK, last - begin):
                    self._refuse("content", f"{begin + len(block)} samples", f"{last}", "truncated")
                blocks.append(block.T >> (32 - self.bits))  # libsndfile shifts samples to the upper end
        except RuntimeError as error:
            self._refuse("content", f"no FLAC ({error})", "an undamaged FLAC file", "content")
        return np.ascontiguousarray(np.concatenate(blocks, axis=1))

    def _open(self) -> Any:
        try:
            import soundfile
        except (ImportError, OSError):  # OSError: the package is there, the library it wraps is not
            raise EnvironmentFault(
                self.path, "package", "no soundfile, which comes with wfdb", "",
                'pip install "ecglens[formats]"', kind="missing_package",
            ) from None  # fmt: skip
        try:
            return soundfile.SoundFile(self.file)
        except RuntimeError as error:
            self._refuse("content", f"no FLAC ({error})", "a FLAC file", "content")

    def _frames(self, declared: int | None) -> tuple[int, tuple[Finding, ...]]:
        held, rest = divmod(self.stream.frames, self.per_frame)
        if declared is None:
            if rest or not held:
                self._refuse("size", f"{self.stream.frames} samples", "whole frames", "truncated")
            reason = f"number of samples not declared, {self.stream.frames} found in {self.path.name}"
            return held, (Finding("length_from_file", "note", reason),)
        if held < declared:
            self._refuse("size", f"{held} frames", f"the {declared} that the header declares", "truncated")
        if (held, rest) == (declared, 0):
            return declared, ()
        reason = f"{self.path.name} holds {self.stream.frames - declared * self.per_frame} samples more than declared"
        return declared, (Finding("trailing_bytes", "warning", reason),)

    def _refuse(self, field: str, found: str, allowed: str, kind: str) -> NoReturn:
        raise FormatError(self.path, field, found, allowed, "copy or download the file again", kind=kind)
