# SPDX-License-Identifier: Apache-2.0
"""Report: what a page says, as plain data. How it looks is `reporting/`'s business.

One idea per section, the conclusion first, method and limits last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecglens.errors import UsageError


@dataclass(frozen=True)
class Table:
    """Rows under column names. `caption` says what it shows and can be read without the text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise UsageError("Table", "row", f"{len(row)} cells", f"{len(self.columns)} columns")


@dataclass(frozen=True)
class Figure:
    """A picture as SVG or PNG bytes, with a caption and a text for those who cannot see it."""

    image: bytes
    caption: str
    alt: str

    @property
    def media_type(self) -> str:
        """`image/png` or `image/svg+xml`, read from the bytes."""
        if self.image.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        if b"<svg" in self.image[:1000]:
            return "image/svg+xml"
        raise UsageError("Figure", "image", "neither PNG nor SVG", "PNG or SVG bytes")


@dataclass(frozen=True)
class Section:
    """A heading, its conclusion in one sentence, then pictures, tables and text; method and limits last."""

    title: str
    conclusion: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    text: tuple[str, ...] = ()
    method: str = ""


@dataclass(frozen=True)
class Report:
    """A page: title, one line under it, sections, and what made it (versions, seed, hashes)."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    provenance: Sequence[tuple[str, str]] = ()
