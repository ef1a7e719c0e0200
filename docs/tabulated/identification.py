# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/identification.py` measured: people found by one lead, under the paper's split and honest ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecglens.privacy.protocols import TASKS
from ecglens.privacy.windows import PER_PERSON
from ecglens.statistics.classification import FIGURES
from ecglens.statistics.figures import number
from tabulated.layout import ROOT, grid, interval

NOT_RUN = "Not measured yet: `python benchmarks/identification.py`."
DATA = {"ecgid": "ECG-ID", "dates": "ECG-ID, other dates", "repeats": "PTB-XL, repeats",
        "repeat-dates": "PTB-XL, other dates", "paper": "mitdb",
        "closed": "mitdb", "sex": "PTB-XL", "age": "PTB-XL",
        "open": "ECG-ID, open set", "databases": "ECG-ID and PTB-XL"}  # fmt: skip
DATA |= {
    f"{run}-on-{short}": name
    for run in ("paper", "closed", "sex", "age")
    for short, name in (("ecgid", "ECG-ID"), ("mitdb", "mitdb"), ("ludb", "LUDB"), ("ptbxl", "PTB-XL"))
}
# Table I of the paper, accuracy: 87 people (its count), four databases, random windows or no overlap of people.
PUBLISHED = {
    "person": {"transecg": 0.886, "unveiled (best)": 0.819, "cnn": 0.842, "lstm": 0.855},
    "sex": {"transecg": 0.899, "unveiled (best)": 0.755, "cnn": 0.857, "lstm": 0.863},
    "age": {"transecg": 0.899, "unveiled (best)": 0.671, "cnn": 0.834, "lstm": 0.849},
}
# Found first on PTB-XL by ElectroCardioGuard (Sejak, Sido and Zahour 2023): another gallery, other training.
ELECTROCARDIOGUARD = 0.583
CURVES = ("ecgid", "dates", "repeats", "repeat-dates")  # one database, everybody who is looked for in the gallery
GALLERIES = {"unseen": "people never trained on", "everybody": "everybody"}


def named(root: Path = ROOT) -> str:
    """Return how often people, sexes and age groups are named rightly: the paper's figure, then ours by protocol."""
    rows = [
        (task, "the paper's", "four databases", model, f"{value:.3f}, no interval", "not said", "87 (its count)",
         "not said")
        for task, models in PUBLISHED.items() for model, value in models.items() if model == "transecg"
    ]  # fmt: skip
    for run, told, model, figures in _with(root, "accuracy"):
        own = figures.get("window_accuracy", figures["accuracy"])
        rows.append((told["task"], _protocol(told, model), _data(run), model, interval(own),
                     f"{own['chance']:.3f}", f"{told['n_people']:,}", _windows(run)))  # fmt: skip
    header = (
        "task",
        "split",
        "data",
        "attacker",
        "accuracy by window",
        "chance",
        "people",
        "windows a person, at most",
    )
    return grid(header, rows)


def table_one(root: Path = ROOT) -> str:
    """Return Table I: six models and three tasks, the paper's accuracies, then ours with what they cost."""
    rows = [
        (task, "the paper's", model, f"{value:.3f}", *[""] * 5, "87 (its count)", "not said", "")
        for task, models in PUBLISHED.items() for model, value in models.items()
    ]  # fmt: skip
    for run, told, model, figures in _with(root, "accuracy"):
        rows.append((
            told["task"], f"{_protocol(told, model)}, {_data(run)}", model,
            *(interval(figures[metric]) for metric in FIGURES), f"{told['n_people']:,}", _windows(run),
            _whole_cost(told, model),
        ))  # fmt: skip
    header = ("task", "split, data", "model", *(metric.replace("_", " ") for metric in FIGURES), "people",
              "windows a person, at most", "parameters, multiply-additions, seconds")  # fmt: skip
    return grid(header, rows)


def strangers(root: Path = ROOT) -> str:
    """Return how surely people whom no attacker was trained on are found and confused."""
    rows = []
    for run, told, model, figures in _with(root, "eer"):
        rank, kept = figures["rank1"], _preparation(run)
        rows.append((
            f"{_data(run)}, `--preparation {kept}`", model, _looked_for(told), f"{told['n_people']:,}",
            interval(figures["eer"]), _each_person(figures), interval(rank),
            f"{told['gallery_size']:,}", f"{rank['chance']:.3f}", _everybody(told, figures), _cost(told, model),
        ))  # fmt: skip
    header = ("data", "attacker", "people looked for", "people compared, all folds", "EER (chance 0.5)",
              "each person alike", "rank-1", "people in the gallery of a fold", "chance",
              "rank-1, everybody in the gallery", "parameters, seconds")  # fmt: skip
    return grid(header, rows) if rows else NOT_RUN


