# SPDX-License-Identifier: Apache-2.0
"""What rules read of each record: measured once, kept in the journal of the run, used again by later runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded
from ecglens.concepts.definition import PEOPLE, Concept
from ecglens.errors import ContractError, InputError, UnsafeError
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.waveform.criteria import values_of
from ecglens.waveform.delineate import delineate
from ecglens.waveform.measure import measure

VALUES = "values"


def record_values(
    cohort: Cohort,
    concepts: Sequence[Concept],
    journal: Journal,
    *,
    known: pd.DataFrame | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, tuple[Excluded, ...]]:
    """Return what the rules read [record, variable], NaN unknown, and the records that could not be read.

    known   such a table of an earlier run: records that it holds are not measured again

    Nothing is measured where the concepts ask for age, sex and lists only.
    """
    wanted = sorted({name for concept in concepts for name in concept.variables} - set(PEOPLE))
    if not wanted:
        people = [_about(cohort, i) for i in range(len(cohort))]
        return pd.DataFrame(people, index=list(cohort.record_ids), columns=list(PEOPLE), dtype=float), ()
    rows: dict[str, Mapping[str, float | None]] = dict(journal.entries(VALUES))
    failed: dict[str, dict[str, str]] = journal.entries("unread")
    if known is not None:
        rows |= _from_table(known, cohort, wanted)
    for i, record in enumerate(cohort.record_ids):
        if record not in rows and record not in failed:
            try:
                rows[record] = values_of_record(cohort, i)
                journal.record(VALUES, record, rows[record])
            except (InputError, UnsafeError) as error:
                failed[record] = {"kind": error.kind, "reason": str(error)}
                journal.record("unread", record, failed[record])
        progress("measuring", i + 1, len(cohort), f"{len(failed)} left out" if failed else "")
    read = [record for record in cohort.record_ids if record in rows]
    table = pd.DataFrame([rows[record] for record in read], index=read).astype(float)
    return table, tuple(Excluded(record, f["kind"], f["reason"]) for record, f in failed.items() if record not in rows)


def values_of_record(cohort: Cohort, i: int) -> dict[str, float | None]:
    """Return all that rules may read of record `i`, rounded as tables have it; age and sex are those of the cohort."""
    ecg = cohort[i]
    ecg = replace(ecg, metadata={**ecg.metadata, **_known_people(cohort, i)})
    found = values_of(ecg, measure(ecg, delineate(ecg)))
    return {name: None if value is None else round(float(value), 4) for name, value in found.items()}


def read_values(path: str | Path) -> pd.DataFrame:
    """Read `tables/values.csv` of an earlier run. Raises InputError, or ContractError where it is another table."""
    if not Path(path).is_file():
        raise InputError(path, "values", "nothing there", "tables/values.csv of an earlier run", kind="missing_file")
    try:
        table = pd.read_csv(path, index_col=0, dtype={0: str})
    except ValueError:
        table = pd.DataFrame()
    if table.index.name != "record_id" or not {"qrs_ms", *PEOPLE} <= set(table.columns):
        raise ContractError(path, "columns", "another table", "tables/values.csv of an earlier run", kind="columns")
    table.index = table.index.astype(str).rename("record_id")
    return table


def _from_table(known: pd.DataFrame, cohort: Cohort, wanted: Sequence[str]) -> dict[str, Mapping[str, float | None]]:
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ContractError("values", "columns", f"no {', '.join(missing)}", "what the rules read", kind="columns")
    here = known.loc[[record for record in cohort.record_ids if record in known.index]]
    names = [str(name) for name in here.columns]
    rows = here.astype(float).to_numpy().tolist()
    return {str(record): dict(zip(names, row, strict=True)) for record, row in zip(here.index, rows, strict=True)}


def _about(cohort: Cohort, i: int) -> dict[str, float]:
    """Return age, male and female of record `i`, NaN where unknown."""
    known = _known_people(cohort, i)
    told = {"age": float(known.get("age", np.nan))}
    is_known = known.get("sex") in ("male", "female")
    return told | {name: float(known["sex"] == name) if is_known else np.nan for name in ("male", "female")}


def _known_people(cohort: Cohort, i: int) -> dict[str, Any]:
    about = cohort.metadata.iloc[i]
    return {name: about[name] for name in ("age", "sex") if about[name] is not None and about[name] == about[name]}
