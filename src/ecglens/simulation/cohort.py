# SPDX-License-Identifier: Apache-2.0
"""Simulated ECGs and cohorts: what is asked for is checked, people are dealt out, records are made when read.

A draw depends on the seed and on the name of the record or of its patient only, so neither order nor workers nor the
rest of the cohort can change a record.

Which lead? A dipole has rank 3, so that in mode "dipolar" a network may read a finding of one lead from three others:
there is no single true lead. Score time strictly and leads softly, or use mode "planted", where the lesion is in one
lead only.

>>> simulated = simulate_ecg("sim-00001", "IMI", seed=0)
>>> simulated.ecg, simulated.evidence.weight.shape, simulated.evidence.kind
(ECG('sim-00001', 12 leads I II III aVR aVL aVF V1 V2 V3 V4 V5 V6, 10 s at 500 Hz, start 0 s), (12, 5000), 'amplitude')
>>> cohort = simulate_cohort(12, classes=("NORM", "IMI", "CLBBB"))
>>> len(cohort), cohort.n_patients, cohort.classes, int(cohort.labels["MI"].sum())
(12, 9, ('NORM', 'MI', 'CD'), 4)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Lazy
from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.fiducials import Fiducials
from ecglens.simulation.checks import check_counts, recorder_for
from ecglens.simulation.evidence import Evidence
from ecglens.simulation.noise import DEFAULT_NOISE, Noise
from ecglens.simulation.pathologies import CONDITIONS, check_conditions, compatible_with
from ecglens.simulation.person import Demographics, stream
from ecglens.simulation.record import (
    DEVICE,
    Recorder,
    Visit,
    clean_leads,
    compose,
    curves_of,
    patient,
    read_ecg,
    read_evidence,
    read_fiducials,
)  # fmt: skip
from ecglens.simulation.rhythm import BEAT_SYMBOLS
from ecglens.simulation.rules import Measurements, measure_beats
from ecglens.simulation.shortcut import Shortcut

# The five superclasses of PTB-XL, by conditions that twelve leads show well.
DEFAULT_CLASSES = ("NORM", "IMI", "AMI", "STD", "INVT", "CLBBB", "CRBBB", "LAFB", "LVH", "RVH")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
CITATION = (
    "Simulated by ecglens. Dipole model: Sameni, Clifford, Jutten, Shamsollahi 2007, EURASIP J Adv Signal Process "
    "2007:43407; leads: Dower, Machado, Osborne 1980, Clin Cardiol 3:87-95; Goldberger 1942, Am Heart J 23:483-492; "
    "heart rhythm after McSharry, Clifford, Tarassenko, Smith 2003, IEEE Trans Biomed Eng 50:289-294. The normal beat "
    "is fitted to the mean of PTB-XL's normal ECGs (Wagner et al. 2020, CC BY 4.0); lesions are ecglens's own. No "
    "licence needed."
)


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated ECG and what is known about it, each made when first asked for."""

    _visit: Visit
    _recorder: Recorder

    @cached_property
    def ecg(self) -> ECG:
        """Twelve leads in mV, with noise."""
        return read_ecg(self._visit, self._recorder)

    @cached_property
    def evidence(self) -> Evidence:
        """Where the lesions are."""
        return read_evidence(self._visit, self._recorder)

    @cached_property
    def fiducials(self) -> Fiducials:
        """Exact marks of the beats."""
        return read_fiducials(self._visit, self._recorder)

    @cached_property
    def clean(self) -> np.ndarray:
        """The heart alone, without noise, fault or planted mark: float64 [lead, time], in mV."""
        return clean_leads(self._visit, self._recorder)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Keys of `CONDITIONS`."""
        return self._visit.conditions

    @property
    def condition(self) -> str:
        """The first condition."""
        return self.conditions[0]

    @property
    def beats(self) -> np.ndarray:
        """Reference time of each beat (the R peak of a normal one), in s on the ECG's clock [beat]."""
        beats = compose(self._visit, self._recorder).rhythm.beats
        return beats[self._inside(beats)]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Of each beat, as the MIT-BIH annotations have them: N, V, A."""
        rhythm = compose(self._visit, self._recorder).rhythm
        inside = self._inside(rhythm.beats)
        return tuple(BEAT_SYMBOLS[kind] for kind, here in zip(rhythm.kinds, inside, strict=True) if here)

    @property
    def fault(self) -> str:
        """Name of the quality fault, or ""."""
        fault = compose(self._visit, self._recorder).fault
        return fault.name if fault else ""

    def measurements(self) -> Measurements:
        """Return what the noise-free ECG measures, for the rules of `ecglens.simulation.rules`."""
        made = compose(self._visit, self._recorder)
        f_wave = np.zeros(1) if made.f_waves is None else made.f_waves[2]
        curves = curves_of(self._visit, self._recorder)
        return measure_beats(curves, made.rhythm.beats, made.rhythm.kinds, f_wave, self._recorder.fs)

    def _inside(self, beats: np.ndarray) -> np.ndarray:
        return np.asarray((beats >= 0) & (beats < self._recorder.duration))


def simulate_ecg(
    record_id: str,
    condition: str | Sequence[str] = "NORM",
    *,
    patient_id: str | None = None,
    seed: int = 0,
    fs: float = 500.0,
    duration: float = 10.0,
    noise: Noise | None = DEFAULT_NOISE,
    severity: float = 1.0,
    mode: str = "dipolar",
    lead: str = "V3",
    fault: str = "",
    age: int | None = None,
    sex: str | None = None,
    rate: float | None = None,
    qtc: float | None = None,
) -> Simulated:
    """Simulate one ECG of `condition` (a key of `CONDITIONS`, or several that do not contradict each other).

    patient_id  whose it is: records of one person share the body (axis, gains, intervals, resting rate), not the
                rhythm and the noise; default is a person of its own, named like the record
    fs          sampling rate, in Hz (100 to 4000)
    duration    in s (1 to 3600)
    noise       None for none
    severity    how much of the lesion is there: 1 meets the condition's rule, 0 is the normal beat, between them the
                dipole is (1 - severity) times the normal plus severity times the ill one. Of premature beats it is how
                many there are, of fibrillation the size of the f waves
    mode, lead  "planted": the lesion, as its most affected lead shows it, in `lead` alone (V1 to V6, or I or II, which
                the other limb leads follow)
    fault       key of `ecglens.simulation.FAULTS`
    age, sex, rate, qtc  in years, "female" or "male", in beats per minute (30 to 220), in ms; None: drawn

    A dipole has rank 3: in mode "dipolar" the *lead* of a finding is not unique (see `ecglens.simulation.evidence`).

    Raises UsageError for an unknown or contradictory condition, an impossible rate (of samples or of beats), a QT
    longer than RR, and a duration or severity out of range.
    """
    conditions = (condition,) if isinstance(condition, str) else tuple(condition)
    check_conditions(conditions)
    if mode in ("shortcut", "C"):
        raise UsageError("simulate_ecg", "mode", mode, "dipolar, planted", "a shortcut needs a cohort: simulate_cohort")
    recorder = recorder_for(
        conditions, seed=seed, fs=fs, duration=duration, noise=noise, severity=(severity, severity), mode=mode,
        lead=lead, faults={fault: 1.0} if fault else {}, age=age, sex=sex, rate=rate, qtc=qtc,
    )  # fmt: skip
    visit = Visit(record_id, record_id if patient_id is None else patient_id, conditions)
    return Simulated(visit, recorder)


def simulate_cohort(
    n: int = 600,
    *,
    classes: Sequence[str] = DEFAULT_CLASSES,
    task: str = "superdiagnostic",
    seed: int = 0,
    fs: float = 500.0,
    duration: float = 10.0,
    noise: Noise | None = DEFAULT_NOISE,
    severity: tuple[float, float] = (1.0, 1.0),
    comorbidity: float = 0.0,
    sessions: int | None = None,
    mode: str = "dipolar",
    lead: str = "V3",
    shortcut: Shortcut | None = None,
    faults: Mapping[str, float] | None = None,
    demographics: Mapping[str, Demographics] | None = None,
) -> Cohort:
    """Simulate a cohort of `n` records, superclasses in equal shares, made when read.

    classes       keys of `CONDITIONS`; those of one superclass take turns
    task          "superdiagnostic" (columns NORM, MI, STTC, CD, HYP, those that occur; rhythms have none, so that such
                  a record has 0 in all) or "subdiagnostic" (one column per condition)
    fs, duration, noise  as in `simulate_ecg`
    severity      each record's is drawn evenly from this range: below about 0.3 a lesion hides in noise and in the
                  differences between people, as early and healed ones do
    comorbidity   share of the ill who have a second condition, one of `classes` that can stand beside the first
    sessions      records of each person, weeks apart: the body stays, electrodes, rate and rhythm differ. None: one
                  person in three comes twice
    mode, lead    as in `simulate_ecg`; or "shortcut", with `shortcut` saying what goes with which class how strongly
    faults        share of the records that have each quality fault, e.g. {"limb_reversal": 0.05}; the metadata's
                  column `fault` tells
    demographics  from whom the people with a condition are drawn; without it, age and sex have nothing to do with the
                  condition, so that nothing but the signal tells conditions apart

    Folds 1 to 10 hold whole people and, as nearly as can be, each class alike. A longer cohort of the same arguments
    begins with the shorter one. `cohort.evidence[i]` is an `Evidence`, `cohort.fiducials[i]` the exact marks.

    A dipole has rank 3: in mode "dipolar" the *lead* of a finding is not unique, and a score that wants the right lead
    punishes networks that are right. Use "planted" for that.

    Raises UsageError for a wrong argument.
    """
    classes = tuple(classes)
    check_conditions(tuple(c for c in classes if c not in CONDITIONS) or classes[:1])
    if len(set(classes)) < len(classes):
        raise UsageError("simulation", "classes", ", ".join(classes), "each at most once")
    check_counts(n, task, comorbidity, sessions)
    recorder = recorder_for(
        classes, seed=seed, fs=fs, duration=duration, noise=noise, severity=severity, mode=mode, lead=lead,
        shortcut=shortcut, faults=faults or {}, demographics=demographics or {},
    )  # fmt: skip
    columns = _columns(classes, task)
    if recorder.shortcut is not None and recorder.shortcut.label not in columns.values():
        raise UsageError("simulate_cohort", "shortcut label", recorder.shortcut.label, ", ".join(columns.values()))
    visits = tuple(islice(_visits(classes, columns, recorder, comorbidity, sessions), int(n)))
    return Cohort(
        "simulated",
        Lazy(partial(read_ecg, recorder=recorder), visits),
        _labels(visits, columns),
        _metadata(visits, recorder),
        label_rule=_rule(recorder, comorbidity),
        fiducials=Lazy(partial(read_fiducials, recorder=recorder), visits),
        evidence=Lazy(partial(read_evidence, recorder=recorder), visits),
        citation=CITATION,
    )


def _visits(
    classes: Sequence[str], columns: Mapping[str, str], recorder: Recorder, comorbidity: float, sessions: int | None
) -> Iterator[Visit]:
    """Yield visits without end, in rounds of one person per superclass (or class); each third round comes twice.

    Within ten rounds a class meets each fold once. Classes start at different folds, so that a small cohort fills
    all folds early.
    """
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(columns.get(name, name), []).append(name)
    members, seed = list(groups.values()), recorder.seed
    n_records = n_people = n_rounds = 0
    while True:
        folds = stream(seed, "folds", str(n_rounds // 10)).permutation(10) + 1
        for which in stream(seed, "order", str(n_rounds)).permutation(len(members)):
            n_people += 1
            # The seed is in the name: under another seed it is another person.
            person = f"seed{seed}-p{n_people:05d}"
            fold = int(folds[(n_rounds + which * 10 // len(members)) % 10])
            first = members[which][n_rounds % len(members[which])]
            conditions = _with_company(first, classes, person, seed, comorbidity)
            labels = tuple(dict.fromkeys(columns[c] for c in conditions if c in columns))
            times = sessions if sessions is not None else (2 if n_rounds % 3 == 1 else 1)
            for session, date in enumerate(_dates(person, seed, times), 1):
                n_records += 1
                yield Visit(f"sim-{n_records:05d}", person, conditions, fold, session, date, labels)
        n_rounds += 1


def _with_company(first: str, classes: Sequence[str], person: str, seed: int, comorbidity: float) -> tuple[str, ...]:
    """Return the condition and, for some, a second one that can stand beside it."""
    others = compatible_with(first, classes)
    generator = stream(seed, "comorbidity", person)
    if not others or generator.uniform() >= comorbidity:
        return (first,)
    return (first, others[int(generator.integers(len(others)))])


def _dates(person: str, seed: int, n: int) -> list[str]:
    """Return the dates of a person's sessions, 2 to 12 weeks apart; the calendar is made up."""
    generator = stream(seed, "dates", person)
    days = np.cumsum(np.r_[generator.integers(0, 700), generator.integers(14, 85, n - 1)])
    return [str(np.datetime64("2020-01-01") + int(day)) for day in days]


