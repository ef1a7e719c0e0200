# SPDX-License-Identifier: Apache-2.0
"""The page of one ECG: the paper, what the network says, what it read, and the limits last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecglens.ecg import ECG
from ecglens.errors import Finding
from ecglens.explanation import NOT_TESTED, Explanation
from ecglens.plotting.attribution import colour_scale, plot_explanation, sign_words
from ecglens.plotting.ecg import plot_ecg
from ecglens.plotting.style import MM_PER_INCH, figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.html import PRINTED_MM

STANDS_OUT = 1.5  # times the uniform share, from which a lead is named in words
MOST_NAMED = 3

VERDICT_SENTENCES = {
    "passes": "This method passed the audit on this very model.",
    "fails": "This method failed the audit on this very model: do not rely on this picture.",
    NOT_TESTED: "This method was not tested on this model: whether its picture is true of the model is not known.",
}
LIMITS = (
    "A probability says what the network computes, not what the patient has. A map says where the network is sensitive "
    "or what it counted, not what caused the disease.",
    "A lead or a wave that carries no tint may still be abnormal. A second reader must look at the ECG itself.",
)


def record_report(
    ecg: ECG,
    explanations: Sequence[Explanation],
    probabilities: Mapping[str, float],
    decisions: Mapping[str, bool],
    thresholds: Mapping[str, float],
    findings: Sequence[Finding],
    provenance: Sequence[tuple[str, str]],
) -> Report:
    """Return the page of one ECG.

    probabilities  per class, as `predict` gives them; `decisions` and `thresholds` may lack a class
    findings       what the reader of the file and the quality check noticed
    provenance     what made the page: (name, value) pairs
    """
    sections = [
        _ecg_section(ecg, findings),
        _prediction_section(probabilities, decisions, thresholds),
        *[_explanation_section(ecg, explanation) for explanation in explanations],
        Section("Limits", text=LIMITS),
    ]
    return Report(
        f"ECG {ecg.record_id}" if ecg.record_id else "ECG", _describe(ecg), tuple(sections), tuple(provenance)
    )


def lead_sentence(explanation: Explanation) -> str:
    """Say in words which leads carry the most of a map, against the share that each would have by chance."""
    n_leads = len(explanation.leads)
    if n_leads == 1:
        return f"The network sees {explanation.leads[0]} only."
    if not explanation.resolves_leads:
        return "This method gives every lead the same map: it cannot say which lead mattered."
    shares = sorted(explanation.share_by_lead().items(), key=lambda item: -item[1])
    if shares[0][1] == 0:
        return "The map is empty: no lead carries anything."
    chance = f"with no preference each of the {n_leads} leads would carry {1 / n_leads:.1%}"
    named = [(lead, share) for lead, share in shares if share >= STANDS_OUT / n_leads][:MOST_NAMED]
    if not named:
        return f"No lead stands out: the largest share is {shares[0][1]:.0%}, in {shares[0][0]}; {chance}."
    words = _listed([f"{lead} ({share:.0%})" for lead, share in named])
    verb = "carries" if len(named) == 1 else "carry"
    return f"{words} {verb} the most of the absolute map; {chance}."


def _describe(ecg: ECG) -> str:
    """Say what was recorded, in one line."""
    parts = [f"{len(ecg.leads)} {'lead' if len(ecg.leads) == 1 else 'leads'}", f"{ecg.duration:.4g} s"]
    parts.append(f"{ecg.fs:g} samples per second")
    if "age" in ecg.metadata:
        parts.append(f"age {ecg.metadata['age']:g}" if isinstance(ecg.metadata["age"], (int, float)) else "")
    parts += [str(ecg.metadata[key]) for key in ("sex", "device", "date") if ecg.metadata.get(key)]
    return ", ".join(part for part in parts if part)


def _ecg_section(ecg: ECG, findings: Sequence[Finding]) -> Section:
    """Show the ECG on paper, and what was noticed about it."""
    grave = [finding for finding in findings if finding.severity != "note"]
    conclusion = (
        "The file and its leads passed the checks. Noise, swapped electrodes and missing beats are not checked."
    )
    if grave:
        what = "finding needs" if len(grave) == 1 else "findings need"
        conclusion = f"{len(grave)} {what} a look before this ECG is read."
    drawn = plot_ecg(ecg)
    exact = drawn.get_figheight() * MM_PER_INCH <= PRINTED_MM
    picture = Figure(
        figure_bytes(drawn),
        "The ECG as on paper: 25 mm/s, 10 mm/mV, one large square 0.2 s and 0.5 mV."
        + (" Printed at 100% on A4 landscape the millimetres are true." if exact else ""),
        f"ECG of {ecg.duration:.4g} s in leads {', '.join(ecg.leads)} on millimetre paper",
    )
    rows = tuple((finding.severity, finding.lead or "all", finding.reason) for finding in findings)
    table = Table(("Severity", "Lead", "Finding"), rows, "What was noticed while reading the file.")
    return Section("The ECG", conclusion, (picture,), (table,) if rows else ())


def _prediction_section(
    probabilities: Mapping[str, float], decisions: Mapping[str, bool], thresholds: Mapping[str, float]
) -> Section:
    """Tabulate class, probability, threshold and decision, the most probable class first."""
    called = [name for name in probabilities if decisions.get(name)]
    words = [f"{name} {probabilities[name]:.3f}" for name in sorted(called, key=lambda name: -probabilities[name])]
    conclusion = f"Above its threshold: {_listed(words)}." if words else "No class lies above its threshold."
    if not decisions:
        conclusion = "No thresholds were given, so nothing is decided."
    rows = tuple(
        (name, f"{probability:.3f}", _threshold(thresholds.get(name)), _decision(decisions.get(name)))
        for name, probability in sorted(probabilities.items(), key=lambda item: -item[1])
    )
    caption = "Probability that the network gives each class, the threshold it was given, and what follows."
    return Section(
        "What the network says", conclusion, (),
        (Table(("Class", "Probability", "Threshold", "Decision"), rows, caption),),
    )  # fmt: skip


def _explanation_section(ecg: ECG, explanation: Explanation) -> Section:
    """Show one map, and say which leads carry it and how far it may be believed."""
    leads = lead_sentence(explanation)
    finest = f"Its resolution in time is {explanation.resolution_ms:.0f} ms: two events closer than that look like one."
    picture = Figure(
        figure_bytes(plot_explanation(ecg, explanation)),
        f"Map for {explanation.target} on the ECG, method {explanation.method}. {_colour_sentence(explanation)} "
        "Bars: each lead's share of the absolute map; dashed: the share by chance.",
        f"ECG tinted by the {explanation.method} map for {explanation.target}. {leads}",
    )
    unseen = [lead for lead in ecg.leads if lead not in explanation.leads]
    verdict = VERDICT_SENTENCES[explanation.verdict]
    fails = explanation.verdict == "fails"  # then that is the conclusion, and the leads are a detail
    text = [f"{leads if fails else verdict} {finest}"]
    text += [f"Warning: this map {warning}." for warning in explanation.warnings]
    if explanation.parameters.get("together"):
        text.append("The limb leads were hidden together: the map cannot tell them apart.")
    if unseen:
        text.append(f"The network does not see {_listed(unseen)}; no tint there means nothing.")
    return Section(
        f"Explanation of {explanation.target}: {explanation.method}", verdict if fails else leads, (picture,), (),
        tuple(text),
        method=_method(explanation),
    )  # fmt: skip


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


def _threshold(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _decision(value: bool | None) -> str:
    return "not decided" if value is None else "present" if value else "absent"


def _listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> _listed(["V1", "V2", "V3"])
    'V1, V2 and V3'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
