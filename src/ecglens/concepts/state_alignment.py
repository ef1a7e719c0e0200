# SPDX-License-Identifier: Apache-2.0
"""Do states keep to the parts of the beat? Counted on samples, against the same strips shifted round the record.

States belong to all leads at once, so the beat needs one clock: each mark is the median over the leads that have it.
TP runs from the end of T to the next P, or to the next QRS where there is none. Samples before the first mark and after
the last are of no part.

A strip that is shifted keeps its rhythm and its states but loses the beat: what it still has in common with the beat is
chance. Each draw shifts every record by its own offset; p is two-sided, twice the smaller tail. A strip that beats at
the heart's own rate knows of the beat even if it knew nothing of P, QRS and T: the null cannot tell these apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.fiducials import MARKS, Fiducials
from ecglens.runs.draws import record_keys, uniform

PARTS = ("P", "PQ", "QRS", "ST", "T", "TP")
NO_PART = -1
N_SHIFTS = 5000
_ENDS = ("P_onset", "P_offset", "QRS_onset", "QRS_offset", "T_onset", "T_offset")

Floats = NDArray[np.float64]


def parts_of(marks: Fiducials, times: np.ndarray) -> NDArray[np.int8]:
    """Return the part of the beat [time] at each of `times`, in s: a place in `PARTS`, -1 where none is known."""
    out = np.full(len(times), NO_PART, np.int8)
    beats = _clock(marks)
    beats = beats[np.argsort(beats[:, 2])]
    for k, (p_on, p_off, q_on, q_off, t_on, t_off) in enumerate(beats):
        stretches = [(p_on, p_off, 0), (p_off, q_on, 1), (q_on, q_off, 2), (q_off, t_on, 3), (t_on, t_off, 4)]
        if k + 1 < len(beats):
            following = beats[k + 1, 0] if np.isfinite(beats[k + 1, 0]) else beats[k + 1, 2]
            stretches.append((t_off, following, 5))
        for start, stop, part in stretches:  # NaN compares as outside
            out[(times >= start) & (times < stop)] = part
    return out


def _clock(marks: Fiducials) -> Floats:
    """Return the median over leads of each beat's ends [beat, 6], in s; beats without a QRS are left out."""
    columns = [MARKS.index(name) for name in _ENDS]
    times = marks.times[:, :, columns]
    known = np.isfinite(times).any(axis=0)
    ends = np.full(times.shape[1:], np.nan)
    ends[known] = np.nanmedian(times[:, known], axis=0)
    return np.asarray(ends[np.isfinite(ends[:, 2]) & np.isfinite(ends[:, 3])])


@dataclass(frozen=True, eq=False)
class Alignment:
    """States against parts of the beat, over all records.

    counts    samples [state, part]
    shifted   the same of each draw of shifts [draw, state, part]
    n_records that have beats
    """

    counts: Floats
    shifted: Floats
    n_records: int

    @property
    def lift(self) -> Floats:
        """Share of the state's samples in a part over the part's share of all [state, part]; 1 is an even spread."""
        return _lift(self.counts)

    @property
    def share(self) -> Floats:
        """Share of the state's samples in each part [state, part]; NaN for a state that is nowhere."""
        total = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, total, out=np.full(self.counts.shape, np.nan), where=total > 0)

    @property
    def p_values(self) -> Floats:
        """Twice the smaller share of draws with at least, or at most, the samples found [state, part].

        A shift keeps the samples of states, and nearly those of parts, so that counts and lifts say the same.
        """
        more = (self.shifted >= self.counts).sum(axis=0)
        less = (self.shifted <= self.counts).sum(axis=0)
        return np.asarray(np.minimum(2 * (np.minimum(more, less) + 1) / (len(self.shifted) + 1), 1.0))

    def information(self) -> dict[str, float]:
        """Return normalised mutual information and V-measure parts, and where chance leaves the first.

        nmi  mutual information over the mean of both entropies (the V-measure); purity  samples that lie in their
        state's commonest part; chance_low, chance_high  2.5 and 97.5 % of nmi under shifts; p  one-sided
        """
        found, drawn = nmi(self.counts), nmi(self.shifted)
        low, high = np.quantile(drawn, [0.025, 0.975])
        total = self.counts.sum()
        return {
            "nmi": float(found), "chance": float(np.mean(drawn)), "chance_low": float(low), "chance_high": float(high),
            "p": float(((drawn >= found - 1e-12).sum() + 1) / (len(drawn) + 1)),
            "purity": float(self.counts.max(axis=1).sum() / total) if total else float("nan"),
            "commonest_part": float(self.counts.sum(axis=0).max() / total) if total else float("nan"),
        }  # fmt: skip


