# SPDX-License-Identifier: Apache-2.0
"""People who differ in one stretch of the beat alone are lost without it, and not without as much elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, Fiducials
from ecglens.privacy.flattening import Hits, check_causally, hits_of, losses
from ecglens.privacy.intervals import PARTITION, Marked, stretches_of
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.scoring import Heard, Material
from ecglens.privacy.windows import cut_windows
from ecglens.statistics.classification import classification
from ecglens.statistics.identification import Ranked

FS = 250.0


def same_but_for_st(person: int, seconds: float = 132.0) -> np.ndarray:
    """A lead [time] of the same beats for everybody, but for a ripple of the person's own between S and T."""
    ms = np.arange(-240.0, 560, 4)  # one beat of 0.8 s
    beat = np.zeros(ms.size)
    for centre, width, height in ((-160, 18, 0.15), (-30, 8, -0.15), (0, 10, 1.2), (32, 9, -0.3), (300, 40, 0.35)):
        beat += height * np.exp(-((ms - centre) ** 2) / (2 * width**2))
    for centre, height in ((130, np.cos(person * np.pi / 3)), (180, np.sin(person * np.pi / 3))):
        beat += 0.12 * height * np.exp(-((ms - centre) ** 2) / (2 * 18**2))
    noise = np.random.default_rng(person).normal(size=round(seconds * FS))
    return (np.resize(beat, noise.size) + 0.01 * noise).astype(np.float32)


def planted_marks(n_windows: int) -> Marked:
    """Where the waves were put: each window begins 0.2 s before an R peak."""
    times = np.full((1, 10, len(MARKS)), np.nan)
    for name, ms in (("P_peak", -160), ("QRS_onset", -45), ("Q_peak", -30), ("R_peak", 0), ("S_peak", 32),
                     ("QRS_offset", 50), ("T_peak", 300)):  # fmt: skip
        times[0, :, MARKS.index(name)] = 0.2 + 0.8 * np.arange(10) + ms / 1000
    marks = Fiducials(times, ("I",), "planted")
    return Marked((marks,) * n_windows, (stretches_of(marks, FS, 2000),) * n_windows)


@pytest.fixture(scope="module")
def planted():
    ecgs = [ECG(same_but_for_st(person)[None], FS, ("I",), record_id=f"p{person}") for person in range(6)]
    ids = [ecg.record_id for ecg in ecgs]
    about = pd.DataFrame({"patient_id": ids, "age": 40.0, "sex": "male"}, index=ids)
    windowed = cut_windows([Cohort("toy", ecgs, pd.DataFrame(index=ids), about)], per_person=16)
    material = Material(windowed, windowed.seen(), None)
    return material, planted_marks(len(windowed)), make_splits(windowed.table, "paper")


def median_beats(signal: np.ndarray) -> np.ndarray:
    """The median of nine beats of each window [window, time]: all begin at one distance from R, 0.8 s apart."""
    return np.median(signal[:, 0, :1800].reshape(len(signal), 9, 200), axis=1)[:, ::4]


def discriminant(material: Material, split) -> Heard:
    """An attacker without a network, quick to train: it learns which instants of the median beat are to be trusted."""
    people, beats = pd.factorize(material.table["person"])[0], median_beats(material.seen)
    fitted = LinearDiscriminantAnalysis("lsqr", shrinkage="auto").fit(beats[split.train], people[split.train])
    scores = fitted.predict_proba(beats[split.probe])
    return Heard(scores=scores, labels=people[split.probe], people=material.table["person"].to_numpy()[split.probe])


def rows_of(planted, folder: Path, **changed) -> list[dict]:
    material, marked, splits = planted
    before = hits_of([discriminant(material, split) for split in splits], "person")
    assert before.figure(before.values, np.ones((1, 6)))[0] == 1  # the attack is alive

    def ask(of: Material, number: int, where: Path) -> Heard:
        return discriminant(of, splits[number])

    how = {"n_resamples": 200} | changed
    return check_causally("discriminant", material, marked, before, how.pop("ask", ask), 1, "person", folder, **how)


