# SPDX-License-Identifier: Apache-2.0
"""Onsets and offsets of P, QRS and T against hand-made marks (LUDB): ecglens by cross-validation, others beside it.

    python benchmarks/delineation.py --data LUDB --networks runs/delineator [--peer PYTHON] [--out FILE]

Every record of LUDB is another person. Each is delineated by the network that was trained without it
(`recipes/delineator.py`, folds 0 to 4). `--peer` names a Python that has neurokit2 (`dwt` and `prominence`, lead by
lead) or ecgdeli (all leads); their marks are scored by the same rules. Writes benchmarks/delineation.json, which
docs/tables.py lays out, and the picture of the errors to `--figures`.
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
from matplotlib.figure import Figure
from segments import agreement

from ecglens import ECG, Fiducials, load_ludb, read
from ecglens.formats.annotations import BEATS, read_marks
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.style import INK, OKABE_ITO, ecglens_style, figure_bytes
from ecglens.runs.files import write_bytes, write_json
from ecglens.simulation import CONDITIONS, Simulated, simulate_ecg
from ecglens.statistics.matching import Matches, count_matches, event_scores
from ecglens.waveform.delineate import delineate_all
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

# What CSE's readers differed by (CSE Working Party, Eur Heart J 6 (1985) 815), in ms.
CSE = {"P_onset": 10.2, "P_offset": 12.7, "QRS_onset": 6.5, "QRS_offset": 11.6, "T_offset": 30.6}

Marks = dict[tuple[str, str], np.ndarray]  # (lead, mark) -> times in s


def main() -> None:
    """Delineate, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of LUDB")
    parser.add_argument("--networks", type=Path, required=True, help="what recipes/delineator.py wrote")
    parser.add_argument("--peer", help="a Python with neurokit2 or ecgdeli, or what it answered before (.json)")
    parser.add_argument("--simulated", type=int, default=36, help="simulated ECGs, slow and fast ones each")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--figures", type=Path, default=TARGET.parents[1] / "docs" / "_static")
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
    found_24 = {name: agreement([(one.ecg, one.fiducials) for one in ecgs_of]) for name, ecgs_of in made.items()}
    exact = against_exact([one for ecgs_of in made.values() for one in ecgs_of])
    rows = [row for method, marks in found.items() for row in score(method, marks, truth, groups)]
    facts = {"n_records": len(ecgs), "n_patients": len(ecgs), "cpu_ms": cpu_ms}
    write_json(asked.out, facts | {"segments": found_24, "simulated": exact, "rows": rows})
    write_bytes(asked.figures / "delineation-errors.png", figure_bytes(draw(rows), "png", dpi=120))
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


# Each peer runs in a Python of its own: neurokit2 (MIT) lead by lead, ecgdeli (GPL, never imported here) on all leads.
PEER = """
import sys, json, time, warnings
import numpy as np
warnings.simplefilter("ignore")
held = np.load(sys.argv[1]); marks = {}; seconds = {}

def neurokit2(method):
    def of(signals):
        for row, signal in enumerate(signals):
            try:
                clean = nk.ecg_clean(signal, sampling_rate=500)
                peaks = nk.ecg_peaks(clean, sampling_rate=500)[1]["ECG_R_Peaks"]
                found = nk.ecg_delineate(clean, peaks, sampling_rate=500, method=method)[1]
            except Exception as error:
                found = {}
            for wave, name in (("P", "P"), ("R", "QRS"), ("T", "T")):
                for side in ("onset", "offset"):
                    at = np.array(found.get(f"ECG_{wave}_{side.capitalize()}s", []), float)
                    yield f"{row} {name}_{side}", at[~np.isnan(at)]
    return of

def ecgdeli_of(signals):
    try:
        tables = deli.annotate(deli.filter_ecg(signals.T, 500.0), 500.0).leads
    except Exception as error:
        tables = []
    for row, table in enumerate(tables):
        for wave in ("P", "QRS", "T"):
            for side in ("on", "off"):
                at = table.positions[:, deli.FPT_COLUMNS.index(f"{wave}_{side}")]
                yield f"{row} {wave}_{side}set", at[at != deli.MISSING]

methods = {}
try:
    import neurokit2 as nk
    methods |= {f"neurokit2 {nk.__version__} {m}": neurokit2(m) for m in ("dwt", "prominence")}
except ImportError:
    pass
try:
    import ecgdeli as deli
    from importlib.metadata import version
    methods[f"ecgdeli {version('ecgdeli')}"] = ecgdeli_of
except ImportError:
    pass
for name, method in methods.items():
    marks[name] = []; seconds[name] = []
    for k in range(len(held.files)):
        begin = time.process_time()
        marks[name].append({key: sorted((at / 500).tolist()) for key, at in method(held[f"r{k}"])})
        seconds[name].append(time.process_time() - begin)
json.dump({"marks": marks, "seconds": seconds}, open(sys.argv[2], "w"))
"""


