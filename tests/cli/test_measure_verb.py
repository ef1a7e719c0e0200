# SPDX-License-Identifier: Apache-2.0
"""`ecglens measure`: JSON as promised, pictures, tables, and files that cannot be measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecglens import ECG, simulate_ecg, write_wfdb
from ecglens.cli.app import run
from ecglens.leads import STANDARD_LEADS
from ecglens.waveform.criteria import CRITERIA


@pytest.fixture(scope="module")
def ecg_file(tmp_path_factory):
    return write_wfdb(simulate_ecg("a", "NORM").ecg, tmp_path_factory.mktemp("ecgs"))


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_json_is_as_promised(ecg_file, capsys):
    assert run(["measure", str(ecg_file), "--json"]) == 0
    (record,) = told(capsys)["records"]
    assert set(record) == {"file", "fs", "r_peaks", "waves", "measurements", "criteria"}
    truth = simulate_ecg("a", "NORM")
    assert abs(len(record["r_peaks"]) - len(truth.beats)) <= 2
    assert all(isinstance(sample, int) for sample in record["r_peaks"])
    assert set(record["criteria"]) == set(CRITERIA)
    assert set(record["criteria"].values()) <= {True, False, None}
    waves = record["waves"]
    assert set(waves[0]) == {"lead", "wave", "onset", "peak", "offset"}
    assert {w["wave"] for w in waves} == {"P", "QRS", "T"}
    for wave in waves:
        known = [wave[k] for k in ("onset", "peak", "offset") if wave[k] is not None]
        assert known == sorted(known)
    measured = record["measurements"]
    assert measured["qrs_ms"]["value"] == pytest.approx(truth.measurements().qrs, abs=25)
    assert measured["leads"]["V5"]["r_mv"]["unit"] == "mV"


def test_pictures_are_drawn_and_named(ecg_file, tmp_path, capsys):
    assert run(["measure", str(ecg_file), "--plot", "--out", str(tmp_path), "--json"]) == 0
    picture = told(capsys)["records"][0]["picture"]
    assert (tmp_path / "a-waves.png").read_bytes().startswith(b"\x89PNG")
    assert picture.endswith("a-waves.png")


def test_words_say_what_was_measured_and_met(ecg_file, capsys):
    assert run(["measure", str(ecg_file)]) == 0
    text = capsys.readouterr().out
    assert "criteria met:" in text
    assert "not a medical device" in text


@pytest.mark.parametrize("kind", ["flat", "noise", "gaps", "upside down", "short"])
@pytest.mark.parametrize("fs", [50, 1000])
def test_bad_signals_get_reasons_and_no_invented_beats(kind, fs, tmp_path, capsys):
    n, generator = 10 * fs, np.random.default_rng(0)
    good = simulate_ecg("b", "NORM", fs=1000.0).ecg.signal[:, :: 1000 // fs]
    signal = {
        "flat": np.zeros((12, n)), "noise": generator.normal(0, 0.2, (12, n)), "upside down": -good,
        "gaps": np.where(np.arange(n) % (2 * fs) < fs, np.nan, good), "short": good[:, :fs],
    }[kind]  # fmt: skip
    path = write_wfdb(ECG(signal, fs, STANDARD_LEADS, "bad"), tmp_path)
    assert run(["measure", str(path), "--plot", "--out", str(tmp_path), "--json"]) == 0
    (record,) = told(capsys)["records"]
    rate = record["measurements"]["heart_rate_bpm"]
    if kind in ("flat", "noise"):
        assert record["r_peaks"] == []
        assert rate["value"] is None
        assert rate["reason"]
    if kind == "upside down":
        assert rate["value"] == pytest.approx(60000 / simulate_ecg("b", "NORM").measurements().rr.mean(), rel=0.05)
        assert record["measurements"]["leads"]["V5"]["r_mv"]["value"] is not None


def test_files_that_cannot_be_read_are_listed(ecg_file, tmp_path, capsys):
    broken = tmp_path / "broken.hea"
    broken.write_text("nonsense\n")
    assert run(["measure", str(ecg_file), str(broken), "--json"]) == 7
    found = told(capsys)
    assert len(found["records"]) == len(found["left_out"]) == 1
    assert run(["measure", str(broken), "--json"]) == 3


def test_a_cohort_becomes_a_table(data_folder, tmp_path, capsys, monkeypatch):
    from ecglens.datasets import load

    whole = load.load_cohort
    monkeypatch.setattr(load, "load_cohort", lambda *a, **k: whole(*a, **k).take(range(3)))
    out = tmp_path / "table.csv"
    assert run(["measure", "--data", str(data_folder), "--out", str(out), "--json"]) == 0
    assert told(capsys)["records_measured"] == 3
    assert len(out.read_text().splitlines()) == 4
    assert run(["measure", "--data", str(data_folder), "--out", str(out)]) == 3
    assert run(["measure", "--data", str(data_folder), "--out", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("arguments", [[], ["--data", "x"], ["a.hea", "--data", "x", "--out", "y.csv"]])
def test_calls_that_make_no_sense_are_refused(arguments):
    assert run(["measure", *arguments]) == 2
