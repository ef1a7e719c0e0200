# SPDX-License-Identifier: Apache-2.0
"""The evidence behind the verdicts of an audit, one section per test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecglens.auditing.worlds import PLANTED
from ecglens.plotting.audit import plot_cross_correlation, plot_deletion, plot_heat, plot_specificity
from ecglens.report import Figure, Section, Table
from ecglens.reporting.audit_tables import Told, drawn, estimate_text, listed

# What the paper's Table 3 prints for MAE (mV) and R2, mean and deviation over its bootstraps (Wagner et al. 2023).
PAPER = {
    "P": (("0.0199 ± 0.0004", "0.769 ± 0.025"), ("0.0187 ± 0.0004", "0.782 ± 0.022")),
    "R": (("0.0602 ± 0.0010", "0.974 ± 0.002"), ("0.0801 ± 0.0013", "0.949 ± 0.003")),
    "T": (("0.0352 ± 0.0008", "0.940 ± 0.008"), ("0.0385 ± 0.0005", "0.931 ± 0.007")),
}
# Drawn beside each other where lines would otherwise be too many: the paper's four, its Grad-CAM as coded, and ours.
DRAWN = ("saliency", "integrated_gradients", "lrp", "gradcam", "guided_gradcam", "occlusion")
_TRUTH = {"rank": "relevance rank", "mass": "relevance mass", "pointing": "pointing game", "auroc": "AUROC"}
_ASIDE = {
    "planted_dipolar": "lesions as hearts make them, a twin",
    "planted_weights": "these weights on simulated ECGs",
    "shortcut": "the mark of a shortcut, a twin",
}


def evidence_sections(told: Told) -> list[Section]:
    """Return a section for each test that was run or refused."""
    made = [planted(told), faithfulness(told), randomization(told), *regression(told), stability(told), attention(told)]
    return [section for section in made if section is not None]


def _refused(told: Told, test: str, title: str) -> Section | None:
    """Return the section of a test that could not be done at all, and why."""
    about = told.evidence.get(test)
    return Section(title, f"Not tested: {about['refused']}") if about is not None and "refused" in about else None


def planted(told: Told) -> Section | None:
    """Where the evidence is known."""
    title, about = "Planted truth", told.evidence.get("planted")
    if about is None or "refused" in about:
        return _refused(told, "planted", title)
    facts = about["facts"]
    both = f"Lead and time together, each lesion planted in one lead. {told.counts('planted_rank')}."
    tables = [
        told.table({f"planted_{k}": v for k, v in _TRUTH.items()}, both),
        told.table({f"planted_time_{k}": v for k, v in _TRUTH.items()}, "The same records in time alone."),
    ]
    text = [
        f"The twin tells the planted classes of people it has not seen with a macro AUROC of {facts['twin_auroc']:.3f} "
        f"({facts['tested']} of {facts['simulated']} simulated records)."
    ]
    for test, words in _ASIDE.items():
        text += _aside(told, test, words, tables)
    finds = told.that_pass("planted")
    conclusion = "No method finds planted evidence better than the energy of the signal does."
    if finds:
        verb = "finds" if len(finds) == 1 else "find"
        conclusion = f"{listed(finds)} {verb} planted evidence better than the energy of the signal."
    where = ", ".join(f"{label} as {condition} in {lead}" for label, condition, lead in PLANTED[1:])
    how = f"Planted: {where}. Evidence: where the ECG differs by 0.05 mV or more from itself without the lesion."
    return Section(title, conclusion, _lead_shares(about), tuple(tables), tuple(text), method=how)


def _aside(told: Told, test: str, words: str, tables: list[Table]) -> list[str]:
    """Add the table of a test that does not decide, or return why there is none."""
    about = told.evidence.get(test)
    if about is None:
        return []
    if "refused" in about:
        return [f"Not tested ({words}): {about['refused']}"]
    names = {
        test: "rank beyond energy", f"{test}_rank": "rank", f"{test}_time_rank": "rank, time alone",
        f"{test}_time_mass": "mass, time alone", f"{test}_auroc": "AUROC",
    }  # fmt: skip
    tables.append(told.table(names, f"{words[0].upper()}{words[1:]}. {told.counts(f'{test}_rank')}."))
    return []


def _lead_shares(about: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return, for each planted class, which leads carry the maps: the planted lead is outlined."""
    figures = []
    for label, condition, lead in PLANTED[1:]:
        found = {m: e for m, e in about["methods"].items() if label in e.get("share_by_lead", {})}
        if not found:
            continue
        leads = next(iter(found.values()))["leads"]
        values = np.array([e["share_by_lead"][label] for e in found.values()])
        outlined = [(row, leads.index(lead)) for row in range(len(found))] if lead in leads else []
        picture = plot_heat(
            list(found), leads, values, title=f"{label} planted in {lead}", outlined=outlined,
            largest=max(0.3, float(values.max())),
        )  # fmt: skip
        caption = (
            f"{label} ({condition}) planted in {lead} alone: each lead's share of the absolute map, by method. An even "
            f"spread would put {1 / len(leads):.2f} into each lead."
        )
        figures.append(drawn(picture, caption, f"Shares by lead for {label}"))
    return tuple(figures)


