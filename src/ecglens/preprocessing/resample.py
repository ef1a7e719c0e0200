# SPDX-License-Identifier: Apache-2.0
"""Change of sampling rate: polyphase FIR, the very numbers of `scipy.signal.resample_poly`, block by block.

The filter is the same for each stretch of the signal, so three small matrices map a block of input samples and the
edges of its neighbours to a block of output samples, and a whole cohort is three matrix products. The matrices are
obtained by resampling the unit impulses with SciPy, hence cannot differ from it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.signal import resample_poly

from ecglens.errors import SignalError
from ecglens.preprocessing.scale import bridge_gaps

_BLOCK = 40  # output samples per block, about: longer blocks multiply more zeros, shorter ones are many

_STEEPEST = 20  # beyond this ratio of rates the matrix would be larger than what it saves


def resample(signal: np.ndarray, fs: float, new_fs: float) -> np.ndarray:
    """Return `signal` [..., time] at `new_fs`, float32; ceil(n * new_fs / fs) samples; zeros beyond the ends.

    fs, new_fs   sampling rates, in Hz; their ratio must be a fraction with terms up to 1000

    A gap (NaN) stays a gap of its own length: it is bridged for the filter, which would spread it, and put back.
    """
    up, down = _ratio(fs, new_fs)
    if up == down:
        return np.ascontiguousarray(signal, dtype=np.float32)
    gaps = np.isnan(signal)
    if gaps.any():
        return _around_gaps(signal, gaps, fs, new_fs)
    if down // up > _STEEPEST:
        return resample_poly(signal.astype(np.float64), up, down, axis=-1).astype(np.float32)
    before, inside, after = _operator(up, down)
    n = signal.shape[-1]
    n_out, n_blocks = -(-n * up // down), -(-n // len(inside))
    blocks = _blocks(signal, n_blocks, len(inside))
    out = blocks @ inside
    # What a block gets from the one on its left and on its right; the ends of a signal get nothing from the next one.
    from_left, from_right = blocks[:-1, -len(before) :] @ before, blocks[1:, : len(after)] @ after
    from_left[n_blocks - 1 :: n_blocks] = from_right[n_blocks - 1 :: n_blocks] = 0.0
    out[1:] += from_left
    out[:-1] += from_right
    return out.reshape(*signal.shape[:-1], -1)[..., :n_out]


def _blocks(signal: np.ndarray, n_blocks: int, length: int) -> np.ndarray:
    """Return `signal` [..., time] as float32 [block, sample], zeros at the end; without a copy where it fits."""
    n = signal.shape[-1]
    if n == n_blocks * length:
        return np.ascontiguousarray(signal, dtype=np.float32).reshape(-1, length)
    padded = np.zeros((int(np.prod(signal.shape[:-1])), n_blocks * length), np.float32)
    padded[:, :n] = signal.reshape(-1, n)
    return padded.reshape(-1, length)


def _around_gaps(signal: np.ndarray, gaps: np.ndarray, fs: float, new_fs: float) -> np.ndarray:
    n = signal.shape[-1]
    rows = np.nan_to_num(bridge_gaps(signal.reshape(-1, n)))  # a lead that is all gap has nothing to bridge with
    out = resample(rows.reshape(signal.shape), fs, new_fs)
    # An output sample is a gap where one of the two input samples around its instant is.
    instants = np.arange(out.shape[-1]) * fs / new_fs
    before, after = np.floor(instants + 1e-9).astype(int), np.ceil(instants - 1e-9).astype(int)
    out[gaps[..., before.clip(0, n - 1)] | gaps[..., after.clip(0, n - 1)]] = np.nan
    return out


def _ratio(fs: float, new_fs: float) -> tuple[int, int]:
    ratio = (Fraction(new_fs).limit_denominator(10_000) / Fraction(fs).limit_denominator(10_000)).limit_denominator(
        1000
    )
    if ratio <= 0 or ratio.numerator > 1000 or abs(float(ratio) * fs / new_fs - 1) > 1e-6:
        raise SignalError("resample", "sampling rate", f"{fs} to {new_fs} Hz", "a ratio of integers up to 1000")
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=32)
def _operator(up: int, down: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a block of outputs takes from the end of the block before, its own, and the start of the next one.

    Each [input sample, output sample], from SciPy's answer to unit impulses. A block is a whole number of periods.
    """
    reach = 10 * max(up, down) // up + 1  # SciPy's filter reaches 10 * max(up, down) samples of the upsampled signal
    margin = -(-reach // down) * down
    periods = max(_BLOCK // up, margin // down, 1)
    impulses = resample_poly(np.eye(periods * down + 2 * margin), up, down, axis=1)
    first = margin // down * up
    matrix = np.ascontiguousarray(impulses[:, first : first + periods * up], dtype=np.float32)
    return matrix[:margin], matrix[margin:-margin], matrix[-margin:]
