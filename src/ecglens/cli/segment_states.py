# SPDX-License-Identifier: Apache-2.0
"""`ecglens segment-states`: each ECG as a sequence of states that the network found by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, columns, conclude

if TYPE_CHECKING:
    import numpy as np

    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.concepts.state_result import Segmented
    from ecglens.runs.run import Run


def segment_states(
    data: Data,
    out: Path = typer.Option(..., help="Run folder to write: states.json, states.html, tables, arrays."),
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or a shipped one."),
    k: str = typer.Option("auto", help="How many: auto (the fewest that are stable and tell enough), or 1 to 64."),
    blocks: str = typer.Option(
        "last", help="What is clustered: the last block, or the last2 or last3 on the finest grid."
    ),
    by: str = typer.Option("soft", help="How: soft (k-means with calibrated membership), kmeans, or gmm."),
    records: int = typer.Option(2000, help="Records to fit on, and to score, at most."),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="Whom to score: a fold, several (9,10), or all; default as in `evaluate`."),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where such a run was cut off."),
    as_json: Json = False,
) -> None:
    """Turn each ECG into a sequence of states of the network, and say what each state adds to its answers.

    Example: ecglens segment-states runs/resnet1d --data ptbxl/ --out runs/states
    """
    asked = _Asked(data, dataset, fold, k, blocks, by, records)
    raise typer.Exit(conclude(lambda: _segment_states(bundle, asked, out, seed, resume), as_json))


@dataclass(frozen=True)
class _Asked:
    """What was typed."""

    data: str
    dataset: str | None
    fold: str
    k: str
    blocks: str
    by: str
    records: int


def _segment_states(where: str, asked: _Asked, out: Path, seed: int, resume: bool) -> Outcome:
    from dataclasses import replace

    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import load_for
    from ecglens.concepts import state_records
    from ecglens.concepts.state_study import segment_states as run_study
    from ecglens.errors import UsageError
    from ecglens.reporting.html import write_report
    from ecglens.reporting.states import PAGE, states_report
    from ecglens.runs.cache import Cache, default_cache

    if not 20 <= asked.records <= 1_000_000:
        raise UsageError("segment-states", "--records", asked.records, "20 to 1000000")
    k = _number(asked.k)
    bundle = Bundle.load(where)
    tested, cohort, scored, name = _whom(where, bundle, load_for(bundle, asked.data, asked.dataset), asked.fold)
    size = replace(state_records.QUICK, fit=asked.records, scored=asked.records)
    found = run_study(
        tested, cohort, out, scored=scored, k=k, blocks=asked.blocks, by=asked.by, size=size, seed=seed,
        resume=resume, arguments={"bundle": where, "data": asked.data, "fold": name}, cache=Cache(default_cache()),
        progress=ProgressLine(),
    )  # fmt: skip
    page = out / PAGE
    with found.run.writing():
        write_report(states_report(found), page)
    told = found.as_dict() | {"fold": name, "run": str(out), "page": str(page)}
    here = {entry["record_id"] for entry in told["excluded"]} & set(cohort.record_ids)
    left = bool(here or told["alignment"]["without_beats"])
    return Outcome(told, _in_words(found, page), f"open {page}", PARTLY if left else 0)


def _number(text: str) -> int | str:
    from ecglens.errors import UsageError

    if text == "auto":
        return text
    if not text.isdecimal():  # "²" is a digit
        raise UsageError("segment-states", "--k", text, "auto, or 1 to 64")
    return int(text)


def _whom(where: str, bundle: Bundle, cohort: Cohort, fold: str) -> tuple[Bundle | Run, Cohort, np.ndarray | None, str]:
    """Return what is asked, the records at hand, which of them may be scored, and the name of the fold."""
    from ecglens.cli.evaluate import choose_fold
    from ecglens.errors import UsageError
    from ecglens.prediction.family import folds_of
    from ecglens.runs.run import Run

    folds = folds_of(where, cohort)
    if folds is not None:
        if fold not in ("", "all"):
            raise UsageError("segment-states", "--fold", fold, "all: each network of a family has its own fold")
        return Run(Path(where)), folds, None, "all"
    part, name = choose_fold(cohort, fold)
    return bundle, cohort, cohort.labels.index.isin(part.record_ids), name


def _in_words(found: Segmented, page: Path) -> str:
    from ecglens.concepts.state_result import preferred_parts

    about: dict[str, Any] = found.about
    mostly = preferred_parts(about["states"])
    classes = list(about["reference"])
    rows = [
        (
            str(one["id"]), f"{one['share']:.0%}", "n/a" if one["entropy"] is None else f"{one['entropy']:.2f}",
            mostly[j] or "-",
            *("n/a" if (value := one["contribution"][name]["value"]) is None else f"{value:+.2f}" for name in classes),
        )
        for j, one in enumerate(about["states"])
    ]  # fmt: skip
    fidelity = about["fidelity"]
    networks = len(about["networks"])
    averaged = f", averages of {about['members']} that are read side by side" * (about["members"] > 1)
    head = (
        f"{about['bundle']}, {networks} network{'s' * (networks > 1)}{averaged}: {about['k']} states on "
        f"{about['n']:,} records of {about['n_patients']:,} patients that it had not seen\n"
        f"Label rule: {about['label_rule']}\n"
        f"A forest that knows only the states' shares calls {fidelity['value']:.1%} [{fidelity['low']:.1%}, "
        f"{fidelity['high']:.1%}] of the classes as the network does\n\n"
    )
    table = columns(("state", "share", "entropy", "more often in", *(f"adds to {name}" for name in classes)), rows)
    stable = about["stability"]["stable"]
    words = "\nNo number of states was stable: other seeds or other people give other ones." if stable is False else ""
    split = {"exact": "The split of the logit over states is exact."}.get(
        about["split"], f"The split of the logit over states is {about['split']} (gap up to {about['gap']:.2g})."
    )
    return (
        f"{head}{table}\n\nAdded to the logit in records that have the class, beyond average features. {split}{words}"
        f"\n\nPage: {page}"
    )
