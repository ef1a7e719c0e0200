# SPDX-License-Identifier: Apache-2.0
"""What a page says of one map: the sentence, the paper, who carries it in leads, segments and time, and its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ecglens.ecg import ECG
from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.attribution import colour_scale, plot_explanation, sign_words
from ecglens.plotting.heat_map import plot_lead_time
from ecglens.plotting.shares import plot_lead_radar, plot_segment_shares
from ecglens.plotting.side_by_side import plot_explanations
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Section, Table
from ecglens.shares import NO_CLAIM, Shares, listed, rows_of, share_out, where

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


def _agreement(explanations: Sequence[Explanation]) -> str:
    """Say in how many of the maps that tell each lead apart which lead holds the largest share."""
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
    yield Figure(
        figure_bytes(plot_lead_time(explanation, marks), "png", dpi=PAGE_DPI),
        f"The same map as lead x time, whole record{'; ticks above: R peaks' if marks is not None else ''}.",
        f"Heat map of {name}, leads down and time across",
    )


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
