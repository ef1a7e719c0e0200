# SPDX-License-Identifier: Apache-2.0
"""The verbs, put together."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click
import typer

from ecglens import __version__
from ecglens.cli import check, data, doctor, evaluate, explain, predict, report, train
from ecglens.cli.console import BUG, INTERRUPTED, JSON_SCHEMA, say

app = typer.Typer(
    name="ecglens",
    help="Train, explain, audit and safely share deep-learning models for ECGs.\n\n"
    "Research software, not a medical device.",
    epilog="Example: ecglens predict my-ecg.hea",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.command("check")(check.check)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("report")(report.report)


@app.callback(invoke_without_command=True)
def version_option(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Train, explain, audit and safely share deep-learning models for ECGs."""
    if version:
        print(f"ecglens {__version__}")
        raise typer.Exit(0)


def run(arguments: Sequence[str]) -> int:
    """Run the command line on these arguments and return the exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(arguments), prog_name="ecglens", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        if "--json" in arguments:
            print(
                json.dumps({"schema": JSON_SCHEMA, "error": {"error": "UsageError", "message": error.format_message()}})
            )
        return 2
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`ecglens ... | head`): no fault, but Python must not write again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BUG
