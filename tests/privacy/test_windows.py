# SPDX-License-Identifier: Apache-2.0
"""Windows: of the right lead and person, from an R peak on, never across a blank, prepared as the recipe says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.datasets.records import credit
from ecglens.ecg import ECG
from ecglens.errors import InputError, UsageError
from ecglens.formats.wfdb import write_wfdb
from ecglens.preprocessing.pipeline import Median, MinMax, Preprocessing
from ecglens.privacy.windows import (
    AGE_GROUPS,
    PREPARATIONS,
    accepted_leads,
    age_group,
    clean_stretches,
    count_age_groups,
    cut_windows,
)
from ecglens.waveform.rpeaks import RPeaks

from .conftest import people_cohort


def with_records(cohort: Cohort, change) -> Cohort:
    return replace(cohort, records=[change(ecg) for ecg in cohort])


def test_windows_are_the_recipe_step_by_step():
    cohort = people_cohort(1, 1)
    made = cut_windows([cohort], preparation="amplitude")
    filtered = sosfiltfilt(butter(4, [0.5, 40], "bandpass", fs=250, output="sos"), cohort[0].signal[0].astype(float))
    expected = median_filter(filtered, size=3, mode="nearest")
    for row, signal in zip(made.table.itertuples(), made.signal, strict=True):
        first = round(row.start * 250)
        np.testing.assert_allclose(signal[0], expected[first : first + 2000], atol=2e-6)
        assert row.stop == row.start + 8
    scaled = cut_windows([cohort]).seen()
    for window, signal in zip(scaled[:, 0], made.signal[:, 0], strict=True):
        np.testing.assert_allclose(window, (signal - signal.min()) / (signal.max() - signal.min()), atol=1e-5)


def test_each_window_begins_before_an_r_peak_and_none_overlap():
    cohort = people_cohort(2, 1, seconds=60)
    made = cut_windows([cohort])
    assert len(made) == 14
    for _, rows in made.table.groupby("person"):
        assert (rows["start"].to_numpy()[1:] >= rows["stop"].to_numpy()[:-1]).all()
    peaks = made.signal[:, 0, :100].argmax(axis=1)  # the first R peak lies 0.2 s after the beginning
    assert (np.abs(peaks - 50) <= 5).mean() > 0.9


def test_windows_are_shared_out_evenly_over_people_recordings_and_time():
    one_long, many = people_cohort(1, 1, 200, "long"), people_cohort(1, 9, name="many", first=5)
    made = cut_windows([one_long, many], per_person=6)
    counts = made.table.groupby("person").size()
    assert counts.tolist() == [6, 6]
    long = made.table[made.table["database"] == "long"]
    assert long["start"].min() < 10
    assert long["stop"].max() > 190
    used = set(made.table[made.table["database"] == "many"]["record"])
    assert len(used) == 6
    left_out = {entry.record_id for entry in made.excluded}  # more records than windows: nothing goes silently
    assert [entry.kind for entry in made.excluded] == ["beyond_cap"] * 3
    assert {f"many:{name}" for name in left_out} | used == {f"many:{name}" for name in many.record_ids}
    assert len(cut_windows([many], per_person=100)) == 18  # no more than there are


def test_nothing_is_filtered_across_a_blank():
    blank = people_cohort(1, 1, 40)
    for value in (np.nan, -3.0):

        def spoil(ecg: ECG, value=value) -> ECG:
            signal = ecg.signal.copy()
            signal[0, 3000:4000] = value  # 12 to 16 s
            return replace(ecg, signal=signal)

        made = cut_windows([with_records(blank, spoil)], preparation="amplitude")
        assert len(made)
        assert ((made.table["stop"] <= 12) | (made.table["start"] >= 16)).all()
        kept = cut_windows([with_records(blank, lambda ecg: ecg.crop(16, 40))], preparation="amplitude")
        after = made.table["start"] >= 16
        np.testing.assert_allclose(made.signal[after.to_numpy()], kept.signal, atol=1e-6)


def test_what_is_blank():
    fs, ramp = 100.0, np.arange(500.0)
    flat = ramp.copy()
    flat[100:199] = 7.0  # 0.99 s: a flat stretch of a heart
    assert clean_stretches(flat, fs) == [(0, 500)]
    flat[100:200] = 7.0
    assert clean_stretches(flat, fs) == [(0, 100), (200, 500)]
    gap = ramp.copy()
    gap[:10] = np.nan
    assert clean_stretches(gap, fs) == [(0, 500)]  # short enough to be bridged
    gap[:11] = np.nan
    assert clean_stretches(gap, fs) == [(11, 500)]
    assert clean_stretches(np.zeros(500), fs) == []


def test_what_gives_no_window_is_left_out_with_its_reason():
    cohort = people_cohort(5, 1)
    records = [replace(ecg, signal=ecg.signal[:, :1750]) for ecg in cohort]  # 7 s
    records[0], records[1] = cohort[0], replace(cohort[1], signal=0 * cohort[1].signal)
    made = cut_windows([replace(cohort, records=records)])
    assert made.n_people == 1
    assert [entry.kind for entry in made.excluded] == ["too_short"] * 4
    assert "found no 8 s without a blank" in made.excluded[0].reason
    unknown = people_cohort(2, 1)
    unknown = replace(unknown, metadata=unknown.metadata.assign(patient_id=[None, "1"]))
    assert [entry.kind for entry in cut_windows([unknown]).excluded] == ["unknown_patient"]


def test_a_data_set_that_gives_no_window_is_refused_and_nobody_named(tmp_path: Path):
    """It would go without a word, and the figures be those of the others."""
    good = people_cohort(3, 1, name="good")
    other = people_cohort(3, 1, name="other", first=5)
    other = with_records(other, lambda ecg: two_leads(ecg, ("V1", "V2") if ecg.record_id == "p5r0" else ("V1", "V5")))

    def refusal(*cohorts: Cohort, **how) -> str:
        with pytest.raises(InputError) as caught:
            cut_windows(cohorts, **how)
        assert caught.value.kind == "no_records"
        assert not re.search(r"p\d+r\d", str(caught.value))
        return str(caught.value)

    assert refusal(good, other, lead="I") == (
        "other: lead: found no I in 3 of 3 records; allowed: V1, V5, V2; to do: --lead auto, or leave this data set out"
    )
    assert refusal(with_records(replace(other, name="mitdb"), lambda e: replace(e, leads=("V1", "V2")))).endswith(
        "found no MLII or V5 in 3 of 3 records; allowed: V1, V2; to do: name one of these (--lead)"
    )
    assert "no II in 4 of 4 records;" in refusal(people_cohort(2, 3), lead="II", per_person=2)  # two were not looked at
    short = with_records(people_cohort(3, 1, name="short"), lambda ecg: ecg.crop(0, 7))
    assert refusal(good, short).endswith(
        "found 3 records, none usable: no 8 s without a blank; allowed: at least one; "
        "to do: give recordings with 8 s or more without a blank (missing samples, or one value for a second), "
        "or leave this data set out"
    )
    assert refusal(short).endswith("or one value for a second)")
    other_leads = [replace(short[0], leads=("II",)), *(replace(ecg, leads=("V1",)) for ecg in list(good)[1:])]
    told = refusal(replace(good, records=other_leads), lead="II")
    assert "found no II in 2 of 3 records, and none usable; allowed: V1; to do: --lead auto" in told
    both = replace(short, records=[short[0], *(replace(ecg, signal=99 * ecg.signal) for ecg in list(good)[1:])])
    assert "none usable: 2 (too large or too small for mV), 1 (no 8 s without a blank)" in refusal(both)
    nobody = {"patient_id": None}
    unknown = replace(good, metadata=good.metadata.assign(**nobody))
    assert refusal(unknown).endswith("whose they are is not known; allowed: at least one; "
                                     "to do: give data that say whose each is")  # fmt: skip
    own = own_folder(good, tmp_path / "own", **nobody)
    assert refusal(own).startswith("own: records: found 3 records")
    assert refusal(own).endswith("to do: say whose each is in a column `patient_id` of people.csv")


def own_folder(cohort: Cohort, folder: Path, **changed) -> Cohort:
    """Write a cohort as a folder of one's own, and load it."""
    files = [write_wfdb(ecg, folder).name for ecg in cohort]
    cohort.metadata.assign(file=files, **changed).to_csv(folder / "people.csv", index=False)
    return load_cohort(folder)