def faithfulness(told: Told) -> Section | None:
    """Deletion, insertion, sensitivity-n, infidelity."""
    title, about = "Faithfulness", told.evidence.get("deletion")
    if about is None or "refused" in about:
        return _refused(told, "deletion", title)
    facts = about["facts"]
    made = {m: e for m, e in about["methods"].items() if e.get("curves")}
    figures: tuple[Figure, ...] = ()
    if made:
        own, random = ({m: np.array(e[key])[:, 0] for m, e in made.items()} for key in ("curves", "random"))
        caption = (
            "Deletion: how far the logit falls when what the map marks first is hidden. A map that marks what matters "
            "lies above random order for every filler."
        )
        picture = plot_deletion(facts["shares"], facts["fillers"], own, random)
        figures = (drawn(picture, caption, "Deletion curves by method"),)
    fillers = [str(name) for name in facts["fillers"]]
    words = {name: name.replace("_", " ") for name in fillers}
    tables = (
        told.table({f"deletion_{f}": words[f] for f in fillers},
                   f"Deletion beyond random order, in logits, by filler. {told.counts('deletion')}."),
        told.table({f"insertion_{f}": words[f] for f in fillers}, "Insertion beyond random order, in logits."),
        told.table({"sensitivity_n": "sensitivity-n (1: perfect)", "infidelity": "infidelity (0: perfect)"},
                   "Correlation of what the map says that sets of regions carry with the logit's fall; share of those "
                   "falls that it leaves unexplained."),
    )  # fmt: skip
    holds = told.that_pass("deletion")
    conclusion = (
        f"For {len(holds)} of {len(told.asked)} methods hiding what the map marks lowers the logit faster than hiding "
        "at random, whatever the filler."
    )
    how = (
        f"{facts['regions']} regions of {facts['window_ms']:.0f} ms and a lead (limb leads together), "
        f"{facts['random_orders']} random orders. Contributions in logits are ranked by their sign, the rest by size."
    )
    return Section(title, conclusion, figures, tables, method=how)


