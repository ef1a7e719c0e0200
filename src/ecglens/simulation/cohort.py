# SPDX-License-Identifier: Apache-2.0
"""Simulated ECGs and cohorts: conditions, people and noise put together, with the evidence of each lesion.

Evidence is the same record made twice from the same draws, with and without the lesion: |with - without|, in mV,
before noise. A draw depends on the seed and on the name of the record or of its patient only, so neither order nor
workers nor the rest of the cohort can change a record.

>>> simulated = simulate_ecg("sim-00001", "IMI", seed=0)
>>> simulated.ecg, simulated.evidence.shape
(ECG('sim-00001', 12 leads I II III aVR aVL aVF V1 V2 V3 V4 V5 V6, 10 s at 500 Hz, start 0 s), (12, 5000))
>>> cohort = simulate_cohort(12)
>>> len(cohort), cohort.n_patients, cohort.classes, int(cohort.labels["MI"].sum())
(12, 9, ('NORM', 'MI', 'CD'), 4)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Lazy
from ecglens.ecg import ECG, MAX_FS
from ecglens.errors import UsageError
from ecglens.fiducials import Fiducials
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.draws import derived_seed
from ecglens.shapes import Signal
from ecglens.simulation.dipole import Body, Rhythm, draw_body, draw_rhythm, record_leads
from ecglens.simulation.noise import DEFAULT_NOISE, Noise, lead_noise
from ecglens.simulation.pathologies import CONDITIONS, NORMAL_BEAT

DEVICE = "simulator"
TASKS = ("superdiagnostic", "subdiagnostic")
LOWEST_FS = 100.0  # the narrowest component (8 ms) reaches 50 Hz
LONGEST = 3600.0  # s
CITATION = (
    "Simulated by ecglens. Dipole model: Sameni, Clifford, Jutten, Shamsollahi 2007, EURASIP J Adv Signal Process "
    "2007:43407; leads: Dower, Machado, Osborne 1980, Clin Cardiol 3:87-95; Goldberger 1942, Am Heart J 23:483-492; "
    "heart rhythm after McSharry, Clifford, Tarassenko, Smith 2003, IEEE Trans Biomed Eng 50:289-294. Amplitudes and "
    "lesions are ecglens's own. No licence needed."
)


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated ECG and what is known about it.

    ecg        twelve leads in mV, with noise
    evidence   float32 [lead, time], in mV: |with lesion - without| before noise; 0 everywhere for NORM
    condition  key of `CONDITIONS`
    beats      reference time of each beat (its main deflection), in s on the ECG's clock [beat]
    fiducials  exact marks, or None: Gaussians have no exact onset, so none are claimed yet
    """

    ecg: ECG
    evidence: Signal
    condition: str
    beats: np.ndarray
    fiducials: Fiducials | None = None


@dataclass(frozen=True)
class _Visit:
    """One recording to simulate: what it is called, of whom, with what condition."""

    record_id: str
    patient_id: str
    condition: str


@dataclass(frozen=True)
class _Recorder:
    """How all recordings of a cohort are made: everything that is not the patient."""

    seed: int
    fs: float
    duration: float
    noise: Noise | None
    severity: tuple[float, float]

    @property
    def times(self) -> np.ndarray:
        return np.arange(round(self.duration * self.fs)) / self.fs


def simulate_ecg(
    record_id: str,
    condition: str,
    *,
    patient_id: str | None = None,
    seed: int = 0,
    fs: float = 500.0,
    duration: float = 10.0,
    noise: Noise | None = DEFAULT_NOISE,
    severity: float = 1.0,
) -> Simulated:
    """Simulate one ECG of `condition` (a key of `CONDITIONS`).

    patient_id  whose it is: records of one person share the body (axis, gains, intervals, resting rate), not the
                rhythm and the noise; default is a person of its own, named like the record
    fs          sampling rate, in Hz (100 to 4000)
    duration    in s (1 to 3600)
    noise       None for none
    severity    how much of the lesion is there: 1 meets the condition's rule, 0 is the normal beat, between them the
                dipole is (1 - severity) times the normal plus severity times the ill one

    Raises UsageError for an unknown condition, rate, duration or severity.
    """
    _check_classes((condition,))
    recorder = _recorder(seed, fs, duration, noise, (severity, severity))
    visit = _Visit(record_id, record_id if patient_id is None else patient_id, condition)
    _, rhythm = _draw(visit, recorder)
    inside = (rhythm.beats >= 0) & (rhythm.beats < recorder.duration)
    return Simulated(_read_ecg(visit, recorder), _read_evidence(visit, recorder), condition, rhythm.beats[inside])


