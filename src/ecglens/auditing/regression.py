# SPDX-License-Identifier: Apache-2.0
"""Sanity by regression (Wagner et al. 2023, section 2.3): a map of a network that reads an amplitude must show it.

A twin per wave learns the amplitudes of P, R or T in all leads, from `measure`, on inputs in millivolts. Its map for
the amplitude of one lead should lie in that lead (spatial specificity) and, beat for beat, in that wave (temporal).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ecglens.auditing.estimate import N_RESAMPLES, estimate
from ecglens.auditing.maps import Cases, logits_of, maps_of_targets
from ecglens.auditing.specificity import (
    ceilings,
    cross_correlation,
    margin,
    mean_beat,
    spatial_specificity,
    temporal_curves,
)
from ecglens.auditing.twins import keep, keeping_amplitudes, restored, train_twin, untrained
from ecglens.auditing.verdict import RULES, TWIN_MEASURES, TestResult, judge
from ecglens.auditing.work import Found, Test, Work
from ecglens.auditing.worlds import TEST_FOLDS, cases_at, prepared
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError
from ecglens.explainers.methods import Method
from ecglens.fiducials import Fiducials
from ecglens.preprocessing.prepare import prepare as prepare_cohort
from ecglens.runs.draws import derived_seed, record_keys, uniform
from ecglens.runs.files import write_npy
from ecglens.simulation import DEFAULT_CLASSES, simulate_cohort
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number
from ecglens.waveform.beats import beat_times
from ecglens.waveform.delineate import delineate
from ecglens.waveform.measure import measure

WAVES: dict[str, tuple[str, str, str]] = {  # wave -> name of its amplitude, marks of its ends
    "P": ("p_mv", "P_onset", "P_offset"),
    "R": ("r_mv", "QRS_onset", "QRS_offset"),
    "T": ("t_mv", "T_onset", "T_offset"),
}
REAL = 3  # times as many real records as simulated ones: people differ in more than a simulator knows
SIMULATED_FS = 250.0  # Hz: finer than the network's grid, so that peaks are met
Source = Literal["simulated", "real"]


@dataclass(frozen=True, eq=False)
class Reader:
    """A twin that reads one wave, and how well: R2 over all leads together (as the paper), mean of R2 by lead, MAE."""

    twin: Bundle
    r2: TestResult
    r2_by_lead: float
    mae: TestResult


@dataclass(frozen=True, eq=False)
class Regression:
    """Twins per wave, records that none of them learnt from, and where in the mean beat each wave lies."""

    work: Work
    source: Source
    readers: dict[str, Reader]
    cases: Cases
    beats: tuple[np.ndarray, ...]
    windows: dict[str, tuple[float, float]]
    trained_on: int

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        crossed = cross_correlation(self.cases.signals)
        return {
            "source": self.source, "n": len(self.cases), "n_patients": self.cases.n_patients,
            "trained_on": self.trained_on, "leads": list(self.cases.leads), "windows_ms": {
                wave: [round(1000 * edge) for edge in ends] for wave, ends in self.windows.items()},
            "readers": {wave: {"r2": _told(r.r2), "mae": _told(r.mae), "r2_by_lead": round(r.r2_by_lead, 4)}
                        for wave, r in self.readers.items()},
            "ceiling": ceilings(self.cases.leads), "cross_correlation": dict(
                zip(self.cases.leads, crossed.round(3).tolist(), strict=True)),
            "beat": mean_beat(self.cases, self.beats).round(4).tolist(),
        }  # fmt: skip

    def run(self, name: str, method: Method) -> Found:
        """Return temporal and spatial specificity over the three waves."""
        cases = self.cases.first(self.work.count(method, len(self.cases)))
        suffix = "" if self.source == "simulated" else "_real"
        results: dict[str, TestResult] = {}
        evidence: dict[str, Any] = {"curves": {}, "spatial": {}}
        all_spatial = []
        for wave, reader in self.readers.items():
            maps = maps_of_targets(reader.twin, cases, np.eye(len(cases.leads)), method, name)
            curves = temporal_curves(maps, self.beats, cases.fs)
            results[f"temporal_{wave}{suffix}"] = margin(curves, cases.patients, self.windows[wave], cases.fs)
            spatial = spatial_specificity(maps)  # [case, lead]
            all_spatial.append(spatial.mean(axis=1))
            results[f"spatial_{wave}{suffix}"] = estimate(
                spatial.mean(axis=1), cases.patients, "twins", len(cases.leads) ** -0.5
            )
            unit = curves / np.maximum(np.linalg.norm(curves, axis=1, keepdims=True), 1e-30)
            quartiles = np.nanquantile(unit, [0.25, 0.5, 0.75], axis=0)
            evidence["curves"][wave] = quartiles.round(4).tolist()
            evidence["spatial"][wave] = np.quantile(spatial, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0).round(4).tolist()
        worst = min((results[f"temporal_{wave}{suffix}"] for wave in self.readers), key=_lower)
        main = {f"temporal{suffix}": judge(RULES["temporal"], worst)}
        spatial_all = estimate(np.mean(all_spatial, axis=0), cases.patients, "twins", len(cases.leads) ** -0.5)
        return Found(main | {f"spatial{suffix}": spatial_all} | results, evidence)


def _told(result: TestResult) -> dict[str, Any]:
    return {
        "value": result.value,
        "low": result.low,
        "high": result.high,
        "n": result.n,
        "n_patients": result.n_patients,
    }


def _lower(result: TestResult) -> float:
    return -np.inf if result.low is None else result.low


# ---------------------------------------------------------------------------------------------------------- amplitudes


def amplitudes(ecg: ECG, fiducials: Fiducials, leads: tuple[str, ...]) -> np.ndarray:
    """Return the amplitude of P, R and T in each lead, in mV [wave, lead]; NaN where it cannot be measured.

    A lead that was looked at and has no R (a QS complex) has an R of 0 mV.
    """
    found = measure(ecg, fiducials)
    out = np.full((len(WAVES), len(leads)), np.nan)
    for k, (name, _, _) in enumerate(WAVES.values()):
        for j, lead in enumerate(leads):
            one = found.leads[lead][name] if lead in found.leads else None
            if one is not None and one.value is not None:
                out[k, j] = one.value
            elif one is not None and one.status == "none":
                out[k, j] = 0.0
    return out


@dataclass(frozen=True, eq=False)
class Measured:
    """Records in millivolts on the network's grid, with the amplitudes of their waves [record, wave, lead]."""

    cohort: Cohort
    signals: np.ndarray
    fs: float
    leads: tuple[str, ...]
    amplitudes: np.ndarray
    fiducials: tuple[Fiducials, ...]
    test: np.ndarray


