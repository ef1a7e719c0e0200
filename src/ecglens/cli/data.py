# SPDX-License-Identifier: Apache-2.0
"""`ecglens data`: which data sets there are, what is in one; and data sets made up, whose truth is known."""

from __future__ import annotations

import typer

from ecglens.cli.download import download_data, list_data
from ecglens.cli.info import info
from ecglens.cli.simulate import simulate

app = typer.Typer(help="Find, download, look at or simulate data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Find, download, look at or simulate data sets."""


app.command("list")(list_data)
app.command("download")(download_data)
app.command("info")(info)
app.command("simulate")(simulate)
