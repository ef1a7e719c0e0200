# SPDX-License-Identifier: Apache-2.0
"""A Report as one HTML file that opens anywhere and asks nobody for anything.

Everything that came from data is escaped; pictures travel inside the file; the page has no script, and its
content security policy forbids one as well as every outside request.
"""

from __future__ import annotations

import base64
import re
import struct
from html import escape
from pathlib import Path
from unicodedata import category

from ecglens.report import Figure, Report, Section, Table
from ecglens.runs.files import write_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FOOTER = "Research software, not a medical device."
CONTENTS_FROM = 4  # sections, from which a page lists its contents
PRINTED_MM = 148  # pictures up to this height print at their own size, higher ones shrink
SHORT = 12  # rows of a table that is printed on one sheet
WIDE_PX = 700  # a picture at least this wide scrolls sideways on a phone instead of shrinking to nothing

_NUMBER = re.compile(
    r"[+\-\u2212\u00b1<>\u2264\u2265~]?\s*\d[\d.,:/\s%\u2009\[\]()+\-\u2212\u2013\u00b1e]*(ms|mV|s|Hz)?"
)
_BLANK = {"", "-", "\u2013", "\u2014", "not tested", "not defined", "none"}

STYLE = """
:root { color-scheme: light dark; --page: #fffcf8; --ink: #1a1a1a; --quiet: #5c5854; --line: #ded7cf; --link: #00568a }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181a; --ink: #e8e6e3; --quiet: #a9a5a0; --line: #3a3b3e; --link: #7cc0ee }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; background: var(--page); color: var(--ink); font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
header, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 clamp(1rem, 5vw, 3.5rem) }
header { padding-top: 3.5rem }
main > * , section > *, header > * { max-width: 42rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; text-wrap: balance }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .5rem; text-wrap: balance }
section { max-width: none; margin-top: 3.5rem }
p { margin: 0 0 .9rem }
a { color: var(--link); text-underline-offset: .15em }
.subtitle, figcaption, footer, summary, .note { color: var(--quiet) }
.conclusion { font-size: 1.15rem; line-height: 1.45 }
nav ol { margin: 1.5rem 0 0; padding-left: 1.4rem }
nav li { margin: .15rem 0 }
figure { margin: 1.6rem 0; max-width: none }
figcaption { font-size: .9rem; line-height: 1.45; margin-top: .5rem; max-width: 42rem }
.scroll { overflow-x: auto; max-width: 100% }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
img { display: block; max-width: 100%; height: auto; background: #fffcf8 }
table { border-collapse: collapse; font-size: .95rem; line-height: 1.35; overflow-wrap: normal }
th, td { text-align: left; vertical-align: baseline; padding: .4rem 1.6rem .4rem 0; border-bottom: 1px solid var(--line) }
th:last-child, td:last-child { padding-right: 0 }
th { font-weight: 600; white-space: nowrap }
td { max-width: 26rem }
.number { text-align: right; white-space: nowrap }
details { margin: 1rem 0; font-size: .95rem }
summary { cursor: pointer }
details > :not(summary) { margin-top: .5rem }
footer { margin-top: 4rem; padding-bottom: 3rem; font-size: .9rem }
footer table { font-size: .85rem }
footer > * { max-width: 42rem }
@media (max-width: 45rem) {
  header { padding-top: 2rem } section { margin-top: 2.5rem }
  th, td { padding-right: .9rem } table { font-size: .9rem } .wide img { max-width: none; width: 48rem }
}
@media (prefers-color-scheme: dark) { img { border-radius: 3px } }
@page { size: A4 landscape; margin: 8mm 10mm }
@media print {
  :root { color-scheme: light; --page: #fff; --ink: #000; --quiet: #444; --line: #bbb; --link: #000 }
  html { font-size: 11pt } header, main, footer { max-width: none; padding: 0 } header { padding-top: 0 }
  .scroll { overflow: visible } nav { display: none }
  figure, table, tr { break-inside: avoid } h2, .conclusion { break-after: avoid }
  p, figcaption { break-inside: avoid } figure.long, .long table { break-inside: auto }
  h1 { font-size: 16pt; margin: 0 } h2 { font-size: 13pt; margin: 0 } .conclusion { font-size: 11pt; margin: 0 } p { margin: 0 0 .4rem }
  section { margin-top: .8rem } figure { margin: .4rem 0 } figcaption { font-size: 9pt; margin-top: .2rem; max-width: 60rem }
  img { max-height: @PRINTED@mm; width: auto } a { text-decoration: none }
  details::details-content { content-visibility: visible; block-size: auto; opacity: 1 } summary { list-style: none }
}
""".strip().replace("@PRINTED@", str(PRINTED_MM))


def write_report(report: Report, path: Path) -> None:
    """Write the page atomically: a kill leaves the old page or the new one."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the page as HTML text; the same report gives the same text."""
    sections = [_section(section, number) for number, section in enumerate(report.sections, 1)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(report.title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f'<header>\n<h1>{_text(report.title)}</h1>\n<p class="subtitle">{_text(report.subtitle)}</p>',
            f"{_contents(report)}</header>",
            "<main>",
            *sections,
            "</main>",
            _footer(report),
            "</body>",
            "</html>",
            "",
        ]
    )


