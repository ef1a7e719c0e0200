# SPDX-License-Identifier: Apache-2.0
"""`ecglens data`: look at data sets."""

from __future__ import annotations

import typer

from ecglens.cli.info import info

app = typer.Typer(help="Look at data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Look at data sets."""


app.command("info")(info)
