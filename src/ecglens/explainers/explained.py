# SPDX-License-Identifier: Apache-2.0
"""What `explain_cohort` wrote, read back: one Explanation at a time, and where the evidence lies per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import FormatError, InputError, UsageError
from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.runs.files import contained
from ecglens.runs.run import Run
from ecglens.statistics.bootstrap import interval, patient_weights

_KEYS = ["record_id", "method", "target"]


@dataclass(frozen=True, eq=False)
class ExplainedCohort:
    """A run folder of explanations; arrays stay on the disk.

    run       the folder
    about     its `run.json`
    records   index record_id; row (of the arrays), patient, fold, start (s), n_samples, bundle (the hash of its weights
              begins so), and per class `probability X`, `call X` (1 where the threshold is reached), `label X`
    maps      index (record_id, method, target); probability, completeness_gap, warnings, `share LEAD`, ...
    excluded  record_id, part (loading, preparing, or the method), kind, reason
    """

    run: Run
    about: dict[str, Any]
    records: pd.DataFrame
    maps: pd.DataFrame
    excluded: pd.DataFrame

    @classmethod
    def open(cls, folder: str | Path) -> ExplainedCohort:
        """Open what `explain_cohort` wrote. Raises InputError where the run is another one or is not finished."""
        run = Run.finished(folder, "explain", "explain --data")
        about = run.read()
        tables = {name: _table(run.folder / "tables" / f"{name}.csv") for name in ("records", "maps", "excluded")}
        records, maps = tables["records"].set_index("record_id"), tables["maps"].set_index(_KEYS)
        return cls(run, about, records, maps.sort_index(), tables["excluded"])

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order in which they were asked for."""
        return tuple(self.about["arguments"]["methods"])

    @property
    def verdicts(self) -> dict[str, str]:
        """What the audit of these weights said of each method when the maps were made."""
        return {method: self.about.get("verdicts", {}).get(method, NOT_TESTED) for method in self.methods}

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of the arrays."""
        return tuple(self.about["arguments"]["targets"])

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads, in the order of the arrays."""
        return tuple(self.about["leads"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the bundle's outputs."""
        return tuple(self.about["classes"])

    def __len__(self) -> int:
        """Records that at least one method explained."""
        return len(self.records)

    def explanation(self, record_id: str, target: str, method: str) -> Explanation:
        """Return one map. Raises UsageError for a target or method that was not asked for, InputError without a map."""
        self._check(target, method)
        if (record_id, method, target) not in self.maps.index:
            raise InputError(
                self.run.folder, "record", record_id, "a record that was explained", "see tables/excluded.csv",
                kind="no_records",
            )  # fmt: skip
        told: dict[Any, Any] = self.maps.loc[[(record_id, method, target)]].iloc[0].to_dict()
        record: dict[Any, Any] = self.records.loc[[record_id]].iloc[0].to_dict()
        row, n_samples = int(record["row"]), int(record["n_samples"])
        values = self._map(f"{method}", row, target)
        drawn = self._map(f"{method}-error", row, target)
        if values is None:
            raise FormatError(
                self.run.folder / "arrays", method, "missing", f"{method}.npy", "explain the cohort again"
            )
        warnings = str(told["warnings"]) if isinstance(told["warnings"], str) else ""
        return Explanation(
            values[:, :n_samples], float(self.about["fs"]), self.leads, record_id, target, self._row_of(target),
            self.classes, method, start=float(record["start"]),
            parameters={"output": self.about["arguments"]["output"], **self.about["arguments"]["methods"][method]},
            unit=_text(told["unit"]) or "", probability=_number(told["probability"]), baseline=_text(told["baseline"]),
            completeness_gap=_number(told["completeness_gap"]),
            error=None if drawn is None else drawn[:, :n_samples],
            resolution_ms=float(told["resolution_ms"]), resolves_leads=bool(told["resolves_leads"]),
            warnings=tuple(part for part in warnings.split("; ") if part), verdict=self.verdicts[method],
        )  # fmt: skip

    def each(self, target: str, method: str, records: Sequence[str] | None = None) -> Iterator[Explanation]:
        """Yield the maps of these records, or of all that the method explained, one in memory at a time."""
        for record_id in self.shares(target, method).index if records is None else records:
            yield self.explanation(str(record_id), target, method)

    def shares(self, target: str, method: str) -> pd.DataFrame:
        """Return each lead's share of the absolute map [record x lead]; rows sum to 1, or to 0 for an empty map."""
        self._check(target, method)
        at = self.maps.index
        chosen = (at.get_level_values("method") == method) & (at.get_level_values("target") == target)
        own = self.maps[chosen].droplevel(["method", "target"])
        return own[[f"share {lead}" for lead in self.leads]].set_axis(list(self.leads), axis=1)

    def with_label(self, name: str, value: int = 1) -> list[str]:
        """Return the records whose label of class `name` is 1 (or 0)."""
        return self._where(f"label {name}", value)

    def called(self, name: str, value: int = 1) -> list[str]:
        """Return the records that the bundle decides are (or are not) `name`."""
        return self._where(f"call {name}", value)

    def mean_shares(
        self,
        target: str,
        method: str,
        records: Sequence[str] | None = None,
        *,
        n_resamples: int = 2000,
        seed: int = 0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return mean and median share of each lead over records, with the mean's interval over patients.

        records   by name (see `with_label`, `called`); default: all that the method explained

        Columns: lead, mean, median, low, high, n, n_patients, method. Low and high are NaN where all records are of one
        patient. Raises InputError where no record is left.
        """
        table = self.shares(target, method)
        table = table.loc[[name for name in records if name in table.index]] if records is not None else table
        if table.empty:
            raise InputError(self.run.folder, "records", "none with a map", "at least one", kind="no_records")
        patients = self.records.loc[table.index, "patient"].astype(str)
        values, n_patients = table.to_numpy(float), patients.nunique()
        weights = patient_weights(patients, n_resamples, seed).astype(float)
        resampled = weights @ values / weights.sum(axis=1, keepdims=True)
        bounds = [
            interval(resampled[:, k], level)[:2] if n_patients > 1 else (np.nan, np.nan) for k in range(values.shape[1])
        ]
        return pd.DataFrame(
            {
                "lead": self.leads,
                "mean": values.mean(axis=0),
                "median": np.median(values, axis=0),
                "low": [low for low, _ in bounds],
                "high": [high for _, high in bounds],
                "n": len(values),
                "n_patients": n_patients,
                "method": f"bootstrap over patients, {n_resamples} resamples, {100 * level:g} %",
            }
        )

    def _where(self, column: str, value: int) -> list[str]:
        if column not in self.records:
            known = [name.split(" ", 1)[1] for name in self.records.columns if name.startswith(column.split(" ")[0])]
            raise UsageError(self.run.folder, "class", column.split(" ", 1)[1], ", ".join(known))
        return [str(name) for name in self.records.index[self.records[column] == value]]

    def _check(self, target: str, method: str) -> None:
        if target not in self.targets:
            raise UsageError(self.run.folder, "target", target, ", ".join(self.targets))
        if method not in self.methods:
            raise UsageError(self.run.folder, "method", method, ", ".join(self.methods))

    def _row_of(self, target: str) -> np.ndarray:
        row = np.zeros(len(self.classes))
        for part, sign in zip(target.split(" - "), (1.0, -1.0), strict=False):
            row[self.classes.index(part)] = sign
        return row

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _array(self, name: str) -> np.ndarray | None:
        """Return an array of the run, mapped; None where there is none."""
        if name not in self._arrays:
            self._arrays[name] = _mapped(self.run.folder, f"{name}.npy")
        found = self._arrays[name]
        return found if found.size else None

    def _map(self, name: str, row: int, target: str) -> np.ndarray | None:
        """Return [lead, time] as float32; None where the run has no such array."""
        halves, scale = self._array(name), self._array(f"{name.removesuffix('-error')}-scale")
        if halves is None or scale is None:
            return None
        k = self.targets.index(target)
        return np.asarray(halves[row, k], np.float32) * scale[row, k]


def _table(path: Path) -> pd.DataFrame:
    """Read a table of the run; ids are text, and only an empty cell is unknown."""
    try:
        text = {"record_id": str, "patient": str}
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise FormatError(path, "table", str(error), "a table of this run", "explain the cohort again") from error


def _mapped(folder: Path, name: str) -> np.ndarray:
    """Return an array of the run as a map of the file; empty where there is none."""
    path = contained(folder / "arrays", name, folder)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else np.empty(0)
    except (OSError, ValueError) as error:
        raise FormatError(path, "array", str(error), "an array of this run", "explain the cohort again") from error


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
