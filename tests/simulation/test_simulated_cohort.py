# SPDX-License-Identifier: Apache-2.0
"""Simulated ECGs and cohorts: the same whatever the order, evidence by its definition, people kept whole."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from time import process_time

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.leads import STANDARD_LEADS, limb_residual
from ecglens.simulation import (
    CONDITIONS,
    DEFAULT_CLASSES,
    Demographics,
    Noise,
    Shortcut,
    simulate_cohort,
    simulate_ecg,
)  # fmt: skip

CLASSES = ("NORM", "IMI", "CLBBB")


# ---------------------------------------------------------------- one ECG


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_simulated_ecg_is_an_ecg_a_reader_could_have_read(condition):
    made = simulate_ecg("x1", condition)
    ecg = made.ecg
    assert (ecg.record_id, ecg.leads, ecg.fs, ecg.n_samples, ecg.start) == ("x1", STANDARD_LEADS, 500.0, 5000, 0.0)
    assert (set(ecg.metadata), ecg.metadata["device"], made.condition) == (
        {"age", "sex", "device"},
        "simulator",
        condition,
    )
    assert 20 <= ecg.metadata["age"] <= 89
    assert ecg.metadata["sex"] in ("female", "male")
    assert not ecg.gaps.any()
    assert 0.3 < np.abs(ecg.signal).max() < 6
    assert limb_residual(ecg.signal, ecg.leads) < 1e-5
    assert 7 <= len(made.beats) == len(made.symbols) == made.fiducials.n_beats <= 24


@pytest.mark.parametrize(("fs", "duration"), [(100.0, 10.0), (257.0, 3.3), (1000.0, 2.0)])
def test_rate_and_duration(fs, duration):
    made = simulate_ecg("x1", "IMI", fs=fs, duration=duration)
    assert (made.ecg.fs, made.ecg.n_samples) == (fs, round(fs * duration))
    assert made.evidence.weight.shape == made.evidence.mask.shape == made.ecg.signal.shape


def test_without_noise_every_rate_samples_the_same_heart():
    for condition in ("CLBBB", "AFIB", "PVC"):
        fine, coarse = (simulate_ecg("x1", condition, fs=fs, noise=None) for fs in (500.0, 100.0))
        np.testing.assert_allclose(fine.ecg.signal[:, ::5], coarse.ecg.signal, atol=1e-6)
        np.testing.assert_allclose(fine.evidence.weight[:, ::5], coarse.evidence.weight, atol=1e-6)


def test_noise_is_added_to_the_same_heart_and_is_small():
    noisy, clean = simulate_ecg("x1", "IMI"), simulate_ecg("x1", "IMI", noise=None)
    difference = noisy.ecg.signal - clean.ecg.signal
    assert 0.002 < difference.std() < 0.15
    np.testing.assert_array_equal(noisy.evidence.weight, clean.evidence.weight)
    np.testing.assert_allclose(clean.ecg.signal, clean.clean, atol=1e-6)
    louder = simulate_ecg("x1", "IMI", noise=Noise(white=0.5)).ecg.signal - clean.ecg.signal
    assert louder.std() > 5 * difference.std()


def test_the_frozen_truth():
    made = simulate_ecg("x1", "IMI")
    with pytest.raises(AttributeError):
        made.fault = "none"


# ---------------------------------------------------------------- the same again


def digest(signal: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(signal).tobytes()).hexdigest()


def test_a_record_is_the_same_in_any_order():
    forth, back = simulate_cohort(9), simulate_cohort(9)
    first = [digest(forth[i].signal) for i in range(9)]
    last = [digest(back[i].signal) for i in reversed(range(9))][::-1]
    assert first == last
    assert len(set(first)) == 9


def test_a_record_is_the_same_in_another_process_and_hash_seed():
    code = (
        "import hashlib; from ecglens.simulation import simulate_ecg;"
        "simulate_ecg('other', 'IMI');"
        "m = simulate_ecg('sim-00004', 'CLBBB', seed=3);"
        "print(*(hashlib.sha256(a.tobytes()).hexdigest() for a in (m.ecg.signal, m.evidence.weight)))"
    )
    here = simulate_ecg("sim-00004", "CLBBB", seed=3)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [digest(here.ecg.signal), digest(here.evidence.weight)]


def test_a_longer_cohort_begins_with_the_shorter_one():
    short, long = simulate_cohort(10), simulate_cohort(25)
    assert long.record_ids[:10] == short.record_ids
    assert long.metadata.iloc[:10].equals(short.metadata)
    assert long.labels.iloc[:10].equals(short.labels)
    assert digest(long[7].signal) == digest(short[7].signal)


def test_seeds_names_and_noise_differ():
    made = [simulate_ecg(name, "NORM", seed=seed).ecg.signal for name, seed in (("a", 0), ("a", 1), ("b", 0))]
    assert len({digest(signal) for signal in made}) == 3
    assert np.abs(made[0] - made[1]).max() > 0.1


def test_cohort_and_single_ecg_agree():
    cohort = simulate_cohort(12, classes=CLASSES, seed=5)
    for i in (0, 4, 11):
        alone = simulate_ecg(
            cohort.record_ids[i], condition_of(cohort, i), patient_id=cohort.metadata["patient_id"].iloc[i], seed=5
        )
        np.testing.assert_array_equal(cohort[i].signal, alone.ecg.signal)
        np.testing.assert_array_equal(cohort.fiducials[i].times, alone.fiducials.times)
        np.testing.assert_array_equal(cohort.evidence[i].weight, alone.evidence.weight)
        assert dict(cohort[i].metadata) == dict(alone.ecg.metadata)


def condition_of(cohort, i: int) -> str:
    superclass = cohort.labels.columns[cohort.labels.to_numpy()[i].argmax()]
    return next(key for key in CLASSES if CONDITIONS[key].superclass == superclass)


def test_a_cohort_survives_the_way_to_a_worker():
    cohort = simulate_cohort(5)
    again = pickle.loads(pickle.dumps(cohort))
    np.testing.assert_array_equal(again[3].signal, cohort[3].signal)
    np.testing.assert_array_equal(again.evidence[3].mask, cohort.evidence[3].mask)


# ---------------------------------------------------------------- people


def shape_of_beat(made) -> np.ndarray:
    """Return the leads at the main deflection, relative to their size [lead]: rotation and gains, not breath."""
    at = made.ecg.signal[:, np.rint(made.beats[1:-1] * made.ecg.fs).astype(int)].mean(axis=1)
    return at / np.linalg.norm(at)


def test_sessions_of_a_person_are_closer_than_people_and_not_the_same():
    within, between = [], []
    for k in range(12):
        first, second = (simulate_ecg(f"{r}{k}", "NORM", patient_id=f"p{k}", noise=None) for r in "ab")
        other = simulate_ecg(f"c{k}", "NORM", patient_id=f"q{k}", noise=None)
        within.append(np.abs(shape_of_beat(first) - shape_of_beat(second)).max())
        between.append(np.abs(shape_of_beat(first) - shape_of_beat(other)).max())
        assert first.beats[0] != second.beats[0]
        assert dict(first.ecg.metadata) == dict(second.ecg.metadata)
    assert 0.005 < np.median(within) < 0.45 * np.median(between)


def test_everybody_can_come_several_times_weeks_apart():
    cohort = simulate_cohort(30, sessions=3)
    people = cohort.metadata.groupby("patient_id")
    assert (people.size() == 3).all()
    assert (people["session"].apply(list).map(tuple) == (1, 2, 3)).all()
    for _, dates in people["date"]:
        days = np.diff(np.array(list(dates), dtype="datetime64[D]")).astype(int)
        assert ((days >= 14) & (days <= 84)).all()
    parts = cohort.split(by="date", dates={"early": ("2020-01-01", "2021-01-01"), "late": ("2021-01-01", "2024-01-01")})
    assert sum(len(part) for part in parts.values()) == 30


def test_a_diagnosis_can_be_tied_to_age_and_sex_on_demand():
    old_women = Demographics(age=75.0, age_sd=5.0, women=1.0)
    about = simulate_cohort(60, classes=CLASSES, demographics={"IMI": old_women}).metadata
    ill = about["conditions"] == "IMI"
    assert about["age"][ill].mean() > about["age"][~ill].mean() + 8
    assert set(about["sex"][ill]) == {"female"}


# ---------------------------------------------------------------- the cohort


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(600, classes=CLASSES)


def test_columns_and_words(cohort):
    assert (cohort.name, cohort.label_rule) == ("simulated", "simulated truth (seed 0)")
    assert cohort.record_ids[0] == "sim-00001"
    assert cohort.record_ids[-1] == "sim-00600"
    assert cohort.classes == ("NORM", "MI", "CD")
    assert set(cohort.metadata["device"]) == {"simulator"}
    assert set(cohort.metadata["sex"]) == {"female", "male"}
    for name in ("Dower", "Goldberger", "Sameni", "McSharry"):
        assert name in cohort.citation
    assert (len(cohort.fiducials), cohort.excluded, len(cohort.evidence)) == (600, (), 600)


def test_one_condition_each_in_equal_shares(cohort):
    labels = cohort.labels.to_numpy()
    assert (labels.sum(axis=1) == 1).all()
    assert labels.sum(axis=0).tolist() == [200, 200, 200]


def test_subdiagnostic_labels_and_chosen_classes():
    sub = simulate_cohort(40, classes=("CLBBB", "NORM"), task="subdiagnostic", seed=2)
    assert (sub.classes, sub.label_rule) == (("CLBBB", "NORM"), "simulated truth (seed 2)")
    assert not sub.evidence[int(sub.labels["NORM"].argmax())].mask.any()
    assert sub.evidence[int(sub.labels["CLBBB"].argmax())].mask.any()


def test_labels_are_the_truth_of_the_signal(cohort):
    for i in range(30):
        condition = condition_of(cohort, i)
        loud = cohort.evidence[i].mask.any(axis=0).mean()
        assert {"NORM": loud == 0, "IMI": 0 < loud < 0.15, "CLBBB": loud > 0.2}[condition]


def test_some_people_come_twice_with_one_condition(cohort):
    people = cohort.metadata.groupby("patient_id")
    assert people.size().value_counts().to_dict() == {1: 300, 2: 150}
    assert (people[["age", "sex", "fold", "conditions"]].nunique() == 1).all().all()
    assert (cohort.labels.groupby(cohort.metadata["patient_id"]).nunique() == 1).all().all()
    assert cohort.n_patients == 450


def test_folds_hold_whole_people_and_each_class_alike(cohort):
    parts = cohort.split(by="fold")
    assert [len(part) for part in parts.values()] == pytest.approx([480, 60, 60], abs=3)
    table = cohort.labels.groupby(cohort.metadata["fold"]).sum()
    assert table.index.tolist() == list(range(1, 11))
    assert table.to_numpy().min() >= 16


@pytest.mark.parametrize("n", [16, 30, 60])
def test_a_small_cohort_fills_all_folds(n):
    assert set(simulate_cohort(n).metadata["fold"]) == set(range(1, 11))


def test_people_of_another_seed_are_other_people():
    assert set(simulate_cohort(20, seed=0).patient_keys).isdisjoint(simulate_cohort(20, seed=1).patient_keys)


def test_age_and_sex_do_not_give_the_condition_away(cohort):
    means = [cohort.metadata["age"][cohort.labels[name] == 1].mean() for name in cohort.classes]
    women = [(cohort.metadata["sex"][cohort.labels[name] == 1] == "female").mean() for name in cohort.classes]
    assert np.ptp(means) < 5
    assert np.ptp(women) < 0.2


def test_the_smallest_cohorts():
    for n in (1, 2):
        assert len(list(simulate_cohort(n))) == n


def test_making_and_reading_is_quick(cohort):
    start = process_time()
    for i in range(30):
        _ = cohort[i]
    assert (process_time() - start) / 30 < 0.1  # about 8 ms; the bound allows for a slow, shared machine


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n": 0}, "at least 1"),
        ({"n": 2.5}, "at least 1"),
        ({"classes": ("NORM", "AMII")}, "found AMII; allowed: NORM, IMI, .* did you mean (AMI|LMI|IMI)"),
        ({"classes": ()}, "found none"),
        ({"classes": ("AFIB", "PVC")}, "subdiagnostic"),
        ({"classes": ("NORM", "PVC"), "duration": 3.0}, "5 s or more for PVC"),
        ({"comorbidity": 1.5}, "0 to 1"),
        ({"sessions": 0}, "at least 1"),
        ({"mode": "B", "lead": "aVL"}, "sums of I and II"),
        ({"mode": "C"}, "shortcut"),
        ({"shortcut": Shortcut("MI")}, "only with it"),
        ({"mode": "C", "shortcut": Shortcut("XX")}, "NORM, MI"),
        ({"mode": "C", "shortcut": Shortcut("MI", mark="hum"), "fs": 100.0}, "112 Hz"),
        ({"severity": (-0.1, 1.0)}, "0 to 1"),
        ({"severity": (0.5, 0.2)}, "lowest first"),
        ({"severity": (float("nan"), 1.0)}, "0 to 1"),
        ({"classes": ("IMI", "IMI")}, "at most once"),
        ({"task": "rhythm"}, "superdiagnostic, subdiagnostic"),
        ({"fs": 99.0}, "100 to 4000 Hz"),
        ({"fs": 8000.0}, "100 to 4000 Hz"),
        ({"fs": float("nan")}, "100 to 4000 Hz"),
        ({"duration": 0.5}, "1 to 3600 s"),
        ({"seed": 0.5}, "whole number"),
        ({"seed": "x"}, "whole number"),
        ({"n": float("nan")}, "whole number"),
        ({"n": float("inf")}, "whole number"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments, match):
    with pytest.raises(UsageError, match=match):
        simulate_cohort(**arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"condition": "MI"}, "NORM, IMI"),
        ({"condition": ("IMI", "IMI")}, "at most once"),
        ({"rate": 10.0}, "30 to 220"),
        ({"rate": 400.0}, "30 to 220"),
        ({"qtc": 100.0}, "250 ms or more"),
        ({"rate": 150.0, "qtc": 600.0}, "shorter than RR"),
        ({"age": 7}, "20 to 89"),
        ({"sex": "f"}, "female, male"),
        ({"fault": "rust"}, "limb_reversal"),
    ],
)
def test_impossible_hearts_are_refused(arguments, match):
    with pytest.raises(UsageError, match=match):
        simulate_ecg("x", **({"condition": "NORM"} | arguments))


def test_negative_noise_is_refused():
    with pytest.raises(UsageError, match="white"):
        Noise(white=-1.0)


# ---------------------------------------------------------------- the default and combinations


def test_the_default_has_all_five_superclasses_alike():
    cohort = simulate_cohort(200)
    assert cohort.classes == ("NORM", "MI", "STTC", "CD", "HYP")
    assert cohort.labels.sum().tolist() == [40.0] * 5
    assert set(cohort.metadata["conditions"]) == set(DEFAULT_CLASSES)


def test_some_of_the_ill_have_a_second_finding():
    cohort = simulate_cohort(300, comorbidity=0.5)
    pairs = cohort.metadata["conditions"].str.contains(";")
    assert 0.2 < pairs.mean() < 0.45  # of the four fifths who are ill and have a possible companion
    assert not pairs[cohort.labels["NORM"] == 1].any()
    assert cohort.labels.sum(axis=1).max() == 2
    assert "50% of the ill with a second condition" in cohort.label_rule


def test_a_cohort_draws_its_severities_from_the_range_and_says_so():
    some = {"classes": CLASSES, "noise": None, "duration": 3.0, "fs": 100.0}
    cohort, textbook = simulate_cohort(60, severity=(0.2, 0.6), **some), simulate_cohort(60, **some)
    ill = np.flatnonzero(cohort.labels["NORM"] == 0)
    share = [cohort.evidence[i].weight.sum() / textbook.evidence[i].weight.sum() for i in ill]
    assert 0.2 <= min(share) < 0.3
    assert 0.5 < max(share) <= 0.6001
    assert "severity 0.2 to 0.6" in cohort.label_rule
