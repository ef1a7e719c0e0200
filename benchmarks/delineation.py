# SPDX-License-Identifier: Apache-2.0
"""Onsets and offsets of P, QRS and T against hand-made marks (LUDB): ecglens by cross-validation, neurokit2 beside it.

    python benchmarks/delineation.py --data LUDB --networks runs/delineator [--peer PYTHON] [--out FILE]

Every record of LUDB is another person. Each is delineated by the network that was trained without it
(`recipes/delineator.py`, folds 0 to 4). `--peer` names a Python that has neurokit2; its marks are made lead by lead by
`dwt` and `prominence` and scored by the same rules. Writes benchmarks/delineation.json; docs/tables.py lays it out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score, roc_auc_score

from ecglens import ECG, Fiducials, load_ludb, read
from ecglens.formats.annotations import BEATS, read_marks
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.files import write_json
from ecglens.segments import SEGMENTS
from ecglens.simulation import CONDITIONS, Simulated, segment_samples, simulate_ecg
from ecglens.statistics.matching import Matches, count_matches, event_scores
from ecglens.waveform.delineate import delineate_all
from ecglens.waveform.soft_segments import SEGMENT_RATE, map_segments
from ecglens.waveform.wave_map import BATCH

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
from delineator import FOLDS, fold_of, load_network

TARGET = Path(__file__).with_suffix(".json")
MARKED = ("P_onset", "P_offset", "QRS_onset", "QRS_offset", "T_onset", "T_offset")
SYMBOLS = {"p": "P", "t": "T"} | dict.fromkeys(BEATS, "QRS")
HALF = 0.2  # s around the peak of a wave that was marked in part
TOLERANCES = (0.15, 0.04, 0.02)  # s
SIMULATED_RATES = {"45 to 100 a minute": (45.0, 100.0), "100 to 140 a minute": (100.0, 140.0)}
RHYTHMS = {"Sinus": "sinus", "Atrial fibrillation": "fibrillation", "Atrial flutter": "flutter"}

Marks = dict[tuple[str, str], np.ndarray]  # (lead, mark) -> times in s


def main() -> None:
    """Delineate, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of LUDB")
    parser.add_argument("--networks", type=Path, required=True, help="what recipes/delineator.py wrote")
    parser.add_argument("--peer", help="a Python with neurokit2, or what it answered before (.json)")
    parser.add_argument("--simulated", type=int, default=36, help="simulated ECGs, slow and fast ones each")
    parser.add_argument("--out", type=Path, default=TARGET)
    asked = parser.parse_args()
    paths = sorted((asked.data / "data").glob("*.hea"), key=lambda p: int(p.stem))
    ecgs = [read(path) for path in paths]
    truth = [hand_made(path, ecg) for path, ecg in zip(paths, ecgs, strict=True)]
    found, cpu_ms = {"ecglens": ours(ecgs, asked.networks)}, {"ecglens": our_time(ecgs)}
    if asked.peer:
        marks, times = theirs(ecgs, asked.peer)
        found, cpu_ms = found | marks, cpu_ms | times
    groups = rhythms(asked.data, [ecg.record_id for ecg in ecgs])
    made = {name: simulated(asked.simulated, rates) for name, rates in SIMULATED_RATES.items()}
    found_24 = {name: segments_of(ecgs_of) for name, ecgs_of in made.items()}
    exact = against_exact([one for ecgs_of in made.values() for one in ecgs_of])
    rows = [row for method, marks in found.items() for row in score(method, marks, truth, groups)]
    facts = {"n_records": len(ecgs), "n_patients": len(ecgs), "cpu_ms": cpu_ms}
    write_json(asked.out, facts | {"segments": found_24, "simulated": exact, "rows": rows})
    show(rows)


# ---------------------------------------------------------------------------------------------------------------- marks


def hand_made(path: Path, ecg: ECG) -> Marks:
    """Return LUDB's marks of one record.

    A wave without onset or offset gives the one it has; its peak stands under "half", since nobody can be wrong there.
    """
    marks: dict[tuple[str, str], list[float]] = {(lead, mark): [] for lead in ecg.leads for mark in MARKED}
    for lead in ecg.leads:
        notes = read_marks(path.with_suffix(f".{lead.lower()}"))
        at, symbols = notes.sample / ecg.fs, notes.symbol
        for k, symbol in enumerate(symbols):
            if symbol in SYMBOLS:
                wave = SYMBOLS[symbol]
                if k and symbols[k - 1] == "(":
                    marks[lead, f"{wave}_onset"].append(at[k - 1])
                else:
                    marks.setdefault((lead, f"{wave}_onset half"), []).append(at[k])
                if symbols[k + 1 : k + 2] == (")",):
                    marks[lead, f"{wave}_offset"].append(at[k + 1])
                else:
                    marks.setdefault((lead, f"{wave}_offset half"), []).append(at[k])
    return {key: np.array(times) for key, times in marks.items()}


