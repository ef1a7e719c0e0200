# SPDX-License-Identifier: Apache-2.0
"""The page of a run: how good, on whom, by which rule, why, and how to repeat it. The conclusion comes first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.auditing.verdicts import Verdicts, find_verdicts
from ecglens.errors import FormatError, InputError
from ecglens.plotting.curves import plot_history
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.evaluation import evaluation_sections
from ecglens.runs.files import read_bytes, read_json
from ecglens.runs.run import Run
from ecglens.statistics.figures import interval

_MAX_PICTURE = 20 * 2**20


def build_run_report(run: Run) -> Report:
    """Return the page of a run: its evaluations (mapped labels last), training, data, explanations, provenance."""
    about = run.read()
    if not about.get("finished"):
        raise InputError(run.folder, "run", "not finished", "a finished training", "ecglens train ... --resume")
    sections: list[Section] = []
    evaluations = [_load_evaluation(path) for path in sorted((run.folder / "evaluations").glob("*/evaluation.json"))]
    for told, predictions in sorted(evaluations, key=lambda pair: "label_map" in pair[0]):
        sections += evaluation_sections(told, predictions)
    if not evaluations:
        sections.append(_untested(run, about))
    verdicts = find_verdicts(str(about.get("weights_sha256", "")), run.folder)
    sections += _explanation_sections(run.folder, verdicts) + _audit_sections(verdicts)
    training = _family_section(about) if "members" in about else _training_section(run, about)
    sections += [training, _data_section(run, about), _limits()]
    data = about["data"]
    subtitle = f"{about['arguments']['recipe']['model']} on {data['name']}; label rule: {data['label_rule']}"
    return Report(f"Run {run.folder.name}", subtitle, tuple(sections), _provenance(run, about))


def _untested(run: Run, about: Mapping[str, Any]) -> Section:
    where = f"ecglens evaluate {run.folder} --data {about['arguments'].get('data', 'DIR')}"
    where += f" --dataset {about['arguments']['dataset']}" if "dataset" in about["arguments"] else ""
    if "members" in about:
        return Section("How good", "Not tested on held-out patients yet.", text=(f"Run: {where}",))
    valid = about["valid"]
    return Section(
        "How good",
        "Not tested on held-out patients yet.",
        text=(
            f"On the {valid['n']} validation records that chose its epoch the macro AUROC is "
            f"{interval(valid['macro_auroc'])}, which is optimistic.",
            f"Run: {where}",
        ),
    )


def _audit_sections(verdicts: Verdicts) -> list[Section]:
    """What the audit of these weights says of each method, where there was one."""
    if not verdicts.audited:
        return []
    best = verdicts.default_method
    conclusion = f"Of the methods that pass {best} is the best." if best else "No method passes on these weights."
    rows = tuple((name, verdict, verdicts.reasons[name]) for name, verdict in verdicts.of.items())
    table = Table(("method", "verdict", "why"), rows, "Verdicts of the audit of these very weights.")
    return [Section("Which explanations may be believed", conclusion, (), (table,))]


def _explanation_sections(folder: Path, verdicts: Verdicts) -> list[Section]:
    """Pictures of single records. A method that has failed since it was drawn is not shown any more."""
    index = folder / "explanations" / "explanations.json"
    if not index.exists():
        return []
    told = read_json(index)["explanations"]
    entries = [e for e in told if e["verdict"] == "fails" or verdicts[e["method"]] != "fails"]
    if not entries:
        why = "They were drawn before the audit, by methods that failed it."
        return [
            Section("Why: single records", f"{_counted(len(told), 'explanation')}, none of them shown.", text=(why,))
        ]
    figures = []
    for entry in entries[:6]:
        picture = folder / "explanations" / Path(entry["picture"]).name
        probability = "" if entry["probability"] is None else f", probability {entry['probability']:.3f}"
        shares = sorted(entry["share_by_lead"].items(), key=lambda item: -item[1])[:3]
        caption = (
            f"Record {entry['record_id']}: {entry['target']}{probability}, by {entry['method']} "
            f"({_verdict(entry, verdicts)} on this model). The largest shares of the map lie in "
            + ", ".join(f"{lead} ({share:.0%})" for lead, share in shares)
            + f"; an even spread would put {1 / max(1, len(entry['leads'])):.0%} in each lead."
        )
        figures.append(Figure(read_bytes(picture, _MAX_PICTURE), caption, f"ECG with explanation of {entry['target']}"))
    words = sorted({_verdict(entry, verdicts) for entry in entries})
    return [
        Section(
            "Why: single records",
            f"{_counted(len(entries), 'explanation')}; the method is {' / '.join(words)} on this model, so read "
            "them as questions, not as answers.",
            tuple(figures),
            method="Attributions are of the combined logit over all windows, as predicted. Orange: a higher voltage "
            "here raises the logit; blue: it lowers it.",
        )
    ]


def _verdict(entry: Mapping[str, Any], verdicts: Verdicts) -> str:
    """Return today's verdict on a method, or that of the day it was drawn, where there was no audit since."""
    return verdicts.of.get(entry["method"], str(entry["verdict"]))


