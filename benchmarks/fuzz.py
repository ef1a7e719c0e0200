# SPDX-License-Identifier: Apache-2.0
"""Mutated files through every reader: does one crash, hang, eat memory, or hand out changed numbers without a word?

    python benchmarks/fuzz.py [--mutants 20000] [--only dicom,edf] [--seed 1] [--processes 2] [--out FILE]

Each target is a small valid file (tests/formats/samples writes it) of which one to three places are changed: bits,
bytes, stretches moved, doubled or cut, numbers and words exchanged. What a reader may do with a mutant:

    refuse      raise one of our errors, with an exit code of 3 or 4
    flag        return an ECG with a finding of severity warning
    same        return the very ECG of the good file: the change hit nothing that counts
    silent      return another signal, rate, lead, age or sex and say nothing: the figure that should be small

Anything else (another exception, more than 2 s, more than 1 GB) is a defect and ends the run with exit code 1.
The libraries that a user would take instead read every tenth mutant, for comparison. Writes benchmarks/fuzz.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import EcglensError

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_name("fuzz.json")
MAX_SECONDS, MAX_BYTES = 2.0, 2**30
NASTY = [b"0", b"-1", b"1", b"nan", b"1e30", b"99999999999999999999", b"2147483648", b"65536", b"x", b"", b"\xff",
         b"../a", b"#", b"/", b"("]  # fmt: skip

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """What is mutated and how it is read.

    name    as in the table
    make    folder -> (the file that is mutated, what is given to `read`)
    read    our reader
    mutate  which kind of change
    peer    the library a user would take instead, and its reader, which may raise anything
    """

    name: str
    make: Callable[[Path], tuple[Path, Path]]
    read: Callable[[Path], Any]
    mutate: Mutate
    peer: tuple[str, Callable[[Path], Any]] | None = None


@dataclass
class Tally:
    """What became of the mutants of one target; seconds and bytes of the worst one."""

    name: str
    mutants: int = 0
    outcomes: Counter = field(default_factory=Counter)
    peer: str = ""
    peer_mutants: int = 0
    peer_outcomes: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    grown: int = 0
    defects: list[str] = field(default_factory=list)

    def merge(self, other: Tally) -> Tally:
        """Add another worker's share."""
        self.mutants += other.mutants
        self.outcomes += other.outcomes
        self.peer_mutants += other.peer_mutants
        self.peer_outcomes += other.peer_outcomes
        self.seconds, self.grown = max(self.seconds, other.seconds), max(self.grown, other.grown)
        self.defects += other.defects
        return self

    @property
    def silent(self) -> float:
        """Share of mutants that were read as something else without a word."""
        return self.outcomes["silent"] / max(self.mutants, 1)


def mutate_text(good: bytes, rng: random.Random) -> bytes:
    """Change one to three places of a text: bits, letters, lines, words, digits."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) or 1)
        lines = bytes(data).split(b"\n")
        match rng.randrange(10):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)]) if data else b""
            case 1:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                data[at:at] = bytes([rng.randrange(32, 127)])
            case 3:
                del data[at : at + rng.randint(1, 8)]
            case 4:
                rng.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 5:
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                data = bytearray(b"\n".join(lines))
            case 6:
                del lines[rng.randrange(len(lines))]
                data = bytearray(b"\n".join(lines))
            case 7:
                _replace(data, rb"[^\s<>=\"]+", lambda _: rng.choice(NASTY), rng)
            case 8:
                _replace(data, rb"\d", lambda _: rng.choice([b"%d" % d for d in range(10)]), rng)
            case _:
                del data[at:]
    return bytes(data)


def mutate_bytes(good: bytes, rng: random.Random) -> bytes:
    """Change one to three places of a binary file: bits, stretches overwritten, moved, turned, cut, put in."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(len(data) or 1), rng.randint(1, 400)
        match rng.randrange(8):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)]) if data else b""
            case 1:
                data[at : at + length] = rng.randbytes(len(data[at : at + length]))
            case 2:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 3:
                data[at : at + length] = data[:length]
            case 4:
                data[at : at + length] = data[at : at + length][::-1]
            case 5:
                data[at : at + length] = []
            case 6:
                data[at:at] = rng.randbytes(length)
            case _:
                data[at:] = []
    return bytes(data)


