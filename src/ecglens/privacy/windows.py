# SPDX-License-Identifier: Apache-2.0
"""ECGs of several databases as windows of one lead, each with whose it is, when it was recorded and where it lies.

>>> from ecglens.simulation.cohort import simulate_cohort
>>> made = cut_windows([simulate_cohort(4)], lead="II")
>>> made.signal.shape, made.fs, float(made.seen().min()), float(made.seen().max()), made.n_people
((4, 1, 2000), 250.0, 0.0, 1.0, 4)
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.records import credit
from ecglens.datasets.sources import SOURCES
from ecglens.ecg import ECG
from ecglens.errors import ContractError, InputError, SignalError, UnsafeError, UsageError
from ecglens.preprocessing.pipeline import Admission, Bandpass, Median, MinMax, Preprocessing, Resample, Step
from ecglens.preprocessing.windows import Windows
from ecglens.privacy.left_out import nothing_usable
from ecglens.runs.progress import Progress, silent
from ecglens.waveform.rpeaks import detect_r_peaks

FS, LENGTH = 250.0, 2000
PER_PERSON = 20
# Which lead stands for a database, the first that a record has; two people of mitdb have no MLII.
LEADS: Mapping[str, tuple[str, ...]] = {"mitdb": ("MLII", "V5"), "ecgiddb": ("I",)}
_TWELVE = {"limb I": ("I", "II"), "limb II": ("II", "I")}
AGE_GROUPS = ("0-18", "19-35", "36-50", "51-65", "66+")
_AGE_EDGES = (19, 36, 51, 66)
_GAP, _FLAT = 0.1, 1.0  # s without samples, and of one value, that make a stretch blank
_BEFORE_R = 0.2  # s from a window's beginning to its first R peak
COLUMNS = (
    "person", "database", "record", "recording", "date", "start", "stop", "lead", "sex", "age", "age_group",
    "fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Preparation:
    """How a record becomes windows, by name.

    record_steps  applied to each whole stretch between blanks
    window_steps  applied to each window
    says          what it keeps and what it takes away
    """

    name: str
    record_steps: tuple[Step, ...]
    window_steps: tuple[Step, ...]
    says: str

    def preprocessing(self, lead: str) -> Preprocessing:
        """Return the preparation of one lead, as data that travels in a bundle."""
        admission = Admission((lead,), min_duration=LENGTH / FS, max_gap=_GAP)
        return Preprocessing(admission, self.record_steps, Windows(LENGTH, LENGTH), self.window_steps)


_FILTERED: tuple[Step, ...] = (Bandpass(0.5, 40.0, 4), Median(0.012), Resample(FS))
PREPARATIONS: dict[str, Preparation] = {
    "paper": Preparation(
        "paper", _FILTERED, (MinMax("lead"),),
        "0.5-40 Hz Butterworth of order 4, median of 3 samples or 12 ms, 250 Hz, 2,000 samples from an R peak on, each "
        "window from 0 to 1: absolute amplitudes are gone",
    ),
    "amplitude": Preparation("amplitude", _FILTERED, (), "the same, in millivolts: absolute amplitudes are kept"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Windowed:
    """Windows of one lead, of people.

    signal       float32 [window, lead, time] in mV, before the window's own steps; see `seen`
    fs           in Hz
    table        one row a window: COLUMNS; start and stop in s on the recording's clock; age_group, sex, date may be
                 None
    preparation  how they were made
    excluded     records that gave no window, and why
    """

    signal: NDArray[np.float32]
    fs: float
    table: pd.DataFrame
    preparation: Preparation
    excluded: tuple[Excluded, ...] = ()

    def __len__(self) -> int:
        return len(self.signal)

    def seen(self, at: np.ndarray | None = None) -> NDArray[np.float32]:
        """Return the windows at positions `at` as a network sees them: float32 [window, lead, time]."""
        signal = self.signal if at is None else self.signal[at]
        for step in self.preparation.window_steps:
            signal, _ = step.apply(signal, self.fs)
        return np.ascontiguousarray(signal, np.float32)

    @property
    def ids(self) -> list[str]:
        """What each window is called where something is drawn for it: its recording and when it begins."""
        rows = zip(self.table["recording"], self.table["start"], strict=True)
        return [f"{recording}@{start:.3f}" for recording, start in rows]

    def take(self, at: np.ndarray) -> Windowed:
        """Return the windows at these positions."""
        return replace(self, signal=self.signal[at], table=self.table.iloc[at].reset_index(drop=True))

    @property
    def n_people(self) -> int:
        """People of whom there is a window."""
        return int(self.table["person"].nunique())

    @property
    def n_records(self) -> int:
        """Recordings of which there is a window."""
        return int(self.table["recording"].nunique())


def cut_windows(
    cohorts: Sequence[Cohort],
    *,
    preparation: str = "paper",
    lead: str = "auto",
    per_person: int = PER_PERSON,
    progress: Progress = silent,
) -> Windowed:
    """Return up to `per_person` windows of each person, evenly over the person's recordings and over each of them.

    preparation  a name of `PREPARATIONS`
    lead         a lead's name, or "auto": mitdb MLII (V5 where it has none), ECG-ID I, and of twelve leads I where
                 ECG-ID is among the data sets, else II; elsewhere the first of I, II and whatever lead there is

    Nothing is filtered across a blank (missing samples, or one value for a second), no two windows overlap, and each
    begins 0.2 s before an R peak (Pan and Tompkins), or, where none fits, as near to that as may be. A record without
    2,000 samples, a person's id or a beat, or one of so many of a person that it has no share, is left out, counted and
    listed. Raises UsageError for a data set given twice, InputError for one of which no record gives a window.
    """
    if preparation not in PREPARATIONS:
        raise UsageError("identify", "preparation", preparation, ", ".join(PREPARATIONS))
    if per_person < 1:
        raise UsageError("identify", "windows a person", per_person, "1 or more")
    names = [cohort.name for cohort in cohorts]  # a lead goes by what a data set is called, numbered or not
    cohorts = _named_apart(cohorts)
    how, rows = PREPARATIONS[preparation], list[dict[str, Any]]()
    signals, excluded = list[np.ndarray](), list[Excluded]()
    done, total = 0, sum(map(len, cohorts))
    for name, cohort in zip(names, cohorts, strict=True):
        accepted, leads = accepted_leads(name, names, lead), Counter[str]()
        rows_before, excluded_before = len(rows), len(excluded)
        for index, wanted in enumerate(_shares(cohort, per_person)):
            done += 1
            if wanted:
                try:
                    whole = cohort[index]
                    leads.update(whole.leads)
                    for row, signal in _windows_of(cohort, index, whole, accepted, how, wanted):
                        rows.append(row)
                        signals.append(signal)
                except (InputError, UnsafeError, ContractError) as error:
                    excluded.append(Excluded(cohort.record_ids[index], error.kind, str(error)))
            elif cohort.patient_keys[index] is None:
                excluded.append(Excluded(cohort.record_ids[index], "unknown_patient", "whose it is is not known"))
            else:
                reason = f"its person has more than {per_person} records, of which as many are used, evenly spread"
                excluded.append(Excluded(cohort.record_ids[index], "beyond_cap", reason))
            progress("reading", done, total, f"{len(excluded)} left out" if excluded else "")
        if len(rows) == rows_before:
            raise nothing_usable(
                cohort, excluded[excluded_before:], [name for name, _ in leads.most_common()], accepted,
                auto=lead == "auto", by_auto=accepted_leads(name, names), several=len(cohorts) > 1,
            )  # fmt: skip
    if not rows:
        raise InputError("identify", "data", "none", "at least one data set", kind="no_records")
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Windowed(np.stack(signals), FS, table, how, tuple(excluded))


def accepted_leads(database: str, databases: Sequence[str], asked: str = "auto") -> tuple[str, ...]:
    """Return the leads that may stand for a database, best first; empty: whatever its record has first.

    >>> accepted_leads("ptbxl", ["ptbxl", "ecgiddb"]), accepted_leads("mitdb", ["mitdb"], "V1")
    (('I', 'II'), ('V1',))
    """
    if asked != "auto":
        return (asked,)
    if database in ("ltdb", "chfdb", "butqdb"):
        return ()
    return LEADS.get(database) or _TWELVE["limb I" if "ecgiddb" in databases else "limb II"]


def age_group(age: float | None) -> str | None:
    """Return the age group of an age in years, None where it is unknown.

    >>> age_group(18.0), age_group(19), age_group(65), age_group(66), age_group(None)
    ('0-18', '19-35', '51-65', '66+', None)
    """
    if age is None or not np.isfinite(age) or age < 0:
        return None
    return AGE_GROUPS[int(np.digitize(age, _AGE_EDGES))]


def count_age_groups(table: pd.DataFrame) -> dict[str, int]:
    """Return the people in each of AGE_GROUPS, and of unknown age, of a table of windows."""
    people = table.drop_duplicates("person")["age_group"]
    counted = {group: int((people == group).sum()) for group in AGE_GROUPS}
    return counted | {"unknown": int(people.isna().sum())}


def clean_stretches(signal: np.ndarray, fs: float) -> list[tuple[int, int]]:
    """Return (first sample, sample behind the last) of the stretches of `signal` [time] between its blanks.

    A blank is more than 0.1 s without samples, or 1 s and more of one value.

    >>> clean_stretches(np.concatenate([np.zeros(200), np.arange(300.0), np.full(50, np.nan), np.arange(99.0)]), 100)
    [(201, 500), (550, 649)]
    """
    blank = np.zeros(len(signal), bool)
    for first, last in _runs(np.isnan(signal)):
        blank[first:last] = last - first > _GAP * fs
    for first, last in _runs(np.diff(signal) == 0):  # n equal steps are n + 1 equal samples
        if last + 1 - first >= _FLAT * fs:
            blank[first : last + 1] = True
    return _runs(~blank)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return (first, behind the last) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _named_apart(cohorts: Sequence[Cohort]) -> list[Cohort]:
    """Return the cohorts under different names: people of two folders of one's own are different people."""
    out = list[Cohort]()
    for place, cohort in enumerate(cohorts):
        before = [other for other in cohorts[:place] if other.name == cohort.name]
        if any(not _another_folder(cohort, other) for other in before):
            raise UsageError("identify", "data", f"{cohort.name} twice", "each data set once", "name it once")
        taken = {other.name for other in (*cohorts, *out)}
        numbered = (f"{cohort.name}-{number}" for number in itertools.count(2))
        out.append(replace(cohort, name=next(n for n in numbered if n not in taken)) if before else cohort)
    return out