def ours(ecgs: list[ECG], networks: Path) -> list[Marks]:
    found: dict[str, Marks] = {}
    for fold in range(FOLDS):
        mine = [ecg for ecg in ecgs if fold_of([e.record_id for e in ecgs])[ecg.record_id] == fold]
        network = load_network(networks / f"fold-{fold}.safetensors")
        for ecg, marks in zip(mine, delineate_all(mine, network=network), strict=True):
            found[ecg.record_id] = by_lead(marks)
    return [found[ecg.record_id] for ecg in ecgs]


def our_time(ecgs: list[ECG]) -> float:
    """Return the CPU time of one record in ms: the median over batches, one thread."""
    torch.set_num_threads(1)
    list(delineate_all(ecgs[:BATCH]))  # the network is read once
    spent = []
    for first in range(0, len(ecgs) - BATCH + 1, BATCH):
        begin = time.process_time()
        list(delineate_all(ecgs[first : first + BATCH]))
        spent.append(1000 * (time.process_time() - begin) / BATCH)
    return float(np.median(spent))


def by_lead(fiducials: Fiducials) -> Marks:
    times = {(lead, mark): fiducials[lead, mark] for lead in fiducials.leads for mark in MARKED}
    return {key: np.sort(values[~np.isnan(values)]) for key, values in times.items()}


PEER = """
import sys, json, time, warnings
import numpy as np, neurokit2 as nk
warnings.simplefilter("ignore")
held = np.load(sys.argv[1]); out = {}; seconds = {}
for method in ("dwt", "prominence"):
    out[method] = []; seconds[method] = []
    for k in range(len(held.files)):
        marks = {}; begin = time.process_time()
        for row, signal in enumerate(held[f"r{k}"]):
            try:
                clean = nk.ecg_clean(signal, sampling_rate=500)
                peaks = nk.ecg_peaks(clean, sampling_rate=500)[1]["ECG_R_Peaks"]
                found = nk.ecg_delineate(clean, peaks, sampling_rate=500, method=method)[1]
            except Exception as error:
                found = {}
            for wave, name in (("P", "P"), ("R", "QRS"), ("T", "T")):
                for side in ("onset", "offset"):
                    at = np.array(found.get(f"ECG_{wave}_{side.capitalize()}s", []), float)
                    marks[f"{row} {name}_{side}"] = sorted((at[~np.isnan(at)] / 500).tolist())
        out[method].append(marks); seconds[method].append(time.process_time() - begin)
json.dump({"version": nk.__version__, "marks": out, "seconds": seconds}, open(sys.argv[2], "w"))
"""


