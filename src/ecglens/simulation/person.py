# SPDX-License-Identifier: Apache-2.0
"""Who is recorded: age, sex, body and heart, the same in all sessions, and what changes from session to session.

Effects of sex and age. Directions as published (Rijnbeek et al. 2014, J Electrocardiol 47:914; van der Ende et al.
2017, Clin Cardiol 40:865; Palhares et al. 2017, BMC Cardiovasc Disord 17:152); sizes are ours, see `EFFECTS`. They
depend on age and sex only, so a diagnosis has no part in them unless a cohort ties it to age or sex.

>>> ann, ann_again = draw_person("p1", seed=0), draw_person("p1", seed=0)
>>> ann == ann_again, ann.sex in ("female", "male"), 20 <= ann.age <= 89
(True, True, True)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from ecglens.runs.draws import derived_seed, normal, record_keys
from ecglens.simulation.dipole import DOWER, Component
from ecglens.simulation.noise import EIGHT_FROM_ELECTRODES

# What a woman differs by from a man, and what ten years add, on average.
EFFECTS = {
    "rate": (4.0, 0.0),  # beats per minute
    "pr": (-6.0, 4.0),  # ms
    "qrs": (0.93, 1.0),  # factor of the duration
    "qtc": (1.03, 1.004),  # factor
    "qrs_gain": (0.85, 1.0),  # factor of the amplitude
    "t_gain": (0.75, 0.97),  # factor of the amplitude
    "axis": (0.0, -6.0),  # degrees in the frontal plane; negative is to the left
}
MIDDLE_AGE = 50.0

TYPICAL_PR, TYPICAL_QTC = 158.0, 400.0  # ms: of the normal beat in a body that changes nothing, as `marks` measures
LOCAL_SHARE = 0.075  # of a wave's dipole that each electrode sees besides, standard deviation


@dataclass(frozen=True)
class Demographics:
    """From whom people are drawn. Age is normal, cut at 20 and 89 years."""

    age: float = 60.0
    age_sd: float = 15.0
    women: float = 0.5


@dataclass(frozen=True)
class Person:
    """A body and a heart.

    rotation        of the dipole about x, y and z, in degrees
    axis_gains      of x, y and z, applied before the rotation; gains act on the dipole, since a gain per lead would
                    break Einthoven's law
    t_rotation      of the T wave, on top of the rotation, in degrees
    gains           factors of P, QRS, and ST and T
    pr              interval from the onset of P to that of QRS at 60 beats per minute, in ms
    qrs_stretch     factor of the duration of QRS
    qtc             QT interval at 60 beats per minute (Fridericia), in ms
    rate            resting rate, in beats per minute
    variability     scale of the variability of the rate
    ectopic         rotation of ventricular premature beats, in degrees
    """

    person_id: str
    age: int
    sex: str
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis_gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    t_rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pr: float = TYPICAL_PR
    qrs_stretch: float = 1.0
    qtc: float = TYPICAL_QTC
    rate: float = 60.0
    variability: float = 1.0
    ectopic: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def body(self, turn: float = 1.0) -> np.ndarray:
        """Return rotation (or a share of it) times gains [3, 3]: what the body makes of the dipole."""
        angles = turn * np.array(self.rotation)
        return _rotation(*angles.tolist()) * np.array(self.axis_gains)


def stream(seed: int, purpose: str, name: str) -> np.random.Generator:
    """Return the generator of (seed, purpose, name): the same in any order, process or machine."""
    return np.random.Generator(np.random.Philox(derived_seed(seed, "simulation", purpose, name)))


def draw_person(
    person_id: str, seed: int, demographics: Demographics | None = None, sex: str | None = None, age: int | None = None
) -> Person:
    """Draw a person from (seed, person_id); `sex` and `age` where they are given."""
    people = demographics or Demographics()
    generator = stream(seed, "person", person_id)
    drawn_age = int(np.clip(np.rint(generator.normal(people.age, people.age_sd)), 20, 89))
    drawn_sex = "female" if generator.uniform() < people.women else "male"
    return _body(generator, person_id, drawn_age if age is None else age, drawn_sex if sex is None else sex)


def _body(generator: np.random.Generator, person_id: str, age: int, sex: str) -> Person:
    decades, woman = (age - MIDDLE_AGE) / 10.0, sex == "female"

    def factor(name: str) -> float:
        return (EFFECTS[name][0] if woman else 1.0) * EFFECTS[name][1] ** decades

    def term(name: str) -> float:
        return (EFFECTS[name][0] if woman else 0.0) + EFFECTS[name][1] * decades

    turn = within(generator, np.array([9.0, 11.0, 18.0])) + np.array([0.0, 0.0, term("axis")])
    turn[2] = np.clip(turn[2], -30.0, 48.0)  # a normal axis lies between -30 and 90 degrees
    gains = np.exp(within(generator, np.array([0.25, 0.2, 0.3])))
    return Person(
        person_id, age, sex,
        rotation=triple(turn),
        axis_gains=triple(np.exp(within(generator, np.full(3, 0.12)))),
        t_rotation=triple(within(generator, np.array([8.0, 13.0, 6.0]))),
        gains=triple(gains * (1.0, factor("qrs_gain") * 1.08, factor("t_gain") * 1.2)),
        pr=float(np.clip(TYPICAL_PR + 3.0 + term("pr") + within(generator, 16.0), 122.0, 196.0)),
        qrs_stretch=float(1.07 * factor("qrs") * np.exp(within(generator, 0.06))),
        qtc=float(TYPICAL_QTC * 0.99 * factor("qtc") * np.exp(within(generator, 0.035))),
        rate=float(np.clip(68.0 + term("rate") + within(generator, 11.0), 46.0, 104.0)),
        variability=float(1.3 * generator.lognormal(0.0, 0.65)),
        ectopic=triple(generator.normal(0.0, (25.0, 35.0, 25.0))),
    )  # fmt: skip


def at_session(person: Person, record_id: str, seed: int) -> Person:
    """Return the person as of one recording: the heart drifts a little, electrodes are stuck on anew."""
    generator = stream(seed, "session", record_id)
    turn, t_turn = generator.normal(0.0, 2.5, 3), generator.normal(0.0, 3.0, 3)
    gains = np.exp(generator.normal(0.0, (0.08, 0.04, 0.07)))
    return replace(
        person,
        rotation=triple(np.array(person.rotation) + turn),
        t_rotation=triple(np.array(person.t_rotation) + t_turn),
        gains=triple(np.array(person.gains) * gains),
        pr=float(np.clip(person.pr + within(generator, 2.0), 120.0, 197.0)),
        qtc=person.qtc * float(np.exp(within(generator, 0.008))),
        rate=float(np.clip(person.rate * np.exp(within(generator, 0.06)), 42.0, 110.0)),
    )


def lead_amplitudes(person: Person, component: Component, record_id: str, seed: int) -> np.ndarray:
    """Return what a component of 1 beat gives in the eight independent leads, in mV [8].

    Dower's map of the dipole in this body, times the person's own gain of the component, plus a share at each
    electrode that no dipole explains (a torso is neither uniform nor infinite); it differs from component to component,
    so that no lead is a linear function of the others. A tenth of that share is of the session.
    """
    own = normal(seed, f"simulation/component/{component.name}", record_keys([person.person_id]), 10)[0].astype(float)
    now = normal(seed, f"simulation/electrodes/{component.name}", record_keys([record_id]), 9)[0].astype(float)
    moment = (
        np.array(component.moment) * _gain(person, component) ** component.turn * np.exp(0.1 * np.clip(own[0], -2, 2))
    )
    body = person.body(component.turn)
    if component.name.startswith("pvc"):
        body = body @ _rotation(*person.ectopic)
    elif component.wave in ("ST", "T"):
        body = body @ _rotation(*person.t_rotation)
    local = LOCAL_SHARE * np.linalg.norm(moment) * np.clip(own[1:] + 0.2 * now, -2.5, 2.5)
    return np.asarray(DOWER @ (body @ moment) + EIGHT_FROM_ELECTRODES @ local)


def within(generator: np.random.Generator, sd: np.ndarray | float) -> np.ndarray:
    """Draw normal numbers of standard deviation `sd` (before the cut), cut at twice that."""
    return np.clip(generator.standard_normal(np.shape(sd)), -2.0, 2.0) * sd


def triple(values: np.ndarray) -> tuple[float, float, float]:
    """Return three floats."""
    x, y, z = np.asarray(values, float).tolist()
    return x, y, z


@lru_cache(maxsize=64)
def _rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation about x, y and z, in degrees, in this order [3, 3]."""
    return np.asarray(Rotation.from_euler("xyz", (x, y, z), degrees=True).as_matrix())


def _gain(person: Person, component: Component) -> float:
    p, qrs, t = person.gains
    return {"P": p, "QRS": qrs, "ST": t, "T": t}[component.wave]