def randomization(told: Told) -> Section | None:
    """Cascading weights, permuted labels."""
    title, about = "Randomisation", told.evidence.get("randomization")
    if about is None or "refused" in about:
        return _refused(told, "randomization", title)
    stages = about["facts"]["stages"]
    rows = {m: e["curves"]["randomization"] for m, e in about["methods"].items() if e.get("curves")}
    figures: tuple[Figure, ...] = ()
    if rows:
        values = np.full((len(rows), len(stages)), np.nan)
        for number, curve in enumerate(rows.values()):
            values[number, len(stages) - len(curve) :] = curve
        picture = plot_heat(
            list(rows), stages, values, signed=True, title="Rank correlation of |map| with the audited weights' map"
        )
        caption = (
            "Weights are drawn anew from the head down; in the last column nothing is left of what was learnt. The map "
            "of a network fades to the right; a picture of the ECG stays."
        )
        figures = (drawn(picture, caption, "Similarity of maps after randomisation"),)
    names = {
        "randomization": "rank correlation of |map|", "randomization_signed": "of the signed map",
        "randomization_ssim": "structural similarity", "permuted_labels": "twin with permuted labels",
    }  # fmt: skip
    stays = told.that_pass("randomization", passed=False)
    conclusion = "Every tested map changes when the weights are drawn anew."
    if stays:
        conclusion = (
            f"{listed(stays)} {'keeps' if len(stays) == 1 else 'keep'} too much when the weights are drawn anew."
        )
    counted = f"All layers redrawn: {told.counts('randomization')}; permuted labels: {told.counts('permuted_labels')}."
    return Section(title, conclusion, figures, (told.table(names, counted, chance=False),))


def regression(told: Told) -> list[Section]:
    """Sanity by regression, on simulated and on real ECGs."""
    out = []
    for suffix, source in (("", "simulated"), ("_real", "real")):
        title, about = f"Sanity by regression, {source} ECGs", told.evidence.get(f"temporal{suffix}")
        if about is None or "refused" in about:
            refused = _refused(told, f"temporal{suffix}", title)
            out += [refused] if refused is not None else []
            continue
        out.append(_regression(told, title, about, suffix))
    return out


def _regression(told: Told, title: str, about: Mapping[str, Any], suffix: str) -> Section:
    facts = about["facts"]
    made = {m: about["methods"][m] for m in DRAWN if about["methods"].get(m, {}).get("curves")}
    figures = [_wave(wave, facts, made) for wave in facts["readers"]] if made else []
    if made:
        median = {m: np.mean([np.array(s)[2] for s in e["spatial"].values()], axis=0) for m, e in made.items()}
        crossed = [facts["cross_correlation"][lead] for lead in facts["leads"]]
        caption = (
            "Leads that are like the others are harder to be specific about: median spatial specificity over the three "
            "waves against each lead's correlation with the others (the paper's Figure 9)."
        )
        picture = plot_cross_correlation(facts["leads"], crossed, median)
        figures.append(drawn(picture, caption, "Lead cross-correlation against specificity"))
    waves = {f"temporal_{w}{suffix}": f"temporal {w}" for w in ("P", "R", "T")}
    caption = (
        "Peak inside the wave less the largest value outside, on a curve of norm 1; and spatial specificity. "
        f"{told.counts(f'temporal{suffix}')}."
    )
    temporal = told.table(waves | {f"spatial{suffix}": "spatial"}, caption)
    holds = told.that_pass(f"temporal{suffix}")
    conclusion = "No method peaks inside the wave that is read for P, R and T alike."
    if holds:
        verb = "peaks" if len(holds) == 1 else "peak"
        conclusion = f"{listed(holds)} {verb} inside the wave that is read, for P, R and T."
    windows = ", ".join(f"{wave} {a} to {b} ms" for wave, (a, b) in facts["windows_ms"].items())
    how = f"A twin per wave, one output per lead, squared error, inputs in millivolts. Windows: {windows}."
    return Section(title, conclusion, tuple(figures), (temporal, _readers(facts)), method=how)


