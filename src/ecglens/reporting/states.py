# SPDX-License-Identifier: Apache-2.0
"""The page of `segment-states`: one record told in states, what the states are, what they add, what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecglens.concepts.dropout_doubt import ENTROPY
from ecglens.concepts.state_agreement import FOLDS, SEEDS
from ecglens.concepts.state_alignment import PARTS
from ecglens.concepts.state_choice import AS_GOOD, STABLE
from ecglens.concepts.state_doubts import DOUBTS, MEMBERS_ENTROPY
from ecglens.concepts.state_result import Segmented, preferred_parts, told_in_states
from ecglens.concepts.state_split import CURVED, EXACT, MAXIMUM
from ecglens.ecg import ECG
from ecglens.plotting.states import (
    MOST_PROFILES,
    plot_choice,
    plot_contributions,
    plot_risk_coverage,
    plot_state_profiles,
    plot_state_strip,
)  # fmt: skip
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table

PAGE = "states.html"
SPLIT = {
    EXACT: "The logit is a mean over time steps read by a linear layer, so its split over states is exact.",
    MAXIMUM: "The head reads the mean and the maximum of each channel. The mean's part is split exactly; the maximum's "
    "goes to the step that holds it. The parts add up to the logit, but they do not predict what would "
    "happen without the step, since then the next highest counts.",
    CURVED: "Layers between mean and logit bend the answer: the split is an approximation. Each step is weighed by the "
    "head's mean gradient between average features and the record's own; what is left over is stated.",
}
LIMITS = (
    "States are what this network tells apart, not what hearts do. That a state keeps to QRS says where the network "
    "looked; a state without a name is no finding.",
    "A state at an instant is evidence about everything that the step sees, which may be seconds: edges of the strip "
    "are no edges in the ECG.",
    "States belong to all leads together. Nothing here tells leads apart.",
    "Networks with random weights find states that keep to the beat too: the shape of the trace does that. Only what "
    "goes beyond them was learnt.",
)

_DIFFER = {FOLDS: "trained on other folds", SEEDS: "behind the average, each with states of its own,"}


def states_report(found: Segmented) -> Report:
    """Return the page of a finished run."""
    about = found.about
    networks = len(about["networks"])
    subtitle = (
        f"{about['bundle']}, {networks} network{'s' * (networks > 1)}{_averaged(about)}, {about['k']} states, "
        f"on {about['data']}: {about['n']:,} records of {about['n_patients']:,} patients that it had not seen"
    )
    sections = (
        _one_record(found), _profiles(found), _adds(about), _worth(about), _beat(about), _whom(about), _doubt(about),
        _number(about), _stays(about), *_left_out(about), Section("Limits", text=LIMITS, method=_method(about)),
    )  # fmt: skip
    told = found.run.read()
    made = [(name, str(value)) for name, value in told["versions"].items()]
    made = [
        ("seed", str(told["seed"])),
        ("scored", f"fold {told['arguments'].get('fold') or 'all'} of {about['data']}"),
        ("weights", ", ".join(one[:16] for one in told["arguments"]["weights_sha256"])),
        *made,
    ]
    return Report("States that the network found by itself", subtitle, sections, tuple(made))


def _averaged(about: dict[str, Any]) -> str:
    each = "each " if len(about["networks"]) > 1 else ""
    return f" ({each}the average of {about['members']}, read side by side)" if about["members"] > 1 else ""


def _one_record(found: Segmented) -> Section:
    example = found.run.read()["example"]
    folder, grid = found.run.folder / "arrays", found.about["grid"]
    signal, strip, doubt = (
        np.load(folder / f"example-{name}.npy", allow_pickle=False) for name in ("signal", "strip", "doubt")
    )
    ecg = ECG(
        signal, fs=example["fs"], leads=tuple(example["leads"]), record_id=example["record_id"], start=example["start"]
    )
    said = f"{example['target']} {example['probability']:.2f}, certainty {example['certainty']:.2f}"
    title = f"{example['record_id']}: {said}"
    picture = plot_state_strip(
        ecg, strip, doubt, example["grid_fs"], title, grid["step_ms"], max(grid["receptive_field_ms"])
    )
    words = told_in_states(
        example["record_id"], example["target"], example["logit"], example["reference"], np.array(example["adds"]),
        np.array(example["shares"]), example["mostly"],
    )  # fmt: skip
    figure = Figure(
        figure_bytes(picture, "png", dpi=130),
        f"{'An ECG that the network rightly calls' if example['right'] else 'An ECG, as the network sees'} "
        f"{example['target']}; the columns follow each other in time, as the strip below "
        "does. Of middling probability, and of such the one whose states change most.",
        f"Twelve leads of record {example['record_id']} with a strip of states and their uncertainty below",
    )
    return Section("One record, told in states", words, (figure,))


def _profiles(found: Segmented) -> Section:
    about, told = found.about, found.run.read()["profiles"]
    profiles, presence = (
        np.load(found.run.folder / "arrays" / f"{name}.npy", allow_pickle=False)
        for name in ("profiles", "profile-share")
    )
    picture = plot_state_profiles(profiles, presence, told["fs"], told["leads"], about["states"])
    named = [
        (one["id"], part) for one, part in zip(about["states"], preferred_parts(about["states"]), strict=True) if part
    ]
    text = "No state is in one part of the beat at least 1.5 times as often as shifted strips are."
    if named:
        text = (
            "At least 1.5 times as often in a part of the beat as by chance, which may still be a small part of a "
            f"state's time: {', '.join(f'state {k} in {part}' for k, part in named)}."
        )
    shown = min(MOST_PROFILES, about["k"])
    caption = (
        f"{'All' if shown == about['k'] else f'The {shown} most frequent'} states. Left: mean of up to 400 stretches "
        "around their middle; the tint is how many last that long. Blue bars: differs from shifted strips "
        "(p < 0.05, Holm). "
        "Dots: means with 95 % intervals over patients (dashed: the state's share in all records), and what a record "
        "wholly in the state would gain."
    )
    return Section(
        "What the states are like", text, (Figure(figure_bytes(picture), caption, "Profiles of the states"),)
    )


def _adds(about: dict[str, Any]) -> Section:
    mostly = preferred_parts(about["states"])
    strength, picture = (plot_contributions(about["states"], mostly, what) for what in ("strength", "contribution"))
    best = max(
        ((abs(cell["value"]), one["id"], name, cell) for one in about["states"]
         for name, cell in one["strength"].items() if cell["value"] is not None),
        default=None,
    )  # fmt: skip
    words = ""
    if best:
        _, state, name, cell = best
        words = (
            f"A record wholly in state {state} would be moved most: {_signed(cell['value'])} of the logit of {name}."
        )
    average = ", ".join(f"{name} {_signed(value)}" for name, value in about["reference"].items())
    gap = f" Left over: at most {about['gap']:.2g} of a logit." if about["split"] != EXACT else (
        f" Largest difference found: {about['gap']:.1g}."
    )  # fmt: skip
    figures = (
        Figure(
            figure_bytes(strength), "What a state speaks for, from all records, whatever their class.",
            "Table of states by classes: what a record wholly in the state would gain",
        ),
        Figure(
            figure_bytes(picture),
            "How often a state is there, times how strongly it speaks there: each record's logit is that of average "
            "features plus the sum of its states. In records without the class it may be otherwise.",
            "Table of states by classes: what each state adds to the logit in records of the class",
        ),
    )  # fmt: skip
    ablation = about["ablation"]
    rows = tuple(
        (words_, _interval(ablation[key]), f"{ablation[key]['n']:,}")
        for key, words_ in (("features", "features of the state replaced by average ones"),
                            ("input", "straight lines drawn through the state's stretches"),
                            ("shifted", "straight lines through as many stretches elsewhere"))
    )  # fmt: skip
    test = Table(
        ("The state is taken away", "Correlation with what it adds [95 %]", "Records"), rows,
        "Is what a state adds what the logit loses without it? With average features the two differ by at most "
        f"{ablation['largest_difference']:.2g} of a logit.{_honest(ablation)}",
    )  # fmt: skip
    return Section("What they add", words, figures, (test,), (
        SPLIT[about["split"]] + gap, f"Logits of average features: {average}.",
    ))  # fmt: skip


def _honest(ablation: dict[str, Any]) -> str:
    """Say it where the trace itself does not bear out what the features promise."""
    own, elsewhere = ablation["input"], ablation["shifted"]
    if None in (own["value"], elsewhere["low"]) or own["value"] > (elsewhere["high"] or 1.0):
        return ""
    return (
        " In the trace it is not so: lines through a state's stretches change the logit as it promises no more than "
        "lines elsewhere do, since a step sees more than its own stretch."
    )


def _worth(about: dict[str, Any]) -> Section:
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for row in about["surrogate"]:
        table.setdefault(row["features"], {})[row["metric"]] = row
    names = ("fidelity", "kappa", "accuracy", "auroc")
    rows = tuple((name, *(_interval(cells.get(metric)) for metric in names)) for name, cells in table.items())
    caption = (
        "Random forests of 500 trees, one per class, fitted on the records that the states were fitted on. Fidelity "
        "and kappa: towards the network's calls; accuracy and AUROC: towards the labels; means over classes."
    )
    fidelity = about["fidelity"]
    others = [
        f"{name} {cells['fidelity']['value']:.1%}"
        for name, cells in table.items()
        if name != "states" and "fidelity" in cells
    ]
    words = f"A forest that knows only the shares of the states calls {fidelity['value']:.1%} as the network does"
    return Section("How much of the network is in them", f"{words}; {', '.join(others)}.", (), (
        Table(("Told to the forest", "Fidelity", "Kappa", "Accuracy", "AUROC"), rows, caption),
    ))  # fmt: skip


def _beat(about: dict[str, Any]) -> Section:
    found = about["alignment"]
    rows = []
    for one in about["states"]:
        cells = [one["segments"][part] for part in PARTS]
        rows.append((str(one["id"]), *(_lift(cell) for cell in cells)))
    rows.append(("share of time", *(f"{found['time'][part]:.0%}" for part in PARTS)))
    words = (
        f"States and parts of the beat share {found['nmi']:.1%} of their information; strips shifted round the record "
        f"{found['chance']:.1%} ({found['chance_low']:.1%} to {found['chance_high']:.1%})"
    )
    random = found["random_nmi"]
    words += "." if random is None else f"; states of random weights {random:.1%}."
    caption = (
        f"How often a state is in each part, as a multiple of the part's share of time, in {found['n']:,} records. "
        "A star: p < 0.05 against shifted strips, Holm over all cells."
    )
    return Section("In the beat", words, (), (Table(("State", *PARTS), tuple(rows), caption),))


def _whom(about: dict[str, Any]) -> Section:
    women, decade = ([one["whom"][key] for one in about["states"]] for key in ("women_less_men", "per_decade"))
    rows = tuple(
        (str(one["id"]), f"{one['share']:.1%}", _points(by_sex), _points(by_age))
        for one, by_sex, by_age in zip(about["states"], women, decade, strict=True)
    )  # fmt: skip
    caption = (
        f"Percentage points of the time, with 95 % intervals over patients: women's share less men's "
        f"({women[0]['n']:,} records of known sex), and per ten years of age ({decade[0]['n']:,} of known age). "
        "Not corrected: one interval in twenty leaves out 0 by chance. Diseases differ by sex and age too."
    )
    more, less = (_whose(about, women, sign) for sign in (1, -1))
    grow, shrink = (_whose(about, decade, sign) for sign in (1, -1))
    words = f"With age more of the time is in {grow}, less in {shrink}. Women have more of {more}, men of {less}."
    return Section("In whom", words, (), (Table(("State", "Share", "Women less men", "Per ten years"), rows, caption),))


def _whose(about: dict[str, Any], figures: Sequence[dict[str, Any]], sign: int) -> str:
    """Name the states whose interval lies above 0 (`sign` 1) or below it (-1)."""
    names = [
        str(one["id"]) for one, figure in zip(about["states"], figures, strict=True)
        if figure["value"] is not None and min(sign * figure["low"], sign * figure["high"]) > 0
    ]  # fmt: skip
    return f"state{'s' * (len(names) > 1)} {', '.join(names)}" if names else "none"


def _doubt(about: dict[str, Any]) -> Section:
    found = about["certainty"]
    figure = Figure(
        figure_bytes(plot_risk_coverage(found, DOUBTS)),
        f"{found['n_wrong']:,} of {found['n_decisions']:,} decisions are wrong.",
        "Share of wrong decisions against the share that is kept",
    )  # fmt: skip
    rows = tuple(
        (name, _interval(found[key]["auroc"]), _interval(found[key]["aurc"]))
        for key, name in DOUBTS.items() if key in found
    )  # fmt: skip
    table = Table(("Doubt by", "AUROC of finding errors", "Area under risk over coverage"), rows,
                  "0.5 finds nothing; a smaller area is better.")  # fmt: skip
    by_class = Table(
        ("Records with", "Mean entropy [95 %]", "Records"),
        tuple((name, _interval(one), f"{one['n']:,}") for name, one in about["uncertainty"].items()),
        "How undecided the states of a record are, 0 to 1: mean over its places, intervals over patients.",
    )
    difference = found["difference"]
    words = f"Entropy of states finds errors with an AUROC of {_interval(found['states']['auroc'])}"
    words += f", the probability itself with {_interval(found['probability']['auroc'])}"
    words += f" (difference {_interval(difference)})."
    if found["dropout"] is None:
        words += " Doubt by dropout: none, the network has no dropout."
    else:
        words += f" The entropy of its answers in {found['dropout']['passes']} passes with dropout finds them with "
        words += f"{_interval(found[ENTROPY]['auroc'])}."
    if found["members"] is not None:
        words += f" The mean answer of the {found['members']['networks']} networks behind the average has an entropy "
        words += f"that finds them with {_interval(found[MEMBERS_ENTROPY]['auroc'])}."
    return Section("Does their uncertainty find errors?", words, (figure,), (table, by_class))


def _unsteady(about: dict[str, Any]) -> str:
    """Say what the number of states that was taken does not stand."""
    kinds = (("seeds", "another seed"), ("halves", "another half of the people"))
    fails = [words for key, words in kinds if (about["stability"][key] or 0) < STABLE]
    return " or ".join(fails).capitalize()


def _number(about: dict[str, Any]) -> Section:
    sweep = about["sweep"]
    if not sweep:
        return Section("How many states?", f"{about['k']} were asked for; no other number was tried.")
    rows = tuple(
        (str(one["k"]), *(_number3(one[key]) for key in ("seeds_ari", "halves_ari", "fidelity", "silhouette")),
         f"{one['bic']:,.0f}".replace("-", "\u2212"), "yes" if one["stable"] else "no")
        for one in sweep
    )  # fmt: skip
    if about["stability"]["stable"]:
        words = (
            f"{about['k']} states are taken: the fewest of the stable numbers that tell as much as the others of these."
        )
        more = max((one["fidelity"] or 0.0) for one in sweep)
        own = next(one["fidelity"] or 0.0 for one in sweep if one["k"] == about["k"])
        if more > own + AS_GOOD:
            words += f" More states would tell more (fidelity up to {more:.2f}), but others each time."
    else:
        words = (
            f"No number of states is stable (agreement of {STABLE:g} over seeds and over halves of the people); "
            f"{about['k']} come nearest. {_unsteady(about)} finds other states: their names mean little."
        )
    figure = Figure(figure_bytes(plot_choice(sweep, about["k"], STABLE)), "All numbers that were tried.",
                    "Agreement and fidelity against the number of states")  # fmt: skip
    names = ("k", "Other seeds", "Halves", "Fidelity", "Silhouette", "BIC", "Stable")
    return Section("How many states?", words, (figure,), (Table(names, rows, "Agreement is the adjusted Rand index."),))


def _stays(about: dict[str, Any]) -> Section:
    stability = about["stability"]
    rows = [
        (_named(key), _interval(value), f"{value['n']:,}") for key, value in stability.items()
        if isinstance(value, dict) and key != "networks"
    ]  # fmt: skip
    networks = stability["networks"]
    words = "How states of another network, trained anew, agree is not tested: give a family, or networks averaged."
    if networks and networks["value"] is not None:
        which = _DIFFER[networks["differ"]]
        words = (
            f"Networks {which} agree with {networks['value']:.2f} (adjusted Rand index, mean of "
            f"{networks['pairs']} pairs, {networks['least']:.2f} to {networks['greatest']:.2f}): 1 the same, 0 chance."
        )
    caption = (
        "Strips of the same records, as they are and spoilt: adjusted Rand index over samples, 95 % over patients."
    )
    return Section(
        "Do they stay?", words, (), (Table(("What is done", "Agreement [95 %]", "Records"), tuple(rows), caption),)
    )


def _left_out(about: dict[str, Any]) -> list[Section]:
    kinds: dict[str, int] = {}
    for one in about["excluded"]:
        kinds[one["kind"]] = kinds.get(one["kind"], 0) + 1
    without = about["alignment"]["without_beats"]
    if without:
        kinds["no_beats"] = len(without)
    if not kinds:
        return []
    rows = tuple((kind, f"{n:,}") for kind, n in sorted(kinds.items(), key=lambda item: -item[1]))
    text = "Reasons are in tables/excluded.csv. Records without beats have states, but no place in the beat."
    return [Section("Left out", text, (), (Table(("Kind", "Records"), rows),))]


def _method(about: dict[str, Any]) -> str:
    grid = about["grid"]
    fields = ", ".join(
        f"{layer} {ms:,.0f} ms" for layer, ms in zip(grid["layers"], grid["receptive_field_ms"], strict=True)
    )
    how = {"soft": "k-means, membership by distance", "kmeans": "k-means", "gmm": "a mixture of normals"}[about["by"]]
    of = f" of {about['members']} networks side by side, whose mean logit is the answer" * (about["members"] > 1)
    return (
        f"Features of {', '.join(grid['layers'])}{of} (a step sees: {fields}) at {grid['steps']} steps of each "
        f"window of {grid['window_ms']:,.0f} ms, standardised on records to fit on ({about['fitted_on']}, "
        f"{about['n_fitted']:,} per network), turned onto main axes that keep {about['axes_keep']:.0%} of their "
        f"variance, clustered by {how} (tau = {about['tau']:.3g}). Where windows overlap each counts, as in the logit. "
        f"{about['undecided']['certain']:.0%} of samples are nearly certain (entropy below 0.01); half are above "
        f"{about['undecided']['median']:.2f}. Label rule: {about['label_rule']}."
    )


def _named(key: str) -> str:
    if key.startswith("shift_"):
        samples = int(key.removeprefix("shift_"))
        return f"shifted by {samples} sample{'s' * (samples > 1)}"
    if key.startswith("noise_"):
        return f"white noise, {key.split('_')[1]} dB below the signal"
    return "one lead at its mean"


def _lift(cell: dict[str, Any]) -> str:
    if cell["lift"] is None:
        return "n/a"
    return f"{cell['lift']:.2f}{'*' if cell['p'] is not None and cell['p'] < 0.05 else ''}"


def _number3(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}".replace("-", "\u2212")


def _interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "n/a" if figure is not None else ""
    text = f"{figure['value']:.3f}"
    if figure["low"] is not None:
        text += f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return text.replace("-", "\u2212")


def _points(figure: dict[str, Any]) -> str:
    """Return a difference of shares in percentage points."""
    if figure["value"] is None:
        return "n/a"
    value, low, high = (f"{100 * figure[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-", "\u2212")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")
