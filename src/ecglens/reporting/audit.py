# SPDX-License-Identifier: Apache-2.0
"""The page of an audit: the table a regulator reads first, the evidence test by test, what it cannot show, data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecglens.auditing.audit import EVIDENCE
from ecglens.auditing.verdict import KNOWS_ITS_TASK, RULES, TWIN_KNOWS, TWIN_MEASURES, Rule
from ecglens.auditing.verdicts import AUDIT_FILE, read_audits
from ecglens.errors import InputError
from ecglens.explanation import NOT_TESTED
from ecglens.plotting.audit import Point, plot_rules
from ecglens.report import Report, Section, Table
from ecglens.reporting.audit_evidence import evidence_sections
from ecglens.reporting.audit_tables import Told, drawn, estimate_text, listed
from ecglens.runs.files import read_json
from ecglens.runs.run import Run

TITLES = {
    "planted": "Planted truth", "deletion": "Deletion", "randomization": "Randomisation", "temporal": "Temporal",
    "temporal_real": "Temporal, real",
}  # fmt: skip
_REAL = "_real"


def audit_report(run: Run) -> Report:
    """Return the page of a finished audit. Raises InputError where it is not finished."""
    about = run.read()
    if not about.get("finished") or not (run.folder / EVIDENCE).exists():
        raise InputError(run.folder, "audit", "not finished", "a finished audit", "ecglens audit ... --resume")
    found = read_audits(run.folder / AUDIT_FILE)[about["weights_sha256"]]
    told = Told(found, read_json(run.folder / EVIDENCE)["tests"], run.read_table("tests"))
    sections = (_verdicts(told), _four(told), *evidence_sections(told), _limits(), _data(told))
    return Report(
        f"Audit of {found['bundle']}",
        f"Which explanation may be believed on the weights {found['weights_sha256'][:16]}?",
        tuple(section for section in sections if section is not None),
        _provenance(about, found),
    )


def _verdicts(told: Told) -> Section:
    """The table a regulator reads first."""
    rules = _rules(told)
    rows = [
        (name, told.methods[name]["verdict"], *(_marked(told, name, rule) for rule in rules)) for name in told.asked
    ]
    rows.append(("passes when", "", *(_passes_when(rule) for rule in rules)))
    rows.append(("chance", "", *(told.chance(rule) for rule in rules)))
    caption = (
        "95 % intervals by patient bootstrap. "
        f"Planted truth, on twins: share of the strongest places that are evidence, less that of the signal's energy; "
        f"{told.counts('planted')}. Deletion, on these weights: fall of the logit beyond random order, the worst "
        f"filler; {told.counts('deletion')}. Randomisation, on these weights: rank correlation with the map of redrawn "
        f"weights; {told.counts('randomization')}. Temporal, on twins: peak inside the wave that is read less the "
        f"largest value outside, the worst of P, R and T; {told.counts('temporal')}."
    )
    text = (
        "A method passes where all four hold. Where one could not be tested it is not tested, whatever the others say. "
        "A method that fails is not drawn by ecglens unless it is asked to, and then stamped."
    )
    how = (
        "Rules and thresholds stand with their reasons in ecglens/auditing/verdict.py and were fixed before the first "
        'audit. "Twins" are networks of the same architecture trained for the test, "these weights" the audited ones.'
    )
    header = ("method", "verdict", *(TITLES[rule] for rule in rules))
    return Section(
        "Verdicts", _conclusion(told), (), (Table(header, tuple(rows), caption),), (text, *_reasons(told, rules)), how
    )


def _conclusion(told: Told) -> str:
    passing = [name for name, method in told.methods.items() if method["verdict"] == "passes"]
    if passing:
        best = told.found["default_method"]
        return f"{listed(passing)} {'passes' if len(passing) == 1 else 'pass'}; use {best} on this model."
    if all(method["verdict"] == NOT_TESTED for method in told.methods.values()):
        return "No method could be tested in full on this model: what its pictures are worth is not known."
    return "No method passes on this model: none of its pictures is to be believed as an explanation."


def _reasons(told: Told, rules: list[str]) -> list[str]:
    """Return why something was not tested, each reason once with the methods that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for method in told.asked:
        for rule in rules:
            if reason := told.reasons.get((method, rule)):
                found.setdefault((rule, reason), []).append(method)
    everybody = len(told.asked)
    refused = [f"{name}: {m['reason']}." for name, m in told.methods.items() if name not in told.asked]
    return refused + [
        f"{TITLES[rule]}, not tested{'' if len(methods) == everybody else f' for {listed(methods)}'}: {reason}"
        for (rule, reason), methods in found.items()
    ]


