# SPDX-License-Identifier: Apache-2.0
"""Scores of comparisons on one scale: how much more alike than a recording is to strangers anyhow.

Some recordings resemble everybody, some nobody, so one threshold on the cosine refuses the owner of the one and lets
strangers pass for the other. Each recording is compared with a cohort, the people an attacker was trained on, and its
scores are told in standard deviations of those to its nearest ones: adaptive symmetric normalisation (AS-norm), usual
where speakers are verified (Matejka et al., Interspeech 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAREST = 20  # of the cohort

Floats = NDArray[np.float64]


def cohort_scale(units: Floats, cohort: Floats, nearest: int = NEAREST) -> tuple[Floats, Floats]:
    """Return mean and deviation [unit] of the cosines of each unit with its nearest of the cohort.

    units, cohort   embeddings of length 1 [unit, feature], [person, feature]; a cohort of two people or more
    """
    cosines = np.sort(units @ cohort.T, axis=1)[:, -nearest:]
    return cosines.mean(axis=1), np.maximum(cosines.std(axis=1), 1e-6)


def normed(cosine: Floats, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """Return cosines [pair] on the scale of both their units: (mean, deviation) [pair] of each.

    >>> cosine, one, other = np.array([0.9]), (np.array([0.5]), np.array([0.2])), (np.array([0.7]), np.array([0.1]))
    >>> normed(cosine, one, other).round(6).tolist()
    [2.0]
    """
    return np.asarray(((cosine - one[0]) / one[1] + (cosine - other[0]) / other[1]) / 2)
