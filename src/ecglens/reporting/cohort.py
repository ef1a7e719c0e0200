# SPDX-License-Identifier: Apache-2.0
"""The page of a data set: what is in it and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecglens.datasets.describe import DECADES, CohortDescription, Prevalence
from ecglens.datasets.survey import Survey
from ecglens.plotting.cohort import (
    MOST_CLASSES,
    plot_ages,
    plot_class_frequencies,
    plot_co_occurrence,
    plot_counts,
    plot_durations,
    plot_labels_per_record,
    plot_missing,
)
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table

MOST_LISTED = 20  # rows of a list on the page; info.json holds all
SMALL_GROUP = 5  # people, below which a published count may point at one of them


def cohort_report(
    about: CohortDescription, survey: Survey | None, provenance: Sequence[tuple[str, str]] = ()
) -> Report:
    """Return the page of a cohort, from `describe_cohort` and `survey_signals` (None: the files were not opened).

    provenance  what made the page: (name, value) pairs
    """
    sections: list[Section | None] = [_summary(about, survey), *_label_sections(about)]
    sections += [_people(about), _devices(about)]
    if survey is not None:
        sections += [_recordings(survey), _problems(about, survey), _duplicates(about, survey)]
    sections += [_missing(about), _terms(about)]
    subtitle = f"{records_of_patients(about)}; label rule: {_rule(about)}"
    kept = tuple(section for section in sections if section is not None)
    return Report(f"Data set {about.name}", subtitle, kept, tuple(provenance))


def records_of_patients(about: CohortDescription) -> str:
    """Return how large a cohort is, in words; patients whom nobody knows are not counted."""
    return f"{_many(about.records, 'record')} of {_patients(about)}"


def _patients(about: CohortDescription) -> str:
    if about.patients is None:
        return "unknown patients"
    at_most = "at most " if about.missing["patient_id"] else ""
    return at_most + _many(about.patients, "patient")


def attention(about: CohortDescription, survey: Survey | None) -> list[str]:
    """Return in sentences what should be looked at before the data are used; the gravest first."""
    told = []
    if survey is not None and survey.unreadable:
        told.append(f"{_many(len(survey.unreadable), 'record')} cannot be read.")
    if survey is not None and survey.duplicates:
        held = sum(map(len, survey.duplicates))
        told.append(f"{_many(held, 'record')} hold the same recording as another one.")
    for field, n in about.contradictions.items():
        if n:
            told.append(f"The records of {_many(n, 'patient')} disagree on {field}.")
    if survey is not None:
        errors = {record for record, finding in survey.flags if finding.severity == "error"}
        if errors:
            told.append(
                f"{_many(len(errors), 'record')} would be refused for the signal: {_kinds(survey.count('error'))}."
            )
        warned = {record for record, finding in survey.flags if finding.severity == "warning"}
        if warned:
            told.append(f"{_many(len(warned), 'record')} to be read with care: {_kinds(survey.count('warning'))}.")
    if about.missing["patient_id"]:
        told.append(f"The patient is unknown in {_many(about.missing['patient_id'], 'record')}: no split by patient.")
    rare = [name for name, found in about.prevalence.items() if found.n_patients_positive < SMALL_GROUP]
    if rare and about.patients is not None:
        told.append(f"Fewer than {SMALL_GROUP} patients have {_listed(rare)}: too few to learn from or to score.")
    left_out = sum(about.excluded.values())
    if left_out:
        told.append(f"{_many(left_out, 'record')} {_were(left_out)} left out on loading: {_kinds(about.excluded)}.")
    return told


def _summary(about: CohortDescription, survey: Survey | None) -> Section:
    concerns = attention(about, survey)
    n_labels = sum(n > 0 for n in about.labels.values())
    opened = "the files were not opened" if survey is None else f"{survey.n:,} of {about.records:,} files can be read"
    labelled = f"with {_many(n_labels, 'label')}" if n_labels else "without labels"
    conclusion = (
        f"{records_of_patients(about)} {labelled}; "
        f"{opened}. "
        + ("To look at first:" if concerns else "Nothing was found that forbids their use.")
    )  # fmt: skip
    return Section("In short", conclusion, text=tuple(concerns))


def _label_sections(about: CohortDescription) -> list[Section]:
    if not about.prevalence or about.unlabelled == about.records:
        return [Section("Labels", "No labels are known: these data can be predicted on, not trained on or scored.")]
    sections = [_frequencies(about), _per_record(about)]
    together = _together(about)
    return [*sections, together] if together else sections


def _frequencies(about: CohortDescription) -> Section:
    ranked = sorted(about.prevalence.items(), key=lambda item: -item[1].n_positive)
    carried = [(name, found) for name, found in ranked if found.n_positive]
    none = len(ranked) - len(carried)
    conclusion = "No record carries a label."
    if carried:
        (common, most), (rare, least) = carried[0], carried[-1]
        conclusion = f"{common} is the most frequent label, on {_share(most)} of records"
        conclusion += f"; {rare} the rarest, on {_share(least)}." if len(carried) > 1 else "."
        conclusion += f" {_many(none, 'label')} stand{'s' if none == 1 else ''} on no record." if none else ""
    columns = list(zip(*[(f.value, f.low, f.high) for f in about.prevalence.values()], strict=True))
    values, lows, highs = ([np.nan if v is None else v for v in column] for column in columns)
    picture = plot_class_frequencies(
        list(about.prevalence), values, lows, highs, [f.n_positive for f in about.prevalence.values()]
    )
    unknown = f"; no label is known of {about.unlabelled:,} more" if about.unlabelled else ""
    caption = (
        f"How often each label stands on a record: number, share, 95 % interval. N = "
        f"{about.records - about.unlabelled:,} records of {_patients(about)}{unknown}."
    )
    people = "{:,}".format if about.patients is not None else lambda _: "unknown"
    rows = [
        (name, f"{f.n_positive:,}", people(f.n_patients_positive), _share(f), f"{f.n:,}", people(f.n_patients))
        for name, f in ranked
    ]
    table = Table(
        ("label", "records", "patients", "share of records", "N records", "N patients"), tuple(rows),
        "The same as numbers. A patient counts for a label that stands on at least one of their records; N counts "
        "records of which it is known whether they carry it.",
    )  # fmt: skip
    return Section(
        "How often each label occurs", conclusion, (_figure(picture, caption, "Frequency of each label"),), (table,),
        method="Wilson's 95 % interval. Records of one patient resemble each other, so it is computed for the number "
        "of independent records that would be as sure, estimated from the spread between patients. It is what a "
        f"like sample of patients would show, not what any other hospital would. Label rule: {_rule(about)}.",
    )  # fmt: skip


def _per_record(about: CohortDescription) -> Section:
    counts, n = about.labels_per_record, sum(about.labels_per_record.values())
    several = sum(count for size, count in counts.items() if int(size) > 1)
    conclusion = (
        f"{several / n:.0%} of records carry more than one label, {several:,} of {n:,}."
        if several
        else "No record carries more than one label."
    )
    if counts.get("0"):
        conclusion += f" {counts['0']:,} carry none."
    caption = f"How many records carry how many labels, N = {n:,} records of which at least one label is known."
    return Section("How many labels on one record", conclusion,
                   (_figure(plot_labels_per_record(counts), caption, "Labels per record"),))  # fmt: skip


def _together(about: CohortDescription) -> Section | None:
    """Show which labels stand together; nothing where no two ever do."""
    table = np.array(about.co_occurrence.records)
    carried = np.diag(table)
    order = sorted(np.flatnonzero(carried), key=lambda k: -carried[k])
    shown = order[:MOST_CLASSES]
    if len(shown) < 2:
        return None
    names = [about.co_occurrence.classes[k] for k in shown]
    part = table[np.ix_(shown, shown)]
    pairs = [(int(part[a, b]), names[a], names[b]) for a in range(len(names)) for b in range(a)]
    most = max(pairs, key=lambda pair: pair[0])
    apart = sum(count == 0 for count, _, _ in pairs)
    conclusion = (
        f"{most[2]} and {most[1]} stand together most often, on {_many(most[0], 'record')}; "
        f"{apart:,} of {len(pairs):,} pairs never do."
        if most[0]
        else "No two labels stand on one record."
    )
    left = "" if len(shown) == len(order) else f" The {len(shown)} most frequent of {len(order)} labels are shown."
    unused = len(table) - len(order)
    left += f" {_many(unused, 'label')} on no record left out." if unused else ""
    caption = (
        "Records that carry both labels; grey, on the diagonal, those that carry the one. The deeper the orange, the "
        f"larger the share of the row's records that also carry the column's label. N = "
        f"{about.records - about.unlabelled:,} records.{left}"
    )
    figures = (_figure(plot_co_occurrence(names, part), caption, "Labels that stand together"),) if most[0] else ()
    return Section("Which labels stand together", conclusion, figures)


def _people(about: CohortDescription) -> Section:
    figures = []
    told = [_ages_in_words(about.age)] if about.age else ["No age is known."]
    if about.sex:
        known = sum(about.sex.values())
        told.append(f"By sex: {', '.join(f'{name} {n / known:.0%}' for name, n in about.sex.items())}.")
    else:
        told.append("No sex is known.")
    visits = about.records_per_patient
    several = sum(n for size, n in visits.items() if int(size) > 1)
    if several:
        told.append(f"{_many(several, 'patient')} came more than once, up to {max(map(int, visits))} times.")
    if about.age:
        n = sum(map(sum, about.age_groups.values()))
        caption = f"Ages at the recording, by sex, N = {n:,} records of which the age is known. 90+: 90 years and over."
        figures.append(_figure(plot_ages(about.age_groups, DECADES), caption, "Ages by sex"))
    unknown = {"unknown": about.missing["sex"]} if about.missing["sex"] else {}
    if about.sex:
        caption = f"Records by sex, N = {about.records:,}."
        figures.append(_figure(plot_counts(about.sex | unknown, "Records"), caption, "Records by sex"))
    if several:
        caption = f"How many records each of the {about.patients:,} patients has."
        picture = plot_counts({_many(int(k), "record"): n for k, n in visits.items() if n}, "Patients")
        figures.append(_figure(picture, caption, "Records per patient"))
    return Section("People", " ".join(told), tuple(figures))


def _devices(about: CohortDescription) -> Section:
    figures, told = [], []
    parts = (("device", "devices", about.devices), ("site", "sites", about.sites))
    for name, names, counts in parts:
        if not counts:
            told.append(f"No {name} is known.")
        elif len(counts) == 1:
            told.append(f"One {name}: {_quoted(next(iter(counts)))}.")
        else:
            first, most = next(iter(counts.items()))
            part = _part(most, sum(counts.values()))
            told.append(f"{len(counts)} {names}; the most frequent, {_quoted(first)}, made {part} of the records.")
            caption = f"Records by {name}, N = {sum(counts.values()):,} records of which it is known."
            figures.append(_figure(plot_counts(counts, "Records"), caption, f"Records by {name}"))
    if about.folds:
        told.append(f"{len(about.folds)} folds.")
        caption = f"Records by fold, N = {sum(about.folds.values()):,}. Folds hold whole patients where they are sound."
        picture = plot_counts({f"fold {k}": n for k, n in about.folds.items()}, "Records")
        figures.append(_figure(picture, caption, "Records by fold"))
    return Section("Devices, sites and folds", " ".join(told), tuple(figures))


def _recordings(survey: Survey) -> Section | None:
    if not survey.n:
        return None
    figures, told = [], []
    lengths = np.array(survey.durations)
    n = f"N = {survey.n:,} records that can be read."
    if len(np.unique(lengths)) == 1:
        told.append(f"All {survey.n:,} last {_seconds(lengths[0])}.")
    else:
        told.append(
            f"They last {_seconds(lengths.min())} to {_seconds(lengths.max())}, median {_seconds(np.median(lengths))}; "
            f"{_seconds(lengths.sum())} in all."
        )
        figures.append(_figure(plot_durations(lengths.tolist()), f"How long the recordings are, {n}", "Lengths"))
    if len(survey.sampling_rates) == 1:
        told.append(f"Sampling rate: {next(iter(survey.sampling_rates))} Hz.")
    else:
        told.append(f"{len(survey.sampling_rates)} sampling rates.")
        picture = plot_counts({f"{fs} Hz": k for fs, k in survey.sampling_rates.items()}, "Records")
        figures.append(_figure(picture, f"Records by sampling rate, {n}", "Sampling rates"))
    if set(survey.leads.values()) == {survey.n}:
        told.append(f"Each has the lead{'' if len(survey.leads) == 1 else 's'} {', '.join(survey.leads)}.")
    else:
        told.append(f"Not all have the same leads; {len(survey.leads)} occur.")
        picture = plot_counts(survey.leads, "Records that have the lead", survey.n)
        figures.append(_figure(picture, f"Which leads are there, {n}", "Leads"))
    return Section("Recordings", " ".join(told), tuple(figures))


def _problems(about: CohortDescription, survey: Survey) -> Section:
    figures: tuple[Figure, ...] = ()
    counts = ({"unreadable": len(survey.unreadable)} if survey.unreadable else {}) | survey.flagged
    if not counts:
        return Section("Signals", f"All {survey.n:,} records can be read, and none was flagged.", method=_CHECKS)
    affected = {record for record, _ in survey.flags} | {e.record_id for e in survey.unreadable}
    verb = "is" if len(affected) == 1 else "are"
    conclusion = f"{len(affected):,} of {about.records:,} records {verb} unreadable or flagged: {_kinds(counts)}."
    if len(counts) > 1:
        caption = f"Records by what was found, N = {about.records:,}. A record may count for several."
        picture = plot_counts({kind.replace("_", " "): n for kind, n in counts.items()}, "Records", about.records)
        figures = (_figure(picture, caption, "Problems found"),)
    rows = [(e.record_id, "unreadable", e.reason) for e in survey.unreadable]
    rows += [(record, finding.kind.replace("_", " "), finding.reason) for record, finding in survey.flags]
    return Section("Signals", conclusion, figures, (_list(("record", "what", "why"), rows),), method=_CHECKS)


_CHECKS = (
    "Every record was read once. Flagged: the 99.5th percentile of the amplitude, measured from each lead's median, "
    "outside 0.05 to 20 mV (a wrong unit or gain, or a blank stretch); a lead whose range stays below 0.005 mV; "
    "samples missing; and what the reader of the file warned of. Length and leads are no fault here: what a network "
    "needs is checked by `ecglens check`."
)


def _duplicates(about: CohortDescription, survey: Survey) -> Section:
    groups = survey.duplicates
    method = (
        "Equal are records with the same leads, sampling rate and samples, rounded to microvolts, whatever the files "
        "are called and whatever format they are in. Copies that were resampled, filtered or cut are not found."
    )
    if not groups:
        return Section("Duplicates", f"No recording occurs twice among {survey.n:,} records.", method=method)
    rows = [(str(len(group)), ", ".join(group)) for group in groups]
    conclusion = (
        f"{_many(len(groups), 'recording')} occur{'s' if len(groups) == 1 else ''} more than once; together "
        f"{sum(map(len, groups)):,} records. Keep one of each, or training and test may share them."
    )
    return Section("Duplicates", conclusion, tables=(_list(("times", "records"), rows),), method=method)


def _missing(about: CohortDescription) -> Section:
    lacking = {name: n for name, n in about.missing.items() if n}
    conclusion = (
        f"Nothing is missing in {len(about.missing)} fields."
        if not lacking
        else "Missing: "
        + "; ".join(f"{name} in {n:,} ({_part(n, about.records)})" for name, n in lacking.items())
        + "."
    )
    caption = f"Records that lack each field, N = {about.records:,}; labels: those of which no label is known."
    figure = _figure(plot_missing(about.missing, max(about.records, 1)), caption, "Missing values")
    out = sum(about.excluded.values())
    text = (f"Left out on loading, and in none of the counts: {out:,}, for {_kinds(about.excluded)}.",) if out else ()
    return Section("Missing values", conclusion, (figure,), text=text)


def _terms(about: CohortDescription) -> Section:
    rare = sum(0 < f.n_patients_positive < SMALL_GROUP for f in about.prevalence.values())
    small = f" Here {_many(rare, 'label')} stand{'s' if rare == 1 else ''} on fewer than that." if rare else ""
    return Section(
        "Licence, citation and use",
        about.citation or "The data set states no licence and no citation: ask its owner before you share anything.",
        text=(
            f"This page is for those who may see the data. Counts of fewer than {SMALL_GROUP} people can point at one "
            f"of them, and lists name records: leave both out of what you publish.{small}",
        ),
    )


def _list(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    caption = f"The first {MOST_LISTED} of {len(rows):,}; info.json has all." if len(rows) > MOST_LISTED else ""
    return Table(columns, tuple(rows[:MOST_LISTED]), caption)


def _ages_in_words(age: Mapping[str, float]) -> str:
    top = "90 and over" if age["over_89"] else f"{age['max']:g}"
    return f"Ages run from {age['min']:g} to {top}, median {age['median']:g} years."


def _seconds(seconds: float) -> str:
    """Return a length in the unit that suits it.

    >>> _seconds(10.0), _seconds(1805.6), _seconds(86400.0)
    ('10 s', '30.1 min', '24 h')
    """
    for unit, size, limit in (("s", 1.0, 300.0), ("min", 60.0, 7200.0)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def _share(figure: Prevalence) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "n/a"
    return f"{figure.value:.1%} [{figure.low * 100:.1f}, {figure.high * 100:.1f}]"


def _part(n: int, whole: int) -> str:
    return "all" if n == whole else "<1%" if n < 0.005 * whole else f"{n / whole:.0%}"


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind.replace('_', ' ')} ({n:,})" for kind, n in counts.items())


def _listed(names: Sequence[str]) -> str:
    if len(names) > 8:
        return f"each of {len(names)} labels"
    return ", ".join(names[:-1]) + (" or " if len(names) > 1 else "") + names[-1]


def _many(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _quoted(name: str) -> str:
    return " ".join(name.split())


def _rule(about: CohortDescription) -> str:
    return about.label_rule or "none"


def _figure(figure: Any, caption: str, alt: str) -> Figure:
    return Figure(figure_bytes(figure, "svg"), caption, alt)
