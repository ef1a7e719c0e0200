# SPDX-License-Identifier: Apache-2.0
"""What a page says of one map: the sentence, the paper, who carries it in leads, segments and time, and its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import kendalltau

from ecglens.ecg import ECG
from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.attribution import colour_scale, plot_explanation, sign_words
from ecglens.plotting.heat_map import plot_lead_time
from ecglens.plotting.shares import plot_lead_radar, plot_segment_shares
from ecglens.plotting.side_by_side import plot_explanations
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Section, Table
from ecglens.shares import ATTENTION, LIMB, NO_CLAIM, Shares, listed, rows_of, share_out, where

PAGE_DPI = 110.0

VERDICT_SENTENCES = {
    "passes": "This method passed the audit on this very model.",
    "fails": "This method failed the audit on this very model: do not rely on this picture.",
    NOT_TESTED: "This method was not tested on this model: whether its picture is true of the model is not known.",
}


def explanation_section(ecg: ECG, explanation: Explanation, marks: Fiducials | None = None) -> Section:
    """Show one map, and say where it lies and how far it may be believed."""
    shares = share_out(explanation, marks) if marks is not None else None
    place = where(explanation, shares)
    finest = f"Its resolution in time is {explanation.resolution_ms:.0f} ms: two events closer than that look like one."
    verdict = VERDICT_SENTENCES[explanation.verdict]
    fails = explanation.verdict == "fails"  # then that is the conclusion, and the place is a detail
    text = [f"{place if fails else verdict} {finest}"]
    if explanation.unit in NO_CLAIM:
        text.append(NO_CLAIM[explanation.unit])
    text += [f"Warning: this map {warning}." for warning in explanation.warnings]
    if explanation.parameters.get("together"):
        text.append("The limb leads were hidden together: the map cannot tell them apart.")
    unseen = [lead for lead in ecg.leads if lead not in explanation.leads]
    if unseen:
        text.append(f"The network does not see {listed(unseen)}; no tint there means nothing.")
    return Section(
        f"Explanation of {explanation.target}: {explanation.method}", verdict if fails else place,
        tuple(_figures(ecg, explanation, shares, marks, place)),
        (_cells(shares),) if shares is not None and shares.resolved.any() else (),
        tuple(text),
        method=_method(explanation),
    )  # fmt: skip


def side_by_side_section(ecg: ECG, explanations: Sequence[Explanation], marks: Fiducials | None = None) -> Section:
    """Show all maps under each other on the same beat, and say how far their places agree."""
    picture = Figure(
        figure_bytes(plot_explanations(ecg, explanations, marks), "png", dpi=PAGE_DPI),
        "Each row is one map on the same beat of all leads, 25 mm/s and 10 mm/mV. Orange is positive, blue negative.",
        f"The same beat {len(explanations)} times, tinted by {listed([_name(one) for one in explanations])}",
    )
    return Section("Side by side", _agreement(explanations), (picture,))


def hidden_leads_section(
    ecg: ECG, attention: Explanation | None, hidden: Sequence[Explanation], marks: Fiducials | None = None
) -> Section:
    """Show what hiding whole leads does to one target, by each filler, beside what the network attends to."""
    target, unit = hidden[0].target, hidden[0].unit
    falls = [_falls(one) for one in hidden]
    picture = Figure(
        figure_bytes(plot_explanations(ecg, hidden, marks, one_scale=True), "png", dpi=PAGE_DPI),
        f"How far {target} falls when a lead is hidden, per sample of the lead; one scale for all rows.",
        f"The same beat {len(hidden)} times, each lead tinted by what hiding it does to {target}",
    )
    attended = _falls(attention) if attention is not None else {}
    names = [*hidden[0].leads, *([LIMB] if any(LIMB in fall for fall in falls) else [])]
    rows = tuple(
        (name, *([f"{attended[name]:.1%}" if name in attended else ""] if attended else []),
         *(f"{fall[name]:+.2f}" if name in fall else "" for fall in falls))
        for name in names
    )  # fmt: skip
    columns = ("Hidden", *(["Attention"] if attended else []), *(one.method for one in hidden))
    table = Table(columns, rows, f"Fall of {target} when a lead is hidden, in {unit}; minus: it rises.")
    told = [_most(one, fall) for one, fall in zip(hidden, falls, strict=True)]
    text = [_fillers(hidden)]
    if attended:
        text.insert(0, _rank_agreement(attended, hidden, falls))
    return Section(f"Hiding whole leads: {target}", f"What changes {target} most, in {unit}: {listed(told)}.",
                   (picture,), (table,), tuple(text))  # fmt: skip


def _most(explanation: Explanation, falls: dict[str, float]) -> str:
    """Say which lead changes the target most when hidden, and in which direction."""
    lead = max(falls, key=lambda name: abs(falls[name]))
    verb = "lowers" if falls[lead] > 0 else "raises"
    return (
        f"hiding {f'the {LIMB}' if lead == LIMB else lead} {verb} it by {abs(falls[lead]):.2f} ({explanation.method})"
    )


def _falls(explanation: Explanation) -> dict[str, float]:
    """Return the sum of a map by lead or group of leads."""
    total = explanation.values.astype(np.float64).sum(axis=1)
    return {name: float(total[list(members)].sum()) for name, members in rows_of(explanation).items()}


def _fillers(hidden: Sequence[Explanation]) -> str:
    alone = [one.method for one in hidden if LIMB not in rows_of(one)]
    words = (
        "Signals in which one lead is hidden are no ECGs where that lead is III, aVR, aVL or aVF: these follow from I "
    )
    words += f"and II. {listed(alone)} hide each lead alone all the same, as TrustECG does" if alone else "and II"
    together = [one.method for one in hidden if LIMB in rows_of(one)]
    return words + (f"; {listed(together)} hides the limb leads together." if together else ".")


def _rank_agreement(
    attended: dict[str, float], hidden: Sequence[Explanation], falls: Sequence[dict[str, float]]
) -> str:
    """Say how attention and falls agree in rank over the leads that were hidden alone."""
    told = []
    for one, fall in zip(hidden, falls, strict=True):
        leads = [lead for lead in attended if lead in fall]
        if len(leads) == len(attended) > 2:
            tau = kendalltau([attended[lead] for lead in leads], [fall[lead] for lead in leads]).statistic
            if np.isfinite(tau):
                told.append(f"{tau:+.2f} ({one.method})")
    if not told:
        return "Attention and falls cannot be compared by rank."
    return (
        f"Agreement in rank (Kendall's tau; 1: the same order, 0: none) between attention over leads and the fall: "
        f"{listed(told)}, over {len(attended)} leads of one ECG."
    )


def _agreement(explanations: Sequence[Explanation]) -> str:
    """Say in how many of the maps that tell each lead apart which lead holds the largest share."""
    if len({one.target for one in explanations}) > 1:
        return "Maps of different targets may differ and all be right. Maps of one target by several methods may not."
    told = [one for one in explanations if 1 < len(one.leads) == len(rows_of(one)) and one.values.any()]
    differ = "Maps that differ cannot all be right; only a test on this very model tells which to believe."
    if len(told) < 2:
        return differ
    tops = [max(shares, key=shares.__getitem__) for shares in (one.share_by_lead() for one in told)]
    most = max(dict.fromkeys(tops), key=tops.count)
    n = tops.count(most)
    if n == len(told):
        return f"All {n} maps that tell leads apart have their largest share in {most}; that does not make them true."
    if n == 1:
        return f"No two of {len(told)} maps that tell leads apart have their largest share in the same lead. {differ}"
    return f"{n} of {len(told)} maps that tell leads apart have their largest share in {most}. {differ}"


def _figures(
    ecg: ECG, explanation: Explanation, shares: Shares | None, marks: Fiducials | None, place: str
) -> Iterator[Figure]:
    """Yield the paper, the radar of leads, the bars of segments, and lead x time."""
    name = f"the {explanation.method} map for {explanation.target}"
    yield Figure(
        figure_bytes(plot_explanation(ecg, explanation)),
        f"Map for {explanation.target} on the ECG, method {explanation.method}. {_colour_sentence(explanation)} "
        "Bars: each lead's share of the absolute map; dashed: the share by chance.",
        f"ECG tinted by {name}. {place}",
    )
    if shares is not None and shares.resolved.any():
        yield Figure(
            figure_bytes(plot_segment_shares(shares, explanation.target)),
            "Share of the absolute map by segment, all leads together, above the share of the record's time.",
            f"Bars of the share of {name} by segment, each beside its share of time",
        )
    if explanation.resolves_leads and len(explanation.leads) > 2:
        yield Figure(
            figure_bytes(plot_lead_radar([explanation])),
            "Share of the absolute map by lead, the leads in their order round the heart. Dashed: an even share.",
            f"Radar of the share of {name} by lead",
        )
    ticks = "; ticks above: R peaks" if marks is not None else ""
    shown, what = explanation, f"The same map as lead x time, whole record{ticks}."
    if explanation.unit == ATTENTION:
        shown, what = _over_time(explanation), f"Attention over time within each lead: each row sums to 1{ticks}."
    yield Figure(
        figure_bytes(plot_lead_time(shown, marks), "png", dpi=PAGE_DPI), what,
        f"Heat map of {name}, leads down and time across",
    )  # fmt: skip


def _over_time(explanation: Explanation) -> Explanation:
    """Return the attention over time alone: lead attention times it, divided by the lead's share."""
    rows = explanation.values.sum(axis=1, keepdims=True)
    values = explanation.values / np.where(rows == 0, 1.0, rows)
    return replace(explanation, values=values.astype(np.float32), method="attention over time")


