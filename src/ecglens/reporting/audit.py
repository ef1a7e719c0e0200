# SPDX-License-Identifier: Apache-2.0
"""The page of an audit: the table a regulator reads first, then the evidence test by test, what it cannot show, data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecglens.auditing.audit import EVIDENCE
from ecglens.auditing.verdict import KNOWS_ITS_TASK, RULES, TWIN_KNOWS, TWIN_MEASURES
from ecglens.auditing.verdicts import AUDIT_FILE, read_audits
from ecglens.auditing.worlds import PLANTED
from ecglens.errors import InputError
from ecglens.explanation import NOT_TESTED
from ecglens.plotting.audit import (
    Point,
    plot_cross_correlation,
    plot_deletion,
    plot_heat,
    plot_rules,
    plot_specificity,
)
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.runs.files import read_json
from ecglens.runs.run import Run

# What the paper's Table 3 prints for MAE (mV) and R2, mean and deviation over its bootstraps (Wagner et al. 2023).
PAPER = {
    "P": {"LeNet": ("0.0199 \u00b1 0.0004", "0.769 \u00b1 0.025"), "XResNet": ("0.0187 \u00b1 0.0004", "0.782 \u00b1 0.022")},
    "R": {"LeNet": ("0.0602 \u00b1 0.0010", "0.974 \u00b1 0.002"), "XResNet": ("0.0801 \u00b1 0.0013", "0.949 \u00b1 0.003")},
    "T": {"LeNet": ("0.0352 \u00b1 0.0008", "0.940 \u00b1 0.008"), "XResNet": ("0.0385 \u00b1 0.0005", "0.931 \u00b1 0.007")},
}  # fmt: skip
# Drawn beside each other where lines would otherwise be too many: the paper's four, its Grad-CAM as coded, and ours.
DRAWN = ("saliency", "integrated_gradients", "lrp", "gradcam", "guided_gradcam", "occlusion")
TITLES = {
    "planted": "Planted truth", "deletion": "Deletion", "randomization": "Randomisation",
    "temporal": "Temporal", "temporal_real": "Temporal, real ECGs",
}  # fmt: skip


def audit_report(run: Run) -> Report:
    """Return the page of a finished audit. Raises InputError where it is not finished."""
    about = run.read()
    if not about.get("finished") or not (run.folder / EVIDENCE).exists():
        raise InputError(run.folder, "audit", "not finished", "a finished audit", "ecglens audit ... --resume")
    found = read_audits(run.folder / AUDIT_FILE)[about["weights_sha256"]]
    page = _Page(found, read_json(run.folder / EVIDENCE), run.read_table("tests"))
    sections = [
        page.verdicts(), page.planted(), page.faithfulness(), page.randomization(), *page.regression(),
        page.stability(), page.attention(), _limits(), page.data(),
    ]  # fmt: skip
    return Report(
        f"Audit of {found['bundle']}",
        f"Which explanation may be believed on the weights {found['weights_sha256'][:16]}?",
        tuple(section for section in sections if section is not None),
        _provenance(about, found),
    )


class _Page:
    """The sections of one audit, from its files."""

    def __init__(self, found: Mapping[str, Any], evidence: Mapping[str, Any], tests: pd.DataFrame | None) -> None:
        self.found, self.evidence = found, evidence
        self.methods: dict[str, Any] = dict(sorted(found["methods"].items(), key=_passing_first))
        self.asked = [name for name, told in self.methods.items() if told["tests"]]
        self.reasons: dict[tuple[str, str], str] = {}
        self.people: dict[tuple[str, str], int] = {}
        for row in () if tests is None else tests.itertuples():
            self.reasons[str(row.method), str(row.test)] = "" if pd.isna(row.reason) else str(row.reason)
            self.people[str(row.method), str(row.test)] = int(row.n_patients)

    def cell(self, method: str, test: str) -> str:
        """Return a figure with its interval, or why there is none."""
        told = self.methods[method]["tests"].get(test)
        if told is None or told["value"] is None:
            return NOT_TESTED
        if told["low"] is None:
            return f"{told['value']:.2f} [no interval]"
        return f"{told['value']:.2f} [{told['low']:.2f}, {told['high']:.2f}]"

    def chance(self, test: str) -> str:
        """Return the mean chance level of a figure over the methods."""
        levels = [
            t["chance"] for m in self.asked if (t := self.methods[m]["tests"].get(test)) and t["chance"] is not None
        ]
        return f"{np.mean(levels):.2f}" if levels else ""

    def counts(self, test: str) -> str:
        """Return on how many records and people a figure rests, over the methods."""
        n = sorted({t["n"] for m in self.asked if (t := self.methods[m]["tests"].get(test)) and t["n"]})
        people = sorted({self.people[m, test] for m in self.asked if self.people.get((m, test))})
        return f"N = {_span(n)} records of {_span(people)} patients" if n else "nothing was tested"

    def table(self, tests: Mapping[str, str], caption: str, chance: bool = True) -> Table:
        """Return figures by method: test name to heading."""
        rows = [(m, *(self.cell(m, test) for test in tests)) for m in self.asked]
        if chance:
            rows.append(("chance", *(self.chance(test) for test in tests)))
        return Table(("method", *tests.values()), tuple(rows), caption)

    # ---------------------------------------------------------------------------------------------------- the verdicts

    def verdicts(self) -> Section:
        """The table a regulator reads first."""
        rules = [name for name in (*RULES, "temporal_real") if name in RULES or self._has(name)]
        header = ("method", "verdict", *(TITLES[name] for name in rules), "why")
        rows = [
            (name, told["verdict"], *(self._marked(name, rule) for rule in rules), told["reason"])
            for name, told in self.methods.items()
        ]
        rows.append(("passes when", "", *(_passes_when(rule) for rule in rules), ""))
        rows.append(("chance", "", *(self.chance(rule) or "" for rule in rules), ""))
        passing = [name for name, told in self.methods.items() if told["verdict"] == "passes"]
        best = self.found["default_method"]
        if passing:
            conclusion = f"{_listed(passing)} {'passes' if len(passing) == 1 else 'pass'}; use {best} on this model."
        else:
            conclusion = "No method passes on this model: none of its pictures is to be believed as an explanation."
        panels = {TITLES[rule]: self._points(rule) for rule in rules}
        figure = plot_rules(self.asked, panels) if self.asked else None
        caption = (
            f"95 % intervals by patient bootstrap. Planted truth: {self.counts('planted')}, on twins (relevance rank less "
            f"that of the signal's energy). Deletion: {self.counts('deletion')}, on these weights (fall of the logit beyond "
            f"random order, the worst filler). Randomisation: {self.counts('randomization')}, on these weights (rank "
            f"correlation of the map with that of redrawn weights). Temporal: {self.counts('temporal')}, on twins (peak "
            "inside the regressed wave less the largest outside, the worst of P, R and T)."
        )
        figures = () if figure is None else (_figure(figure, "The four figures that decide, by method: dot and 95 % "
                                                     "interval, threshold solid, chance dashed.", "Four figures by method"),)  # fmt: skip
        return Section(
            "Verdicts", conclusion, figures, (Table(header, tuple(rows), caption),),
            text=("A method passes where all four hold. Where one could not be tested it is not tested, whatever the "
                  "others say. A method that fails is not drawn by ecglens unless it is asked to, and then stamped.",),
            method="Rules and thresholds stand in ecglens/auditing/verdict.py with their reasons and were fixed before "
            "the first audit. \"Twins\" are networks of the same architecture trained for the test; \"these weights\" are "
            "the audited ones.",
        )  # fmt: skip

    def _has(self, test: str) -> bool:
        return any(test in self.methods[m]["tests"] for m in self.asked)

    def _marked(self, method: str, rule: str) -> str:
        told = self.methods[method]["tests"].get(rule)
        if told is None or told["passed"] is None:
            return NOT_TESTED
        return f"{self.cell(method, rule)} {'holds' if told['passed'] else 'fails'}"

    def _points(self, rule: str) -> tuple[list[Point | None], float, float | None]:
        points: list[Point | None] = []
        for method in self.asked:
            told = self.methods[method]["tests"].get(rule)
            known = told is not None and told["value"] is not None
            points.append((told["value"], told["low"], told["high"], told["passed"]) if known else None)
        chance = self.chance(rule)
        return points, _rule(rule).threshold, float(chance) if chance else None

    # ---------------------------------------------------------------------------------------------------- the evidence

    def planted(self) -> Section | None:
        """Where the evidence is known."""
        about = self.evidence.get("planted")
        if about is None:
            return None
        if "refused" in about:
            return Section("Planted truth", f"Not tested: {about['refused']}")
        facts = about["facts"]
        figures = {"rank": "relevance rank", "mass": "relevance mass", "pointing": "pointing game", "auroc": "AUROC"}
        tables = [
            self.table({f"planted_{k}": v for k, v in figures.items()},
                       f"Lead and time together, lesions planted in one lead. {self.counts('planted_rank')}."),
            self.table({f"planted_time_{k}": v for k, v in figures.items()}, "The same records in time alone."),
        ]  # fmt: skip
        text = [f"The twin tells the planted classes of people it has not seen with a macro AUROC of "
                f"{facts['twin_auroc']:.3f}; {facts['simulated']} people and sessions were simulated."]  # fmt: skip
        for test, title in (("planted_dipolar", "lesions as hearts make them (a twin)"), ("planted_weights",
                            "these weights on simulated ECGs"), ("shortcut", "the mark of the shortcut (a twin)")):  # fmt: skip
            text += self._aside(test, title, tables)
        beats = [m for m in self.asked if (self.methods[m]["tests"].get("planted") or {}).get("passed")]
        conclusion = (
            f"{_listed(beats)} {'finds' if len(beats) == 1 else 'find'} planted evidence better than the energy of the signal."
            if beats else "No method finds planted evidence better than the energy of the signal does."
        )  # fmt: skip
        return Section("Planted truth", conclusion, self._lead_shares(about), tuple(tables), tuple(text),
                       method="Mode B: " + ", ".join(f"{c} as {condition} in {lead}" for c, condition, lead in PLANTED[1:])
                       + ". Evidence: where the ECG differs by 0.05 mV or more from the same ECG without the lesion.")  # fmt: skip

    def _aside(self, test: str, title: str, tables: list[Table]) -> list[str]:
        about = self.evidence.get(test)
        if about is None:
            return []
        if "refused" in about:
            return [f"Not tested: {title}: {about['refused']}"]
        names = {test: "beyond energy", f"{test}_rank": "rank", f"{test}_time_rank": "rank, time alone",
                 f"{test}_time_mass": "mass, time alone", f"{test}_auroc": "AUROC"}  # fmt: skip
        tables.append(self.table(names, f"{title[0].upper()}{title[1:]}. {self.counts(f'{test}_rank')}."))
        return []

    def _lead_shares(self, about: Mapping[str, Any]) -> tuple[Figure, ...]:
        """Return, for each planted class, which leads carry the maps: the planted lead is outlined."""
        figures = []
        for label, condition, lead in PLANTED[1:]:
            rows = {m: e["share_by_lead"][label] for m, e in about["methods"].items()
                    if label in e.get("share_by_lead", {})}  # fmt: skip
            if not rows:
                continue
            leads = next(iter(e["leads"] for e in about["methods"].values() if "leads" in e))
            outlined = [(r, leads.index(lead)) for r in range(len(rows))] if lead in leads else []
            values = np.array(list(rows.values()))
            picture = plot_heat(list(rows), leads, values, title=f"{label} planted in {lead}", outlined=outlined,
                                largest=max(0.3, float(values.max())))  # fmt: skip
            figures.append(_figure(picture, f"{label} ({condition}) planted in {lead} alone: each lead's share of |map|, by "
                                   f"method. An even spread would be {1 / len(leads):.2f}.", f"Shares by lead for {label}"))  # fmt: skip
        return tuple(figures)

    def faithfulness(self) -> Section | None:
        """Deletion, insertion, sensitivity-n, infidelity."""
        about = self.evidence.get("deletion")
        if about is None or "refused" in about:
            return about and Section("Faithfulness", f"Not tested: {about['refused']}")
        facts = about["facts"]
        drawn = {m: e for m, e in about["methods"].items() if e.get("curves")}
        figures: tuple[Figure, ...] = ()
        if drawn:
            picture = plot_deletion(
                facts["shares"], facts["fillers"],
                {m: np.array(e["curves"])[:, 0] for m, e in drawn.items()},
                {m: np.array(e["random"])[:, 0] for m, e in drawn.items()},
            )  # fmt: skip
            figures = (_figure(picture, "Deletion: how far the logit falls when what the map marks first is hidden. A map "
                               "that marks what matters lies above random order for every filler.", "Deletion curves"),)  # fmt: skip
        fillers = facts["fillers"]
        tables = (
            self.table({f"deletion_{f}": f for f in fillers},
                       f"Deletion beyond random order, logits. {self.counts('deletion')}."),
            self.table({f"insertion_{f}": f for f in fillers}, "Insertion beyond random order, logits."),
            self.table({"sensitivity_n": "sensitivity-n (1 is perfect)", "infidelity": "infidelity (0 is perfect)"},
                       "Correlation of what the map says a set of regions carries with the logit's fall; and the share of "
                       "those falls it leaves unexplained."),
        )  # fmt: skip
        holds = [m for m in self.asked if (self.methods[m]["tests"].get("deletion") or {}).get("passed")]
        return Section(
            "Faithfulness", f"For {len(holds)} of {len(self.asked)} methods hiding what the map marks lowers the logit "
            "faster than hiding at random, whatever the filler.", figures, tables,
            method=f"{facts['regions']} regions of {facts['window_ms']:.0f} ms and a lead (the limb leads together); "
            f"{facts['random_orders']} random orders; contributions in logits are ranked by their sign, the rest by size.",
        )  # fmt: skip

    def randomization(self) -> Section | None:
        """Cascading weights, permuted labels."""
        about = self.evidence.get("randomization")
        if about is None or "refused" in about:
            return about and Section("Randomisation", f"Not tested: {about['refused']}")
        stages = about["facts"]["stages"]
        rows = {m: e["curves"]["randomization"] for m, e in about["methods"].items() if e.get("curves")}
        figures: tuple[Figure, ...] = ()
        if rows:
            values = np.full((len(rows), len(stages)), np.nan)
            for r, curve in enumerate(rows.values()):
                values[r, len(stages) - len(curve) :] = curve
            picture = plot_heat(
                list(rows), stages, np.abs(values), title="Rank correlation of |map| with the original's"
            )
            figures = (_figure(picture, "Weights are drawn anew from the head down; the last column has none left of what "
                               "was learnt. A map of the network fades to the right.", "Similarity after randomisation"),)  # fmt: skip
        names = {"randomization": "rank correlation of |map|", "randomization_signed": "of the signed map",
                 "randomization_ssim": "structural similarity", "permuted_labels": "twin with permuted labels"}  # fmt: skip
        stays = [m for m in self.asked if (self.methods[m]["tests"].get("randomization") or {}).get("passed") is False]
        conclusion = (f"{_listed(stays)} {'keeps its' if len(stays) == 1 else 'keep their'} picture when the weights are drawn "
                      "anew." if stays else "Every tested map changes when the weights are drawn anew.")  # fmt: skip
        return Section("Randomisation", conclusion, figures, (self.table(
            names, f"All layers redrawn. {self.counts('randomization')}; permuted labels: {self.counts('permuted_labels')}.",
            chance=False),))  # fmt: skip

    def regression(self) -> list[Section]:
        """Sanity by regression, on simulated and on real ECGs."""
        out = []
        for test, title in (("temporal", "Sanity by regression, simulated ECGs"),
                            ("temporal_real", "Sanity by regression, real ECGs")):  # fmt: skip
            about = self.evidence.get(test)
            if about is None:
                continue
            if "refused" in about:
                out.append(Section(title, f"Not tested: {about['refused']}"))
                continue
            out.append(self._regression(title, about, "" if test == "temporal" else "_real"))
        return out

    def _regression(self, title: str, about: Mapping[str, Any], suffix: str) -> Section:
        facts = about["facts"]
        drawn = {m: about["methods"][m] for m in DRAWN if about["methods"].get(m, {}).get("curves")}
        figures = [self._wave(wave, facts, drawn) for wave in facts["readers"]] if drawn else []
        if drawn:
            median = {m: np.mean([np.array(s)[2] for s in e["spatial"].values()], axis=0) for m, e in drawn.items()}
            crossed = [facts["cross_correlation"][lead] for lead in facts["leads"]]
            figures.append(_figure(
                plot_cross_correlation(facts["leads"], crossed, median),
                "Leads that are like the others are harder to be specific about: median spatial specificity over the "
                "three waves against each lead's correlation with the others (the paper's Figure 9).",
                "Lead cross-correlation against specificity"))  # fmt: skip
        rows = []
        for wave, read in facts["readers"].items():
            rows.append((wave, f"{_estimate(read['mae'], 4)}", f"{_estimate(read['r2'], 3)}", f"{read['r2_by_lead']:.2f}",
                         *(PAPER[wave][model][k] for model in ("LeNet", "XResNet") for k in (0, 1))))  # fmt: skip
        readers = Table(
            ("wave", "MAE, mV", "R\u00b2", "R\u00b2 by lead", "paper LeNet MAE", "R\u00b2", "paper XResNet MAE", "R\u00b2"),
            tuple(rows), f"How well the twins read amplitudes: N = {facts['readers']['P']['r2']['n']} records of "
            f"{facts['readers']['P']['r2']['n_patients']} patients not trained on ({facts['trained_on']} were); beside Table 3 "
            "of Wagner et al., whose targets and records are others. R\u00b2 by lead is what the gate looks at: knowing "
            "each lead's mean alone gives a high R\u00b2 over all leads.")  # fmt: skip
        temporal = self.table(
            {f"temporal_{w}{suffix}": f"temporal {w}" for w in ("P", "R", "T")} | {f"spatial{suffix}": "spatial"},
            f"Peak inside the wave less the largest outside, on a curve of norm 1; spatial specificity. "
            f"{self.counts(f'temporal{suffix}')}.")  # fmt: skip
        holds = [m for m in self.asked if (self.methods[m]["tests"].get(f"temporal{suffix}") or {}).get("passed")]
        conclusion = (f"{_listed(holds)} {'peaks' if len(holds) == 1 else 'peak'} inside the wave that is read, for P, R and T."
                      if holds else "No method peaks inside the wave that is read for P, R and T alike.")  # fmt: skip
        return Section(title, conclusion, tuple(figures), (temporal, readers),
                       method="A twin per wave, 12 outputs, squared error, inputs in millivolts. Windows of the waves: "
                       + ", ".join(f"{w} {a} to {b} ms" for w, (a, b) in facts["windows_ms"].items()) + ".")  # fmt: skip

    def _wave(self, wave: str, facts: Mapping[str, Any], drawn: Mapping[str, Any]) -> Figure:
        length = len(facts["beat"])
        times = np.linspace(-300, 500, length, endpoint=False)
        picture = plot_specificity(
            wave, facts["leads"], {m: np.array(e["spatial"][wave]) for m, e in drawn.items()},
            {m: np.array(e["curves"][wave]) for m, e in drawn.items()}, chance=len(facts["leads"]) ** -0.5,
            ceiling=[facts["ceiling"][lead] for lead in facts["leads"]], window_ms=tuple(facts["windows_ms"][wave]),
            times_ms=times, beat=np.array(facts["beat"]),
        )  # fmt: skip
        return _figure(picture, f"Network that reads the amplitude of {wave}. Left: share of the target's lead in the map's "
                       "norm (boxes: quartiles, lines: 5 to 95 %). Right: where in a beat the map lies; above it the mean "
                       "beat. As Figure 3 of Wagner et al. 2023.", f"Spatial and temporal specificity of {wave}")  # fmt: skip

    def stability(self) -> Section | None:
        """Agreement between seeds, under shifts and noise, and between methods."""
        about = self.evidence.get("stability")
        if about is None:
            return None
        agreement = self.evidence.get("agreement") or {}
        figures: tuple[Figure, ...] = ()
        if agreement:
            names = agreement["methods"]
            picture = plot_heat(names, names, np.array(agreement["spearman"], dtype=float), signed=True,
                                title="Rank correlation of |map| between methods, these weights")  # fmt: skip
            figures = (_figure(picture, "Methods that agree are not thereby right: maps that follow the voltage agree with "
                               "each other. Records per method: " + ", ".join(
                                   f"{m} {n}" for m, n in agreement["n"].items()) + ".", "Agreement between methods"),)  # fmt: skip
        if "refused" in about:
            return Section("Stability", f"Not tested on twins: {about['refused']}", figures)
        names = {"seeds": "between seeds", "shift": "moved by 1 to 8 samples", "noise": "5 % noise"}
        return Section(
            "Stability", "How far a map is the same where it should be: between networks that know the same, and between "
            "ECGs that say the same.", figures, (self.table(
                names, f"Rank correlation of |map|, {about['facts']['seeds']} twins. {self.counts('seeds')}.", chance=False),))  # fmt: skip

    def attention(self) -> Section | None:
        """What attention is worth as an explanation, where there is one."""
        about = self.evidence.get("attention")
        if about is None or "refused" in about:
            return about and Section("Attention", f"Not tested: {about['refused']}")
        names = {
            "attention_uniform": "even weights move the logit by (in deviations)",
            "attention_permuted": "permuted weights move it by",
            "attention_adversarial": "another attention that says the same (divergence, at most 0.69)",
            "attention_tau_occlusion": "rank correlation with occlusion",
            "attention_tau_saliency": "with the gradient",
            "attention_violation": "attended regions that speak against",
        }  # fmt: skip
        rows = tuple((title, self.cell("attention", name), self.chance(name)) for name, title in names.items())
        return Section("Attention", "Whether the answer hangs on where the network attends.", (), (Table(
            ("what", "found", "chance"), rows, f"These weights. {self.counts('attention_uniform')}."),))  # fmt: skip

    # ------------------------------------------------------------------------------------------------------------ data

    def data(self) -> Section:
        """What every figure rests on."""
        about = self.evidence.get("deletion", {}).get("facts")
        rows, text = [], []
        if about:
            auroc = about["auroc"]
            text.append(
                f"These weights were asked about {about['data']}: {about['n_records']} usable records, {about['excluded']} "
                f"left out. On them the model tells its classes with a macro AUROC of {_estimate(auroc, 3)}. Label rule: "
                f"{about['label_rule']}.")  # fmt: skip
            text.append(
                "Explained: " + ", ".join(f"{name} {n}" for name, n in about["per_class"].items()) + " records."
            )
        for test, found in self.evidence.items():
            if test == "agreement":
                continue
            facts = found.get("facts", {})
            what = f"{facts.get('n', '')} records of {facts.get('n_patients', '')} patients" if facts else "not tested"
            rows.append((test, what, found.get("refused", "")))
        return Section("Data and counts", "Every test with the records it had.", (), (Table(
            ("test", "records", "why not"), tuple(rows), "Methods that cost hundreds of predictions per map have a third of "
            "the records, those that cost dozens a half."),), tuple(text),
            method=f"Gates: the model must tell its classes (lower bound of the macro AUROC {KNOWS_ITS_TASK}), a twin its own "
            f"({TWIN_KNOWS}), a twin that measures must explain half of the variance between people (R\u00b2 by lead "
            f"{TWIN_MEASURES}).")  # fmt: skip


def _limits() -> Section:
    return Section(
        "What this audit cannot show",
        "That a method passes does not make a single picture true.",
        text=(
            "Planted truth and regression are tested on twins: networks of the same architecture that learnt another task. "
            "What holds for them need not hold for these weights; deletion and randomisation are asked of the weights "
            "themselves, but have no truth to compare with.",
            "A simulated lesion is simpler than a disease. In a dipole the lead of a finding is not unique, which is why "
            "leads are scored where lesions are planted in one lead alone.",
            "Hiding parts of an ECG makes signals that no heart makes; that is why every filler has to agree.",
            "Nothing here says that the model is right, fair or safe, nor that its reasons are those of a cardiologist.",
        ),
    )


def _rule(name: str) -> Any:
    return RULES[name.removesuffix("_real")]


def _passes_when(rule: str) -> str:
    found = _rule(rule)
    return f"{'low' if found.above else 'high'} {'>' if found.above else '<'} {found.threshold:g}"


def _passing_first(item: tuple[str, Any]) -> tuple[int, int]:
    order = {"passes": 0, "fails": 1, NOT_TESTED: 2}
    return order[item[1]["verdict"]], not item[1]["tests"]


def _estimate(told: Mapping[str, Any], digits: int) -> str:
    if told["value"] is None:
        return "not estimable"
    if told["low"] is None:
        return f"{told['value']:.{digits}f} [no interval]"
    return f"{told['value']:.{digits}f} [{told['low']:.{digits}f}, {told['high']:.{digits}f}]"


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}" if values else "?"


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _figure(picture: Any, caption: str, alt: str) -> Figure:
    return Figure(figure_bytes(picture), caption, alt)


def _provenance(about: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    arguments = about["arguments"]
    shown = {k: v for k, v in arguments.items() if k in ("fold", "train_data", "data", "full") and v and v != arguments}
    given = {k: v for k, v in shown.items() if isinstance(v, str | bool)}
    words = " ".join(
        f"--{k.replace('_', '-')}" if v is True else f"--{k.replace('_', '-')} {v}" for k, v in given.items()
    )
    repeat = f"ecglens audit {arguments.get('bundle', 'BUNDLE')} {words} --seed {about['seed']} --out DIR"
    return (
        ("repeat", " ".join(repeat.split())),
        ("weights", found["weights_sha256"]),
        ("size", ", ".join(f"{k} {v}" for k, v in arguments["size"].items())),
        ("seconds", f"{about.get('seconds', 0):.0f}"),
        ("platform", about["platform"]),
        *((name, version) for name, version in about["versions"].items()),
    )
