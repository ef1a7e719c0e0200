# SPDX-License-Identifier: Apache-2.0
"""A run is a folder: `run.json` (arguments, versions, seed, data hash), journal, bundles, tables, arrays, pages."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import ContractError, FormatError, InputError, UsageError
from ecglens.runs.files import PART, read_json, write_json, write_npy, write_text
from ecglens.runs.journal import Journal
from ecglens.runs.lock import writing

RUN_SCHEMA = 1
_PACKAGES = ("ecglens", "torch", "numpy", "scipy", "scikit-learn", "pandas")


@dataclass(frozen=True)
class Run:
    """A run folder. Everything in it is written atomically, so a later verb reads whole files only."""

    folder: Path

    @classmethod
    def create(
        cls, folder: Path, verb: str, arguments: Mapping[str, Any], seed: int, resume: bool = False,
        by_content: Collection[str] = (),
    ) -> Run:  # fmt: skip
        """Make a run folder, or with `resume` take up one whose arguments are the same.

        by_content   arguments that may be written otherwise: paths, of which the caller compares what is there

        Raises UsageError where the folder holds another run, ContractError where resumed arguments differ.
        """
        folder = Path(folder)
        run = cls(folder)
        if (folder / "run.json").exists():
            if not resume:
                raise UsageError(
                    folder, "run folder", "a run", "a new folder", "choose another --out, or give --resume"
                )
            before = run.read()
            told, asked = (
                {name: value for name, value in one.items() if name not in by_content}
                for one in (before.get("arguments", {}), _plain(arguments))
            )
            differing = _differences(
                {"verb": before.get("verb"), "seed": before.get("seed")} | told, {"verb": verb, "seed": seed} | asked
            )
            if differing:
                raise ContractError(
                    folder, "arguments", differing, "those of the run that is resumed", "start a new run instead",
                    kind="resume",
                )  # fmt: skip
            return run
        if folder.exists() and (not folder.is_dir() or any(not _leftover(p) for p in folder.iterdir())):
            raise UsageError(folder, "run folder", "other files", "a new or empty folder", "choose another --out")
        about = {"schema": RUN_SCHEMA, "verb": verb, "arguments": _plain(arguments), "seed": seed} | provenance()
        write_json(folder / "run.json", about)
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open an existing run. Raises InputError where there is none."""
        run = cls(Path(folder))
        run.read()
        return run

    def read(self) -> dict[str, Any]:
        """Return `run.json`. Raises FormatError where its schema is another one."""
        path = self.folder / "run.json"
        if not path.exists():
            raise InputError(self.folder, "run folder", "no run.json", "a folder that `ecglens train` wrote")
        about = read_json(path)
        if not isinstance(about, dict) or about.get("schema") != RUN_SCHEMA:
            found = about.get("schema") if isinstance(about, dict) else about
            raise FormatError(path, "schema", found, str(RUN_SCHEMA), kind="schema")
        return about

    @classmethod
    def finished(cls, folder: str | Path, verb: str, command: str = "", to_do: str = "give --resume") -> Run:
        """Open a finished run of `verb`. Raises InputError where it is another one, or is not finished."""
        run = cls.open(Path(folder))
        about = run.read()
        if about.get("verb") != verb or not about.get("finished"):
            found = "not finished" if about.get("verb") == verb else f"a run of {about.get('verb')}"
            raise InputError(run.folder, "run folder", found, f"a finished `ecglens {command or verb}`", to_do)
        return run

    def refuse_other_data(self, before: str | None, digest: str, what: str) -> None:
        """Raise ContractError where a run that goes on began with other data: SHA-256 `before`, None when it begins."""
        if before not in (None, digest):
            raise ContractError(
                self.folder, "data", f"SHA-256 {digest[:16]} of {what}", f"{before[:16]}, as when the run began",
                "restore the data, or start a new run", kind="resume",
            )  # fmt: skip

    def note(self, **facts: Any) -> None:
        """Add facts to `run.json` (data hash, results)."""
        write_json(self.folder / "run.json", self.read() | _plain(facts))

    @property
    def begun(self) -> bool:
        """True where `run.json` is there: made now, or by a run that is resumed."""
        return (self.folder / "run.json").exists()

    def discard(self) -> None:
        """Take back a run that was refused before it began."""
        (self.folder / "run.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def discarded_if_refused(self, begun_before: bool) -> Iterator[None]:
        """Take the run back where what follows raises, unless it was begun before: refused data leave none behind."""
        try:
            yield
        except BaseException:
            if not begun_before:
                self.discard()
            raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run's lock; a second writer gets LockedError."""
        with writing(self.folder):
            yield

    def journal(self) -> Journal:
        """Open the journal."""
        return Journal(self.folder / "journal.sqlite")

    def bundle_folder(self, name: str = "final") -> Path:
        """Where a bundle of this run lies."""
        return self.folder / "bundles" / name

    def write_table(self, name: str, table: pd.DataFrame, index: bool = False) -> Path:
        """Write a table as CSV."""
        path = self.folder / "tables" / f"{name}.csv"
        write_text(path, table.to_csv(index=index))
        return path

    def read_table(self, name: str) -> pd.DataFrame | None:
        """Read a table, or None where it was not written."""
        path = self.folder / "tables" / f"{name}.csv"
        return pd.read_csv(path) if path.exists() else None

    def write_array(self, name: str, array: np.ndarray) -> Path:
        """Write an array as npy."""
        path = self.folder / "arrays" / f"{name}.npy"
        write_npy(path, array)
        return path


def provenance() -> dict[str, Any]:
    """Return versions and machine, for run.json: what is needed to say why two results differ."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "versions": {"python": platform.python_version()} | versions,
        "platform": platform.platform(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value with sorted keys."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _leftover(path: Path) -> bool:
    """Tell what a kill before `run.json` was there may leave: such a folder is as good as empty."""
    return path.name == ".lock" or (path.name.startswith(".") and path.name.endswith(PART))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda v: v.item() if hasattr(v, "item") else str(v)))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], inside: str = "") -> str:
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found.append(_differences(old, new, f"{inside}{key}."))
        elif old != new:
            found.append(f"{inside}{key} was {old!r}, now {new!r}")
    return ", ".join(text for text in found if text)