def gallery(root: Path = ROOT) -> str:
    """Return who comes first by how many stand in the gallery, and the figure that others published."""
    rows = [
        (_data(run), one["model"], GALLERIES[one["gallery"]], f"{one['size']:,}", interval(one),
         number(one["chance"]), f"{one['n_people']:,} ({one['n_probes']:,} recordings)")
        for wanted in CURVES
        for run, told in _told(root).items() if _run(run) == wanted and "-causal" not in run
        for one in told.get("gallery") or ()
    ]  # fmt: skip
    if not rows:
        return NOT_RUN
    published = f"{ELECTROCARDIOGUARD:.3f}, no interval"
    rows.append(
        ("PTB-XL, published", "ElectroCardioGuard", "another", "not the same", published, "not told", "not told")
    )
    header = ("data", "attacker", "who is in the gallery", "how many", "rank-1", "chance", "people looked for")
    return grid(header, rows)


def open_set(root: Path = ROOT) -> str:
    """Return who is named rightly where not everybody who is looked for is in the gallery."""
    rows = [
        (_data(run), model, *(interval(figures[metric]) if metric in figures else "not measured"
                              for metric in ("dir_at_0.1", "dir_at_0.01")), f"{told['gallery_size']:,}")
        for run, told in _told(root).items() if told["protocol"] == "open-set"
        for model, figures in told["models"].items()
    ]  # fmt: skip
    header = ("data", "attacker", "named, 10 % false alarms", "named, 1 % false alarms", "gallery")
    return grid(header, rows) if rows else NOT_RUN


def other_seeds(root: Path = ROOT) -> str:
    """Return what the figures of strangers are with other seeds."""
    rows = []
    for run, told in _told(root).items():
        for model, figures in (told.get("repeats") or {}).items():
            for metric in ("eer", "eer_each_person", "rank1"):
                if each := figures.get(metric):
                    values = ", ".join(f"{value:.3f}" for value in each["values"])
                    rows.append((_data(run), model, metric.replace("_", " "), values, f"{each['mean']:.3f}"))
    return grid(("data", "attacker", "figure", "each training", "mean"), rows) if rows else NOT_RUN


def by_database(root: Path = ROOT) -> str:
    """Return what people of several databases are told apart with, together, each alone, and learnt on the others."""
    rows = []
    for told in _told(root).values():
        elsewhere = told["controls"]["leave_one_database_out"] or {}
        for model, alone in (told["controls"].get("within_database") or {}).items():
            for database, figures in alone.items():
                if figures.get("eer"):
                    carried = elsewhere.get(database) or {}
                    rows.append((
                        model, interval(told["models"][model]["eer"]), database, interval(figures["eer"]),
                        f"{figures['eer']['n_people']:,}", interval(figures["rank1"]),
                        f"{figures['rank1']['chance']:.3f}",
                        *(interval(carried[key]) if carried else "n/a" for key in ("eer", "eer_all")),
                    ))  # fmt: skip
    header = ("attacker", "EER, all together", "database", "EER on it alone", "people compared", "rank-1", "chance",
              "plain model learnt elsewhere", "learnt on all")  # fmt: skip
    return grid(header, rows) if rows else NOT_RUN


def looked_at(root: Path = ROOT) -> str:
    """Return where the class token looks, per interval: density with interval and null, floors beside it."""
    parts = []
    header = ("interval", "density", "p", "share of attention", "share of time", "random weights", "place alone",
              "longer than a patch")  # fmt: skip
    for run, told, model, about in _attended(root):
        rows = [
            (one["interval"], interval(one), _short(one["p"]), _short(one["mass"]), _short(one["time"]),
             interval(one["random_weights"]), _short(one["by_place"]), "yes" if one["resolved"] else "no")
            for one in about["intervals"] if one["partition"]
        ]  # fmt: skip
        where = f"**{model}, {_data(run)}, {told['task']}, {_protocol(told, model)}**"
        size = f"{about['n_windows']:,} windows of {told['n_people']:,} people"
        parts.append(f"{where}, {size}\n\n{grid(header, rows)}")
    return "\n\n".join(parts) or NOT_RUN


