# SPDX-License-Identifier: Apache-2.0
"""The journal of a run: what is finished, kept in SQLite so that a kill loses nothing that was finished.

>>> import tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder, Journal(pathlib.Path(folder) / "journal.sqlite") as journal:
...     journal.record("epoch", "1", {"valid": 0.9})
...     journal.record("epoch", "1", {"valid": 0.9})
...     journal.entries("epoch")
{'1': {'valid': 0.9}}
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from ecglens.errors import EnvironmentFault, FormatError


class Journal:
    """Entries (stage, key) -> JSON value. Writing one twice is harmless: the later value stands."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal at `path`. Raises FormatError where it is damaged."""
        self.path = Path(path)
        with self._faults():
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS entries "
                    "(stage TEXT, key TEXT, value TEXT, at REAL, PRIMARY KEY (stage, key))"
                )
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record(self, stage: str, key: str, value: Any) -> None:
        """Note that `key` of `stage` is finished, with its result. Raises EnvironmentFault on a full disk."""
        row = (stage, key, json.dumps(value), time.time())
        with self._faults():
            self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", row)

    def entries(self, stage: str) -> dict[str, Any]:
        """Return what is finished in `stage`, oldest first. Raises FormatError where the journal is damaged."""
        with self._faults():
            rows = self._db.execute("SELECT key, value FROM entries WHERE stage = ? ORDER BY rowid", (stage,))
            return {key: json.loads(value) for key, value in rows}

    def keys(self, stage: str) -> set[str]:
        """Return what is finished in `stage`, without the results. Raises FormatError where the journal is damaged."""
        with self._faults():
            return {key for (key,) in self._db.execute("SELECT key FROM entries WHERE stage = ?", (stage,))}

    def result(self, stage: str, key: str) -> Any:
        """Return the result of `key` of `stage`, None where it is not finished. Raises FormatError where damaged."""
        with self._faults():
            row = self._db.execute("SELECT value FROM entries WHERE stage = ? AND key = ?", (stage, key)).fetchone()
            return None if row is None else json.loads(row[0])

    def forget(self, stage: str) -> None:
        """Remove all entries of `stage`."""
        with self._faults():
            self._db.execute("DELETE FROM entries WHERE stage = ?", (stage,))

    def close(self) -> None:
        """Close the file; entries are already on the disk."""
        self._db.close()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise EnvironmentFault(
                self.path, "journal", str(error), "", "check space and permissions", kind="disk"
            ) from error
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise FormatError(self.path, "journal", str(error), "a journal written by ecglens", "delete it") from error
