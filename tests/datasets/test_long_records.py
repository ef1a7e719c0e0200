# SPDX-License-Identifier: Apache-2.0
"""Long recordings in stretches: together they are the recording, each reads only itself, the person stays one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import annotate, walk, write_record

from ecglens.cohort import Cohort
from ecglens.datasets import records
from ecglens.datasets.butqdb import load_butqdb, read_grades
from ecglens.datasets.chfdb import load_chfdb
from ecglens.datasets.ltdb import load_ltdb
from ecglens.datasets.mitdb import load_mitdb
from ecglens.datasets.records import known_age
from ecglens.errors import FormatError, InputError, TableError, UsageError
from ecglens.formats.delineations import read_annotations
from ecglens.formats.read import read
from ecglens.formats.wfdb_signals import SignalFile


def test_stretches_together_are_the_recording(ltdb: Path) -> None:
    cohort = load_ltdb(ltdb, stretch=30)
    ids = ("14046@00000", "14046@00030", "14046@00060", "14046@00090", "15814@00000", "15814@00030")
    assert cohort.record_ids == ids  # the last of 14046 holds what is left; 15814 divides evenly
    assert [ecg.record_id for ecg in cohort] == list(ids)
    assert [ecg.duration for ecg in cohort] == [30, 30, 30, 10, 30, 30]
    assert [ecg.start for ecg in cohort] == [0, 30, 60, 90, 0, 30]
    whole = read(ltdb / "14046.hea").signal
    np.testing.assert_array_equal(np.concatenate([cohort[i].signal for i in range(4)], axis=1), whole)
    assert cohort.n_patients == 2
    assert cohort.metadata["recording"].tolist() == ["14046"] * 4 + ["15814"] * 2
    assert cohort.metadata["age"].tolist() == [46] * 6


def test_the_usual_stretch_is_an_hour_and_none_is_the_whole(ltdb: Path) -> None:
    hours, whole = load_ltdb(ltdb), load_ltdb(ltdb, stretch=None)
    assert hours.record_ids == ("14046@00000", "15814@00000")
    assert whole.record_ids == ("14046", "15814")
    np.testing.assert_array_equal(hours[0].signal, whole[0].signal)
    assert hours.classes == ()
    assert "no labels" in hours.label_rule
    assert hours.labels.shape == (2, 0)
    assert len(hours.excluded) == 5
    # A cache keys on files and ids: what else is read from the same files under the same ids must not have them.
    assert hours.files is not None
    assert whole.files is None
    assert load_ltdb(ltdb, stretch=1800).files is None


def test_each_stretch_reads_only_itself(ltdb: Path) -> None:
    cohort = load_ltdb(ltdb, stretch=50)
    first, last = cohort[0].signal, cohort[1].signal
    raw = bytearray((ltdb / "14046.dat").read_bytes())
    raw[len(raw) // 2 :] = b"\x01\x02" * (len(raw) // 4)
    (ltdb / "14046.dat").write_bytes(raw)
    np.testing.assert_array_equal(cohort[0].signal, first)
    assert not np.array_equal(cohort[1].signal, last)


def test_marks_of_stretches_together_are_those_of_the_recording(mitdb: Path) -> None:
    """Each beat once, on the clock of its ECG, on the sample that the file names; rhythms cut at the edges."""
    whole, parts = load_mitdb(mitdb), load_mitdb(mitdb, stretch=10)
    assert whole.fiducials is not None
    assert parts.fiducials is not None
    for name in ("100", "201"):
        marks = whole.fiducials[whole.record_ids.index(name)]
        lead = marks.leads[0]
        chosen = [i for i, record in enumerate(parts.metadata["recording"]) if record == name]
        pieces = [parts.fiducials[i] for i in chosen]
        np.testing.assert_array_equal(
            np.concatenate([piece[lead, "R_peak"] for piece in pieces]), marks[lead, "R_peak"]
        )
        for i, piece in zip(chosen, pieces, strict=True):
            ecg = parts[i]
            assert ((piece[lead, "R_peak"] >= ecg.start) & (piece[lead, "R_peak"] < ecg.start + ecg.duration)).all()
        assert sum((piece.beat_labels for piece in pieces), ()) == marks.beat_labels
    at = parts.record_ids.index
    assert [name for *_, name in parts.fiducials[at("201@00010")].rhythms] == ["N"]
    assert parts.fiducials[at("201@00020")].rhythms == ((20.0, 30.0, "AFIB"),)


@pytest.mark.parametrize(("load", "name", "record"), [(load_ltdb, "ltdb", "14046"), (load_chfdb, "chfdb", "chf01")])
def test_long_recordings_have_their_beats(
    load: Callable[..., Cohort], name: str, record: str, tree: Callable[[str], Path]
) -> None:
    cohort = load(tree(name), stretch=10)
    assert cohort.fiducials is not None
    first = cohort.fiducials[cohort.record_ids.index(f"{record}@00000")]
    assert first["ECG1", "R_peak"].tolist() == [10 / cohort[0].fs]
    assert cohort.fiducials[cohort.record_ids.index(f"{record}@00010")].n_beats == 0


def test_a_day_in_pieces_is_decoded_once_and_read_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour stands for a day: marks are decoded once, decoded again when the file changes, bytes read once."""
    header = write_record(tmp_path, "14046", 128, ("ECG1", "ECG2"), walk(2, 1800 * 128))
    annotate(header, "atr", [(k, "N", "") for k in range(64, 1800 * 128, 128)])
    decoded = []
    monkeypatch.setattr(records, "read_annotations", lambda *a: decoded.append(a) or read_annotations(*a))
    cohort = load_ltdb(tmp_path, stretch=10)
    assert cohort.fiducials is not None
    assert [marks.n_beats for marks in cohort.fiducials] == [10] * 180
    assert len(decoded) == 1
    asked: list[int] = []
    real = SignalFile._bytes
    monkeypatch.setattr(SignalFile, "_bytes", lambda *a: asked.append(a[2] - a[1]) or real(*a))
    assert sum(ecg.n_samples for ecg in cohort) == 1800 * 128
    assert sum(asked) == (tmp_path / "14046.dat").stat().st_size
    annotate(header, "atr", [(500, "N", "")])
    assert sum(marks.n_beats for marks in cohort.fiducials) == 1
    assert len(decoded) == 2
    (tmp_path / "14046.atr").unlink()
    with pytest.raises(InputError, match=r"14046\.atr"):
        _ = cohort.fiducials[3]


