# SPDX-License-Identifier: Apache-2.0
"""CODE-15 %: padding, people, labels, exams that are not there. HDF5 itself is replaced: h5py is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets import code15 as module
from ecglens.datasets.code15 import load_code15
from ecglens.errors import EnvironmentFault, InputError, SignalError, UsageError
from ecglens.leads import STANDARD_LEADS


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """One part: rows in another order than the table, one of filler, 7 s padded to 4,096, one of zeros only."""
    tracings = np.zeros((4, 4096, 12), np.float32)
    tracings[0, 648:-648] = np.random.default_rng(0).normal(size=(2800, 12))
    tracings[0, 1000] = 0  # a moment at which all leads are 0 is no padding
    tracings[1] = np.random.default_rng(1).normal(size=(4096, 12))
    stored = {"exam_id": np.array([12, 11, 0, 14]), "tracings": tracings}

    def read_dataset(path: Path, name: str, row: int | None = None) -> np.ndarray:
        return stored[name] if row is None else stored[name][row]

    monkeypatch.setattr(module, "read_dataset", read_dataset)
    return stored


def test_padding_is_removed_and_only_padding(code15: Path, part: dict[str, np.ndarray]) -> None:
    cohort = load_code15(code15)
    assert cohort.record_ids == ("11", "12", "14")
    long, short = cohort[0], cohort[1]
    assert (long.n_samples, short.n_samples, short.fs, short.leads) == (4096, 2800, 400, STANDARD_LEADS)
    np.testing.assert_array_equal(short.signal, part["tracings"][0, 648:-648].T)
    with pytest.raises(SignalError, match="zeros only"):
        cohort[2]


def test_people_and_labels(code15: Path, part: dict[str, np.ndarray]) -> None:
    cohort = load_code15(code15)
    assert cohort.classes == ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
    assert cohort.labels.to_numpy().tolist() == [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], [0] * 6]
    assert cohort.metadata["patient_id"].tolist() == ["100", "101", "102"]
    assert cohort.metadata["sex"].tolist() == ["male", "female", "male"]
    (missing,) = cohort.excluded
    assert (missing.record_id, missing.kind) == ("13", "absent")
    assert "exams_part1.hdf5" in missing.reason


def test_the_unit_is_not_published_and_every_ecg_says_so(code15: Path, part: dict[str, np.ndarray]) -> None:
    one, tenth = load_code15(code15)[0], load_code15(code15, scale=0.1)[0]
    np.testing.assert_allclose(tenth.signal, one.signal / 10, rtol=1e-6)
    assert ("units_assumed", "warning") in {(f.kind, f.severity) for f in one.findings}
    assert load_code15(code15, scale=0.1).files is None
    for scale in (0, -1, float("nan")):
        with pytest.raises(UsageError):
            load_code15(code15, scale=scale)


def test_an_exam_twice_in_a_part_is_nobody(code15: Path, part: dict[str, np.ndarray]) -> None:
    part["exam_id"][2] = 11
    assert load_code15(code15).record_ids == ("12", "14")


def test_parts_outside_the_folder_are_not_opened(code15: Path, part: dict[str, np.ndarray]) -> None:
    table = code15 / "exams.csv"
    table.write_text(table.read_text().replace("exams_part0.hdf5", "../exams_part0.hdf5"))
    with pytest.raises(InputError, match=r"\.\."):
        load_code15(code15)


def test_without_h5py_the_error_names_it(code15: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EnvironmentFault, match="pip install h5py") as caught:
        load_code15(code15)
    assert caught.value.exit_code == 5