def simulate_cohort(
    n: int = 600,
    *,
    classes: Sequence[str] = ("NORM", "IMI", "CLBBB"),
    task: str = "superdiagnostic",
    seed: int = 0,
    fs: float = 500.0,
    duration: float = 10.0,
    noise: Noise | None = DEFAULT_NOISE,
    severity: tuple[float, float] = (1.0, 1.0),
) -> Cohort:
    """Simulate a cohort of `n` records: one condition each, classes in equal shares, made when read.

    classes  keys of `CONDITIONS`
    task     "superdiagnostic" (columns NORM, MI, CD) or "subdiagnostic" (one column per condition)
    fs, duration, noise  as in `simulate_ecg`
    severity             each record's is drawn evenly from this range: below about 0.3 a lesion hides in noise and
                         in the differences between people, as early and healed ones do

    One person in three comes twice. Folds 1 to 10 hold whole people and, as nearly as can be, each class alike.
    A longer cohort of the same classes and seed begins with the shorter one. Age and sex are drawn independently
    of the condition, so that nothing but the signal tells them apart.

    Raises UsageError for a wrong argument.
    """
    classes = tuple(classes)
    _check_classes(classes)
    if n < 1 or n != int(n):
        raise UsageError("simulate_cohort", "n", n, "a whole number, at least 1")
    if task not in TASKS:
        raise UsageError("simulate_cohort", "task", task, ", ".join(TASKS))
    recorder = _recorder(seed, fs, duration, noise, severity)
    plan = list(islice(_plan(classes, recorder.seed), int(n)))
    visits = tuple(visit for visit, _ in plan)
    return Cohort(
        "simulated",
        Lazy(partial(_read_ecg, recorder=recorder), visits),
        _labels(visits, classes, task),
        _metadata(plan, recorder),
        label_rule=_rule(recorder),
        evidence=Lazy(partial(_read_evidence, recorder=recorder), visits),
        citation=CITATION,
    )