def theirs(ecgs: list[ECG], python: str) -> tuple[dict[str, list[Marks]], dict[str, float]]:
    """Return neurokit2's marks, made in a Python of its own, and its CPU time a record in ms."""
    if python.endswith(".json"):
        answer = json.loads(Path(python).read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            sent, got = Path(folder) / "signals.npz", Path(folder) / "marks.json"
            np.savez(sent, **{f"r{k}": np.nan_to_num(ecg.signal).astype(float) for k, ecg in enumerate(ecgs)})
            subprocess.run([python, "-c", PEER, str(sent), str(got)], check=True)
            answer = json.loads(got.read_text())
    names = {method: f"neurokit2 {answer['version']} {method}" for method in answer["marks"]}
    marks = {
        names[method]: [
            {(ecgs[k].leads[int(key.split()[0])], key.split()[1]): np.array(at) for key, at in marks.items()}
            for k, marks in enumerate(records)
        ]
        for method, records in answer["marks"].items()
    }
    return marks, {names[method]: 1000 * float(np.median(spent)) for method, spent in answer["seconds"].items()}


def rhythms(root: Path, ids: list[str]) -> dict[str, list[str]]:
    """Return the records by rhythm, and apart from it those that are paced."""
    cohort = load_ludb(root)
    table = cohort.labels.loc[ids]
    groups = {
        name: table.index[table.filter(regex=f"^{key}").max(axis=1) == 1].tolist() for key, name in RHYTHMS.items()
    }
    return {"all": ids} | groups


# ------------------------------------------------------------------------------------------------ 24 simulated segments


def simulated(n: int, rates: tuple[float, float]) -> list[Simulated]:
    """Return simulated ECGs that training did not see, of each condition, at rates between these two."""
    conditions, rng = list(CONDITIONS), np.random.default_rng(7)
    return [
        simulate_ecg(f"test-{k}", conditions[k % len(conditions)], seed=1, rate=float(rng.uniform(*rates)))
        for k in range(n)
    ]


def against_exact(made: list[Simulated]) -> list[dict]:
    """Return the figures of each mark against the exact ones; each simulated ECG is another person."""
    found = [by_lead(marks) for one in made for marks in delineate_all([one.ecg])]
    exact = [by_lead(one.fiducials) for one in made]
    ids = [one.ecg.record_id + str(k) for k, one in enumerate(made)]
    rows = []
    for mark in MARKED:
        pairs = [joined(matches(f, e, mark, TOLERANCES[0]).values()) for f, e in zip(found, exact, strict=True)]
        rows.append(figures("ecglens, simulated", mark, TOLERANCES[0], "all", "all", pairs, ids))
    return rows


def segments_of(made: list[Simulated]) -> dict[str, float | int | dict[str, float]]:
    """Return accuracy and AUC of the 24 classes against exact ones at 100 Hz, over 2 to 8 s of each ECG."""
    truth, soft = [], []
    for one in made:
        labels = segment_samples(one.fiducials, np.arange(1000) / SEGMENT_RATE)[:, 200:800]
        found = map_segments(one.ecg, SEGMENT_RATE)[:, 200:800]
        known = (labels >= 0) & (found.sum(axis=-1) > 0.5)
        truth.append(labels[known])
        soft.append(found[known])
    y, p = np.concatenate(truth), np.concatenate(soft)
    auc = {name: float(roc_auc_score(y == k, p[:, k])) for k, name in enumerate(SEGMENTS) if (y == k).any()}
    f1 = f1_score(y, p.argmax(axis=1), average="macro")
    return {"n": len(made), "samples": len(y), "accuracy": float((p.argmax(axis=1) == y).mean()),
            "macro_f1": float(f1), "macro_auc": float(np.mean(list(auc.values()))), "auc": auc}  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- figures


def score(method: str, found: list[Marks], truth: list[Marks], groups: dict[str, list[str]]) -> list[dict]:
    ids = groups["all"]
    rows = []
    for tolerance in TOLERANCES:
        for mark in MARKED:
            per_lead = [matches(f, t, mark, tolerance) for f, t in zip(found, truth, strict=True)]
            together = [joined(leads.values()) for leads in per_lead]
            for name, members in groups.items():
                chosen = [ids.index(record) for record in members]
                rows.append(figures(method, mark, tolerance, "all", name, [together[i] for i in chosen], members))
            if tolerance == TOLERANCES[0]:
                rows += [
                    figures(method, mark, tolerance, lead, "all", [leads[lead] for leads in per_lead], ids)
                    for lead in STANDARD_LEADS
                ]
    return rows


def matches(found: Marks, truth: Marks, mark: str, tolerance: float) -> dict[str, Matches]:
    """Return the pairs per lead, between the first and the last mark of that lead, half-marked waves left out."""
    out = {}
    for lead in STANDARD_LEADS:
        every = np.concatenate([truth[lead, name] for name in MARKED])
        half = [(peak - HALF, peak + HALF) for peak in truth.get((lead, f"{mark} half"), [])]
        out[lead] = count_matches(
            found.get((lead, mark), []), truth[lead, mark], tolerance,
            start=every.min() - 1e-3, stop=every.max() + 1e-3, left_out=half,
        )  # fmt: skip
    return out


def joined(parts: Iterable[Matches]) -> Matches:
    parts = list(parts)
    return Matches(
        np.concatenate([part.errors for part in parts]),
        sum(part.false_positives for part in parts),
        sum(part.false_negatives for part in parts),
    )


def figures(
    method: str, mark: str, tolerance: float, lead: str, rhythm: str, found: list[Matches], ids: list[str]
) -> dict:
    table = event_scores(found, ids, n_resamples=1000 if lead == "all" else 200).set_index("metric")
    row = {"method": method, "mark": mark, "tolerance": tolerance, "lead": lead, "rhythm": rhythm,
           "n": int(table["n"].iloc[0]), "n_patients": len(ids)}  # fmt: skip
    for metric in table.index:
        value = table.loc[metric, ["value", "low", "high"]].astype(float)
        row[metric] = [None if np.isnan(v) else round(v, 5) for v in value]
    return row


def show(rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    wanted = table[(table["lead"] == "all") & (table["rhythm"] == "all")]
    for row in wanted.to_dict("records"):
        words = " ".join(f"{m} {row[m][0]:.4f}" for m in ("f1", "sensitivity", "ppv"))
        print(f"{row['method']:20} {row['mark']:10} {row['tolerance']:.2f} {words} "
              f"{1000 * row['error_mean'][0]:+.1f} ({1000 * row['error_sd'][0]:.1f}) ms")  # fmt: skip


if __name__ == "__main__":
    main()