def simulated(work: Work) -> Measured:
    """Return simulated people with exact marks: lesions of every size, so that amplitudes differ."""
    fs = max(SIMULATED_FS, work.bundle.fs)
    cohort = simulate_cohort(
        work.size.measured, classes=DEFAULT_CLASSES, severity=(0.0, 1.0), fs=fs,
        seed=derived_seed(work.seed, "audit/measured") % 2**31,
    )  # fmt: skip
    world = prepared("measured", cohort, keeping_amplitudes(work.bundle.preprocessing))
    assert cohort.fiducials is not None
    marks = tuple(cohort.fiducials)
    found = _kept(
        work, "amplitudes-simulated", len(cohort), lambda: _measured(work, list(world.cohort), marks, world.leads)
    )
    test = cohort.metadata["fold"].isin(TEST_FOLDS).to_numpy()
    return Measured(world.cohort, world.signals, world.fs, world.leads, found, marks, test)


def real(work: Work) -> Measured:
    """Return records of the training data given, delineated and measured. Raises ContractError where none was given."""
    if work.train_data is None:
        raise ContractError("audit", "--train-data", "none", "a data set to train twins on", kind="no_data")
    drawn = np.argsort(uniform(work.seed, "audit/measured", record_keys(work.train_data.record_ids), 1)[:, 0])
    chosen = work.train_data.take(sorted(int(i) for i in drawn[: REAL * work.size.measured]))
    made = prepare_cohort(chosen, keeping_amplitudes(work.bundle.preprocessing), progress=work.progress)
    leads, cohort = work.bundle.preprocessing.leads, made.cohort
    ecgs, marks = [], []
    for k in range(len(cohort)):
        ecgs.append(cohort[k])
        marks.append(delineate(ecgs[-1]))
        work.progress("delineating", k + 1, len(cohort), "")
    found = _kept(work, "amplitudes-real", len(cohort), lambda: _measured(work, ecgs, tuple(marks), leads))
    folds = cohort.metadata["fold"]
    if folds.notna().all():
        test = folds.isin(TEST_FOLDS).to_numpy()
    else:  # people by their names, a fifth for testing
        people = [key or record for key, record in zip(cohort.patient_keys, cohort.record_ids, strict=True)]
        test = uniform(work.seed, "audit/test", record_keys(people), 1)[:, 0] < 0.2
    return Measured(cohort, made.stack(), made.fs, leads, found, tuple(marks), test)


