# SPDX-License-Identifier: Apache-2.0
"""How long something took over all sessions of a run: what was cut off and went on took as long as both.

>>> import tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder, Journal(pathlib.Path(folder) / "journal.sqlite") as journal:
...     journal.record("seconds", "0", 40.0)  # a session before, until it last noted the time
...     watch = Stopwatch(journal)
...     40 <= watch.seconds < 41
True
"""

from __future__ import annotations

from time import monotonic

from ecglens.runs.journal import Journal

_STAGE = "seconds"


class Stopwatch:
    """Seconds of this session since it began, and of all sessions before up to where they last noted the time."""

    def __init__(self, journal: Journal, began: float | None = None) -> None:
        """Start now, or at `began` of `time.monotonic`; what earlier sessions noted is in the journal."""
        before = journal.entries(_STAGE)
        self._journal, self._session, self._before = journal, str(len(before)), sum(before.values())
        self._began = monotonic() if began is None else began

    @property
    def seconds(self) -> float:
        """Of all sessions together."""
        return float(self._before + monotonic() - self._began)

    def note(self) -> None:
        """Note the time, so that a session that goes on counts it: where what was done until now is kept."""
        self._journal.record(_STAGE, self._session, monotonic() - self._began)
