# SPDX-License-Identifier: Apache-2.0
"""Is a state's contribution what the answer loses without the state?

features   the state's places hold average features: by algebra the same for a mean and a linear head, a test elsewhere
input      the trace is drawn straight through the state's stretches, in all leads: the honest test, and a hard one,
           since a straight line is no heart, and since a step sees more than its own samples
shifted    the same with the strip half a record away: what any stretches of that length would do

Each is Pearson's correlation of contribution and fall of the logit over records, states and classes, with its interval
over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecglens.bundle import Bundle
from ecglens.concepts.state_field import held_by, stacked
from ecglens.concepts.state_network import Fitted, Read
from ecglens.concepts.state_split import ablated
from ecglens.concepts.states import runs_of
from ecglens.prediction.predict import predict_raw
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number

N_RESAMPLES = 1000

Floats = NDArray[np.float64]


def ablation_of(
    bundle: Bundle, fitted: Fitted, read: Read, signals: Sequence[np.ndarray], people: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return the three correlations, and the largest difference between contribution and fall of features.

    read, signals   of the same records, in the same order
    """
    falls = _of_features(bundle, fitted, signals)
    told = {
        "features": correlation(read.contributions, falls, people, seed),
        "largest_difference": float(np.abs(falls - read.contributions).max()),
    }
    plain = predict_raw(bundle, signals)
    for name, away in (("input", 0), ("shifted", 2)):
        drawn = np.zeros_like(falls)
        for k in range(fitted.states.k):
            bridged = []
            for signal, strip in zip(signals, read.strips, strict=True):
                own = strip[: signal.shape[1]]
                bridged.append(without_state(signal, np.roll(own, len(own) // away) if away else own, k))
            drawn[:, k] = plain - predict_raw(bundle, bridged)
        told[name] = correlation(read.contributions, drawn, people, seed)
    return told


def without_state(signal: np.ndarray, strip: np.ndarray, state: int) -> NDArray[np.float32]:
    """Return `signal` [lead, time] with straight lines where `strip` [time] is in `state`; level where it is an end."""
    out = np.array(signal, dtype=np.float32)
    for first, last, one in runs_of(strip):
        if one == state:
            before = out[:, first - 1] if first > 0 else signal[:, min(last, signal.shape[1] - 1)]
            after = signal[:, last] if last < signal.shape[1] else before
            way = (np.arange(1, last - first + 1) / (last - first + 1)).astype(np.float32)
            out[:, first:last] = before[:, None] * (1 - way) + after[:, None] * way
    return out


def correlation(
    one: np.ndarray, other: np.ndarray, people: Sequence[str], seed: int = 0
) -> dict[str, float | int | None]:
    """Return Pearson's correlation of values [record, ...] with its interval over patients."""
    x, y = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (one, other))
    x, y = x - x.mean(), y - y.mean()  # the correlation is the same, the sums are better conditioned
    sums = np.stack([np.full(len(x), float(x.shape[1])), *(v.sum(axis=1) for v in (x, y, x * x, y * y, x * y))], axis=1)
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    value = float(_r(sums.sum(axis=0)[None])[0])
    low, high, _ = interval(_r(weights @ sums))
    return {"value": json_number(value), "low": json_number(low), "high": json_number(high), "n": len(x)}


def _r(sums: Floats) -> Floats:
    n, x, y, xx, yy, xy = sums.T
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    return np.asarray(np.where(spread > 0, (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, 1)), np.nan))


def _of_features(bundle: Bundle, fitted: Fitted, signals: Sequence[np.ndarray]) -> Floats:
    out = np.zeros((len(signals), fitted.states.k, len(bundle.outputs)))
    reference = torch.from_numpy(fitted.reference)
    for chunk, windows, held in held_by(bundle, bundle.network, signals, fitted.grid.layers):
        p, _ = fitted.states.assign(fitted.axes.of(stacked(fitted.grid, held)))
        falls = ablated(fitted.head, held[fitted.grid.layers[-1]], reference, p, fitted.grid.onto)
        out[chunk] = falls.reshape(len(chunk), windows, *falls.shape[1:]).mean(axis=1)
    return out
