# SPDX-License-Identifier: Apache-2.0
"""One recording: person, rhythm, beats, lesions, noise and faults put together, each from its own draws.

Everything follows from the seed, the record's and the person's name and what is asked for, so that neither order nor
workers nor the rest of a cohort can change a record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from ecglens.ecg import ECG
from ecglens.fiducials import Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.simulation.dipole import (
    DOWER,
    INDEPENDENT_LEADS,
    WAVE_NAMES,
    Component,
    Waves,
    render,
    twelve_leads,
)  # fmt: skip
from ecglens.simulation.evidence import Evidence, Interval, threshold_of
from ecglens.simulation.faults import Fault, draw_fault
from ecglens.simulation.marks import beat_curves, fiducials, mark_beats
from ecglens.simulation.noise import LeadNoise, Noise, lead_noise
from ecglens.simulation.pathologies import ATRIAL_P, CONDITIONS, NORMAL_BEAT, VENTRICULAR_BEAT
from ecglens.simulation.person import (
    TYPICAL_PR,
    TYPICAL_QTC,
    Demographics,
    Person,
    at_session,
    draw_person,
    lead_amplitudes,
    stream,
)  # fmt: skip
from ecglens.simulation.rhythm import Rhythm, fibrillation, fibrillatory_waves, premature, sinus_rhythm
from ecglens.simulation.shortcut import Shortcut

DEVICE = "simulator"
F_WAVES = 0.09  # mV
Mode = Literal["dipolar", "planted", "shortcut"]


@dataclass(frozen=True)
class Visit:
    """One recording to simulate: what it is called, of whom, with what, and where in the cohort it stands."""

    record_id: str
    patient_id: str
    conditions: tuple[str, ...]
    fold: int = 0
    session: int = 1
    date: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recorder:
    """How all recordings of a cohort are made: everything that is not the patient."""

    seed: int
    fs: float
    duration: float
    noise: Noise | None
    severity: tuple[float, float]
    mode: Mode = "dipolar"
    lead: str = ""
    shortcut: Shortcut | None = None
    faults: tuple[tuple[str, float], ...] = ()
    demographics: tuple[tuple[str, Demographics], ...] = ()
    rate: float | None = None
    qtc: float | None = None
    sex: str | None = None
    age: int | None = None

    @property
    def times(self) -> np.ndarray:
        """Time of each sample, in s."""
        return np.arange(round(self.duration * self.fs)) / self.fs


@dataclass(frozen=True, eq=False)
class Composition:
    """All that is decided about a recording before it is drawn.

    person    as of this session
    rhythm    its beats, in s
    waves     every Gaussian, with its source
    f_waves   of atrial fibrillation, independent leads [8, time], or None
    severity  of the lesions
    """

    person: Person
    rhythm: Rhythm
    waves: Waves
    f_waves: np.ndarray | None
    severity: float
    fault: Fault | None


def patient(visit: Visit, recorder: Recorder) -> Person:
    """Return the person of a visit, apart from sessions."""
    groups = dict(recorder.demographics)
    group = next((groups[name] for name in visit.conditions if name in groups), None)
    return draw_person(visit.patient_id, recorder.seed, group, recorder.sex, recorder.age)


@lru_cache(maxsize=4)
def compose(visit: Visit, recorder: Recorder) -> Composition:
    """Decide everything about a recording."""
    seed, name = recorder.seed, visit.record_id
    person = at_session(patient(visit, recorder), name, seed)
    person = replace(person, rate=recorder.rate or person.rate, qtc=recorder.qtc or person.qtc)
    low, high = recorder.severity
    severity = low if low == high else float(stream(seed, "severity", name).uniform(low, high))
    rhythm = _rhythm(visit, recorder, person, severity)
    f_waves = None
    if "fibrillation" in rhythm.kinds:
        size = F_WAVES * (0.4 + 0.6 * severity)
        moment = fibrillatory_waves(stream(seed, "f waves", name), recorder.times, size)
        f_waves = np.einsum("cx,xt->ct", DOWER, moment)
    waves = _waves(visit, recorder, person, rhythm, severity)
    return Composition(person, rhythm, waves, f_waves, severity, draw_fault(name, seed, dict(recorder.faults)))


def clean_leads(visit: Visit, recorder: Recorder) -> np.ndarray:
    """Return the twelve leads [12, time], in mV, float64, of the heart alone: no noise, no fault, no mark."""
    made = compose(visit, recorder)
    signal = render(made.waves, recorder.times)
    return twelve_leads(signal if made.f_waves is None else signal + made.f_waves)


def read_ecg(visit: Visit, recorder: Recorder) -> ECG:
    """Make the recording as a reader would have read it."""
    made = compose(visit, recorder)
    signal = clean_leads(visit, recorder)
    if (noise := _noise(visit, recorder)) is not None:
        signal = signal + noise.total
    if (mark := _mark(visit, recorder)) is not None:
        signal = signal + mark
    if made.fault is not None:
        signal = made.fault.distort(made.fault.matrix() @ signal)
    metadata = {"age": made.person.age, "sex": made.person.sex, "device": DEVICE}
    return ECG(signal.astype(np.float32), recorder.fs, STANDARD_LEADS, visit.record_id, metadata=metadata)


def read_evidence(visit: Visit, recorder: Recorder) -> Evidence:
    """Return where the lesions of the recording are: in its leads as they are written, fault and all."""
    made = compose(visit, recorder)
    matrix = np.eye(12) if made.fault is None else made.fault.matrix()
    differences = {}
    for name in visit.conditions:
        part = made.waves.where(made.waves.source == name)
        difference = render(part, recorder.times)
        if CONDITIONS[name].rhythm == "fibrillation" and made.f_waves is not None:
            difference = difference + made.f_waves
        if name != "NORM":
            differences[name] = matrix @ twelve_leads(difference)
    noise, mark = _noise(visit, recorder), _mark(visit, recorder)
    threshold = threshold_of(np.zeros(12) if noise is None else noise.sd)
    shape = (12, len(recorder.times))
    mark = None if mark is None else matrix @ mark
    return Evidence.of(differences, threshold, _intervals(visit, recorder), mark, shape)


def read_fiducials(visit: Visit, recorder: Recorder) -> Fiducials:
    """Return the exact marks of the recording."""
    made = compose(visit, recorder)
    reasons = {}
    for index, kind in enumerate(made.rhythm.kinds):
        if kind == "fibrillation":
            reasons[index, "P"] = "atrial fibrillation"
        elif kind == "ventricular":
            reasons[index, "P"] = "ventricular premature beat"
    return fiducials(mark_beats(curves_of(visit, recorder)), made.rhythm.beats, recorder.duration, reasons)


def curves_of(visit: Visit, recorder: Recorder) -> dict[str, np.ndarray]:
    """Return the noise-free waves of each beat, as `beat_curves` gives them."""
    made = compose(visit, recorder)
    matrix = None if made.fault is None else made.fault.matrix()
    return beat_curves(made.waves, made.rhythm.beats, matrix)


def _rhythm(visit: Visit, recorder: Recorder, person: Person, severity: float) -> Rhythm:
    seed, name = recorder.seed, visit.record_id
    rhythm = sinus_rhythm(stream(seed, "rhythm", name), person.rate, recorder.duration, person.variability)
    for condition in visit.conditions:
        change = CONDITIONS[condition].rhythm
        generator = stream(seed, f"rhythm/{change}", name)
        if change == "fibrillation" and severity > 0:
            rhythm = fibrillation(generator, rhythm, recorder.duration)
        elif change and severity > 0:
            rhythm = premature(generator, rhythm, change, recorder.duration, severity)
    return rhythm


def _waves(visit: Visit, recorder: Recorder, person: Person, rhythm: Rhythm, severity: float) -> Waves:
    """Return every Gaussian of the recording: beats times components, without those a kind of beat does not have."""
    parts, source, share = _components(visit, severity)
    amplitude = np.stack([lead_amplitudes(person, c, visit.record_id, recorder.seed) for c in parts])
    if recorder.mode == "planted":
        amplitude = _planted(parts, source, amplitude * share[:, None], recorder.lead)
    else:
        amplitude = amplitude * share[:, None]
    centre, width = _timing(visit, recorder, person, rhythm, parts, severity)
    amplitude = amplitude[None] * _variation(visit, recorder, rhythm, parts)
    keep = _present(rhythm, parts, source)
    beat = np.broadcast_to(np.arange(len(rhythm.beats))[:, None], keep.shape)
    kind = np.broadcast_to([WAVE_NAMES.index(c.wave) for c in parts], keep.shape)
    return Waves(
        (rhythm.beats[:, None] + centre)[keep], width[keep], amplitude[keep], kind[keep], beat[keep],
        np.broadcast_to(np.array(source, dtype=object), keep.shape)[keep],
    )  # fmt: skip


def _components(visit: Visit, severity: float) -> tuple[list[Component], list[str], np.ndarray]:
    """Return all components that a beat of this recording may have, where each comes from, and how much of it."""
    parts, source = list(NORMAL_BEAT), [""] * len(NORMAL_BEAT)
    for name in visit.conditions:
        condition = CONDITIONS[name]
        more = {"ventricular": VENTRICULAR_BEAT, "atrial": ATRIAL_P}.get(condition.rhythm, condition.difference())
        parts += more
        source += [name] * len(more)
    whole = [not name or bool(CONDITIONS[name].rhythm) for name in source]
    return parts, source, np.where(whole, 1.0, severity)


def _planted(parts: list[Component], source: list[str], amplitude: np.ndarray, lead: str) -> np.ndarray:
    """Return amplitudes [component, 8] with each lesion, as its most affected lead shows it, in `lead` alone."""
    planted = amplitude.copy()
    column = INDEPENDENT_LEADS.index(lead)
    grid = np.arange(-200.0, 500.0, 2.0)
    curves = np.stack([np.exp(-0.5 * ((grid - c.mu) / c.sigma) ** 2) for c in parts])
    for name in sorted(set(source) - {""}):
        rows = np.array([where == name for where in source])
        strongest = int(np.abs(amplitude[rows].T @ curves[rows]).max(axis=1).argmax())
        planted[rows] = 0.0
        planted[rows, column] = amplitude[rows, strongest]
    return planted


def _timing(
    visit: Visit, recorder: Recorder, person: Person, rhythm: Rhythm, parts: list[Component], severity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre, from the beat's reference, and width of each component in each beat, in s [beat, component].

    ST and T follow the cube root of RR (Fridericia's law), four fifths of it the mean RR's since repolarisation
    adapts slowly; PR follows its eighth root.
    """
    generator = stream(recorder.seed, "beats/timing", visit.record_id)
    jitter = generator.normal(0.0, 1.0, (len(rhythm.beats), 2)) * (2.0, 2.5)  # ms, of P and of T
    usual = np.clip(0.8 * rhythm.mean_rr + 0.2 * rhythm.preceding_rr(), 0.3, 1.8)
    repolarisation = person.qtc / TYPICAL_QTC * np.cbrt(usual)[:, None]
    pr, onset = _pr(visit, recorder, person, severity)
    p_shift = TYPICAL_PR - pr * usual**0.12 + onset + jitter[:, 0]
    mu = np.broadcast_to(np.array([c.mu for c in parts]), (len(usual), len(parts))).copy()
    sigma = np.broadcast_to(np.array([c.sigma for c in parts]), mu.shape).copy()
    wave = np.array([c.wave for c in parts])
    late = (wave == "ST") | (wave == "T")
    mu[:, late] = mu[:, late] * repolarisation + jitter[:, 1:]
    sigma[:, late] *= repolarisation
    mu[:, wave == "P"] += p_shift[:, None]
    mu[:, wave == "QRS"] *= person.qrs_stretch
    sigma[:, wave == "QRS"] *= person.qrs_stretch
    return mu / 1000.0, sigma / 1000.0


