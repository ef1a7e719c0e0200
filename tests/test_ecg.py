# SPDX-License-Identifier: Apache-2.0
"""The promises of ECG: frozen, checked at birth, NaN is a gap, half-open on its own clock, leads by name."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens.ecg import ECG, MAX_FS, METADATA_KEYS, MIN_FS
from ecglens.errors import Finding, SignalError
from ecglens.leads import STANDARD_LEADS

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def make(leads=EIGHT, n=1000, fs=100.0, **rest) -> ECG:
    signal = np.random.default_rng(3).normal(size=(len(leads), n)).astype(np.float32)
    return ECG(signal, fs=fs, leads=leads, **{"record_id": "r1", **rest})


# ---------------------------------------------------------------- birth


def refused(match: str, kind: str, **change):
    fields = {"signal": np.zeros((2, 10), np.float32), "fs": 100.0, "leads": ("I", "V1"), "record_id": "r9"} | change
    with pytest.raises(SignalError, match=match) as caught:
        ECG(**fields)
    assert caught.value.kind == kind
    assert caught.value.where == "r9"
    return caught.value


@pytest.mark.parametrize("shape", [(10,), (1, 2, 10), (0, 10), (2, 0)])
def test_shape_is_checked(shape):
    refused("lead, time", "shape", signal=np.zeros(shape, np.float32))


def test_names_are_counted():
    refused("1 names for 2 rows", "shape", leads=("I",))


@pytest.mark.parametrize("leads", [("V1", "V1"), ("V1", "C1"), ("aVF", " AVF")])
def test_duplicate_leads_are_refused_also_under_an_alias(leads):
    assert refused("more than once", "duplicate_lead", leads=leads).lead in ("V1", "aVF")


@pytest.mark.parametrize("fs", [0.0, -500.0, MIN_FS - 0.1, MAX_FS + 0.1, np.nan, np.inf])
def test_sampling_rate_is_checked(fs):
    refused("sampling rate", "sampling_rate", fs=fs)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_infinite_samples_are_refused_and_the_lead_is_named(value):
    signal = np.zeros((2, 10))
    signal[1, 4] = value
    assert refused("lead V1", "infinite", signal=signal).lead == "V1"


def test_start_is_finite():
    refused("start", "start", start=np.nan)


@pytest.mark.parametrize("key", ["name", "patient_name", "patient_id", "birth_date", 7])
def test_personal_data_has_no_key(key):
    refused("leave personal data behind", "metadata", metadata={"age": 50, key: "x"})


def test_every_allowed_key_is_accepted():
    assert set(make(metadata=dict.fromkeys(METADATA_KEYS, 1)).metadata) == METADATA_KEYS


def test_signal_is_float32_and_leads_are_spelled_as_standard():
    ecg = ECG(np.arange(20).reshape(2, 10), fs=250, leads=["dII", "AVF"])
    assert (ecg.signal.dtype, ecg.leads, ecg.fs) == (np.float32, ("II", "aVF"), 250.0)


# ---------------------------------------------------------------- frozen


def test_fields_cannot_be_set_and_samples_not_written():
    ecg = make(metadata={"age": 50})
    with pytest.raises(FrozenInstanceError):
        ecg.fs = 200.0
    for array in (ecg.signal, ecg["V2"], ecg.signal[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(TypeError):
        ecg.metadata["age"] = 51


def test_the_callers_arrays_and_dicts_are_copied():
    signal, metadata = np.zeros((1, 10), np.float32), {"age": 50}
    ecg = ECG(signal, fs=100, leads=("I",), metadata=metadata)
    signal[:], metadata["age"] = 1.0, 51
    assert not ecg.signal.any()
    assert ecg.metadata["age"] == 50


# ---------------------------------------------------------------- time


def test_nan_is_a_gap():
    signal = np.zeros((2, 10), np.float32)
    signal[1, 3:5] = np.nan
    gaps = ECG(signal, fs=100, leads=("I", "V1")).gaps
    assert np.argwhere(gaps).tolist() == [[1, 3], [1, 4]]


def test_sample_i_lies_at_start_plus_i_over_fs():
    ecg = make(fs=250.0, start=7.5, n=500)
    assert (ecg.duration, ecg.n_samples, ecg.times[0], ecg.times[100]) == (2.0, 500, 7.5, 7.9)


def test_crop_is_half_open_and_keeps_the_clock():
    ecg = make(start=3.0)
    part = ecg.crop(5.0, 7.0)
    assert (part.start, part.n_samples) == (5.0, 200)
    inside = (ecg.times >= 5.0 - 1e-9) & (ecg.times < 7.0 - 1e-9)
    np.testing.assert_array_equal(part.signal, ecg.signal[:, inside])
    np.testing.assert_allclose(part.times, ecg.times[inside])
    assert part.crop(5.5, 6.0).start == 5.5  # times stay on the same clock after a crop


@given(
    fs=st.sampled_from([100.0, 128.0, 360.0, 500.0, 1000.0]),
    start=st.floats(-1e4, 1e5),
    cuts=st.lists(st.integers(1, 399), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_adjacent_crops_share_no_sample_and_lose_none(fs, start, cuts):
    ecg = ECG(np.arange(400, dtype=np.float32)[None], fs=fs, leads=("I",), start=start)
    edges = [start, *(start + cut / fs for cut in cuts), start + 400 / fs]
    parts = [ecg.crop(a, b) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate([p["I"] for p in parts]), ecg["I"])


@pytest.mark.parametrize(
    ("start", "stop"), [(-0.1, 1), (9, 10.1), (5, 5), (6, 5), (np.nan, 5), (0, np.inf), (0.001, 0.002)]
)
def test_crop_outside_or_empty_is_refused(start, stop):
    with pytest.raises(SignalError) as caught:
        make().crop(start, stop)
    assert caught.value.kind == "crop"


# ---------------------------------------------------------------- leads


def test_lead_by_name_or_alias():
    ecg = make()
    np.testing.assert_array_equal(ecg["C2"], ecg.signal[3])
    with pytest.raises(SignalError, match="no V9") as caught:
        ecg["V9"]
    assert (caught.value.kind, caught.value.lead) == ("missing_lead", "V9")


def test_select_picks_reorders_and_derives_by_an_independent_formula():
    ecg = make()
    twelve = ecg.select()
    assert twelve.leads == STANDARD_LEADS
    i, ii = ecg["I"].astype(float), ecg["II"].astype(float)
    ra, la, ll = -(i + ii) / 3, (2 * i - ii) / 3, (2 * ii - i) / 3  # potentials against Wilson's terminal
    for name, expected in {"III": ll - la, "aVR": 1.5 * ra, "aVL": 1.5 * la, "aVF": 1.5 * ll}.items():
        np.testing.assert_allclose(twelve[name], expected, atol=1e-6)
    for name in EIGHT:
        np.testing.assert_array_equal(twelve[name], ecg[name])
    assert [f.kind for f in twelve.findings] == ["derived_leads"]


def test_select_notes_what_it_leaves_out_and_keeps_earlier_findings():
    before = Finding("gain_assumed", "warning", "200 per mV")
    chosen = make(findings=(before,)).select(["V5", "I"])
    assert chosen.leads == ("V5", "I")
    assert [f.kind for f in chosen.findings] == ["gain_assumed", "extra_leads"]


def test_select_refuses_what_cannot_be_had():
    with pytest.raises(SignalError, match="no V7") as caught:
        make().select(["I", "V7"])
    assert (caught.value.kind, caught.value.lead) == ("missing_lead", "V7")
    with pytest.raises(SignalError, match="no III"):
        make(leads=("I", "V1")).select(["III"])
    with pytest.raises(SignalError, match="more than once"):
        make().select(["I", "I"])


# ---------------------------------------------------------------- identity


def test_fingerprint_ignores_order_name_metadata_and_sub_microvolt_noise():
    ecg = make()
    order = np.random.default_rng(0).permutation(len(EIGHT))
    shuffled = replace(
        ecg, signal=ecg.signal[order], leads=tuple(EIGHT[i] for i in order), record_id="other", metadata={"age": 3}
    )
    assert shuffled.fingerprint() == ecg.fingerprint()
    rounded = replace(ecg, signal=np.rint(ecg.signal.astype(float) * 1000) / 1000)
    assert rounded.fingerprint() == ecg.fingerprint()


def test_fingerprint_sees_a_microvolt_a_gap_a_rate_and_a_name():
    ecg = make()
    changes = {ecg.fingerprint()}
    for value in (ecg.signal[2, 17] + 0.001, np.nan, 0.0, -2.0e9):
        signal = ecg.signal.copy()
        signal[2, 17] = value
        changes.add(replace(ecg, signal=signal).fingerprint())
    changes.add(replace(ecg, fs=101.0).fingerprint())
    changes.add(replace(ecg, leads=("II", "I", *EIGHT[2:])).fingerprint())
    assert len(changes) == 7


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy])
def test_survives_pickling_and_copying(again):
    ecg = make(start=2.0, metadata={"age": 61, "sex": "female"}, findings=(Finding("x", "note", "y"),))
    other = again(ecg)
    np.testing.assert_array_equal(other.signal, ecg.signal)
    assert not other.signal.flags.writeable
    for name in ("fs", "leads", "record_id", "start", "findings"):
        assert getattr(other, name) == getattr(ecg, name)
    assert dict(other.metadata) == dict(ecg.metadata)


def test_repr_is_short_and_without_personal_data():
    said = repr(make(metadata={"age": 61}))
    assert "61" not in said
    assert "8 leads" in said
    assert len(said) < 150
