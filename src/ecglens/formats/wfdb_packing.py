# SPDX-License-Identifier: Apache-2.0
"""How the storage formats of WFDB lay integers into bytes: signal(5) of the WFDB Applications Guide."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Packing(NamedTuple):
    """One storage format.

    unpack   whole groups as bytes [byte] -> integers [sample]
    samples  in one group
    bytes    of one group
    tail     bytes that 0, 1, ... samples of a last, unfinished group take
    """

    unpack: Callable[[np.ndarray], np.ndarray]
    samples: int
    bytes: int
    tail: tuple[int, ...] = (0,)

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


def _unpack_80(data: np.ndarray) -> np.ndarray:
    return (data ^ 0x80).view(np.int8)  # offset binary: the upper bit turned over is two's complement


def _unpack_160(data: np.ndarray) -> np.ndarray:
    return (data.view("<u2").astype(np.uint16) ^ 0x8000).view(np.int16)


def _unpack_24(data: np.ndarray) -> np.ndarray:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = data.reshape(-1, 3)
    return wide.reshape(-1).view("<i4").astype(np.int32) >> 8  # shifted back down, so that the sign is filled in


def _unpack_212(data: np.ndarray) -> np.ndarray:
    """Return 12-bit samples: two of them share three bytes, the middle one holds the upper four bits of both."""
    low, middle, high = data.reshape(-1, 3).T.astype(np.uint16)
    samples = np.empty((len(low), 2), np.uint16)
    # Placed in the upper 12 bits, so that shifting back down as a signed number fills in the sign.
    samples[:, 0] = low << 4 | middle << 12
    samples[:, 1] = high << 4 | (middle & 0xF0) << 8
    return samples.reshape(-1).view(np.int16) >> 4


def _unpack_310(data: np.ndarray) -> np.ndarray:
    """Return 10-bit samples: two in bits 1 to 10 of a 16-bit word each, a third in bits 11 to 15 of both."""
    first, second = data.view("<u2").reshape(-1, 2).T.astype(np.uint16)
    samples = np.empty((len(first), 3), np.uint16)
    samples[:, 0] = first << 5
    samples[:, 1] = second << 5
    samples[:, 2] = first >> 11 << 6 | second >> 11 << 11
    return samples.reshape(-1).view(np.int16) >> 6


def _unpack_311(data: np.ndarray) -> np.ndarray:
    """Return 10-bit samples: three in one 32-bit word, the lowest bits first, two bits unused."""
    words = data.view("<u4").astype(np.uint32)
    samples = np.empty((len(words), 3), np.uint16)
    for third in range(3):
        samples[:, third] = words >> 10 * third << 6 & 0xFFC0
    return samples.reshape(-1).view(np.int16) >> 6


# Formats of fixed width. Format 8 holds differences, which the reader adds up.
PACKINGS = {
    8: Packing(lambda data: data.view(np.int8), 1, 1),
    16: Packing(lambda data: data.view("<i2"), 1, 2),
    24: Packing(_unpack_24, 1, 3),
    32: Packing(lambda data: data.view("<i4"), 1, 4),
    61: Packing(lambda data: data.view(">i2"), 1, 2),
    80: Packing(_unpack_80, 1, 1),
    160: Packing(_unpack_160, 1, 2),
    212: Packing(_unpack_212, 2, 3, (0, 2)),
    310: Packing(_unpack_310, 3, 4, (0, 2, 4)),
    311: Packing(_unpack_311, 3, 4, (0, 2, 3)),
}

# Formats that are FLAC streams, and the bits of their samples.
FLAC_BITS = {508: 8, 516: 16, 524: 24}

# The value that stands for a missing sample: the lowest one. Format 8 has none.
_BITS = {16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10, **FLAC_BITS}
GAPS = {8: None, **{number: -(2 ** (bits - 1)) for number, bits in _BITS.items()}}

WIDE = (24, 32, 524)  # more bits than the 16 that a checksum covers
