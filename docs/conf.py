# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built (`make docs`). Nothing is fetched from outside, now or by a reader's browser."""

from __future__ import annotations

import re

from ecglens import __version__

project = "ecglens"
author = "The ecglens authors"
copyright = "The ecglens authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"ecglens {version}"
html_static_path = ["_static"]
html_css_files = ["ecglens.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}


def _as_rst(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText. Ours are plain text: paragraphs, lists, aligned tables, doctests."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = paragraph.split("\n")
        if rows[0].startswith(">>>"):
            out += [*rows, ""]
        elif any(re.search(r"\S {2,}\S", row) for row in rows):  # aligned columns stay aligned
            out += ["::", "", *(f"    {row}" for row in rows), ""]
        else:
            out += [*(_inline(row) for row in rows), ""]
    return out


def _inline(row: str) -> str:
    parts = re.split(r"`([^`]+)`", row)
    plain = [re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
    code = [f"``{part}``" for part in parts[1::2]]
    return "".join(text for pair in zip(plain, [*code, ""], strict=True) for text in pair)


def _rewrite(app, what, name, obj, options, lines):
    lines[:] = _as_rst(lines)


def _shorten(app, what, name, obj, options, signature, returns):
    """Leave out where a type lives: `~collections.abc.Mapping[str, ~typing.Any]` becomes `Mapping[str, Any]`."""
    short = [re.sub(r"~?(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text) if text else text for text in (signature, returns)]
    return short[0], short[1]


def setup(app):
    """Hook the rewriting of docstrings and signatures in."""
    app.connect("autodoc-process-docstring", _rewrite)
    app.connect("autodoc-process-signature", _shorten)
