# SPDX-License-Identifier: Apache-2.0
"""When beats come: sinus rhythm, atrial fibrillation, premature beats.

>>> rhythm = sinus_rhythm(np.random.default_rng(0), rate=60.0, duration=10.0)
>>> rhythm.kinds[0], bool(rhythm.beats[0] < 0 < 10 < rhythm.beats[-1])
('sinus', True)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Beat = Literal["sinus", "fibrillation", "ventricular", "atrial"]
SHORTEST_RR = 0.32  # s: the AV node lets no more through

# Names of the beats as the MIT-BIH annotations have them.
BEAT_SYMBOLS: dict[str, str] = {"sinus": "N", "fibrillation": "N", "ventricular": "V", "atrial": "A"}


@dataclass(frozen=True, eq=False)
class Rhythm:
    """When one recording's beats come, and the breathing under them.

    beats        reference time of each beat, in s [beat]; reaches past both ends of the recording, so that its
                 first and last waves are whole
    kinds        of each beat
    mean_rr      in s
    respiration  breathing rate, in Hz
    phase        of the breath at t = 0, in rad
    """

    beats: np.ndarray
    kinds: tuple[Beat, ...]
    mean_rr: float
    respiration: float
    phase: float

    def preceding_rr(self) -> np.ndarray:
        """Return the interval before each beat, in s [beat]; the first has the mean."""
        return np.r_[self.mean_rr, np.diff(self.beats)]

    def breath(self, times: np.ndarray) -> np.ndarray:
        """Return the depth of the breath, -1 to 1, at `times`."""
        return np.sin(2 * np.pi * self.respiration * times + self.phase)


def sinus_rhythm(generator: np.random.Generator, rate: float, duration: float, variability: float = 1.0) -> Rhythm:
    """Draw the beats of a sinus rhythm around `rate` per minute that covers 0 to `duration` s.

    RR follows the breath (1 to 3 %), a 0.1-Hz wave (0.5 to 1.5 %) and chance (0.6 %), each times `variability`: the
    two spectral peaks of McSharry et al. 2003 (IEEE Trans Biomed Eng 50:289), written in time.
    """
    mean_rr = 60.0 / rate
    respiration, phase = generator.uniform(0.2, 0.33), generator.uniform(0.0, 2 * np.pi)
    breath, slow = generator.uniform(0.01, 0.03), generator.uniform(0.005, 0.015)
    slow_phase = generator.uniform(0.0, 2 * np.pi)
    beats = [-(1.0 + generator.uniform()) * mean_rr]
    while beats[-1] < duration + 0.8:  # a long PR interval reaches 0.5 s before its beat
        t = beats[-1]
        swing = breath * np.sin(2 * np.pi * respiration * t + phase) + slow * np.sin(0.2 * np.pi * t + slow_phase)
        change = np.clip(variability * (swing + 0.006 * generator.standard_normal()), -0.25, 0.25)
        beats.append(t + mean_rr * (1.0 + change))
    return Rhythm(np.array(beats), _all("sinus", len(beats)), mean_rr, respiration, phase)


def fibrillation(generator: np.random.Generator, like: Rhythm, duration: float) -> Rhythm:
    """Draw irregularly irregular beats: RR independent and lognormal with a spread of 20 to 25 %.

    The breathing is that of `like`; the ventricles follow 10 to 50 % faster than its sinus node.
    """
    mean_rr = max(0.45, like.mean_rr / generator.uniform(1.1, 1.5))
    sigma = generator.uniform(0.20, 0.25)
    beats = [-(1.0 + generator.uniform()) * mean_rr]
    while beats[-1] < duration + 0.8:
        beats.append(beats[-1] + max(SHORTEST_RR, mean_rr * np.exp(sigma * generator.standard_normal() - sigma**2 / 2)))
    return replace(like, beats=np.array(beats), kinds=_all("fibrillation", len(beats)), mean_rr=mean_rr)


def premature(generator: np.random.Generator, rhythm: Rhythm, kind: Beat, duration: float, burden: float) -> Rhythm:
    """Return the rhythm with premature beats of `kind`, about 3 x `burden` in 10 s, at least one.

    Ventricular: coupled at 0.55 to 0.7 RR; the sinus node goes on undisturbed, so that the pause compensates: the
    beats around lie two RR apart. Atrial: coupled at 0.6 to 0.75 RR; the sinus node starts anew from it, so that the
    beats around lie less than two RR apart.
    """
    beats, kinds = rhythm.beats.copy(), list(rhythm.kinds)
    for k in _chosen(generator, beats, kinds, duration, burden):
        rr = beats[k] - beats[k - 1]
        early = generator.uniform(0.55, 0.7) if kind == "ventricular" else generator.uniform(0.6, 0.75)
        when = beats[k - 1] + max(early * rr, SHORTEST_RR)
        if kind == "atrial":
            beats[k + 1 :] -= (beats[k] - when) - generator.uniform(0.02, 0.08) * rr
        beats[k], kinds[k] = when, kind
    beats, kinds = _extended(beats, kinds, rhythm.mean_rr, duration)
    return replace(rhythm, beats=beats, kinds=tuple(kinds))


def _chosen(
    generator: np.random.Generator, beats: np.ndarray, kinds: list[Beat], duration: float, burden: float
) -> list[int]:
    """Draw which beats come early: inside the recording, two ordinary ones before and two after, in time's order."""
    inside = np.flatnonzero((beats > 0.3) & (beats < duration - 0.3))
    inside = np.array([k for k in inside if 2 <= k < len(beats) - 2], int)
    wanted = max(1, round(burden * generator.uniform(1.0, 4.0) * duration / 10.0))
    chosen: list[int] = []
    # The middle of a recording first: a single premature beat should have its pause inside.
    middle = inside[(beats[inside] > 1.2 * (beats[1] - beats[0])) & (beats[inside] < duration - 1.0)]
    for k in [*generator.permutation(middle), *generator.permutation(inside)]:
        apart = all(abs(k - other) >= 3 for other in chosen)
        if apart and len(chosen) < wanted and all(kinds[j] == "sinus" for j in range(k - 2, k + 3)):
            chosen.append(int(k))
    return sorted(chosen)


