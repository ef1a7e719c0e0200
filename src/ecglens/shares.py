# SPDX-License-Identifier: Apache-2.0
"""Where a map lies: its share in each segment of each lead, beside the share of the record's time, and in one sentence.

A map that preferred nothing would hold in every cell (a segment of a lead) as much as the cell holds of the lead-time:
12 leads of 10 s are 120 s of lead-time. Share over share of time is the cell's `lift`; 1 is an even spread.

Nothing is told more finely than the method can see: where it cannot tell leads apart they are one row, where the limb
leads were hidden together they are one, and a segment shorter than the method's resolution has no figure.

>>> import numpy as np
>>> from ecglens.fiducials import MARKS
>>> times = np.full((2, 1, len(MARKS)), np.nan)
>>> times[:, 0, MARKS.index("QRS_onset")], times[:, 0, MARKS.index("QRS_offset")] = 0.2, 0.3
>>> why = {(lead, None, wave): "by hand" for lead in ("V1", "V2") for wave in ("P", "T")}
>>> marks = Fiducials(times, ("V1", "V2"), "by hand", absent=why)
>>> values = np.full((2, 100), 0.5, np.float32)
>>> values[0, 20:30] = 10.0
>>> found = Explanation(values, 100.0, ("V1", "V2"), "r", "MI", np.ones(1), ("MI",), "saliency", resolution_ms=10.0)
>>> where_sentence(found, share_out(found, marks)).split(" (")[0]
'51% of the absolute map of MI lies in QRS of V1, which is 5.0% of the lead-time'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.fiducials import Fiducials
from ecglens.leads import LIMB_LEADS

REST = "rest"
EDGES = {
    "P": ("P_onset", "P_offset"), "PQ": ("P_offset", "QRS_onset"), "QRS": ("QRS_onset", "QRS_offset"),
    "ST": ("QRS_offset", "T_onset"), "T": ("T_onset", "T_offset"),
}  # fmt: skip
SEGMENT_NAMES = (*EDGES, REST)
_LATER_WINS = ("ST", "PQ", "T", "P", "QRS")  # where the marks of two beats overlap
ALL_LEADS, LIMB = "all leads", "limb leads"

STANDS_OUT = 1.5  # times an even spread, from which a lead or a cell is named
LEAST_NAMED = 0.01  # of the map: what holds less is not named, however small it is
MOST_NAMED = 3  # leads

ATTENTION = "share of attention"  # the unit of maps of attention
NO_CLAIM = {
    ATTENTION: "Attention says where the network looks: it has no sign and speaks for nothing.",
    "nothing of the network": "This map knows nothing of the network and speaks for nothing.",
}
_VERDICTS = {
    "passes": "The method passed the audit on this network.",
    "fails": "The method failed the audit on this network: do not rely on it.",
    NOT_TESTED: "The method is not tested on this network.",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shares:
    """A map shared out over what can be told apart.

    rows      leads, or groups of leads that the method cannot tell apart
    segments  `SEGMENT_NAMES`; rest is what no mark covers, the stretch from T to P for the most part
    positive  share of the absolute map that is positive [row, segment]; NaN where the segment is not marked
    negative  share of it that is negative, as a positive number [row, segment]
    time      share of the lead-time [row, segment]
    duration  median length of each segment [segment], in ms; NaN where there is none
    resolved  whether the method can tell each segment from its neighbours [segment]
    n_beats   beats marked

    Shares of all cells sum to 1, those of time too.
    """

    rows: tuple[str, ...]
    segments: tuple[str, ...]
    positive: Floats
    negative: Floats
    time: Floats
    duration: Floats
    resolved: NDArray[np.bool_]
    n_beats: int

    @property
    def share(self) -> Floats:
        """Share of the absolute map [row, segment]."""
        return self.positive + self.negative

    @property
    def lift(self) -> Floats:
        """Share of the map over share of time [row, segment]; 1 is an even spread."""
        return self.share / self.time

    def as_rows(self) -> list[dict[str, str | float | None]]:
        """Return one mapping per cell; None where the segment is not marked or finer than the method can see."""
        columns = {"share": self.share, "positive": self.positive, "negative": self.negative, "lift": self.lift}
        told: list[dict[str, str | float | None]] = []
        for (r, s), time in np.ndenumerate(self.time):
            known = bool(self.resolved[s]) and np.isfinite(time)
            figures = {name: float(values[r, s]) if known else None for name, values in columns.items()}
            about: dict[str, str | float | None] = {"lead": self.rows[r], "segment": self.segments[s]}
            told.append(about | figures | {"time": float(time) if np.isfinite(time) else None})
        return told


def rows_of(explanation: Explanation) -> dict[str, tuple[int, ...]]:
    """Return which leads of a map can be told apart: positions by name of lead or group."""
    every = tuple(range(len(explanation.leads)))
    if not explanation.resolves_leads and len(every) > 1:
        return {ALL_LEADS: every}
    limb = tuple(k for k in every if explanation.leads[k] in LIMB_LEADS)
    if not explanation.parameters.get("together") or len(limb) < 2:
        return {explanation.leads[k]: (k,) for k in every}
    return {LIMB: limb} | {explanation.leads[k]: (k,) for k in every if k not in limb}


def share_out(explanation: Explanation, marks: Fiducials) -> Shares:
    """Return how much of the absolute map lies in each segment of each lead, beside the share of time.

    A wave that no beat has in any lead of a row has no figure, not 0. A method that hid whole segments cannot tell
    PQ from the rest, so there it has none either.
    """
    hidden = explanation.parameters.get("by") == "segment"
    edges = {name: pair for name, pair in EDGES.items() if name != "PQ" or not hidden}
    groups = rows_of(explanation)
    alike = list(groups.values()) if hidden else [(row,) for row in range(len(explanation.leads))]
    place = _segment_of_each_sample(explanation, marks, edges, alike)
    values = explanation.values.astype(np.float64)
    total = np.abs(values).sum() or 1.0
    positive, negative, time = (np.full((len(groups), len(SEGMENT_NAMES)), np.nan) for _ in range(3))
    for row, leads in enumerate(groups.values()):
        for segment in range(len(SEGMENT_NAMES)):
            inside = values[list(leads)][place[list(leads)] == segment]
            if inside.size:
                positive[row, segment] = inside[inside > 0].sum() / total
                negative[row, segment] = -inside[inside < 0].sum() / total
                time[row, segment] = inside.size / values.size
    duration = _durations(marks, edges)
    with np.errstate(invalid="ignore"):
        resolved = duration >= explanation.resolution_ms
    if hidden:
        resolved = np.isfinite(duration)
    resolved[-1] = resolved.any()  # the rest is told from what is told
    return Shares(tuple(groups), SEGMENT_NAMES, positive, negative, time, duration, resolved, marks.n_beats)


def _segment_of_each_sample(
    explanation: Explanation, marks: Fiducials, edges: dict[str, tuple[str, str]], alike: Sequence[tuple[int, ...]]
) -> NDArray[np.int64]:
    """Return the number of the segment that each sample of the map lies in [lead, time].

    alike   leads, or groups whose segments were hidden together: where one of a group has a segment, all have it
    """
    place = np.full(explanation.values.shape, SEGMENT_NAMES.index(REST))
    at = explanation.times
    for group in alike:
        leads = [explanation.leads[row] for row in group if explanation.leads[row] in marks.leads]
        for name in (name for name in _LATER_WINS if name in edges):
            onsets, offsets = (
                np.concatenate([marks[lead, mark] for lead in leads] or [at[:0]]) for mark in edges[name]
            )
            for onset, offset in zip(onsets, offsets, strict=True):
                inside = np.flatnonzero((at >= onset) & (at < offset))  # NaN compares as outside
                place[np.array(group)[:, None], inside] = SEGMENT_NAMES.index(name)
    return place


def _durations(marks: Fiducials, edges: dict[str, tuple[str, str]]) -> Floats:
    """Return the median length of each segment over leads and beats, in ms [segment]; NaN where there is none."""
    lengths = np.full(len(SEGMENT_NAMES), np.nan)
    for name, (onset, offset) in edges.items():
        each = np.concatenate([marks[lead, offset] - marks[lead, onset] for lead in marks.leads] or [np.empty(0)])
        if np.isfinite(each).any():
            lengths[SEGMENT_NAMES.index(name)] = 1000 * np.nanmedian(each)
    return lengths


# ---------------------------------------------------------------------------------------------------------- sentences


def where_sentence(explanation: Explanation, shares: Shares | None = None) -> str:
    """Say where a map lies, and what that does not mean. It speaks of the map, never of the heart.

    1. A cell stands out when it holds at least 1.5 times its share of time, and 1 % of the map.
    2. The segment named is the one whose cells that stand out hold most together.
    3. Of these leads the three that hold most are named; all are counted where the three hold less than half of it.
    4. Where no cell stands out, the map is spread evenly. Where the method sees no segment, leads alone are named.
    5. Maps that speak for nothing (attention, energy, ...) are called that; the audit's verdict comes last.
    """
    parts = [where(explanation, shares)]
    if explanation.unit in NO_CLAIM:
        parts.append(NO_CLAIM[explanation.unit])
    return " ".join([*parts, _VERDICTS[explanation.verdict]])


def where(explanation: Explanation, shares: Shares | None = None) -> str:
    """Say where a map lies (rules 1 to 4 of `where_sentence`) and nothing else."""
    return _cells_sentence(explanation, shares) if shares is not None else lead_sentence(explanation)


def lead_sentence(explanation: Explanation) -> str:
    """Say which leads carry the most of a map, against the share that each would have by chance."""
    n_leads = len(explanation.leads)
    if n_leads == 1:
        return f"The network sees {explanation.leads[0]} only."
    if not explanation.resolves_leads:
        return "This method gives every lead the same map: it cannot say which lead mattered."
    by_lead = list(explanation.share_by_lead().values())
    shares = {name: sum(by_lead[k] for k in leads) for name, leads in rows_of(explanation).items()}
    chance = {name: len(leads) / n_leads for name, leads in rows_of(explanation).items()}
    order = sorted(shares, key=lambda name: -shares[name])
    if shares[order[0]] == 0:
        return "The map is empty: no lead carries anything."
    even = f"with no preference each of the {n_leads} leads would carry {1 / n_leads:.1%}"
    if LIMB in shares:
        even += f", the limb leads, hidden together, {chance[LIMB]:.0%}"
    named = [name for name in order if shares[name] >= STANDS_OUT * chance[name]][:MOST_NAMED]
    if not named:
        top = f"the {LIMB}" if order[0] == LIMB else order[0]
        return f"No lead stands out: the largest share is {shares[order[0]]:.0%}, in {top}; {even}."
    verb = "carries" if named in ([name] for name in explanation.leads) else "carry"
    words = listed([f"{name} ({shares[name]:.0%})" for name in named])
    return f"{'The ' if named[0] == LIMB else ''}{words} {verb} the most of the absolute map; {even}."


def _cells_sentence(explanation: Explanation, shares: Shares) -> str:
    """Say which segment of which leads holds the most of the map."""
    if not np.abs(explanation.values).any():
        return "The map is empty: no lead carries anything."
    if not shares.resolved.any():
        why = "No beat is marked" if not shares.n_beats else _too_coarse(explanation, shares)
        return f"{lead_sentence(explanation)} {why}: nothing is said of P, QRS and T."
    share, lift = (np.where(shares.resolved, values, np.nan) for values in (shares.share, shares.lift))
    with np.errstate(invalid="ignore"):
        out = (lift >= STANDS_OUT) & (share >= LEAST_NAMED)
    if not out.any():
        return (
            f"The map of {explanation.target} is spread evenly: no segment that holds {LEAST_NAMED:.0%} of it holds "
            f"more than {STANDS_OUT:g} times its share of time."
        )
    held = np.where(out, share, 0.0)
    segment = int(held.sum(axis=0).argmax())
    rows = _named_rows(held[:, segment])
    words = _told(explanation, shares, rows, segment)
    if len(rows) > 1:
        row, column = np.unravel_index(int(held.argmax()), held.shape)
        name = _in(shares.segments[column]).removeprefix("in ")
        words += f"; the largest single share: {shares.rows[row]}, {name} ({held[row, column]:.0%})"
    unseen = [name for name, ok in zip(shares.segments[:-1], shares.resolved, strict=False)
              if not ok and np.isfinite(shares.duration[shares.segments.index(name)])]  # fmt: skip
    coarse = f" {_too_coarse(explanation, shares)}." if unseen else ""
    return f"{words}.{coarse}"


def _named_rows(held: Floats) -> list[int]:
    """Return the rows to name: the largest three, or all that stand out where the three hold less than half."""
    order = [k for k in sorted(range(len(held)), key=lambda k: -held[k]) if held[k] > 0]
    most = order[:MOST_NAMED]
    return sorted(most if held[most].sum() >= held.sum() / 2 else order)


def _told(explanation: Explanation, shares: Shares, rows: Sequence[int], segment: int) -> str:
    """Say how much of the map these rows hold in this segment, and of how much time."""
    positive, negative, time = (float(v[rows, segment].sum()) for v in (shares.positive, shares.negative, shares.time))
    names = [shares.rows[row].replace(LIMB, f"the {LIMB}") for row in rows]
    leads = listed(names) if len(names) <= MOST_NAMED else f"{len(names)} of {len(shares.rows)} leads"
    if len(names) == len(shares.rows):
        leads = ALL_LEADS
    signs = f" ({positive:.0%} positive, {negative:.0%} negative)" if negative > 0 else ""
    of_leads, span = (f" of {leads}", "lead-time") if leads != ALL_LEADS else ("", "time")
    verb = "is" if len(names) == 1 or leads == ALL_LEADS else "are"
    kind = "map" if explanation.unit in NO_CLAIM else f"absolute map of {explanation.target}"
    return (
        f"{positive + negative:.0%} of the {kind}{signs} lies {_in(shares.segments[segment])}{of_leads}, which {verb} "
        f"{_percent(time)} of the {span} ({(positive + negative) / time:.1f} times an even spread)"
    )


def _in(segment: str) -> str:
    return "outside P to T" if segment == REST else f"in {segment}"


def _too_coarse(explanation: Explanation, shares: Shares) -> str:
    """Say which segments are shorter than what the method can see."""
    if explanation.resolution_ms >= 1000 * explanation.values.shape[1] / explanation.fs:
        return "The method says nothing of time"
    short = [
        f"{name} ({length:.0f} ms)"
        for name, length, ok in zip(shares.segments, shares.duration, shares.resolved, strict=True)
        if not ok and np.isfinite(length)
    ]
    return f"The method's resolution of {explanation.resolution_ms:,.0f} ms is coarser than {listed(short)}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["V1", "V2", "V3"])
    'V1, V2 and V3'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