@pytest.mark.parametrize("stretch", [0, -5, 0.5, 1.5, float("nan"), float("inf")])
def test_a_stretch_is_whole_seconds(ltdb: Path, stretch: float) -> None:
    with pytest.raises(UsageError, match="whole seconds"):
        load_ltdb(ltdb, stretch=stretch)


def test_chfdb_says_who_is_known(chfdb: Path) -> None:
    metadata = load_chfdb(chfdb).metadata
    assert metadata["patient_id"].tolist() == ["chf01", "chf06"]
    assert metadata["sex"].tolist() == ["male", "male"]
    assert metadata.loc["chf01@00000", "age"] == 71
    assert np.isnan(metadata.loc["chf06@00000", "age"])


@pytest.mark.parametrize("text", ["", "?", None, "-1", -1, "300", "NaN", float("inf"), "abc"])
def test_what_stands_for_no_age_is_no_age(text: object) -> None:
    assert known_age(text) is None


def test_butqdb_people_are_the_first_three_digits(butqdb: Path) -> None:
    cohort = load_butqdb(butqdb)
    assert cohort.metadata["patient_id"].tolist() == ["100", "100", "103"]
    assert cohort.n_patients == 2
    assert cohort.metadata["age"].tolist() == [28, 28, 21]
    assert cohort.metadata["sex"].tolist() == ["female", "female", "male"]
    assert [(e.record_id, e.kind) for e in cohort.excluded] == [("126001", "absent")]
    # The published table of all 18 gives 15 people by the same rule.
    numbers = "100001 100002 103001 103002 103003 104001 105001 111001 113001 114001 115001 118001 121001 122001 123001"
    assert len({n[:3] for n in f"{numbers} 124001 125001 126001".split()}) == 15


def test_butqdb_quality_is_that_of_the_stretch(butqdb: Path) -> None:
    cohort = load_butqdb(butqdb, stretch=2)
    first = cohort.where(recording="100001").labels.to_numpy()
    # Samples 1-2000 are of class 1, 2001-5000 of class 2, the rest was not graded.
    expected = np.full((15, 3), np.nan)
    expected[0], expected[1], expected[2] = (1, 0, 0), (0, 1, 0), (0, 1, 0)
    np.testing.assert_array_equal(first, expected)
    assert cohort.where(recording="100002").labels.isna().all(axis=None)
    assert cohort.where(recording="103001").labels["quality 3"].eq(1).all()
    assert load_butqdb(butqdb).labels.iloc[0].tolist() == [1, 1, 0]


def test_butqdb_headers_without_sums_are_read_and_flagged(butqdb: Path) -> None:
    ecg = load_butqdb(butqdb)[0]
    stored = np.fromfile(butqdb / "100001" / "100001_ECG.dat", "<i2")
    np.testing.assert_allclose(ecg["ECG"], (stored + 12.0) / 1.996 / 1000, rtol=1e-6)
    assert "no_checksum" in {f.kind for f in ecg.findings}
    header = butqdb / "100001" / "100001_ECG.hea"
    header.write_text(header.read_text().replace(" 0 0 0 ECG", " 0 7 0 ECG"))  # a sum that is one, and wrong
    with pytest.raises(FormatError, match="checksum"):
        load_butqdb(butqdb)[0]


@pytest.mark.parametrize("text", ["a,b\n", "1,2\n", "1,2,1,1,2,1,1,2,1,5,3,1\n", "1,2,1,1,2,1,1,2,1,0,3,1\n",
                                  "1,2,1,1,2,1,1,2,1,1,3,4\n", "1,2,1,1,2,1,1,2,1,1.5,3,1\n"])  # fmt: skip
def test_wrong_grades_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x_ANN.csv").write_text(text)
    with pytest.raises(TableError):
        read_grades(tmp_path / "x_ANN.csv")


def test_butqdb_needs_its_table_of_people(butqdb: Path) -> None:
    pd.DataFrame({"who": [1]}).to_csv(butqdb / "subject-info.csv")
    with pytest.raises(TableError, match="ID, Gender, Age"):
        load_butqdb(butqdb)
