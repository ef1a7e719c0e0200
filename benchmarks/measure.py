# SPDX-License-Identifier: Apache-2.0
"""Measurements at the delineator's marks, against hand-made marks, exact marks, published flags and statements.

    python benchmarks/measure.py --data DIR [--only ludb simulated ptbxl time] [--every 1]

DIR holds `ludb` and `ptbxl` (with `concepts.csv`). Writes benchmarks/measure.json, from which docs/tables.py makes the
tables of docs/methods/measurements.md and criteria.md. About five minutes on one core.

LUDB      measured at our marks minus measured at the marks made by hand, one record a person. The shipped delineator
          was trained on LUDB: optimistic; see docs/methods/delineation.md for people it was not trained on
simulated measured at our marks minus measured at the exact marks, and minus the generator's own measurements
ptbxl     criteria against the flags published with xai4ecg (rules on Uni-G's measurements) and against the
          cardiologists' statements; every sixth record chose two constants (ends of P and QRS) and is left out
time      one record read, peaked, delineated and measured, against neurokit2's dwt where that is installed
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens import load_ptbxl, read, read_annotations, simulate_ecg
from ecglens.ecg import ECG
from ecglens.errors import EcglensError
from ecglens.runs.files import read_json, write_json
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.waveform.criteria import CRITERIA, Criterion, decide_all, values_of
from ecglens.waveform.delineate import delineate, delineate_all
from ecglens.waveform.measure import measure
from ecglens.waveform.measurements import Measurements

RESULTS = Path(__file__).with_name("measure.json")
WHOLE = ("heart_rate_bpm", "p_ms", "pr_ms", "qrs_ms", "qt_ms", "qtc_fridericia_ms", "p_axis_deg", "qrs_axis_deg",
         "t_axis_deg")  # fmt: skip
LEAD = ("p_mv", "q_mv", "r_mv", "s_mv", "st_j_mv", "st_60_mv", "t_mv", "q_ms", "r_ms", "s_ms")
CONDITIONS = ("NORM", "IMI", "AMI", "CLBBB", "CRBBB", "LVH", "STD", "INVT")
TUNED_EVERY = 6  # records of PTB-XL that chose constants: the 0th, 6th, 12th, ...

# Other readings of four rules: as printed in Table 4 of xai4ecg, where that differs from the sources, or what fits.
PRINTED = {
    "S12-LVH": Criterion("with 2 mV for 3 mV",
                         "any_of(s_mv[lead] <= -2.0 or qs_mv[lead] <= -2.0, V1, V2)", "what fits"),
    "MI-V2V3": Criterion("as printed: V2 and V3",
                         "all_of(q_ms[lead] > 20, V2, V3) or all_of(qs_mv[lead] < 0, V2, V3)", "printed"),
    "MI-QPeak": Criterion("as printed: without QS and III",
                          "all_of(q_ms[lead] >= 30 and q_mv[lead] <= -0.1, I, aVL) or all_of(q_ms[lead] >= 30 and "
                          "q_mv[lead] <= -0.1, II, aVF) or contiguous(q_ms[lead] >= 30 and q_mv[lead] <= -0.1, V4, V5,"
                          " V6)", "printed"),
    "ST-DEPR-MI": Criterion("as printed: ST of -0.5 mV, so T inversion alone",
                            "contiguous(t_mv[lead] <= -0.1 and r_mv[lead] > abs(s_mv[lead]))", "printed"),
}  # fmt: skip
# Statements of PTB-XL that a criterion should go with.
STATEMENTS = {"CLBBB": "CLBBB", "CRBBB": "CRBBB", "LAFB": "LAFB", "1AVB": "1AVB", "SLI-LVH": "LVH",
              "CORNELL-LVH": "LVH", "RVH": "RVH", "LAE": "LAO/LAE", "WPW": "WPW", "LVOLT": "LVOLT", "LQT": "LNGQT",
              "MI-QPeak": "IMI", "MI-V2V3": "ASMI", "BRADY": "SBRAD", "TACHY": "STACH"}  # fmt: skip


def main() -> None:
    """Measure what was asked for and write the results beside what was there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--every", type=int, default=1, help="take every n-th record of PTB-XL")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for part in asked.only:
        begin = time.process_time()
        new = PARTS[part](asked.data, asked.every)
        found = (read_json(RESULTS) if RESULTS.exists() else {}) | new
        print(f"{part}: {time.process_time() - begin:.0f} s of processor time", flush=True)
        write_json(RESULTS, found)
    for name in ("ludb", "simulated", "generator"):
        for row in found.get(name, []):
            print(name, row)
    for row in found.get("concepts", []) + found.get("statements", []):
        print(row)


# -------------------------------------------------------------------------------------------------------- differences