def theirs(ecgs: list[ECG], python: str) -> tuple[dict[str, list[Marks]], dict[str, float]]:
    """Return the peers' marks, made in a Python of their own, and their CPU time a record in ms."""
    if python.endswith(".json"):
        answer = json.loads(Path(python).read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            sent, got = Path(folder) / "signals.npz", Path(folder) / "marks.json"
            np.savez(sent, **{f"r{k}": np.nan_to_num(ecg.signal).astype(float) for k, ecg in enumerate(ecgs)})
            subprocess.run([python, "-c", PEER, str(sent), str(got)], check=True)
            answer = json.loads(got.read_text())
    marks = {
        name: [
            {(lead, mark): np.array(found.get(f"{row} {mark}", [])) for row, lead in enumerate(ecgs[k].leads)
             for mark in MARKED}
            for k, found in enumerate(records)
        ]
        for name, records in answer["marks"].items()
    }  # fmt: skip
    return marks, {name: 1000 * float(np.median(spent)) for name, spent in answer["seconds"].items()}


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


def draw(rows: list[dict]) -> Figure:
    """Draw the SD of each mark's error by method, with its interval, and the CSE tolerance as a line."""
    table = pd.DataFrame(rows)
    wanted = table[(table["lead"] == "all") & (table["rhythm"] == "all") & (table["tolerance"] == TOLERANCES[0])]
    methods, colours = list(wanted["method"].unique()), list(OKABE_ITO.values())
    with ecglens_style():
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        axes = figure.subplots()
        for k, method in enumerate(methods):
            sd = wanted[wanted["method"] == method].set_index("mark").loc[list(MARKED), "error_sd"].tolist()
            value, low, high = (1000 * np.array([row[i] for row in sd], float) for i in range(3))
            x = np.arange(len(MARKED)) + (k - (len(methods) - 1) / 2) * 0.17
            axes.errorbar(x, value, [value - low, high - value], fmt="o", color=colours[k], label=method, capsize=2)
        for k, mark in enumerate(MARKED):
            if mark in CSE:
                axes.hlines(
                    CSE[mark], k - 0.4, k + 0.4, color=INK, linewidth=1.2, label="CSE tolerance" if k == 0 else None
                )
        axes.set_xticks(range(len(MARKED)), [mark.replace("_", " ") for mark in MARKED])
        axes.set_ylim(0, None)
        axes.set_ylabel("SD of the error, ms")
        axes.legend(ncols=2, frameon=False, loc="upper left")
    return figure


def show(rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    wanted = table[(table["lead"] == "all") & (table["rhythm"] == "all")]
    for row in wanted.to_dict("records"):
        words = " ".join(f"{m} {row[m][0]:.4f}" for m in ("f1", "sensitivity", "ppv"))
        print(f"{row['method']:20} {row['mark']:10} {row['tolerance']:.2f} {words} "
              f"{1000 * row['error_mean'][0]:+.1f} ({1000 * row['error_sd'][0]:.1f}) ms")  # fmt: skip


if __name__ == "__main__":
    main()
