# SPDX-License-Identifier: Apache-2.0
"""The verbs, put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import typer

from ecglens import __version__
from ecglens.cli import (
    aggregate,
    audit,
    check,
    compare,
    concepts,
    convert,
    data,
    delineate,
    doctor,
    evaluate,
    explain,
    find_subtypes,
    identify,
    measure,
    predict,
    report,
    segment_states,
    train,
)
from ecglens.cli.console import INTERRUPTED, JSON_SCHEMA, put, say

app = typer.Typer(
    name="ecglens",
    help="Train, test and explain deep-learning models for ECGs.\n\nResearch software, not a medical device.",
    epilog="Example: ecglens predict my-ecg.hea",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
# The class above every error in a command line. Some versions of typer bring their own click, hence by name.
_UsageFault = cast(type[typer.BadParameter], {c.__name__: c for c in typer.BadParameter.__mro__}["ClickException"])

app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.command("measure")(measure.measure)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("audit")(audit.audit)
app.command("aggregate")(aggregate.aggregate)
app.command("find-subtypes")(find_subtypes.find_subtypes)
app.command("segment-states")(segment_states.segment_states)
app.command("test-concepts")(concepts.concepts)
app.command("identify")(identify.identify)
app.command("delineate")(delineate.delineate)
app.command("report")(report.report)


@app.callback(invoke_without_command=True)
def version_option(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Train, explain, audit and safely share deep-learning models for ECGs."""
    if version:
        put(f"ecglens {__version__}")
        raise typer.Exit(0)


def run(arguments: Sequence[str]) -> int:
    """Run the command line on these arguments and return the exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(arguments), prog_name="ecglens", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except _UsageFault as error:
        error.show()
        if "--json" in arguments:
            told = {"error": "UsageError", "kind": "usage", "message": error.format_message()}
            put(json.dumps({"schema": JSON_SCHEMA, "error": told}, ensure_ascii=False))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        say("Interrupted.")
        return INTERRUPTED
