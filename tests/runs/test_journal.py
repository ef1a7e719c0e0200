# SPDX-License-Identifier: Apache-2.0
"""What was recorded survives a kill; a damaged journal says so, never something else."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecglens.errors import EcglensError, EnvironmentFault, FormatError
from ecglens.runs.journal import Journal


def test_later_value_stands_stages_are_apart_and_order_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for key, value in (("b", 1), ("a", {"x": [0.1, None]}), ("c", "ü"), ("b", 2)):
            journal.record("epoch", key, value)
        journal.record("record", "b", 3)
    with Journal(tmp_path / "j") as again:
        assert again.entries("epoch") == {"a": {"x": [0.1, None]}, "c": "ü", "b": 2}
        assert list(again.entries("epoch")) == ["a", "c", "b"]
        assert again.entries("record") == {"b": 3}
        assert again.entries("nothing") == {}
        again.forget("epoch")
        assert again.entries("epoch") == {}
        assert again.entries("record") == {"b": 3}


def test_kill_while_writing_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ecglens.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); i = len(journal.entries('e'))\n"
        "while True:\n"
        "  journal.record('e', str(i), {'value': i * i, 'more': 'x' * 500}); print(i, flush=True); i += 1"
    )
    chance, expected = random.Random(1), 0
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "j")], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(chance.uniform(0.001, 0.05))
            writer.send_signal(signal.SIGKILL)
            said = writer.stdout.read().splitlines()
        acknowledged = int(said[-1]) + 1 if said else expected + 1
        with Journal(tmp_path / "j") as journal:
            entries = journal.entries("e")
        assert len(entries) >= acknowledged > expected
        assert list(entries) == [str(i) for i in range(len(entries))]
        assert all(value == {"value": int(key) ** 2, "more": "x" * 500} for key, value in entries.items())
        expected = len(entries)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        Journal(tmp_path / "j")
    assert caught.value.exit_code == 3


def test_damage_anywhere_is_an_error_of_ours_or_the_truth(tmp_path: Path) -> None:
    with Journal(tmp_path / "good") as journal:
        for i in range(60):
            journal.record("e", str(i), "x" * 200)
        truth = journal.entries("e")
    good, reported = (tmp_path / "good").read_bytes(), 0
    for first in range(0, len(good), 1024):
        (tmp_path / "j").write_bytes(good[:first] + b"\xff" * 512 + good[first + 512 :])
        try:
            with Journal(tmp_path / "j") as journal:
                entries = journal.entries("e")
                assert entries == truth or entries.keys() <= truth.keys()
                journal.record("e", "new", 1)
                journal.forget("e")
        except EcglensError:
            reported += 1
        for leftover in tmp_path.glob("j*"):
            leftover.unlink()
    assert reported > 3


def test_a_value_that_is_no_json_is_damage(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.record("e", "a", 1)
    db = sqlite3.connect(tmp_path / "j")
    db.execute("UPDATE entries SET value = '{half'")
    db.commit()
    db.close()
    with Journal(tmp_path / "j") as journal, pytest.raises(FormatError, match="journal"):
        journal.entries("e")


def test_full_disk_is_a_fault_and_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from ecglens.runs.journal import Journal\n"
        "from ecglens.errors import EnvironmentFault\n"
        "journal = Journal(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "  for i in range(1000): journal.record('e', str(i), 'x' * 2000); print(i, flush=True)\n"
        "except EnvironmentFault as fault: sys.exit(fault.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "j")], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    written = len(done.stdout.split())
    assert written > 10
    with Journal(tmp_path / "j") as journal:
        assert len(journal.entries("e")) == written


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault):
        Journal(tmp_path / "gone" / "j")