def _pr(visit: Visit, recorder: Recorder, person: Person, severity: float) -> tuple[float, float]:
    """Return the PR interval at 60 per minute and by how much QRS begins earlier than usual, both in ms."""
    pr, onset = person.pr, 0.0
    for name in visit.conditions:
        condition = CONDITIONS[name]
        if condition.pr is not None:
            target = stream(recorder.seed, "pr", visit.patient_id).uniform(*condition.pr)
            pr = (1.0 - severity) * pr + severity * target
        onset += severity * condition.qrs_onset
    return pr, onset


def _variation(visit: Visit, recorder: Recorder, rhythm: Rhythm, parts: list[Component]) -> np.ndarray:
    """Return by how much each wave's amplitude differs from beat to beat, factors [beat, component, 8].

    Chance (P 6 %, QRS 1.5 %, T 3 %, one draw per beat and wave) and the breath (about 4 % in all leads, and 3 % in
    each lead by itself, as the heart turns in the chest).
    """
    generator = stream(recorder.seed, "beats/amplitude", visit.record_id)
    together, apart = 0.04 * generator.lognormal(0.0, 0.4), generator.normal(0.0, 0.03, 8)
    chance = generator.normal(0.0, 1.0, (len(rhythm.beats), 3)) * (0.06, 0.015, 0.03)
    which = [{"P": 0, "QRS": 1, "ST": 2, "T": 2}[c.wave] for c in parts]
    breath = rhythm.breath(rhythm.beats)[:, None, None] * (together + apart)
    return np.asarray(1.0 + breath + np.clip(chance, -0.2, 0.2)[:, which, None])


