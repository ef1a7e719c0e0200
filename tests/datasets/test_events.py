# SPDX-License-Identifier: Apache-2.0
"""Annotation files written by the wfdb package come back event by event; damaged ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecglens.datasets.events import read_events
from ecglens.errors import FormatError


def test_events_are_those_that_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = np.cumsum(rng.choice([1, 300, 1023, 1024, 70_000, 5_000_000], 300))
    symbols = rng.choice(list('NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r'), 300).tolist()
    notes = rng.choice(["", "(N", "(AFIB", "abc"], 300).tolist()
    wfdb.wrann(
        "r", "atr", samples, symbols, aux_note=notes, write_dir=str(tmp_path),
        num=rng.integers(0, 5, 300), subtype=rng.integers(0, 3, 300), chan=rng.integers(0, 2, 300),
    )  # fmt: skip
    events = read_events(tmp_path / "r.atr")
    assert [e.sample for e in events] == samples.tolist()
    assert [e.symbol for e in events] == symbols
    assert [e.note for e in events] == notes


def test_a_file_that_breaks_off_or_is_none_is_refused(tmp_path: Path) -> None:
    wfdb.wrann("r", "atr", np.array([10, 500]), ["N", "+"], aux_note=["", "(AFIB"], write_dir=str(tmp_path))
    path = tmp_path / "r.atr"
    whole = path.read_bytes()
    for size in range(len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError) as caught:
            read_events(path)
        assert caught.value.kind in ("truncated", "annotations", "content")
    for other in (b"file,labels\na,MI\n" * 20, bytes([5, 63 << 2]) * 40, (58 << 10).to_bytes(2, "little")):
        path.write_bytes(other)
        with pytest.raises(FormatError):
            read_events(path)
