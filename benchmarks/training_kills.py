# SPDX-License-Identifier: Apache-2.0
"""Kill a training at random moments until it is through: python benchmarks/training_kills.py [KILLS] [LOG].

One training is left alone. Another, with the same command, is killed (SIGKILL) KILLS times, most of them up to 3 s
after it has noted another epoch, some while it starts, and gone on with by `--resume`. Both must end with the same
weights, and no epoch that was noted may be lost. The log has a line per kill.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = ("train", "--data", "simulated", "--model", "lenet", "--epochs", "60", "--no-cache", "--resume", "--out")


def start(run: Path) -> subprocess.Popen[bytes]:
    """Begin, or go on with, the training at `run`."""
    return subprocess.Popen(
        [sys.executable, "-m", "ecglens", *COMMAND, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def epochs_of(run: Path) -> int:
    """Return how many epochs the journal of a run holds."""
    journal = run / "journal.sqlite"
    if not journal.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as opened:
            return int(opened.execute("SELECT COUNT(*) FROM entries WHERE stage = 'epoch'").fetchone()[0])
    except sqlite3.OperationalError:  # killed before its table was there
        return 0


def main(kills: int = 50, log: Path | None = None) -> None:
    """Print, and write to `log`, what each kill left, and whether the weights are those of the training left alone."""
    chance, lines = random.Random(1), []
    with tempfile.TemporaryDirectory() as folder:
        whole, torn = Path(folder) / "whole", Path(folder) / "torn"
        began = time.monotonic()
        assert start(whole).wait() == 0
        took = time.monotonic() - began
        lines.append(f"left alone: {epochs_of(whole)} epochs, {took:.1f} s")
        done, lost, killed = 0, 0, 0
        while killed < kills:
            writer = start(torn)
            if chance.random() < 0.8:  # in the middle of its work; else already while it starts
                wait_for_epochs(torn, done + 1, writer)
            time.sleep(chance.uniform(0.0, 3.0))
            if writer.poll() is not None:  # it came through before it could be killed: begin again elsewhere
                assert writer.returncode == 0, writer.returncode
                lines.append(f"through, same weights: {same(whole, torn)}")
                torn, done = Path(folder) / f"torn-{killed}", 0
                continue
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            killed += 1
            now = epochs_of(torn)
            lost += now < done
            lines.append(f"kill {killed}: {now} epochs noted, {done} before")
            done = now
        assert start(torn).wait() == 0
        lines.append(f"through, same weights: {same(whole, torn)}")
        lines.append(f"{killed} kills; epochs lost: {lost}; every training that came through has the same weights: "
                     f"{all('False' not in line for line in lines)}")  # fmt: skip
    print("\n".join(lines))
    if log:
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")


def wait_for_epochs(run: Path, n: int, writer: subprocess.Popen[bytes]) -> None:
    """Wait until a run has noted `n` epochs, or its writer is through."""
    while epochs_of(run) < n and writer.poll() is None:
        time.sleep(0.05)


def same(whole: Path, torn: Path) -> bool:
    """Tell whether two runs ended with the same weights."""
    return len({json.loads((run / "run.json").read_text())["weights_sha256"] for run in (whole, torn)}) == 1


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
