# SPDX-License-Identifier: Apache-2.0
"""The page of averaged maps: per target the conclusion, the picture, the ranked cells in words, and the comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ecglens.aggregation.glocal import SEGMENT, Glocal
from ecglens.aggregation.groups import Difference, NotCompared
from ecglens.aggregation.tables import SIGNIFICANT, cell_words, counts, sentence
from ecglens.explanation import NOT_TESTED
from ecglens.plotting.glocal import plot_beats, plot_segments
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.shares import NO_CLAIM, listed

INDEX = "index.html"
MOST_ROWS = 20
STAMPS = {
    "fails": "STAMP: the method FAILED the audit of these weights. These maps are not to be believed as explanations.",
    NOT_TESTED: "STAMP: the method is NOT TESTED on these weights. Whether its maps are true of them is not known.",
    "passes": "The method passed the audit on these weights.",
}
LIMITS = (
    "An average says where these networks look in these records, not where a disease is, and nothing of a single "
    "patient. A network may read a finding of one lead in others: twelve leads are not twelve witnesses.",
    "The shift null asks one thing: do the maps know of the waves in time? A map that prefers a lead the whole time "
    "has a lift above 1 there without being more than the null.",
    "Cells of points (onset, peak, offset) hold one sample a beat; where the marks are unsure they share with their "
    "neighbours, and so do their values.",
)


def glocal_report(
    found: Sequence[Glocal], left_out: Mapping[str, str], data: str, provenance: Sequence[tuple[str, str]] = ()
) -> Report:
    """Return the page of `ecglens aggregate`."""
    first = found[0]
    what = "segments of leads" if first.by == SEGMENT else "phases of the beat"
    subtitle = f"{first.method} over {data}, averaged in {what}; records {first.select}"
    sections = [Section("To be believed?", STAMPS[first.verdict])]
    for one in found:
        sections += [_average(one), *_comparisons(one), _left_out(one)]
    if left_out:
        rows = tuple((name, why) for name, why in left_out.items())
        table = Table(("Target", "Why"), rows, "Targets that were left out.")
        sections.append(Section("Targets left out", f"{len(left_out)} targets were left out.", (), (table,)))
    sections.append(Section("Limits", text=(*LIMITS, *_of_method(first)), method=_method(first)))
    return Report("Where the evidence lies, over the cohort", subtitle, tuple(sections), tuple(provenance))


def _of_method(found: Glocal) -> tuple[str, ...]:
    said = [NO_CLAIM[found.unit]] if found.unit in NO_CLAIM else []
    if not found.resolves_leads:
        said.append("This method gives every lead the same map: rows of a picture differ by their waves alone.")
    if found.resolution_ms > 20:
        said.append(
            f"The method's resolution is {found.resolution_ms:,.0f} ms: cells shorter than that cannot be told from "
            "their neighbours."
        )
    return tuple(said)


def _average(one: Glocal) -> Section:
    text = []
    if one.members is not None:
        m = one.members
        text.append(
            f"Rank correlation of cells between the {m.n_members} networks of the family, each over its own records: "
            f"median {m.median:.2f} ({m.low:.2f} to {m.high:.2f})."
        )
    return Section(one.target, sentence(one), (_picture(one),), (_ranked(one),), tuple(text))


def _picture(one: Glocal) -> Figure:
    title = f"{one.target}: mean absolute map ({one.method}), {one.summary.n_records:,} records"
    if one.verdict != "passes":
        title += f" - {'FAILED AUDIT' if one.verdict == 'fails' else 'NOT TESTED'}"
    if one.by == SEGMENT:
        sure = np.nan_to_num(one.q, nan=1.0) <= SIGNIFICANT
        figure = plot_segments(
            one.leads, one.cells, one.summary.mean, one.rank, title=title, unit=one.unit, outlined=sure,
            foot="Numbers: the seven largest. Framed: more than the shift null (FDR 5 %). Hatched: too few.",
        )  # fmt: skip
        caption = "Mean over records of the mean absolute map in each segment of each lead."
        return Figure(figure_bytes(figure), caption, f"Heat of {one.target} by lead and segment. {sentence(one)}")
    assert one.trace is not None
    figure = plot_beats(
        one.leads, np.array([float(name) for name in one.cells]), vars(one.trace), one.summary.mean, title=title,
        unit=one.unit,
    )  # fmt: skip
    return Figure(figure_bytes(figure), "The usual beat and where the maps lie on it.", f"Beats of {one.target}")


def _ranked(one: Glocal) -> Table:
    """The largest cells in words."""
    s, rows = one.summary, []
    for at in one.order()[:MOST_ROWS]:
        rows.append((
            f"{one.rank[at]:.0f}", cell_words(one, *at), f"{s.mean[at]:.3g} [{s.low[at]:.3g}, {s.high[at]:.3g}]",
            f"{s.lift[at]:.2f} [{s.lift_low[at]:.2f}, {s.lift_high[at]:.2f}]", _q(one.q[at]),
            f"{s.n[at]:,}", f"{s.n_patients_with[at]:,}",
        ))  # fmt: skip
    header = ("Rank", "Cell", "Value", "Times an even spread", "q", "Records", "Patients")
    n_null = int(np.isnan(s.mean).sum())
    caption = (
        f"The largest cells, value in {one.unit or 'no unit'}, with 95 % intervals over patients; q of the shift null "
        "over all cells. "
        f"{n_null} of {s.mean.size} cells are in fewer than 20 records or 10 patients and have no value."
    )
    return Table(header, tuple(rows), caption)


def _q(q: float) -> str:
    return "n/a" if np.isnan(q) else ("< 0.001" if q < 0.001 else f"{q:.3f}")


def _comparisons(one: Glocal) -> list[Section]:
    every = ([one.against] if one.against is not None else []) + list(one.groups)
    return [_comparison(one, between) for between in every] + [_not_compared(one, few) for few in one.not_compared]


def _not_compared(one: Glocal, few: NotCompared) -> Section:
    who = (
        f"{few.a} ({few.n_a:,} records of {few.n_patients_a:,} patients), {few.b} ({few.n_b:,} of {few.n_patients_b:,})"
    )
    return Section(f"{one.target}: {few.a} against {few.b}", f"Not compared: {who}. {few.reason}.")


def _comparison(one: Glocal, between: Difference) -> Section:
    differs = between.differs(SIGNIFICANT)
    places = sorted(zip(*np.nonzero(differs), strict=True), key=lambda at: (between.p[at], -abs(between.value[at])))
    who = (
        f"{between.a} ({between.n_a:,} records of {between.n_patients_a:,} patients) less {between.b} "
        f"({between.n_b:,} of {between.n_patients_b:,})"
    )
    n_compared = int(np.isfinite(between.value).sum())
    if between.n_left_out:
        who += f", {between.n_left_out:,} in neither"
    if not places:
        conclusion = f"{who}: none of {n_compared} cells differs."
    else:
        named = listed([cell_words(one, int(r), int(c)) for r, c in places[:3]])
        conclusion = f"{who}: {len(places)} of {n_compared} cells differ, the surest {named}."
    rows = tuple(
        (cell_words(one, int(r), int(c)), f"{between.value[r, c]:+.2f} [{between.low[r, c]:.2f}, "
         f"{between.high[r, c]:.2f}]", f"{between.lift_a[r, c]:.2f}", f"{between.lift_b[r, c]:.2f}",
         _q(float(between.q[r, c])))
        for r, c in places[:MOST_ROWS]
    )  # fmt: skip
    caption = (
        f"The surest {min(len(places), MOST_ROWS)} of the cells that differ, in times an even spread, with 95 % "
        "intervals over patients; false discovery rate 5 %."
    )
    tables = (Table(("Cell", "Difference", between.a, between.b, "q"), rows, caption),) if rows else ()
    figures: tuple[Figure, ...] = ()
    if one.by == SEGMENT:
        figure = plot_segments(
            one.leads, one.cells, between.value, np.full(between.value.shape, np.nan), signed=True,
            title=f"{one.target}: lift of {between.a} less that of {between.b}", unit="times an even spread",
            outlined=differs, foot="Orange: more in the first. Framed: differs (FDR 5 %).",
        )  # fmt: skip
        figures = (Figure(figure_bytes(figure), f"{between.a} less {between.b}.", conclusion),)
    return Section(f"{one.target}: {between.a} against {between.b}", conclusion, figures, tables)


def _left_out(one: Glocal) -> Section:
    records = [(f"record: {why}", f"{n:,}") for why, n in counts(one.excluded).items()]
    unknown = [(f"record, not known whether it counts: {why}", f"{n:,}") for why, n in counts(one.not_judged).items()]
    waves = [(f"no {wave} in any lead: {why}", f"{n:,}") for wave, reasons in one.absent.items()
             for why, n in sorted(reasons.items())]  # fmt: skip
    beats = [(f"beats: {why}", f"{n:,}") for why, n in sorted(one.beats_left_out.items())]
    rows = (*records, *unknown, *waves, *beats)
    conclusion = (
        f"{len(one.excluded):,} records were left out; where a wave is absent, its cells of that record count for "
        "nothing."
    )
    tables = (Table(("What", "How many"), rows, "Left out, and why."),) if rows else ()
    return Section(f"{one.target}: left out", conclusion, (), tables)


def _method(one: Glocal) -> str:
    n_shifts = one.null.n_shifts
    cells = (
        "A segment's cells are soft: each sample belongs to each segment with the probability that the marks and their "
        "deviations give it." if one.by == SEGMENT else
        "Phases run from 300 ms before to 500 ms after each usual beat; odd and early beats are left out."
    )  # fmt: skip
    return (
        f"{cells} Each record's absolute map is averaged in each cell, then over records, each counted once; intervals "
        f"by patient bootstrap. Lift: the value over that of an even spread of the same maps. Shift null: {n_shifts:,} "
        "cohorts of the same maps turned round in time by chance, one-sided; q by Benjamini and Hochberg over all "
        "cells. "
        "Comparisons: differences of lifts, t over patients, q alike."
    )