def align(
    strips: list[NDArray[np.int16]], parts: list[NDArray[np.int8]], record_ids: list[str], k: int,
    *, n_shifts: int = N_SHIFTS, seed: int = 0,
) -> Alignment:  # fmt: skip
    """Count states by parts of the beat, as they are and shifted round each record.

    strips   likeliest state of each record [sample], -1 for none
    parts    part of the beat [sample], -1 for none

    Records none of whose samples has a part count for nothing.
    """
    counts = np.zeros((k, len(PARTS)))
    shifted = np.zeros((n_shifts, k, len(PARTS)))
    draws = uniform(seed, "shifts", record_keys(record_ids), n_shifts) if record_ids else np.empty((0, n_shifts))
    n_records = 0
    for strip, part, offsets in zip(strips, parts, draws, strict=True):
        if not (part >= 0).any():
            continue
        tables = every_shift(strip, part, k)
        counts += tables[0]
        # from a tenth of the record on: a smaller shift leaves a state nearly where it was
        margin = len(strip) // 10
        shifted += tables[(margin + offsets * (len(strip) - 2 * margin)).astype(int)]
        n_records += 1
    return Alignment(counts, shifted, n_records)


def every_shift(strip: NDArray[np.int16], part: NDArray[np.int8], k: int) -> Floats:
    """Return samples [shift, state, part] of the strip shifted forward round the record by 0, 1, 2, ... samples.

    A circular correlation, by Fourier transform.
    """
    states = np.fft.rfft(strip[None] == np.arange(k)[:, None], axis=1)
    segments = np.fft.rfft(part[None] == np.arange(len(PARTS))[:, None], axis=1)
    found = np.fft.irfft(np.conj(states)[:, None] * segments[None], n=len(strip), axis=2)
    return np.rint(found).transpose(2, 0, 1)


def nmi(tables: Floats) -> Floats:
    """Return the mutual information over the mean entropy of states and parts [...], of counts [..., state, part]."""
    total = tables.sum(axis=(-2, -1), keepdims=True)
    p = tables / np.where(total > 0, total, 1)
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    joint, one, other = (_entropy(x) for x in (p.reshape(*p.shape[:-2], -1), rows, columns))
    mean = (one + other) / 2
    return np.asarray(np.where(mean > 0, (one + other - joint) / np.where(mean > 0, mean, 1), 0.0))


def _entropy(p: Floats) -> Floats:
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def _lift(tables: Floats) -> Floats:
    total = tables.sum(axis=(-2, -1), keepdims=True)
    expected = tables.sum(axis=-1, keepdims=True) * tables.sum(axis=-2, keepdims=True) / np.where(total > 0, total, 1)
    return np.divide(tables, expected, out=np.full(tables.shape, np.nan), where=expected > 0)


def table_of(alignment: Alignment) -> pd.DataFrame:
    """Return one row per state and part: state (from 1), part, share, lift, p, samples."""
    share, lift, p = alignment.share, alignment.lift, alignment.p_values
    rows = [
        {"state": k + 1, "part": part, "share": share[k, j], "lift": lift[k, j], "p": p[k, j],
         "samples": int(alignment.counts[k, j])}
        for k in range(len(share)) for j, part in enumerate(PARTS)
    ]  # fmt: skip
    return pd.DataFrame(rows)
