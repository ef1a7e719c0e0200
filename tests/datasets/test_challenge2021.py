# SPDX-License-Identifier: Apache-2.0
"""Challenge 2021: SNOMED-CT codes as classes, equal codes as one, unknown as unknown, sources by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets.challenge2021 import SCORED, load_challenge2021
from ecglens.errors import UsageError


def test_scored_classes(challenge2021: Path) -> None:
    cohort = load_challenge2021(challenge2021)
    assert cohort.record_ids == ("A0001", "E00001", "JS10647", "HR00001")
    assert len(cohort.classes) == 26
    found = {record: set(row[row == 1].index) for record, row in cohort.labels.iterrows()}
    both = {"CRBBB|RBBB"}  # two codes, one class
    assert found == {"A0001": both, "E00001": {"NSR", "LAD"}, "JS10647": set(), "HR00001": both}
    assert cohort.labels.loc["JS10647"].isna().all()  # no diagnosis is not "healthy"
    assert cohort.labels.drop("JS10647").notna().all(axis=None)
    codes = [code for members in SCORED.values() for code in members]
    assert len(codes) == len(set(codes)) == 30  # the organisers' list of scored codes


def test_all_codes(challenge2021: Path) -> None:
    cohort = load_challenge2021(challenge2021, "all")
    assert cohort.classes == ("39732003", "426783006", "59118001", "713427006", "999")
    with pytest.raises(UsageError, match="scored, all"):
        load_challenge2021(challenge2021, "superdiagnostic")


def test_people_and_sources(challenge2021: Path) -> None:
    metadata = load_challenge2021(challenge2021).metadata
    assert metadata["site"].tolist() == ["CPSC", "Georgia", "Chapman-Shaoxing or Ningbo", "PTB-XL"]
    assert metadata["sex"].tolist() == ["male", None, "female", "female"]
    np.testing.assert_array_equal(metadata["age"], [74, np.nan, np.nan, np.nan])
    assert metadata["patient_id"].isna().all()


def test_samples_behind_the_matlab_header(challenge2021: Path) -> None:
    ecg = load_challenge2021(challenge2021)[0]
    raw = (challenge2021 / "cpsc_2018" / "g1" / "A0001.mat").read_bytes()[24:]
    np.testing.assert_allclose(ecg.signal.T, np.frombuffer(raw, "<i2").reshape(-1, 12) / 1000, rtol=1e-6)


def test_one_source_alone_and_an_id_twice(challenge2021: Path) -> None:
    assert load_challenge2021(challenge2021 / "georgia").record_ids == ("E00001",)
    copy = challenge2021 / "zz" / "A0001.hea"
    copy.parent.mkdir()
    copy.write_bytes((challenge2021 / "cpsc_2018" / "g1" / "A0001.hea").read_bytes())
    assert [(e.record_id, e.kind) for e in load_challenge2021(challenge2021).excluded] == [("A0001", "duplicate_id")]
