# SPDX-License-Identifier: Apache-2.0
"""How probable P, QRS, T or nothing is, in each lead and at each instant: what the delineator's network says.

>>> from ecglens import simulate_ecg
>>> found = map_waves(simulate_ecg("sim-00001", "NORM").ecg)
>>> found.probability.shape, found.classes, bool(abs(found.probability.sum(axis=1) - 1).max() < 1e-5)
((12, 4, 2500), ('none', 'P', 'QRS', 'T'), True)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ecglens.ecg import ECG
from ecglens.models.unet1d import UNet1d
from ecglens.waveform.wave_input import WaveInput, prepare_waves
from ecglens.waveform.wave_weights import load_delineator

CLASSES = ("none", "P", "QRS", "T")
BATCH = 16  # windows that go through the network at once
_WINDOW = 30.0  # s; what is longer goes through in pieces that overlap by what the network can see


@dataclass(frozen=True, eq=False)
class WaveMap:
    """The soft map of one ECG.

    probability  float32 [lead, class, time]; the classes of an instant add up to 1; where a lead has a gap, "none" is 1
    fs           of the map, in Hz (250, or nearly)
    leads        lead names, as in the ECG
    start        time of sample 0, in s
    """

    probability: np.ndarray
    fs: float
    leads: tuple[str, ...]
    start: float = 0.0
    classes: tuple[str, ...] = CLASSES

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        """Return one class in one lead [time]: `wave_map["II", "P"]`."""
        return self.probability[self.leads.index(key[0]), self.classes.index(key[1])]

    @property
    def times(self) -> np.ndarray:
        """Time of each sample, in s [time]."""
        return self.start + np.arange(self.probability.shape[-1]) / self.fs


def map_waves(ecg: ECG, network: UNet1d | None = None) -> WaveMap:
    """Return the soft map of `ecg`: any leads, 50 to 4000 Hz, any length; memory grows with the length alone.

    network  another one than the shipped delineator
    """
    return next(map_all([ecg], network))


def map_all(ecgs: Sequence[ECG], network: UNet1d | None = None) -> Iterator[WaveMap]:
    """Yield the soft map of each ECG; records of one length go through the network together."""
    for first in range(0, len(ecgs), BATCH):
        group = ecgs[first : first + BATCH]
        seen = [prepare_waves(ecg) for ecg in group]
        for ecg, own, probability in zip(group, seen, probabilities(seen, network), strict=True):
            yield WaveMap(probability, own.fs, ecg.leads, ecg.start)


def probabilities(seen: Sequence[WaveInput], network: UNet1d | None = None) -> list[np.ndarray]:
    """Return float32 [lead, class, time] of each prepared ECG."""
    net = _fused_delineator() if network is None else fused(network)
    outs = [np.zeros((len(own.where), len(CLASSES), own.values.shape[2]), np.float32) for own in seen]
    groups: dict[int, list[_Piece]] = {}
    for own, out in zip(seen, outs, strict=True):
        for piece in _pieces(own, out, net):
            groups.setdefault(piece.values.shape[1], []).append(piece)
    for pieces in groups.values():
        for first in range(0, len(pieces), BATCH):
            _run(net, pieces[first : first + BATCH])
    for own, out in zip(seen, outs, strict=True):
        if own.absent.any():
            out.transpose(0, 2, 1)[own.absent] = (1.0, 0.0, 0.0, 0.0)
    return outs


@dataclass(frozen=True, eq=False)
class _Piece:
    """A stretch for the network, padded to what it takes, and where its answer goes."""

    values: np.ndarray  # [12, time]
    rows: list[int]
    places: list[int]
    out: np.ndarray  # view of the output [lead, class, time of the kept part]
    skip: int  # samples before the kept part


def _pieces(own: WaveInput, out: np.ndarray, net: UNet1d) -> Iterator[_Piece]:
    n = own.values.shape[2]
    margin = -(-net.reach // net.multiple) * net.multiple
    length = max(round(_WINDOW * own.fs) // net.multiple * net.multiple, net.multiple)
    for number, values in enumerate(own.values):
        rows = [row for row, (of, _) in enumerate(own.where) if of == number]
        places = [own.where[row][1] for row in rows]
        for start in range(0, n, length) if n > length + 2 * margin else [0]:
            stop = n if n <= length + 2 * margin else min(start + length, n)
            first, last = max(start - margin, 0), min(stop + margin, n)
            padding = -(last - first) % net.multiple
            piece = np.pad(values[:, first:last], ((0, 0), (0, padding)))
            yield _Piece(piece, rows, places, out[:, :, start:stop], start - first)


@torch.inference_mode()
def _run(net: UNet1d, pieces: list[_Piece]) -> None:
    logits = net(torch.from_numpy(np.stack([piece.values for piece in pieces])))
    answers = torch.softmax(logits, dim=2).numpy()
    for piece, answer in zip(pieces, answers, strict=True):
        kept = answer[piece.places, :, piece.skip : piece.skip + piece.out.shape[2]]
        piece.out[piece.rows] = kept


@lru_cache(maxsize=1)
def _fused_delineator() -> UNet1d:
    return fused(load_delineator())


def fused(network: UNet1d) -> UNet1d:
    """Return the network with each normalisation drawn into the convolution before it: the same function, faster."""
    net = deepcopy(network).eval()
    for block in [*net.down, *net.up]:
        for k in range(0, len(block), 3):
            block[k], block[k + 1] = fuse_conv_bn_eval(block[k], block[k + 1]), nn.Identity()
    return net
