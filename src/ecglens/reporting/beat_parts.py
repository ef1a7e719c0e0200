# SPDX-License-Identifier: Apache-2.0
"""From which part of the beat are people recognised? Sections of the page of a risk assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ecglens.plotting.beat_parts import plot_beat_attention, plot_flattening
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Section, Table
from ecglens.runs.run import Run
from ecglens.statistics.figures import interval, number

Row = Mapping[str, Any]
_LEVEL = 0.05
_PAPERS = {"sex": "sex", "age": "age", "person": "identity"}


def beat_sections(run: Run, data: Mapping[str, Any]) -> tuple[Section, ...]:
    """Return the sections on parts of the beat: what attackers need, where each TransECG looks; none if not asked."""
    told = data.get("explanations") or {}
    sections = []
    if told.get("flattening"):
        sections.append(needed_section(told["flattening"]))
    beats = run.read_table("mean_beat")
    for model, study in (told.get("attention") or {}).items():
        own = None if beats is None else beats[beats["model"] == model]
        sections.append(attention_section(model, study, own, data["task"]))
    return tuple(sections)


# ------------------------------------------------------------------------------------------------------ what is needed


def needed_section(rows: Sequence[Row]) -> Section:
    """Return the section on attackers that were trained without an interval."""
    table = Table(
        ("attacker", "without", "loss", "elsewhere", "beyond that", "variance"),
        tuple(
            (
                row["model"], row["interval"], _interval(row, "value", "low", "high"),
                _interval(row, "control", "control_low", "control_high"),
                _interval(row, "beyond", "beyond_low", "beyond_high"),
                f"{_percent(row['taken'])}, {_percent(row['control_taken'])}",
            )
            for row in rows
        ),
        f"Loss of {rows[0]['metric'].replace('_', ' ')}, which is {_untouched(rows)} on untouched windows; 95 % "
        "intervals over the same resampled people. Variance: changed in the interval, and elsewhere.",
    )  # fmt: skip
    picture = Figure(
        figure_bytes(plot_flattening(rows)),
        "What attackers lose when one interval of every beat is a straight line, and when random stretches are.",
        "Loss by interval and attacker, with its interval, beside the control",
    )
    how = (
        "Each interval, from peak to peak, became a straight line in every window, of training and test alike, "
        "and the same attacker trained anew on the same splits with the same seed and budget. The control replaces as "
        "many stretches of the same lengths at random places. One training each: the interval is over people, not over "
        "trainings. The peaks beside an interval keep their place and height. Where variance taken is near 0, hardly "
        "anything was changed, and no loss proves nothing."
    )
    return Section("Which part of the beat is needed?", needed(rows), (picture,), (table,), (), how)


def needed(rows: Sequence[Row]) -> str:
    """Return in words which intervals attackers need more than as much of the ECG elsewhere."""
    sentences, none = [], []
    for model in dict.fromkeys(row["model"] for row in rows):
        clear = [row for row in rows if row["model"] == model and _above(row["beyond_low"], 0)]
        if clear:
            ordered = sorted(clear, key=lambda row: -row["beyond"])
            parts = " and ".join(f"{row['interval']} ({row['beyond']:.3f} more)" for row in ordered)
            sentences.append(f"{model} loses more without {parts} than without as much of the ECG elsewhere.")
        else:
            none.append(model)
    if none:
        sentences.append(
            f"Of {', '.join(none)} it is not shown that any of the five intervals is needed more than as much of the "
            "ECG elsewhere: what it goes by is not in one place, or a straight line does not take it away."
        )
    return " ".join(sentences)


def _untouched(rows: Sequence[Row]) -> str:
    figures = {row["model"]: row["untouched"] for row in rows}
    return ", ".join(f"{number(figure)} ({model})" for model, figure in figures.items())


# ----------------------------------------------------------------------------------------------------- where it looks


def attention_section(model: str, study: Row, beats: pd.DataFrame | None, task: str) -> Section:
    """Return the section on what the class token of one attacker's networks looks at."""
    patch = study["patch_ms"]
    how = (
        f"Attention of the last block's class token, on patches of {patch:.0f} ms, without the "
        f"{_percent(study['to_itself'])} that it keeps for itself; {study['n_windows']} windows of {study['n_people']} "
        f"people. P-Q to T-P cover {_percent(study['covered'])} of the time. Density 1 is uniform. p: each person's "
        "attention turned round against the beats, 999 times, two-sided, corrected for the intervals beside each other "
        "(Holm). Place alone: the mean attention of all windows laid on each, which knows no beat but the first, since "
        "windows begin before one. After the first block every patch has seen all others: looking at one is no proof "
        "that what lies under it decides."
    )
    figures = () if beats is None or beats.empty else (_picture(model, study, beats),)
    tables = (
        _intervals(study), _heads(study), _networks(study), _against(study), _paper(study, task),
    )  # fmt: skip
    title = f"Where does {model} look?"
    return Section(title, looked_at(study), figures, tables, (paper_verdict(study["paper"], task),), how)