def mutate_start(good: bytes, rng: random.Random) -> bytes:
    """Change the first 2 kB, where binary formats keep what the rest means; half the time as text."""
    head, rest = good[:2048], good[2048:]
    return (mutate_text if rng.random() < 0.5 else mutate_bytes)(head, rng) + rest


def _replace(data: bytearray, pattern: bytes, new: Callable[[bytes], bytes], rng: random.Random) -> None:
    """Exchange one match of `pattern`, looked for from a random place on: a file may hold millions."""
    start = rng.randrange(len(data) or 1)
    found = re.compile(pattern).search(data, start) or re.compile(pattern).search(data)
    if found is not None:
        data[found.start() : found.end()] = new(found.group())


def same(one: Any, other: Any) -> bool:
    """Tell whether two results say the same: all that a later step could use."""
    if isinstance(one, ECG) and isinstance(other, ECG):
        facts = [(ecg.fs, ecg.leads, ecg.start, dict(ecg.metadata)) for ecg in (one, other)]
        return facts[0] == facts[1] and np.array_equal(one.signal, other.signal, equal_nan=True)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def outcome(read: Callable[[Path], Any], path: Path, good: Any) -> tuple[str, str]:
    """Read a mutant with our reader; return (outcome, what went wrong)."""
    try:
        found = read(path)
    except EcglensError as error:
        wrong = error.exit_code not in (3, 4) or "\n" in str(error)
        return ("defect", f"exit code {error.exit_code}: {error}") if wrong else ("refused", "")
    except MemoryError:
        return "defect", "more than 1 GB"
    except TimeoutError:
        return "defect", "more than 10 s"
    except Exception as error:
        return "defect", f"{type(error).__name__}: {error}"
    if same(good, found):
        return "same", ""
    findings = getattr(found, "findings", ())
    return ("flagged" if any(finding.severity == "warning" for finding in findings) else "silent"), ""


def peer_outcome(read: Callable[[Path], Any], path: Path, good: tuple[Any, set[str]]) -> str:
    """Read a mutant with another library: refused (whatever it raised), flagged (it warned), same or silent.

    good  what it makes of the good file, and the warnings it gives there already, which tell nothing
    """
    try:
        found, warned = heard(read, path)
    except (Exception, SystemExit):
        return "refused"
    if same(good[0], found):
        return "same"
    return "flagged" if warned - good[1] else "silent"


def heard(read: Callable[[Path], Any], path: Path) -> tuple[Any, set[str]]:
    """Return what a reader returns, and what it warns of in the file (not of its own old code)."""
    old_code = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("always")
        found = read(path)
    return found, {str(warning.message) for warning in warned if not issubclass(warning.category, old_code)}


def mutants(target: Target, good: bytes, seed: int, n: int) -> Iterator[bytes]:
    """Yield `n` mutants that differ from the good file; the same ones for the same seed."""
    rng = random.Random(f"{target.name} {seed}")
    while n:
        mutant = target.mutate(good, rng)
        if mutant != good:
            n -= 1
            yield mutant


