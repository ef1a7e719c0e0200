# SPDX-License-Identifier: Apache-2.0
"""CSV tables that come with data sets, read with one line of error for each thing that can be wrong."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ecglens.errors import TableError
from ecglens.runs.files import read_bytes

_MAX_TABLE = 256 * 2**20


def read_table(path: Path, index: str | None, needed: Iterable[str]) -> pd.DataFrame:
    """Read a CSV with its index column (by name; None: the first) and the columns it must have.

    Raises TableError where it is no CSV, a column is missing, or an id stands there twice.
    """
    try:
        table = pd.read_csv(_content(path), index_col=index if index is not None else 0)
    except (ValueError, LookupError) as error:
        raise _no_csv(path, error) from None
    missing = [column for column in needed if column not in table]
    if missing:
        raise TableError(path, "columns", f"no {', '.join(missing)}", ", ".join(needed), kind="columns")
    if not table.index.is_unique:
        doubled = table.index[table.index.duplicated()][0]
        raise TableError(path, str(table.index.name), f"{doubled} more than once", "unique ids", kind="duplicate_id")
    return table


def read_cells(path: Path) -> pd.DataFrame:
    """Read a CSV as text, cell by cell, without a header: `007` stays `007`, and an empty cell is empty text.

    Raises TableError where it is no CSV.
    """
    try:
        return pd.read_csv(_content(path), header=None, dtype=str, keep_default_na=False)
    except (ValueError, LookupError) as error:
        raise _no_csv(path, error) from None


def _content(path: Path) -> io.BytesIO:
    return io.BytesIO(read_bytes(path, _MAX_TABLE, follow_links=True))


def _no_csv(path: Path, error: Exception) -> TableError:
    return TableError(path, "content", str(error), "a CSV table", kind="csv")
