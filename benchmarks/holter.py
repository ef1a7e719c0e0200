# SPDX-License-Identifier: Apache-2.0
"""A day of Holter in pieces: time and memory of ten seconds out of its middle, and of a walk through the whole day.

    python benchmarks/holter.py

Writes one record of 24 h, two leads at 250 Hz in format 212 with some 100,000 beats into a temporary folder (65 MB),
and reads it with ecglens and with the wfdb package, each task in a process of its own. Printed: seconds (median of
five for the small tasks), how much memory the task took beyond what its imports take, and whether both gave the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HOURS, FS, PIECE = 24, 250, 60.0  # h, Hz, s
N = HOURS * 3600 * FS
MIDDLE = HOURS * 1800.0  # s


def write_day(folder: Path) -> tuple[Path, int]:
    """Write the record and its beats with the wfdb package; return the record and how many beats there are."""
    import wfdb

    rng = np.random.default_rng(0)
    hour = np.clip(rng.standard_normal((3600 * FS, 2)).cumsum(axis=0) % 800 - 400, -1000, 1000)
    signal = np.concatenate([np.roll(hour, 977 * k, axis=0) for k in range(HOURS)]) / 200
    wfdb.wrsamp("day", FS, ["mV", "mV"], ["MLII", "V5"], signal, fmt=["212", "212"], adc_gain=[200.0, 200.0],
                baseline=[0, 0], write_dir=str(folder))  # fmt: skip
    beats = np.cumsum(rng.integers(180, 250, size=100_500))
    beats = beats[beats < N]
    symbols = np.where(rng.random(len(beats)) < 0.03, "V", "N").tolist()
    wfdb.wrann("day", "atr", beats, symbol=symbols, write_dir=str(folder))
    return folder / "day", len(beats)


# ---------------------------------------------------------------------------------------------------------- tasks


def stretch_ours(record: Path) -> float:
    from ecglens import read

    return float(np.abs(read(record, MIDDLE, MIDDLE + 10).signal).sum(dtype=np.float64))


def stretch_wfdb(record: Path) -> float:
    import wfdb

    first = int(MIDDLE * FS)
    return float(np.abs(wfdb.rdrecord(str(record), sampfrom=first, sampto=first + 10 * FS).p_signal).sum())


def walk_ours(record: Path) -> float:
    from ecglens import read

    starts = np.arange(0, HOURS * 3600, PIECE)
    return sum(float(np.abs(read(record, t, t + PIECE).signal).sum(dtype=np.float64)) for t in starts)


def walk_wfdb(record: Path) -> float:
    import wfdb

    step = int(PIECE * FS)
    pieces = (wfdb.rdrecord(str(record), sampfrom=k, sampto=k + step).p_signal for k in range(0, N, step))
    return sum(float(np.abs(piece).sum()) for piece in pieces)


def marks_ours(record: Path) -> float:
    from ecglens import read_annotations

    return float(read_annotations(record).times.shape[1])


def marks_wfdb(record: Path) -> float:
    import wfdb

    return float(len(wfdb.rdann(str(record), "atr").sample))


def marks_walk_ours(record: Path) -> float:
    from ecglens import read_annotations

    day = read_annotations(record)
    return float(sum(day.crop(3600 * k, 3600 * (k + 1)).n_beats for k in range(HOURS)))


def marks_walk_wfdb(record: Path) -> float:
    import wfdb

    hour = 3600 * FS
    pieces = (wfdb.rdann(str(record), "atr", sampfrom=k, sampto=k + hour - 1) for k in range(0, N, hour))
    return float(sum(len(piece.sample) for piece in pieces))


TASKS: dict[str, tuple[str, int]] = {  # words, how often
    "stretch": ("10 s out of the middle", 5),
    "walk": ("the whole day, a minute at a time", 1),
    "marks": ("all beats of the day", 5),
    "marks_walk": ("the beats of each hour of the day", 1),
}


# ------------------------------------------------------------------------------------------------------- measuring


def run_task(name: str, record: Path, rounds: int) -> None:
    """Run one task in this process and print its time, the memory it took and its result."""
    work: Callable[[Path], float] = globals()[name]
    if name.endswith("_ours"):
        import ecglens.formats.delineations
        import ecglens.formats.read  # noqa: F401
    else:
        import wfdb  # noqa: F401
    before = peak_memory()
    times, found = [], 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        found = work(record)
        times.append(time.perf_counter() - began)
    print(statistics.median(times), peak_memory() - before, found)


def peak_memory() -> float:
    """Return the most memory that this process has held, in MB; what getrusage says begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def measured(name: str, record: Path, rounds: int) -> tuple[float, float, float]:
    """Return seconds, MB and result of a task in a process of its own."""
    command = [sys.executable, __file__, "--task", name, "--record", str(record), "--rounds", str(rounds)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    seconds, grown, found = map(float, told.stdout.split())
    return seconds, grown, found


def main() -> None:
    """Print one line per task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task:
        run_task(asked.task, asked.record, asked.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        record, n_beats = write_day(Path(folder))
        size = record.with_suffix(".dat").stat().st_size / 1e6
        print(f"{HOURS} h, 2 leads at {FS} Hz, format 212: {size:.0f} MB, {n_beats:,} beats\n")
        line = "{:<36} {:>10} {:>10} {:>8} {:>8}  {}"
        print(line.format("", "ecglens s", "wfdb s", "MB", "wfdb MB", "same"))
        for name, (words, rounds) in TASKS.items():
            ours, theirs = (measured(f"{name}_{whose}", record, rounds) for whose in ("ours", "wfdb"))
            same = abs(ours[2] - theirs[2]) <= 1e-6 * abs(theirs[2])
            print(line.format(words, f"{ours[0]:.4f}", f"{theirs[0]:.4f}", f"{ours[1]:.0f}", f"{theirs[1]:.0f}",
                              "yes" if same else f"NO: {ours[2]:g}, {theirs[2]:g}"))  # fmt: skip


if __name__ == "__main__":
    main()