def looked_at(study: Row) -> str:
    """Return in words where attention is denser than chance, random weights and the place in the window make it."""
    clear = [
        row for row in study["intervals"]
        if row["partition"] and _above(row["low"], 1) and _above(_LEVEL, row["p"])
        and _above(row["low"], row["random_weights"]["high"]) and _above(row["low"], row["by_place"])
    ]  # fmt: skip
    if not clear:
        return "It looks at no interval more than length, place in the window, chance and random weights explain."
    parts = " and ".join(
        f"{row['interval']} ({row['value']:.2f} times as densely as on average{_blurred(row)})"
        for row in sorted(clear, key=lambda row: -row["value"])
    )
    agreement = next(r for r in study["against"] if (r["of"], r["with"]) == ("attention", "occlusion"))
    length = next(r for r in study["against"] if r["of"] == "length alone")
    words = f"It looks at {parts}."
    if agreement["value"] is None:
        return words
    return (
        f"{words} How far that says what decides: the order of the intervals agrees with that by occlusion by "
        f"{interval(agreement)} (rank correlation; their lengths alone: {interval(length)})."
    )


def _blurred(row: Row) -> str:
    return "" if row["resolved"] else ", which is shorter than a patch"


def paper_verdict(rows: Sequence[Row], task: str) -> str:
    """Return in words whether the shares that TransECG's Table II tells hold here."""
    first = max(rows, key=lambda row: row["paper"])
    told = f"TransECG's Table II: {first['interval']} has {_percent(first['paper'])} of the attention for "
    told += f"{_PAPERS[task]}, of what its three intervals have together. Here it has {_percents(first)}"
    told += f" (its length alone: {_percent(first['length_alone'])}; per time: {_percents(first['per_time'])})."
    if first["value"] is None:
        return told
    largest = max(rows, key=lambda row: row["value"] or 0)
    holds = first["low"] is not None and first["low"] <= first["paper"] <= first["high"]
    verdict = " That share holds here." if holds else " That share does not hold here."
    order = "is first here too" if largest is first else f"is not first here: {largest['interval']} is"
    each_time = {row["interval"]: row["per_time"] for row in rows}
    densest = max(each_time, key=lambda name: each_time[name]["value"] or 0)
    order += _doubt({row["interval"]: row for row in rows}, largest["interval"])
    return f"{told}{verdict} By share it {order}; per time {densest} has most{_doubt(each_time, densest)}."


def _doubt(figures: Mapping[str, Row], largest: str) -> str:
    """Return in words which others may be the largest as well, by their intervals; nothing where none may."""
    low = figures[largest]["low"]
    if low is None:
        return " (of too few people to tell how surely)"
    others = {name: each["high"] for name, each in figures.items() if name != largest and each["high"] is not None}
    near = [name for name, high in others.items() if high >= low]
    return f" (not surely: the 95 % intervals of {largest} and {' and '.join(near)} overlap)" if near else ""