def _cells(shares: Shares) -> Table:
    """Tabulate the share of each segment of each lead, with its ratio to the share of time."""
    columns = [k for k in range(len(shares.segments)) if shares.resolved[k]]
    rows = []
    for row, lead in enumerate(shares.rows):
        told = [
            f"{shares.share[row, k]:.1%} ({shares.lift[row, k]:.1f})"
            if np.isfinite(shares.time[row, k])
            else "not marked"
            for k in columns
        ]
        rows.append((lead, *told))
    held = [f"{name} ({shares.duration[k]:.0f} ms)" for k, name in enumerate(shares.segments)
            if not shares.resolved[k] and np.isfinite(shares.duration[k])]  # fmt: skip
    caption = "Share of the absolute map in each segment of each lead; in brackets, how many times an even spread."
    if held:
        caption += f" Left out, because shorter than the method's resolution: {listed(held)}."
    return Table(("Lead", *(shares.segments[k] for k in columns)), tuple(rows), caption)


def _name(explanation: Explanation) -> str:
    return f"{explanation.method} for {explanation.target}"


def _colour_sentence(explanation: Explanation) -> str:
    """Say what the colours mean and where the scale ends."""
    scale, _, signed = colour_scale(explanation)
    negative, positive = sign_words(explanation)
    meaning = f"Orange: {positive}. Blue: {negative}." if signed else "Orange: the map is strong."
    return f"{meaning} The scale ends at {scale:.2g} {explanation.unit}".rstrip() + ", the 99th percentile."


def _method(explanation: Explanation) -> str:
    """Say how the map was made."""
    parts = [f"Method: {explanation.method}."]
    if explanation.parameters:
        parts.append(f"Parameters: {', '.join(f'{k} = {v}' for k, v in explanation.parameters.items())}.")
    if explanation.parameters.get("stride_s", 0) < explanation.parameters.get("window_s", 0):
        parts.append(
            "Windows overlap: the first and last seconds lie in fewer windows and weigh less in the prediction, so "
            "the map is fainter there."
        )
    parts.append(f"Computed on {len(explanation.leads)} leads at {explanation.fs:g} Hz, as predicted.")
    if explanation.baseline is not None:
        parts.append(f"Baseline: {explanation.baseline}.")
    if explanation.completeness_gap is not None:
        promised = "the logit" if explanation.baseline is None else "the output's change from the baseline"
        parts.append(f"The values miss {promised} by {explanation.completeness_gap:.2g}.")
    return " ".join(parts)
