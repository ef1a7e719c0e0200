# SPDX-License-Identifier: Apache-2.0
"""Untrusted XML as a tree, and the fields in it: no entities, nothing from outside, bounded in every direction.

What grows faster than the file is refused before it grows: declarations of entities (billion laughs, quadratic,
XXE), nesting, elements and attributes beyond any ECG's, a single tag of a megabyte. A document type that only names
a file beside it, as GE MUSE writes it, is passed over and never opened.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from ecglens.errors import FormatError, UnsafeError
from ecglens.runs.files import read_bytes

MAX_XML_BYTES = 16 * 2**20  # five minutes of twelve leads at 500 Hz written as digits
MAX_DEPTH = 64
MAX_NODES = 100_000  # elements and attributes together
MAX_TAG_BYTES = 2**20
ENCODINGS = frozenset(("utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"))

_CHUNK = 2**16
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_DOCTYPE = re.compile(r"\s*<!DOCTYPE\s+([\w:.-]+)[^\[>]*(?:\[.*?(?:\]\s*|$))?(?:>|$)", re.DOTALL)
_ROOT = re.compile(r"\s*<(?:[\w.-]+:)?([\w.-]+)")
_PLAIN_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,2})?", re.ASCII)
_DIGITS = re.compile(r"[-+0-9\s]*", re.ASCII)
_BARE_SIGN = re.compile(r"[-+](?![0-9])")


def has_root(head: bytes, name: str) -> bool:
    """Tell whether `head`, the first bytes of a file, begins an XML document whose root element is `name`."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", errors="ignore")
    else:
        text = head.decode("latin-1").removeprefix("\xef\xbb\xbf")
    at = _skip_prolog(text, 0)
    doctype = _DOCTYPE.match(text, at)
    if doctype is not None:
        at = _skip_prolog(text, doctype.end())
    root = _ROOT.match(text, at)
    return (root[1] if root else doctype[1] if doctype else None) == name


def _skip_prolog(text: str, at: int) -> int:
    while (found := _PROLOG.match(text, at)) is not None:
        at = found.end()
    return at


def read_xml(path: Path, root: str) -> Element:
    """Return the root of an XML document, names without their namespaces.

    Raises UnsafeError for entities, document types with contents, and what is nested too deeply or has too many
    parts, FormatError where the document is damaged, in an unusual encoding, or its root is not `root`.
    """
    raw = read_bytes(path, MAX_XML_BYTES)
    builder = _Builder(path)
    parser = builder.parser
    try:
        for at in range(0, len(raw), _CHUNK):
            fed = at + _CHUNK
            parser.Parse(raw[at:fed], fed >= len(raw))
            if fed - parser.CurrentByteIndex > MAX_TAG_BYTES + 2 * _CHUNK:
                raise _unsafe(
                    path, "tag", f"over {MAX_TAG_BYTES} bytes in one tag or comment", "less", kind="too_large"
                )
        found = builder.tree.close()
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:
        raise FormatError(
            path, "content", f"no well-formed XML ({error})", "XML", "export or copy the file again", kind="xml"
        ) from None
    if found.tag != root:
        raise FormatError(path, "root element", f"<{found.tag}>", f"<{root}>", kind="xml")
    return found


class _Builder:
    """What a tree is built with, and what stops it."""

    def __init__(self, path: Path) -> None:
        self.path, self.tree, self.depth, self.nodes = path, TreeBuilder(), 0, 0
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = _CHUNK
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.tree.data
        parser.XmlDeclHandler = self.declaration
        parser.StartDoctypeDeclHandler = self.doctype
        parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = self.entity
        parser.ExternalEntityRefHandler = parser.SkippedEntityHandler = self.entity
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.nodes += 1 + len(attributes)
        if self.depth > MAX_DEPTH:
            raise _unsafe(self.path, "nesting", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH}", kind="nesting")
        if self.nodes > MAX_NODES:
            raise _unsafe(self.path, "elements", f"more than {MAX_NODES}", f"at most {MAX_NODES}", kind="too_large")
        if ":" in tag or attributes:
            tag, attributes = _local(tag), {_local(name): value for name, value in attributes.items()}
        self.tree.start(tag, attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.tree.end(_local(tag))

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ENCODINGS:
            raise FormatError(
                self.path, "encoding", encoding, ", ".join(sorted(ENCODINGS)), "export it as UTF-8", kind="encoding"
            )

    def doctype(self, _name: str, system: str | None, public: str | None, inside: int) -> None:
        if inside or public is not None or (system is not None and not _PLAIN_NAME.fullmatch(system)):
            found = "a document type with declarations" if inside else f"a document type from {system or public}"
            raise _unsafe(self.path, "document type", found, "none, or the plain name of a file", kind="entities")

    def entity(self, *_: object) -> int:
        raise _unsafe(self.path, "entities", "an entity that the document declares or imports", "none", kind="entities")


def _unsafe(path: Path, field: str, found: str, allowed: str, *, kind: str) -> UnsafeError:
    return UnsafeError(path, field, found, allowed, "export the ECG again; this file may be an attack", kind=kind)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def text(element: Element | None, where: str = ".") -> str:
    """Return the text of the first element at `where`, without white space around it; "" where there is none."""
    return ((element.findtext(where) if element is not None else None) or "").strip()


def number(path: Path, field: str, found: str, low: float, high: float, *, kind: str = "number") -> float:
    """Return a decimal number between `low` and `high`. Raises FormatError naming the field."""
    value = float(found) if _NUMBER.fullmatch(found) else None
    if value is None or not low <= value <= high:
        raise FormatError(
            path, field, repr(found) if found else "missing", f"a number from {low:.15g} to {high:.15g}",
            "export the ECG again", kind=kind,
        )  # fmt: skip
    return value


def whole(path: Path, field: str, found: str, low: int, high: int, *, kind: str = "number") -> int:
    """Return a whole number between `low` and `high`. Raises FormatError naming the field."""
    value = number(path, field, found, low, high, kind=kind)
    if not value.is_integer():
        raise FormatError(path, field, found, "a whole number", "export the ECG again", kind=kind)
    return int(value)


def integers(path: Path, field: str, found: str, limit: int, separator: str = " ") -> np.ndarray:
    """Return whole numbers of at most `limit` in size, int64 [n], from text. Raises FormatError naming the field."""
    if separator != " ":
        numbers = found.count(separator) + 1
        found = found.replace(separator, " ")
    values = None
    if found.strip() and _DIGITS.fullmatch(found) and not _BARE_SIGN.search(found):
        with contextlib.suppress(ValueError):  # numpy counts on where no number stands
            values = np.fromstring(found, dtype=np.int64, sep=" ")
    if values is None or not values.size:
        raise FormatError(path, field, "no whole numbers", "whole numbers", "export the ECG again", kind="number")
    if separator != " " and numbers != values.size:
        raise FormatError(
            path,
            field,
            f"{values.size} numbers",
            f"{numbers} between separators",
            "export the ECG again",
            kind="number",
        )
    beyond = (values > limit) | (values < -limit)
    if beyond.any():
        raise FormatError(
            path, field, values[beyond][0], f"at most {limit} in size", "export the ECG again", kind="number"
        )
    return values


def base64_bytes(path: Path, field: str, found: str) -> bytes:
    """Return what base64 text holds. Raises FormatError naming the field."""
    try:
        return base64.b64decode("".join(found.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(path, field, str(error), "base64", "export the ECG again", kind="base64") from None
