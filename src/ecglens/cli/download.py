# SPDX-License-Identifier: Apache-2.0
"""`ecglens data list` and `ecglens data download`: which data sets there are, and fetch one."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecglens.cli.arguments import Json
from ecglens.cli.console import Outcome, ProgressLine, columns, conclude, exit_code_for, say

if TYPE_CHECKING:
    from ecglens.datasets.download import Download
    from ecglens.datasets.sources import Source

SHOWN = 20  # failed files in words; JSON has all


def list_data(as_json: Json = False) -> None:
    """Say which data sets can be downloaded: what they are, how large, under which licence, how to cite them.

    Example: ecglens data list
    """
    raise typer.Exit(conclude(_list, as_json))


def download_data(
    name: str = typer.Argument(metavar="NAME", help="A data set of `ecglens data list`."),
    folder: Path = typer.Argument(metavar="DIR", help="Where to put its files. The same command goes on with it."),
    only: list[str] = typer.Option([], "--only", help="Only files like this pattern; may be given several times."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask: the licence is known and agreed to."),
    as_json: Json = False,
) -> None:
    """Download a data set: its licence first, every file checked, resumed when the same command is given again.

    Example: ecglens data download ludb ludb/
    """
    raise typer.Exit(conclude(lambda: _download(name, folder, only, yes), as_json))


def _list() -> Outcome:
    from ecglens.datasets.load import DATASETS
    from ecglens.datasets.sources import SOURCES

    entries = [
        {
            "name": source.name, "title": source.title, "version": source.version, "records": source.records,
            "people": source.people, "size": source.size, "licence": source.licence, "access": source.access,
            "loader": source.name in DATASETS, "url": source.url, "citation": source.citation,
            "unconfirmed": list(source.unconfirmed),
        }
        for source in SOURCES.values()
    ]  # fmt: skip
    rows = [
        (source.name, _count(source.records), size_in_words(source.size), source.licence, source.title)
        for source in SOURCES.values()
    ]
    cited = "\n\n".join(f"{source.name}: {source.citation}" for source in SOURCES.values())
    text = columns(("name", "records", "size", "licence", "what"), rows) + "\n\nWhat to cite\n\n" + cited
    without = [str(entry["name"]) for entry in entries if not entry["loader"]]
    doubtful = "; ".join(f"{s.name}: {', '.join(s.unconfirmed)}" for s in SOURCES.values() if s.unconfirmed)
    text += f"\n\nNot compared with the publisher's own words yet: {doubtful}."
    text += f"\n\nDownloaded, but not loaded by ecglens yet: {', '.join(without)}." if without else ""
    return Outcome({"datasets": entries}, text, "ecglens data download ludb ludb/")


def _download(name: str, folder: Path, only: list[str], yes: bool) -> Outcome:
    from ecglens.datasets.download import download
    from ecglens.datasets.sources import SOURCES
    from ecglens.errors import UsageError

    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, 1)
        fix = f"did you mean {near[0]}?" if near else "see `ecglens data list`"
        raise UsageError("data download", "NAME", name, ", ".join(SOURCES), fix)
    source = SOURCES[name]
    say(f"{source.title}, version {source.version}, {size_in_words(source.size)}, from {source.url}")
    say(f"Licence: {source.licence}\nCite: {source.citation}")
    if not yes:
        _ask(folder)
    done = download(source, folder, only, progress=ProgressLine())
    return _told(source, folder, done)


def _ask(folder: Path) -> None:
    from ecglens.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("data download", "--yes", "nobody to ask", "--yes", "add --yes to agree to the licence")
    say(f"Download to {folder}? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("data download", "answer", "no", "yes", "nothing was downloaded")


def _told(source: Source, folder: Path, done: Download) -> Outcome:
    errors = done.errors
    failed = [{"file": file.name, "reason": str(file.error)} for file in done.files if file.error is not None]
    data = {
        "name": source.name, "folder": str(folder), "licence": source.licence, "citation": source.citation,
        "files": len(done.files), "present": done.count("present"), "fetched": done.count("fetched"),
        "replaced": done.count("replaced"), "bytes": done.bytes, "failed": failed,
    }  # fmt: skip
    whole = "all checksums are right" if not failed else f"{len(failed)} could not be had"
    rows = [(word, str(done.count(word))) for word in ("present", "fetched", "replaced", "failed")]
    text = f"{source.name} in {folder}: {len(done.files)} files, {whole}\n\n" + columns(("files", "number"), rows)
    text += f"\n\n{size_in_words(done.bytes)} came over the network."
    text += "".join(f"\n{one['reason']}" for one in failed[:SHOWN])
    text += f"\n... and {len(failed) - SHOWN} more, see --json" if len(failed) > SHOWN else ""
    again = f"ecglens data download {source.name} {folder}"
    code = exit_code_for(len(done.files) - len(failed), errors)
    return Outcome(data, text, again if failed else f"ecglens data info {folder}", code)


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def size_in_words(size: int | None) -> str:
    """Return a number of bytes as a person says it.

    >>> size_in_words(14_000_000), size_in_words(3_200_000_000), size_in_words(None)
    ('14 MB', '3.2 GB', 'size not known')
    """
    if size is None:
        return "size not known"
    return f"{size / 1e9:.2g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
