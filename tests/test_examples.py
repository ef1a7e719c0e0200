# SPDX-License-Identifier: Apache-2.0
"""Every example runs, and does what its first line asks."""

from __future__ import annotations

import runpy
from pathlib import Path

from ecglens import read

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_train_and_explain(tmp_path, capsys):
    score = runpy.run_path(str(EXAMPLES / "train_and_explain.py"))["main"](tmp_path / "run", epochs=4)
    assert score > 0.8
    assert "N = 60" in capsys.readouterr().out


def test_write_simulated_ecgs(tmp_path):
    written = runpy.run_path(str(EXAMPLES / "write_simulated_ecgs.py"))["main"](tmp_path)
    assert len({path.name for path in written}) == 5
    assert all(read(path).duration == 10 for path in written)


def test_no_example_is_left_out():
    here = Path(__file__).read_text()
    assert all(path.name in here for path in EXAMPLES.glob("*.py"))
