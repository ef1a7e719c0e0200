# SPDX-License-Identifier: Apache-2.0
"""An average as rows and as words: what `aggregate` writes, prints and shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecglens.aggregation.glocal import SEGMENT, Glocal
from ecglens.aggregation.groups import Difference
from ecglens.segments import SEGMENTS
from ecglens.statistics.figures import json_number

SIGNIFICANT = 0.05  # false discovery rate
WORDS = dict(zip(SEGMENTS, (
    "onset of P", "rise of P", "P peak", "fall of P", "offset of P", "PQ",
    "onset of QRS", "QRS onset to Q or R", "Q peak", "Q to R", "R peak", "R to S", "S peak", "S to QRS offset",
    "offset of QRS", "QRS offset to J", "J point", "J point to T", "onset of T", "rise of T", "T peak", "fall of T",
    "offset of T", "T to P",
), strict=True))  # fmt: skip


def cell_rows(found: Glocal) -> list[dict[str, Any]]:
    """Return one row per cell in the order of leads and cells: lead, segment, value, low, high, lift, q, rank.

    None where fewer than 20 records or 10 patients have the cell: it is not zero there, it is not known.
    """
    s = found.summary
    columns = {"value": s.mean, "low": s.low, "high": s.high, "lift": s.lift, "q": found.q, "rank": found.rank}
    rows = []
    for r, lead in enumerate(found.leads):
        for c, cell in enumerate(found.cells):
            own = {name: json_number(values[r, c]) for name, values in columns.items()}
            own["rank"] = None if own["rank"] is None else int(own["rank"])
            rows.append({"lead": lead, "segment": cell} | own)
    return rows


def table_rows(found: Glocal) -> list[dict[str, Any]]:
    """Return the same with what the CSV holds besides: p, the lift's interval, the band of records, and counts."""
    s = found.summary
    more = {
        "p": found.p, "lift_low": s.lift_low, "lift_high": s.lift_high, "spread": s.spread, "band_low": s.band_low,
        "band_high": s.band_high, "n": s.n, "n_patients": s.n_patients_with,
    }  # fmt: skip
    flat = {name: values.ravel() for name, values in more.items()}
    return [
        row | {name: json_number(values[k]) for name, values in flat.items()} for k, row in enumerate(cell_rows(found))
    ]


def difference_rows(found: Glocal, between: Difference, only_differing: bool = True) -> list[dict[str, Any]]:
    """Return the cells that differ, the surest first: lead, segment, value (a less b), low, high, p, q, both lifts."""
    chosen = between.differs(SIGNIFICANT) if only_differing else np.isfinite(between.value)
    places = sorted(zip(*np.nonzero(chosen), strict=True), key=lambda at: (between.p[at], -abs(between.value[at])))
    columns = {"value": between.value, "low": between.low, "high": between.high, "p": between.p, "q": between.q,
               "lift_a": between.lift_a, "lift_b": between.lift_b}  # fmt: skip
    return [
        {"lead": found.leads[r], "segment": found.cells[c]}
        | {name: json_number(v[r, c]) for name, v in columns.items()}
        for r, c in places
    ]


def counts(reasons: Mapping[str, str]) -> dict[str, int]:
    """Return how many records were left out, by reason; `reasons` by record."""
    return dict(sorted(Counter(reasons.values()).items()))


def as_dict(found: Glocal) -> dict[str, Any]:
    """Return what `aggregate --json` says of one target."""
    members = found.members
    return {
        "target": found.target, "method": found.method, "n_records": found.summary.n_records,
        "n_patients": found.summary.n_patients, "excluded": counts(found.excluded), "cells": cell_rows(found),
        "not_judged": counts(found.not_judged), "by": found.by, "select": found.select,
        "n_beats": found.summary.n_beats, "unit": found.unit,
        "verdict": found.verdict, "absent": {wave: dict(why) for wave, why in found.absent.items()},
        "beats_left_out": dict(found.beats_left_out),
        "against_norm": None if found.against is None else between_as_dict(found, found.against),
        "comparisons": [between_as_dict(found, one) for one in found.groups],
        "not_compared": [vars(one) for one in found.not_compared],
        "members": None if members is None else vars(members),
    }  # fmt: skip


def between_as_dict(found: Glocal, between: Difference) -> dict[str, Any]:
    """Return a comparison: who, how many, and the cells that differ."""
    return {
        "a": between.a, "b": between.b, "n_a": between.n_a, "n_b": between.n_b,
        "n_patients_a": between.n_patients_a, "n_patients_b": between.n_patients_b,
        "n_left_out": between.n_left_out, "n_compared": int(np.isfinite(between.value).sum()),
        "cells": difference_rows(found, between),
    }  # fmt: skip


def cell_words(found: Glocal, row: int, column: int) -> str:
    """Return a cell in words: `Q peak in aVF`, `R to S in V1`, `40 ms after the beat in V2`."""
    cell = found.cells[column]
    if found.by == SEGMENT:
        return f"{WORDS[cell]} in {found.leads[row]}"
    ms = int(cell)
    when = "at the beat" if ms == 0 else f"{abs(ms)} ms {'after' if ms > 0 else 'before'} the beat"
    return f"{when} in {found.leads[row]}"


def sentence(found: Glocal, most: int = 3) -> str:
    """Return the conclusion of an average in one sentence."""
    sure = [at for at in found.order() if found.q[at] <= SIGNIFICANT][:most]
    who = f"{found.summary.n_records:,} records of {found.summary.n_patients:,} patients"
    if not sure:
        return f"{found.target}, {who}: no cell holds more than maps that know nothing of the beat would."
    named = [f"{cell_words(found, *at)} ({found.summary.lift[at]:.1f})" for at in sure]
    return (
        f"{found.target}, {who}: the largest cells are {', '.join(named)} (in brackets times an even spread; "
        f"false discovery rate {SIGNIFICANT:.0%})."
    )
