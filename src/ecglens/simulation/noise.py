# SPDX-License-Identifier: Apache-2.0
"""Noise where it arises: at the nine electrodes, from where each lead takes its difference.

So noise obeys Einthoven's and Goldberger's laws as in a real recording, and has rank 8: what one lead shows is no
longer an exact linear function of three others, as in a bare dipole.

>>> made = lead_noise(np.random.default_rng(0), 5000, 500.0, Noise(), respiration=0.25)
>>> made.total.shape, bool(abs(made.total[2] - (made.total[1] - made.total[0])).max() < 1e-12)
((12, 5000), True)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.signal import butter, sosfilt, sosfreqz

from ecglens.errors import UsageError
from ecglens.leads import PRECORDIAL_LEADS

ELECTRODES = ("RA", "LA", "LL", *PRECORDIAL_LEADS)
NYQUIST_SHARE = 0.9  # a recorder's anti-aliasing filter leaves nothing above this share of fs / 2
MUSCLE_BAND = (20.0, 150.0)  # Hz
LIMB_MUSCLE = 3.0  # arms and legs are muscle: their electrodes see that many times what the chest's see
SPREAD = 0.6  # of a recording's own multiple of each kind, sigma of the logarithm
STEP_FADE = 0.4  # s, time constant

# Potentials of the electrodes -> the twelve leads. Einthoven: I = LA - RA, II = LL - RA, III = LL - LA.
# Goldberger: each limb against the mean of the other two. Wilson: each chest electrode against the mean of the limbs.
_LIMBS = np.array([(-1, 1, 0), (-1, 0, 1), (0, -1, 1), (1, -0.5, -0.5), (-0.5, 1, -0.5), (-0.5, -0.5, 1)])
TWELVE_FROM_ELECTRODES = np.block([[_LIMBS, np.zeros((6, 6))], [np.full((6, 3), -1 / 3), np.eye(6)]])
EIGHT_FROM_ELECTRODES = TWELVE_FROM_ELECTRODES[[0, 1, 6, 7, 8, 9, 10, 11]]


@dataclass(frozen=True)
class Noise:
    """How much of what, at each electrode, in mV; each recording draws its own multiple (lognormal, sigma .6).

    white     standard deviation
    muscle    standard deviation at the chest, 20 to 150 Hz; three times that at the limbs
    mains     median amplitude of the hum
    mains_hz  50 or 60
    wander    amplitude of the baseline: half breathing, half slow drift
    steps     sudden shifts of one electrode that fade within a second, per minute (their size: 0.1 to 0.5 mV)
    """

    white: float = 0.001
    muscle: float = 0.0015
    mains: float = 0.001
    mains_hz: float = 50.0
    wander: float = 0.06
    steps: float = 0.3

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise UsageError("Noise", name, value, "0 or more")


DEFAULT_NOISE = Noise()


class LeadNoise(NamedTuple):
    """Noise of the twelve leads [lead, time], in mV, and the standard deviation of its fast part per lead [lead]."""

    total: np.ndarray
    sd: np.ndarray


def lead_noise(
    generator: np.random.Generator, n_samples: int, fs: float, noise: Noise, respiration: float
) -> LeadNoise:
    """Return the noise of the twelve standard leads, float64.

    Each kind draws from its own child of `generator`, so changing one leaves the others as they were.
    """
    level, white, muscle, mains, wander, steps = generator.spawn(6)  # a new kind: spawn one more, at the end
    factors = level.lognormal(0.0, SPREAD, 4)
    times = np.arange(n_samples) / fs
    fast = white_noise(white, n_samples, factors[0] * noise.white)
    fast += muscle_noise(muscle, n_samples, fs, factors[1] * noise.muscle)
    if noise.mains_hz < NYQUIST_SHARE * fs / 2:
        fast += mains_hum(mains, times, factors[2] * noise.mains, noise.mains_hz)
    slow = baseline_wander(wander, times, factors[3] * noise.wander, respiration)
    slow += electrode_steps(steps, times, noise.steps)
    return LeadNoise(leads_from_electrodes(fast + slow), leads_from_electrodes(fast).std(axis=1))


def white_noise(generator: np.random.Generator, n_samples: int, sd: float) -> np.ndarray:
    """Return white Gaussian noise [electrode, time] of standard deviation `sd`, in mV."""
    return sd * generator.standard_normal((len(ELECTRODES), n_samples))


def muscle_noise(generator: np.random.Generator, n_samples: int, fs: float, sd: float) -> np.ndarray:
    """Return Gaussian noise of 20 to 150 Hz [electrode, time], in mV.

    `sd` is its expected standard deviation at the chest; the limbs have `LIMB_MUSCLE` times as much.
    """
    sos, gain = _muscle_filter(fs)
    settle = round(0.25 * fs)
    raw = generator.standard_normal((len(ELECTRODES), n_samples + settle))
    share = np.array([LIMB_MUSCLE] * 3 + [1.0] * 6)[:, None]
    return share * sd / gain * sosfilt(sos, raw, axis=1)[:, settle:]


def mains_hum(generator: np.random.Generator, times: np.ndarray, amplitude: float, hertz: float) -> np.ndarray:
    """Return hum at `hertz` (+-0.05) [electrode, time], in mV: one phase, another amplitude at each electrode."""
    phase, drift = generator.uniform(0.0, 2 * np.pi), generator.uniform(-0.05, 0.05)
    amplitudes = amplitude * generator.lognormal(0.0, 0.5, len(ELECTRODES))
    return amplitudes[:, None] * np.sin(2 * np.pi * (hertz + drift) * times + phase)


def baseline_wander(generator: np.random.Generator, times: np.ndarray, amplitude: float, rate: float) -> np.ndarray:
    """Return the wander of the baseline [electrode, time], in mV.

    Half of `amplitude` follows the breath (`rate`, in Hz; one phase), half is three slow waves of 0.03 to 0.15 Hz
    per electrode.
    """
    n = len(ELECTRODES)
    knots = np.arange(0.0, (times[-1] if len(times) else 0.0) + 0.1, 0.04)  # straight lines between them will do
    breath = generator.uniform(-1.0, 1.0, (n, 1)) * np.sin(2 * np.pi * rate * knots + generator.uniform(0, 2 * np.pi))
    hertz, phase = generator.uniform(0.03, 0.15, (n, 3, 1)), generator.uniform(0.0, 2 * np.pi, (n, 3, 1))
    slow = np.sin(2 * np.pi * hertz * knots + phase).mean(axis=1)
    return 0.5 * amplitude * np.stack([np.interp(times, knots, row) for row in breath + slow])


def electrode_steps(generator: np.random.Generator, times: np.ndarray, per_minute: float) -> np.ndarray:
    """Return sudden shifts of single electrodes that fade [electrode, time], in mV; their number is Poisson."""
    shifts = np.zeros((len(ELECTRODES), len(times)))
    span = times[-1] if len(times) else 0.0
    for _ in range(generator.poisson(per_minute * span / 60.0)):
        since = times - generator.uniform(0.0, span)
        size = generator.uniform(0.1, 0.5) * generator.choice((-1.0, 1.0))
        shifts[generator.integers(len(ELECTRODES))] += np.where(
            since >= 0, size * np.exp(-np.maximum(since, 0.0) / STEP_FADE), 0.0
        )
    return shifts


def leads_from_electrodes(potentials: np.ndarray) -> np.ndarray:
    """Return the twelve leads [lead, time] of the potentials [electrode, time] of `ELECTRODES`, same unit."""
    ra, la, ll = potentials[:3]
    limb = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.concatenate([np.stack(limb), potentials[3:] - (ra + la + ll) / 3])


@lru_cache(maxsize=8)
def _muscle_filter(fs: float) -> tuple[np.ndarray, float]:
    """Second-order sections of the band, and the standard deviation it leaves of unit white noise."""
    sos = butter(2, (MUSCLE_BAND[0], min(MUSCLE_BAND[1], NYQUIST_SHARE * fs / 2)), "bandpass", fs=fs, output="sos")
    response = sosfreqz(sos, 4096)[1]
    return sos, float(np.sqrt(np.mean(np.abs(response) ** 2)))