def differences(pairs: list[tuple[Measurements, Measurements]], people: list[str]) -> list[dict[str, Any]]:
    """Return mean and SD of found minus marked of each measurement, with intervals by resampling people."""
    rows = []
    for name in WHOLE:
        rows.append((name, [[_difference(name, a[name].value, b[name].value)] for a, b in pairs]))
    for name in LEAD:
        rows.append((name, [[_difference(name, a.leads[lead][name].value, b.leads[lead][name].value)
                             for lead in b.leads] for a, b in pairs]))  # fmt: skip
    weights = patient_weights(people, 1000, 0).astype(np.float64)
    return [_summary(name, values, weights) for name, values in rows]


def _difference(name: str, found: float | None, marked: float | None) -> float:
    if found is None or marked is None:
        return float("nan")
    return (found - marked + 180) % 360 - 180 if name.endswith("_deg") else found - marked


def _summary(name: str, values: list[list[float]], weights: np.ndarray) -> dict[str, Any]:
    table = np.array(values)
    known = np.isfinite(table)
    sums = np.stack(
        [known.sum(axis=1), np.where(known, table, 0).sum(axis=1), np.where(known, table**2, 0).sum(axis=1)]
    )
    drawn = [_mean_sd(*row) for row in (weights @ sums.T)]
    mean, sd = _mean_sd(*sums.sum(axis=1))
    told: dict[str, Any] = {"name": name, "n": int(known.sum()), "n_records": int(known.any(axis=1).sum())}
    for k, (label, value) in enumerate((("mean", mean), ("sd", sd))):
        bounds = interval([row[k] for row in drawn])
        told[label] = {"value": value, "low": bounds.low, "high": bounds.high}
    return told


def _mean_sd(n: float, total: float, squares: float) -> tuple[float, float]:
    mean = total / n if n else float("nan")
    return mean, float(np.sqrt(max(squares / n - mean**2, 0.0))) if n else float("nan")


def ludb(data: Path, every: int) -> dict[str, Any]:
    """Measure at our marks and at those made by hand, on the beats that both have."""
    pairs, people = [], []
    for header in sorted((data / "ludb" / "data").glob("*.hea")):
        ecg, hand = read(header), read_annotations(header)
        pairs.append((measure(ecg, delineate(ecg)), measure(ecg, hand)))
        people.append(header.stem)
    return {"ludb": differences(pairs, people)}


def simulated(data: Path, every: int) -> dict[str, Any]:
    """Measure simulated ECGs at our marks, at the exact ones, and compare with what the generator says."""
    pairs, own, people = [], [], []
    for condition in CONDITIONS:
        for k in range(12):
            made = simulate_ecg(f"measured-{condition}-{k}", condition)
            ours = measure(made.ecg, delineate(made.ecg))
            pairs.append((ours, measure(made.ecg, made.fiducials)))
            truth = made.measurements()
            own.append({"pr_ms": truth.pr, "qrs_ms": truth.qrs, "qt_ms": truth.qt, "qrs_axis_deg": truth.axis})
            people.append(f"{condition}-{k}")
    weights = patient_weights(people, 1000, 0).astype(np.float64)
    found = [ours for ours, _ in pairs]
    generator = [
        _summary(name, [[_difference(name, a[name].value, b[name])] for a, b in zip(found, own, strict=True)], weights)
        for name in own[0]
    ]
    return {"simulated": differences(pairs, people), "generator": generator}


# ----------------------------------------------------------------------------------------------------------- criteria


def records(data: Path, every: int) -> Iterator[tuple[ECG, str, int]]:
    """Yield the records with age and sex, their patient, and their place."""
    cohort = load_ptbxl(data / "ptbxl", keep_unlabelled=True)
    for i in range(0, len(cohort), every):
        about = cohort.metadata.iloc[i]
        known = {k: about[k] for k in ("age", "sex") if about[k] == about[k] and about[k] is not None}
        ecg = cohort[i]
        yield replace(ecg, metadata={**ecg.metadata, **known}), str(about["patient_id"]), i


def ptbxl(data: Path, every: int) -> dict[str, Any]:
    """Decide all criteria on PTB-XL and compare with flags and statements."""
    concepts = pd.read_csv(data / "ptbxl" / "concepts.csv", index_col="ecg_id")
    codes = pd.read_csv(data / "ptbxl" / "ptbxl_database.csv", index_col="ecg_id")["scp_codes"].map(ast.literal_eval)
    met: dict[int, dict[str, bool | None]] = {}
    patients: dict[int, str] = {}
    batch: list[tuple[ECG, str]] = []
    todo = ((ecg, patient) for ecg, patient, i in records(data, every) if i % TUNED_EVERY)
    for item in todo:
        batch.append(item)
        if len(batch) == 32:
            _decide(batch, met, patients)
            batch = []
    _decide(batch, met, patients)
    table = pd.DataFrame.from_dict(met, orient="index")
    who = [patients[i] for i in table.index]
    flags = [
        agreement(name, name, table[column], concepts[name].reindex(table.index), who, note)
        for name in concepts.columns if name in CRITERIA
        for column, note in ((name, ""), (f"{name} as printed", PRINTED[name].about if name in PRINTED else ""))
        if column in table
    ]  # fmt: skip
    said = codes.reindex(table.index)
    statements = [
        agreement(name, code, table[name], said.map(lambda found, c=code: c in found), who)
        for name, code in STATEMENTS.items()
    ]
    return {"concepts": flags, "statements": statements}


