# SPDX-License-Identifier: Apache-2.0
"""The controls on the page of a risk assessment: what a figure could owe to something else than the heart.

>>> shuffled_words({"value": 0.52, "low": 0.4, "high": 0.6, "chance": 0.5, "n_deals": 40, "far_from_chance": False})
'As by chance with labels shuffled among people 40 times: chance lies within the middle 95 % of them.'

>>> far = {"value": 0.3, "low": 0.28, "high": 0.32, "chance": 0.5, "n_deals": 40, "far_from_chance": True}
>>> dealt_words({"cnn": {"eer": far}})
'FAR FROM CHANCE with owners dealt out anew: cnn (equal error rate). The counting alone is not fair.'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecglens.report import Section, Table
from ecglens.reporting.risk import TITLES
from ecglens.statistics.figures import interval, number

_NAMES = {
    "database_prediction": "database, told from a window of somebody unseen",
    "label_from_database": "label, told from the database's name alone",
    "shuffled_labels": "label, after labels were shuffled among people",
}
_LONG = {"within_database": "each database alone", "leave_one_database_out": "label or people of a database, learnt "
         "elsewhere", "shuffled_owners": "owners dealt out anew among recordings"}  # fmt: skip
_TITLES = TITLES | {"accuracy": TITLES["window_accuracy"]}
_ALONE = (
    "Each database alone: of two recordings both are of it, and so is the whole gallery. Strangers of another database "
    "may be told apart by their recorder, and make the equal error rate of all together too small. A gallery of fewer "
    "people is easier: read those who are found first beside their chance. 95 % intervals by resampling people."
)
_ALONE_NAMED = "Accuracy on the windows of each database alone, named among everybody. 95 % intervals over people."
_DEALT = (
    "Owners dealt out anew among the recordings of each fold: the mean, and where 95 % of {deals} deals lie. The "
    "similarities stay as they are and nothing is trained, so this shows whether the counting alone is kinder than "
    "chance; not whether the training leaks."
)


def controls_section(data: Mapping[str, Any]) -> Section:
    """Return the section of a run's controls; those that are not there stand with the reason."""
    told, rows = data["controls"], []
    why = told.get("why_not") or {}
    for key, words in _NAMES.items():
        figure = told[key]
        words += _shuffled_how(figure) if key == "shuffled_labels" and figure else ""
        rows.append((words, interval(figure) if figure else why.get(key, "does not apply"),
                     number(figure["chance"]) if figure else ""))  # fmt: skip
    rows += _elsewhere(told["leave_one_database_out"] or {}, data["task"])
    rows += [(_LONG[key], reason, "") for key, reason in why.items() if key in _LONG]
    caption = (
        "Balanced accuracy of a plain model (spectrum of a window, logistic regression), people left out; of people "
        "told apart the equal error rate of one that sees how far apart two recordings are in each band."
    )
    plain = Table(("control", "value and 95 % interval", "chance"), tuple(rows), caption)
    tables = [plain] if why or any(told[key] for key in _NAMES) else []
    if told.get("within_database"):
        tables.append(_alone(data["models"], told["within_database"]))
    if told.get("shuffled_owners"):
        tables.append(_dealt(told["shuffled_owners"]))
    text = [_doubled(told["duplicate_people"]), dealt_words(told.get("shuffled_owners") or {}),
            shuffled_words(told["shuffled_labels"])]  # fmt: skip
    if told["inflated"]:
        text.append("Random windows of one recording stand on both sides: the recording is recognised, not the person.")
    if told["attack_alive"] is not None:
        text.append("The attack is alive." if told["attack_alive"] else "VOID: the attack does not reach what the "
                    "paper reports under its own split, so a low risk would prove nothing.")  # fmt: skip
    lead = "What a figure could owe to something else than the heart."
    return Section("Controls", lead, (), tuple(tables), tuple(each for each in text if each))


