# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ecglens.cli.app import run


@pytest.fixture
def folder(data_folder, tmp_path) -> Path:
    """Twelve records of the small cohort, to be changed at will."""
    copy = tmp_path / "clinic"
    copy.mkdir()
    rows = (data_folder / "table.csv").read_text().splitlines()[:13]
    (copy / "table.csv").write_text("\n".join(rows) + "\n")
    for row in rows[1:]:
        for suffix in (".hea", ".dat"):
            shutil.copy((data_folder / row.split(",")[0]).with_suffix(suffix), copy)
    return copy


def info(capsys, *arguments):
    capsys.readouterr()
    code = run(["data", "info", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_it_reads_the_files_and_says_what_it_saw(capsys, folder):
    code, told, _ = info(capsys, folder)
    assert code == 0
    assert told["recordings"]["read"] == told["records"] == 12
    assert told["recordings"]["sampling_rates"] == {"500": 12}
    assert (told["duplicates"], told["unreadable"]) == ([], [])
    assert told["missing"]["device"] == 12
    figure = told["prevalence"]["MI"]
    assert figure["low"] < figure["value"] == told["labels"]["MI"] / 12 < figure["high"]


def test_a_copy_under_another_name_is_a_duplicate(capsys, folder):
    rows = (folder / "table.csv").read_text().splitlines()
    name = Path(rows[1].split(",")[0]).stem
    header = (folder / f"{name}.hea").read_text()
    (folder / "other.hea").write_text(header.replace(name, "other"))
    shutil.copy(folder / f"{name}.dat", folder / "other.dat")
    (folder / "table.csv").write_text("\n".join([*rows, "other.hea,somebody,MI,,,1"]) + "\n")
    code, told, _ = info(capsys, folder)
    assert code == 0
    assert told["duplicates"] == [[rows[1].split(",")[0], "other.hea"]]


def test_one_damaged_file_is_listed_and_the_others_are_told(capsys, folder):
    victim = sorted(folder.glob("*.dat"))[3]
    victim.write_bytes(victim.read_bytes()[:-500])
    code, told, _ = info(capsys, folder, "--out", folder.parent / "pages")
    assert code == 7
    assert [entry["record_id"] for entry in told["unreadable"]] == [victim.with_suffix(".hea").name]
    assert told["recordings"]["read"] == 11
    assert victim.stem in (folder.parent / "pages" / "info.html").read_text()
    closed, told, _ = info(capsys, folder, "--no-signals")
    assert closed == 0
    assert told["unreadable"] is told["duplicates"] is told["recordings"] is None


def test_nothing_readable_ends_with_the_code_of_the_errors(capsys, folder):
    for path in folder.glob("*.dat"):
        path.write_bytes(b"")
    code, told, _ = info(capsys, folder)
    assert code == 3
    assert len(told["unreadable"]) == 12


@pytest.mark.parametrize(("out", "page", "table"), [
    ("pages", "pages/info.html", "pages/info.json"),
    ("mine.html", "mine.html", "mine.json"),
])  # fmt: skip
def test_the_page_and_its_numbers_are_written(capsys, folder, monkeypatch, out, page, table):
    monkeypatch.chdir(folder.parent)
    code, told, _ = info(capsys, folder, "--no-signals", "--out", out)
    assert code == 0
    assert (told["page"], told["json"]) == (page, table)
    assert json.loads(Path(table).read_text()) == told
    html = Path(page).read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert f"ecglens data info {folder} --no-signals --seed 0 --out {out}" in html
    assert not list(folder.parent.rglob("*.part"))


def test_another_file_is_not_overwritten(capsys, folder):
    notes = folder.parent / "notes.txt"
    notes.write_text("keep me")
    code, told, _ = info(capsys, folder, "--no-signals", "--out", notes)
    assert (code, told["error"]["kind"]) == (2, "usage")
    assert notes.read_text() == "keep me"


def test_the_words_on_the_terminal(capsys, folder):
    assert run(["data", "info", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("clinic: 12 records of ")
    assert "95 % interval" in out
    assert "sampling rate in Hz 500 12" in out
    assert "reading 12/12" in err
    assert run(["data", "info", str(folder), "--no-signals"]) == 0
    assert "The files were not opened" in capsys.readouterr().out
