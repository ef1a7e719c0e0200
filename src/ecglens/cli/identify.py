# SPDX-License-Identifier: Apache-2.0
"""`ecglens identify`: how much does a shared ECG give away?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, clock, columns, conclude, listed, say
from ecglens.errors import LockedError, UsageError

if TYPE_CHECKING:
    from ecglens.cohort import Cohort


def identify(
    data: list[str] = typer.Option(..., help="Folder of a data set or of your own ECGs; several times for several."),
    task: str = typer.Option("person", help="person, sex or age."),
    protocol: str = typer.Option(
        "verification", help="verification, closed-set, open-set, cross-session, or paper (inflated). Sex and age are "
        "always asked of people never trained on, but under paper, and take no other.",
    ),
    model: str = typer.Option(
        "auto", help="transecg, transecg-patch5, cnn, cnn-beats, cnn-beats-5, cnn-ghazarian, bilstm, unveiled-lr, "
        "unveiled-tree, unveiled-forest; several joined by comma. all: the six of TransECG's Table I: transecg, cnn, "
        "bilstm, unveiled-lr, unveiled-tree, unveiled-forest. auto: cnn-beats-5 where strangers are compared, else "
        "cnn-beats.",
    ),
    lead: str = typer.Option("auto", help="A lead's name; auto: the one that each database is known by."),
    preparation: str = typer.Option("paper", help="paper (each window from 0 to 1) or amplitude (millivolts kept)."),
    windows: int = typer.Option(20, help="Windows of 8 s a person, at most."),
    folds: int = typer.Option(5, help="Parts of the people, each asked about by a network that has not seen it."),
    explain: bool = typer.Option(
        False, "--explain", help="Where TransECG looks, by part of the beat; needs transecg among the models."
    ),
    causal: bool = typer.Option(
        False, "--causal", help="Train every attacker anew without each of five parts of the beat: 11 times as long."
    ),
    repeats: int = typer.Option(1, help="Trainings of each attacker, with other seeds: how much of a figure is luck."),
    full: bool = typer.Option(
        False, "--full", help="Three trainings of each attacker, and beside transecg one that resolves 20 ms."
    ),
    precision: str = typer.Option(
        "float32", help="While networks learn: float32, bfloat16 (faster where the processor has it)."
    ),
    purpose: str = typer.Option(..., help="What for: risk-assessment, of data you are entitled to assess."),
    out: Path = typer.Option(..., help="Run folder to write: identification.json, identify.html, tables."),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was cut off."),
    as_json: Json = False,
) -> None:  # fmt: skip
    """Measure how surely people can be found by one lead of their ECG, or their sex and age be told.

    Prints and writes aggregates only: never whose a record is.

    Example: ecglens identify --data ecgiddb/ --purpose risk-assessment --out runs/risk
    """
    asked = {"task": task, "protocol": protocol, "lead": lead, "preparation": preparation, "windows": windows,
             "folds": folds, "purpose": purpose, "explain": explain, "causal": causal,
             "precision": precision, "repeats": repeats, "full": full}  # fmt: skip
    raise typer.Exit(conclude(lambda: _identify(data, model, asked, out, seed, resume), as_json))


def _identify(data: list[str], model: str, asked: dict[str, Any], out: Path, seed: int, resume: bool) -> Outcome:
    from ecglens.privacy.identify import PURPOSE
    from ecglens.privacy.identify import identify as measure_risk
    from ecglens.privacy.left_out import unsuitable
    from ecglens.privacy.repeats import FULL
    from ecglens.reporting.html import write_report
    from ecglens.reporting.identification import identification_report

    if asked["purpose"] != PURPOSE:
        raise UsageError(
            "identify", "purpose", asked["purpose"], PURPOSE,
            "this verb measures risk; it is not for finding out who somebody is", kind="purpose",
        )  # fmt: skip
    models, repeats = _models(model, asked), asked["repeats"]
    if asked["full"]:
        repeats = max(repeats, FULL)
        models += ["transecg-patch5"] if "transecg" in models and "transecg-patch5" not in models else []
    line = ProgressLine()

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "expected":
            say(f"Expected: {note}.")
        else:
            line(stage, done, total, note)

    with _networks_told(out):
        found = measure_risk(
            [_load(where) for where in data], out, task=asked["task"], protocol=asked["protocol"],
            models=models, lead=asked["lead"], preparation=asked["preparation"], per_person=asked["windows"],
            n_folds=asked["folds"], seed=seed, resume=resume, arguments={"data": data, "purpose": asked["purpose"]},
            explain=asked["explain"], causal=asked["causal"], precision=asked["precision"],
            repeats=repeats, progress=progress,
        )  # fmt: skip
    page = out / "identify.html"
    with found.run.writing():
        write_report(identification_report(found.run), page)
    told = found.as_dict()
    code = PARTLY if unsuitable(told.get("records_left_out")) else 0
    return Outcome(told, _in_words(told, found.run.read()["seconds"], page), f"open {page}", code)


@contextlib.contextmanager
def _networks_told(out: Path) -> Iterator[None]:
    """Say where networks lie that a run leaves for --resume when it is cut off."""
    try:
        yield
    except LockedError:  # they are another process's, which is at work on them
        raise
    except BaseException:
        work = out / "work"
        ours = (out / "run.json").exists() and any(work.glob("*/fold-*/**/*.safetensors"))
        if ours:
            say(f"Networks that recognise people are kept in {work} for --resume; deleting that folder deletes them.")
        raise


def _load(where: str) -> Cohort:
    from ecglens.datasets.load import load_cohort

    return load_cohort(where, keep_unlabelled=True)  # whom the ECG is of matters here, not what is found in it


def _models(model: str, asked: dict[str, Any]) -> list[str]:
    from ecglens.privacy.identify import NAMED, default_model

    names = listed(model)
    for word in ("all", "auto"):
        if word in names and len(names) > 1:
            raise UsageError(
                "identify", "model", model, f"{word}, or names; all means {', '.join(NAMED)}",
                f"leave `{word}` out, or the others",
            )  # fmt: skip
    if names == ["auto"]:
        return [default_model(asked["task"], asked["protocol"])]
    return list(NAMED) if names == ["all"] else names


def _in_words(data: dict[str, Any], seconds: float, page: Path) -> str:
    from ecglens.privacy.left_out import in_words
    from ecglens.reporting.risk import headline
    from ecglens.statistics.figures import interval, number

    rows = [
        (model, metric, interval(figure), number(figure["chance"]))
        for model, figures in data["models"].items()
        for metric, figure in figures.items()
    ]
    about = f"{data['n_people']:,} people, {data['n_records']:,} recordings, {data['protocol']}; {clock(seconds)}"
    table = columns(("model", "figure", "value and 95 % interval", "chance"), rows)
    for whom in ("records", "people"):  # runs of before these were counted have no such keys
        left_out = data.get(f"{whom}_left_out")
        about += f"\n{whom.capitalize()} left out: {in_words(left_out)}" if left_out else ""
    return "\n".join(
        [headline(data), about, *_people_in_words(data), *_parts_in_words(data), "", table, "", f"Page: {page}"]
    )


def _people_in_words(data: dict[str, Any]) -> list[str]:
    """Return how many people there are of each class that is told, those learnt from and those asked about."""
    key = {"sex": "sex", "age": "age_groups"}.get(data["task"])
    if key is None:
        return []
    counts = ", ".join(f"{name} {n:,}" for name, n in data["people"][key].items())
    return [f"People by {data['task']}: {counts}."]


def _parts_in_words(data: dict[str, Any]) -> list[str]:
    from ecglens.reporting.beat_parts import looked_at, needed, paper_verdict

    told = data["explanations"] or {}
    words = [needed(told["flattening"])] if told.get("flattening") else []
    for model, study in (told.get("attention") or {}).items():
        words += [f"{model}: {looked_at(study)}", paper_verdict(study["paper"], data["task"])]
    return words
