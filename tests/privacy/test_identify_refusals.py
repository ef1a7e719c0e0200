# SPDX-License-Identifier: Apache-2.0
"""What is refused leaves no network behind; whom a run leaves out is counted and not named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ecglens.cli.app import run
from ecglens.cli.identify import _in_words
from ecglens.cohort import Cohort
from ecglens.errors import InputError
from ecglens.privacy.identify import identify
from ecglens.privacy.left_out import REASONS, unsuitable
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.windows import cut_windows
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.runs.files import read_json, write_json
from ecglens.runs.lock import writing

from .conftest import people_cohort

HOW = {"n_folds": 3, "n_resamples": 60, "models": ["cnn"]}


def unlearnable(toy: Cohort) -> tuple[Cohort, int]:
    """People of whom three have a second recording, and a seed under which no readable model could learn in a fold."""
    cohort = toy.take([0, 1, 3, 4, 6, 7, 9, 12, 15, 18])
    table = cut_windows([cohort]).table
    for seed in range(300):
        split = make_splits(table, "verification", n_folds=2, seed=seed)[0]
        if table.iloc[split.train].groupby("person")["recording"].nunique().max() == 1:
            return cohort, seed
    raise AssertionError("no such seed")


def test_what_an_attacker_cannot_learn_from_is_refused_before_another_is_trained(toy: Cohort, tmp_path: Path):
    cohort, seed = unlearnable(toy)
    stages = []
    with pytest.raises(InputError, match="pairs of one person and pairs of two"):
        identify([cohort], tmp_path / "run", models=["cnn", "unveiled-lr"], n_folds=2, seed=seed,
                 progress=lambda stage, *_: stages.append(stage))  # fmt: skip
    assert not [stage for stage in stages if "training" in stage]
    assert not [path for path in (tmp_path / "run").iterdir() if path.name != ".lock"]


def test_no_network_is_left_behind_where_data_are_refused_late(
    toy: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(model, changed, split, labels, classes, where, **how):
        where.mkdir(parents=True)
        (where / "weights.safetensors").write_bytes(b"of somebody")
        raise fault

    monkeypatch.setattr("ecglens.privacy.identify.hear", refuse)
    fault: Exception = InputError("unveiled", "features", "none", "some", kind="no_beats")
    with pytest.raises(InputError):
        identify([toy], tmp_path / "refused", **HOW)
    assert not list((tmp_path / "refused").rglob("*.safetensors"))
    assert not (tmp_path / "refused" / "run.json").exists()
    fault = KeyboardInterrupt()  # what was cut off may go on
    with pytest.raises(KeyboardInterrupt):
        identify([toy], tmp_path / "cut", **HOW)
    assert list((tmp_path / "cut").rglob("*.safetensors"))


def test_whom_a_protocol_leaves_out_is_counted_and_not_named(toy: Cohort, tmp_path: Path):
    once = people_cohort(4, 1, name="once", first=50)
    done = identify([toy, once], tmp_path / "run", protocol="closed-set", **HOW | {"models": ["unveiled-lr"]}).run
    told = read_json(done.folder / "identification.json")
    (entry,) = told["people_left_out"]
    assert (told["n_people"], entry["kind"], entry["n"]) == (12, "undivided", 4)
    words = f"4 ({entry['reason']})"
    assert f"People left out: {words}." in render(identification_report(done))
    assert f"People left out: {words}" in _in_words(told, 1.0, tmp_path)
    assert "once:" not in json.dumps(told)


def test_records_left_out_are_told_and_make_the_exit_code_7(toy: Cohort, tmp_path: Path, capsys, monkeypatch):
    short = [replace(ecg, signal=ecg.signal[:, :1750]) if ecg.record_id in ("p3r1", "p4r2") else ecg for ecg in toy]
    loaded = {"some": replace(toy, records=short), "all": toy}
    monkeypatch.setattr("ecglens.cli.identify._load", lambda where: loaded[where])

    def told(data: str, *more: str) -> tuple[int, str, list[dict], str]:
        out = tmp_path / f"{data}-{len(more)}"
        call = ["identify", "--data", data, "--model", "unveiled-lr", "--folds", "3", "--out", str(out), *more]
        code = run([*call, "--purpose", "risk-assessment"])
        page = re.search(r"Records left out: (.*?\.)</", (out / "identify.html").read_text())
        kept = read_json(out / "identification.json")["records_left_out"]
        assert not re.search(r"p\d+r\d", json.dumps(kept) + page[1])
        return code, capsys.readouterr().out, kept, page[1]

    beyond = {"kind": "beyond_cap", "n": 12, "reason": REASONS["beyond_cap"]}
    too_short = {"kind": "too_short", "n": 2, "reason": "no 8 s without a blank"}
    code, words, kept, page = told("some")
    assert (code, kept, page) == (7, [too_short], "2 (no 8 s without a blank).")
    assert "\nRecords left out: 2 (no 8 s without a blank)\n" in words
    code, words, kept, page = told("all", "--windows", "2")  # as many as were asked for, and nothing wrong with them
    assert (code, kept, page) == (0, [beyond], f"12 ({beyond['reason']}).")
    assert f"\nRecords left out: 12 ({beyond['reason']})\n" in words
    code, words, kept, page = told("all")
    assert (code, kept, page) == (0, [], "none.")
    assert "left out" not in words


def test_a_result_of_before_records_were_counted_is_told_all_the_same(toy: Cohort, tmp_path: Path):
    done = identify([toy], tmp_path / "run", **HOW | {"models": ["unveiled-lr"]}).run
    older = read_json(done.folder / "identification.json")
    del older["records_left_out"]
    write_json(done.folder / "identification.json", older)
    assert "Records left out: none." in render(identification_report(done))
    assert "left out" not in _in_words(older, 1.0, tmp_path)
    assert not unsuitable(older.get("records_left_out"))


def test_who_cuts_a_run_off_is_told_where_networks_are(toy: Cohort, tmp_path: Path, monkeypatch, capsys):
    def cut_off(model, changed, split, labels, classes, where, **how):
        where.mkdir(parents=True)
        (where / "checkpoint.safetensors").write_bytes(b"of somebody")
        raise KeyboardInterrupt

    monkeypatch.setattr("ecglens.cli.identify._load", lambda where: toy)
    call = ["identify", "--data", "toy", "--purpose", "risk-assessment", "--folds", "3", "--out"]
    monkeypatch.setattr("ecglens.privacy.identify.hear", cut_off)
    assert run([*call, str(tmp_path / "cut")]) == 130
    work = tmp_path / "cut" / "work"
    line = f"Networks that recognise people are kept in {work} for --resume; deleting that folder deletes them.\n"
    assert line in capsys.readouterr().err
    monkeypatch.setattr("ecglens.privacy.identify.refuse_unlearnable", lambda *_: cut_off(*"mcslk", tmp_path / "x"))
    assert run([*call, str(tmp_path / "early")]) == 130  # before there is any
    assert (tmp_path / "early" / "work").exists()
    with writing(tmp_path / "cut"):  # somebody else is at work on them
        assert run([*call, str(tmp_path / "cut"), "--resume"]) == 5
    assert "recognise people" not in capsys.readouterr().err
