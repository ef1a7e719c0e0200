# SPDX-License-Identifier: Apache-2.0
"""Controls catch what is planted: one person twice, a database that gives the label away, labels that mean nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly

from ecglens.cohort import Cohort
from ecglens.errors import LeakError
from ecglens.privacy.controls import controls, shuffled_by_person, shuffled_labels, spectra
from ecglens.privacy.duplicates import _Shifted, _to_compare, alike_people, refuse_doubled_recordings
from ecglens.privacy.windows import cut_windows

from .conftest import people_cohort


def with_records(cohort: Cohort, change) -> Cohort:
    return replace(cohort, records=[change(ecg) for ecg in cohort])


def test_one_recording_under_two_peoples_names_is_refused():
    cohort = people_cohort(3, 1)
    copied = replace(cohort, records=[cohort[0], cohort[1], replace(cohort[0], record_id="p2r0")])
    made = cut_windows([copied])
    with pytest.raises(LeakError, match="1 recording of toy under two names") as caught:
        refuse_doubled_recordings(made.table)
    assert caught.value.kind == "duplicate_people"
    refuse_doubled_recordings(cut_windows([cohort]).table)


def test_a_person_of_another_database_is_found_though_scaled_resampled_and_cut_elsewhere():
    ours, theirs = people_cohort(6, 1), people_cohort(6, 1, name="other", first=20)

    def disguised(ecg):
        signal = resample_poly(ecg.signal[0, 300:], 2, 1)[None] * 0.5 + 0.002
        return replace(ecg, signal=signal.astype(np.float32), fs=500.0)

    stolen = [disguised(ours[2]), *list(theirs)[1:]]
    made = cut_windows([ours, replace(theirs, records=stolen)])
    assert alike_people(made).pairs == (("other:20", "toy:2"),)
    assert alike_people(cut_windows([ours, theirs])).pairs == ()


def test_a_person_is_found_by_windows_that_are_not_the_first_of_any_recording():
    ours, theirs = people_cohort(3, 1, seconds=60.0), people_cohort(3, 1, seconds=60.0, name="other", first=20)
    later = replace(ours[1], signal=np.concatenate([theirs[0].signal[:, :5000], ours[1].signal[:, 5000:]], axis=1))
    made = cut_windows([ours, replace(theirs, records=[theirs[0], replace(later, record_id="x"), theirs[2]])])
    told = alike_people(made)
    assert set(told.pairs) == {("other:20", "other:21"), ("other:21", "toy:1")}
    assert told.n_windows == told.n_of == len(made)
    assert alike_people(made.take(np.flatnonzero(~made.table.duplicated("recording")))).pairs != told.pairs


def test_where_windows_are_too_many_the_first_of_each_recording_are_compared_and_then_those_of_everybody():
    made = cut_windows([people_cohort(4, 2, seconds=60.0)])
    assert len(made) > 40
    told = alike_people(made, most=12)
    assert (told.n_windows, told.n_of) == (12, len(made))
    chosen = made.table.iloc[_to_compare(made.table, 12)]
    assert chosen["recording"].nunique() == 8
    assert chosen["person"].value_counts().tolist() == [3, 3, 3, 3]
    assert alike_people(made, most=1).n_windows == 8


def test_likeness_is_the_correlation_at_the_best_shift():
    random = np.random.default_rng(0)
    signal = np.cumsum(random.normal(size=(3, 400)), axis=1)
    signal[2] = np.r_[random.normal(size=100), signal[0, :300]]  # cut a hundred samples later
    looked = _Shifted.of(signal, (2.0, 1))
    slow = gaussian_filter1d(signal, 2.0, axis=1)
    slow -= slow.mean(axis=1, keepdims=True)

    def by_hand(a: np.ndarray, b: np.ndarray) -> float:
        parts = [(a[max(s, 0) : 400 + min(s, 0)], b[max(-s, 0) : 400 - max(s, 0)]) for s in range(-200, 200)]
        return max(float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in parts)

    told = looked.likeness(0, np.array([1, 2]))
    assert told == pytest.approx([by_hand(slow[0], slow[1]), by_hand(slow[0], slow[2])], abs=1e-4)


def test_two_recordings_of_one_person_are_no_two_people():
    cohort = people_cohort(2, 2)
    same = replace(cohort, records=[cohort[0], cohort[0], cohort[2], cohort[3]])
    assert alike_people(cut_windows([same])).pairs == ()


def shortcut() -> list[Cohort]:
    """Women in one database, men in the other, which has mains noise: the label can be read off the recorder."""
    women, men = people_cohort(15, 1, name="women"), people_cohort(15, 1, name="men", first=40)
    hum = 0.1 * np.sin(2 * np.pi * 35 * np.arange(5000) / 250).astype(np.float32)
    men = with_records(men, lambda ecg: replace(ecg, signal=ecg.signal + hum))
    few = {0: "male", 1: "male"}
    return [
        replace(women, metadata=women.metadata.assign(sex=[few.get(i, "female") for i in range(15)])),
        replace(men, metadata=men.metadata.assign(sex=["female" if i in few else "male" for i in range(15)])),
    ]


def test_a_shortcut_through_the_database_is_seen():
    made = cut_windows(shortcut())
    told = controls(made, made.table["sex"], n_resamples=200)
    assert told["database_prediction"]["low"] > 0.8
    assert told["label_from_database"]["value"] == pytest.approx(26 / 30)
    assert told["label_from_database"]["chance"] == 0.5
    for each in told["leave_one_database_out"].values():  # nothing else tells the sex of these
        assert each["low"] < 0.5 < each["high"]
    assert told["shuffled_labels"]["low"] < 0.5 < told["shuffled_labels"]["high"]


def test_without_a_shortcut_there_is_none():
    made = cut_windows([people_cohort(16, 1), people_cohort(16, 1, name="other", first=40)])
    told = controls(made, made.table["sex"], n_resamples=200)
    assert told["database_prediction"]["low"] < 0.5 < told["database_prediction"]["high"]
    assert told["label_from_database"]["value"] < 0.6


def with_sexes(cohort: Cohort, n_men: int) -> Cohort:
    sexes = ["male" if i < n_men else "female" for i in range(len(cohort))]
    return replace(cohort, metadata=cohort.metadata.assign(sex=sexes))


@pytest.mark.parametrize(
    ("men", "expected"),
    [((8, 8), 0.5), ((16, 0), 1.0), ((4, 0), (4 / 4 + 16 / 28) / 2), ((15, 1), 15 / 16)],
)
def test_a_database_tells_of_the_label_what_it_holds(men: tuple[int, int], expected: float):
    cohorts = [people_cohort(16, 1), people_cohort(16, 1, name="other", first=40)]
    made = cut_windows([with_sexes(cohort, n) for cohort, n in zip(cohorts, men, strict=True)])
    told = controls(made, made.table["sex"], n_resamples=100)["label_from_database"]
    assert told["value"] == pytest.approx(expected)  # in the third both databases are mostly women, and tell it still
    assert told["low"] <= told["value"] <= told["high"]


def test_of_one_database_or_of_people_only_what_applies_is_told():
    made = cut_windows([people_cohort(5, 1)])
    told = controls(made, None, n_resamples=50)
    assert told["duplicate_people"] == {"n": 0, "n_windows": len(made), "n_windows_in_all": len(made)}
    assert {key for key, value in told.items() if value is None} == set(told) - {"duplicate_people"}


def test_labels_are_shuffled_among_people_not_among_windows():
    made = cut_windows([people_cohort(12, 3)])
    labels = made.table["sex"].to_numpy()
    dealt = shuffled_by_person(labels, made.table, 1)
    by_person = made.table.assign(dealt=dealt).groupby("person")["dealt"]
    assert (by_person.nunique() == 1).all()
    assert sorted(by_person.first()) == sorted(made.table.groupby("person")["sex"].first())
    assert (dealt != labels).any()


def test_labels_are_shuffled_often_and_lie_about_chance():
    """One deal may lie a tenth and more from chance, of so few people; all of them together do not."""
    made = cut_windows([people_cohort(12, 3)])
    x, sexes = spectra(made), made.table["sex"].to_numpy()
    told = shuffled_labels(x, sexes, made.table, 0)
    assert told == controls(made, made.table["sex"], n_resamples=50)["shuffled_labels"]
    assert set(told) == {"value", "low", "high", "chance", "n_deals", "far_from_chance"}
    assert told["n_deals"] == 40
    assert told["chance"] == 0.5
    assert told["low"] < 0.4 < told["value"] < 0.6 < told["high"]
    assert not told["far_from_chance"]
    assert shuffled_labels(x, sexes, made.table, 1) != told  # other deals


def test_a_plain_model_that_was_told_of_the_people_is_flagged(monkeypatch: pytest.MonkeyPatch):
    made = cut_windows([people_cohort(12, 3)])

    def leaking(x: np.ndarray, y: np.ndarray, table: object, classes: np.ndarray, seed: int) -> np.ndarray:
        return (y.astype(str)[:, None] == classes).astype(float)

    monkeypatch.setattr("ecglens.privacy.controls._of_unseen", leaking)
    told = shuffled_labels(spectra(made), made.table["sex"].to_numpy(), made.table, 0)
    assert told["far_from_chance"]
    assert told["low"] == told["value"] == 1
