# SPDX-License-Identifier: Apache-2.0
"""Label maps: what the labels of one data set are called in another, written down as a table that can be argued with.

A CSV file with the columns `label`, `class`, `reason`, one statement a line:

    Stemi,MI,...              a record with the label has the class
    Undefined ...,maybe MI,   it is unknown whether it has, unless another label says yes
    Pacemaker,not NORM,       it has not; only for a class that a line of `*` gives
    Sinus rhythm,,            says nothing about any class, on purpose
    *,NORM,                   whoever has no label that names, or may name, another class, or denies this one, has it

A label may stand in several lines. Without a yes and without a maybe the record has the class not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.datasets.tables import read_cells
from ecglens.errors import TableError

SHIPPED = Path(__file__).parent / "label_maps"
COLUMNS = ("label", "class", "reason")
OTHERWISE = "*"
_WAYS = ("maybe", "not")
_NEAR = 0.85  # how alike two names must be for one to be a slip of the other


@dataclass(frozen=True)
class Line:
    """One line: the label, the class it says something of ("" for none), how (yes, maybe, not), and why."""

    label: str
    target: str
    way: str
    reason: str


@dataclass(frozen=True)
class Mapped:
    """A cohort under another's classes, and what became of its labels.

    unmapped     label -> records that have it, for labels that no line names: they say nothing, by default
    set_aside    the same for labels that a line sets aside on purpose
    absent       labels of the map that this data set, or this copy, has not
    never        classes that no line gives: unknown for every record
    """

    cohort: Cohort
    unmapped: dict[str, int]
    set_aside: dict[str, int]
    absent: tuple[str, ...]
    never: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what became of the labels as it stands in JSON output."""
        counts = [
            {"label": name, "records": n, "why": why}
            for why, part in (("no line in the map", self.unmapped), ("set aside by the map", self.set_aside))
            for name, n in part.items()
        ]
        return {"not_used": counts, "absent": list(self.absent), "never_given": list(self.never)}


@dataclass(frozen=True)
class LabelMap:
    """Lines of a label map, checked."""

    name: str
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        given = {line.target for line in self.lines if line.label == OTHERWISE}
        for line in self.lines:
            if line.label == OTHERWISE and (line.way != "yes" or not line.target):
                raise _wrong(self.name, line, "a class beside *", "*,NORM")
            if line.way == "not" and line.target not in given:
                raise _wrong(self.name, line, f"`not` only for a class of `*` ({', '.join(given) or 'none'})",
                             "leave it out: without a yes a record has the class not")  # fmt: skip

    def applied(self, cohort: Cohort, classes: Sequence[str]) -> Mapped:
        """Return the cohort with labels of `classes`.

        Raises TableError (kind `label_map`) for a class that is none of `classes`, and for a label that is nearly, but
        not, one of the cohort's own that no line names: with the name that was probably meant.
        """
        self._refuse_slips(cohort, classes)
        known = {name: cohort.labels[name].to_numpy(float) for name in cohort.classes}
        columns = {name: self._column(name, known, len(cohort)) for name in classes}
        named, kept = {line.label for line in self.lines}, {line.label for line in self.lines if line.target}
        counts = {name: int(np.nansum(values)) for name, values in known.items()}
        rule = f"{cohort.label_rule}; mapped by {self.name} to {', '.join(classes)}"
        labels = pd.DataFrame(columns, index=cohort.labels.index)
        return Mapped(
            replace(cohort, labels=labels, label_rule=rule),
            {name: n for name, n in counts.items() if name not in named},
            {name: n for name, n in counts.items() if name in named - kept},
            tuple(sorted(named - set(known) - {OTHERWISE})),
            tuple(name for name in classes if name not in {line.target for line in self.lines if line.way == "yes"}),
        )

    def _column(self, name: str, known: dict[str, np.ndarray], n: int) -> np.ndarray:
        """Return the labels [record] of one class."""
        yes, maybe = self._any(name, ("yes",), known, n), self._any(name, ("maybe",), known, n)
        otherwise = any(line.label == OTHERWISE and line.target == name for line in self.lines)
        if not any(line.target == name and line.way == "yes" for line in self.lines):
            return np.full(n, np.nan)
        if otherwise:
            others = {line.label for line in self.lines if line.target and line.target != name}
            denied = _any_of([*others, *self._labels(name, ("not",))], known, n)
            none = np.where(np.isnan(denied), np.nan, 1 - np.nan_to_num(denied))
            yes = np.where((yes == 1) | (none == 1), 1.0, np.where(np.isnan(yes) | np.isnan(none), np.nan, 0.0))
            # What may or may not be normal leaves open only what nothing else denies.
            return np.where((yes == 1) & (maybe != 0), np.nan, yes)
        return np.where(yes == 1, 1.0, np.where(np.isnan(yes) | (maybe != 0), np.nan, 0.0))

    def _labels(self, name: str, ways: Iterable[str]) -> list[str]:
        return [line.label for line in self.lines if line.target == name and line.way in ways]

    def _any(self, name: str, ways: Iterable[str], known: dict[str, np.ndarray], n: int) -> np.ndarray:
        return _any_of(self._labels(name, ways), known, n)

    def _refuse_slips(self, cohort: Cohort, classes: Sequence[str]) -> None:
        named = {line.label for line in self.lines}
        loose = [name for name in cohort.classes if name not in named]
        for line in self.lines:
            if line.target and line.target not in classes:
                raise _wrong(
                    self.name, line, f"a class of the bundle: {', '.join(classes)}", _meant(line.target, classes)
                )
            if line.label not in cohort.classes and line.label != OTHERWISE and (hint := _meant(line.label, loose)):
                raise _wrong(self.name, line, f"labels of {cohort.name}, such as {', '.join(loose[:5])}", hint)


