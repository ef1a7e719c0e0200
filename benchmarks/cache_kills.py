# SPDX-License-Identifier: Apache-2.0
"""Kill whoever writes the cache at random moments: python benchmarks/cache_kills.py PTBXL [KILLS] [RECORDS]."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from ecglens.datasets.ptbxl import load_ptbxl
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache
from ecglens.training.recipes import PREPROCESSING


def main(data: Path, kills: int = 20, records: int = 150) -> None:
    """Print how many writers died, how many whole and half entries they left, and how many folders were swept."""
    cohort, chance = load_ptbxl(data, keep_unlabelled=True).take(range(records)), random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        truth = prepare(cohort, PREPROCESSING, cache=Cache(Path(folder) / "whole"))
        took, killed, whole, damaged = time.monotonic() - began, 0, 0, 0
        cache = Cache(Path(folder) / "cache")
        for _ in range(kills):
            writers = []
            for _ in range(2):  # two at once
                if (writer := os.fork()) == 0:
                    prepare(cohort, PREPROCESSING, cache=cache)
                    os._exit(0)
                writers.append(writer)
            time.sleep(chance.uniform(0, 2.2 * took))
            for writer in writers:
                os.kill(writer, signal.SIGKILL)
                killed += os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL
            for index in cache.folder.glob("[!.]*/index.json"):
                whole += 1
                found = cache.load(index.parent.name)
                damaged += found is None
                for path in (index.parent / "values.npy", index):
                    path.unlink(missing_ok=True)  # so that the next one writes again
                index.parent.rmdir()
        left = list(cache.folder.glob(".*"))
        for path in left:
            for part in (*path.glob("*"), path):
                os.utime(part, (0, 0))
        again = prepare(cohort, PREPROCESSING, cache=cache)
        equal = all((a == b).all() for a, b in zip(truth.signals, again.signals, strict=True))
        print(f"{killed} of {2 * kills} writers killed; {whole} entries found, {damaged} not whole")
        print(f"{len(left)} folders left, {len(list(cache.folder.glob('.*')))} after the next writer; equal: {equal}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
