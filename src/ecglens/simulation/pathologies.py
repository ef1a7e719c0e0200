# SPDX-License-Identifier: Apache-2.0
"""The normal beat and the conditions, as data: what each adds to the beat, takes away, or does to its timing.

The normal beat is a least-squares fit to the mean dipole of the normal ECGs of PTB-XL (Wagner et al. 2020, CC BY 4.0);
lesions are ours, fitted by hand so that the noise-free beat meets the published rule beside each condition (`rules`
measures it). One more condition is one more entry of `CONDITIONS`.

>>> CONDITIONS["CLBBB"].superclass, [c.name for c in CONDITIONS["IMI"].added]
('CD', ['inferior'])
>>> check_conditions(("CLBBB", "CRBBB"))
Traceback (most recent call last):
ecglens.errors.UsageError: simulation: conditions: found CLBBB + CRBBB; allowed: conditions that can be seen side by \
side; to do: left and right bundle branch cannot both be blocked: nothing would be conducted
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

from ecglens.errors import UsageError
from ecglens.simulation.dipole import Component

NORMAL_BEAT = (
    Component("P1", "P", -156.0, 21.0, (0.052, 0.078, -0.028)),
    Component("P2", "P", -126.0, 18.0, (0.060, 0.048, -0.010)),
    Component("septal", "QRS", -24.0, 7.5, (-0.09, -0.02, -0.20)),
    Component("anterior", "QRS", -12.0, 7.0, (0.30, 0.12, -0.18)),
    Component("main", "QRS", 1.0, 9.0, (1.18, 0.54, 0.47)),
    Component("basal", "QRS", 14.5, 7.5, (-0.10, 0.04, 0.46)),
    Component("late", "QRS", 26.0, 8.0, (-0.06, -0.02, 0.17)),
    Component("ST", "ST", 127.0, 55.0, (0.00, -0.008, -0.055)),
    Component("T1", "T", 237.0, 42.0, (0.140, 0.045, -0.200)),
    Component("T2", "T", 278.0, 32.0, (0.220, 0.135, -0.080)),
)
NORMAL_NAMES = tuple(c.name for c in NORMAL_BEAT)

# A premature ventricular beat starts in the muscle, away from the conduction system: wide, and T against it.
VENTRICULAR_BEAT = (
    Component("pvc1", "QRS", -8.0, 26.0, (0.75, 0.95, 0.75)),
    Component("pvc2", "QRS", 44.0, 24.0, (0.35, 0.35, 0.85)),
    Component("pvc-ST", "ST", 150.0, 45.0, (-0.10, -0.12, -0.18)),
    Component("pvc-T", "T", 270.0, 50.0, (-0.26, -0.26, -0.40)),
)
# A premature atrial beat starts elsewhere in the atria: another P before an ordinary QRS.
ATRIAL_P = (
    Component("apc1", "P", -150.0, 18.0, (0.03, -0.05, 0.05)),
    Component("apc2", "P", -122.0, 16.0, (0.05, 0.03, 0.02)),
)

RhythmChange = Literal["", "fibrillation", "ventricular", "atrial"]


@dataclass(frozen=True)
class Condition:
    """A diagnosis as changes of the normal beat and its timing.

    title       in words
    superclass  as in PTB-XL: NORM, MI, STTC, CD, HYP; "" where PTB-XL counts the finding as form or rhythm
    rule        what the noise-free ECG shows, in words, with the source
    replaced    component of the normal beat -> what stands in its place; None takes it away
    added       further components
    pr          PR interval at 60 per minute, in ms, from .. to; None leaves the person's own
    qrs_onset   by how much QRS begins earlier, in ms
    rhythm      what becomes of the rhythm
    """

    title: str
    superclass: str
    rule: str
    replaced: Mapping[str, Component | None] = field(default_factory=dict)
    added: tuple[Component, ...] = ()
    pr: tuple[float, float] | None = None
    qrs_onset: float = 0.0
    rhythm: RhythmChange = ""

    @property
    def changes_timing(self) -> bool:
        """Whether intervals, not only amplitudes, tell it from a normal ECG."""
        return self.pr is not None or bool(self.rhythm)

    def difference(self) -> tuple[Component, ...]:
        """Return what is added to the normal beat: components taken away are added with the opposite sign."""
        normal = {c.name: c for c in NORMAL_BEAT}
        parts: list[Component] = []
        for name, instead in self.replaced.items():
            x, y, z = normal[name].moment
            parts.append(replace(normal[name], moment=(-x, -y, -z)))
            parts += [instead] if instead is not None else []
        return (*parts, *self.added)


def _scaled(name: str, factor: float, sigma: float | None = None, turn: float = 1.0) -> Component:
    """Return a component of the normal beat, larger or smaller, wider, more its own."""
    component = next(c for c in NORMAL_BEAT if c.name == name)
    x, y, z = component.moment
    moment = (factor * x, factor * y, factor * z)
    return replace(component, moment=moment, sigma=component.sigma if sigma is None else sigma, turn=turn)


_UDMI = "Thygesen et al. 2018, fourth universal definition of myocardial infarction"
_CONDUCTION = "Surawicz et al. 2009, AHA/ACCF/HRS part III"

CONDITIONS: dict[str, Condition] = {
    "NORM": Condition("normal ECG", "NORM", "none of the rules below"),
    "IMI": Condition(
        "inferior myocardial infarction", "MI",
        f"Q of at least 30 ms and 0.1 mV, or QS, in two or more of II, III, aVF ({_UDMI})",
        # The inferior wall no longer pulls towards the feet early in QRS.
        added=(Component("inferior", "QRS", -19.0, 11.0, (-0.02, -0.62, -0.04), 0.7),),
    ),
    "AMI": Condition(
        "anterior myocardial infarction", "MI",
        f"Q of more than 20 ms, or QS, in V2 or V3 ({_UDMI})",
        replaced={"septal": None, "anterior": Component("anterior", "QRS", -12.0, 9.0, (0.05, 0.04, 0.12))},
        added=(Component("anteroseptal", "QRS", -17.0, 12.0, (-0.08, 0.0, 0.38)),),
    ),
    "LMI": Condition(
        "lateral myocardial infarction", "MI",
        f"Q of at least 30 ms and 0.1 mV, or QS, in I and aVL or in two of V4 to V6 ({_UDMI})",
        added=(Component("lateral", "QRS", -18.0, 12.0, (-0.86, 0.06, -0.36), 0.6),),
    ),
    "PMI": Condition(
        "posterior myocardial infarction", "MI",
        f"R of more than 40 ms and R/S of at least 1 in V1 or V2 with upright T, QRS below 120 ms ({_UDMI})",
        # The back no longer pulls backwards late in QRS.
        replaced={"late": None, "basal": _scaled("basal", 0.2)},
        added=(Component("posterior", "QRS", 10.0, 15.5, (-0.02, -0.05, -1.45), 0.5),
               Component("posterior-T", "T", 262.0, 40.0, (0.0, 0.0, -0.18))),
    ),
    "LVH": Condition(
        "left ventricular hypertrophy with strain", "HYP",
        "S in V1 plus the larger R of V5 and V6 at least 3.5 mV (Sokolow & Lyon 1949, Am Heart J 37:161), ST-T "
        "against QRS in V5 or V6 (Hancock et al. 2009, AHA/ACCF/HRS part V)",
        replaced={"main": Component("main", "QRS", 1.0, 10.5, (2.38, 0.80, 0.92), 0.4),
                  "basal": _scaled("basal", 2.3, turn=0.4),
                  "T1": Component("T1", "T", 237.0, 42.0, (-0.25, -0.05, -0.12)),
                  "T2": Component("T2", "T", 278.0, 32.0, (-0.17, -0.03, -0.08))},
        # Against QRS in all leads: down in V5 and V6, up in V1 and V2.
        added=(Component("strain", "ST", 135.0, 45.0, (-0.15, -0.03, -0.09)),),
    ),
    "RVH": Condition(
        "right ventricular hypertrophy", "HYP",
        "axis of at least 90 degrees and R larger than S and at least 0.6 mV in V1 (Hancock et al. 2009)",
        replaced={"septal": Component("septal", "QRS", -24.0, 7.5, (0.16, -0.02, -0.12), 0.4),
                  "anterior": Component("anterior", "QRS", -12.0, 7.0, (0.32, 0.20, -0.30), 0.4),
                  "main": Component("main", "QRS", 2.0, 11.0, (-0.85, 0.95, -1.35), 0.2),
                  "basal": Component("basal", "QRS", 18.0, 9.0, (-0.62, 0.14, -0.05), 0.2),
                  "late": None},
        added=(Component("right-strain", "T", 250.0, 42.0, (0.0, -0.03, 0.30)),),
    ),
    "LAE": Condition(
        "left atrial enlargement", "HYP",
        "terminal P force in V1 of at least 0.004 mV s: depth times duration of its negative part (Morris et al. 1964)",
        replaced={"P2": Component("P2", "P", -118.0, 22.0, (0.10, 0.06, 0.19))},
    ),
    "CLBBB": Condition(
        "complete left bundle branch block", "CD",
        f"QRS >= 120 ms, V1 negative, no q in I, V5, V6, T against QRS in V6 ({_CONDUCTION})",
        # The septum is activated from the right, then the left ventricle slowly and late.
        replaced={"septal": None, "anterior": None, "basal": None, "late": None,
                  "main": Component("main", "QRS", 8.0, 20.5, (0.80, 0.15, 1.35), 0.6),
                  "ST": None,
                  "T1": Component("T1", "T", 237.0, 48.0, (-0.26, -0.01, -0.48)),
                  "T2": Component("T2", "T", 285.0, 34.0, (-0.16, -0.01, -0.28))},
        added=(Component("left", "QRS", 56.0, 20.0, (0.70, -0.04, 1.20), 0.6),
               Component("discordant", "ST", 150.0, 38.0, (-0.13, -0.02, -0.22))),
    ),
    "CRBBB": Condition(
        "complete right bundle branch block", "CD",
        f"QRS >= 120 ms, R' after S in V1 or V2, S of at least 40 ms in I and V6 ({_CONDUCTION})",
        # V1's S is small, as in real ones; then the right ventricle, slowly and late.
        added=(Component("early-right", "QRS", 22.0, 12.0, (-0.14, 0.0, -0.48)),
               Component("right", "QRS", 66.0, 17.0, (-0.52, -0.05, -0.62)),
               Component("secondary", "T", 250.0, 42.0, (0.02, 0.0, 0.26))),
    ),
    "LAFB": Condition(
        "left anterior fascicular block", "CD",
        f"axis of -45 to -90 degrees, qR in aVL, rS in II, III, aVF, QRS below 120 ms ({_CONDUCTION})",
        replaced={"septal": Component("septal", "QRS", -24.0, 7.5, (-0.16, 0.42, -0.15), 0.15),
                  "anterior": Component("anterior", "QRS", -12.0, 8.0, (0.15, 0.12, -0.22), 0.35),
                  "main": Component("main", "QRS", 3.0, 10.0, (0.60, -0.86, 0.40), 0.15),
                  "basal": Component("basal", "QRS", 21.0, 10.0, (0.10, -0.92, 0.42), 0.15)},
    ),
    "1AVB": Condition(
        "first-degree atrioventricular block", "CD", f"PR above 200 ms ({_CONDUCTION})", pr=(222.0, 300.0)
    ),
    "WPW": Condition(
        "Wolff-Parkinson-White pattern", "CD",
        f"PR below 120 ms, delta wave (steepest slope 30 ms or more after the onset of QRS), QRS >= 110 ms "
        f"({_CONDUCTION})",
        replaced={"septal": None},  # the septum no longer comes first
        added=(Component("delta1", "QRS", -46.0, 15.0, (0.22, 0.14, -0.14)),
               Component("delta2", "QRS", -24.0, 14.0, (0.32, 0.16, -0.10)),
               Component("delta-T", "T", 262.0, 42.0, (-0.12, -0.06, 0.05))),
        pr=(82.0, 104.0), qrs_onset=-32.0,
    ),
    "STD": Condition(
        "ST depression", "STTC",
        f"ST at least 0.05 mV below the PQ level, not upsloping, in two neighbouring leads ({_UDMI})",
        replaced={"ST": None, "T1": _scaled("T1", 0.5), "T2": _scaled("T2", 0.7)},
        added=(Component("depression1", "ST", 85.0, 32.0, (-0.19, -0.11, 0.05)),
               Component("depression2", "ST", 145.0, 38.0, (-0.19, -0.11, 0.06))),
    ),
    "INVT": Condition(
        "ischaemic T inversion", "STTC",
        f"T of -0.1 mV or lower in two neighbouring leads where R is the larger or at least half of S ({_UDMI})",
        replaced={"T1": Component("T1", "T", 237.0, 38.0, (-0.22, -0.02, 0.13)),
                  "T2": Component("T2", "T", 278.0, 30.0, (-0.32, -0.04, 0.18))},
    ),
    "AFIB": Condition(
        "atrial fibrillation", "",
        "no P; RR irregular (their spread above 12 %); f waves of 4 to 9 Hz in V1 (Hindricks et al. 2021, ESC)",
        rhythm="fibrillation",
    ),
    "PVC": Condition(
        "premature ventricular beat", "",
        "a beat at less than 80 % of the usual RR, without P, QRS >= 120 ms, the beats around it two RR apart",
        rhythm="ventricular",
    ),
    "APC": Condition(
        "premature atrial beat", "",
        "a beat at less than 80 % of the usual RR, with P, QRS below 120 ms, the beats around less than two RR apart",
        rhythm="atrial",
    ),
}  # fmt: skip

# What cannot be, or cannot be seen, together. Two conditions that replace the same component cannot either.
_CONTRADICTIONS: tuple[tuple[Iterable[str], Iterable[str], str], ...] = (
    (("CLBBB",), ("CRBBB",), "left and right bundle branch cannot both be blocked: nothing would be conducted"),
    (("CLBBB", "WPW"), ("IMI", "AMI", "LMI", "PMI", "LVH", "RVH", "LAFB", "CRBBB", "STD", "INVT", "WPW"),
     "the start of QRS, and with it ST and T, is abnormal already and hides the other's signs"),
    (("AFIB",), ("1AVB", "WPW", "LAE", "APC"), "in atrial fibrillation there is no P"),
    (("1AVB",), ("WPW",), "PR cannot be long and short"),
    (("LVH",), ("STD", "INVT"), "hypertrophy comes with strain here, which is the same change of ST and T"),
    (("AMI", "CRBBB", "RVH"), ("PMI",), "both change R in V1 and V2 and cannot be told apart"),
    (("LAFB",), ("IMI", "LMI", "RVH"), "both turn the axis or make the same Q, and one hides the other"),
    (("RVH",), ("IMI", "LMI", "CRBBB", "LVH", "AMI"), "right axis and tall R in V1 hide the other's signs"),
    (("LMI",), ("IMI", "LVH", "PMI"), "one hides the other's signs"),
)  # fmt: skip


def check_conditions(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown condition, one named twice, and conditions that contradict each other."""
    if not names:
        raise UsageError("simulation", "conditions", "none", ", ".join(CONDITIONS))
    for name in names:
        if name not in CONDITIONS:
            near = difflib.get_close_matches(str(name).upper(), CONDITIONS, 1, cutoff=0.5)
            fix = f"did you mean {near[0]}?" if near else ""
            raise UsageError("simulation", "conditions", name, ", ".join(CONDITIONS), fix)
    if len(set(names)) < len(names):
        raise UsageError("simulation", "conditions", ", ".join(names), "each at most once")
    for pair in combinations(names, 2):
        if reason := contradiction(*pair):
            allowed = "conditions that can be seen side by side"
            raise UsageError("simulation", "conditions", " + ".join(pair), allowed, reason, kind="contradiction")


def contradiction(one: str, other: str) -> str:
    """Return why two conditions cannot stand in one ECG, or "" where they can."""
    if "NORM" in (one, other):
        return "a normal ECG has no other finding"
    for some, others, reason in _CONTRADICTIONS:
        if (one in some and other in others) or (other in some and one in others):
            return reason
    shared = CONDITIONS[one].replaced.keys() & CONDITIONS[other].replaced.keys()
    return f"both change the same part of the beat ({', '.join(sorted(shared))})" if shared else ""


def compatible_with(name: str, among: Sequence[str]) -> tuple[str, ...]:
    """Return those `among` that can stand beside `name`."""
    return tuple(other for other in among if other != name and not contradiction(name, other))
