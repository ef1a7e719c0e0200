# SPDX-License-Identifier: Apache-2.0
"""Glocal maps: the explanations of a cohort's records averaged in cells that mean the same in all of them.

A cell is a segment of a lead (24 soft segments) or a phase of the beat. Each record gives the mean of its absolute map
in each cell; the cohort's value is the mean over records, each counted once, with an interval over patients; its lift
is the value over what an even spread of the same maps would give. Whether the maps know of the waves at all is asked of
the same maps slid along time (`shift_null`), over all cells together with the false discovery rate.

After Wagner et al. 2024 (arXiv 2305.17043, section on glocal explanations), whose average has no interval and no null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.aggregation.agreement import MembersAgreement, members_agreement, ranks
from ecglens.aggregation.beats import Beats, Trace, signal_at
from ecglens.aggregation.cells import SoftCells, beat_cells, cell_means, segment_cells
from ecglens.aggregation.groups import Difference, NotCompared, difference
from ecglens.aggregation.marks import Marked, mark
from ecglens.aggregation.selection import (
    LABELLED,
    NORMAL,
    Selection,
    check_comparison,
    group,
    refuse_few,
    select,
    select_normal,
)  # fmt: skip
from ecglens.aggregation.shift_null import ShiftNull
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import InputError, UsageError
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explanation import NOT_TESTED, CohortExplanation, Explanation, Summary
from ecglens.fiducials import WAVES
from ecglens.runs.cache import Cache
from ecglens.runs.progress import Progress, silent
from ecglens.segments import SEGMENTS
from ecglens.statistics.least_group import is_too_small
from ecglens.statistics.multiplicity import false_discovery

SEGMENT, BEAT = "segment", "beat"
LEAST_BEATS = 3  # of a record, for a cell of it to count
N_SHIFTS = {SEGMENT: 10_000, BEAT: 5_000}

Floats = NDArray[np.float64]
_Side = tuple[str, CohortExplanation, Sequence[str]]  # of a comparison: its name, where its cells are, whose


@dataclass(frozen=True, eq=False)
class Glocal:
    """The averaged maps of one target. Arrays [lead, cell]; NaN where fewer than 20 records or 10 patients have a cell.

    summary     values, intervals, lifts and bands, and how many records and patients are behind each
    p, q        of the shift null, and over all cells together; rank: 1 has the largest value
    against     target's records less those labelled NORM, for the same question; None where there is none
    groups      comparisons that were asked for
    not_compared  comparisons, with NORM or asked for, of which a group has fewer than 20 records or 10 patients
    excluded    records that would count but have no map, or too few beats: why, by name
    not_judged  records left out before it could be told whether they count: why, by name
    absent      records that lack a wave in every lead, by wave and reason
    beats_left_out  beats by reason, where cells are phases of the beat
    members     how alike the networks of a family are; None for a single one
    trace       mean and median beats, where cells are phases of the beat
    """

    target: str
    method: str
    by: str
    select: str
    leads: tuple[str, ...]
    cells: tuple[str, ...]
    summary: Summary
    p: Floats
    q: Floats
    rank: Floats
    rows: CohortExplanation
    null: ShiftNull
    excluded: Mapping[str, str]
    absent: Mapping[str, Mapping[str, int]]
    beats_left_out: Mapping[str, int]
    members: MembersAgreement | None
    unit: str
    resolution_ms: float
    resolves_leads: bool
    against: Difference | None = None
    groups: tuple[Difference, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()
    trace: Trace | None = None
    verdict: str = NOT_TESTED
    not_judged: Mapping[str, str] = field(default_factory=dict)

    def order(self) -> list[tuple[int, int]]:
        """Return the places (lead, cell) from the largest value on."""
        places = zip(*np.nonzero(np.isfinite(self.rank)), strict=True)
        return sorted(((int(r), int(c)) for r, c in places), key=lambda at: self.rank[at])


@dataclass(frozen=True)
class Averaging:
    """How a cohort is averaged: see `aggregate`."""

    by: str = SEGMENT
    select: str = LABELLED
    compare: str = ""
    least_beats: int = LEAST_BEATS
    n_shifts: int = 0
    n_resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in N_SHIFTS:
            raise UsageError("aggregate", "--by", self.by, ", ".join(N_SHIFTS))


@dataclass
class _Gathering:
    """What is gathered for one target on the way through the records."""

    target: str
    selection: Selection
    normal: Selection | None
    rows: CohortExplanation
    normals: CohortExplanation
    others: CohortExplanation
    null: ShiftNull
    trace: Beats
    absent: dict[str, Counter[str]] = field(default_factory=lambda: {wave: Counter() for wave in WAVES})
    left_out: Counter[str] = field(default_factory=Counter)


def aggregate(
    explained: ExplainedCohort, cohort: Cohort, targets: Sequence[str], method: str, how: Averaging | None = None, *,
    other: ExplainedCohort | None = None, cache: Cache | None = None, progress: Progress = silent,
) -> tuple[list[Glocal], dict[str, str]]:  # fmt: skip
    """Average the maps of `method` for each target. Returns the averages, and why targets were left out.

    cohort   of the same records: signals, labels, metadata
    how      by "segment" or "beat"; select "labelled", "predicted" or "top100"; compare "", "sex", "age:65", "device",
             "site" or "correct"; least_beats of a record for a cell of it to count; n_shifts of the null (0: 10,000 for
             segments, 5,000 for phases); n_resamples of patients; seed
    other    another run to compare with: the same records explained by another network
    cache    where marks are kept from call to call

    The result is the same in any order of records. A target with fewer than 20 records or 10 patients is left out where
    there are others; a comparison with such a group is left out, its target stays. Raises InputError where no target is
    left, or nothing is known to compare by, and UsageError for words that are not known.
    """
    how = how or Averaging()
    if how.compare and other is None:
        check_comparison(how.compare, cohort)
    work = _Work(explained, cohort, method, how, other)
    gatherings, left_out = [], {}
    for target in targets:
        try:
            gatherings.append(work.begin(target))
        except InputError as error:
            left_out[target] = error
    if gatherings:
        work.gather(gatherings, cache, progress)
    found = []
    for one in gatherings:
        try:
            found.append(work.finish(one))
        except InputError as error:
            left_out[one.target] = error
    if not found:
        raise next(iter(left_out.values()))
    return found, {target: str(error) for target, error in left_out.items()}


class _Work:
    """One call at work."""

    def __init__(
        self, explained: ExplainedCohort, cohort: Cohort, method: str, how: Averaging, other: ExplainedCohort | None
    ) -> None:
        self.explained, self.cohort, self.method, self.how, self.other = explained, cohort, method, how, other
        fs = float(explained.about["fs"])
        empty = beat_cells(np.zeros(0), np.arange(int(10 * fs)) / fs)
        self.names = SEGMENTS if how.by == SEGMENT else empty.names
        self.n_shifts = how.n_shifts or N_SHIFTS[how.by]

    def begin(self, target: str) -> _Gathering:
        """Choose the records of a target. Raises InputError where there are too few."""
        chosen = select(self.explained, self.cohort, target, self.method, self.how.select)
        refuse_few(target, chosen.records, self.explained)
        normal = select_normal(self.explained, self.cohort, target, self.method)
        shape = len(self.explained.leads), len(self.names)
        rows, normals, others = (
            CohortExplanation(target, self.method, self.explained.leads, self.names) for _ in range(3)
        )
        for name, why in chosen.excluded.items():
            rows.exclude(name, why)
        null = ShiftNull(*shape, self.n_shifts, self.how.seed)
        return _Gathering(target, chosen, normal, rows, normals, others, null, Beats(*shape))

    def gather(self, gatherings: Sequence[_Gathering], cache: Cache | None, progress: Progress) -> None:
        """Go through the records once."""
        normals = [frozenset(one.normal.records if one.normal else ()) for one in gatherings]
        owns = [frozenset(one.selection.records) for one in gatherings]
        wanted = sorted(frozenset[str]().union(*owns, *normals))
        number = {name: k for k, name in enumerate(self.cohort.record_ids)}
        for done, name in enumerate(wanted, 1):
            ecg = self.cohort[number[name]]
            record = _Record(self, name, ecg, mark(ecg, cache))
            for one, own, normal in zip(gatherings, owns, normals, strict=True):
                if name in own:
                    record.add(one)
                elif name in normal:
                    record.add_normal(one)
            progress("averaging", done, len(wanted), "")

    def cells(self, marked: Marked, times: Floats) -> SoftCells:
        """Return the cells of one record."""
        if self.how.by == SEGMENT:
            return segment_cells(marked.marks, marked.deviation, times, self.explained.leads)
        return beat_cells(marked.usual, times)

    def finish(self, one: _Gathering) -> Glocal:
        """Return the average of a target. Raises InputError where too few records are left."""
        if not len(one.rows):
            raise InputError(one.target, "records", f"none of {len(one.selection.records)} with beats", "20 or more",
                             kind="too_few")  # fmt: skip
        rows = one.rows.rows()
        refuse_few(one.target, rows.record_ids, self.explained)
        summary = one.rows.compute(self.how.n_resamples, self.how.seed)
        enough = ~is_too_small(summary.n, summary.n_patients_with)
        shown = _only(summary, enough)
        p = np.where(enough, one.null.p_values(), np.nan)
        maps = self.explained.maps
        own = maps[(maps.index.get_level_values("method") == self.method)].iloc[0]
        bundles = {str(name): str(bundle) for name, bundle in self.explained.records["bundle"].items()}
        against, groups = self._against(one), self._groups(one)
        return Glocal(
            one.target, self.method, self.how.by, self.how.select, self.explained.leads, self.names, shown, p,
            false_discovery(p), ranks(shown.mean), one.rows, one.null, one.rows.excluded,
            {wave: dict(reasons) for wave, reasons in one.absent.items() if reasons}, dict(one.left_out),
            members_agreement(rows, bundles), str(own["unit"]), float(own["resolution_ms"]),
            bool(own["resolves_leads"]), against if isinstance(against, Difference) else None,
            tuple(between for between in groups if isinstance(between, Difference)),
            tuple(between for between in (against, *groups) if isinstance(between, NotCompared)),
            one.trace.compute() if self.how.by == BEAT else None, not_judged=one.selection.not_judged,
        )  # fmt: skip

    def _against(self, one: _Gathering) -> Difference | NotCompared | None:
        """Compare with the records labelled NORM; None where that cannot be asked of this target."""
        if one.normal is None:
            return None
        left_out = len(one.normal.excluded) + len(one.normals.excluded)
        return self._compare(
            (one.target, one.rows, _names(one.rows)), (NORMAL, one.normals, _names(one.normals)), left_out
        )

    def _groups(self, one: _Gathering) -> tuple[Difference | NotCompared, ...]:
        """Compare the groups that were asked for."""
        own = _names(one.rows)
        if self.other is not None:
            both = _names(one.others)  # those of this run that the other has, too
            sides = ("this run", one.rows, both), ("the other run", one.others, both)
            return (self._compare(*sides, len(own) - len(both), ", records in both runs"),)
        if not self.how.compare:
            return ()
        found = group(self.how.compare, self.explained, self.cohort, one.target, own)
        neither = len(own) - len(found.of_a) - len(found.of_b)
        return (self._compare((found.a, one.rows, found.of_a), (found.b, one.rows, found.of_b), neither),)

    def _compare(self, a: _Side, b: _Side, n_left_out: int, which: str = "") -> Difference | NotCompared:
        """Compare two groups, or say why not."""
        try:
            for name, _, records in (a, b):
                refuse_few(f"{name}{which}", records, self.explained)
        except InputError as error:
            owners = self.explained.records["patient"]
            n_people = [owners[list(records)].nunique() for _, _, records in (a, b)]
            return NotCompared(a[0], b[0], len(a[2]), len(b[2]), n_people[0], n_people[1], str(error))
        between = difference(
            a[0], a[1].rows(a[2]), b[0], b[1].rows(b[2]), n_resamples=self.how.n_resamples, seed=self.how.seed,
        )  # fmt: skip
        return replace(between, n_left_out=n_left_out)


def _names(cells: CohortExplanation) -> tuple[str, ...]:
    return cells.rows().record_ids if len(cells) else ()


class _Record:
    """One record on its way: its cells are made once for all targets."""

    def __init__(self, work: _Work, name: str, ecg: ECG, marked: Marked) -> None:
        self.work, self.name, self.ecg, self.marked = work, name, ecg, marked
        self._cells: SoftCells | None = None

    def add(self, one: _Gathering) -> None:
        """Add it to the records of a target."""
        explanation, cells = self._map(one.target)
        _count_absences(one.absent, self.marked)
        if self.work.how.by == BEAT:
            one.left_out.update(reason for reason in self.marked.why_not if reason)
        if not self._update(one.rows, explanation, cells):
            return
        one.null.update(self.name, np.abs(explanation.values), cells, self.work.how.least_beats)
        if self.work.how.by == BEAT:
            signal = signal_at(self.ecg, explanation.times, explanation.leads)
            one.trace.update(self.name, signal, cells)
        if self.work.other is not None:
            self._add_other(one)

    def add_normal(self, one: _Gathering) -> None:
        """Add it to the normal records that a target is compared with."""
        self._update(one.normals, *self._map(one.target))

    def _add_other(self, one: _Gathering) -> None:
        """Add the same record as the other run explains it, where it does."""
        other = self.work.other
        assert other is not None
        try:
            explanation = other.explanation(self.name, one.target, self.work.method)
        except InputError:
            return
        cells = self.work.cells(self.marked, explanation.times)
        self._update(one.others, explanation, cells)

    def _map(self, target: str) -> tuple[Explanation, SoftCells]:
        explanation = self.work.explained.explanation(self.name, target, self.work.method)
        if self._cells is None:
            self._cells = self.work.cells(self.marked, explanation.times)
        return explanation, self._cells

    def _update(self, rows: CohortExplanation, explanation: Explanation, cells: SoftCells) -> bool:
        """Add the means of a map to `rows`; tell whether there were beats enough."""
        values = np.abs(explanation.values.astype(np.float64))
        patient = str(self.work.explained.records.at[self.name, "patient"])
        n_beats = int(cells.n_beats.max(initial=0))
        if n_beats < self.work.how.least_beats:
            few = f"fewer than {self.work.how.least_beats} beats"
            rows.exclude(self.name, few if n_beats else "no beats")
            return False
        means = cell_means(values, cells, self.work.how.least_beats)
        rows.update(self.name, patient, means, n_beats=n_beats, level=float(values.mean()))
        return True


def _count_absences(absent: Mapping[str, Counter[str]], marked: Marked) -> None:
    """Count the record under each wave that no lead of it has, with the most frequent reason."""
    for wave, marks in WAVES.items():
        reasons = Counter(why for (_, _, name), why in marked.marks.absent.items() if name == wave)
        if reasons and not _has(marked, marks):
            absent[wave][min(reasons, key=lambda why: (-reasons[why], why))] += 1


def _has(marked: Marked, marks: Sequence[str]) -> bool:
    return any(np.isfinite(marked.marks[lead, mark]).any() for lead in marked.marks.leads for mark in marks)


def _only(summary: Summary, enough: NDArray[np.bool_]) -> Summary:
    """Return the summary with NaN in the cells that too few records have."""
    names = ("mean", "spread", "low", "high", "band_low", "band_high", "lift", "lift_low", "lift_high")
    shown: dict[str, Any] = {name: np.where(enough, getattr(summary, name), np.nan) for name in names}
    return replace(summary, **shown)


def refuse_other_data(other: ExplainedCohort, explained: ExplainedCohort, targets: Sequence[str], method: str) -> None:
    """Raise UsageError where another run cannot be compared with this one: leads, targets or method are missing."""
    missing = [name for name in targets if name not in other.targets]
    for what, found, needed in (
        ("leads", other.leads, explained.leads if other.leads != explained.leads else ()),
        ("targets", other.targets, tuple(missing)),
        ("methods", other.methods, (method,) if method not in other.methods else ()),
    ):
        if needed:
            raise UsageError(other.run.folder, what, ", ".join(found), f"also {', '.join(needed)}")
