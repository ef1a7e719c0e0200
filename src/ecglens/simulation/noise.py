# SPDX-License-Identifier: Apache-2.0
"""Noise where it arises: at the nine electrodes, from where each lead takes its difference.

So noise obeys Einthoven's and Goldberger's laws as in a real recording, and has rank 8: what one lead shows is no
longer an exact linear function of three others, as in the bare dipole.

>>> noisy = lead_noise(np.random.default_rng(0), 5000, 500.0, Noise(), respiration=0.25)
>>> noisy.shape, bool(abs(noisy[2] - (noisy[1] - noisy[0])).max() < 1e-12)
((12, 5000), True)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt, sosfreqz

from ecglens.leads import PRECORDIAL_LEADS

ELECTRODES = ("RA", "LA", "LL", *PRECORDIAL_LEADS)
NYQUIST_SHARE = 0.9  # a recorder's anti-aliasing filter leaves nothing above this share of fs / 2
MUSCLE_BAND = (20.0, 150.0)  # Hz


@dataclass(frozen=True)
class Noise:
    """How much of what, at each electrode, in mV; each recording draws its own multiple (lognormal, sigma .4).

    white   standard deviation
    muscle  standard deviation, 20 to 150 Hz
    mains   median amplitude of the hum
    mains_hz  50 or 60
    wander  amplitude of the baseline: half breathing, half slow drift
    """

    white: float = 0.008
    muscle: float = 0.008
    mains: float = 0.004
    mains_hz: float = 50.0
    wander: float = 0.05


DEFAULT_NOISE = Noise()


def lead_noise(
    generator: np.random.Generator, n_samples: int, fs: float, noise: Noise, respiration: float
) -> np.ndarray:
    """Return the noise of the twelve standard leads [lead, time], in mV, float64.

    Each kind draws from its own child of `generator`, so changing one leaves the others as they were.
    """
    level, white, muscle, mains, wander = generator.spawn(5)  # a new kind: spawn one more, at the end
    factors = level.lognormal(0.0, 0.4, 4)
    times = np.arange(n_samples) / fs
    total = white_noise(white, n_samples, factors[0] * noise.white)
    total += muscle_noise(muscle, n_samples, fs, factors[1] * noise.muscle)
    if noise.mains_hz < NYQUIST_SHARE * fs / 2:
        total += mains_hum(mains, times, factors[2] * noise.mains, noise.mains_hz)
    total += baseline_wander(wander, times, factors[3] * noise.wander, respiration)
    return leads_from_electrodes(total)


def white_noise(generator: np.random.Generator, n_samples: int, sd: float) -> np.ndarray:
    """Return white Gaussian noise [electrode, time] of standard deviation `sd`, in mV."""
    return sd * generator.standard_normal((len(ELECTRODES), n_samples))


def muscle_noise(generator: np.random.Generator, n_samples: int, fs: float, sd: float) -> np.ndarray:
    """Return Gaussian noise of 20 to 150 Hz [electrode, time], in mV; `sd` is its expected standard deviation."""
    sos, gain = _muscle_filter(fs)
    settle = round(0.25 * fs)
    raw = generator.standard_normal((len(ELECTRODES), n_samples + settle))
    return sd / gain * sosfilt(sos, raw, axis=1)[:, settle:]


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
    breath = generator.uniform(-1.0, 1.0, (n, 1)) * np.sin(2 * np.pi * rate * times + generator.uniform(0, 2 * np.pi))
    hertz, phase = generator.uniform(0.03, 0.15, (n, 3, 1)), generator.uniform(0.0, 2 * np.pi, (n, 3, 1))
    slow = np.sin(2 * np.pi * hertz * times + phase).mean(axis=1)
    return 0.5 * amplitude * (breath + slow)


def leads_from_electrodes(potentials: np.ndarray) -> np.ndarray:
    """Return the twelve leads [lead, time] of the potentials [electrode, time] of `ELECTRODES`, same unit.

    Einthoven: I = LA - RA, II = LL - RA, III = LL - LA. Goldberger: each limb against the mean of the other two.
    Wilson: each chest electrode against the mean of the three limbs.
    """
    ra, la, ll = potentials[:3]
    limb = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.concatenate([np.stack(limb), potentials[3:] - (ra + la + ll) / 3])


@lru_cache(maxsize=8)
def _muscle_filter(fs: float) -> tuple[np.ndarray, float]:
    """Second-order sections of the band, and the standard deviation it leaves of unit white noise."""
    sos = butter(2, (MUSCLE_BAND[0], min(MUSCLE_BAND[1], NYQUIST_SHARE * fs / 2)), "bandpass", fs=fs, output="sos")
    response = sosfreqz(sos, 4096)[1]
    return sos, float(np.sqrt(np.mean(np.abs(response) ** 2)))
