# SPDX-License-Identifier: Apache-2.0
"""R peaks against marks: PTB-XL (the R peaks published with xai4ecg), MIT-BIH, LUDB.

    python benchmarks/rpeaks.py --data DIR [--only ptbxl mitdb ludb] [--worst 10]

DIR holds `ptbxl` (with `r-peaks.csv`), `mitdb` and `ludb`. Prints a table: data set, part, method, figures with
intervals by patient, location error, time per record. The constants were chosen on the rows called "tuning" (PTB-XL
folds 1 to 8; every other person of MIT-BIH), so the rows called "rest" are the honest ones. LUDB was not looked at.
`wfdb xqrs` is XQRS of the package wfdb, `neurokit2` that package's usual method where it is installed: both on lead
II of 250 records of PTB-XL.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from wfdb.processing import xqrs_detect

from ecglens import ECG, detect_r_peaks, load_ptbxl, read
from ecglens.formats.annotations import read_marks
from ecglens.statistics.matching import EC57_LEARNING, Matches, count_matches, event_scores

TOLERANCES = (0.15, 0.05)  # s
# The published marks of PTB-XL begin at 0.31 s and end at 9.49 s: beats without 300 ms before and 500 ms after are not
# there. 25 ms inside those, so that a beat on the edge is not held against whoever places it on the other side.
PTBXL_STRETCH = (0.335, 9.465)
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")


class Marked(NamedTuple):
    """One record with its marked beats, in s, and what of it is scored."""

    ecg: ECG
    beats: np.ndarray
    patient: str
    tuning: bool
    start: float
    stop: float
    left_out: tuple[tuple[float, float], ...] = ()


def main() -> None:
    """Print the table, and the worst records of each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--worst", type=int, default=10, help="records to list")
    asked = parser.parse_args()
    print("| data set | part | method | records / patients / beats | sensitivity | PPV | F1, 150 ms | F1, 50 ms "
          "| error, ms: mean, SD | ms a record |")  # fmt: skip
    print("| " + " | ".join(["---"] * 10) + " |")
    worst = []
    for name in asked.only:
        for method, detect in METHODS.items():
            scored = score(SETS[name](asked.data), detect, 250 if method in SLOW else None)
            if scored is None:
                continue
            print_rows(name, method, scored)
            if method == "all_leads":
                worst.append(f"{name}: " + "; ".join(scored.nlargest(asked.worst, "wrong")["words"]))
    print("\n" + "\n".join(worst))


def score(records: Iterator[Marked], detect: Callable[[ECG], np.ndarray | None], limit: int | None):
    """Return one row per record; None where the method does not apply."""
    rows = []
    for i, record in enumerate(records):
        if limit and (record.ecg.leads[:2] != ("I", "II") or i >= limit * 10):
            break
        if limit and i % 10:
            continue
        begin = time.perf_counter()
        found = detect(record.ecg)
        seconds = time.perf_counter() - begin
        stretch = {"start": record.start, "stop": record.stop, "left_out": record.left_out}
        wide, narrow = (count_matches(found, record.beats, tolerance, **stretch) for tolerance in TOLERANCES)
        wrong = wide.false_positives + wide.false_negatives
        words = f"{record.ecg.record_id} (+{wide.false_positives} -{wide.false_negatives})"
        rows.append((record.patient, record.tuning, wide, narrow, seconds, wrong, words))
    columns = ["patient", "tuning", "wide", "narrow", "seconds", "wrong", "words"]
    return pd.DataFrame(rows, columns=columns) if rows else None


def print_rows(name: str, method: str, scored: pd.DataFrame) -> None:
    parts = {"all": scored, "tuning": scored[scored["tuning"]], "rest": scored[~scored["tuning"]]}
    for part, rows in parts.items():
        if len(rows) == 0 or (part != "all" and (method != "all_leads" or len(rows) == len(scored))):
            continue
        wide, narrow = (figures(rows[which].tolist(), rows["patient"].tolist()) for which in ("wide", "narrow"))
        n = wide.loc["f1"]
        error = f"{1000 * wide.loc['error_mean', 'value']:.1f}, {1000 * wide.loc['error_sd', 'value']:.1f}"
        cells = [name, part, method, f"{n['n_records']} / {n['n_patients']} / {n['n']}"]
        cells += [words(wide, "sensitivity"), words(wide, "ppv"), words(wide, "f1"), words(narrow, "f1"), error]
        print("| " + " | ".join([*cells, f"{1000 * rows['seconds'].median():.1f}"]) + " |", flush=True)