def _present(rhythm: Rhythm, parts: list[Component], source: list[str]) -> np.ndarray:
    """Return which components a beat has, by its kind, bool [beat, component]."""
    p = np.array([c.wave == "P" for c in parts])
    of_ventricular = np.array([c in VENTRICULAR_BEAT for c in parts])
    of_atrial = np.array([c in ATRIAL_P for c in parts])
    ordinary = ~of_ventricular & ~of_atrial
    has = {
        "sinus": ordinary,
        "fibrillation": ordinary & ~p,
        "ventricular": of_ventricular,
        "atrial": (ordinary & ~p) | of_atrial,
    }
    return np.stack([has[kind] for kind in rhythm.kinds])


@lru_cache(maxsize=4)
def _noise(visit: Visit, recorder: Recorder) -> LeadNoise | None:
    if recorder.noise is None:
        return None
    generator, breathing = stream(recorder.seed, "noise", visit.record_id), compose(visit, recorder).rhythm.respiration
    return lead_noise(generator, len(recorder.times), recorder.fs, recorder.noise, breathing)


def _mark(visit: Visit, recorder: Recorder) -> np.ndarray | None:
    if recorder.shortcut is None:
        return None
    has_class = recorder.shortcut.label in visit.labels
    return recorder.shortcut.draw(visit.record_id, recorder.seed, recorder.times, has_class, visit.fold)


