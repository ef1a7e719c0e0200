# SPDX-License-Identifier: Apache-2.0
"""Simulated ECGs and cohorts: the same whatever the order, evidence by its definition, people kept whole."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from time import process_time

import numpy as np
import pytest

from ecglens.errors import UsageError
from ecglens.leads import STANDARD_LEADS, limb_residual
from ecglens.simulation import CONDITIONS, Noise, simulate_cohort, simulate_ecg

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
    assert 7 <= len(made.beats) <= 18
    assert made.fiducials is None


@pytest.mark.parametrize(("fs", "duration"), [(100.0, 10.0), (257.0, 3.3), (1000.0, 2.0)])
def test_rate_and_duration(fs, duration):
    made = simulate_ecg("x1", "IMI", fs=fs, duration=duration)
    assert (made.ecg.fs, made.ecg.n_samples) == (fs, round(fs * duration))
    assert made.evidence.shape == made.ecg.signal.shape


def test_without_noise_every_rate_samples_the_same_heart():
    fine, coarse = (simulate_ecg("x1", "CLBBB", fs=fs, noise=None) for fs in (500.0, 100.0))
    np.testing.assert_allclose(fine.ecg.signal[:, ::5], coarse.ecg.signal, atol=1e-6)
    np.testing.assert_allclose(fine.evidence[:, ::5], coarse.evidence, atol=1e-6)


def test_noise_is_added_to_the_same_heart_and_is_small():
    noisy, clean = simulate_ecg("x1", "IMI"), simulate_ecg("x1", "IMI", noise=None)
    difference = noisy.ecg.signal - clean.ecg.signal
    assert 0.005 < difference.std() < 0.15
    np.testing.assert_array_equal(noisy.evidence, clean.evidence)
    louder = simulate_ecg("x1", "IMI", noise=Noise(white=0.5)).ecg.signal - clean.ecg.signal
    assert louder.std() > 5 * difference.std()


def test_the_frozen_truth():
    made = simulate_ecg("x1", "IMI")
    with pytest.raises(AttributeError):
        made.condition = "NORM"


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize("condition", CONDITIONS)
def test_evidence_is_with_minus_without_from_the_same_draws(condition):
    for record in ("a", "b"):
        with_lesion = simulate_ecg(record, condition, noise=None)
        without = simulate_ecg(record, "NORM", noise=None)  # the same person and beats, never ill
        np.testing.assert_array_equal(with_lesion.beats, without.beats)
        expected = np.abs(with_lesion.ecg.signal.astype(float) - without.ecg.signal)
        np.testing.assert_allclose(with_lesion.evidence, expected, atol=5e-7)
        assert with_lesion.evidence.dtype == np.float32


def since_beat(made) -> np.ndarray:
    """Time of each sample since the nearest beat, in ms; NaN near the ends, where that beat may lie outside."""
    times = made.ecg.times
    nearest = np.abs(times[:, None] - made.beats).argmin(axis=1)
    away = 1000 * (times - made.beats[nearest])
    return np.where((times < made.beats[0]) | (times > made.beats[-1]), np.nan, away)


def test_evidence_of_norm_is_zero_everywhere():
    assert not simulate_ecg("x1", "NORM").evidence.any()


@pytest.mark.parametrize("record", ["a", "b", "c", "d"])
def test_evidence_of_inferior_infarction_lies_inside_qrs(record):
    made = simulate_ecg(record, "IMI")
    away = since_beat(made)
    known = ~np.isnan(away)
    loud = (made.evidence > 0.05).any(axis=0) & known
    assert loud.any()
    assert away[loud].min() > -60  # after P, which ends at about -100 ms
    assert away[loud].max() < 20
    assert made.evidence[:, known & (np.abs(away + 20) > 100)].max() < 1e-6
    per_beat = [loud[(made.ecg.times > b - 0.06) & (made.ecg.times < b + 0.02)].any() for b in made.beats[1:-1]]
    assert all(per_beat)
    sizes = dict(zip(STANDARD_LEADS, made.evidence.max(axis=1), strict=True))
    assert min(sizes[lead] for lead in ("II", "III", "aVF")) > 3 * sizes["V6"]


@pytest.mark.parametrize("record", ["a", "b", "c", "d"])
def test_evidence_of_block_lies_in_qrs_and_t_and_not_in_p(record):
    made = simulate_ecg(record, "CLBBB")
    away = since_beat(made)
    for low, high, there in ((-50, 120, True), (150, 330, True), (-250, -110, False)):
        inside = (away > low) & (away < high)
        if not there:  # nor where the T of the beat before still sounds, in a fast heart
            times = made.ecg.times[:, None]
            inside &= ~((times - made.beats > 0) & (times - made.beats < 0.45)).any(axis=1)
        assert ((made.evidence[:, inside] > 0.05).any(axis=0).mean() > 0.5 if inside.any() else not there) == there


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
        "print(hashlib.sha256(m.ecg.signal.tobytes()).hexdigest(), hashlib.sha256(m.evidence.tobytes()).hexdigest())"
    )
    here = simulate_ecg("sim-00004", "CLBBB", seed=3)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(here.ecg.signal), digest(here.evidence)]


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
    cohort = simulate_cohort(12, seed=5)
    for i in (0, 4, 11):
        alone = simulate_ecg(
            cohort.record_ids[i], condition_of(cohort, i), patient_id=cohort.metadata["patient_id"].iloc[i], seed=5
        )
        np.testing.assert_array_equal(cohort[i].signal, alone.ecg.signal)
        np.testing.assert_array_equal(cohort.evidence[i], alone.evidence)
        assert dict(cohort[i].metadata) == dict(alone.ecg.metadata)


def condition_of(cohort, i: int) -> str:
    superclass = cohort.labels.columns[cohort.labels.to_numpy()[i].argmax()]
    return next(key for key in CLASSES if CONDITIONS[key].superclass == superclass)


def test_a_cohort_survives_the_way_to_a_worker():
    cohort = simulate_cohort(5)
    again = pickle.loads(pickle.dumps(cohort))
    np.testing.assert_array_equal(again[3].signal, cohort[3].signal)
    np.testing.assert_array_equal(again.evidence[3], cohort.evidence[3])


# ---------------------------------------------------------------- people


def shape_of_beat(made) -> np.ndarray:
    """Return the leads at the main deflection, relative to their size [lead]: rotation and gains, not breath."""
    at = made.ecg.signal[:, np.rint(made.beats[1:-1] * made.ecg.fs).astype(int)].mean(axis=1)
    return at / np.linalg.norm(at)


def test_two_records_of_a_person_share_the_body_and_not_the_rhythm():
    first, second = (simulate_ecg(r, "NORM", patient_id="p", noise=None, fs=1000.0) for r in ("a", "b"))
    other = simulate_ecg("c", "NORM", patient_id="q", noise=None, fs=1000.0)
    assert np.abs(shape_of_beat(first) - shape_of_beat(second)).max() < 0.01
    assert np.abs(shape_of_beat(first) - shape_of_beat(other)).max() > 0.03
    assert first.beats[0] != second.beats[0]
    assert dict(first.ecg.metadata) == dict(second.ecg.metadata)


# ---------------------------------------------------------------- the cohort


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(600)


def test_columns_and_words(cohort):
    assert (cohort.name, cohort.label_rule) == ("simulated", "simulated truth (seed 0)")
    assert cohort.record_ids[0] == "sim-00001"
    assert cohort.record_ids[-1] == "sim-00600"
    assert cohort.classes == ("NORM", "MI", "CD")
    assert set(cohort.metadata["device"]) == {"simulator"}
    assert set(cohort.metadata["sex"]) == {"female", "male"}
    for name in ("Dower", "Goldberger", "Sameni", "McSharry"):
        assert name in cohort.citation
    assert (cohort.fiducials, cohort.excluded, len(cohort.evidence)) == (None, (), 600)


def test_one_condition_each_in_equal_shares(cohort):
    labels = cohort.labels.to_numpy()
    assert (labels.sum(axis=1) == 1).all()
    assert labels.sum(axis=0).tolist() == [200, 200, 200]


def test_subdiagnostic_labels_and_chosen_classes():
    sub = simulate_cohort(40, classes=("CLBBB", "NORM"), task="subdiagnostic", seed=2)
    assert (sub.classes, sub.label_rule) == (("CLBBB", "NORM"), "simulated truth (seed 2)")
    assert not sub.evidence[int(sub.labels["NORM"].argmax())].any()
    assert sub.evidence[int(sub.labels["CLBBB"].argmax())].any()


def test_labels_are_the_truth_of_the_signal(cohort):
    for i in range(30):
        condition = condition_of(cohort, i)
        loud = (cohort.evidence[i] > 0.05).any(axis=0).mean()
        assert {"NORM": loud == 0, "IMI": 0 < loud < 0.12, "CLBBB": loud > 0.2}[condition]


def test_some_people_come_twice_with_one_condition(cohort):
    people = cohort.metadata.groupby("patient_id")
    assert people.size().value_counts().to_dict() == {1: 300, 2: 150}
    assert (people[["age", "sex", "fold"]].nunique() == 1).all().all()
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
        ({"classes": ("NORM", "AMI")}, "found AMI; allowed: each of NORM, IMI, CLBBB"),
        ({"classes": ()}, "found none"),
        ({"classes": ("IMI", "IMI")}, "at most once"),
        ({"task": "rhythm"}, "superdiagnostic, subdiagnostic"),
        ({"fs": 99.0}, "100 to 4000 Hz"),
        ({"fs": 8000.0}, "100 to 4000 Hz"),
        ({"fs": float("nan")}, "100 to 4000 Hz"),
        ({"duration": 0.5}, "1 to 3600 s"),
        ({"seed": 0.5}, "whole number"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments, match):
    with pytest.raises(UsageError, match=match):
        simulate_cohort(**arguments)


def test_an_unknown_condition_of_one_ecg():
    with pytest.raises(UsageError, match="NORM, IMI, CLBBB"):
        simulate_ecg("x", "MI")
