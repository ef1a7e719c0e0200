# SPDX-License-Identifier: Apache-2.0
"""Is the simulator right, and how far is it from real ECGs? Writes benchmarks/simulator.json.

    python benchmarks/simulator.py --data ptbxl/ [--quick] [--figures FOLDER] [--only speed rules ...]

Rules, algebra and masks need no data. The comparison with normal ECGs, the transfer figures and the discriminator need
a copy of PTB-XL. About ten minutes on two cores; `--quick` takes a tenth of everything and writes nothing.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecglens import evaluate, load_cohort, recipe_for, simulate_cohort, simulate_ecg, train
from ecglens.cohort import Cohort
from ecglens.datasets.simulated import write_simulated
from ecglens.ecg import ECG
from ecglens.leads import STANDARD_LEADS, limb_residual
from ecglens.runs.files import read_json, write_json
from ecglens.simulation import CONDITIONS, rules_met
from ecglens.simulation.rules import Measurements
from ecglens.statistics.metrics import auroc

RESULTS = Path(__file__).with_name("simulator.json")
# Upper (or lower and upper) limits of adults. Rijnbeek et al. 2014 and Palhares et al. 2017 for intervals; AHA/ACCF/HRS
# parts III to V 2009 for axis, QT and amplitudes; Sokolow & Lyon 1949 for V5 and V6; Morris et al. 1964 for P in V1.
LIMITS = {
    "rate": (45.0, 100.0), "pr": (120.0, 200.0), "p_ms": (60.0, 130.0), "qrs": (70.0, 120.0), "qtc": (350.0, 460.0),
    "axis": (-30.0, 90.0), "P II": (0.0, 0.25), "R I": (0.0, 1.5), "R aVL": (0.0, 1.1), "R V1": (0.0, 0.7),
    "R V5": (0.0, 2.6), "R V6": (0.0, 2.6), "S V1": (0.0, 2.4), "sokolow": (0.0, 3.5), "T V2": (-0.1, 1.2),
    "T V5": (0.0, 1.0), "p_force": (0.0, 0.004),
}  # fmt: skip
TITLES = {"rate": "rate, per minute", "rr_cv": "spread of RR / RR"}


def rule_shares(n: int) -> dict[str, Any]:
    """Return per condition how many of n people meet its own rule, and any other."""
    found = {}
    for name in CONDITIONS:
        met = [rules_met(simulate_ecg(f"r{i}", name, noise=None, fs=100.0, seed=99).measurements()) for i in range(n)]
        own = np.mean([not m if name == "NORM" else name in m for m in met])
        others = [other for m in met for other in m if other != name]
        most = max(set(others), key=others.count) if others else ""
        found[name] = {"n": n, "own": float(own), "most_common_other": most, "share": others.count(most) / n}
        print(f"{name:6} {own:.3f}  other: {most} {others.count(most) / n:.2f}", flush=True)
    return found


def algebra(n: int) -> dict[str, Any]:
    """Return the worst residual of the limb laws before noise, and evidence outside the lead of planted lesions."""
    worst, stray = 0.0, 0.0
    for i in range(n):
        clean = simulate_ecg(f"r{i}", tuple(CONDITIONS)[i % len(CONDITIONS)], seed=5).clean
        i_, ii, iii, avr, avl, avf = clean[:6]
        laws = [i_ + iii - ii, avr + avl + avf, avr + (i_ + ii) / 2, avl - (i_ - iii) / 2, avf - (ii + iii) / 2]
        worst = max(worst, float(np.abs(laws).max()))
        planted = simulate_ecg(f"r{i}", ("IMI", "CLBBB", "LVH", "STD")[i % 4], mode="planted", lead="V2", seed=5)
        stray = max(stray, float(np.delete(planted.evidence.weight, STANDARD_LEADS.index("V2"), axis=0).max()))
        assert limb_residual(planted.ecg.signal, planted.ecg.leads) < 1e-5
    return {"n": n, "einthoven_mv": worst, "planted_elsewhere_mv": stray}


def normals(n: int) -> dict[str, Any]:
    """Return exact measurements of n normal people beside published limits: percentiles and the share inside."""
    rows = []
    for i in range(n):
        m = simulate_ecg(f"n{i}", "NORM", noise=None, fs=100.0, seed=7).measurements()
        rows.append(_figures(m))
    table = {}
    for name, (low, high) in LIMITS.items():
        values = np.array([row[name] for row in rows])
        table[name] = {
            "limits": [low, high],
            "percentiles": np.round(np.percentile(values, [2, 25, 50, 75, 98]), 4).tolist(),
            "inside": float(np.mean((values >= low) & (values <= high))),
        }
    return {"n": n, "table": table}


def _figures(m: Measurements) -> dict[str, float]:
    values = {"rate": 60000 / m.rr.mean(), "qtc": m.qt / np.cbrt(m.rr.mean() / 1000), "p_force": m.p_force}
    values |= {name: getattr(m, name) for name in ("pr", "p_ms", "qrs", "axis")}
    for k, lead in enumerate(STANDARD_LEADS):
        values |= {f"R {lead}": m.r_mv[k], f"S {lead}": m.s_mv[k], f"T {lead}": m.t_mv[k], f"P {lead}": m.p_mv[k]}
    return values | {"sokolow": values["S V1"] + max(values["R V5"], values["R V6"])}


def measure(ecg: ECG) -> dict[str, float] | None:
    """Measure a noisy ECG plainly, real and simulated alike: median beat, its largest, smallest and T in each lead."""
    signal = np.nan_to_num(ecg.signal.astype(float))
    band = sosfiltfilt(butter(2, (5, 25), "bandpass", fs=500, output="sos"), signal, axis=1)
    power = np.convolve(np.sqrt((band**2).sum(axis=0)), np.ones(25) / 25, "same")
    peaks, _ = find_peaks(power, distance=150, height=0.35 * np.percentile(power, 99))
    rr = np.diff(peaks) / 500
    peaks = peaks[(peaks > 200) & (peaks < signal.shape[1] - 250)]
    if len(peaks) < 4:
        return None
    beats = np.stack([signal[:, p - 150 : p + 250] for p in peaks])
    beat = np.median(beats - np.median(beats, axis=2, keepdims=True), axis=0)
    beat -= np.median(beat[:, 100:115], axis=1, keepdims=True)  # before QRS
    qrs, t, p = beat[:, 110:195], beat[:, 205:350], beat[:, 40:115]
    late = np.take_along_axis(t, np.abs(t).argmax(axis=1)[:, None], axis=1)[:, 0]
    values = {"rate": 60 / rr.mean(), "rr_cv": rr.std() / rr.mean()}
    for k, lead in enumerate(STANDARD_LEADS):
        values |= {f"R {lead}": qrs[k].max(), f"S {lead}": -qrs[k].min(), f"T {lead}": late[k], f"P {lead}": p[k].max()}
    return values


def side_by_side(real: Cohort, made: Cohort, figures: Path | None) -> list[dict[str, Any]]:
    """Return 2nd, 50th and 98th percentiles of real and simulated normal ECGs, and how well they overlap."""
    one, two = ([m for ecg in _readable(c) if (m := measure(ecg))] for c in (real, made))
    rows = []
    for name in one[0]:
        a, b = np.array([m[name] for m in one]), np.array([m[name] for m in two])
        edges = np.linspace(*np.percentile(np.r_[a, b], [0.5, 99.5]), 21)
        shares = [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (a, b)]
        rows.append({
            "what": name, "real": np.round(np.percentile(a, [2, 50, 98]), 3).tolist(),
            "simulated": np.round(np.percentile(b, [2, 50, 98]), 3).tolist(),
            "overlap": float(np.minimum(*shares).sum()), "n": [len(a), len(b)],
        })  # fmt: skip
    if figures is not None:
        _draw(one, two, figures)
    return rows


def _readable(cohort: Cohort) -> Iterable[ECG]:
    for ecg in cohort:
        if np.isfinite(ecg.signal).all() and np.abs(ecg.signal).max() < 10:
            yield ecg


def _draw(real: Sequence[dict[str, float]], made: Sequence[dict[str, float]], folder: Path) -> None:
    from ecglens.plotting.style import ecglens_style, new_figure

    names = ["rate", "rr_cv", "R I", "R II", "R V1", "R V2", "R V4", "R V5", "S V1", "S V2", "S V4", "T II", "T V2",
             "T V3", "T V5", "P II"]  # fmt: skip
    with ecglens_style():
        figure = new_figure(180, 150)
        for k, name in enumerate(names):
            axes = figure.add_subplot(4, 4, k + 1)
            a, b = ([m[name] for m in group] for group in (real, made))
            edges = np.linspace(*np.percentile([*a, *b], [0.5, 99.5]), 30)
            axes.hist(a, edges, density=True, color="#0072B2", alpha=0.45, label=f"PTB-XL, {len(a)}")
            axes.hist(b, edges, density=True, histtype="step", color="#D55E00", lw=1.3, label=f"simulated, {len(b)}")
            axes.set_title(TITLES.get(name, f"{name}, mV"), size=8)
            axes.set_yticks([])
            axes.tick_params(labelsize=7)
        figure.axes[1].legend(fontsize=6, frameon=False, loc="upper right")  # where there is room
        figure.tight_layout()
        figure.savefig(folder / "simulator-normals.png", dpi=110)


def transfer(trained_on: str, worlds: Mapping[str, Cohort], epochs: int) -> dict[str, Any]:
    """Return AUROC per class of a network trained on one world, tested on fold 10 of each."""
    recipe, found = replace(recipe_for("lenet"), epochs=epochs), {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = train(worlds[trained_on], recipe, Path(folder) / "run").bundle
        for where, cohort in worlds.items():
            told = evaluate(bundle, cohort.where(fold=10)).as_dict()
            per = {c: told["per_class"][c]["auroc"] for c in told["per_class"]} | {"macro": told["macro_auroc"]}
            found[f"{trained_on} on {where}"] = {c: {k: f[k] for k in ("value", "low", "high")} for c, f in per.items()}
            print(f"{trained_on} on {where}: macro {told['macro_auroc']['value']:.3f}", flush=True)
    return found


def discriminator(real: Cohort, made: Cohort) -> dict[str, Any]:
    """Return how well plain statistics of the signal tell real from simulated normal ECGs (AUROC; 0.5 would be not).

    The statistics are per lead the standard deviation of six bands of frequency and the amplitudes of `measure`; the
    judge is a forest of trees, trained on folds 1 to 8 and tested on fold 10.
    """
    from sklearn.ensemble import RandomForestClassifier

    parts = []
    for cohort, truth in ((real, 0), (made, 1)):
        for k, fold in enumerate(cohort.metadata["fold"]):
            ecg = cohort[k]
            values = measure(ecg) if np.abs(np.nan_to_num(ecg.signal)).max() < 10 else None
            if values is not None:
                parts.append((int(fold), truth, [*values.values()], _bands(ecg)))
    fold, truth = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    found = {}
    for what, column in (("amplitudes", 2), ("frequency bands", 3)):
        x = np.array([p[column] for p in parts])
        forest = RandomForestClassifier(200, random_state=0, min_samples_leaf=3).fit(x[fold <= 8], truth[fold <= 8])
        score = forest.predict_proba(x[fold == 10])[:, 1]
        found[what] = {"auroc": float(auroc(truth[fold == 10].astype(float), score)), "n": int((fold == 10).sum())}
    print(found, flush=True)
    return found


def _bands(ecg: ECG) -> list[float]:
    spectrum = np.abs(np.fft.rfft(np.nan_to_num(ecg.signal.astype(float)), axis=1)) ** 2
    hertz = np.fft.rfftfreq(ecg.n_samples, 1 / ecg.fs)
    edges = (0.05, 0.5, 2.0, 8.0, 20.0, 45.0, 100.0)
    bands = [spectrum[:, (hertz >= a) & (hertz < b)].sum(axis=1) for a, b in pairwise(edges)]
    return np.log10(np.stack(bands) + 1e-12).ravel().tolist()


def speed(n: int) -> dict[str, Any]:
    """Return how long writing n records of 10 s at 500 Hz with their truth takes, by two processes.

    The seconds of a processor do not depend on what else the machine does; half of them is what two idle cores take.
    """
    with tempfile.TemporaryDirectory() as folder:
        began, busy = time.perf_counter(), _processor()
        write_simulated(simulate_cohort(n), Path(folder) / "made", workers=2)
        return {"n": n, "seconds": time.perf_counter() - began, "processor_seconds": _processor() - busy}


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def parts(data: Path | None, figures: Path | None, share: int) -> dict[str, Callable[[], Any]]:
    """Return what can be measured, by its name; `share` is by how much to divide all numbers."""
    found: dict[str, Callable[[], Any]] = {
        "speed": lambda: speed(1000 // share),
        "algebra": lambda: algebra(200 // share),
        "rules": lambda: rule_shares(100 // share),
        "normals": lambda: normals(2000 // share),
    }
    if data is None:
        return found
    ptbxl = load_cohort(data)
    real = ptbxl.where((ptbxl.labels["NORM"] == 1).to_numpy())
    made = simulate_cohort(1200 // share, classes=("NORM",), seed=11)
    taught = simulate_cohort(2000 // share, severity=(0.3, 1.0), comorbidity=0.2, seed=12)
    worlds, epochs = {"simulated": taught, "real": ptbxl}, 4 if share > 1 else 10
    return found | {
        "side_by_side": lambda: side_by_side(real, made, figures),
        "discriminator": lambda: discriminator(real, made),
        "transfer_simulated": lambda: transfer("simulated", worlds, epochs),
        "transfer_real": lambda: transfer("real", worlds, epochs),
    }


def main() -> None:
    """Measure, print, and write each part as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of PTB-XL")
    parser.add_argument("--figures", type=Path, help="folder for pictures")
    parser.add_argument("--only", nargs="*", help="parts to measure anew; default: all")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    for name, measured in parts(asked.data, asked.figures, 10 if asked.quick else 1).items():
        if asked.only is None or name in asked.only:
            found = {name: measured()}
            print(f"{name} done", flush=True)
            if not asked.quick:
                write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | found)


if __name__ == "__main__":
    main()
