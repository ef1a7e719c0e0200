# SPDX-License-Identifier: Apache-2.0
"""Attribution (what an explainer returns), Explanation (of one ECG) and CohortExplanation (of many).

An explanation always says what is explained, how, how finely, and whether the method is to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
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


@dataclass(frozen=True)
class Summary:
    """What a CohortExplanation computes: arrays [lead, cell] and the counts behind them."""

    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_beats: int
    n_records: int
    n_patients: int
    excluded: Mapping[str, str]


class CohortExplanation:
    """Attributions of many ECGs on a common grid [lead, phase] or [lead, segment]; streams, in any order.

    Sums are kept per record and added up in the order of record ids, so that order, batches and workers cannot
    change a single bit. A cell that a beat does not have (no P in AF) is NaN there and counts for nothing.

    >>> import numpy as np
    >>> cells = CohortExplanation("MI", "saliency", leads=("I",), cells=("P", "QRS"))
    >>> cells.update("r1", "p1", np.array([[[1.0, 2.0]], [[3.0, np.nan]]]))
    >>> summary = cells.compute()
    >>> summary.mean.tolist(), summary.n_beats, summary.n_patients
    ([[2.0, 2.0]], 2, 1)
    """

    def __init__(self, target: str, method: str, leads: tuple[str, ...], cells: tuple[str, ...]) -> None:
        """`cells` names the second axis: segments, or phases of the beat."""
        self.target, self.method, self.leads, self.cells = target, method, leads, cells
        self._records: dict[str, tuple[str, np.ndarray, np.ndarray, np.ndarray, int]] = {}
        self._excluded: dict[str, str] = {}

    def update(self, record_id: str, patient_id: str, values: np.ndarray) -> None:
        """Add one record: values [beat, lead, cell], NaN where a beat lacks a cell. A record counts once."""
        if values.ndim != 3 or values.shape[1:] != (len(self.leads), len(self.cells)):
            raise SignalError(
                record_id,
                "values",
                f"shape {values.shape}",
                f"[beat, {len(self.leads)} leads, {len(self.cells)} cells]",
            )
        if np.isinf(values).any():
            raise SignalError(record_id, "values", "infinite", "finite numbers, NaN where a beat lacks a cell")
        self._refuse_seen({record_id})
        if len(values) == 0:
            self._excluded[record_id] = "no beats"
            return
        filled = np.nan_to_num(values.astype(np.float64))
        count = (~np.isnan(values)).sum(axis=0)
        self._records[record_id] = (patient_id, filled.sum(axis=0), (filled**2).sum(axis=0), count, len(values))

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

    def compute(self, n_resamples: int = 2000, seed: int = 0, level: float = 0.95) -> Summary:
        """Return mean, spread (SD over beats) and patient-bootstrap interval per cell; NaN where nothing was seen.

        A cell seen in one patient only has no interval (NaN): that patient says nothing about others.
        """
        from ecglens.statistics.bootstrap import patient_weights  # heavy, and needed here only

        ids = sorted(self._records)
        if not ids:
            raise SignalError("CohortExplanation", "records", "none", "at least one with beats", kind="empty")
        rows = [self._records[name] for name in ids]
        sums, squares, counts = (np.stack([row[k] for row in rows]) for k in (1, 2, 3))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums.sum(0) / counts.sum(0)
            spread = np.sqrt(np.maximum(squares.sum(0) / counts.sum(0) - mean**2, 0.0))
            weights = patient_weights([row[0] for row in rows], n_resamples, seed).astype(np.float64)
            resampled = np.tensordot(weights, sums, 1) / np.tensordot(weights, counts.astype(np.float64), 1)
        patients = sorted({row[0] for row in rows})
        seen_in = np.stack([counts[[row[0] == patient for row in rows]].any(axis=0) for patient in patients])
        low, high = _quantiles(resampled, level, seen_in.sum(axis=0) > 1)
        return Summary(
            mean, spread, low, high, n_beats=sum(row[4] for row in rows), n_records=len(ids),
            n_patients=len(patients), excluded=dict(sorted(self._excluded.items())),
        )  # fmt: skip

    def _refuse_seen(self, record_ids: Set[str]) -> None:
        seen = record_ids & (self._records.keys() | self._excluded.keys())
        if seen:
            raise SignalError(min(seen), "record", "a second time", "each record once", kind="duplicate_record")


def _quantiles(resampled: np.ndarray, level: float, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile limits over axis 0; NaN where they are not `defined` [lead, cell]."""
    low, high = np.full(resampled.shape[1:], np.nan), np.full(resampled.shape[1:], np.nan)
    seen = np.isfinite(resampled).any(axis=0) & defined
    tail = (1 - level) / 2
    if seen.any():
        low[seen], high[seen] = np.nanquantile(resampled[:, seen], [tail, 1 - tail], axis=0)
    return low, high