def _plan(classes: Sequence[str], seed: int) -> Iterator[tuple[_Visit, int]]:
    """Yield (visit, fold) without end, in rounds of one person per class; each third round comes twice.

    Within ten rounds a class meets each fold once. Classes start at different folds, so that a small cohort fills
    all folds early.
    """
    n_records = n_people = n_rounds = 0
    while True:
        folds = _stream(seed, str(n_rounds // 10), "folds").permutation(10) + 1
        order = _stream(seed, str(n_rounds), "order").permutation(len(classes))
        for which in order:
            n_people += 1
            # The seed is in the name: under another seed it is another person.
            patient = f"seed{seed}-p{n_people:05d}"
            fold = int(folds[(n_rounds + which * 10 // len(classes)) % 10])
            for _ in range(2 if n_rounds % 3 == 1 else 1):
                n_records += 1
                yield _Visit(f"sim-{n_records:05d}", patient, classes[which]), fold
        n_rounds += 1


def _labels(visits: Sequence[_Visit], classes: Sequence[str], task: str) -> pd.DataFrame:
    name = {c: CONDITIONS[c].superclass if task == "superdiagnostic" else c for c in classes}
    columns = list(dict.fromkeys(name.values()))
    truth = [[float(name[visit.condition] == column) for column in columns] for visit in visits]
    return pd.DataFrame(truth, index=[visit.record_id for visit in visits], columns=columns)


def _metadata(plan: Sequence[tuple[_Visit, int]], recorder: _Recorder) -> pd.DataFrame:
    people = [_draw_person(visit.patient_id, recorder.seed) for visit, _ in plan]
    columns = {
        "patient_id": [visit.patient_id for visit, _ in plan],
        "age": [age for age, _ in people],
        "sex": [sex for _, sex in people],
        "fold": [fold for _, fold in plan],
        "device": DEVICE,
    }
    return pd.DataFrame(columns, index=[visit.record_id for visit, _ in plan])


def _read_ecg(visit: _Visit, recorder: _Recorder) -> ECG:
    body, rhythm = _draw(visit, recorder)
    signal = record_leads(CONDITIONS[visit.condition].beat(), body, rhythm, recorder.times)
    part = _severity(visit, recorder)
    if part < 1.0:
        signal = part * signal + (1.0 - part) * record_leads(NORMAL_BEAT, body, rhythm, recorder.times)
    if recorder.noise is not None:
        generator = _stream(recorder.seed, visit.record_id, "noise")
        signal += lead_noise(generator, signal.shape[1], recorder.fs, recorder.noise, rhythm.respiration)
    age, sex = _draw_person(visit.patient_id, recorder.seed)
    metadata = {"age": age, "sex": sex, "device": DEVICE}
    return ECG(signal.astype(np.float32), recorder.fs, STANDARD_LEADS, visit.record_id, metadata=metadata)


def _read_evidence(visit: _Visit, recorder: _Recorder) -> Signal:
    """Return |with lesion - without| [lead, time], in mV, from the same body and rhythm."""
    body, rhythm = _draw(visit, recorder)
    lesion = record_leads(CONDITIONS[visit.condition].beat(), body, rhythm, recorder.times)
    normal = record_leads(NORMAL_BEAT, body, rhythm, recorder.times)
    return (_severity(visit, recorder) * np.abs(lesion - normal)).astype(np.float32)


def _severity(visit: _Visit, recorder: _Recorder) -> float:
    low, high = recorder.severity
    return low if low == high else float(_stream(recorder.seed, visit.record_id, "severity").uniform(low, high))


def _rule(recorder: _Recorder) -> str:
    low, high = recorder.severity
    span = "" if low == high == 1.0 else f", severity {low:g} to {high:g}"
    return f"simulated truth (seed {recorder.seed}{span})"


def _draw(visit: _Visit, recorder: _Recorder) -> tuple[Body, Rhythm]:
    n_components = len(CONDITIONS[visit.condition].beat())
    body = draw_body(_stream(recorder.seed, visit.patient_id, "body"), n_components)
    rhythm = draw_rhythm(_stream(recorder.seed, visit.record_id, "rhythm"), body.resting_rate, recorder.duration)
    return body, rhythm


def _draw_person(patient_id: str, seed: int) -> tuple[int, str]:
    """Draw age, in years, and sex."""
    generator = _stream(seed, patient_id, "person")
    return int(np.clip(generator.normal(62, 14), 20, 89)), str(generator.choice(["female", "male"]))


def _stream(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return the generator of (seed, name, purpose): the same in any order, process or machine."""
    return np.random.Generator(np.random.Philox(derived_seed(seed, "simulation", purpose, name)))


def _recorder(seed: int, fs: float, duration: float, noise: Noise | None, severity: tuple[float, float]) -> _Recorder:
    if seed != int(seed):
        raise UsageError("simulation", "seed", seed, "a whole number")
    if not LOWEST_FS <= fs <= MAX_FS:
        raise UsageError("simulation", "fs", f"{fs} Hz", f"{LOWEST_FS:g} to {MAX_FS:g} Hz")
    if not 1.0 <= duration <= LONGEST:
        raise UsageError("simulation", "duration", f"{duration} s", f"1 to {LONGEST:g} s")
    low, high = severity
    if not 0.0 <= low <= high <= 1.0:
        raise UsageError("simulation", "severity", severity, "0 to 1, lowest first")
    return _Recorder(int(seed), float(fs), float(duration), noise, (float(low), float(high)))


def _check_classes(classes: Sequence[str]) -> None:
    unknown = [name for name in classes if name not in CONDITIONS]
    if unknown or not classes or len(set(classes)) < len(classes):
        found = ", ".join(map(str, unknown or classes)) or "none"
        raise UsageError("simulation", "classes", found, f"each of {', '.join(CONDITIONS)} at most once")
