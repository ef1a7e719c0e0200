# SPDX-License-Identifier: Apache-2.0
"""The page of `test-concepts`: what goes along with what, what the network uses for what, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ecglens.concepts.result import ConceptTest
from ecglens.concepts.verdict import CANNOT_TELL, LEVEL, MAX_IQR, MIN_ACCURACY, USES_AGAINST, USES_FOR
from ecglens.plotting.concepts import plot_association, plot_concept_scores
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.shares import listed

PAGE = "concepts.html"
STRONG = 0.3  # correlation from which a concept and a diagnosis are named as going together
LIMITS = (
    "A direction is what tells records with a concept from matched ones without. What goes along with the concept and "
    "was not matched (other signs of the same disease) has nearly the same direction: the network may use that.",
    "The answer is about the network, not about the heart. A concept that a network uses need not be right, and one "
    "that it does not use may matter to a patient.",
    "\u201cCannot tell\u201d is no \u201cdoes not use\u201d: what a layer holds may lie along no straight direction.",
    "In the last layers the slope is nearly the same for all records, so that scores are 0 or 100 % of them: there "
    "the test against random groups and the agreement of networks carry the verdict.",
    "Concepts rest on automatic measurements and their errors; age, sex and lists are taken as they are given.",
)


def concepts_report(found: ConceptTest, provenance: Sequence[tuple[str, str]] = ()) -> Report:
    """Return the page of a finished run."""
    about = found.about
    subtitle = (
        f"{about['bundle']}, {len(about['networks'])} network{'s' * (len(about['networks']) > 1)}, on {about['data']}: "
        f"{about['n']:,} records of {about['n_patients']:,} patients that the networks had not seen"
    )
    sections = (_association(found), _verdicts(found), _concepts(about), _undecided(found), *_left_out(about),
                Section("Limits", text=LIMITS))  # fmt: skip
    return Report("What the network uses concepts for", subtitle, sections, tuple(provenance))


def _verdicts(found: ConceptTest) -> Section:
    cells = found.cells
    counts = {name: told["n"] for name, told in found.about["per_class"].items()}
    picture = Figure(
        figure_bytes(plot_concept_scores(cells, counts)),
        "Share of each class's records whose logit rises along the direction of a concept, layers from input (left) to "
        "output (right). A star: accuracy, agreement and the test against random groups all speak for it.",
        f"Grid of scores: concepts in rows, for each of {listed(list(counts))} a column per layer",
    )
    told = [row for row in found.about["cells"] if row["verdict"] != CANNOT_TELL]
    rows = tuple(
        (
            row["concept"], row["class"], row["layer"], row["verdict"], _share(row), f"{row['iqr']:.2f}",
            f"{row['accuracy']:.2f}", f"{row['stability']:.2f}", f"{row['effect']:+.2f}".replace("-", "\u2212"),
            _p(row["p"]), f"{row['n']:,} / {row['n_patients']:,}",
        )
        for row in told
    )  # fmt: skip
    names = (
        "Concept", "Class", "Layer", "Verdict", "Score [95 %]", "IQR", "Accuracy", "Stability", "Slope", "p (Holm)",
        "Records / patients",
    )  # fmt: skip
    tables = (Table(names, rows, "All cells with a verdict."),) if rows else ()
    warnings = tuple(found.about.get("warnings", ()))  # runs of before did not say
    return Section("Verdicts", _conclusion(cells), (picture,), tables, warnings, _method(found.about))


def _conclusion(cells: pd.DataFrame) -> str:
    """Name the pairs that most layers agree on."""
    words = []
    for verdict, joint in ((USES_FOR, "for"), (USES_AGAINST, "against")):
        told = cells[cells["verdict"] == verdict].groupby(["concept", "class"], sort=False).size()
        strong = told[told >= (cells["layer"].nunique() + 1) // 2].sort_values(ascending=False)
        named = zip(strong.index.to_list(), strong.to_list(), strict=True)
        pairs = [f"{pair[0]} {joint} {pair[1]} ({n})" for pair, n in list(named)[:8]]
        words += [listed(pairs)] if pairs else []
    if not words:
        return "No concept is used by at least half of the layers: for most it cannot be told."
    return f"In half of the layers or more (their number in brackets) the network uses {'; '.join(words)}."


def _method(about: dict[str, Any]) -> str:
    sgd = about["fit"] != "closed"
    fit = "stochastic gradient descent" if sgd else "linear discriminant in closed form"
    return (
        f"{about['cavs']} directions per network and split ({fit}; layers: {about['steps']} of their steps), from "
        "two thirds of the people, against as many records without the concept that are alike in age, sex and NORM. "
        f"Accuracy is balanced, on people whom neither network nor direction has seen. A verdict needs accuracy above "
        f"{MIN_ACCURACY:g}, an interquartile range of the scores below {MAX_IQR:g} with 0.5 outside of it, and p below "
        f"{LEVEL:g}: the slope along the direction against {about['random']:,} random groups of the same size, Holm's "
        "correction over layers and classes. Slope: how much more of the class's logit is read in records with the "
        "concept, in standard deviations. Stability: mean cosine between a network's directions. Intervals: 95 %, "
        f"resampling patients. Labels: {about['label_rule']}."
        + (" The test is of directions in closed form, whatever the scores are made of." if sgd else "")
    )


def together(about: dict[str, Any]) -> str:
    """Name the concepts and diagnoses that go together most."""
    pairs = [f"{row['concept']} and {row['class']} ({row['mcc']:.2f})" for row in _strong(about)[:8]]
    return f"Go together: {listed(pairs)}." if pairs else "No concept goes along with a diagnosis by more than 0.3."


def _strong(about: dict[str, Any]) -> list[dict[str, Any]]:
    known = [row for row in about["association"] if row["mcc"] is not None and abs(row["mcc"]) >= STRONG]
    return sorted(known, key=lambda row: -abs(row["mcc"]))


def _association(found: ConceptTest) -> Section:
    table, text = found.association, together(found.about)
    rows = tuple(
        (row["concept"], row["class"], _mcc(row), f"{row['n_both']:,}", f"{row['n']:,} / {row['n_patients']:,}")
        for row in _strong(found.about)
    )
    caption = f"Pairs with a correlation of {STRONG:g} or more, in brackets the 95 % interval, resampling patients."
    tables = (Table(("Concept", "Diagnosis", "Correlation", "With both", "Records / patients"), rows, caption),)
    picture = Figure(
        figure_bytes(plot_association(table)), "Matthews' correlation of concepts and diagnoses.",
        "Heat map of the correlation of each concept with each diagnosis",
    )  # fmt: skip
    warning = "A concept that nearly is a diagnosis asks the network about its own class: read it with care."
    return Section("What goes along with what", text, (picture,), tables if rows else (), (warning,))


def _concepts(about: dict[str, Any]) -> Section:
    matched = [listed(one["matched_on"]) if one["matched_on"] else "nothing" for one in about["concepts"]]
    rows = tuple(
        (
            one["concept"], one["about"], f"{one['n_with']:,} / {one['n_patients_with']:,}", f"{one['n_without']:,}",
            f"{one['n_unknown']:,}", on, f"{one['n_matched']:,}",
        )
        for one, on in zip(about["concepts"], matched, strict=True)
    )  # fmt: skip
    names = (
        "Concept",
        "What",
        "With it / patients",
        "Without",
        "Cannot be told",
        "Matched on",
        "With it, with a match",
    )
    text = f"{len(rows)} concepts on {about['n_fitted']:,} records."
    return Section("Concepts and counts", text, (), (Table(names, rows, "Rules stand in concepts.json."),))


def _undecided(found: ConceptTest) -> Section:
    cells = found.cells
    unknown = cells[cells["verdict"] == CANNOT_TELL]
    kinds = unknown["reason"].str.split(":").str[0].value_counts()
    summary = Table(("Reason", "Cells"), tuple((str(k), f"{n:,}") for k, n in kinds.items()), "Why it cannot be told.")
    rows = tuple(
        (row["concept"], row["class"], row["layer"], _share(row), row["reason"])
        for row in found.about["cells"]
        if row["verdict"] == CANNOT_TELL
    )
    every = Table(("Concept", "Class", "Layer", "Score [95 %]", "Why not"), rows, "Every cell that is grey.")
    text = f"{len(unknown):,} of {len(cells):,} cells cannot be told."
    return Section("What cannot be told", text, (), (summary, every) if rows else ())


def _left_out(about: dict[str, Any]) -> list[Section]:
    tables = []
    if about["left_out"]:
        rows = tuple((one["what"], one["name"], one["reason"]) for one in about["left_out"])
        tables.append(Table(("What", "Name", "Why"), rows, "Concepts and classes that were not asked about."))
    if about["excluded"]:
        counts = pd.Series([one["kind"] for one in about["excluded"]]).value_counts()
        kinds = tuple((str(kind), f"{n:,}") for kind, n in counts.items())
        tables.append(Table(("Kind", "Records"), kinds, "Records left out; reasons in tables/excluded.csv."))
    if not tables:
        return []
    text = f"{len(about['left_out'])} concepts or classes and {len(about['excluded']):,} records."
    return [Section("Left out", text, (), tuple(tables))]


def _share(row: dict[str, Any]) -> str:
    if pd.isna(row["score"]):
        return "n/a"
    low, high = row["low"], row["high"]
    return f"{row['score']:.2f}" + ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")


def _mcc(row: dict[str, Any]) -> str:
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['mcc']:.2f}{interval}".replace("-", "\u2212")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
