# SPDX-License-Identifier: Apache-2.0
"""PTB-XL+ on a small tree: ids that hide in the middle of an unsorted table, points of leads matched to beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import annotate

from ecglens.datasets.ptbxl_plus import NOTES, load_ptbxl_plus
from ecglens.errors import FormatError, InputError, TableError, UsageError
from ecglens.fiducials import MARKS

# One beat around its R peak, in samples of 2 ms.
BEAT = {
    "p-wave onset": -90, "p-wave peak": -70, "p-wave offset": -50, "QRS onset": -25, "Q peak": -12, "R peak": 0,
    "S peak": 12, "QRS offset": 25, "t-wave onset": 80, "t-wave peak": 130, "t-wave offset": 170,
}  # fmt: skip
PEAKS = (400, 820, 1210)


def points(shift: int = 0, without: tuple[tuple[int, str], ...] = ()) -> list[tuple[int, str, str]]:
    found = [
        (peak + at + shift, "+", note)
        for k, peak in enumerate(PEAKS)
        for note, at in BEAT.items()
        if (k, note) not in without
    ]
    return sorted(found)


@pytest.fixture
def plus(tmp_path: Path) -> Path:
    features = tmp_path / "features"
    features.mkdir()
    (features / "12sl_features.csv").write_text("QRS_Dur_Global,ecg_id,HR\n90,1,60\n110,21803,70\n100,2,80\n")
    (features / "unig_features.csv").write_text("ecg_id,QRS_Dur_Global\n1,86\n")
    folder = tmp_path / "fiducial_points" / "ecgdeli" / "00000"
    folder.mkdir(parents=True)
    annotate(folder / "00001_points_lead_I.hea", "atr", points())
    annotate(folder / "00001_points_lead_aVR.hea", "atr", points(8, without=((1, "R peak"),)))
    annotate(folder / "00001_points_lead_V2.hea", "atr", points(-9, without=((0, "t-wave peak"), (2, "p-wave onset"))))
    return tmp_path


def test_rows_go_by_their_id(plus: Path) -> None:
    found = load_ptbxl_plus(plus)
    assert found.record_ids == ("1", "21803", "2")
    assert found.features["QRS_Dur_Global"].to_dict() == {"1": 90, "21803": 110, "2": 100}
    assert "ecg_id" not in found.features
    assert "PTB-XL+" in found.citation
    assert load_ptbxl_plus(plus, "unig").features.loc["1", "QRS_Dur_Global"] == 86


def test_points_of_all_leads_are_in_one_grid_of_beats(plus: Path) -> None:
    marks = load_ptbxl_plus(plus).fiducials[0]
    assert marks.leads == ("I", "aVR", "V2")
    assert marks.n_beats == 3
    assert "ECGdeli" in marks.method
    expected = np.array([[(peak + at) / 500 for at in BEAT.values()] for peak in PEAKS])
    assert tuple(NOTES.values()) == MARKS
    np.testing.assert_allclose(marks.times[0], expected)
    np.testing.assert_allclose(marks["V2", "R_peak"], (np.array(PEAKS) - 9) / 500)
    assert np.isnan(marks["V2", "T_peak"][0])
    assert np.isnan(marks["V2", "P_onset"][2])
    # aVR's second beat has no R peak: nothing of it is told, and its neighbours keep their own marks.
    np.testing.assert_allclose(marks["aVR", "R_peak"], [408 / 500, np.nan, 1218 / 500])
    assert marks.absent["aVR", 1, "QRS"] == "not marked by ECGdeli"
    np.testing.assert_allclose(marks["aVR", "P_peak"], [338 / 500, np.nan, 1148 / 500])
    np.testing.assert_allclose(marks["aVR", "T_peak"], [538 / 500, np.nan, 1348 / 500])


def test_a_record_without_points_and_a_file_of_something_else(plus: Path) -> None:
    found = load_ptbxl_plus(plus)
    with pytest.raises(InputError, match="no points of any lead"):
        found.fiducials[1]
    annotate(plus / "fiducial_points" / "ecgdeli" / "00000" / "00002_points_lead_I.hea", "atr", [(5, "N", "")])
    with pytest.raises(FormatError, match="no R peak"):
        found.fiducials[2]


def test_wrong_tables_and_sources(plus: Path) -> None:
    with pytest.raises(UsageError, match="12sl, unig, ecgdeli"):
        load_ptbxl_plus(plus, "glasgow")
    with pytest.raises(InputError, match="nothing there"):
        load_ptbxl_plus(plus, "ecgdeli")
    table = plus / "features" / "12sl_features.csv"
    table.write_text("HR\n60\n")
    with pytest.raises(TableError):
        load_ptbxl_plus(plus)
    table.write_text("ecg_id,HR\n1,60\n1,61\n")
    with pytest.raises(TableError, match="more than once"):
        load_ptbxl_plus(plus)


def test_a_mark_far_from_any_r_peak_is_nobodys(plus: Path) -> None:
    path = plus / "fiducial_points" / "ecgdeli" / "00000" / "00002_points_lead_II.hea"
    annotate(path, "atr", [(10, "+", "p-wave peak"), (400, "+", "R peak"), (900, "+", "t-wave peak")])
    marks = load_ptbxl_plus(plus).fiducials[2]
    assert int((~np.isnan(marks.times)).sum()) == 1
