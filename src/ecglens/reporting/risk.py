# SPDX-License-Identifier: Apache-2.0
"""What a data officer must know first: the worst attacker by each figure, and whether the figures prove anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecglens.privacy.identify import ALIVE
from ecglens.privacy.protocols import COMPARED
from ecglens.privacy.sought import in_words
from ecglens.report import Section, Table
from ecglens.statistics.figures import interval, number

# The figure that tells who is the worst attacker.
FIRST = {
    "verification": "eer", "open-set": "eer", "cross-session": "eer", "closed-set": "accuracy", "paper": "accuracy",
    "sex": "balanced_accuracy", "age": "balanced_accuracy",
}  # fmt: skip
_LESS_IS_WORSE = ("eer", "fnmr")  # errors of the attacker
TITLES = {
    "eer": "equal error rate", "eer_each_person": "equal error rate, each person alike",
    "fnmr_at_0.01": "refused at 1 % strangers accepted",
    "fnmr_at_0.001": "refused at 0.1 % strangers accepted", "rank1": "found first", "rank5": "among the first five",
    "rank1_everybody": "found first in the gallery of everybody", "rank5_everybody": "... among the first five",
    "dir_at_0.1": "named, 10 % false alarms", "dir_at_0.01": "named, 1 % false alarms", "accuracy": "accuracy",
    "precision": "precision (macro)", "recall": "recall (macro)", "f1": "F1 (macro)",
    "balanced_accuracy": "balanced accuracy", "auroc": "AUROC", "window_accuracy": "accuracy by window",
}  # fmt: skip


def worst(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return the attacker that finds out most by the first figure of the protocol, and that figure."""
    metric = FIRST[data["protocol"] if data["task"] == "person" else data["task"]]
    return worst_by(data, metric), metric


def worst_by(data: Mapping[str, Any], metric: str) -> str:
    """Return the attacker that finds out most by one figure; the first that has it, where none can be estimated.

    >>> told = {"models": {"a": {"eer": {"value": 0.1}, "rank1": {"value": 0.5}},
    ...                    "b": {"eer": {"value": 0.2}, "rank1": {"value": 0.9}}}}
    >>> worst_by(told, "eer"), worst_by(told, "rank1")
    ('a', 'b')
    """
    values = {model: each[metric]["value"] for model, each in data["models"].items() if metric in each}
    known = {model: value for model, value in values.items() if value is not None and value == value}
    if not known:
        return next(iter(values))
    return (min if metric.startswith(_LESS_IS_WORSE) else max)(known, key=lambda model: known[model])


def void(data: Mapping[str, Any]) -> str | None:
    """Return why the figures prove nothing, None where they may or where nobody can tell."""
    if data["controls"].get("attack_alive") is not False:
        return None
    reached = interval(data["models"]["transecg"]["accuracy"])
    return (
        f"VOID: transecg names {reached} of windows rightly under random windows, and {ALIVE} is needed, what its "
        "paper reports there. An attack that does not work proves nothing: none of these figures says that a risk is "
        "low."
    )


def honest_protocol(data: Mapping[str, Any]) -> str:
    """Return the protocol that asks what `paper` asks, and honestly."""
    return "closed-set" if data["task"] == "person" else "verification"


def headline(data: Mapping[str, Any]) -> str:
    """Return what a data officer must know, in a few sentences: first, where they are void, that the figures are."""
    why = void(data)
    told = _found(data) if data["task"] == "person" else _told(data)
    days = in_words(data.get("sought"), data["protocol"])
    told += f" {days}" if days else ""
    if data["controls"]["inflated"]:
        told += f" These figures are inflated; --protocol {honest_protocol(data)} gives honest ones."
    return f"{why} {told}" if why else told


def _told(data: Mapping[str, Any]) -> str:
    model, metric = worst(data)
    figure = data["models"][model][metric]
    whom = "people whose other windows were learnt" if data["controls"]["inflated"] else "people never seen"
    told = f"The {data['task']} of {whom} is told by {model} with a balanced accuracy of "
    return f"{told}{interval(figure)} (chance {number(figure['chance'])})."


