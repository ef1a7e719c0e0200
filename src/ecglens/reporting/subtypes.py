# SPDX-License-Identifier: Apache-2.0
"""The page of `find-subtypes`: the clusters, what they are, and what labels say of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecglens.concepts.subtype_study import Subtyped
from ecglens.concepts.subtype_vectors import BEFORE_S
from ecglens.concepts.subtypes import STABLE
from ecglens.plotting.style import figure_bytes
from ecglens.plotting.subtypes import MOST_ELLIPSES, plot_cluster_beats, plot_embedding
from ecglens.report import Figure, Report, Section, Table
from ecglens.statistics.figures import interval

PAGE = "subtypes.html"
MADE_OF = {"network": "the network that read the record", "explained": "the class whose logit was explained"}
LIMITS = (
    "Clusters are always found, also in a cloud that has none: only those that come back in other people mean much.",
    "t-SNE draws groups where there are none and hides others; nothing was computed from it.",
    "A cluster is not a sub-type of a disease. It may be a device, a rate, or the sex of the patient: see the table.",
    "Maps of the highest class differ where the classes differ: clusters of attributions may be the network's labels.",
)


def subtypes_report(found: Subtyped) -> Report:
    """Return the page of a finished run."""
    about = found.about
    subtitle = (
        f"{about['group']} on {about['data']}, by {about['by']}: {about['n']:,} records of {about['n_patients']:,} "
        f"patients, {about['networks']} network{'s' * (about['networks'] > 1)} that had not seen them"
    )
    sections = (
        _plane(found),
        _clusters(about),
        _labels(about),
        _differ(found),
        _grid(about),
        Section("Limits", text=LIMITS),
    )
    told = found.run.read()
    made = [("seed", str(told["seed"])), *((name, str(value)) for name, value in told["versions"].items())]
    return Report("Sub-types that were found without labels", subtitle, sections, tuple(made))


def _plane(found: Subtyped) -> Section:
    about, table = found.about, found.run.read_table("records")
    assert table is not None
    own = ["" if one != one else str(one) for one in table["sublabel"]]  # an empty cell is read as NaN
    picture = plot_embedding(table[["x", "y"]].to_numpy(), table["cluster"].tolist(), own, about["sublabels"])
    chosen = about["chosen"]
    stable = "come back" if chosen["stable"] else "do not come back"
    words = (
        f"{chosen['k']} clusters ({chosen['method']}) were taken; they {stable} in other people (agreement "
        f"{_number(chosen['halves'])}, {STABLE:g} is asked for)."
    )
    figure = Figure(figure_bytes(picture), "A t-SNE of the records, for the eye.", "Records on a plane, coloured")
    return Section("The group", words, (figure,))


def _clusters(about: dict[str, Any]) -> Section:
    classes = list(about["clusters"][0]["probabilities"])
    covariates = [key for key in about["clusters"][0] if key not in ("id", "n", "probabilities")]
    rows = tuple(
        (str(one["id"]), f"{one['n']:,}", *(interval(one[key]) for key in covariates),
         *(interval(one["probabilities"][name]) for name in classes))
        for one in about["clusters"]
    )  # fmt: skip
    names = ("Cluster", "Records", *(key.replace("_", " ") for key in covariates), *(f"P({name})" for name in classes))
    first, second = about["clusters"][:2]
    words = f"The largest holds {first['n']:,} records, the next {second['n']:,}."
    means = Table(names, rows, "Means with 95 % intervals over patients.")
    sure = [one for one in about["differences"] if one["p"] is not None and one["p"] < 0.05]
    words += f" They differ in {len(sure)} of {len(about['differences'])} covariates (p < 0.05, Holm)."
    words += "".join(_made_of(about["made_of"][what], name) for what, name in MADE_OF.items())
    return Section("What they are", words, (), (means, _in_whom(about["differences"])))


def _made_of(told: dict[str, Any] | None, name: str) -> str:
    """Say whether the clusters may be something that was done to the records, not something in them."""
    if told is None:
        return ""
    seen = f"(Cramer's V {told['v']:.2f}, p {_p(told['p'])})"
    if told["p"] >= 0.05:
        return f" With {name} they go no more than dealt-out clusters do {seen}."
    return f" They go with {name} {seen}: as far as they do, they are no groups of patients."


def _in_whom(differences: list[dict[str, Any]]) -> Table:
    rows = tuple(
        (covariate_name(one["covariate"]), clusters_of(one), interval(one), "n/a" if one["p"] is None else _p(one["p"]))
        for one in differences
    )
    caption = (
        "The two clusters that lie farthest apart, chosen by looking: their interval knows nothing of that. p: how "
        "often clusters that are dealt out anew among patients have any two as far apart; by Holm."
    )
    return Table(("Covariate", "Clusters", "Largest difference [95 %]", "p"), rows, caption)


def covariate_name(key: str) -> str:
    """Return how a covariate is called where people read it."""
    return f"P({key.removeprefix('probability_')})" if key.startswith("probability_") else key.replace("_", " ")


def clusters_of(difference: dict[str, Any]) -> str:
    """Return the two clusters of a difference, the larger mean first."""
    return " > ".join(map(str, difference["clusters"] or [])) or "n/a"


def _labels(about: dict[str, Any]) -> Section:
    if about["accuracy"] is None:
        given = ", ".join(about["sublabels"])
        why = f"Fewer than two of {given} occur alone in the group" if given else "No sub-labels were given"
        return Section("What labels say", f"{why}: nothing to compare with.")
    bound = about["upper_bound"]
    rows = (
        ("chosen without labels", about["chosen"]["method"], str(about["chosen"]["k"]), interval(about["accuracy"]),
         interval(about["ari"])),
        ("upper bound: chosen by the labels", bound["method"], str(bound["k"]), interval(bound["accuracy"]),
         interval(bound["ari"])),
        ("one answer for all", "", "", f"{about['majority']:.3f}", "0.000"),
    )  # fmt: skip
    counts = ", ".join(f"{name} {n:,}" for name, n in about["per_class"].items())
    right = interval(about["accuracy"])
    words = f"Of {about['n_labelled']:,} records with one sub-label ({counts}) the clusters put {right} right."
    header = ("Clusters", "Method", "k", "Accuracy", "Adjusted Rand index")
    return Section("What labels say", words, (), (Table(header, rows, "Clusters and labels are paired one to one."),))


def _differ(found: Subtyped) -> Section:
    about = found.about
    arrays = found.run.folder / "arrays"
    beats, bands = (np.load(arrays / f"{name}.npy", allow_pickle=False) for name in ("beats", "beats-band"))
    drawn = plot_cluster_beats(beats, bands, about["fs"], BEFORE_S, about["leads"], about["cells"])
    sure = [cell for cell in about["cells"] if cell["p"] is not None and cell["p"] < 0.05]
    what = "maps" if about["by"] == "attributions" else "signals"
    words = f"The two largest differ in {len(sure)} of {len(about['cells'])} cells (p < 0.05, Holm)."
    if about["by"] != "features":
        words += f" They were made of these {what}, so that they must differ: this says where, not that."
    rows = tuple((cell["lead"], _when(cell), _signed(cell), _p(cell["p"])) for cell in sure[:MOST_ELLIPSES])
    tables = (Table(("Lead", "ms from R", f"Difference of {what} [95 %]", "p"), rows, "The surest."),) if rows else ()
    caption = (
        f"Mean beats of the signals as recorded, a scale for each column. Bands: 95 % over patients, of each instant "
        f"by itself. Ellipses: where the {what} differ most surely; orange: more in cluster 1, blue: more in cluster 2."
    )
    picture = Figure(figure_bytes(drawn), caption, "Mean beats of two clusters")
    return Section("Where they differ", words, (picture,), tables)


def _when(cell: dict[str, Any]) -> str:
    return f"{cell['start_ms']:.0f} to {cell['stop_ms']:.0f}".replace("-", "\u2212")


def _grid(about: dict[str, Any]) -> Section:
    rows = tuple(
        (one["method"], str(one["k"]), _number(one["silhouette"]), _number(one["halves"]),
         "" if one["bic"] is None else f"{one['bic']:,.0f}".replace("-", "\u2212"), "yes" if one["stable"] else "no")
        for one in about["grid"]
    )  # fmt: skip
    words = f"{sum(one['stable'] for one in about['grid'])} of {len(about['grid'])} ways of clustering are stable."
    words += _by_bic(about)
    caption = f"{about['components']} principal components (75 % of the variance). Label rule: {about['label_rule']}."
    header = ("Method", "k", "Silhouette", "Halves", "BIC", "Stable")
    return Section("What was tried", words, (), (Table(header, rows, caption),))


def _by_bic(about: dict[str, Any]) -> str:
    """Say which mixture was left to choose from."""
    mixtures = [one for one in about["grid"] if one["bic"] is not None]
    if not mixtures:
        return ""
    lowest = min(mixtures, key=lambda one: (one["bic"], one["k"]))
    if lowest["bic"] > about["bic_of_one_normal"]:
        return " By BIC one normal fits better than any mixture: no mixture was left to choose from."
    return f" Of the mixtures, BIC left that with {lowest['k']} clusters to choose from."


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}".replace("-", "\u2212")


def _signed(cell: dict[str, Any]) -> str:
    return f"{cell['value']:+.3g} [{cell['low']:.3g}, {cell['high']:.3g}]".replace("-", "\u2212")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
