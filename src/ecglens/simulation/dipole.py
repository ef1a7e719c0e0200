# SPDX-License-Identifier: Apache-2.0
"""The heart as one moving dipole: Gaussian waves in closed form, and the twelve leads they give.

    x(t) = sum over waves w of a_w exp(-(t - t_w)^2 / (2 s_w^2)),   a_w in R^8, in mV

Each wave is a Gaussian in time (Sameni et al. 2007, EURASIP J Adv Signal Process 43407, with time in place of phase:
nothing is integrated, so any sample can be computed alone). Its amplitudes in the eight independent leads are Dower's
linear map of a dipole in R^3 (Dower, Machado, Osborne 1980, Clin Cardiol 3:87) plus what the chest adds that no dipole
explains (see `person`). III and the augmented leads follow from I and II (Einthoven; Goldberger 1942).
Axes: x to the patient's left, y to the feet, z to the back. Everything here is float64.

>>> from ecglens.leads import STANDARD_LEADS
>>> wave = Component("main", "QRS", 0.0, 12.0, (1.0, 0.0, 0.0))
>>> waves = Waves.of([0.5], [wave])
>>> leads = twelve_leads(render(waves, np.arange(500) / 500.0))
>>> leads.shape, dict(zip(STANDARD_LEADS, leads[:, 250].round(3).tolist()))["V4"]
((12, 500), 1.213)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecglens.leads import LIMB_ALGEBRA, LIMB_LEADS, PRECORDIAL_LEADS

WaveName = Literal["P", "QRS", "ST", "T"]
WAVE_NAMES: tuple[WaveName, ...] = ("P", "QRS", "ST", "T")

# Two limb leads and the chest leads: the other four limb leads are sums of I and II.
INDEPENDENT_LEADS = ("I", "II", *PRECORDIAL_LEADS)

# Forward Dower matrix: dipole (x, y, z) -> I, II, V1..V6. Its pseudo-inverse is for the other direction.
DOWER = np.array([
    (0.632, -0.235, 0.059),
    (0.235, 1.066, -0.132),
    (-0.515, 0.157, -0.917),
    (0.044, 0.164, -1.387),
    (0.882, 0.098, -1.277),
    (1.213, 0.127, -0.601),
    (1.125, 0.127, -0.086),
    (0.831, 0.076, 0.230),
])  # fmt: skip
DOWER.flags.writeable = False

# Beyond 7 sigma a Gaussian is below 3e-11 of its peak: nothing in float32.
REACH_SIGMAS = 7.0


@dataclass(frozen=True)
class Component:
    """One Gaussian of the beat.

    name    what it stands for, unique within a beat
    wave    the wave it belongs to; ST and T move with the heart rate, QRS does not, P a little
    mu      its centre, in ms from the beat's reference (the R peak of a normal beat)
    sigma   its width (standard deviation), in ms
    moment  its peak dipole (x, y, z), in mV
    turn    share of the person's rotation and gain that it follows; below 1 for what fixes axis or size by itself
    """

    name: str
    wave: WaveName
    mu: float
    sigma: float
    moment: tuple[float, float, float]
    turn: float = 1.0


@dataclass(frozen=True, eq=False)
class Waves:
    """All Gaussians of one recording, one row each, beat after beat.

    centre     in s [wave]
    width      standard deviation, in s [wave]
    amplitude  in the leads of `INDEPENDENT_LEADS`, in mV [wave, 8]
    kind       index into `WAVE_NAMES` [wave]
    beat       index of the beat [wave]
    source     "" for what everybody has, else the condition that adds it or takes it away [wave]
    """

    centre: np.ndarray
    width: np.ndarray
    amplitude: np.ndarray
    kind: np.ndarray
    beat: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, beats: Sequence[float], components: Sequence[Component]) -> Waves:
        """Return the waves of the same beat, in a body that changes nothing, at these times, in s."""
        n, k = len(beats), len(components)
        mu, sigma = (np.array([getattr(c, name) for c in components]) / 1000.0 for name in ("mu", "sigma"))
        return cls(
            (np.asarray(beats, float)[:, None] + mu).ravel(),
            np.tile(sigma, n),
            np.tile(np.array([c.moment for c in components]) @ DOWER.T, (n, 1)),
            np.tile([WAVE_NAMES.index(c.wave) for c in components], n),
            np.repeat(np.arange(n), k),
            np.full(n * k, "", dtype=object),
        )

    def __len__(self) -> int:
        return len(self.centre)

    def where(self, keep: np.ndarray) -> Waves:
        """Return the waves for which `keep` [wave] holds."""
        fields = (self.centre, self.width, self.amplitude, self.kind, self.beat, self.source)
        return Waves(*(field[keep] for field in fields))


def render(waves: Waves, times: np.ndarray) -> np.ndarray:
    """Return the eight independent leads [8, time], in mV, at ascending `times`, in s."""
    signal = np.zeros((len(INDEPENDENT_LEADS), len(times)))
    if not len(waves):
        return signal
    first = np.searchsorted(times, waves.centre - REACH_SIGMAS * waves.width)
    last = np.searchsorted(times, waves.centre + REACH_SIGMAS * waves.width, side="right")
    starts = np.flatnonzero(np.r_[True, np.diff(waves.beat) != 0])
    for a, b in zip(starts, np.r_[starts[1:], len(waves)], strict=True):  # a beat at once, if its rows are together
        i, j = first[a:b].min(), last[a:b].max()
        if j > i:
            z = (times[i:j] - waves.centre[a:b, None]) / waves.width[a:b, None]
            # einsum, not BLAS, whose last bits depend on the number of threads.
            signal[:, i:j] += np.einsum("kc,kt->ct", waves.amplitude[a:b], np.exp(-0.5 * z**2))
    return signal


def twelve_leads(independent: np.ndarray) -> np.ndarray:
    """Return the twelve leads [12, ...], in the order of `STANDARD_LEADS`, of the independent ones [8, ...]."""
    one, two = independent[:2]
    limb = [LIMB_ALGEBRA[lead][0] * one + LIMB_ALGEBRA[lead][1] * two for lead in LIMB_LEADS]
    return np.concatenate([np.stack(limb), independent[2:]])
