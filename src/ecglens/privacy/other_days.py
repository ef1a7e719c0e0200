# SPDX-License-Identifier: Apache-2.0
"""Mean beats as they might be on another day: what a network must not take for the person.

Recordings of one day look alike in more than the person. Between days P and T grow and shrink, and repolarisation is
longer or shorter than the root of the interval between beats explains; a QRS of up to 90 ms stays (Schijvenaars, van
Herpen and Kors 2008, J Electrocardiol 41:190, on what changes within a person). Few people have many days to learn that
from. So the beats that a network learns from are changed so, each time anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_NUMBERS = 3  # standard normal numbers a beat: of repolarisation, T, P
# In samples at 250 Hz from the centre of QRS: the line before QRS, where P ends, where QRS has ended, where T begins.
_LINE, _P, _QRS, _T = (-18, -12), -15, 20, 22
_SOFT = 3.0  # over how many samples a gain sets in


@dataclass(frozen=True)
class OtherDay:
    """How much the beats of one person may differ between days: deviations of logarithms.

    stretch  of what follows 80 ms behind the centre of QRS, in time
    gain     of P and of T each, away from the line between P and QRS
    """

    stretch: float = 0.06
    gain: float = 0.3


def on_another_day(
    how: OtherDay, beats: NDArray[np.float32], centre: np.ndarray, numbers: np.ndarray
) -> NDArray[np.float32]:
    """Return `beats` [beat, lead, time] at 250 Hz as they might be on another day.

    centre   where the centre of QRS is, in samples [beat]
    numbers  standard normal [beat, N_NUMBERS]

    >>> beat = np.zeros((1, 1, 160), np.float32)
    >>> beat[0, 0, 100:120] = 1  # a T of 1 mV, and a number of 1 for it
    >>> made = on_another_day(OtherDay(0, 0.3), beat, np.array([55]), np.array([[0.0, 1.0, 0.0]]))
    >>> round(float(made[0, 0, 110]), 3), float(made[0, 0, 55])
    (1.35, 0.0)
    """
    n, _, length = beats.shape
    stretch, t_gain, p_gain = np.exp(np.array([how.stretch, how.gain, how.gain]) * numbers).T[:, :, None]
    time = np.arange(length) - np.asarray(centre)[:, None]  # [beat, time]
    source = np.where(time > _QRS, _QRS + (time - _QRS) * stretch, time) + np.asarray(centre)[:, None]
    source = source.clip(0, length - 1)
    left = np.minimum(source.astype(np.int64), length - 2)
    share = (source - left)[:, None]
    rows, leads = np.arange(n)[:, None, None], np.arange(beats.shape[1])[:, None]
    moved = (1 - share) * beats[rows, leads, left[:, None]] + share * beats[rows, leads, left[:, None] + 1]
    here = np.asarray(centre)[:, None] + np.arange(*_LINE)
    line = np.median(beats[rows, leads, here[:, None].clip(0, length - 1)], axis=2, keepdims=True)
    gain = 1 + (t_gain - 1) * _rising((time - _T) / _SOFT) + (p_gain - 1) * _rising((_P - time) / _SOFT)
    return np.asarray(line + gain[:, None] * (moved - line), np.float32)


def _rising(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))  # logistic, without overflow