def _picture(model: str, study: Row, beats: pd.DataFrame) -> Figure:
    series = {
        str(name): {column: rows[column].to_numpy(float) for column in ("time", "value", "low", "high")}
        for name, rows in beats.groupby("series", sort=False)
    }
    peaks = {row["peak"]: row["time"] for row in study["peaks"]}
    caption = (
        f"Mean beat of {study['n_people']:,} people as the network sees it, and above 1 where its class token looks "
        "more than on average; bands are 95 % intervals over people. Heads are those of the first network."
    )
    return Figure(figure_bytes(plot_beat_attention(series, peaks)), caption, f"Attention of {model} over the mean beat")


def _intervals(study: Row) -> Table:
    rows = tuple(
        (
            row["interval"] + ("" if row["partition"] else " (overlaps)"),
            _milliseconds(row["length_ms"]) + ("" if row["resolved"] else ", below a patch"),
            _percent(row["time"]), _percent(row["mass"]), interval(row),
            number(row["p"]), interval(row["random_weights"]), number(row["by_place"]),
        )
        for row in study["intervals"]
    )  # fmt: skip
    columns = ("interval", "ms", "of time", "of attention", "density", "p", "random weights", "place alone")
    return Table(columns, rows, "Density of attention by interval: share of attention / share of time.")


def _heads(study: Row) -> Table:
    rows = tuple(
        (
            row["fold"], str(row["head"]), *(number(row[way]) for way in ("projection", "value", "ablation")),
            _most(row["intervals"]),
        )
        for row in study["heads"]
    )  # fmt: skip
    columns = ("network", "head", "by projection", "by what it adds", "by ablation", "denser than chance on")
    caption = (
        "Weight of each head in three ways, relative to the largest of its network. Denser than chance: p below 0.05, "
        "corrected for all heads of the network and the five intervals of each (Holm)."
    )
    return Table(columns, rows, caption)


def _most(rows: Sequence[Row]) -> str:
    clear = [row for row in rows if _above(row["low"], 1) and _above(_LEVEL, row["p"])]
    return ", ".join(f"{row['interval']} {row['value']:.2f}" for row in sorted(clear, key=lambda row: -row["value"]))


def _networks(study: Row) -> Table:
    rows = tuple(
        (
            row["fold"], number(row["projection_value"]), number(row["projection_ablation"]),
            number(row["value_ablation"]), interval(row["value_over_windows"]),
            interval(row["ablation_over_windows"]),
        )
        for row in study["networks"]
    )  # fmt: skip
    columns = ("network", "projection, added", "projection, ablation", "added, ablation", "windows: added",
               "windows: ablation")  # fmt: skip
    caption = (
        "Do the three ways order the heads alike (Spearman), and do windows agree on the order (Kendall's W, 1 is "
        "always the same)?"
    )
    return Table(columns, rows, caption)


def _against(study: Row) -> Table:
    rows = tuple((row["of"], row["with"], interval(row)) for row in study["against"])
    caption = "Rank correlation of what P-Q to T-P have, window by window, mean and 95 % interval over people."
    return Table(("of", "with", "agreement"), rows, caption)


def _paper(study: Row, task: str) -> Table:
    rows = tuple(
        (row["interval"], _percent(row["paper"]), _percents(row), _percent(row["length_alone"]),
         _percents(row["per_time"]))
        for row in study["paper"]
    )  # fmt: skip
    caption = (
        f"Shares among the three intervals that TransECG's Table II names for {_PAPERS[task]}. They sum to 100 % "
        "because they are only three."
    )
    return Table(("interval", "the paper", "here", "its length alone", "here, per time"), rows, caption)


def _interval(row: Row, value: str, low: str, high: str) -> str:
    return interval({"value": row[value], "low": row[low], "high": row[high]})


def _percents(row: Row) -> str:
    if row["value"] is None or row["low"] is None:
        return _percent(row["value"])
    return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _milliseconds(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}"


def _above(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one > other
