# SPDX-License-Identifier: Apache-2.0
"""Do two averages rank the cells alike: those of two networks, of a family's members, of map and expectation?"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, rankdata, spearmanr

from ecglens.errors import TableError
from ecglens.explanation import Rows
from ecglens.runs.files import read_bytes
from ecglens.segments import SEGMENTS

Floats = NDArray[np.float64]
TOP = 7  # cells that the published figures mark
LEAST_OF_A_MEMBER = 5  # records, for a member's own average to be looked at
_COLUMNS = ("class", "leads", "segments", "why")


@dataclass(frozen=True)
class MembersAgreement:
    """Rank correlation of the averages of a family's members, each over the records it explained.

    Their records differ too, so this is a lower bound of how alike the networks are.
    """

    n_members: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Hits:
    """How many of the largest cells are expected ones.

    p_hypergeometric  chance that as many are, were the cells drawn at random
    p_shift           share of cohorts of shifted maps with as many; NaN without a null
    """

    n: int
    n_top: int
    n_expected: int
    n_cells: int
    cells: tuple[tuple[str, str], ...]
    p_hypergeometric: float
    p_shift: float


def ranks(values: Floats) -> Floats:
    """Return the rank of each cell, 1 the largest, ties in the order of leads and cells; NaN without a value."""
    flat = np.asarray(values, np.float64).ravel()
    out = np.full(flat.size, np.nan)
    known = np.flatnonzero(np.isfinite(flat))
    out[known] = rankdata(-flat[known], method="ordinal")
    return out.reshape(np.shape(values))


def rank_agreement(a: Floats, b: Floats) -> float:
    """Return Spearman's correlation over the cells that both have; NaN for fewer than three."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(spearmanr(a[both], b[both]).statistic)


def members_agreement(rows: Rows, bundle_of: Mapping[str, str]) -> MembersAgreement | None:
    """Compare the averages of a family's members pair by pair; None where fewer than two have five records."""
    of = np.array([bundle_of[name] for name in rows.record_ids])
    names = [name for name in sorted(set(of)) if (of == name).sum() >= LEAST_OF_A_MEMBER]
    means = []
    for name in names:
        own = rows.values[of == name]
        seen = ~np.isnan(own)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append(np.nan_to_num(own).sum(axis=0) / seen.sum(axis=0))
    found = [rank_agreement(a, b) for a, b in combinations(means, 2)]
    found = [value for value in found if np.isfinite(value)]
    return MembersAgreement(len(names), float(np.median(found)), min(found), max(found)) if found else None


def read_expectation(path: Path) -> dict[str, frozenset[tuple[str, str]]]:
    """Return the expected cells (lead, segment) of each class: a CSV with columns class, leads, segments, why.

    A row is each of its leads with each of its segments. Raises TableError for other columns or an unknown segment.
    """
    lines = read_bytes(path, 1 << 20).decode("utf-8", errors="replace").splitlines()
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise TableError(path, "columns", ", ".join(reader.fieldnames or ()), ", ".join(_COLUMNS))
    found: dict[str, set[tuple[str, str]]] = {}
    for row in reader:
        unknown = sorted(set(row["segments"].split()) - set(SEGMENTS))
        if unknown:
            raise TableError(path, "segments", ", ".join(unknown), ", ".join(SEGMENTS))
        cells = {(lead, segment) for lead in row["leads"].split() for segment in row["segments"].split()}
        found.setdefault(row["class"], set()).update(cells)
    return {name: frozenset(cells) for name, cells in found.items()}


def hits(
    values: Floats, leads: tuple[str, ...], cells: tuple[str, ...], expected: frozenset[tuple[str, str]],
    shifted: Floats | None = None, top: int = TOP,
) -> Hits:  # fmt: skip
    """Count the expected cells among the `top` largest of `values` [lead, cell], NaN where there is none.

    shifted   the same of cohorts of shifted maps [shift, lead, cell]
    """
    mask = np.array([[(lead, cell) in expected for cell in cells] for lead in leads])
    known = np.isfinite(values)
    chosen = ranks(values) <= top
    n, n_known, n_expected = int((chosen & mask).sum()), int(known.sum()), int((mask & known).sum())
    p_random = float(hypergeom.sf(n - 1, n_known, n_expected, min(top, n_known)))
    p_shift = float("nan")
    if shifted is not None:
        drawn = np.where(known, shifted, -np.inf).reshape(len(shifted), -1)
        largest = np.argpartition(-drawn, min(top, drawn.shape[1]) - 1, axis=1)[:, :top]
        n_drawn = mask.ravel()[largest].sum(axis=1)
        p_shift = float((1 + (n_drawn >= n).sum()) / (1 + len(shifted)))
    places = sorted(zip(*np.nonzero(chosen & mask), strict=True), key=lambda at: ranks(values)[at])
    named = tuple((leads[row], cells[column]) for row, column in places)
    return Hits(n, top, n_expected, n_known, named, p_random, p_shift)