def _intervals(visit: Visit, recorder: Recorder) -> tuple[Interval, ...]:
    """Return the evidence that lies in timing: PR, RR around premature beats, RR and places of P in fibrillation."""
    found: list[Interval] = []
    made = compose(visit, recorder)
    beats, kinds = made.rhythm.beats, made.rhythm.kinds
    for name in visit.conditions:
        condition = CONDITIONS[name]
        if condition.pr is not None and made.severity > 0:
            found += _pr_intervals(name, visit, recorder)
        for k in range(1, len(beats)):
            if condition.rhythm == kinds[k] == "fibrillation":
                found.append(Interval("RR", name, beats[k - 1], beats[k]))
                start, stop = beats[k] - 0.22 * made.rhythm.mean_rr**0.12, beats[k] - 0.07
                found.append(Interval("no P", name, start, stop))
            elif condition.rhythm and condition.rhythm in (kinds[k], kinds[k - 1]):
                found.append(Interval("RR", name, beats[k - 1], beats[k]))
            if condition.rhythm == "ventricular" and kinds[k] == "ventricular":
                found.append(Interval("no P", name, beats[k] - 0.22, beats[k] - 0.07))
    return _inside(found, recorder.duration)


def _pr_intervals(name: str, visit: Visit, recorder: Recorder) -> list[Interval]:
    rhythm = compose(visit, recorder).rhythm
    marks = mark_beats(curves_of(visit, recorder)) + rhythm.beats[:, None, None]
    found = []
    for kind, of_beat in zip(rhythm.kinds, marks, strict=True):
        if kind in ("sinus", "atrial") and not np.isnan(of_beat[:, 0]).all():
            found.append(Interval("PR", name, float(np.nanmin(of_beat[:, 0])), float(np.nanmin(of_beat[:, 3]))))
    return found


def _inside(intervals: list[Interval], duration: float) -> tuple[Interval, ...]:
    cut = [replace(i, start=float(max(i.start, 0.0)), stop=float(min(i.stop, duration))) for i in intervals]
    return tuple(i for i in cut if i.stop > i.start)