def _kept(work: Work, name: str, n: int, make: Any) -> np.ndarray:
    """Return an array of an earlier call that was cut off, or make it and keep it."""
    path = None if work.folder is None else work.folder / "arrays" / f"{name}.npy"
    if path is not None and path.exists():
        kept = np.load(path, allow_pickle=False)
        if len(kept) == n:
            return kept
    made = make()
    if path is not None:
        write_npy(path, made)
    return np.asarray(made)


def _measured(work: Work, ecgs: list[ECG], marks: tuple[Fiducials, ...], leads: tuple[str, ...]) -> np.ndarray:
    out = np.full((len(ecgs), len(WAVES), len(leads)), np.nan)
    for k, (ecg, mark) in enumerate(zip(ecgs, marks, strict=True)):
        out[k] = amplitudes(ecg, mark, leads)
        work.progress("measuring", k + 1, len(ecgs), "")
    return out


# --------------------------------------------------------------------------------------------------------------- twins


def prepare(work: Work, source: Source) -> Regression:
    """Train a twin per wave. Raises ContractError where one of them cannot learn its wave."""
    data = simulated(work) if source == "simulated" else real(work)
    readers = {wave: _reader(work, data, k, wave, source) for k, wave in enumerate(WAVES)}
    poor = [wave for wave, r in readers.items() if not r.r2_by_lead >= TWIN_MEASURES]
    if poor:
        told = ", ".join(f"{wave} {r.r2_by_lead:.2f}" for wave, r in readers.items())
        raise ContractError(
            f"twins on {source} ECGs", "R2, mean over leads", told, f"{TWIN_MEASURES:g} or more in each",
            f"unlearnable: this architecture does not learn {', '.join(poor)} here", kind="unlearnable",
        )  # fmt: skip
    mine = _test_records(work, data)
    cases = cases_at(data.cohort, data.signals, mine, [data.leads[0]] * len(mine), data.leads, data.fs, data.leads,
                     tuple(data.fiducials[i] for i in mine))  # fmt: skip
    beats = tuple(beat_times(data.fiducials[i]) for i in mine)
    windows = {wave: wave_window(cases.fiducials or (), beats, ends) for wave, (_, *ends) in WAVES.items()}
    return Regression(work, source, readers, cases, beats, windows, int((~data.test).sum()))


def _test_records(work: Work, data: Measured) -> list[int]:
    """Return records of the test part with beats, in an order drawn from their names."""
    drawn = np.argsort(uniform(work.seed, "audit/regressed", record_keys(data.cohort.record_ids), 1)[:, 0])
    usable = [int(i) for i in drawn if data.test[i] and data.fiducials[i].n_beats > 0]
    return usable[: work.size.regressed]


