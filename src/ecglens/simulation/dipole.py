# SPDX-License-Identifier: Apache-2.0
"""The heart as one moving dipole: Gaussian components in closed form, and the twelve leads it gives.

    v(t) = sum over beats b and components c of a_c exp(-(t - t_b - mu_c)^2 / (2 sigma_c^2)),  v in R^3, in mV

(Sameni et al. 2007, EURASIP J Adv Signal Process 43407, with time in place of phase: nothing is integrated, so any
sample can be computed alone.) V1..V6, I and II are Dower's linear map of v (Dower, Machado, Osborne 1980, Clin
Cardiol 3:87); III and the augmented leads follow from I and II (Einthoven; Goldberger 1942).
Axes: x to the patient's left, y to the feet, z to the back. Everything here is float64.

One dipole has rank 3: any lead is a linear function of three independent others. Where in time a finding lies is
therefore well defined, in which lead it "is" only as a matter of degree.

>>> wave = Component("main", "QRS", 0.0, 12.0, (1.0, 0.0, 0.0))
>>> v = dipole_moment(np.arange(500) / 500.0, np.array([0.5]), (wave,))
>>> v.shape, float(v[0, 250]), dict(zip(STANDARD_LEADS, leads_from_dipole(v)[:, 250].round(3).tolist()))["V4"]
((3, 500), 1.0, 1.213)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from ecglens.leads import LIMB_ALGEBRA, PRECORDIAL_LEADS, STANDARD_LEADS

# Forward Dower matrix: dipole (x, y, z) -> V1..V6, I, II. The inverse is for the other direction.
DOWER_LEADS = (*PRECORDIAL_LEADS, "I", "II")
DOWER = np.array([
    (-0.515, 0.157, -0.917),
    (0.044, 0.164, -1.387),
    (0.882, 0.098, -1.277),
    (1.213, 0.127, -0.601),
    (1.125, 0.127, -0.086),
    (0.831, 0.076, 0.230),
    (0.632, -0.235, 0.059),
    (0.235, 1.066, -0.132),
])  # fmt: skip
DOWER.flags.writeable = False

# Beyond 9 sigma a Gaussian is below 3e-18 of its peak: less than float64 resolves next to a wave.
REACH_SIGMAS = 9.0


@dataclass(frozen=True)
class Component:
    """One Gaussian of the beat.

    name    what it stands for, unique within a beat
    wave    the wave it belongs to; ST and T move with the heart rate, P and QRS do not
    mu      its centre, in ms from the beat's reference (the R peak of a normal beat)
    sigma   its width (standard deviation), in ms
    moment  its peak dipole (x, y, z), in mV
    """

    name: str
    wave: Literal["P", "QRS", "ST", "T"]
    mu: float
    sigma: float
    moment: tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """How one person's heart lies and conducts; the same in all records of that person.

    rotation         of the dipole about x, y and z, in degrees (3)
    axis_gains       of x, y and z, applied before the rotation (3); gains act on the dipole, because a gain per
                     lead would break Einthoven's law
    component_gains  one per component of the beat, in its order; later ones are 1
    p_shift, t_shift delay of P, and of ST and T, in ms
    resting_rate     in beats per minute
    """

    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis_gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    component_gains: tuple[float, ...] = ()
    p_shift: float = 0.0
    t_shift: float = 0.0
    resting_rate: float = 60.0

    def matrix(self) -> np.ndarray:
        """Return rotation times gains [3, 3]: what the body makes of the dipole."""
        return Rotation.from_euler("xyz", self.rotation, degrees=True).as_matrix() * np.array(self.axis_gains)


@dataclass(frozen=True, eq=False)
class Rhythm:
    """When one recording's beats come, and the breathing under them.

    beats        reference time of each beat, in s [beat]; reaches past both ends of the recording, so that its
                 first and last waves are whole
    mean_rr      in s
    respiration  breathing rate, in Hz
    phase        of the breath at t = 0, in rad
    """

    beats: np.ndarray
    mean_rr: float
    respiration: float
    phase: float


def draw_body(generator: np.random.Generator, n_components: int) -> Body:
    """Draw a person: rotation +-20 deg per axis, axis gains lognormal .15, components +-15 %, P +-15, T +-20 ms."""
    rotation = generator.uniform(-20.0, 20.0, 3)
    gains = generator.lognormal(0.0, 0.15, 3)
    p_shift, t_shift = generator.uniform(-15.0, 15.0), generator.uniform(-20.0, 20.0)
    rate = generator.uniform(53.0, 95.0)  # with the +-5 % of a session: 50 to 100 per minute
    # Last, and one by one: a lesion that adds components leaves every other draw as it was.
    components = tuple(generator.uniform(0.85, 1.15, n_components).tolist())
    return Body(_triple(rotation), _triple(gains), components, p_shift, t_shift, rate)


def draw_rhythm(generator: np.random.Generator, resting_rate: float, duration: float) -> Rhythm:
    """Draw the beats of a sinus rhythm over `duration` s, around `resting_rate` per minute.

    RR follows the breath (2 to 5 %), a 0.1-Hz wave (1 to 3 %) and chance (1 %): the two spectral peaks of
    McSharry et al. 2003 (IEEE Trans Biomed Eng 50:289), written in time.
    """
    mean_rr = 60.0 / (resting_rate * generator.uniform(0.95, 1.05))
    respiration, phase = generator.uniform(0.2, 0.33), generator.uniform(0.0, 2 * np.pi)
    breath, slow = generator.uniform(0.02, 0.05), generator.uniform(0.01, 0.03)
    slow_phase = generator.uniform(0.0, 2 * np.pi)
    beats = [-(1.0 + generator.uniform()) * mean_rr]
    while beats[-1] < duration + 0.5:  # P reaches 0.4 s before its beat
        t = beats[-1]
        swing = breath * np.sin(2 * np.pi * respiration * t + phase) + slow * np.sin(0.2 * np.pi * t + slow_phase)
        beats.append(t + mean_rr * (1.0 + swing + 0.01 * generator.standard_normal()))
    return Rhythm(np.array(beats), mean_rr, respiration, phase)


def adapt(components: Sequence[Component], body: Body, mean_rr: float) -> tuple[Component, ...]:
    """Return the components as this body at this heart rate makes them, before rotation and axis gains.

    ST and T are delayed and stretched by the cube root of RR / 1 s (Fridericia's law of the QT interval), P is
    shifted, and each component is scaled by its gain.
    """
    stretch = float(np.cbrt(mean_rr))
    gains = (*body.component_gains, *(1.0 for _ in components))
    return tuple(_adapted(c, body, stretch, gain) for c, gain in zip(components, gains, strict=False))


def dipole_moment(times: np.ndarray, beats: np.ndarray, components: Sequence[Component]) -> np.ndarray:
    """Return v(t), in mV [3, time], at ascending `times`, in s, for `beats` at these reference times, in s."""
    mu, sigma = (np.array([getattr(c, name) for c in components]) / 1000.0 for name in ("mu", "sigma"))
    moments = np.array([c.moment for c in components]).T
    v = np.zeros((3, len(times)))
    first = np.searchsorted(times, beats + (mu - REACH_SIGMAS * sigma).min())
    last = np.searchsorted(times, beats + (mu + REACH_SIGMAS * sigma).max(), side="right")
    for beat, i, j in zip(beats, first, last, strict=True):
        z = (times[i:j] - beat - mu[:, None]) / sigma[:, None]
        v[:, i:j] += moments @ np.exp(-0.5 * z**2)
    return v


def leads_from_dipole(v: np.ndarray) -> np.ndarray:
    """Return the twelve leads [lead, time], in mV, in the order of `STANDARD_LEADS`, of a dipole [3, time]."""
    mapped = dict(zip(DOWER_LEADS, DOWER @ v, strict=True))
    for name, (of_i, of_ii) in LIMB_ALGEBRA.items():
        mapped[name] = of_i * mapped["I"] + of_ii * mapped["II"]
    return np.stack([mapped[name] for name in STANDARD_LEADS])


def record_leads(components: Sequence[Component], body: Body, rhythm: Rhythm, times: np.ndarray) -> np.ndarray:
    """Return the noise-free twelve leads [lead, time], in mV, of a beat in a body and a rhythm.

    Breathing moves the amplitude by +-5 %.
    """
    v = body.matrix() @ dipole_moment(times, rhythm.beats, adapt(components, body, rhythm.mean_rr))
    breath = 1.0 + 0.05 * np.sin(2 * np.pi * rhythm.respiration * times + rhythm.phase)
    return leads_from_dipole(v * breath)


def _adapted(component: Component, body: Body, stretch: float, gain: float) -> Component:
    moment = _triple(gain * np.array(component.moment))
    if component.wave == "P":
        return replace(component, mu=component.mu + body.p_shift, moment=moment)
    if component.wave in ("ST", "T"):
        return replace(
            component, mu=(component.mu + body.t_shift) * stretch, sigma=component.sigma * stretch, moment=moment
        )
    return replace(component, moment=moment)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
