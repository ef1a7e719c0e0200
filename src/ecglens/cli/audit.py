# SPDX-License-Identifier: Apache-2.0
"""`ecglens audit`: which explanation may be believed on this model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import FOLDER, Dataset, Json, Seed
from ecglens.cli.console import Outcome, ProgressLine, clock, columns, conclude

if TYPE_CHECKING:
    from ecglens.auditing.audit import Audit
    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort


def audit(
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or a shipped one."),
    data: str = typer.Option("", help=f"Held-out ECGs to ask the model about; default: simulated ones. {FOLDER}"),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="Of --data: a fold, several (9,10), or all; default: 10 where there are folds."),
    train_data: str = typer.Option("", help="ECGs to train twins on that measure, beside simulated ones."),
    out: Path = typer.Option(..., help="Run folder to write: audit.json, audit.html, the figures behind them."),
    full: bool = typer.Option(False, "--full", help="Four times the records: narrower intervals, hours."),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where an audit was cut off."),
    as_json: Json = False,
) -> None:
    """Test every explanation method on a model, and say of each: passes, fails, or not tested.

    Example: ecglens audit runs/first --data ptbxl/ --out runs/first/audit
    """
    asked = {"data": data, "dataset": dataset, "fold": fold, "train_data": train_data, "full": full}
    raise typer.Exit(conclude(lambda: _audit(bundle, asked, out, seed, resume), as_json))


def _audit(where: str, asked: dict[str, Any], out: Path, seed: int, resume: bool) -> Outcome:
    from ecglens.auditing.audit import audit as audit_bundle
    from ecglens.auditing.verdicts import AUDIT_FILE, write_audit
    from ecglens.auditing.work import FULL, QUICK
    from ecglens.bundle import Bundle
    from ecglens.reporting.audit import audit_report
    from ecglens.reporting.html import write_report
    from ecglens.runs.cache import Cache, default_cache

    bundle = Bundle.load(where)
    arguments = {"bundle": where, "asked": {name: value for name, value in asked.items() if value}}
    found = audit_bundle(
        bundle, out, data=_held_out(bundle, asked), train_data=_to_train_on(bundle, asked),
        size=FULL if asked["full"] else QUICK, seed=seed, resume=resume, arguments=arguments,
        cache=Cache(default_cache()), progress=ProgressLine(),
    )  # fmt: skip
    page = out / "audit.html"
    with found.run.writing():
        write_report(audit_report(found.run), page)
    if (Path(where) / "run.json").exists():  # later verbs look there
        write_audit(Path(where) / AUDIT_FILE, found.as_dict())
    return Outcome(found.as_dict(), _in_words(found, page), f"open {page}")


def _held_out(bundle: Bundle, asked: dict[str, Any]) -> Cohort | None:
    if not asked["data"]:
        return None
    from ecglens.cli.evaluate import choose_fold, load_for

    return choose_fold(load_for(bundle, asked["data"], asked["dataset"]), asked["fold"])[0]


def _to_train_on(bundle: Bundle, asked: dict[str, Any]) -> Cohort | None:
    if not asked["train_data"]:
        return None
    from ecglens.datasets.load import load_cohort

    return load_cohort(asked["train_data"], asked["dataset"] if asked["train_data"] == asked["data"] else None)


def _in_words(found: Audit, page: Path) -> str:
    rows = [(name, verdict.verdict, verdict.reason) for name, verdict in found.verdicts.items()]
    best = found.default_method
    first = f"Use {best} on this model." if best else "No method passes on this model: believe none of its pictures."
    weights = f"{found.bundle}, weights {found.weights_sha256[:16]}"
    table = columns(("method", "verdict", "why"), rows)
    return f"{first}\n{weights}; {clock(found.seconds)}\n\n{table}\n\nPage: {page}"