def _training_section(run: Run, about: Mapping[str, Any]) -> Section:
    history = run.read_table("history")
    if history is None:
        raise FormatError(run.folder / "tables" / "history.csv", "table", "missing", "written by ecglens train")
    figure = plot_history(
        history["epoch"].tolist(),
        history["train_loss"].tolist(),
        history["valid_macro_auroc"].tolist(),
        about["best_epoch"],
    )
    recipe = about["arguments"]["recipe"]
    valid = about["valid"]
    return Section(
        "Training",
        f"Epoch {about['best_epoch']} of {len(history)} was kept: validation macro AUROC "
        f"{interval(valid['macro_auroc'])} (N = {valid['n']}; chosen on these records, hence optimistic).",
        (_figure(figure, "Training loss and validation macro AUROC by epoch.", "Training history"),),
        method=f"AdamW, learning rate {recipe['lr']}, weight decay {recipe['weight_decay']}, batch {recipe['batch']}, "
        f"augmentation {recipe['augmentation']}, seed {about['seed']}.",
    )


def _family_section(about: Mapping[str, Any]) -> Section:
    """The members of a family, each with what it was chosen by."""
    rows = tuple(
        (member["name"], str(member["seed"]), member["left_out"] or "", str(member["best_epoch"]),
         interval(member["macro_auroc"]))
        for member in about["members"]
    )  # fmt: skip
    recipe = about["arguments"]["recipe"]
    return Section(
        "Training",
        f"{len(rows)} networks of one recipe; each kept its best epoch on its own validation fold.",
        tables=(Table(("member", "seed", "fold left out", "epoch kept", "validation macro AUROC (optimistic)"), rows,
                      "Members of the family, 95 % intervals."),),
        method=f"AdamW, learning rate {recipe['lr']}, weight decay {recipe['weight_decay']}, batch {recipe['batch']}, "
        f"augmentation {recipe['augmentation']}. Averages are of the logits.",
    )  # fmt: skip


def _data_section(run: Run, about: Mapping[str, Any]) -> Section:
    data = about["data"]
    rows = [
        (part, str(data["n_records"][part]), str(data["n_patients"][part]), *[str(n) for n in counts.values()])
        for part, counts in data["labels"].items()
    ]
    left_out = ", ".join(f"{kind} {count}" for kind, count in data["excluded"].items()) or "nothing"
    return Section(
        "Data",
        f"{sum(data['n_records'].values())} records of {data['name']} were used for training and validation; "
        f"left out: {left_out}.",
        tables=(Table(("part", "records", "patients", *data["classes"]), tuple(rows), "Records with each label."),),
        text=(data["citation"],) if data["citation"] else (),
        method=f"Splits by patient. What was left out, and why: {run.folder.name}/tables/excluded.csv.",
    )


def _limits() -> Section:
    return Section(
        "Limits",
        "These figures hold for patients like those of this data set, recorded like them.",
        text=(
            "Another hospital, device or population is untested until it is tested.",
            "A probability is not a diagnosis. An explanation method is not to be believed before it has been "
            "tested on the very model.",
        ),
    )


def _provenance(run: Run, about: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    derived = ("recipe", "seed", "members", "keep_unlabelled")  # of the recipe, or told elsewhere
    arguments = {k: v for k, v in about["arguments"].items() if k not in derived}
    if "recipe_name" in arguments:
        arguments["recipe"] = arguments.pop("recipe_name")
    repeat = " ".join(
        f"--{k.replace('_', '-')}" if v is True else f"--{k.replace('_', '-')} {v}"
        for k, v in arguments.items()
        if v is not None and v is not False and v != "" and (k, v) != ("epochs", 0)
    )
    return (
        ("repeat", f"ecglens train {repeat} --seed {about['seed']} --out {run.folder.name}"),
        ("weights SHA-256", about["weights_sha256"]),
        ("data SHA-256", about["data"]["sha256"]),
        ("started", about["started"]),
        *[(name, str(version)) for name, version in about["versions"].items()],
    )


def _load_evaluation(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    return read_json(path), pd.read_csv(path.parent / "predictions.csv")


def _figure(figure: Any, caption: str, alt: str) -> Figure:
    return Figure(figure_bytes(figure, "svg"), caption, alt)


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