def fuzz(target: Target, folder: Path, seed: int, n: int, peer_every: int = 0) -> Tally:
    """Read `n` mutants; every `peer_every`-th (0: none) with the other library too."""
    signal.signal(signal.SIGALRM, _too_slow)
    file, path = target.make(folder)
    content, good = file.read_bytes(), target.read(path)
    tally = Tally(target.name)
    peer_good: tuple[Any, set[str]] = (None, set())
    if target.peer is not None and peer_every:
        tally.peer = target.peer[0]
        peer_good = heard(target.peer[1], path)
    for k, mutant in enumerate(mutants(target, content, seed, n)):
        file.write_bytes(mutant)
        before, began = _peak(), time.process_time()
        signal.setitimer(signal.ITIMER_REAL, 5 * MAX_SECONDS)
        what, why = outcome(target.read, path, good)
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.process_time() - began  # of the processor: others may be using it too
        tally.seconds, tally.grown = max(tally.seconds, seconds), max(tally.grown, _peak() - before)
        if what != "defect" and seconds > MAX_SECONDS:
            what, why = "defect", f"{seconds:.1f} s"
        if what == "defect":
            tally.defects.append(f"{target.name}, seed {seed}, mutant {k}: {why}")
        tally.mutants += 1
        tally.outcomes[what] += 1
        if target.peer is not None and peer_every and k % peer_every == 0:
            tally.peer_mutants += 1
            tally.peer_outcomes[peer_outcome(target.peer[1], path, peer_good)] += 1
    file.write_bytes(content)
    return tally


def _peak() -> int:
    """Largest resident size so far, in bytes (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _too_slow(*_: object) -> None:
    raise TimeoutError


def _share(name: str, seed: int, n: int) -> Tally:
    """One worker's share of a target, under a limit on its memory."""
    target = {target.name: target for target in targets()}[name]
    with tempfile.TemporaryDirectory() as folder:
        fuzz(target, Path(folder), seed, 3, 1 if target.peer else 0)  # imports happen before the limit is set
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(target, Path(folder), seed, n, 10)


def targets() -> list[Target]:
    """Return all targets: the samples of tests/formats/samples, each with its reader."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "formats"))
    from samples import TARGETS

    return [Target(*row) for row in TARGETS]


def main() -> int:
    """Fuzz the targets one after the other in two processes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=20_000, help="per target")
    parser.add_argument("--only", default="", help="targets whose name contains one of these, comma-separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS, help="rows of other targets in it are kept")
    asked = parser.parse_args()
    chosen = [t.name for t in targets() if any(part in t.name for part in asked.only.split(","))]
    defects, shares = [], 8
    with ProcessPoolExecutor(asked.processes) as pool:
        for name in chosen:
            began = time.perf_counter()
            seeds = [1000 * asked.seed + k for k in range(shares)]
            parts = pool.map(_share, [name] * shares, seeds, [-(-asked.mutants // shares)] * shares)
            tally = next(parts)
            for part in parts:
                tally.merge(part)
            _store(asked.out, tally)
            defects += tally.defects
            print(_line(tally), f"({time.perf_counter() - began:.0f} s)", flush=True)
    for defect in defects[:20]:
        print("DEFECT", defect)
    return 1 if defects else 0


def _store(path: Path, tally: Tally) -> None:
    """Put one target's row into the results, in the order of the targets."""
    rows = {row["name"]: row for row in (json.loads(path.read_text(encoding="utf-8")) if path.exists() else [])}
    counts = {
        "outcomes": dict(sorted(tally.outcomes.items())),
        "peer_outcomes": dict(sorted(tally.peer_outcomes.items())),
    }
    rows[tally.name] = asdict(tally) | counts | {"seconds": round(tally.seconds, 3)}
    ordered = [rows[target.name] for target in targets() if target.name in rows]
    path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _line(tally: Tally) -> str:
    parts = ", ".join(f"{what} {100 * n / tally.mutants:.2f} %" for what, n in sorted(tally.outcomes.items()))
    peer = ""
    if tally.peer_mutants:
        peer = f"; {tally.peer} silent {100 * tally.peer_outcomes['silent'] / tally.peer_mutants:.1f} %"
    return f"{tally.name}: {tally.mutants} mutants, {parts}, slowest {tally.seconds:.2f} s{peer}"


if __name__ == "__main__":
    sys.exit(main())
