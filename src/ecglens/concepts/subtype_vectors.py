# SPDX-License-Identifier: Apache-2.0
"""What a record is clustered by: its mean beat, the mean beat of its map, or what the network's head reads of it.

signals       the prepared signal from 0.3 s before to 0.5 s after each R peak, mean over beats [lead, phase]
attributions  the same of the signed gradient of the logit of the record's highest class, or of one class for all
features      the last block's mean over windows and steps [channel]; of an average of networks, of all side by side

Records of a family are read by the network that has not seen them. Features of different networks have no common axes;
each network's are turned onto the first one's by the rotation that fits best on the whole group (Schoenemann 1966,
Psychometrika 31:1), after both are centred and scaled. No label enters, but the rotation is fitted on records that the
network may have been trained on. Gradients of different networks have other sizes and another mean; each network's maps
are centred and scaled to those of all, since folds are dealt by chance and no fold's records should differ from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.bundle import Bundle
from ecglens.cohort import Batch
from ecglens.concepts.state_field import held_by
from ecglens.errors import UsageError
from ecglens.explainers.explain import attribute, find_method
from ecglens.models.activations import blocks_of
from ecglens.models.average import side_by_side
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import Prepared
from ecglens.runs.progress import Progress, silent
from ecglens.waveform.rpeaks import detect_r_peaks

BY = ("attributions", "signals", "features")
BEFORE_S, AFTER_S = 0.3, 0.5
CALLED = "called"

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reader:
    """One network and the rows of the prepared group that it has not seen."""

    bundle: Bundle
    rows: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Vectors:
    """What the group is clustered by.

    values         [record, ...]; with a beat: [record, lead, phase]
    beats          mean beat of the signal as recorded, in mV [record, lead, phase]
    probabilities  [record, class]
    rows           of the prepared group; records without a whole beat are left out
    networks       number of the network that read each record [record]
    targets        number of the class whose logit was explained [record]; -1 where nothing was
    """

    values: Floats
    beats: Floats
    probabilities: Floats
    rows: NDArray[np.intp]
    networks: NDArray[np.intp]
    targets: NDArray[np.intp]


def gather(
    readers: Sequence[Reader], prepared: Prepared, by: str, target: str = CALLED, progress: Progress = silent
) -> Vectors:
    """Return the vectors of the group. Raises UsageError for an unknown kind or target."""
    if by not in BY:
        raise UsageError("find-subtypes", "--by", by, ", ".join(BY))
    n, fs = len(prepared.cohort), prepared.fs
    leads = list(readers[0].bundle.preprocessing.leads)
    signals = [np.asarray(signal) for signal in prepared.signals]
    peaks, beats = [], []
    for i in range(n):
        ecg = prepared.cohort[i].select(leads)
        peaks.append(detect_r_peaks(ecg).times - ecg.start)
        beats.append(mean_beat(np.nan_to_num(ecg.signal), peaks[-1], ecg.fs, fs))
        progress("beats", i + 1, n, "")
    probabilities = np.zeros((n, len(readers[0].bundle.outputs)))
    values: list[np.ndarray | None] = [None] * n
    networks, targets = np.zeros(n, np.intp), np.full(n, -1, np.intp)
    for number, reader in enumerate(readers, 1):
        raw = predict_raw(reader.bundle, [signals[i] for i in reader.rows])
        probabilities[reader.rows] = reader.bundle.activate(raw)
        networks[reader.rows] = number - 1
        if by == "attributions":
            rows = _targets(reader.bundle, probabilities[reader.rows], target)
            targets[reader.rows] = rows.argmax(axis=1)
            for i, row in zip(reader.rows, rows, strict=True):
                values[i] = mean_beat(_map(reader.bundle, signals[i], row, fs), peaks[i], fs, fs)
        progress(by, number, len(readers), "")
    if by == "signals":
        values = [mean_beat(signal, own, fs, fs) for signal, own in zip(signals, peaks, strict=True)]
    if by == "features":
        values = list(_common_features(readers, signals))
    kept = np.array([i for i in range(n) if values[i] is not None and beats[i] is not None], dtype=np.intp)
    made = np.array([values[i] for i in kept], dtype=float)
    return Vectors(
        alike(made, networks[kept]) if by == "attributions" else made,
        np.array([beats[i] for i in kept], dtype=float), probabilities[kept], kept, networks[kept], targets[kept],
    )  # fmt: skip


def alike(maps: Floats, networks: np.ndarray) -> Floats:
    """Return maps [record, ...] of several networks with one mean and one size: those of all maps."""
    names = np.unique(networks)
    if len(names) < 2:
        return maps
    mean, out = maps.mean(axis=0), np.empty_like(maps)
    size = _size(maps - mean)
    for name in names:
        own = networks == name
        centred = maps[own] - maps[own].mean(axis=0)
        out[own] = centred * (size / max(_size(centred), 1e-12)) + mean
    return out


def _size(maps: Floats) -> float:
    """Return the root of the mean square of maps, per record."""
    return float(np.sqrt(np.mean(np.sum(maps.reshape(len(maps), -1) ** 2, axis=1))))


def mean_beat(values: np.ndarray, peaks: np.ndarray, fs: float, grid_fs: float) -> Floats | None:
    """Return the mean over beats of values [lead, time] round R peaks, in s, at `grid_fs` Hz; None without a beat."""
    offsets = np.arange(round((BEFORE_S + AFTER_S) * grid_fs)) / grid_fs - BEFORE_S
    whole = peaks[(peaks - BEFORE_S >= 0) & (peaks + AFTER_S <= values.shape[1] / fs)]
    if not len(whole):
        return None
    at = np.clip(np.rint((whole[:, None] + offsets) * fs).astype(int), 0, values.shape[1] - 1)
    return np.asarray(values[:, at].mean(axis=1), dtype=float)


def turned(features: Floats, onto: Floats, own: Floats) -> Floats:
    """Return `own` [record, channel] turned onto another network's axes.

    features, onto   what both networks hold for the same records [record, channel]
    """
    centre, scale = features.mean(axis=0), np.linalg.norm(features - features.mean(axis=0))
    theirs = onto - onto.mean(axis=0)
    left, _, right = np.linalg.svd((features - centre).T @ theirs)
    stretch = np.linalg.norm(theirs) / max(float(scale), 1e-12)
    return np.asarray((own - centre) @ (left @ right) * stretch + onto.mean(axis=0))


def _common_features(readers: Sequence[Reader], signals: Sequence[np.ndarray]) -> Floats:
    first = _features(readers[0].bundle, signals)
    out = np.zeros_like(first)
    for reader in readers:
        every = first if reader is readers[0] else _features(reader.bundle, signals)
        out[reader.rows] = every[reader.rows] if reader is readers[0] else turned(every, first, every[reader.rows])
    return out


def _features(bundle: Bundle, signals: Sequence[np.ndarray]) -> Floats:
    network = side_by_side(bundle.network)
    layer = f"block-{len(blocks_of(network))}"
    parts: dict[int, np.ndarray] = {}
    for chunk, windows, held in held_by(bundle, network, signals, [layer]):
        mean = held[layer].double().mean(dim=-1).numpy().reshape(len(chunk), windows, -1).mean(axis=1)
        parts |= dict(zip(chunk, mean, strict=True))
    return np.stack([parts[i] for i in range(len(signals))])


def _map(bundle: Bundle, signal: np.ndarray, row: np.ndarray, fs: float) -> np.ndarray:
    batch = Batch(signal[None], fs, bundle.preprocessing.leads, ("record",), (0.0,))
    return np.asarray(attribute(bundle, batch, row[None], find_method("saliency")).values[0, 0])


def _targets(bundle: Bundle, probabilities: np.ndarray, target: str) -> np.ndarray:
    if target == CALLED:
        return np.asarray(np.eye(len(bundle.outputs))[probabilities.argmax(axis=1)])
    return np.tile(bundle.target_row(target), (len(probabilities), 1))