def _extended(beats: np.ndarray, kinds: list[Beat], mean_rr: float, duration: float) -> tuple[np.ndarray, list[Beat]]:
    # Atrial beats pull what follows forward, so that beats may be wanting at the end.
    more = list(beats)
    while more[-1] < duration + 0.8:
        more.append(more[-1] + mean_rr)
    return np.array(more), [*kinds, *_all("sinus", len(more) - len(beats))]


def _all(kind: Beat, n: int) -> tuple[Beat, ...]:
    return (kind,) * n


def fibrillatory_waves(generator: np.random.Generator, times: np.ndarray, size: float) -> np.ndarray:
    """Return the f waves as a dipole [3, time], in mV, strongest towards V1.

    A sawtooth of five harmonics whose frequency (5 to 8 Hz) wavers: sum over m = 1..5 of 2 / (m pi) sin(m theta),
    theta = 2 pi f0 t plus two slow swings; its size swells and fades.
    """
    f0, phase = generator.uniform(5.0, 8.0), generator.uniform(0.0, 2 * np.pi)
    theta, swell = 2 * np.pi * f0 * times + phase, np.ones(len(times))
    for low, high in ((0.15, 0.4), (0.6, 1.3)):
        waver, turn = generator.uniform(low, high), generator.uniform(0.0, 2 * np.pi, 2)
        theta = theta + generator.uniform(0.3, 0.8) / waver * np.sin(2 * np.pi * waver * times + turn[0])
        swell = swell * (1.0 + 0.45 * np.sin(2 * np.pi * 0.8 * waver * times + turn[1]))
    m = np.arange(1, 6)[:, None]
    saw = (2.0 / (m * np.pi) * np.sin(m * theta)).sum(axis=0)
    towards_v1 = np.array([-0.60, 0.30, -0.40]) + generator.normal(0.0, 0.1, 3)
    return size * towards_v1[:, None] * saw * swell
