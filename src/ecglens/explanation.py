# SPDX-License-Identifier: Apache-2.0
"""Attribution (what an explainer returns), Explanation (of one ECG) and CohortExplanation (of many).

An explanation always says what is explained, how, how finely, and whether the method is to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.leads import canonical_lead
from ecglens.shapes import Attributions, Signal

NOT_TESTED = "not tested"
VERDICTS = ("passes", "fails", NOT_TESTED)


@dataclass(frozen=True, eq=False)
class Attribution:
    """What an explainer returns.

    values  float32 [batch, target, lead, time]
    error   sampling error of the values, alike, or None where nothing was drawn
    gap     [batch, target]: what the values promise to sum to, minus what they sum to; None where nothing is promised
    """

    values: Attributions
    error: Attributions | None = None
    gap: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 4:
            raise SignalError("Attribution", "values", f"shape {self.values.shape}", "[batch, target, lead, time]")
        if self.error is not None and self.error.shape != self.values.shape:
            raise SignalError("Attribution", "error", f"shape {self.error.shape}", f"{self.values.shape}")
        if self.gap is not None and self.gap.shape != self.values.shape[:2]:
            raise SignalError("Attribution", "gap", f"shape {self.gap.shape}", f"{self.values.shape[:2]}")


@dataclass(frozen=True, eq=False)
class Explanation:
    """The attribution of one ECG, on the grid the network sees, as predicted: all windows combined.

    values            float32 [lead, time]
    fs, start, leads  that grid: Hz, s, names
    record_id         which ECG
    target            what is explained, in words ("MI", "MI - NORM")
    target_row        the same as weights over the outputs [output]
    outputs           names of the outputs
    method            name, with `parameters`
    unit              of the values, e.g. "logit per deviation"
    probability       of the target as `predict` gives it; None for a difference
    baseline          what absence means to this method, or None where it has none
    completeness_gap  |sum of values - what they should sum to|: f(x) - f(baseline), for LRP and gradient x input f(x);
                      None where the method promises nothing
    error             sampling error of the values [lead, time], or None where nothing was drawn
    resolution_ms     how finely in time the map can speak, in ms
    resolves_leads    whether it can tell leads apart
    verdict           of an audit on these very weights: "passes", "fails", "not tested"
    warnings          what speaks against this very map, in sentences
    """

    values: Signal
    fs: float
    leads: tuple[str, ...]
    record_id: str
    target: str
    target_row: np.ndarray
    outputs: tuple[str, ...]
    method: str
    start: float = 0.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    unit: str = ""
    probability: float | None = None
    baseline: str | None = None
    completeness_gap: float | None = None
    error: Signal | None = None
    resolution_ms: float = 0.0
    resolves_leads: bool = True
    verdict: str = NOT_TESTED
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"explanation of {self.record_id}"
        if self.values.ndim != 2 or self.values.shape[0] != len(self.leads):
            raise SignalError(where, "values", f"shape {self.values.shape}", f"[{len(self.leads)} leads, time]")
        if not np.isfinite(self.values).all():
            raise SignalError(where, "values", "not finite", "finite numbers", "check the weights of the bundle")
        if len(self.target_row) != len(self.outputs):
            raise SignalError(
                where, "target", f"{len(self.target_row)} weights", f"one per output, {len(self.outputs)}"
            )
        if self.verdict not in VERDICTS:
            raise SignalError(where, "verdict", self.verdict, ", ".join(VERDICTS))

    @property
    def times(self) -> np.ndarray:
        """Time of each value, in s [time]."""
        return self.start + np.arange(self.values.shape[1]) / self.fs

    def __getitem__(self, lead: str) -> np.ndarray:
        """Return the map of one lead [time], by name."""
        name = canonical_lead(lead)
        if name not in self.leads:
            raise SignalError(
                f"explanation of {self.record_id}", "leads", f"no {name}", ", ".join(self.leads),
                kind="missing_lead", lead=name,
            )  # fmt: skip
        return self.values[self.leads.index(name)]

    def to_ecg_grid(self, ecg: ECG) -> Signal:
        """Return the map on the grid of `ecg` [lead, time], linear in time; 0 for leads the network does not see."""
        out = np.zeros(ecg.signal.shape, np.float32)
        for row, lead in enumerate(ecg.leads):
            if lead in self.leads:
                out[row] = np.interp(ecg.times, self.times, self[lead], left=0.0, right=0.0)
        return out

    def share_by_lead(self) -> dict[str, float]:
        """Return each lead's share of the absolute attribution; shares sum to 1 (to 0 for an empty map)."""
        mass = np.abs(self.values.astype(np.float64)).sum(axis=1)
        total = mass.sum()
        return {lead: float(m / total) if total > 0 else 0.0 for lead, m in zip(self.leads, mass, strict=True)}


