# SPDX-License-Identifier: Apache-2.0
"""Download a published data set: every file checked against its publisher's list, resumed where it was stopped."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin

from ecglens.datasets.sources import Source
from ecglens.datasets.transfer import Client, TransferFault, Wanted, fetch, file_digest, network_fault, read_small
from ecglens.errors import EcglensError, EnvironmentFault, FormatError, UnsafeError, UsageError, printable
from ecglens.runs.files import MAX_TEXT_BYTES, contained, disk_fault, write_bytes
from ecglens.runs.lock import writing
from ecglens.runs.progress import Progress, silent

SUMS = "SHA256SUMS.txt"
_GIVE_UP = 3  # files in a row that the network did not give: the server is gone, not the files

State = Literal["present", "fetched", "replaced", "failed"]


@dataclass(frozen=True)
class Fetched:
    """What became of one file: it was there already, came, took the place of a damaged one, or failed and why."""

    name: str
    state: State
    error: EcglensError | None = None


@dataclass(frozen=True)
class Download:
    """What a download did: one entry per file, and the bytes that came over the network."""

    files: tuple[Fetched, ...]
    bytes: int

    def count(self, state: State) -> int:
        """Return how many files ended so."""
        return sum(file.state == state for file in self.files)

    @property
    def errors(self) -> list[EcglensError]:
        """Return why files failed, in their order."""
        return [file.error for file in self.files if file.error is not None]


def download(
    source: Source,
    folder: str | Path,
    only: Sequence[str] = (),
    *,
    progress: Progress = silent,
    client: Client | None = None,
) -> Download:
    """Download a data set to `folder`; what is there already and has the right checksum is left alone.

    only      patterns of file names (`records500/00*`); nothing: the patterns of the source
    client    how to talk to the server; by default https with patience

    A file gets its name when its checksum is right, never before: what is under way is called `NAME.part`, and the
    same call goes on with it. Files that cannot be had are listed in the result, the others come.

    Raises UsageError where no file matches, UnsafeError for names or addresses that lead elsewhere, FormatError for a
    list that is none, EnvironmentFault where the server does not answer or the disk is full, LockedError where
    somebody else is downloading there.
    """
    if source.access != "open":
        fix = f"ask for access at {source.url}, and point ecglens at your copy"
        raise UsageError(source.name, "access", source.access, "open data sets", fix)
    folder, client = Path(folder), client or Client(source.url)
    try:
        with writing(folder):
            wanted = _chosen(_listing(source, folder, client), tuple(only) or source.only, source)
            return _fetch_all(source, folder, wanted, not only, client, progress)
    finally:
        client.close()


def _listing(source: Source, folder: Path, client: Client) -> dict[str, Wanted]:
    """Return what there is to fetch, by name; names that would leave the folder are refused."""
    if source.listing == "zenodo":
        wanted = _zenodo(source.url, read_small(client, source.url, MAX_TEXT_BYTES))
    else:
        address = urljoin(source.url, SUMS)
        text = read_small(client, address, MAX_TEXT_BYTES)
        wanted = _sha256sums(source.url, address, text)
        write_bytes(folder / SUMS, text)  # for `sha256sum --check`
    for name in wanted:
        if name in (".lock", SUMS):
            raise UnsafeError(source.url, "file name", name, "another name", kind="path")
        contained(folder, name, source.url)
    return wanted


def _sha256sums(base: str, address: str, raw: bytes) -> dict[str, Wanted]:
    wanted: dict[str, Wanted] = {}
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = ["(bytes that are no text)"]
    for line in filter(None, (line.removesuffix("\r") for line in lines)):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *]?(\S.*)", line)  # PhysioNet writes one space
        if found is None or wanted.get(found[2], Wanted("", found[1])).digest != found[1]:
            fix = "if a login page of your network answers, log in first"
            raise FormatError(address, "line", line[:80], "a SHA-256 and a name, each name once", fix, kind="listing")
        if found[2] != SUMS:
            wanted[found[2]] = Wanted(urljoin(base, quote(found[2])), found[1])
    return wanted


def _zenodo(address: str, raw: bytes) -> dict[str, Wanted]:
    wanted: dict[str, Wanted] = {}
    try:
        for file in json.loads(raw)["files"]:
            algorithm, _, digest = file["checksum"].partition(":")
            if algorithm not in ("md5", "sha256") or not re.fullmatch(r"[0-9a-f]{32,64}", digest) or file["size"] < 0:
                raise ValueError(f"checksum {printable(file['checksum'], 80)}")
            wanted[str(file["key"])] = Wanted(str(file["links"]["self"]), digest, algorithm, int(file["size"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(address, "record", error, "a record of Zenodo with its files", kind="listing") from None
    return wanted


def _chosen(wanted: dict[str, Wanted], patterns: Sequence[str], source: Source) -> dict[str, Wanted]:
    chosen = {name: file for name, file in wanted.items() if any(fnmatchcase(name, p) for p in patterns)}
    if not chosen:
        there = sorted({name.partition("/")[0] + ("/*" if "/" in name else "") for name in wanted})
        raise UsageError(
            source.name, "files", f"none of {len(wanted)} like {', '.join(patterns)}", ", ".join(there[:20])
        )
    return chosen


def _fetch_all(
    source: Source, folder: Path, wanted: dict[str, Wanted], whole: bool, client: Client, progress: Progress
) -> Download:
    found: dict[str, Fetched] = {}
    paths = {name: contained(folder, name, source.url) for name in wanted}
    missing = []
    for number, (name, file) in enumerate(wanted.items(), 1):
        if paths[name].is_file() and file_digest(paths[name], file.algorithm) == file.digest:
            found[name] = Fetched(name, "present")
        else:
            missing.append(name)
        progress("checking what is there", number, len(wanted), "")
    _check_space(source, folder, [wanted[name] for name in missing], whole)
    batch = _Batch(client, progress, len(missing))
    for name in missing:
        found[name] = batch.fetch(name, wanted[name], paths[name])
    return Download(tuple(found[name] for name in wanted), batch.bytes)


class _Batch:
    """Fetches file after file; what is wrong with one alone is told in its result, what stops all is raised."""

    def __init__(self, client: Client, progress: Progress, total: int) -> None:
        self.client, self.progress, self.total = client, progress, total
        self.bytes, self.done, self.unanswered = 0, 0, 0

    def fetch(self, name: str, wanted: Wanted, path: Path) -> Fetched:
        if self.unanswered >= _GIVE_UP:
            return self._failed(name, wanted, TransferFault("not tried, since the server is gone"))
        state: State = "replaced" if path.exists() else "fetched"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.bytes += fetch(self.client, wanted, path, partial(self._say, name))
        except TransferFault as fault:
            self.unanswered = 0 if fault.final else self.unanswered + 1
            return self._failed(name, wanted, fault)
        except OSError as error:
            raise disk_fault(path, error) from error
        self.unanswered = 0
        self._count()
        return Fetched(name, state)

    def _failed(self, name: str, wanted: Wanted, fault: TransferFault) -> Fetched:
        self._count()
        return Fetched(name, "failed", network_fault(wanted.url, fault))

    def _count(self) -> None:
        self.done += 1
        self.progress("downloading", self.done, self.total, f"{self.bytes / 1e6:.1f} MB")

    def _say(self, name: str, there: int, size: int) -> None:
        share = f", {there / size:.0%} of it" if size else ""
        self.progress("downloading", self.done, self.total, f"{self.bytes / 1e6:.1f} MB and {name}{share}")


def _check_space(source: Source, folder: Path, missing: Sequence[Wanted], whole: bool) -> None:
    """Refuse a download that cannot end well. Sizes are told by some lists; else the source knows its own roughly."""
    told = [file.size for file in missing if file.size is not None]
    needed = sum(told) if len(told) == len(missing) else 0
    if not needed and whole and source.size is not None and missing:
        there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        needed = int(0.9 * source.size) - there  # 0.9: the size is known to a digit or two
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EnvironmentFault(
            folder, "disk space", f"{free} bytes free", f"about {needed} bytes for {source.name}",
            "free some space, download elsewhere, or fetch a part with --only", kind="disk",
        )  # fmt: skip