def test_folders_of_one_name_are_different_people_and_one_folder_twice_is_refused(tmp_path: Path):
    cohorts = [own_folder(people_cohort(2, 1, first=9 * k), tmp_path / place / "ecgs") for k, place in enumerate("ab")]
    third = own_folder(people_cohort(2, 1, first=5), tmp_path / "ecgs-2")
    made = cut_windows([*cohorts, third]).table
    assert list(made["database"].unique()) == ["ecgs", "ecgs-3", "ecgs-2"]
    same = [replace(c, metadata=c.metadata.assign(patient_id=["1", "2"])) for c in cohorts]
    assert sorted(cut_windows(same).table["person"].unique()) == ["ecgs-2:1", "ecgs-2:2", "ecgs:1", "ecgs:2"]
    (tmp_path / "c").symlink_to(tmp_path / "a")
    for again in (tmp_path / "a" / "ecgs", tmp_path / "c" / "ecgs"):
        with pytest.raises(UsageError, match="ecgs twice; allowed: each data set once; to do: name it once"):
            cut_windows([cohorts[0], load_cohort(again)])
    published = [replace(cohort, name="mitdb", citation=credit("mitdb")) for cohort in cohorts]
    with pytest.raises(UsageError, match="mitdb twice"):  # two copies of it
        cut_windows(published)
    assert cut_windows([published[0], replace(cohorts[1], name="mitdb")], lead="I").table["database"].nunique() == 2