def wave_window(marks: tuple[Fiducials, ...], beats: tuple[np.ndarray, ...], ends: list[str]) -> tuple[float, float]:
    """Return where a wave lies around its beat, in s: the medians of its onsets and of its offsets."""
    from ecglens.fiducials import MARKS

    edges = []
    for end in ends:
        column = MARKS.index(end)
        apart = [(mark.times[:, :, column] - times[None, :]).ravel() for mark, times in zip(marks, beats, strict=True)]
        edges.append(float(np.nanmedian(np.concatenate(apart))))
    return edges[0], edges[1]


def _reader(work: Work, data: Measured, wave: int, name: str, source: Source) -> Reader:
    twin = untrained(work.bundle, data.leads, "regression", work.seed, amplitudes=True)
    truth = data.amplitudes[:, wave]
    usable = np.isfinite(truth).any(axis=1)
    learn = np.flatnonzero(~data.test & usable)
    if len(learn) < 20:
        raise ContractError(f"twins on {source} ECGs", f"records with a {name}", str(len(learn)), "20 or more")
    mean, sd = np.nanmean(truth[learn], axis=0), np.nanstd(truth[learn], axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    kept = f"regression-{source}-{name}"
    if not (work.twins_folder is not None and restored(twin, work.twins_folder / f"{kept}.safetensors")):
        ids = tuple(data.cohort.record_ids[i] for i in learn)
        train_twin(twin, data.signals[learn], (truth[learn] - mean) / sd, ids, work.schedule, work.seed, work.progress,
                   f"training twin {kept}")  # fmt: skip
        keep(twin, work.twins_folder, kept)
    test = np.flatnonzero(data.test & usable)
    said = logits_of(twin, data.signals[test]) * sd + mean
    people = [data.cohort.patient_keys[i] or data.cohort.record_ids[i] for i in test]
    return scored(twin, said, truth[test], people)


def scored(twin: Bundle, said: np.ndarray, truth: np.ndarray, people: list[str]) -> Reader:
    """Return the reader with R2 and MAE over all leads together, by patient bootstrap, and the mean of R2 by lead."""
    known = np.isfinite(truth)
    gone = np.where(known, said - truth, 0.0)
    true = np.where(known, truth, 0.0)
    weights = np.concatenate([np.ones((1, len(people))), patient_weights(people, N_RESAMPLES, 0)]).astype(np.float64)
    count = weights @ known.sum(axis=1)
    mean = (weights @ true.sum(axis=1)) / count
    total = weights @ (true**2).sum(axis=1) - count * mean**2
    r2 = 1.0 - (weights @ (gone**2).sum(axis=1)) / total
    mae = (weights @ np.abs(gone).sum(axis=1)) / count
    by_lead = [1.0 - (gone[k, j] ** 2).sum() / max(((true[k, j] - true[k, j].mean()) ** 2).sum(), 1e-12)
               for j in range(truth.shape[1]) if (k := known[:, j]).sum() > 1]  # fmt: skip

    def told(values: np.ndarray) -> TestResult:
        drawn = interval(values[1:])
        return TestResult("twins", float(values[0]), json_number(drawn.low), json_number(drawn.high), n=len(people),
                          n_patients=len(set(people)))  # fmt: skip

    return Reader(twin, told(r2), float(np.mean(by_lead)), told(mae))


def prepare_simulated(work: Work) -> Regression:
    """On simulated people."""
    return prepare(work, "simulated")


def prepare_real(work: Work) -> Regression:
    """On the training data given."""
    return prepare(work, "real")


def _names(suffix: str) -> tuple[str, ...]:
    main = (f"temporal{suffix}", f"spatial{suffix}")
    return (*main, *(f"{kind}_{wave}{suffix}" for wave in WAVES for kind in ("temporal", "spatial")))


TESTS = (
    Test("temporal", _names(""), "twins", prepare_simulated),
    Test("temporal_real", _names("_real"), "twins", prepare_real),
)
