# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, a second writer and a full disk: the right exit code, and nothing that was finished is lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecglens.bundle import Bundle
from ecglens.cli.app import run
from ecglens.cohort import Cohort
from ecglens.runs.lock import writing


def test_ctrl_c_is_130_and_resumable(data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real process, a real signal, at whatever instant; the same command with --resume ends it."""
    out = tmp_path / "run"
    command = ["train", "--data", str(data_folder), "--epochs", "40", "--seed", "2", "--out", str(out), "--json"]
    child = subprocess.Popen(
        [sys.executable, "-m", "ecglens", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.safetensors").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert json.loads(stdout)["error"]["kind"] == "interrupted"
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert not (out / "bundles" / "final" / "hashes.json").exists()
    assert run(["report", str(out)]) == 3  # unfinished
    capsys.readouterr()
    assert run([*command, "--resume"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Bundle.load(told["bundle"]).details["best_epoch"] == told["best_epoch"]


@pytest.mark.parametrize("verb", ["train", "evaluate", "explain", "report"])
def test_a_second_writer_is_refused(
    verb: str, trained, data_folder: Path, small_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ecg = data_folder / f"{small_cohort.where(fold=10).record_ids[0]}.hea"
    bundle, out = str(trained.run.folder), tmp_path / "out"
    held = Path(bundle) if verb == "report" else out
    arguments = {
        "train": ["--data", str(data_folder), "--epochs", "1", "--out", str(out)],
        "evaluate": [bundle, "--data", str(data_folder), "--out", str(out)],
        "explain": [str(ecg), "--target", "MI", "--bundle", bundle, "--out", str(out)],
        "report": [bundle],
    }[verb]
    with writing(held):
        assert run([verb, *arguments, "--json"]) == 5
    told, err = capsys.readouterr()
    assert json.loads(told)["error"]["kind"] == "locked"
    assert f"process {os.getpid()}" in err
    assert [path.name for path in out.glob("*")] == ([".lock"] if held == out else [])


def test_a_full_disk(
    data_folder: Path, tiny_folder: Path, small_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ECGLENS_CACHE", str(tmp_path / "cache"))  # it cannot be written either, which only warns
    ecg = data_folder / f"{small_cohort.where(fold=10).record_ids[0]}.hea"
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    for verb in (
        ["explain", str(ecg), "--target", "MI", "--bundle", str(tiny_folder), "--out", str(tmp_path / "explained")],
        ["train", "--data", str(data_folder), "--epochs", "1", "--out", str(tmp_path / "run")],
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, unlimited[1]))
        try:
            code = run([*verb, "--json"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        out, err = capsys.readouterr()
        assert code == 5, err
        assert json.loads(out)["error"]["kind"] == "disk"
        assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.part"))
    assert run([*verb, "--resume"]) == 0  # with space again


def test_a_folder_that_cannot_be_written(data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(["train", "--data", str(data_folder), "--out", str(tmp_path / "file" / "run"), "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "disk"
