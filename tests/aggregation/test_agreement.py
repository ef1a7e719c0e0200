# SPDX-License-Identifier: Apache-2.0
"""Ranks, expected cells and how alike averages are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ecglens.aggregation.agreement import hits, members_agreement, rank_agreement, ranks, read_expectation
from ecglens.errors import TableError
from ecglens.explanation import Rows
from ecglens.segments import SEGMENTS

LEADS, CELLS = ("I", "II"), ("P", "QRS", "T")
SHIPPED = Path(__file__).parents[2] / "benchmarks" / "glocal_expectation.csv"


def test_ranks_leave_out_what_is_unknown() -> None:
    found = ranks(np.array([[3.0, np.nan, 1.0], [5.0, 3.0, -2.0]]))
    np.testing.assert_array_equal(found, [[2, np.nan, 4], [1, 3, 5]])


def test_chance_of_hits_is_that_of_counting_all_draws() -> None:
    values = np.array([[9.0, 1.0, 8.0], [2.0, 7.0, np.nan]])
    expected = frozenset({("I", "P"), ("I", "T"), ("II", "T")})  # the last has no value and counts for nothing
    found = hits(values, LEADS, CELLS, expected, top=2)
    assert (found.n, found.n_expected, found.n_cells) == (2, 2, 5)
    assert found.cells == (("I", "P"), ("I", "T"))
    draws = list(combinations(range(5), 2))
    assert found.p_hypergeometric == pytest.approx(sum(set(d) == {0, 2} for d in draws) / len(draws))
    assert np.isnan(found.p_shift)


def test_shifted_maps_with_as_many_hits_are_counted() -> None:
    values = np.array([[9.0, 1.0, 8.0], [2.0, 7.0, np.nan]])
    expected = frozenset({("I", "P"), ("I", "T")})
    same, other = np.nan_to_num(values), np.nan_to_num(values[:, ::-1]) * [[0, 1, 0], [1, 1, 1]]
    shifted = np.stack([same, other, other, other])
    assert hits(values, LEADS, CELLS, expected, shifted, top=2).p_shift == pytest.approx(2 / 5)


def test_agreement_is_of_ranks_over_common_cells() -> None:
    a = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 9.0]])
    assert rank_agreement(a, np.exp(a)) == pytest.approx(1.0)
    assert rank_agreement(a, -a) == pytest.approx(-1.0)
    assert np.isnan(rank_agreement(a, np.full((2, 3), np.nan)))


def test_members_are_compared_over_their_own_records() -> None:
    draw = np.random.default_rng(0)
    common = draw.normal(size=(2, 30)) + 9
    values = np.stack([common + 0.05 * draw.normal(size=(2, 30)) for _ in range(12)])
    values[9:] = common[:, ::-1]  # a member of three records: too few to be looked at
    rows = Rows(tuple(f"r{k}" for k in range(12)), ("p",) * 12, values, np.ones(12), np.ones(12))
    found = members_agreement(rows, {f"r{k}": "a" if k < 5 else "b" if k < 9 else "c" for k in range(12)})
    assert found is None  # b has four
    found = members_agreement(rows, {f"r{k}": "a" if k < 5 else "b" for k in range(9)} | dict.fromkeys(
        ("r9", "r10", "r11"), "c"))  # fmt: skip
    assert found is None
    found = members_agreement(
        Rows((*rows.record_ids[:9], "s"), ("p",) * 10, np.concatenate([values[:9], values[:1]]), np.ones(10),
             np.ones(10)), {f"r{k}": "a" if k < 5 else "b" for k in range(9)} | {"s": "b"},
    )  # fmt: skip
    assert found is not None
    assert (found.n_members, found.median > 0.95) == (2, True)


def test_the_expectation_is_readable_and_of_cells_that_there_are() -> None:
    found = read_expectation(SHIPPED)
    assert set(found) == {"LVH", "CLBBB", "IMI", "AMI"}
    assert found["LVH"] == {(lead, "R_peak") for lead in ("V1", "V5", "V6")}
    assert {segment for cells in found.values() for _, segment in cells} <= set(SEGMENTS)


def test_a_wrong_expectation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for text, word in (("class,leads\nMI,I\n", "columns"), ("class,leads,segments,why\nMI,I,R_peek,x\n", "R_peek")):
        path.write_text(text)
        with pytest.raises(TableError, match=word):
            read_expectation(path)
