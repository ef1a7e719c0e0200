# SPDX-License-Identifier: Apache-2.0
"""ECG-ID: people, dates, one lead of two, and the blank that is cropped only where it is the published one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets.ecgiddb import load_ecgiddb
from ecglens.errors import FormatError


def test_people_dates_and_one_lead(ecgiddb: Path) -> None:
    cohort = load_ecgiddb(ecgiddb)
    assert cohort.record_ids == ("Person_01/rec_1", "Person_01/rec_2", "Person_26/rec_10")
    known = cohort.metadata[["patient_id", "age", "sex", "date"]].to_numpy().tolist()
    assert known == [
        ["01", 25, "male", "2004-12-07"],
        ["01", 25, "male", "2005-05-12"],
        ["26", 25, "female", "2005-02-01"],
    ]
    stored = np.fromfile(ecgiddb / "Person_01" / "rec_1.dat", "<i2").reshape(-1, 2) / 200
    raw, filtered = cohort[0], load_ecgiddb(ecgiddb, filtered=True)[0]
    assert raw.leads == filtered.leads == ("I",)
    np.testing.assert_allclose(raw["I"], stored[:, 0], rtol=1e-6)
    np.testing.assert_allclose(filtered["I"], stored[:, 1], rtol=1e-6)
    assert cohort.files is not None
    assert load_ecgiddb(ecgiddb, filtered=True).files is None  # other samples of the same files: not for the cache


def test_sessions_of_one_person_can_be_split_by_date(ecgiddb: Path) -> None:
    parts = load_ecgiddb(ecgiddb).split(
        by="date", dates={"first": ("2004-01-01", "2005-01-01"), "later": ("2005-01-01", "2006-01-01")}
    )
    assert [part.record_ids[0] for part in parts.values()] == ["Person_01/rec_1", "Person_01/rec_2"]


def test_the_blank_is_left_off_and_the_rest_stays_in_its_place(ecgiddb: Path) -> None:
    ecg = load_ecgiddb(ecgiddb)[2]
    stored = np.fromfile(ecgiddb / "Person_26" / "rec_10.dat", "<i2").reshape(-1, 2)
    assert (stored[:1024] == -1).all()
    assert (ecg.start, ecg.n_samples) == (1024 / 500, 4000 - 1024)
    np.testing.assert_allclose(ecg["I"], stored[1024:, 0] / 200, rtol=1e-6)
    assert not ecg.gaps.any()
    (found,) = (f for f in ecg.findings if f.kind == "blank_start")
    assert found.severity == "warning"
    assert "2.048 s are blank" in found.reason
    assert "not verified" in found.reason


def test_the_release_vouches_for_a_record_with_a_blank(ecgiddb: Path) -> None:
    path = ecgiddb / "Person_26" / "rec_10.dat"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (ecgiddb / "SHA256SUMS.txt").write_text(f"{'0' * 64} Person_01/rec_1.dat\n{digest} Person_26/rec_10.dat\n")
    (found,) = (f for f in load_ecgiddb(ecgiddb)[2].findings if f.kind == "blank_start")
    assert "as published" in found.reason
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # damaged behind the blank: nothing but the release's sum can tell
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="checksum"):
        load_ecgiddb(ecgiddb)[2]


@pytest.mark.parametrize("samples", [0, 1, 1000, 1025, 4000])
def test_any_other_damage_is_refused(ecgiddb: Path, samples: int) -> None:
    path = ecgiddb / "Person_01" / "rec_2.dat"
    raw = path.read_bytes()
    path.write_bytes(b"\xff" * samples * 4 + raw[samples * 4 : -2] + b"\x11\x00")
    with pytest.raises(FormatError, match="checksum"):
        load_ecgiddb(ecgiddb)[1]


def test_a_header_that_cannot_be_read_is_listed(ecgiddb: Path) -> None:
    (ecgiddb / "Person_01" / "rec_1.hea").write_text("")
    cohort = load_ecgiddb(ecgiddb)
    assert [(e.record_id, e.kind) for e in cohort.excluded] == [("Person_01/rec_1", "content")]
    assert len(cohort) == 2