def _decide(batch: list[tuple[ECG, str]], met: dict[int, Any], patients: dict[int, str]) -> None:
    ecgs = [ecg for ecg, _ in batch]
    for (ecg, patient), marks in zip(batch, delineate_all(ecgs), strict=True):
        found = measure(ecg, marks)
        values = values_of(ecg, found)
        record = int(ecg.record_id)
        met[record] = {name: decision.met for name, decision in decide_all(ecg, found).items()}
        met[record] |= {f"{name} as printed": rule.decide(values).met for name, rule in PRINTED.items()}
        patients[record] = patient


def agreement(
    name: str, against: str, ours: pd.Series, theirs: pd.Series, patients: list[str], note: str = ""
) -> dict[str, Any]:
    """Return MCC with its interval by patient, prevalences, and the four counts."""
    known = ours.notna().to_numpy()
    a, b = ours[known].astype(bool).to_numpy(), theirs[known].astype(bool).to_numpy()
    people = [p for p, k in zip(patients, known, strict=True) if k]
    cells = np.stack([a & b, a & ~b, ~a & b, ~a & ~b], axis=1).astype(np.float64)
    drawn = [_mcc(*row) for row in patient_weights(people, 1000, 0).astype(np.float64) @ cells]
    bounds = interval(drawn)
    both, ours_only, theirs_only, neither = (int(n) for n in cells.sum(axis=0))
    return {
        "name": name, "against": against, "note": note, "n": len(a), "cannot_tell": int((~known).sum()),
        "ours": float(a.mean()), "theirs": float(b.mean()), "both": both, "only_ours": ours_only,
        "only_theirs": theirs_only, "neither": neither,
        "mcc": {"value": _none_if_nan(_mcc(both, ours_only, theirs_only, neither)), "low": _none_if_nan(bounds.low),
                "high": _none_if_nan(bounds.high)},
    }  # fmt: skip


def _mcc(tp: float, fp: float, fn: float, tn: float) -> float:
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return float((tp * tn - fp * fn) / np.sqrt(below)) if below > 0 else float("nan")


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


# --------------------------------------------------------------------------------------------------------------- time


def timed(data: Path, every: int) -> dict[str, Any]:
    """Time one record, read from disk to measured; medians of 40 records."""
    from ecglens.waveform.rpeaks import detect_r_peaks

    headers = sorted((data / "ludb" / "data").glob("*.hea"))[:40]
    rows: dict[str, list[float]] = {"read": [], "peaks": [], "delineate": [], "measure": []}
    for header in headers:
        at = [time.process_time()]
        ecg = read(header)
        at.append(time.process_time())
        detect_r_peaks(ecg)
        at.append(time.process_time())
        marks = delineate(ecg)
        at.append(time.process_time())
        measure(ecg, marks)
        at.append(time.process_time())
        for name, seconds in zip(rows, np.diff(at).tolist(), strict=True):
            rows[name].append(1000 * seconds)
    told: dict[str, Any] = {name: float(np.median(values)) for name, values in rows.items()}
    told["neurokit2_dwt"] = _neurokit(headers[:4])
    return {"time_ms": told}


def _neurokit(headers: list[Path]) -> float | None:
    try:
        import neurokit2
    except ImportError:
        return None
    spent = []
    for header in headers:
        ecg = read(header)
        begin = time.process_time()
        for lead in ecg.leads:
            clean = neurokit2.ecg_clean(ecg[lead].astype(float), sampling_rate=int(ecg.fs))
            _, peaks = neurokit2.ecg_peaks(clean, sampling_rate=int(ecg.fs))
            neurokit2.ecg_delineate(clean, peaks["ECG_R_Peaks"], sampling_rate=int(ecg.fs), method="dwt")
        spent.append(1000 * (time.process_time() - begin))
    return float(np.median(spent))


PARTS = {"ludb": ludb, "simulated": simulated, "ptbxl": ptbxl, "time": timed}

if __name__ == "__main__":
    try:
        main()
    except EcglensError as error:
        raise SystemExit(str(error)) from None
