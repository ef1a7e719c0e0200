# SPDX-License-Identifier: Apache-2.0
"""Do states stay where they are: under a shift of a few samples, under noise, without a lead, in another network?

Two strips of the same records are compared sample by sample with the adjusted Rand index (Hubert and Arabie 1985),
which knows no names of states: 1 the same, 0 as by chance. Its interval resamples patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import ContractError
from ecglens.runs.draws import normal, record_keys, uniform
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number

SHIFTS = tuple(range(1, 8))
NOISE_DB = (20, 10, 5)
N_RESAMPLES = 500

Floats = NDArray[np.float64]
Strips = list[NDArray[np.int16]]


def ari_of_tables(tables: Floats) -> Floats:
    """Return the adjusted Rand index [...] of contingency tables [..., one, other]; NaN where both have one cluster.

    >>> float(ari_of_tables(np.array([[5.0, 0], [0, 5]])))
    1.0
    """
    both = _pairs(tables).sum(axis=(-2, -1))
    one, other = (_pairs(tables.sum(axis=axis)).sum(axis=-1) for axis in (-1, -2))
    whole = _pairs(tables.sum(axis=(-2, -1)))
    expected = one * other / np.where(whole > 0, whole, 1)
    most = (one + other) / 2
    room = most - expected
    return np.asarray(
        np.where(room > 1e-9 * np.maximum(most, 1), (both - expected) / np.where(room > 0, room, 1), np.nan)
    )


def _pairs(counts: Floats) -> Floats:
    return np.asarray(counts * (counts - 1) / 2)


def tables_of(one: Strips, other: Strips, n_one: int, n_other: int) -> Floats:
    """Return how many samples are in each state of one and of the other [record, state, state]; -1 counts for none."""
    out = np.zeros((len(one), n_one, n_other))
    for k, (a, b) in enumerate(zip(one, other, strict=True)):
        known = (a >= 0) & (b >= 0)
        np.add.at(out[k], (a[known], b[known]), 1)
    return out


def ari_figure(tables: Floats, people: Sequence[str], seed: int = 0) -> dict[str, float | None]:
    """Return the index of all records together with its interval over patients, of tables [record, ., .]."""
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    drawn = np.tensordot(weights, tables, axes=1)
    low, high, _ = interval(ari_of_tables(drawn))
    value = float(ari_of_tables(tables.sum(axis=0)))
    return {"value": json_number(value), "low": json_number(low), "high": json_number(high), "n": len(tables)}


def perturbed(
    strips_of: Callable[[list[np.ndarray]], Strips], signals: Sequence[np.ndarray], record_ids: Sequence[str],
    people: Sequence[str], k: int, seed: int = 0,
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """Return the agreement of strips with those of shifted and spoilt copies of the same signals, by what was done.

    strips_of   prepared signals to strips
    signals     [lead, time] each

    A shift by s samples: windows begin s samples later, so that the grid of steps lies otherwise on the beat; compared
    where both strips are. Noise: white, that many dB below the lead's own power. A lead: one, drawn for each record, at
    its mean. Shifts are left out where a window is as long as the records: there is nothing to shift it along.
    """
    last = max(SHIFTS)
    whole, found = _cut_short(strips_of, signals, last), {}
    for shift in SHIFTS if whole else ():
        later = strips_of([s[:, shift : s.shape[1] - last + shift] for s in signals])
        tables = tables_of([a[shift:] for a in whole], [b[: len(b) - shift] for b in later], k, k)
        found[f"shift_{shift}"] = ari_figure(tables, people, seed)
    plain = strips_of(list(signals))
    for level in NOISE_DB:
        noisy = [_with_noise(s, level, name, seed) for s, name in zip(signals, record_ids, strict=True)]
        found[f"noise_{level}_db"] = ari_figure(tables_of(plain, strips_of(noisy), k, k), people, seed)
    lead = (uniform(seed, "lead", record_keys(record_ids), 1)[:, 0] * len(signals[0])).astype(int)
    without = [_without(signal, row) for signal, row in zip(signals, lead, strict=True)]
    found["one_lead_less"] = ari_figure(tables_of(plain, strips_of(without), k, k), people, seed)
    return found


def _cut_short(strips_of: Callable[[list[np.ndarray]], Strips], signals: Sequence[np.ndarray], n: int) -> Strips:
    """Return the strips of signals `n` samples shorter; none where windows need them whole."""
    try:
        return strips_of([signal[:, : signal.shape[1] - n] for signal in signals])
    except ContractError as error:
        if error.kind != "too_short":
            raise
        return []


def _with_noise(signal: np.ndarray, level: float, record_id: str, seed: int) -> np.ndarray:
    noise = normal(seed, f"noise {level}", record_keys([record_id]), signal.size).reshape(signal.shape)
    power = signal.std(axis=1, keepdims=True) * 10 ** (-level / 20)
    return np.asarray(signal + noise * power, dtype=np.float32)


def _without(signal: np.ndarray, lead: int) -> np.ndarray:
    out = np.array(signal, dtype=np.float32)
    out[lead] = out[lead].mean()
    return out


def matched(table: Floats) -> NDArray[np.intp]:
    """Return for each state of one network (rows) the state of the other (columns) that it shares most samples with.

    One to one: the assignment with the most samples in common (Kuhn 1955; Munkres 1957).
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-table)
    order = np.empty(len(table), np.intp)
    order[rows] = columns
    return order
