# SPDX-License-Identifier: Apache-2.0
"""Concepts, read from a TOML file: a published criterion, a rule on measurements, or a list of records.

schema = 1

[concepts.QRS-CLBBB]
criterion = "QRS-CLBBB"              # a name of `CRITERIA`

[concepts.OLD]
rule = "age > 75"                    # the language of `ecglens.waveform.criteria`: no code is run
about = "older than 75 years"

[concepts.PACED]
file = "paced.csv"                   # record ids in its first column, beside the concept file
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.errors import FormatError, UsageError, printable
from ecglens.runs.files import contained, read_bytes
from ecglens.waveform.criteria import CRITERIA, Criterion

CONCEPTS_SCHEMA = 1
DEFAULT_CONCEPTS = Path(__file__).with_name("concepts.toml")
PEOPLE = ("age", "male", "female")
_SOURCES = ("criterion", "rule", "records", "file")
_MAX_FILE = 8 * 2**20
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Concept:
    """Something an ECG, or the person, has or has not.

    about    what it is, in words
    rule     what decides, on measurements, age and sex; None for a list
    records  ids of those that have it; None for a rule
    """

    name: str
    about: str
    rule: Criterion | None = None
    records: frozenset[str] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """What the rule may read; nothing for a list."""
        return self.rule.variables if self.rule else ()

    @property
    def text(self) -> str:
        """The rule as it stands, or how long the list is."""
        return self.rule.rule if self.rule else f"a list of {len(self.records or ()):,} records"

    @property
    def personal(self) -> tuple[str, ...]:
        """Which of age and sex the concept is itself, where it reads nothing else: it cannot be matched on them."""
        if not self.variables or not set(self.variables) <= set(PEOPLE):
            return ()
        return tuple(dict.fromkeys("age" if name == "age" else "sex" for name in self.variables))

    def members(self, values: pd.DataFrame) -> np.ndarray:
        """Return 1 has it, 0 has it not, NaN cannot be told [record], from values [record, variable], NaN unknown."""
        if self.rule is None:
            listed = self.records or frozenset()
            return np.array([float(str(record) in listed) for record in values.index])
        rows = values.reindex(columns=list(self.variables)).to_numpy(float)
        told = [
            self.rule.decide({n: None if np.isnan(v) else float(v) for n, v in zip(self.variables, row, strict=True)})
            for row in rows
        ]
        return np.array([np.nan if one.met is None else float(one.met) for one in told])


def load_concepts(path: str | Path = DEFAULT_CONCEPTS) -> tuple[Concept, ...]:
    """Read a concept file. Raises InputError where it is missing, FormatError where it or a rule has a mistake.

    >>> [concept.name for concept in load_concepts()][:3]
    ['QRS-CLBBB', 'SLI-LVH', 'LI-LVH']
    """
    path = Path(path)
    try:
        told = tomllib.loads(read_bytes(path, _MAX_FILE, follow_links=True).decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "content", str(error), "TOML", kind="concepts") from None
    concepts = told.get("concepts")
    if told.get("schema") != CONCEPTS_SCHEMA or not isinstance(concepts, dict):
        raise FormatError(
            path, "schema, concepts", f"schema {told.get('schema')}", f"schema = {CONCEPTS_SCHEMA} and [concepts.NAME]",
            kind="concepts",
        )  # fmt: skip
    if not concepts:
        raise FormatError(path, "concepts", "none", "one or more [concepts.NAME]", kind="concepts")
    return tuple(_concept(path, name, about) for name, about in concepts.items())


def _concept(path: Path, name: str, told: Any) -> Concept:
    allowed = f"one of {', '.join(_SOURCES)}, and about"
    if not isinstance(told, dict) or not set(told) <= {*_SOURCES, "about"}:
        extra = sorted(set(told) - {*_SOURCES, "about"}) if isinstance(told, dict) else told
        raise FormatError(path, f"concept {name}", printable(extra), allowed, kind="concepts")
    given = [source for source in _SOURCES if source in told]
    if len(given) != 1 or len(name) > _LONGEST_NAME or not name.strip():
        raise FormatError(
            path, f"concept {name}", f"{' and '.join(given) or 'no source'}, a name of {len(name)} letters",
            f"{allowed}; a name of up to {_LONGEST_NAME} letters", kind="concepts",
        )  # fmt: skip
    about = str(told.get("about", ""))
    if given[0] in ("criterion", "rule"):
        return _by_rule(path, name, about, told)
    records = told["records"] if given[0] == "records" else _listed(path, name, told["file"])
    if not isinstance(records, list) or not all(isinstance(one, str) for one in records):
        raise FormatError(path, f"records of {name}", printable(records), "a list of record ids", kind="concepts")
    return Concept(name, about or f"listed in {printable(path.name, 60)}", records=frozenset(records))


def _by_rule(path: Path, name: str, about: str, told: Mapping[str, Any]) -> Concept:
    if "criterion" in told:
        if told["criterion"] not in CRITERIA:
            raise FormatError(path, f"criterion of {name}", told["criterion"], ", ".join(CRITERIA), kind="concepts")
        known = CRITERIA[told["criterion"]]
        return Concept(name, about or known.about, known)
    try:
        return Concept(name, about or str(told["rule"]), Criterion(about, str(told["rule"]), path.name))
    except UsageError as error:
        raise FormatError(path, f"rule of {name}", error.found, error.allowed, kind="concepts") from None


def _listed(path: Path, name: str, file: Any) -> list[str]:
    """Return the first column of a CSV beside the concept file; a heading `record_id` is none of the records."""
    if not isinstance(file, str):
        raise FormatError(path, f"file of {name}", printable(file), "the name of a CSV", kind="concepts")
    where = contained(path.parent, file, path)
    try:
        lines = read_bytes(where, _MAX_FILE).decode().splitlines()
    except ValueError:
        raise FormatError(where, "content", "no text", "record ids, one a line", kind="concepts") from None
    ids = [line.split(",")[0].strip().strip('"') for line in lines]
    return [one for k, one in enumerate(ids) if one and not (k == 0 and one == "record_id")]