@pytest.mark.parametrize(
    ("peaks", "start"),
    [
        ([25, 600], 0),  # no room before the first, nor for 2,000 samples behind the next
        ([580, 900], 500),
        ([5, 551], 500),  # one sample off, where the first would be 45 off
        ([5, 300], 250),  # one fits
    ],
)
def test_nobody_is_left_out_for_where_their_beats_lie(
    peaks: list[int], start: int, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    one = with_records(people_cohort(1, 1), lambda e: replace(e, signal=e.signal[:, :2500]))
    found = RPeaks(np.array(peaks), np.array(peaks) / 250, np.ones(len(peaks)), "pan_tompkins", ("I",))
    monkeypatch.setattr("ecglens.privacy.windows.detect_r_peaks", lambda *_: found)
    made = cut_windows([one])
    assert (made.table["start"] * 250).tolist() == [start]
    assert not made.excluded
    assert made.signal.shape == (1, 1, 2000)


def test_the_lead_of_each_database():
    assert accepted_leads("mitdb", ["mitdb"]) == ("MLII", "V5")
    assert accepted_leads("ludb", ["ludb", "ptbxl"]) == ("II", "I")
    assert accepted_leads("ludb", ["ludb", "ecgiddb"]) == ("I", "II")
    assert accepted_leads("butqdb", ["butqdb"]) == ()
    assert accepted_leads("ecgiddb", ["ecgiddb"], "V2") == ("V2",)


def two_leads(ecg: ECG, names: tuple[str, str]) -> ECG:
    return replace(ecg, signal=np.concatenate([ecg.signal, 2 * ecg.signal]), leads=names)


def test_the_first_lead_there_is_of_those_that_may_stand_for_a_database():
    cohort = replace(people_cohort(2, 1), name="mitdb")
    records = [two_leads(cohort[0], ("V1", "MLII")), two_leads(cohort[1], ("V5", "V2"))]
    made = cut_windows([replace(cohort, records=records)])
    assert made.table.groupby("person")["lead"].first().tolist() == ["MLII", "V5"]
    asked = cut_windows([replace(cohort, records=records)], lead="V1")
    assert asked.n_people == 1
    assert [entry.kind for entry in asked.excluded] == ["missing_lead"]
    assert asked.excluded[0].reason.endswith("found no V1; allowed: V5, V2; to do: name one of these (--lead)")


def test_people_are_those_of_their_database_and_recordings_those_of_the_loader():
    cohort = people_cohort(2, 2)
    cohort = replace(cohort, metadata=cohort.metadata.assign(recording=["x", "x", "y", "z"]))
    made = cut_windows([cohort, replace(cohort, name="other")])
    assert sorted(made.table["person"].unique()) == ["other:0", "other:1", "toy:0", "toy:1"]
    assert sorted(made.table["recording"].unique()) == [f"{d}:{r}" for d in ("other", "toy") for r in "xyz"]
    with pytest.raises(UsageError, match="twice"):
        cut_windows([cohort, cohort])


@pytest.mark.parametrize("wrong", [{"preparation": "raw"}, {"per_person": 0}])
def test_what_cannot_be_asked_for(wrong: dict):
    with pytest.raises(UsageError):
        cut_windows([people_cohort(1, 1)], **wrong)


def test_age_groups_hold_whole_years():
    borders = [0, 18.9, 19, 35.9, 36, 50.9, 51, 65.9, 66, 120]
    assert [age_group(age) for age in borders] == [group for group in AGE_GROUPS for _ in range(2)]
    assert age_group(-1) is None
    assert age_group(float("nan")) is None
    counted = count_age_groups(cut_windows([people_cohort(4, 2)]).table)
    assert counted == {"0-18": 0, "19-35": 2, "36-50": 1, "51-65": 1, "66+": 0, "unknown": 0}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_preparation_travels_as_json(name: str):
    recipe = PREPARATIONS[name].preprocessing("I")
    assert Preprocessing.from_config(recipe.as_config()) == recipe


def test_new_steps_do_what_they_say():
    signal = np.array([[[0.0, 0, 9, 0, 4, 4, 4]]], np.float32)
    assert Median(0.03).apply(signal, 100)[0][0, 0].tolist() == [0, 0, 0, 4, 4, 4, 4]
    assert Median(0.001).apply(signal, 100)[0][0, 0].tolist() == [0, 0, 0, 4, 4, 4, 4]  # three samples at least
    two = np.array([[[1.0, 3], [5, 5]]], np.float32)
    assert MinMax("lead").apply(two, 100)[0].tolist() == [[[0, 1], [0, 0]]]
    assert MinMax("record").apply(two, 100)[0].tolist() == [[[0, 0.5], [1, 1]]]
    for wrong in (lambda: Median(0), lambda: Median(float("inf")), lambda: MinMax("window")):
        with pytest.raises(UsageError):
            wrong()
