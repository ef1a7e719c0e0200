# SPDX-License-Identifier: Apache-2.0
"""The page of an explained cohort: by method and class, which leads carry the maps, with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ecglens.explainers.explained import ExplainedCohort
from ecglens.leads import LIMB_LEADS
from ecglens.plotting.shares import plot_lead_shares
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.explained import VERDICT_SENTENCES
from ecglens.shares import ATTENTION, LIMB, NO_CLAIM, listed

INDEX = "index.html"
LIMITS = (
    "A share says where the maps lie, not that the network is right, and nothing of what caused a disease. A lead that "
    "carries little may still be abnormal in one patient: means hide that.",
    "Where a method failed the audit, or was not tested, it is not known whether its maps are true of the network.",
)


def explained_cohort_report(explained: ExplainedCohort, provenance: Sequence[tuple[str, str]] = ()) -> Report:
    """Return the page of a finished `ecglens explain --data`: each class over the records that carry it."""
    about = explained.about["arguments"]
    n_patients = explained.records["patient"].nunique()
    subtitle = (
        f"{len(explained):,} records of {n_patients:,} patients of {about['cohort']}, {about['output']} explained"
    )
    sections = [
        *[_method_section(explained, method) for method in explained.methods],
        *_left_out(explained),
        Section("Limits", text=LIMITS),
    ]
    return Report("Where the maps lie", subtitle, tuple(sections), tuple(provenance))


def _method_section(explained: ExplainedCohort, method: str) -> Section:
    """Show the shares of leads by class, or say why there are none."""
    maps = explained.maps[explained.maps.index.get_level_values("method") == method]
    title = f"Leads by class: {method}"
    if maps.empty:
        return Section(title, "No record could be explained by this method.")
    common = _common_warnings(maps["warnings"])
    verdict = VERDICT_SENTENCES[explained.verdicts[method]]
    if not maps["resolves_leads"].astype(bool).all():
        alike = "This method gives every lead the same map: it cannot say which lead mattered."
        return Section(title, alike, text=(verdict,))
    means = {target: _mean(explained, target, method) for target in explained.targets}
    together = bool(explained.about["arguments"]["methods"][method].get("together"))
    unit = str(maps["unit"].iloc[0])
    failed = explained.verdicts[method] == "fails"  # then that is the conclusion, and where the maps lie a detail
    place = _conclusion(means, together)
    text = [place if failed else verdict, *([NO_CLAIM[unit]] if unit in NO_CLAIM else [])]
    text += [f"Each map {warning}." for warning in common]
    if together:
        text.append("The limb leads were hidden together: they have one share, shown as equal parts.")
    if unit == ATTENTION and any("same for every target" in warning for warning in common):
        text.append("Classes differ here because their records do: the network has one attention for all of them.")
    return Section(
        title, verdict if failed else place, (_picture(explained, method, means, together),), (_table(means),),
        tuple(text), method=_method(means),
    )  # fmt: skip


def _mean(explained: ExplainedCohort, target: str, method: str) -> pd.DataFrame:
    """Return `mean_shares` over the records that carry the class; over all where the target is no class, or none do."""
    mapped = set(explained.shares(target, method).index)
    if f"label {target}" in explained.records:
        chosen = [name for name in explained.with_label(target) if name in mapped]
        if chosen:
            return explained.mean_shares(target, method, chosen).assign(records=f"with {target}")
    return explained.mean_shares(target, method).assign(records="all")


def _picture(explained: ExplainedCohort, method: str, means: dict[str, pd.DataFrame], together: bool) -> Figure:
    values = {
        column: pd.DataFrame({name: table[column].to_numpy() for name, table in means.items()}).T.to_numpy(
            float, copy=True
        )
        for column in ("mean", "low", "high")
    }
    if together:
        limb = [k for k, lead in enumerate(explained.leads) if lead in LIMB_LEADS]
        for table in values.values():
            table[:, limb] = table[:, limb].mean(axis=1, keepdims=True)
    names = [f"{name} (N = {int(table['n'].iloc[0]):,})" for name, table in means.items()]
    figure = plot_lead_shares(
        names, explained.leads, values["mean"], values["low"], values["high"], together=[together] * len(names),
        note="Bars: 95 % intervals over patients.",
    )  # fmt: skip
    return Figure(
        figure_bytes(figure),
        f"Mean share of the absolute map by lead, method {method}, over the records that carry each class.",
        f"Radars and dots of the share of {method} by lead, one row for each of {listed(list(means))}",
    )


def _conclusion(means: dict[str, pd.DataFrame], together: bool) -> str:
    """Name for each class the lead with the largest mean share, where its interval excludes an even share."""
    words = []
    for target, table in means.items():
        own = table[~table["lead"].isin(LIMB_LEADS)] if together else table
        lead, mean, low, high = own.sort_values("mean", ascending=False)[
            ["lead", "mean", "low", "high"]
        ].values.tolist()[0]
        if low > 1 / len(table):
            words.append(f"{target} in {lead} ({mean:.1%} [{100 * low:.1f}, {100 * high:.1f}])")
    start = ""
    if together:
        shares = [
            f"{table[table['lead'].isin(LIMB_LEADS)]['mean'].sum():.0%} of {name}" for name, table in means.items()
        ]
        start = f"The {LIMB}, hidden together, hold {listed(shares)}. "
    if not words:
        return f"{start}No single lead holds clearly more than an even share of any class."
    return f"{start}More than an even share, the largest lead of each class: {listed(words)}."


def _table(means: dict[str, pd.DataFrame]) -> Table:
    leads = list(next(iter(means.values()))["lead"])
    rows = tuple(
        (lead, *(f"{t['mean'].iloc[k]:.1%} [{100 * t['low'].iloc[k]:.1f}, {100 * t['high'].iloc[k]:.1f}]"
                 for t in means.values()))
        for k, lead in enumerate(leads)
    )  # fmt: skip
    of = listed([f"{name}: {t['n'].iloc[0]:,} records ({t['records'].iloc[0]}) of {t['n_patients'].iloc[0]:,} patients"
                 for name, t in means.items()])  # fmt: skip
    caption = (
        f"Mean share of the absolute map, in brackets its 95 % interval. An even share is {1 / len(leads):.1%}. {of}."
    )
    return Table(("Lead", *means), rows, caption)


def _method(means: dict[str, pd.DataFrame]) -> str:
    how = next(iter(means.values()))["method"].iloc[0]
    return (
        "Each record's map is shared out over its leads by absolute value, so that each record counts the same; then "
        f"the mean over records. Interval: {how}. A class without records that carry it is averaged over all."
    )


def _common_warnings(column: pd.Series) -> list[str]:
    """Return the warnings that every map carries; others belong to single records."""
    each = [str(text).split("; ") if isinstance(text, str) else [] for text in column]
    return [warning for warning in each[0] if all(warning in others for others in each)]


def _left_out(explained: ExplainedCohort) -> list[Section]:
    excluded = explained.excluded
    if excluded.empty:
        return []
    counts = excluded.groupby(["part", "kind"]).size().reset_index(name="n")
    rows = tuple((str(row.part), str(row.kind), f"{row.n:,}") for row in counts.itertuples())
    table = Table(("Where", "Kind", "Records"), rows, "Records that were left out; reasons in tables/excluded.csv.")
    return [
        Section("Left out", f"{excluded['record_id'].nunique():,} records were left out of some part.", (), (table,))
    ]