def _four(told: Told) -> Section | None:
    """The figures that decide, as a picture."""
    if not told.asked:
        return None
    panels = {TITLES[rule]: _points(told, rule) for rule in _rules(told)}
    caption = "The figures that decide, by method: dot and 95 % interval; threshold solid, chance dashed."
    return Section("The four figures", "", (drawn(plot_rules(told.asked, panels), caption, "Figures by method"),))


def _rules(told: Told) -> list[str]:
    return [name for name in TITLES if name in RULES or told.has(name)]


def _rule(name: str) -> Rule:
    return RULES[name.removesuffix(_REAL)]


def _marked(told: Told, method: str, rule: str) -> str:
    figure = told.methods[method]["tests"].get(rule)
    if figure is None or figure["passed"] is None:
        return NOT_TESTED
    return f"{estimate_text(figure, 2)} {'holds' if figure['passed'] else 'fails'}"


def _passes_when(name: str) -> str:
    rule = _rule(name)
    return f"lower end > {rule.threshold:g}" if rule.above else f"upper end < {rule.threshold:g}"


def _points(told: Told, rule: str) -> tuple[list[Point | None], float, float | None]:
    figures = [told.figure(method, rule) for method in told.asked]
    points = [None if f is None else (f["value"], f["low"], f["high"], f["passed"]) for f in figures]
    chance = told.chance(rule)
    return points, _rule(rule).threshold, float(chance) if chance else None


def _limits() -> Section:
    return Section(
        "What this audit cannot show",
        "That a method passes does not make a single picture true.",
        text=(
            "Planted truth and regression are tested on twins: networks of the same architecture that learnt another "
            "task. What holds for them need not hold for these weights. Deletion and randomisation are asked of the "
            "weights themselves, but have no truth to compare with.",
            "A simulated lesion is simpler than a disease. In a dipole the lead of a finding is not unique, which is "
            "why leads are scored where a lesion is planted in one lead alone.",
            "Hiding parts of an ECG makes signals that no heart makes; that is why every filler has to agree.",
            "Nothing here says that the model is right, fair or fit for use, nor that its reasons are a doctor's.",
        ),
    )


def _data(told: Told) -> Section:
    """What every figure rests on."""
    rows, text = [], []
    about = told.evidence.get("deletion", {}).get("facts")
    if about:
        text = [
            f"These weights were asked about {about['data']}: {about['n_records']} usable records, {about['excluded']} "
            f"left out. On them the model tells its classes with a macro AUROC of {estimate_text(about['auroc'], 3)}. "
            f"Label rule: {about['label_rule']}.",
            "Explained: " + ", ".join(f"{name} {n}" for name, n in about["per_class"].items()) + " records.",
        ]
    for test, found in told.evidence.items():
        if test != "agreement":
            facts = found.get("facts")
            counted = f"{facts['n']} records of {facts['n_patients']} patients" if facts else NOT_TESTED
            rows.append((test, counted, found.get("refused", "")))
    caption = "Methods that cost dozens of passes through the network per map have a third of the records."
    how = (
        f"Gates: the model must tell its classes (lower end of the macro AUROC {KNOWS_ITS_TASK:g} or more), a twin its "
        f"own ({TWIN_KNOWS:g}), and a twin that measures must explain half of the variance between people (R² by lead "
        f"{TWIN_MEASURES:g} or more)."
    )
    table = Table(("test", "records", "why not"), tuple(rows), caption)
    return Section("Data and counts", "Every test with the records it had.", (), (table,), tuple(text), how)


def _provenance(about: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    asked = about["arguments"].get("asked", {})
    options = " ".join(f"--{k.replace('_', '-')}" + ("" if v is True else f" {v}") for k, v in asked.items())
    repeat = f"ecglens audit {about['arguments'].get('bundle', 'BUNDLE')} {options} --seed {about['seed']} --out DIR"
    return (
        ("repeat", " ".join(repeat.split())),
        ("weights", str(found["weights_sha256"])),
        ("size", ", ".join(f"{k} {v}" for k, v in about["arguments"]["size"].items())),
        ("seconds", f"{about.get('seconds', 0):.0f}"),
        ("platform", str(about["platform"])),
        *((str(name), str(version)) for name, version in about["versions"].items()),
    )
