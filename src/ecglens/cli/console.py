# SPDX-License-Identifier: Apache-2.0
"""What every verb shares: results on stdout, words and progress on stderr, errors as one line, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ecglens.errors import EcglensError, printable

JSON_SCHEMA = 1
PARTLY, INTERRUPTED, BUG = 7, 130, 1


@dataclass(frozen=True)
class Outcome:
    """What a verb has to say: JSON data, the same in words, what to do next, and the exit code."""

    data: dict[str, Any]
    text: str
    next_step: str = ""
    exit_code: int = 0


def conclude(verb: Callable[[], Outcome], as_json: bool) -> int:
    """Run a verb, print its outcome or its error, return the exit code."""
    try:
        outcome = verb()
    except (Exception, KeyboardInterrupt) as error:
        exit_code, told = _explained(error)
        if os.environ.get("ECGLENS_DEBUG"):
            traceback.print_exception(error)
        fail(told, as_json)
        return exit_code
    emit(outcome, as_json)
    return outcome.exit_code


def _explained(error: BaseException) -> tuple[int, dict[str, Any]]:
    """Return the exit code of whatever stopped a verb, and what is to be said of it."""
    name = type(error).__name__
    if isinstance(error, EcglensError):
        return error.exit_code, error.as_dict()
    if isinstance(error, KeyboardInterrupt):
        line = "Interrupted. What was finished is kept; give the same command again, with --resume where it has one."
        return INTERRUPTED, {"error": name, "kind": "interrupted", "message": line}
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch raises a RuntimeError
        line = "Not enough memory: close other programs, or use fewer records at a time."
        return 5, {"error": name, "kind": "memory", "message": line}
    if isinstance(error, OSError):
        # Only the machine can be to blame here: what the data can cause has its own error class.
        line = f"{error.filename or 'system'}: {error.strerror or error}; to do: check space, permissions and the path"
        return 5, {"error": name, "kind": "system", "message": printable(line, 1000)}
    line = f"A bug in ecglens: {name}: {printable(error)}. Please report it with the output of ECGLENS_DEBUG=1."
    return BUG, {"error": name, "kind": "bug", "message": line}


def emit(outcome: Outcome, as_json: bool) -> None:
    """Print an outcome: one JSON object, or the text; what to do next always goes to stderr."""
    if as_json:
        from ecglens.statistics.figures import clean  # loads numpy

        put(json.dumps({"schema": JSON_SCHEMA} | clean(outcome.data), ensure_ascii=False, allow_nan=False))
    else:
        put(outcome.text)
        if outcome.next_step:
            say(f"Next: {outcome.next_step}")


def fail(told: dict[str, Any], as_json: bool) -> None:
    """Print an error as one line on stderr, and as an object on stdout."""
    say(told["message"])
    if as_json:
        put(json.dumps({"schema": JSON_SCHEMA, "error": told}, ensure_ascii=False))


def put(text: str) -> None:
    """Print a result on stdout. A reader who has left (`ecglens ... | head`) is no fault of the verb."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again when it leaves


def say(line: str, end: str = "\n") -> None:
    """Print a sentence on stderr; nobody reading it is no reason to stop."""
    with contextlib.suppress(BrokenPipeError):
        print(line, end=end, file=sys.stderr, flush=True)


def exit_code_for(n_used: int, errors: Sequence[EcglensError]) -> int:
    """Return 0 where all was used, 7 where some was left out, and the errors' own code where nothing was used."""
    if not errors:
        return 0
    if n_used:
        return PARTLY
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else 3


class ProgressLine:
    """Draws progress on stderr: one line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, every: float = 10.0) -> None:
        """`every`: seconds between lines where stderr is no terminal."""
        self.terminal, self.every = sys.stderr.isatty(), every
        self.stage, self.began, self.said = "", 0.0, 0.0
        self.before = 0  # done when the stage was first heard of: resumed work took no time here

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Draw how far `stage` is."""
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.began, self.said, self.before = stage, now, 0.0 if self.terminal else now, done
        finished = done >= total
        if not finished and now - self.said < (0.1 if self.terminal else self.every):
            return
        new = done - self.before
        left = "" if finished or new <= 0 else f", {clock((now - self.began) * (total - done) / new)} left"
        line = f"{stage} {done}/{total}{left}" + (f"  {note}" if note else "")
        end = "\n" if finished or not self.terminal else ""
        say(f"\r\x1b[2K{line}" if self.terminal else line, end)
        self.said = now
        if finished:
            self.stage = ""


def clock(seconds: float) -> str:
    """Return a duration as a person says it.

    >>> clock(8.2), clock(125), clock(7300)
    ('8 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(text: str) -> list[str]:
    """Return the names joined by comma; blanks do not count."""
    return [name.strip() for name in text.split(",") if name.strip()]


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text; columns of words flush left, columns of numbers flush right."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]
    numbers = [k > 0 and any(row[k][:1].isdigit() for row in table[1:]) for k in range(len(header))]
    lines = []
    for row in table:
        cells = zip(row, widths, numbers, strict=True)
        lines.append("  ".join(cell.rjust(w) if number else cell.ljust(w) for cell, w, number in cells).rstrip())
    return "\n".join(lines)