def _columns(classes: Sequence[str], task: str) -> dict[str, str]:
    """Return the column of each condition that has one, columns in the order of PTB-XL's superclasses."""
    if task == "subdiagnostic":
        return {name: name for name in classes}
    found = {name: CONDITIONS[name].superclass for name in classes if CONDITIONS[name].superclass}
    if not found:
        allowed = "at least one condition of NORM, MI, STTC, CD, HYP"
        raise UsageError("simulate_cohort", "classes", ", ".join(classes), allowed, 'or task="subdiagnostic"')
    return dict(sorted(found.items(), key=lambda item: SUPERCLASSES.index(item[1])))


def _labels(visits: Sequence[Visit], columns: Mapping[str, str]) -> pd.DataFrame:
    names = list(dict.fromkeys(columns.values()))
    truth = [[float(name in visit.labels) for name in names] for visit in visits]
    return pd.DataFrame(truth, index=[visit.record_id for visit in visits], columns=names)


def _metadata(visits: Sequence[Visit], recorder: Recorder) -> pd.DataFrame:
    people = {visit.patient_id: patient(visit, recorder) for visit in visits}
    columns = {
        "patient_id": [visit.patient_id for visit in visits],
        "age": [people[visit.patient_id].age for visit in visits],
        "sex": [people[visit.patient_id].sex for visit in visits],
        "fold": [visit.fold for visit in visits],
        "device": DEVICE,
        "date": [visit.date for visit in visits],
        "session": [visit.session for visit in visits],
        "conditions": [";".join(visit.conditions) for visit in visits],
    }
    if recorder.faults:
        faults = [compose(visit, recorder).fault for visit in visits]
        columns["fault"] = [fault.name if fault else "" for fault in faults]
    return pd.DataFrame(columns, index=[visit.record_id for visit in visits])


def _rule(recorder: Recorder, comorbidity: float) -> str:
    low, high = recorder.severity
    notes = [f"seed {recorder.seed}"]
    notes += [] if low == high == 1.0 else [f"severity {low:g} to {high:g}"]
    notes += [f"{comorbidity:.0%} of the ill with a second condition"] if comorbidity else []
    notes += [f"lesions planted in {recorder.lead} alone"] if recorder.mode == "planted" else []
    if recorder.shortcut is not None:
        notes.append(f"a mark in {recorder.shortcut.lead} goes with {recorder.shortcut.label}")
    return f"simulated truth ({', '.join(notes)})"