BAND = (0.05, 0.95)  # of the records, which a band shows


@dataclass(frozen=True)
class Summary:
    """What a CohortExplanation computes: arrays [lead, cell], NaN where nothing was seen, and the counts behind them.

    mean                 over records, each counted once, whatever its number of beats
    spread               standard deviation over records
    low, high            interval of the mean, patients resampled
    band_low, band_high  5th and 95th percentile of the records
    lift                 mean over what an even spread of the same maps would give: 1 prefers nothing
    lift_low, lift_high  its interval
    n, n_patients_with   records and patients behind each cell
    """

    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band_low: np.ndarray
    band_high: np.ndarray
    lift: np.ndarray
    lift_low: np.ndarray
    lift_high: np.ndarray
    n: np.ndarray
    n_patients_with: np.ndarray
    n_beats: int
    n_records: int
    n_patients: int
    excluded: Mapping[str, str]


@dataclass(frozen=True)
class Rows:
    """The records of a CohortExplanation, by name: values [record, lead, cell], level [record], beats [record]."""

    record_ids: tuple[str, ...]
    patients: tuple[str, ...]
    values: np.ndarray
    level: np.ndarray
    n_beats: np.ndarray


class CohortExplanation:
    """Attributions of many ECGs on a common grid [lead, phase] or [lead, segment]; streams, in any order.

    What a record gives is kept by its name and added up in the order of names, so that order, batches and workers
    cannot change a single bit. A cell that a record does not have (no P in AF) is NaN there and counts for nothing.

    >>> import numpy as np
    >>> cells = CohortExplanation("MI", "saliency", leads=("I",), cells=("P", "QRS"))
    >>> cells.update("r1", "p1", np.array([[1.0, 2.0]]), n_beats=9, level=1.0)
    >>> cells.update("r2", "p2", np.array([[np.nan, 4.0]]), n_beats=7, level=2.0)
    >>> summary = cells.compute()
    >>> summary.mean.tolist(), summary.lift.tolist(), summary.n_beats, summary.n_patients
    ([[1.0, 3.0]], [[1.0, 2.0]], 16, 2)
    """

    def __init__(self, target: str, method: str, leads: tuple[str, ...], cells: tuple[str, ...]) -> None:
        """`cells` names the second axis: segments, or phases of the beat."""
        self.target, self.method, self.leads, self.cells = target, method, leads, cells
        self._records: dict[str, tuple[str, np.ndarray, int, float]] = {}
        self._excluded: dict[str, str] = {}

    def update(self, record_id: str, patient_id: str, values: np.ndarray, *, n_beats: int, level: float) -> None:
        """Add one record. A record counts once; without beats it is excluded.

        values   [lead, cell], means over the record's beats or samples; NaN where it lacks a cell
        n_beats  beats behind them
        level    what each cell would hold if the map were spread evenly: its mean over leads and time
        """
        if values.shape != (len(self.leads), len(self.cells)):
            raise SignalError(
                record_id, "values", f"shape {values.shape}", f"[{len(self.leads)} leads, {len(self.cells)} cells]"
            )
        if np.isinf(values).any() or not np.isfinite(level):
            raise SignalError(record_id, "values", "infinite", "finite numbers, NaN where a record lacks a cell")
        self._refuse_seen({record_id})
        if n_beats < 1:
            self._excluded[record_id] = "no beats"
            return
        self._records[record_id] = (patient_id, values.astype(np.float64), n_beats, float(level))

    def exclude(self, record_id: str, reason: str) -> None:
        """Note a record that cannot be used, and why. A record that was added or excluded before is refused."""
        self._refuse_seen({record_id})
        self._excluded[record_id] = reason

    def merge(self, other: CohortExplanation) -> None:
        """Add what another worker gathered on the same grid; a record seen by both is refused."""
        if (self.target, self.method, self.leads, self.cells) != (other.target, other.method, other.leads, other.cells):
            raise SignalError("CohortExplanation", "grid", "another target, method or grid", "the same in both")
        self._refuse_seen(other._records.keys() | other._excluded.keys())
        self._records |= other._records
        self._excluded |= other._excluded

    def __len__(self) -> int:
        """Records added."""
        return len(self._records)

    def rows(self, record_ids: Sequence[str] | None = None) -> Rows:
        """Return what was added, by name; of these records only where they are named and were added."""
        ids = sorted(self._records.keys() if record_ids is None else self._records.keys() & set(record_ids))
        if not ids:
            raise SignalError("CohortExplanation", "records", "none", "at least one with beats", kind="empty")
        patients, values, n_beats, level = zip(*(self._records[name] for name in ids), strict=True)
        return Rows(tuple(ids), patients, np.stack(values), np.array(level), np.array(n_beats))

    def compute(self, n_resamples: int = 2000, seed: int = 0, level: float = 0.95) -> Summary:
        """Return mean, spread, lift and their patient-bootstrap intervals per cell; NaN where nothing was seen.

        A cell seen in one patient only has no interval (NaN): that patient says nothing about others.
        """
        from ecglens.statistics.bootstrap import patient_weights  # heavy, and needed here only

        rows = self.rows()
        seen, filled = ~np.isnan(rows.values), np.nan_to_num(rows.values)
        even = seen * rows.level[:, None, None]
        weights = patient_weights(rows.patients, n_resamples, seed).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = filled.sum(0) / seen.sum(0)
            spread = np.sqrt(np.maximum((filled**2).sum(0) / seen.sum(0) - mean**2, 0.0))
            total = np.tensordot(weights, filled, 1)
            resampled = total / np.tensordot(weights, seen.astype(np.float64), 1)
            lifts = total / np.tensordot(weights, even, 1)
            lift = filled.sum(0) / even.sum(0)
        with_cell = np.stack([seen[np.array(rows.patients) == one].any(axis=0) for one in sorted(set(rows.patients))])
        n_patients_with = with_cell.sum(axis=0)
        return Summary(
            mean, spread, *_quantiles(resampled, level, n_patients_with > 1), *_band(rows.values), lift,
            *_quantiles(lifts, level, n_patients_with > 1), n=seen.sum(0), n_patients_with=n_patients_with,
            n_beats=int(rows.n_beats.sum()), n_records=len(rows.record_ids), n_patients=len(set(rows.patients)),
            excluded=self.excluded,
        )  # fmt: skip

    @property
    def excluded(self) -> dict[str, str]:
        """Who was left out, and why."""
        return dict(sorted(self._excluded.items()))

    def _refuse_seen(self, record_ids: Set[str]) -> None:
        seen = record_ids & (self._records.keys() | self._excluded.keys())
        if seen:
            raise SignalError(min(seen), "record", "a second time", "each record once", kind="duplicate_record")


def _band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of the records; NaN where no record has the cell."""
    low, high = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    seen = np.isfinite(values).any(axis=0)
    if seen.any():
        low[seen], high[seen] = np.nanquantile(values[:, seen], BAND, axis=0)
    return low, high


def _quantiles(resampled: np.ndarray, level: float, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile limits over axis 0; NaN where they are not `defined` [lead, cell]."""
    low, high = np.full(resampled.shape[1:], np.nan), np.full(resampled.shape[1:], np.nan)
    seen = np.isfinite(resampled).any(axis=0) & defined
    tail = (1 - level) / 2
    if seen.any():
        low[seen], high[seen] = np.nanquantile(resampled[:, seen], [tail, 1 - tail], axis=0)
    return low, high
