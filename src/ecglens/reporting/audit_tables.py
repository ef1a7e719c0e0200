# SPDX-License-Identifier: Apache-2.0
"""What an audit found, as cells, tables and sentences of its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecglens.explanation import NOT_TESTED
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Table

_ORDER = {"passes": 0, "fails": 1, NOT_TESTED: 2}


class Told:
    """The figures of one audit, from its files.

    methods   by name as in `audit.json`, those that pass first
    asked     those that were tested at all
    evidence  by test
    """

    def __init__(self, found: Mapping[str, Any], evidence: Mapping[str, Any], tests: pd.DataFrame | None) -> None:
        """`tests`: the table of the run folder, which knows the patients behind each figure."""
        self.found, self.evidence = found, evidence
        by_verdict = sorted(found["methods"].items(), key=lambda m: (_ORDER[m[1]["verdict"]], not m[1]["tests"]))
        self.methods: dict[str, Any] = dict(by_verdict)
        self.asked = [name for name, told in self.methods.items() if told["tests"]]
        self.people: dict[tuple[str, str], int] = {}
        self.reasons: dict[tuple[str, str], str] = {}
        for row in [] if tests is None else tests.to_dict("records"):
            self.people[str(row["method"]), str(row["test"])] = int(row["n_patients"])
            reason = row["reason"]  # an empty column is read back as numbers that are none
            self.reasons[str(row["method"]), str(row["test"])] = reason if isinstance(reason, str) else ""

    def figure(self, method: str, test: str) -> Mapping[str, Any] | None:
        """Return one figure as in `audit.json`, or None where it was not tested."""
        told = self.methods[method]["tests"].get(test)
        return told if told is not None and told["value"] is not None else None

    def cell(self, method: str, test: str) -> str:
        """Return a figure with its interval."""
        told = self.figure(method, test)
        return NOT_TESTED if told is None else estimate_text(told, 2)

    def that_pass(self, test: str, passed: bool = True) -> list[str]:
        """Return the methods that pass a rule, or fail it."""
        return [m for m in self.asked if (self.methods[m]["tests"].get(test) or {}).get("passed") is passed]

    def has(self, test: str) -> bool:
        """Tell whether any method has this figure."""
        return any(test in self.methods[m]["tests"] for m in self.asked)

    def chance(self, test: str) -> str:
        """Return the mean chance level of a figure over the methods, "" where it has none."""
        figures = [self.figure(m, test) for m in self.asked]
        levels = [told["chance"] for told in figures if told is not None and told["chance"] is not None]
        return f"{np.mean(levels):.2f}" if levels else ""

    def counts(self, test: str) -> str:
        """Return on how many records and people a figure rests, over the methods."""
        figures = [self.figure(m, test) for m in self.asked]
        n = sorted({told["n"] for told in figures if told is not None})
        people = sorted({self.people[m, test] for m in self.asked if self.people.get((m, test))})
        return f"N = {_span(n)} records of {_span(people)} patients" if n else "nothing was tested"

    def table(self, tests: Mapping[str, str], caption: str, chance: bool = True) -> Table:
        """Return figures by method: test name to heading; the last row is chance."""
        rows = [(m, *(self.cell(m, test) for test in tests)) for m in self.asked]
        if chance:
            rows.append(("chance", *(self.chance(test) for test in tests)))
        return Table(("method", *tests.values()), tuple(rows), caption)


def estimate_text(told: Mapping[str, Any], digits: int) -> str:
    """Return `0.12 [0.05, 0.20]`."""
    if told["value"] is None:
        return "not estimable"
    if told["low"] is None:
        return f"{told['value']:z.{digits}f} [no interval]"
    return f"{told['value']:z.{digits}f} [{told['low']:z.{digits}f}, {told['high']:z.{digits}f}]"


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
    ('a, b and c', 'a', '')
    """
    given = list(words)
    return given[0] if len(given) == 1 else f"{', '.join(given[:-1])} and {given[-1]}" if given else ""


def drawn(picture: Any, caption: str, alt: str) -> Figure:
    """Return a picture for the page."""
    return Figure(figure_bytes(picture), caption, alt)


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}" if values else "?"