def _found(data: Mapping[str, Any]) -> str:
    model, metric = worst(data)
    figure, size = data["models"][model][metric], f"{data['gallery_size']:,} people"
    if metric != "eer":
        named = f"{model} names {interval(figure)} of windows rightly among {size}"
        return f"{named} (chance {number(figure['chance'])})."
    finder = worst_by(data, "rank1")  # whoever errs least need not find most
    rank = data["models"][finder]["rank1"]
    found = f"{finder} finds {interval(rank)} of recordings first among {size} (chance {number(rank['chance'])})"
    found += f", looking for {looked_for(data)}" if data.get("sought") else ""
    whoever = "" if finder == model else f"{model} "
    return f"{found}, and {whoever}errs in {interval(figure)} when asked whether two are of one person."


def _title(metric: str, data: Mapping[str, Any]) -> str:
    """Return what a figure is called, ranks with the people among whom."""
    size = data.get("gallery_everybody" if metric.endswith("everybody") else "gallery_size")
    among = f", of {size:,}" if metric.startswith("rank") and size else ""
    return TITLES.get(metric, metric) + among


def looked_for(data: Mapping[str, Any]) -> str:
    """Return whom the figures rest on: who is looked for, and by how many recordings or windows."""
    told, compares = data["sought"], data["protocol"] in COMPARED
    nobody = ", some of whom are in no gallery" if data["protocol"] == "open-set" else ""
    return f"{told['n_people']:,} people by {told['n_asked']:,} {'recordings' if compares else 'windows'}{nobody}"


def first_section(data: Mapping[str, Any]) -> Section:
    """Return the first section of the page: the worst attacker by each figure, and how far that can be believed."""
    rows = []
    for metric in dict.fromkeys(metric for each in data["models"].values() for metric in each):
        model = worst_by(data, metric)
        figure = data["models"][model][metric]
        rows.append((_title(metric, data), model, interval(figure), number(figure["chance"])))
    counts = f"{data['n_people']:,} people, {data['n_records']:,} recordings"
    counts += f", of which are looked for {looked_for(data)}" if data.get("sought") else ""
    n = len(data["models"])
    caption = (f"The worst of {n} attackers by each figure. " if n > 1 else "") + f"{counts}."
    inflated = data["controls"]["inflated"]
    text = (
        "This is no measure of the risk: the attackers have learnt from other windows of the very recordings that "
        "they are asked about, which nobody has who finds an ECG without a name. --protocol "
        f"{honest_protocol(data)} asks the same and gives an honest figure."
        if inflated else
        "This is a lower bound of the risk: an attacker with more data, more leads or more time does better. It holds "
        "for these people and these recordings; other people may be found more easily, or less."
    )  # fmt: skip
    how = (
        "95 % intervals by resampling people. Chance is what dealing out scores at random gets. Of several attackers "
        "the worst is chosen after they were measured, figure by figure: its interval does not know of that."
    )
    title = "The worst attacker, inflated" if inflated else "The worst honest attacker"
    table = Table(("figure", "attacker", "value and 95 % interval", "chance"), tuple(rows), caption)
    return Section(f"Void: {title}" if void(data) else title, headline(data), (), (table,), (text,), how)


def among_how_many(data: Mapping[str, Any]) -> str:
    """Return who finds most first, in the gallery of people never trained on and in that of everybody."""
    told, models = "The larger the gallery, the fewer are found.", data["models"]
    finder = worst_by(data, "rank1")
    found = (
        f"{finder} finds {interval(models[finder]['rank1'])} of recordings first among {data['gallery_size']:,} people"
    )
    if not any("rank1_everybody" in each for each in models.values()):
        return f"{told} {found}."
    other = worst_by(data, "rank1_everybody")
    whoever = "" if other == finder else f"{other} "
    rank = interval(models[other]["rank1_everybody"])
    return f"{told} {found}, and {whoever}{rank} among everybody, {data['gallery_everybody']:,}."
