# SPDX-License-Identifier: Apache-2.0
"""The element structure of DICOM (PS3.5 §7, PS3.10 §7): bytes -> nested elements, every length checked.

A DICOM file is a list of elements: tag, length, value; the value of a sequence is a list of such lists. A length
says how far to jump, so one damaged length gives everything behind it another meaning. Here each must end inside
what holds it; nesting, number of elements and the size after inflating are bounded. Values are not interpreted,
and those nobody asks for (names, identifiers, private elements) are jumped over and never decoded.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ecglens.errors import Finding, FormatError, UnsafeError
from ecglens.formats.channels import refuse_lying_size
from ecglens.runs.files import read_bytes

MAX_FILE = 2**27  # bytes
MAX_INFLATED = 2**26  # bytes of a deflated file; a hostile one grows a thousandfold
MAX_DEPTH = 32
MAX_ELEMENTS = 50_000
PREAMBLE = 128

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# Value representations by the size of their length field: four bytes behind two reserved ones, or two bytes.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset((b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH",
                    b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"))  # fmt: skip
# Sequences that a reader of waveforms enters. Where elements do not say what they are, these must be known.
SEQUENCES = frozenset((0x54000100, 0x003A0200, 0x003A0208, 0x003A0211))

Elements = dict[int, "memoryview | list[Elements]"]


class Syntax(NamedTuple):
    """A transfer syntax: whether elements leave out what they are, byte order, and whether they are deflated."""

    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False


EXPLICIT = Syntax()
SYNTAXES = {
    "1.2.840.10008.1.2": Syntax(implicit=True),
    "1.2.840.10008.1.2.1": EXPLICIT,
    "1.2.840.10008.1.2.1.99": Syntax(deflated=True),
    "1.2.840.10008.1.2.2": Syntax(big_endian=True),
}


class DicomFile(NamedTuple):
    """The elements of a file by tag: `meta` (group 0002) and `elements`; `raw` are the bytes of the whole file."""

    meta: Elements
    elements: Elements
    syntax: Syntax
    raw: bytes
    findings: tuple[Finding, ...]


def read_elements(path: Path) -> DicomFile:
    """Read the structure of a DICOM file. Raises FormatError (kinds `dicom`, `content`, `unsupported`, `too_large`).

    Raises UnsafeError (kinds `too_large`, `nesting`, `declared_size`) for what is made to exhaust the memory.
    """
    raw = read_bytes(path, MAX_FILE)
    if raw[PREAMBLE : PREAMBLE + 4] != b"DICM":
        raise FormatError(path, "content", "no DICM at byte 128", "a DICOM file", "export it again", kind="content")
    findings: list[Finding] = []
    if any(raw[:PREAMBLE]):
        findings.append(Finding("preamble", "note", "the 128 bytes before the DICOM header are in use; not read"))
    start = PREAMBLE + 4
    if len(raw) == start:
        raise FormatError(path, "content", "a DICOM file that ends after its signature", "a DICOM file with waveforms",
                          "export it again", kind="content")  # fmt: skip
    meta, start = _Walk(path, memoryview(raw), EXPLICIT, findings).meta(start)
    name = text(meta, 0x00020010)
    if name not in SYNTAXES:
        raise FormatError(
            path, "transfer syntax", name or "none", "implicit, explicit, big-endian or deflated DICOM",
            "export it uncompressed", kind="unsupported",
        )  # fmt: skip
    syntax = SYNTAXES[name]
    body = memoryview(_inflated(path, raw[start:])) if syntax.deflated else memoryview(raw)[start:]
    elements = _Walk(path, body, syntax, findings).elements(0, len(body), 0, syntax.implicit)[0]
    return DicomFile(meta, elements, syntax, raw, tuple(findings))


def text(elements: Elements, tag: int) -> str:
    """Return a value as text, "" where it is missing or a sequence."""
    value = elements.get(tag, [])
    if isinstance(value, list):
        return ""
    try:
        return bytes(value).decode("utf-8").strip(" \x00")
    except UnicodeDecodeError:
        return bytes(value).decode("latin-1").strip(" \x00")


def items(elements: Elements, tag: int) -> list[Elements]:
    """Return the items of a sequence, none where it is missing."""
    value = elements.get(tag, [])
    return value if isinstance(value, list) else []


def _inflated(path: Path, data: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = stream.decompress(data, MAX_INFLATED + 1)
    except zlib.error as error:
        raise FormatError(
            path, "deflated content", error, "a whole deflate stream", "copy it again", kind="dicom"
        ) from None
    if len(body) > MAX_INFLATED:
        raise UnsafeError(
            path, "deflated content", f"more than {MAX_INFLATED} bytes in {len(data)}", f"at most {MAX_INFLATED}",
            "do not trust this file; a real one can be exported without deflating", kind="too_large",
        )  # fmt: skip
    if not stream.eof:
        raise FormatError(path, "deflated content", "cut off", "a whole deflate stream", "copy it again", kind="dicom")
    return body


@dataclass
class _Walk:
    """Walks through the elements of `data`."""

    path: Path
    data: memoryview
    syntax: Syntax
    findings: list[Finding]
    count: int = 0
    struct: tuple[struct.Struct, struct.Struct, struct.Struct] = field(init=False)

    def __post_init__(self) -> None:
        order = ">" if self.syntax.big_endian else "<"
        self.struct = (struct.Struct(f"{order}HH"), struct.Struct(f"{order}H"), struct.Struct(f"{order}I"))

    def meta(self, at: int) -> tuple[Elements, int]:
        """Return the elements of group 0002 and where they end."""
        begin = at
        while bytes(self.data[at : at + 2]) == b"\x02\x00":
            at = self._step(at, len(self.data), 0, False)[2]
        meta = self.elements(begin, at, 0, False)[0]
        declared = meta.get(0x00020000)
        # The length counts what follows the element itself, which takes 12 bytes. A sequence in its place is no length.
        length = None if declared is None or isinstance(declared, list) else int.from_bytes(declared[:4], "little")
        if declared is not None and length != at - begin - 12:
            self.findings.append(Finding("meta_length", "warning", "the DICOM header is not as long as it says"))
        return meta, at

    def elements(self, at: int, end: int, depth: int, implicit: bool, delimited: bool = False) -> tuple[Elements, int]:
        """Return the elements from `at` to `end`, or (`delimited`) to the mark that ends an item, and where."""
        found: Elements = {}
        last = -1
        while at < end:
            tag, value, at = self._step(at, end, depth, implicit)
            if tag == _ITEM_END and delimited:
                return found, at
            if tag >> 16 == 0xFFFE:
                raise self._fault(at, f"a stray mark {_name(tag)}", "elements")
            if tag in found:
                raise self._fault(at, f"{_name(tag)} twice", "each element once")
            if tag < last:
                reason = f"element {_name(tag)} stands behind {_name(last)}: elements must be in ascending order"
                self.findings.append(Finding("tag_order", "warning", reason))
            found[tag], last = value, tag
        if delimited:
            raise self._fault(at, "the end of the file inside a sequence", "a mark that ends the item")
        return found, at

    def _step(self, at: int, end: int, depth: int, implicit: bool) -> tuple[int, memoryview | list[Elements], int]:
        """Return tag and value of the element at `at`, and where the next one begins."""
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise self._attack(at, f"more than {MAX_ELEMENTS} elements", f"at most {MAX_ELEMENTS}", "too_large")
        tag, kind, length, begin = self._head(at, end, implicit)
        sequence = kind == b"SQ" or (kind == b"" and tag in SEQUENCES)
        if length == _UNDEFINED:
            if kind not in (b"SQ", b"UN", b""):
                raise self._fault(at, f"{_name(tag)} of undefined length", "a length")
            # What is of unknown kind inside is written without kinds (PS3.5 §6.2.2).
            return tag, *self._items(begin, end, depth + 1, True, implicit or kind == b"UN")
        if begin + length > end:
            refuse_lying_size(self.path, length, end - begin)
            found = f"{_name(tag)} of {length} bytes where {end - begin} are left"
            raise self._fault(at, found, "lengths that fit, in a file that was copied whole")
        if sequence:
            return tag, self._items(begin, begin + length, depth + 1, False, implicit)[0], begin + length
        return tag, self.data[begin : begin + length], begin + length

    def _items(self, at: int, end: int, depth: int, delimited: bool, implicit: bool) -> tuple[list[Elements], int]:
        """Return the items of a sequence and where it ends."""
        if depth > MAX_DEPTH:
            raise self._attack(at, f"sequences nested more than {MAX_DEPTH} deep", f"at most {MAX_DEPTH}", "nesting")
        found: list[Elements] = []
        while at < end:
            self.count += 1
            tag, _, length, begin = self._head(at, end, True)
            if tag == _SEQUENCE_END and delimited and length == 0:
                return found, begin
            if tag != _ITEM or (length != _UNDEFINED and begin + length > end):
                raise self._fault(at, f"{_name(tag)} of {length} bytes in a sequence", "items that fit into it")
            stop = end if length == _UNDEFINED else begin + length
            item, at = self.elements(begin, stop, depth, implicit, length == _UNDEFINED)
            found.append(item)
        if delimited:
            raise self._fault(at, "the end of the file inside a sequence", "a mark that ends the sequence")
        return found, at

    def _head(self, at: int, end: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Return tag, kind (empty where not said), length, and where the value begins."""
        pair, short, long = self.struct
        if at + 8 > end:
            raise self._fault(at, f"{end - at} bytes left", "whole elements")
        group, number = pair.unpack_from(self.data, at)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:
            return tag, b"", long.unpack_from(self.data, at + 4)[0], at + 8
        kind = bytes(self.data[at + 4 : at + 6])
        if kind in _SHORT:
            return tag, kind, short.unpack_from(self.data, at + 6)[0], at + 8
        if kind not in _LONG or at + 12 > end:
            raise self._fault(at, f"{_name(tag)} of kind {kind!r}", "a kind of value that DICOM has")
        return tag, kind, long.unpack_from(self.data, at + 8)[0], at + 12

    def _fault(self, at: int, found: str, allowed: str) -> FormatError:
        return FormatError(self.path, f"byte {at}", found, allowed, "copy or export the file again", kind="dicom")

    def _attack(self, at: int, found: str, allowed: str, kind: str) -> UnsafeError:
        return UnsafeError(self.path, f"byte {at}", found, allowed, "do not trust this file", kind=kind)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