def _attended(root: Path) -> Iterator[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    """Yield run, what it told, attacker and where its class token looks, of those that were explained."""
    for run, told in _told(root).items():
        for model, about in ((told.get("explanations") or {}).get("attention") or {}).items():
            yield run, told, model, about


def table_two(root: Path = ROOT) -> str:
    """Return Table II: shares of the class token's attention among the three intervals the paper names, and ours."""
    rows = [
        (told["task"], f"{_protocol(told, model)}, {_data(run)}", model, f"{told['n_people']:,}", one["interval"],
         f"{one['paper']:.3f}", interval(one), f"{one['length_alone']:.3f}")
        for run, told, model, about in _attended(root)
        for one in about["paper"]
    ]  # fmt: skip
    header = ("task", "split, data", "attacker", "people", "interval", "the paper's share", "ours", "by length alone")
    return grid(header, rows) if rows else NOT_RUN


def agreement(root: Path = ROOT) -> str:
    """Return how maps of the five intervals agree with what hiding each costs the answer, window by window."""
    maps = ("attention", "rollout", "gradient x attention", "length alone")
    rows = []
    for run, told, model, about in _attended(root):
        found = {one["of"]: interval(one) for one in about["against"] if one["with"] == "occlusion"}
        rows.append((told["task"], f"{_protocol(told, model)}, {_data(run)}", model, f"{about['n_people']:,}",
                     *(found[each] for each in maps)))  # fmt: skip
    return grid(("task", "split, data", "attacker", "people", *maps), rows) if rows else NOT_RUN


def needed(root: Path = ROOT) -> str:
    """Return what attackers lose that are trained without one interval."""
    rows = []
    for run, told in _told(root).items():
        for one in (told.get("explanations") or {}).get("flattening") or ():
            control = {"value": one["control"], "low": one["control_low"], "high": one["control_high"]}
            beyond = {"value": one["beyond"], "low": one["beyond_low"], "high": one["beyond_high"]}
            rows.append((
                told["task"], _data(run), one["model"], one["metric"], one["interval"], f"{one['untouched']:.3f}",
                interval(one), interval(control), interval(beyond), f"{one['taken']:.2f}, {one['control_taken']:.2f}",
            ))  # fmt: skip
    header = ("task", "data", "attacker", "what", "without", "with all", "loss", "loss of the control", "beyond it",
              "variance taken, by the control")  # fmt: skip
    return grid(header, rows) if rows else NOT_RUN


def _with(root: Path, figure: str) -> Iterator[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    """Yield run, what it told, attacker and figures of those that have a figure, what can be compared together.

    What attackers need (`-causal`) has the figures of the plain run again.
    """

    def place(item: tuple[str, dict[str, Any]]) -> tuple[int, str, str]:
        run, told = item
        return TASKS.index(told["task"]), DATA[_run(run)], _protocol(told)

    for run, told in sorted(_told(root).items(), key=place):
        for model, figures in told["models"].items():
            if figure in figures and "-causal" not in run:
                yield run, told, model, figures


def _looked_for(told: Mapping[str, Any]) -> str:
    """Return how many people are looked for, and by how many recordings; older runs do not tell."""
    sought = told.get("sought")
    return f"{sought['n_people']:,} ({sought['n_asked']:,} recordings)" if sought else "not told"


def _windows(run: str) -> str:
    """Return how many windows a person the benchmark asked for, which the name of a run does not say."""
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    from identification import RUNS

    return str(RUNS[_run(run).partition("-on-")[0]].get("per_person", PER_PERSON))


def _each_person(figures: dict[str, Any]) -> str:
    found = figures.get("eer_each_person")
    return interval(found) if found else "not measured"


def _data(run: str) -> str:
    """Return the data in a run's name."""
    return DATA[_run(run)] + (", learnt in bfloat16" if "-bfloat16" in run else "")


def _run(name: str) -> str:
    """Return the first part of a run's name; a KeyError later on says which one has no words."""
    return re.findall(r"^[a-z]+(?:-on-[a-z]+|-dates)?", name)[0]


def _preparation(run: str) -> str:
    """Return the preparation in a run's name, `RUN-MODELS-PREPARATION-SEED[-explain][-causal][-bfloat16]`."""
    alone = re.sub(r"(-explain|-causal|-bfloat16|-repeats\d+)+$", "", run)
    return alone.rsplit("-", 2)[-2]


def _whole_cost(told: Mapping[str, Any], model: str) -> str:
    own = next(one for one in told["cost"] if one["model"] == model)
    return f"{own['parameters']:,.0f}, {own['multiply_adds']:,.0f}, {own['seconds']:.0f}"


def _everybody(told: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Return rank-1 in the gallery that holds the people trained on as well, and its size."""
    if "rank1_everybody" not in figures:
        return "not measured"
    return f"{interval(figures['rank1_everybody'])} of {told['gallery_everybody']:,}"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _protocol(told: Mapping[str, Any], model: str = "") -> str:
    """Return the split in words, void where TransECG is not alive under random windows."""
    if told["protocol"] == "paper":
        void = model == "transecg" and told["controls"]["attack_alive"] is False
        return f"random windows (inflated{', void' if void else ''})"
    return told["protocol"] if told["task"] == "person" else "other people"


def _cost(told: Mapping[str, Any], model: str) -> str:
    own = next(one for one in told["cost"] if one["model"] == model)
    return f"{own['parameters']:,.0f}, {own['seconds']:.0f}"


def _told(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "identification.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