def _another_folder(one: Cohort, other: Cohort) -> bool:
    """Tell whether two cohorts of one name are of different folders, and not both of one published data set."""
    if not (one.files and other.files):  # nothing tells them apart but the name
        return False
    if one.name in SOURCES and one.citation == other.citation == credit(one.name):
        return False
    return one.files[0][0].resolve() != other.files[0][0].resolve()


def _shares(cohort: Cohort, per_person: int) -> list[int]:
    """Return how many windows each record is to give: evenly over a person's records, none where nobody is known."""
    mine: dict[str, list[int]] = {}
    for index, person in enumerate(cohort.patient_keys):
        if person is not None:
            mine.setdefault(person, []).append(index)
    shares = [0] * len(cohort)
    for records in mine.values():
        chosen = records
        if len(records) > per_person:
            chosen = [records[i] for i in np.linspace(0, len(records) - 1, per_person).round().astype(int)]
        for place, index in enumerate(chosen):
            shares[index] = per_person // len(chosen) + (place < per_person % len(chosen))
    return shares


def _windows_of(
    cohort: Cohort, index: int, whole: ECG, accepted: Sequence[str], how: Preparation, wanted: int
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the rows and windows of one record; raise the reason where there is none."""
    lead = _lead_of(whole, accepted)
    ecg, found, last_fault = whole.select([lead]), [], None
    for first, last in clean_stretches(ecg.signal[0], ecg.fs):
        if (last - first) / ecg.fs < LENGTH / FS:
            continue
        try:
            stretch = replace(ecg, signal=ecg.signal[:, first:last], start=ecg.start + first / ecg.fs)
            found += _aligned(stretch, how.preprocessing(lead))
        except (InputError, ContractError) as error:
            last_fault = error
    if not found:
        raise last_fault or _too_short(whole.record_id)
    about = _about(cohort, index, lead, whole)
    for place in np.unique(np.linspace(0, len(found) - 1, min(wanted, len(found))).round().astype(int)):
        start, signal = found[place]
        yield about | {"start": start, "stop": start + LENGTH / FS}, signal


def _too_short(record_id: str) -> ContractError:
    seconds = LENGTH / FS
    return ContractError(
        record_id, "duration", f"no {seconds:g} s without a blank", f"{LENGTH:,} samples at {FS:g} Hz",
        "record longer", kind="too_short",
    )  # fmt: skip


def _lead_of(ecg: ECG, accepted: Sequence[str]) -> str:
    if not accepted:
        return ecg.leads[0]
    for name in accepted:
        if name in ecg.leads:
            return name
    try:
        ecg.select([accepted[0]])  # a limb lead may be derivable
    except SignalError:
        if accepted == ("I", "II") or accepted == ("II", "I"):  # a record of whatever lead
            return ecg.leads[0]
        raise SignalError(
            ecg.record_id, "leads", f"no {' or '.join(accepted)}", ", ".join(ecg.leads), "name one of these (--lead)",
            kind="missing_lead", lead=accepted[0],
        ) from None  # fmt: skip
    return accepted[0]


def _aligned(ecg: ECG, preprocessing: Preprocessing) -> list[tuple[float, np.ndarray]]:
    """Return (start in s, window [lead, time]) of windows that begin before an R peak and do not overlap.

    A stretch where none fits (of 10 s, with R peaks 0.1 s and 2.3 s after its beginning) gives the one that comes
    nearest to beginning so: nobody is left out for where their beats happen to lie.
    """
    admitted = preprocessing.admission.admit(ecg)
    signal = np.asarray(preprocessing.transform([admitted]).signal)[0]
    peaks = detect_r_peaks(replace(ecg, signal=signal, fs=FS, start=0.0), "pan_tompkins")
    if not len(peaks):
        raise SignalError(ecg.record_id, "R peaks", "none", "at least one", peaks.reason, kind="no_beats")
    last = signal.shape[1] - LENGTH
    if last < 0:
        return []
    wanted = peaks.samples - round(_BEFORE_R * FS)
    starts, free = list[int](), 0
    for start in wanted:
        if free <= start <= last:
            starts.append(int(start))
            free = int(start) + LENGTH
    if not starts:
        possible = wanted.clip(0, last)
        starts = [int(possible[np.abs(possible - wanted).argmin()])]
    return [(ecg.start + start / FS, signal[:, start : start + LENGTH]) for start in starts]


def _about(cohort: Cohort, index: int, lead: str, ecg: ECG) -> dict[str, Any]:
    metadata = cohort.metadata.iloc[index]
    age = None if pd.isna(metadata["age"]) else float(metadata["age"])
    date, record = metadata.get("date"), f"{cohort.name}:{cohort.record_ids[index]}"
    recording = metadata.get("recording")
    return {
        "person": cohort.patient_keys[index], "database": cohort.name, "record": record, "lead": lead,
        "recording": record if recording is None or pd.isna(recording) else f"{cohort.name}:{recording}",
        "date": None if date is None or pd.isna(date) else str(date)[:10],
        "sex": metadata["sex"], "age": age, "age_group": age_group(age), "fingerprint": ecg.fingerprint(),
    }  # fmt: skip
