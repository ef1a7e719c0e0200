# SPDX-License-Identifier: Apache-2.0
"""The promises of Cohort: reads only what is asked for, keeps people whole, refuses overlap and unknown people."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.cohort import Cohort, Excluded, Lazy, refuse_overlap
from ecglens.ecg import ECG
from ecglens.errors import LeakError, SignalError, TableError, UsageError
from ecglens.fiducials import MARKS, Fiducials

N = 12


class Reader:
    """Makes ECG i and remembers that it was asked to."""

    def __init__(self, prefix: str = "r") -> None:
        self.prefix, self.asked = prefix, []

    def __call__(self, i: int) -> ECG:
        self.asked.append(i)
        return ECG(np.full((2, 100), i, np.float32), fs=100, leads=("I", "II"), record_id=f"{self.prefix}{i}")


def marks(i: int) -> Fiducials:
    return Fiducials(np.linspace(0, 0.9, len(MARKS))[None, None] + i, ("I",), "m")


def cohort(reader: Reader | None = None, name: str = "toy", n: int = N, **change) -> Cohort:
    reader = reader or Reader()
    ids = [f"{reader.prefix}{i}" for i in range(n)]
    labels = pd.DataFrame({"MI": [float(i % 2) for i in range(n)], "CD": [np.nan, *[0.0] * (n - 1)]}, index=ids)
    metadata = pd.DataFrame(
        {"patient_id": [f"p{i // 2}" for i in range(n)], "fold": [i // 2 % 3 + 1 for i in range(n)], "age": 40.0},
        index=ids,
    )
    parts = {"records": Lazy(reader, range(n)), "labels": labels, "metadata": metadata, "label_rule": "typed"}
    return Cohort(name, **(parts | change))


def negated(ecg: ECG) -> ECG:
    return replace(ecg, signal=-ecg.signal)


def values(part: Iterable[ECG]) -> list[float]:
    return [float(ecg.signal[0, 0]) for ecg in part]


# ---------------------------------------------------------------- birth


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"records": [None] * 3}, "3 records"),
        ({"labels": pd.DataFrame({"MI": [0.5] * N}, index=[f"r{i}" for i in range(N)])}, "other values"),
        ({"labels": pd.DataFrame({"MI": ["yes"] * N}, index=[f"r{i}" for i in range(N)])}, "labels"),
        ({"labels": pd.DataFrame({"MI": [1.0] * N}, index=range(N))}, "different ids"),
        ({"labels": pd.DataFrame(np.ones((N, 2)), [f"r{i}" for i in range(N)], ["MI", "MI"])}, "each class once"),
        ({"evidence": [0] * 3}, "evidence: found 3 for 12"),
        ({"fiducials": [0] * 3}, "fiducials: found 3 for 12"),
        ({"files": [()] * 13}, "files: found 13 for 12"),
    ],
)
def test_tables_are_checked_at_birth(change, match):
    with pytest.raises(TableError, match=match):
        cohort(**change)


def test_doubled_record_ids_are_refused():
    ids = ["a", "a"]
    with pytest.raises(TableError, match="record ids"):
        Cohort("x", [1, 2], pd.DataFrame({"MI": [0, 1]}, index=ids), pd.DataFrame(index=ids))


def test_metadata_always_has_the_standard_columns_and_unknown_is_none():
    table = pd.DataFrame({"patient_id": ["a", np.nan, None], "sex": ["male", np.nan, "female"]}, index=list("xyz"))
    made = Cohort("c", [1, 2, 3], pd.DataFrame({"MI": [0, 1, np.nan]}, index=list("xyz")), table)
    assert {"patient_id", "age", "sex", "fold", "device", "site"} <= set(made.metadata.columns)
    assert made.metadata["patient_id"].tolist() == ["a", None, None]
    assert made.metadata["sex"].tolist() == ["male", None, "female"]
    assert "age" not in table  # the caller's table is left alone
    assert (made.n_patients, made.patient_keys) == (3, ("c:a", None, None))


def test_a_number_for_a_patient_is_text_and_the_same_however_the_table_stored_it():
    ids = list("xyz")
    for patients in ([7, 8, 8], [7.0, 8.0, 8.0], ["7", "8", "8"]):
        made = Cohort("c", [1, 2, 3], pd.DataFrame(index=ids), pd.DataFrame({"patient_id": patients}, index=ids))
        assert made.patient_keys == ("c:7", "c:8", "c:8")


# ---------------------------------------------------------------- laziness


def test_nothing_is_read_until_asked_for():
    reader = Reader()
    whole = cohort(reader)
    parts = whole.split(fractions={"train": 0.5, "test": 0.5})
    joined = whole.map(negated).take([5, 3]).concat(cohort(Reader("q"), name="other"))
    chosen = whole.where(fold=1).where(whole.where(fold=1).labels["MI"].to_numpy() == 1)
    assert reader.asked == []
    assert joined[1]["I"][0] == -3.0
    assert reader.asked == [3]
    assert len(list(parts["train"])) == len(parts["train"])
    assert len(reader.asked) == 1 + len(parts["train"])
    assert chosen[0].record_id in chosen.record_ids


def test_batches_read_as_they_go():
    reader = Reader()
    stream = cohort(reader).batches(5)
    next(stream)
    assert reader.asked == [0, 1, 2, 3, 4]


def test_lazy_slices_stay_lazy():
    reader = Reader()
    lazy = Lazy(reader, list(range(10)))[2:8][1:3]
    assert (len(lazy), reader.asked) == (2, [])
    assert [lazy[0].record_id, lazy[-1].record_id] == ["r3", "r4"]


# ---------------------------------------------------------------- take, where, map


def test_take_keeps_every_column_beside_its_record():
    whole = cohort(
        evidence=[f"e{i}" for i in range(N)], fiducials=Lazy(marks, range(N)),
        files=[(Path(f"f{i}"),) for i in range(N)], excluded=(Excluded("z", "short", "2 s"),),
    )  # fmt: skip
    part = whole.take([7, 2]).take(np.array([1, 0, 1])[:2])
    assert (values(part), part.record_ids) == ([2.0, 7.0], ("r2", "r7"))
    assert list(part.evidence) == ["e2", "e7"]
    assert [m["I", "P_onset"][0] for m in part.fiducials] == [2.0, 7.0]
    assert part.files == [(Path("f2"),), (Path("f7"),)]
    assert part.labels.index.tolist() == part.metadata.index.tolist() == ["r2", "r7"]
    assert part.excluded == whole.excluded


def test_where_by_value_list_and_mask():
    whole = cohort()
    assert whole.where(patient_id="p3").record_ids == ("r6", "r7")
    assert len(whole.where(fold=range(1, 3))) == 8
    assert whole.where(whole.labels["MI"] == 1, fold=[3]).record_ids == ("r5", "r11")
    assert len(whole.where(patient_id="nobody")) == 0


def test_where_refuses_what_would_silently_mean_something_else():
    whole = cohort()
    with pytest.raises(UsageError, match="mask"):
        whole.where(whole.labels["CD"])  # NaN would be True
    with pytest.raises(UsageError, match="mask"):
        whole.where(np.ones(3, bool))
    with pytest.raises(UsageError, match="hair"):
        whole.where(hair="red")
    with pytest.raises(UsageError, match="where"):
        whole.take(np.ones(N, bool))


def test_map_applies_when_read_and_drops_what_no_longer_fits():
    whole = cohort(evidence=list(range(N)), files=[()] * N, fiducials=Lazy(marks, range(N)))
    mapped = whole.map(negated)
    assert values(mapped) == [-float(i) for i in range(N)]
    assert (mapped.evidence, mapped.files) == (None, None)
    assert len(mapped.fiducials) == N
    assert values(mapped.map(negated)) == values(whole)


def test_empty_cohort_is_a_cohort():
    empty = cohort().take([])
    assert (len(empty), empty.n_patients, list(empty.batches()), list(empty)) == (0, 0, [], [])
    assert {name: len(part) for name, part in empty.split().items()} == {"train": 0, "valid": 0, "test": 0}


# ---------------------------------------------------------------- batches


def test_batches_hold_all_records_in_order_with_their_marks():
    batches = list(cohort(fiducials=Lazy(marks, range(N))).batches(5))
    assert [b.signal.shape for b in batches] == [(5, 2, 100), (5, 2, 100), (2, 2, 100)]
    assert [r for b in batches for r in b.record_ids] == [f"r{i}" for i in range(N)]
    assert [m["I", "P_onset"][0] for b in batches for m in b.fiducials] == list(range(N))
    assert (batches[0].fs, batches[0].leads, batches[0].signal.dtype) == (100.0, ("I", "II"), np.float32)
    assert batches[0].start == (0.0,) * 5


@pytest.mark.parametrize(
    "odd",
    [
        ECG(np.zeros((2, 100)), 100, ("II", "I"), "odd"),
        ECG(np.zeros((2, 100)), 200, ("I", "II"), "odd"),
        ECG(np.zeros((2, 99)), 100, ("I", "II"), "odd"),
    ],
)
def test_batches_refuse_mixed_grids(odd):
    mixed = cohort(records=[*cohort(n=N - 1), odd])
    with pytest.raises(SignalError, match="one grid") as caught:
        list(mixed.batches())
    assert (caught.value.where, caught.value.kind) == ("odd", "shape")


@pytest.mark.parametrize("size", [0, -1])
def test_batch_size_is_checked(size):
    with pytest.raises(UsageError, match="size"):
        list(cohort().batches(size))


# ---------------------------------------------------------------- split


def people(part: Cohort) -> set[str]:
    return set(part.patient_keys)


@given(
    patients=st.lists(st.integers(0, 8), min_size=1, max_size=30),
    cut=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
)
def test_patient_split_keeps_people_whole_and_loses_nobody(patients, cut, seed):
    ids = [f"r{i}" for i in range(len(patients))]
    whole = Cohort(
        "h", Lazy(Reader(), range(len(ids))), pd.DataFrame(index=ids), pd.DataFrame({"patient_id": patients}, index=ids)
    )
    parts = whole.split(fractions={"a": cut, "b": 1 - cut}, seed=seed)
    assert not people(parts["a"]) & people(parts["b"])
    assert sorted(parts["a"].record_ids + parts["b"].record_ids) == sorted(ids)
    assert abs(parts["a"].n_patients - cut * whole.n_patients) <= 1


def test_patient_split_depends_on_seed_not_on_order():
    whole = cohort()
    first = whole.split(seed=4, fractions={"a": 0.5, "b": 0.5})
    turned = whole.take(range(N)[::-1]).split(seed=4, fractions={"a": 0.5, "b": 0.5})
    assert people(first["a"]) == people(turned["a"])
    assert any(people(first["a"]) != people(whole.split(seed=s, fractions={"a": 0.5, "b": 0.5})["a"]) for s in range(5))


@pytest.mark.parametrize("fractions", [{"a": 0.7, "b": 0.7}, {"a": 1.0, "b": 0.0}, {"a": -0.1}])
def test_fractions_are_checked(fractions):
    with pytest.raises(UsageError, match="fractions"):
        cohort().split(fractions=fractions)


def test_unknown_patients_are_refused_unless_vouched_for():
    whole = cohort()
    whole.metadata.loc["r5", "patient_id"] = None
    for by in ("patient", "fold"):
        with pytest.raises(LeakError, match="unknown for 1 of 12") as caught:
            whole.split(by=by)
        assert (caught.value.kind, caught.value.exit_code) == ("unknown_patient", 6)
    parts = whole.split(assume_one_record_per_patient=True, fractions={"a": 0.5, "b": 0.5})
    assert len(parts["a"]) + len(parts["b"]) == N


def test_fold_split_follows_the_folds():
    parts = cohort().split(by="fold", folds={"train": [1, 2], "test": (3,)})
    assert {name: sorted(set(part.metadata["fold"])) for name, part in parts.items()} == {"train": [1, 2], "test": [3]}


def test_planted_overlap_of_folds_raises():
    whole = cohort()
    whole.metadata.loc["r1", "fold"] = 3  # r0, of the same person, stays in fold 1
    with pytest.raises(LeakError, match="toy:p0"):
        whole.split(by="fold", folds={"train": [1, 2], "test": [3]})
    with pytest.raises(LeakError, match="train and test"):
        cohort().split(by="fold", folds={"train": [1, 2], "test": [2, 3]})


def test_fold_split_without_folds_is_refused():
    whole = cohort()
    whole.metadata["fold"] = np.nan
    with pytest.raises(TableError, match="fold"):
        whole.split(by="fold")


def test_date_split_is_half_open_and_lets_people_return():
    whole = cohort()
    whole.metadata["date"] = [f"2020-01-{i + 1:02d}" for i in range(N)]
    parts = whole.split(by="date", dates={"early": ("2020-01-01", "2020-01-06"), "late": ("2020-01-06", "2021-01-01")})
    assert parts["early"].record_ids == ("r0", "r1", "r2", "r3", "r4")
    assert len(parts["late"]) == 7
    assert people(parts["early"]) & people(parts["late"]) == {"toy:p2"}
    with pytest.raises(LeakError, match="r5"):
        whole.split(by="date", dates={"a": ("2020-01-01", "2020-01-07"), "b": ("2020-01-06", "2021-01-01")})


def test_date_split_needs_dates():
    with pytest.raises(UsageError, match="dates"):
        cohort().split(by="date")
    with pytest.raises(TableError, match="date"):
        cohort().split(by="date", dates={"a": ("2020", "2021")})


@pytest.mark.parametrize("gap", [0.0, 0.3])
@pytest.mark.parametrize(
    "fractions", [{"a": 0.6, "b": 0.4}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 0.5, "b": 0.2}]
)
def test_time_split_shares_no_sample_and_keeps_the_gap(fractions, gap):
    n = 997
    ramp = ECG(np.arange(n)[None], fs=100, leads=("I",), start=5.0, record_id="r0")
    whole = Cohort("t", [ramp], pd.DataFrame(index=["r0"]), pd.DataFrame(index=["r0"]), evidence=[ramp.signal])
    parts = whole.split(by="time", fractions=fractions, gap=gap)
    samples = [part[0]["I"].astype(int) for part in parts.values()]
    for before, after in pairwise(samples):
        assert gap * 100 <= after[0] - before[-1] <= gap * 100 + 2
    assert len(set(np.concatenate(samples).tolist())) == sum(map(len, samples))
    if sum(fractions.values()) > 0.999 and gap == 0:
        assert sum(map(len, samples)) == n
    for part in parts.values():
        assert part[0].start == pytest.approx(5.0 + part[0]["I"][0] / 100)
        assert part.evidence is None  # it would lie on the wrong samples


@pytest.mark.parametrize(("fractions", "gap"), [({"a": 0.7, "b": 0.7}, 0), ({"a": 0.5, "b": 0.5}, -1)])
def test_time_split_refuses_overlap(fractions, gap):
    with pytest.raises(LeakError):
        cohort().split(by="time", fractions=fractions, gap=gap)


def test_unknown_way_to_split():
    with pytest.raises(UsageError, match="patient, fold, date, time"):
        cohort().split(by="luck")


def test_refuse_overlap_names_both_parts():
    refuse_overlap("x", {"a": {"1"}, "b": {"2"}})
    with pytest.raises(LeakError, match="1 shared by a and c"):
        refuse_overlap("x", {"a": {"1"}, "b": {"2"}, "c": {"1"}})


# ---------------------------------------------------------------- concat


def test_concat_makes_patients_of_different_data_sets_different_people():
    first, second = cohort(Reader("r"), "a"), cohort(Reader("r"), "b")
    both = first.concat(second)
    assert (len(both), both.n_patients, both.name) == (2 * N, N, "a+b")
    assert (both.record_ids[0], both.record_ids[N]) == ("a:r0", "b:r0")
    assert set(both.patient_keys) == set(first.patient_keys) | set(second.patient_keys)
    assert values(both) == values(first) + values(second)


def test_concat_of_concat_is_flat():
    a, b, c = (cohort(Reader("r"), name) for name in "abc")
    left, right = a.concat(b).concat(c), a.concat(b.concat(c))
    assert left.record_ids == right.record_ids == a.concat(b, c).record_ids
    assert left.patient_keys == right.patient_keys


def test_a_colon_in_an_id_does_not_join_people():
    def with_colon(name):
        whole = cohort(Reader("x:"), name)
        whole.metadata["patient_id"] = "site:1"
        return whole

    assert with_colon("a").concat(with_colon("b")).n_patients == 2


def test_concat_of_parts_of_one_cohort_keeps_their_people():
    whole = cohort()
    parts = whole.split(fractions={"a": 0.5, "b": 0.5})
    assert parts["a"].concat(parts["b"]).n_patients == whole.n_patients
    with pytest.raises(TableError, match="record ids"):
        parts["a"].concat(parts["a"])


def test_concat_keeps_evidence_and_marks_where_all_have_them():
    def full(name):
        return cohort(name=name, evidence=[f"{name}{i}" for i in range(N)], fiducials=Lazy(marks, range(N)))

    both = full("a").concat(full("b"))
    assert (both.evidence[0], both.evidence[N], len(both.fiducials)) == ("a0", "b0", 2 * N)
    assert full("a").concat(cohort(name="b")).evidence is None


def test_concat_needs_the_same_classes():
    other = cohort(name="b")
    with pytest.raises(TableError, match="classes"):
        cohort(name="a").concat(replace(other, labels=other.labels[["CD", "MI"]]))


# ---------------------------------------------------------------- pickling


def read(i: int) -> ECG:
    return ECG(np.full((1, 50), i), fs=100, leads=("I",), record_id=f"r{i}")


def test_survives_pickling_for_workers():
    whole = cohort(records=Lazy(read, range(N)))
    part = whole.map(negated).where(fold=2).concat(replace(whole, name="b"))
    again = pickle.loads(pickle.dumps(part))
    assert again.record_ids == part.record_ids
    assert values(again) == values(part)
    pd.testing.assert_frame_equal(again.labels, part.labels)