def _contents(report: Report) -> str:
    """List the sections where there are more than a reader sees at once."""
    if len(report.sections) < CONTENTS_FROM:
        return ""
    items = [
        f'<li><a href="#section-{number}">{_text(section.title)}</a></li>'
        for number, section in enumerate(report.sections, 1)
    ]
    return '<nav aria-label="Contents"><ol>\n' + "\n".join(items) + "\n</ol></nav>\n"


def _section(section: Section, number: int) -> str:
    """One idea: heading, conclusion, pictures, tables, text, and the method behind a click."""
    parts = [f'<section id="section-{number}">', f"<h2>{_text(section.title)}</h2>"]
    if section.conclusion:
        parts.append(f'<p class="conclusion">{_text(section.conclusion)}</p>')
    parts += [_figure(figure) for figure in section.figures]
    parts += [_table(table) for table in section.tables]
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in section.text]
    if section.method:
        parts.append(f"<details><summary>Method</summary><p>{_text(section.method)}</p></details>")
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure) -> str:
    """Return a picture inside the page, with its caption."""
    data = base64.b64encode(figure.image).decode("ascii")
    size = _size_px(figure.image)
    numbers = f' width="{size[0]}" height="{size[1]}"' if size else ""
    image = f'<img src="data:{figure.media_type};base64,{data}"{numbers} alt="{_text(figure.alt)}">'
    if size and size[0] >= WIDE_PX:
        label = _text(figure.alt)
        image = f'<div class="scroll wide" tabindex="0" role="group" aria-label="{label}">{image}</div>'
    return f"<figure>\n{image}\n<figcaption>{_text(figure.caption)}</figcaption>\n</figure>"


def _table(table: Table) -> str:
    """Return a table that scrolls by itself where it is too wide; columns of numbers are flush right."""
    kinds = [' class="number"' if _is_numeric(column) else "" for column in _columns(table)]
    head = "".join(f'<th scope="col"{kind}>{_text(name)}</th>' for kind, name in zip(kinds, table.columns, strict=True))
    rows = [
        "<tr>" + "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in table.rows
    ]
    caption = f"\n<figcaption>{_text(table.caption)}</figcaption>" if table.caption else ""
    label = _text(table.caption or "Table")
    # A short table stays on one sheet of paper; a long one may go on on the next, under its head.
    long = ' class="long"' if len(table.rows) > SHORT else ""
    return (
        f'<figure{long}>\n<div class="scroll" tabindex="0" role="group" aria-label="{label}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + f"\n</tbody></table></div>{caption}\n</figure>"
    )


def _columns(table: Table) -> list[list[str]]:
    """Return the cells by column."""
    return [[row[index] for row in table.rows] for index in range(len(table.columns))]


def _is_numeric(cells: list[str]) -> bool:
    """Tell whether a column holds numbers, intervals and blanks only, and at least one number.

    >>> _is_numeric(["0.89 [0.87, 0.91]", "", "12%"]), _is_numeric(["3 of 4 leads"])
    (True, False)
    """
    filled = [cell.strip() for cell in cells if cell.strip() not in _BLANK]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in filled)


def _footer(report: Report) -> str:
    """Say what the page is not, and what made it."""
    made = ""
    if report.provenance:
        rows = "\n".join(
            f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in report.provenance
        )
        made = (
            '<details><summary>What made this page</summary><div class="scroll" tabindex="0" role="group" '
            f'aria-label="Provenance"><table><tbody>\n{rows}\n</tbody></table></div></details>\n'
        )
    return f"<footer>\n{made}<p>{FOOTER}</p>\n</footer>"


def _size_px(image: bytes) -> tuple[int, int] | None:
    """Return width and height in CSS pixels (1/96 inch) as the picture itself states them, or None."""
    if image.startswith(b"\x89PNG\r\n\x1a\n") and len(image) > 33:
        width, height = struct.unpack(">II", image[16:24])
        at = image.find(b"pHYs", 33, 4096)
        per_metre = struct.unpack(">I", image[at + 4 : at + 8])[0] if at > 0 else 0
        factor = 96 / (per_metre * 0.0254) if per_metre else 1.0
        return round(width * factor), round(height * factor)
    tag = re.search(rb"<svg[^>]*>", image[:4000])
    found = [re.search(rb'\s%s="([\d.]+)pt"' % name, tag[0]) for name in (b"width", b"height")] if tag else []
    sides = [round(float(match[1]) * 96 / 72) for match in found if match]
    return (sides[0], sides[1]) if len(sides) == 2 else None


def _text(value: str) -> str:
    """Escape for HTML; control, direction-changing and undecodable characters are spelled out, not obeyed.

    >>> _text("<b>\\x00")
    '&lt;b&gt;\\\\x00'
    """
    return escape("".join(c if c in "\n\t" or category(c)[0] != "C" else _spelled(c) for c in value))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
