# SPDX-License-Identifier: Apache-2.0
"""Progress as a callback: the library says how far it is, the command line draws it."""

from __future__ import annotations

from collections.abc import Callable

# (stage, done, total, note): "reading", 120, 2546, "3 left out"
Progress = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Say nothing: the default everywhere in the library."""