def _elsewhere(told: Mapping[str, Mapping[str, Any] | None], task: str) -> list[tuple[str, str, str]]:
    """Return the rows of each database, by what was learnt on the others."""
    rows = []
    for name, each in told.items():
        if task != "person":
            rows.append((f"label on {name}, learnt elsewhere", each))
            continue
        ways = {"eer": "learnt elsewhere", "eer_all": "learnt on other people of all databases"}
        rows += [(f"people of {name} told apart, {words}", each and each[key]) for key, words in ways.items()]
    nothing = "one class" if task != "person" else "too few people with two recordings"
    return [(words, interval(one) if one else nothing, number(one["chance"]) if one else "") for words, one in rows]


def dealt_words(told: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in words by which attackers owners dealt out anew, `shuffled_owners`, are still found; '' by none."""
    far = [f"{model} ({_TITLES[name]})" for model, each in told.items() for name, one in each.items()
           if one["far_from_chance"]]  # fmt: skip
    if not far:
        return ""
    return f"FAR FROM CHANCE with owners dealt out anew: {', '.join(far)}. The counting alone is not fair."


def shuffled_words(told: Mapping[str, Any] | None) -> str:
    """Return in words whether labels shuffled among people, `shuffled_labels`, are told as by chance.

    '' where there is none, or one deal of an older run, which luck may have put anywhere.
    """
    if not told or "n_deals" not in told:
        return ""
    often = f"labels shuffled among people {told['n_deals']} times"
    if told["far_from_chance"]:
        return (
            f"FAR FROM CHANCE with {often}: chance lies outside the middle 95 % of them. The plain model's split or "
            "counting is not fair, so the controls of the label above prove nothing."
        )
    return f"As by chance with {often}: chance lies within the middle 95 % of them."


def _shuffled_how(told: Mapping[str, Any]) -> str:
    return f" (mean of {told['n_deals']} deals, and where 95 % lie)" if "n_deals" in told else " (once)"


def _alone(models: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> Table:
    rows, named = [], False
    for model, each in told.items():
        for database, figures in each.items():
            named = "value" in figures
            pooled = models[model]
            for name, figure in ({"accuracy": figures} if named else figures).items():
                together = pooled.get("window_accuracy", pooled.get("accuracy")) if named else pooled[name]
                rows.append((model, database, _TITLES[name], interval(together),
                             interval(figure) if figure else "nothing to compare", *_counts(figure)))  # fmt: skip
    head = ("attacker", "database", "figure", "all together", "alone", "chance", "people", "answers")
    return Table(head, tuple(rows), _ALONE_NAMED if named else _ALONE)


def _counts(figure: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Return chance, people, and how many answers of what kind."""
    if figure is None:
        return "", "", ""
    people = f"{figure['n_people']:,}"
    if "gallery_size" in figure:
        answers = f"{figure['n_asked']:,} in galleries of {figure['gallery_size']:,} or more"
    elif "n_asked" in figure:
        answers = f"{figure['n_asked']:,} windows"
    else:
        answers = f"{figure['n_genuine']:,} pairs of one person, {figure['n_impostor']:,} of two"
    return number(figure["chance"]), people, answers


def _dealt(told: Mapping[str, Mapping[str, Any]]) -> Table:
    rows, deals = [], 0
    for model, each in told.items():
        for name, figure in each.items():
            deals = figure.get("n_deals", figure.get("deals"))  # its name in older runs
            rows.append((model, _TITLES[name], interval(figure), number(figure["chance"]),
                         "FAR FROM CHANCE" if figure["far_from_chance"] else "as by chance"))  # fmt: skip
    head = ("attacker", "figure", "mean and spread", "chance", "verdict")
    return Table(head, tuple(rows), _DEALT.format(deals=deals))


def _doubled(told: Mapping[str, int]) -> str:
    """Return in words whether two people are probably one, and what was looked at."""
    n = told["n"]
    found = f"{n} pairs of people have a window that is one curve: probably one recording twice." if n else (
        "No two people have a window that is one curve."
    )  # fmt: skip
    if told["n_windows"] == told["n_windows_in_all"]:
        return f"{found} All {told['n_windows']:,} windows were compared with those of all other people."
    return (
        f"{found} Compared were {told['n_windows']:,} of {told['n_windows_in_all']:,} windows, the first of each "
        "recording and evenly more of everybody, with those of all other people."
    )