def _readers(facts: Mapping[str, Any]) -> Table:
    """Return how well the twins read amplitudes, beside the paper's Table 3."""
    rows = [
        (wave, estimate_text(read["mae"], 4), estimate_text(read["r2"], 3), f"{read['r2_by_lead']:.2f}",
         *(cell for model in PAPER[wave] for cell in model))
        for wave, read in facts["readers"].items()
    ]  # fmt: skip
    one = next(iter(facts["readers"].values()))["r2"]
    caption = (
        f"How well the twins read amplitudes: N = {one['n']} records of {one['n_patients']} patients, "
        f"{facts['trained_on']} others to train on; beside Table 3 of Wagner et al., whose targets and records are "
        "others. The gate looks at R² by lead: over all leads together, knowing each lead's mean is enough."
    )
    header = ("wave", "MAE, mV", "R²", "R² by lead", "paper, LeNet: MAE", "R²", "paper, XResNet: MAE", "R²")
    return Table(header, tuple(rows), caption)


def _wave(wave: str, facts: Mapping[str, Any], made: Mapping[str, Any]) -> Figure:
    low, high = facts["windows_ms"][wave]
    picture = plot_specificity(
        wave,
        facts["leads"],
        {m: np.array(e["spatial"][wave]) for m, e in made.items()},
        {m: np.array(e["curves"][wave]) for m, e in made.items()},
        chance=len(facts["leads"]) ** -0.5,
        ceiling=[facts["ceiling"][lead] for lead in facts["leads"]],
        window_ms=(low, high),
        times_ms=np.linspace(-300, 500, len(facts["beat"]), endpoint=False),
        beat=np.array(facts["beat"]),
    )
    caption = (
        f"Maps of a network that reads the amplitude of {wave}. Left: share of the target's lead in the map's norm "
        "(boxes: quartiles, lines: 5 to 95 %). Right: where in a beat the map lies; above it the mean beat. As in "
        "Figure 3 of Wagner et al. 2023."
    )
    return drawn(picture, caption, f"Spatial and temporal specificity of {wave}")


def stability(told: Told) -> Section | None:
    """Agreement between seeds, under shifts and noise, and between methods."""
    title, about = "Stability and agreement", told.evidence.get("stability")
    agreement = told.evidence.get("agreement") or {}
    figures: tuple[Figure, ...] = ()
    if agreement:
        names = agreement["methods"]
        values = np.array(agreement["spearman"], dtype=float)
        picture = plot_heat(names, names, values, signed=True, title="Rank correlation of |map| between methods")
        counted = ", ".join(f"{m} {n}" for m, n in agreement["n"].items())
        caption = (
            "On these weights. Methods that agree are not thereby right: maps that follow the voltage agree with each "
            f"other. Records per method: {counted}."
        )
        figures = (drawn(picture, caption, "Agreement between methods"),)
    if about is None or "refused" in about:
        refused = _refused(told, "stability", title)
        return refused and Section(title, refused.conclusion, figures)
    names = {"seeds": "between seeds", "shift": "moved by 1 to 8 samples", "noise": "5 % noise"}
    caption = f"Rank correlation of |map|, {about['facts']['seeds']} twins. {told.counts('seeds')}."
    conclusion = (
        "How far a map is the same where it should be: between networks that know the same, and between ECGs that say "
        "the same."
    )
    return Section(title, conclusion, figures, (told.table(names, caption, chance=False),))


def attention(told: Told) -> Section | None:
    """What attention is worth as an explanation, where there is one."""
    title, about = "Attention", told.evidence.get("attention")
    if about is None or "refused" in about:
        return _refused(told, "attention", title)
    names = {
        "attention_uniform": "even weights move the logit by, in deviations",
        "attention_permuted": "permuted weights move it by",
        "attention_adversarial": "another attention that says the same: divergence, at most 0.69",
        "attention_tau_occlusion": "rank correlation with occlusion",
        "attention_tau_saliency": "rank correlation with the gradient",
        "attention_violation": "attended regions that speak against the class",
    }
    rows = tuple((words, told.cell("attention", name), told.chance(name)) for name, words in names.items())
    table = Table(("what", "found", "chance"), rows, f"These weights. {told.counts('attention_uniform')}.")
    return Section(title, "Whether the answer hangs on where the network attends.", (), (table,))