def test_what_is_planted_in_one_stretch_is_lost_with_it_alone(planted, tmp_path: Path):
    rows = {row["interval"]: row for row in rows_of(planted, tmp_path)}
    assert set(rows) == set(PARTITION)
    lost = rows.pop("S-T")
    assert lost["value"] > 0.6  # chance is 1 / 6
    assert lost["low"] > 0.3
    assert lost["beyond_low"] > 0
    assert lost["control"] < 0.2
    assert lost["value"] - lost["control"] == pytest.approx(lost["beyond"])
    assert lost["per_beat"] > 0.9
    for row in rows.values():
        assert abs(row["value"]) < 0.1
        assert row["untouched"] == 1
        assert row["beyond_low"] <= 0


def test_it_goes_on_where_it_was_cut_off(planted, tmp_path: Path):
    splits = planted[2]
    asked = []

    def ask(of: Material, number: int, where: Path) -> Heard:
        if len(asked) == 4:
            asked.append("cut")
            raise KeyboardInterrupt
        where.mkdir(parents=True, exist_ok=True)
        asked.append(where.parent.name)
        return discriminant(of, splits[number])

    with pytest.raises(KeyboardInterrupt):
        rows_of(planted, tmp_path, ask=ask)
    resumed = rows_of(planted, tmp_path, ask=ask)
    done = [name for name in asked if name != "cut"]
    assert len(done) == len(set(done)) == 2 * len(PARTITION)  # nothing was trained twice
    assert not [
        path for path in tmp_path.rglob("*") if path.is_dir() and path.name != "discriminant"
    ]  # networks are gone
    assert resumed == rows_of(planted, tmp_path / "whole")


def test_hits_are_scored_as_the_figures_are():
    random = np.random.default_rng(0)
    labels, people = random.integers(3, size=40), np.arange(40)
    scores = random.random((40, 3))
    told, _ = classification(scores, labels, people, n_resamples=300, seed=3)
    heard = [Heard(scores=scores, labels=labels, people=people)]
    one = np.ones((1, 40))
    by_class = hits_of(heard, "sex")
    assert by_class.metric == "balanced_accuracy"
    assert by_class.figure(by_class.values, one)[0] == pytest.approx(told["balanced_accuracy"].value)
    by_window = hits_of(heard, "person")
    assert by_window.figure(by_window.values, one)[0] == pytest.approx(told["accuracy"].value)
    ranks = [Ranked(np.array([0, 2]), np.array([0, 0]), np.array([0, 1]), 3),
             Ranked(np.array([0]), np.array([1]), np.array([0]), 3)]  # fmt: skip
    found = hits_of([Heard(ranks=each) for each in ranks], "person")
    assert (found.metric, found.values.tolist(), found.people.tolist()) == ("rank1", [1, 0, 0.5], [0, 1, 2])


def test_losses_are_of_the_untouched_and_beyond_those_of_the_control():
    before = Hits("accuracy", np.ones(4), np.arange(4))
    found = [(np.array([0.0, 0.0, 1.0, 1.0]), 0.3), (np.array([0.0, 1.0, 1.0, 1.0]), 0.6)]
    row = losses(before, found, n_resamples=100, seed=0)
    assert (row["untouched"], row["value"], row["control"], row["beyond"]) == (1, 0.5, 0.25, 0.25)
    assert (row["taken"], row["control_taken"]) == (0.3, 0.6)
    assert row["beyond_low"] == 0  # the second person alone tells them apart, and need not be drawn
    assert row["high"] > row["beyond_high"] >= 0.5
    nothing = losses(before, [(None, 0.9), found[1]], n_resamples=100, seed=0)
    assert np.isnan([nothing[key] for key in ("value", "low", "beyond", "beyond_high")]).all()
    assert nothing["control"] == 0.25


def test_windows_of_a_person_are_one_answer_and_drawn_together():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.1, 0.9]])
    heard = [Heard(scores=scores, labels=np.array([0, 0, 0, 1]), people=np.array(["a", "a", "a", "b"]))]
    assert hits_of(heard, "sex").values.tolist() == [1, 1]  # the mean of a's windows names 0
    hits = Hits("accuracy", np.array([1.0, 0.0, 0.0, 1.0]), np.array([0, 0, 0, 1]))
    drawn = np.array([[2, 0], [0, 2], [1, 1]])
    np.testing.assert_allclose(hits.figure(hits.values, drawn), [1 / 3, 1, 1 / 2])
    lost = Hits("balanced_accuracy", np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 1]))
    np.testing.assert_allclose(lost.figure(lost.values, drawn), [1, 0, 0.5])