def load_label_map(where: str | Path) -> LabelMap:
    """Read a label map: a CSV file, or the name of a shipped one (`ludb-to-superdiagnostic`).

    Raises TableError (kind `label_map`) with the line where it is wrong, InputError where there is none.
    """
    path = Path(where)
    if not path.exists() and (SHIPPED / f"{where}.csv").exists():
        path = SHIPPED / f"{where}.csv"
    if not path.exists():
        shipped = ", ".join(sorted(found.stem for found in SHIPPED.glob("*.csv")))
        raise TableError(where, "label map", "no such file", f"a CSV file, or one of: {shipped}", kind="label_map")
    cells = read_cells(path)
    header = tuple(str(cell).strip() for cell in cells.iloc[0]) if len(cells) else ()
    if header != COLUMNS:
        raise TableError(path, "first line", ",".join(header) or "nothing", ",".join(COLUMNS), kind="label_map")
    rows = [[str(cell).strip() for cell in row] for row in cells.iloc[1:].to_numpy()]
    lines = [_line(path, number, *row) for number, row in enumerate(rows, 2)]
    if len({(line.label, line.target) for line in lines}) < len(lines):
        raise TableError(path, "lines", "one of them twice", "each label and class once", kind="label_map")
    return LabelMap(path.stem, tuple(lines))


def _line(path: Path, number: int, label: str, target: str, reason: str) -> Line:
    way, _, rest = target.partition(" ")
    if not label:
        raise TableError(path, f"line {number}", "no label", "a label, or *", kind="label_map")
    return Line(label, rest.strip(), way, reason) if way in _WAYS else Line(label, target, "yes", reason)


def _any_of(names: Iterable[str], known: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Return 1 where one of the labels is 1, else NaN where one is unknown, else 0: [record]."""
    present = [known[name] for name in names if name in known]
    if not present:
        return np.zeros(n)
    stack = np.stack(present)
    return np.where((stack == 1).any(axis=0), 1.0, np.where(np.isnan(stack).any(axis=0), np.nan, 0.0))


def _meant(name: str, names: Sequence[str]) -> str:
    """Return `did you mean ...?` where a known name is nearly this one."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), list(folded), 1, cutoff=_NEAR)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def _wrong(name: str, line: Line, allowed: str, fix: str) -> TableError:
    target = f"{line.way} {line.target}" if line.way in _WAYS else line.target
    return TableError(name, "line", f"{line.label},{target}", allowed, fix, kind="label_map")
