# SPDX-License-Identifier: Apache-2.0
"""Augmentation: what is drawn (by record, epoch and seed alone) and how it is applied are two things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from ecglens.runs.draws import normal, uniform


@dataclass(frozen=True)
class Augmentation:
    """How much a training record may be changed.

    crop           length of the random crop, in samples
    gain           each lead times 1 + U(-gain, gain)
    noise          white noise, deviation in the unit of the prepared signal
    lead_dropout   probability that a lead is set to 0
    mixup          alpha of Beta(alpha, alpha) for mixing with another record (Zhang et al. 2018); 0 for none
    """

    crop: int
    gain: float = 0.0
    noise: float = 0.0
    lead_dropout: float = 0.0
    mixup: float = 0.0


@dataclass(frozen=True)
class Draws:
    """What was drawn for some records.

    start    first sample of the crop [record]
    scale    factor per lead [record, lead], 0 where the lead is dropped
    partner  position of the record to mix with [record]
    share    of the record itself in the mixture [record]; 1 for no mixing
    """

    start: np.ndarray
    scale: np.ndarray
    partner: np.ndarray
    share: np.ndarray


def draw(how: Augmentation, keys: np.ndarray, n_leads: int, n_samples: int, seed: int, epoch: int) -> Draws:
    """Draw for all records [record] of an epoch; what a record gets does not depend on order."""
    n = len(keys)
    numbers = uniform(seed, f"augmentation/{epoch}", keys, 3 + 2 * n_leads)
    start = (numbers[:, 0] * (n_samples - how.crop + 1)).astype(np.int64)
    scale = 1.0 + how.gain * (2.0 * numbers[:, 3 : 3 + n_leads] - 1.0)
    scale *= numbers[:, 3 + n_leads :] >= how.lead_dropout
    partner = np.argsort(keys)[(numbers[:, 1] * n).astype(np.int64)]  # by key, so that positions cannot matter
    share = np.ones(n)
    if how.mixup > 0:
        mixed = betaincinv(how.mixup, how.mixup, numbers[:, 2])
        share = np.maximum(mixed, 1.0 - mixed)  # the record itself stays the larger part
    return Draws(start, scale.astype(np.float32), partner, share.astype(np.float32))


def apply(
    how: Augmentation,
    drawn: Draws,
    signals: np.ndarray,
    labels: np.ndarray,
    keys: np.ndarray,
    batch: np.ndarray,
    seed: int,
    epoch: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the augmented crops [batch, lead, crop] and labels [batch, class] of the records at `batch`."""
    x = _crops(signals, batch, drawn, how.crop)
    y = labels[batch]
    if how.mixup > 0:
        other = drawn.partner[batch]
        share = drawn.share[batch]
        x = share[:, None, None] * x + (1 - share)[:, None, None] * _crops(signals, other, drawn, how.crop)
        y = share[:, None] * y + (1 - share)[:, None] * labels[other]
    if how.noise > 0:
        x = x + how.noise * normal(seed, f"noise/{epoch}", keys[batch], x[0].size).reshape(x.shape)
    return x.astype(np.float32, copy=False), y.astype(np.float32)


def _crops(signals: np.ndarray, records: np.ndarray, drawn: Draws, length: int) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(signals, length, axis=2)
    return views[records, :, drawn.start[records]] * drawn.scale[records][:, :, None]
