# SPDX-License-Identifier: Apache-2.0
"""The 24 segments of xai4ecg on real ECGs, against ecgdeli's marks, as Wagner et al. do (their Table 2).

    python benchmarks/segments.py --data PTBXL --peer PYTHON [--records 200]

`--peer` names a Python that has ecgdeli (GPL, never imported here). Its marks are no truth: what is measured is how
far two delineators agree. Records of fold 10, central 6 s at 100 Hz, tachycardia apart. Writes
benchmarks/segments.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from ecglens import ECG, Fiducials, detect_r_peaks, load_ptbxl
from ecglens.fiducials import MARKS, WAVES
from ecglens.runs.files import write_json
from ecglens.segments import SEGMENTS
from ecglens.simulation import segment_samples
from ecglens.waveform.soft_segments import SEGMENT_RATE, map_segments

TARGET = Path(__file__).with_suffix(".json")
FAST = 100.0  # beats a minute
COLUMNS = ("P_on", "P_peak", "P_off", "QRS_on", "Q", "R", "S", "QRS_off", "T_on", "T_peak", "T_off")  # as MARKS

PEER = """
import json, sys, warnings
import numpy as np, ecgdeli
warnings.simplefilter("ignore")
held, columns, out = np.load(sys.argv[1]), sys.argv[3].split(","), []
for k in range(len(held.files)):
    try:
        tables = ecgdeli.annotate(ecgdeli.filter_ecg(held[f"r{k}"].T, 500.0), 500.0).leads
    except Exception as error:
        tables = []
    rows = []
    for table in tables:
        positions = table.positions[:, [ecgdeli.FPT_COLUMNS.index(c) for c in columns]].astype(float)
        positions[table.positions[:, [ecgdeli.FPT_COLUMNS.index(c) for c in columns]] == ecgdeli.MISSING] = np.nan
        rows.append([[None if np.isnan(v) else v / 500 for v in beat] for beat in positions])
    out.append(rows)
json.dump(out, open(sys.argv[2], "w"))
"""


def main() -> None:
    """Mark with ecgdeli, segment with ours, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of PTB-XL")
    parser.add_argument("--peer", required=True, help="a Python with ecgdeli")
    parser.add_argument("--records", type=int, default=200)
    asked = parser.parse_args()
    cohort = load_ptbxl(asked.data).where(fold=10)
    ecgs = [cohort[k] for k in range(min(asked.records, len(cohort)))]
    pairs = [
        (ecg, marks) for ecg, rows in zip(ecgs, theirs(ecgs, asked.peer), strict=True) if (marks := marks_of(ecg, rows))
    ]
    fast = [(ecg, marks) for ecg, marks in pairs if rate(ecg) >= FAST]
    slow = [(ecg, marks) for ecg, marks in pairs if rate(ecg) < FAST]
    facts = {"below 100 a minute": agreement(slow), "100 a minute and more": agreement(fast)}
    write_json(TARGET, {"asked": len(ecgs), "not marked by ecgdeli": len(ecgs) - len(pairs), "segments": facts})
    for name, found in facts.items():
        print(name, {key: value for key, value in found.items() if key != "auc"})


def theirs(ecgs: list[ECG], python: str) -> list[list]:
    """Return ecgdeli's marks [record][lead][beat][mark], in s, None where absent."""
    with tempfile.TemporaryDirectory() as folder:
        sent, got = Path(folder) / "signals.npz", Path(folder) / "marks.json"
        np.savez(sent, **{f"r{k}": np.nan_to_num(ecg.signal).astype(float) for k, ecg in enumerate(ecgs)})
        subprocess.run([python, "-c", PEER, str(sent), str(got), ",".join(COLUMNS)], check=True)
        found: list[list] = json.loads(got.read_text())
    return found


def marks_of(ecg: ECG, rows: list) -> Fiducials | None:
    """Return the marks of one record; a beat whose marks are out of order is left out. None without beats."""
    times = np.array(rows, dtype=float) if rows and rows[0] else np.empty((0, 0, len(MARKS)))
    if not times.size:
        return None
    latest = np.fmax.accumulate(times, axis=2)
    times[(times[:, :, 1:] < latest[:, :, :-1]).any(axis=2)] = np.nan
    absent = {(lead, None, wave): "ecgdeli marks none" for lead in ecg.leads for wave in WAVES}
    return Fiducials(times, ecg.leads, "ecgdeli", absent=absent)


def rate(ecg: ECG) -> float:
    """Return beats a minute, 0 where there are fewer than two."""
    times = detect_r_peaks(ecg).times
    return 60.0 / float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def agreement(pairs: list[tuple[ECG, Fiducials]]) -> dict:
    """Return accuracy, F1 and AUC of the 24 classes where both say something, over 2 to 8 s."""
    truth, soft = [], []
    for ecg, marks in pairs:
        labels = segment_samples(marks, np.arange(1000) / SEGMENT_RATE)[:, 200:800]
        found = map_segments(ecg, SEGMENT_RATE)[:, 200:800]
        known = (labels >= 0) & (found.sum(axis=-1) > 0.5)
        truth.append(labels[known])
        soft.append(found[known])
    y, p = np.concatenate(truth), np.concatenate(soft)
    auc = {name: float(roc_auc_score(y == k, p[:, k])) for k, name in enumerate(SEGMENTS) if (y == k).any()}
    return {"n": len(pairs), "samples": len(y), "accuracy": float((p.argmax(axis=1) == y).mean()),
            "macro_f1": float(f1_score(y, p.argmax(axis=1), average="macro")),
            "macro_auc": float(np.mean(list(auc.values()))), "auc": auc}  # fmt: skip


if __name__ == "__main__":
    main()
