# SPDX-License-Identifier: Apache-2.0
"""mitdb's traps: one man twice, leads by name, unknown ages, clipping, excerpts that are copies, missing beats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.datasets.events import Event
from ecglens.datasets.mitdb import RECORDS, load_mitdb, rhythms
from ecglens.datasets.records import age_and_sex
from ecglens.errors import InputError, LeakError, UsageError


def test_there_are_48_recordings_of_47_people(mitdb: Path) -> None:
    assert len(RECORDS) == len(set(RECORDS)) == 48
    cohort = load_mitdb(mitdb)
    assert cohort.record_ids == ("100", "103", "114", "201", "202")
    assert cohort.n_patients == 4
    assert cohort.metadata.loc["201", "patient_id"] == cohort.metadata.loc["202", "patient_id"]
    assert len(cohort.excluded) == 43
    assert {e.kind for e in cohort.excluded} == {"absent"}
    apart = replace(cohort, metadata=cohort.metadata.assign(fold=[1, 1, 1, 1, 2]))  # 201 and 202 on two sides
    with pytest.raises(LeakError, match="mitdb:201"):
        apart.split(by="fold", folds={"train": [1], "test": [2]})


def test_age_and_sex_come_from_the_header_and_unknown_stays_unknown(mitdb: Path) -> None:
    metadata = load_mitdb(mitdb).metadata
    assert metadata["sex"].tolist() == ["male", "male", "female", "male", "male"]
    assert metadata["age"].tolist()[:1] + metadata["age"].tolist()[2:] == [69, 72, 68, 68]
    assert np.isnan(metadata.loc["103", "age"])  # its header says -1


@pytest.mark.parametrize(
    ("first", "known"),
    [
        ("69 M 1085 1629 x1", (69, "male")), ("23 F 2546 N/A x1", (23, "female")), ("-1 M 742 654 x1", (None, "male")),
        ("Age: 71  Sex: M  NYHA class: III-IV", (71, "male")), ("<age>: 79\n<sex>: F", (79, "female")),
        ("Age: 25\nSex: female", (25, "female")), ("Age: ?  Sex: M", (None, "male")),
        ("Age: NaN\nSex: Unknown", (None, None)),
        ("Digoxin\nno age given", (None, None)), ("Stage: 3, dosage 20", (None, None)), ("", (None, None)),
    ],
)  # fmt: skip
def test_each_published_form_of_age_and_sex(first: str, known: tuple[object, object]) -> None:
    assert age_and_sex(first.splitlines()) == known


def test_leads_keep_their_names_where_channels_are_reversed(mitdb: Path) -> None:
    cohort = load_mitdb(mitdb)
    assert cohort[2].leads == ("V5", "MLII")
    stored = np.fromfile(mitdb / "114.dat", "<i2").reshape(-1, 2)
    np.testing.assert_allclose(cohort[2]["MLII"], (stored[:, 1] - 1024.0) / 200, rtol=1e-6)


def test_clipping_is_flagged_where_a_lead_stays_at_the_converters_limit(mitdb: Path) -> None:
    cohort = load_mitdb(mitdb)
    found = [(e.record_id, f.lead, f.severity, f.reason) for e in cohort for f in e.findings if f.kind == "clipped"]
    reason = "10 samples at the converter's limits (-5.12 and 5.12 mV)"
    assert found == [("103", "V2", "warning", reason)]


def test_rhythms_and_beats_hold_for_the_stretch_they_are_in(mitdb: Path) -> None:
    whole = load_mitdb(mitdb)
    assert whole.classes == ("AFIB", "N")
    assert whole.labels["AFIB"].tolist() == [0, 0, 0, 1, 0]
    parts = load_mitdb(mitdb, stretch=15).where(recording="201")
    assert parts.record_ids == ("201@00000", "201@00015", "201@00030")
    # Noted at 20 s, so in force in the second stretch beside N, and in the third without a note of its own.
    assert parts.labels.to_dict("list") == {"AFIB": [0, 1, 1], "N": [1, 1, 0]}
    beats = load_mitdb(mitdb, "beat", stretch=15).where(recording="100").labels
    assert beats.to_dict("list") == {"N": [1, 0, 0], "S": [0, 1, 0], "V": [0, 1, 0], "F": [0] * 3, "Q": [0] * 3}


def test_a_rhythm_lasts_until_the_next() -> None:
    events = [Event(5, "+", "(N"), Event(7, "N", ""), Event(50, "+", "(VT"), Event(60, "+", "(N"), Event(61, '"', "(B")]
    expected = [(0, 5, set()), (0, 6, {"N"}), (20, 40, {"N"}), (50, 60, {"VT"}), (49, 51, {"N", "VT"}), (60, 99, {"N"})]
    assert [rhythms(events, first, last) for first, last, _ in expected] == [found for *_, found in expected]


def test_records_without_beats_are_left_out_and_said_so(mitdb: Path) -> None:
    (mitdb / "100.atr").unlink()
    (mitdb / "103.atr").write_bytes(b"N")
    (mitdb / "114.hea").write_text("nonsense")
    cohort = load_mitdb(mitdb)
    assert cohort.record_ids == ("201", "202")
    kinds = {e.record_id: e.kind for e in cohort.excluded if e.kind != "absent"}
    assert kinds == {"100": "missing_file", "103": "annotations", "114": "header"}
    for name in ("201", "202"):
        (mitdb / f"{name}.hea").unlink()
    with pytest.raises(InputError, match="none that can be used"):
        load_mitdb(mitdb)
    with pytest.raises(UsageError, match="rhythm, beat"):
        load_mitdb(mitdb, "superdiagnostic")
