# SPDX-License-Identifier: Apache-2.0
"""The page of one ECG: the paper, what the network says, what it read, and the limits last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ecglens.ecg import ECG
from ecglens.errors import Finding
from ecglens.explanation import Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.ecg import plot_ecg
from ecglens.plotting.style import MM_PER_INCH, figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.explained import explanation_section, hidden_leads_section, side_by_side_section
from ecglens.reporting.html import PRINTED_MM
from ecglens.shares import ATTENTION, listed

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
    marks: Fiducials | None = None,
    hidden: Sequence[Explanation] = (),
) -> Report:
    """Return the page of one ECG.

    probabilities  per class, as `predict` gives them; `decisions` and `thresholds` may lack a class
    findings       what the reader of the file and the quality check noticed
    provenance     what made the page: (name, value) pairs
    marks          of the waves: says in which segments each map lies
    hidden         maps of whole leads hidden, to be set beside attention
    """
    sections = [
        _ecg_section(ecg, findings),
        _prediction_section(probabilities, decisions, thresholds),
        *([side_by_side_section(ecg, explanations, marks)] if len(explanations) > 1 else []),
        *[explanation_section(ecg, explanation, marks) for explanation in explanations],
        *_hidden_leads(ecg, explanations, hidden, marks),
        Section("Limits", text=LIMITS),
    ]
    return Report(
        f"ECG {ecg.record_id}" if ecg.record_id else "ECG", _describe(ecg), tuple(sections), tuple(provenance)
    )


def _hidden_leads(
    ecg: ECG, explanations: Sequence[Explanation], hidden: Sequence[Explanation], marks: Fiducials | None
) -> Iterator[Section]:
    """Yield a section per target of what hiding whole leads does."""
    attention = {one.target: one for one in explanations if one.unit == ATTENTION}
    for target in dict.fromkeys(one.target for one in hidden):
        yield hidden_leads_section(ecg, attention.get(target), [one for one in hidden if one.target == target], marks)


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
    conclusion = f"Above its threshold: {listed(words)}." if words else "No class lies above its threshold."
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


def _threshold(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _decision(value: bool | None) -> str:
    return "not decided" if value is None else "present" if value else "absent"