def figures(matches: list[Matches], patients: list[str]) -> pd.DataFrame:
    return event_scores(matches, patients).set_index("metric")


def words(table: pd.DataFrame, metric: str) -> str:
    row = table.loc[metric]
    return f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"


def ptbxl(root: Path) -> Iterator[Marked]:
    cohort = load_ptbxl(root / "ptbxl", keep_unlabelled=True)
    marks = pd.read_csv(root / "ptbxl" / "r-peaks.csv", index_col="ecg_id")["r_peaks"]
    for i in range(len(cohort)):
        ecg, row = cohort[i], cohort.metadata.iloc[i]
        beats = np.array(re.findall(r"\d+", marks[int(ecg.record_id)]), float) / 100
        yield Marked(ecg, beats, str(row["patient_id"]), row["fold"] <= 8, *PTBXL_STRETCH)


def mitdb(root: Path) -> Iterator[Marked]:
    headers = sorted((root / "mitdb").glob("*.hea"))
    people = list(dict.fromkeys(person(path.stem) for path in headers))
    for path in headers:
        ecg, marks = read(path), read_marks(path.with_suffix(".atr"))
        at, symbols = np.asarray(marks.sample) / ecg.fs, np.array(marks.symbol)
        flutter = tuple(zip(at[symbols == "["], at[symbols == "]"], strict=True))  # EC57: beats are not scored there
        beats = at[[symbol in BEATS for symbol in symbols]]
        who = person(path.stem)
        yield Marked(ecg, beats, who, people.index(who) % 2 == 0, EC57_LEARNING, ecg.duration, flutter)


def person(record: str) -> str:
    return "201" if record == "202" else record  # one man


def ludb(root: Path) -> Iterator[Marked]:
    """Yield the records; a beat is the median over leads of its hand-made QRS peaks, between the first and the last."""
    for path in sorted((root / "ludb" / "data").glob("*.hea")):
        ecg = read(path)
        per_lead = [peaks(path, lead.lower(), ecg.fs) for lead in ecg.leads]
        every = np.sort(np.concatenate(per_lead))
        groups = np.split(every, np.flatnonzero(np.diff(every) > 0.12) + 1)
        beats = np.array([np.median(group) for group in groups if len(group) > len(per_lead) / 2])
        yield Marked(ecg, beats, path.stem, False, beats[0] - 0.15, beats[-1] + 0.15)


def peaks(path: Path, lead: str, fs: float) -> np.ndarray:
    marks = read_marks(path.with_suffix(f".{lead}"))
    return np.asarray(marks.sample)[np.array(marks.symbol) == "N"] / fs


def xqrs(ecg: ECG) -> np.ndarray:
    found = xqrs_detect(ecg["II"].astype(np.float64), ecg.fs, verbose=False)
    return np.unique(np.asarray(found, float)) / ecg.fs


def neurokit(ecg: ECG) -> np.ndarray:
    import neurokit2

    clean = neurokit2.ecg_clean(ecg["II"].astype(np.float64), sampling_rate=int(ecg.fs))
    found = neurokit2.ecg_peaks(clean, sampling_rate=int(ecg.fs))[1]["ECG_R_Peaks"]
    return np.unique(np.asarray(found, float)) / ecg.fs


METHODS: dict[str, Callable[[ECG], np.ndarray]] = {
    "all_leads": lambda ecg: detect_r_peaks(ecg).times,
    "pan_tompkins": lambda ecg: detect_r_peaks(ecg, "pan_tompkins").times,
    "wfdb xqrs": xqrs,
}
if find_spec("neurokit2"):
    METHODS["neurokit2"] = neurokit
SLOW = ("wfdb xqrs", "neurokit2")
SETS: dict[str, Callable[[Path], Iterator[Marked]]] = {"ptbxl": ptbxl, "mitdb": mitdb, "ludb": ludb}

if __name__ == "__main__":
    main()
