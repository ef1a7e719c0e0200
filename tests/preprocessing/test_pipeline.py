# SPDX-License-Identifier: Apache-2.0
"""What is admitted, why the rest is not, and that all ways through the preprocessing give the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, FormatError, SignalError, UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.preprocessing.pipeline import Admission, Bandpass, Preprocessing, Resample, Standardize
from ecglens.preprocessing.windows import Windows

RECIPE = Preprocessing(Admission(), (Resample(100), Bandpass(0.5, 40, 2)), Windows(250, 125), (Standardize("record"),))


def make_ecg(seed: int = 0, fs: float = 500, duration: float = 10, record_id: str = "rec") -> ECG:
    """A random walk of about 1 mV with consistent limb leads."""
    n = round(fs * duration)
    walk = np.random.default_rng(seed).standard_normal((12, n)).cumsum(axis=1)
    walk = (walk - walk.mean(axis=1, keepdims=True)) / walk.std(axis=1, keepdims=True)
    i, ii = walk[:2].copy()
    walk[:6] = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    return ECG(walk, fs, STANDARD_LEADS, record_id)


def changed(ecg: ECG, lead: str, samples: slice, value: float) -> ECG:
    signal = ecg.signal.copy()
    signal[ecg.leads.index(lead), samples] = value
    return replace(ecg, signal=signal)


def kinds(findings) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.lead) for finding in findings]


# ---------------------------------------------------------------- JSON

numbers = st.floats(0.01, 1000, allow_nan=False)
steps = st.one_of(
    st.builds(Resample, numbers),
    st.builds(lambda low, more, order: Bandpass(low, low + more, order), numbers, numbers, st.integers(1, 8)),
    st.builds(Standardize, st.sampled_from(["record", "lead"])),
)
recipes = st.builds(
    Preprocessing,
    st.builds(
        Admission, st.lists(st.sampled_from(STANDARD_LEADS), min_size=1, unique=True).map(tuple), numbers, numbers,
        numbers, st.tuples(numbers, numbers),
    ),
    st.lists(steps, max_size=3).map(tuple),
    st.builds(Windows, st.integers(1, 5000), st.integers(1, 5000)),
    st.lists(steps, max_size=2).map(tuple),
)  # fmt: skip


@given(recipes)
def test_round_trip_through_json(recipe: Preprocessing) -> None:
    text = json.dumps(recipe.as_config(), allow_nan=False)
    again = Preprocessing.from_config(json.loads(text))
    assert again == recipe
    assert hash(again) == hash(recipe)  # tuples all the way down, no lists


def altered(path: str, value: object) -> dict:
    config = json.loads(json.dumps(RECIPE.as_config()))
    place, *rest = path.split(".")
    inside = config
    for part in rest:
        inside, place = inside[int(place) if place.isdigit() else place], part
    inside[int(place) if place.isdigit() else place] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("admission", None), ("admission", {}), ("admission.colour", "red"), ("admission.leads", 5),
        ("admission.leads", []), ("admission.leads", [1]), ("admission.min_duration", "10"),
        ("admission.max_gap", float("nan")), ("admission.flat_below", -1), ("admission.amplitude", [1]),
        ("admission.amplitude", [None, 3]), ("record_steps.1.low", "0.5"), ("record_steps.1.high", 0.1),
        ("record_steps.1.order", 0), ("record_steps.1.order", 2.5), ("windows.stride", 1.5),
        ("record_steps", None), ("record_steps.0", {"step": "eval", "code": "1"}), ("record_steps.0", {"fs": 100}),
        ("record_steps.0", ["resample"]), ("record_steps.0", "resample"), ("record_steps.0.extra", 1),
        ("record_steps.0.fs", 0), ("record_steps.0.fs", -5), ("record_steps.0.fs", float("nan")),
        ("record_steps.0.fs", float("inf")), ("record_steps.0.fs", "100"), ("record_steps.0.fs", None),
        ("windows", None), ("windows.length", 0), ("windows.stride", -1), ("windows.length", "250"),
        ("windows.combine", "max"), ("window_steps.0.by", "banana"), ("window_steps.0.by", None),
    ],
)  # fmt: skip
def test_what_is_unknown_or_impossible_is_a_format_error_naming_the_file(path: str, value: object) -> None:
    with pytest.raises(FormatError, match=r"config\.json") as caught:
        Preprocessing.from_config(altered(path, value), "config.json")
    assert (caught.value.kind, caught.value.exit_code) == ("preprocessing", 3)


@pytest.mark.parametrize("key", ["admission", "record_steps", "windows", "window_steps"])
def test_nothing_has_a_silent_default(key: str) -> None:
    config = RECIPE.as_config()
    del config[key]
    with pytest.raises(FormatError, match=key):
        Preprocessing.from_config(config)


def test_in_python_wrong_steps_are_usage_errors() -> None:
    for make in (lambda: Standardize("banana"), lambda: Resample(0), lambda: Resample(float("nan"))):
        with pytest.raises(UsageError):
            make()


# ---------------------------------------------------------------- admission


def test_a_good_ecg_is_admitted_as_it_is() -> None:
    ecg = make_ecg()
    admitted = Admission().admit(ecg)
    np.testing.assert_array_equal(admitted.signal, ecg.signal)
    assert admitted.findings == Admission().findings(ecg) == ()


FAULTS = {
    "missing_lead": (lambda ecg: ecg.select([lead for lead in STANDARD_LEADS if lead != "V4"]), "V4", SignalError),
    "too_short": (lambda ecg: ecg.crop(0, 9.9), None, ContractError),
    "gap": (lambda ecg: changed(ecg, "V2", slice(100, 152), np.nan), "V2", SignalError),  # 104 ms
    "flat_lead": (lambda ecg: changed(ecg, "V6", slice(None), 0.3), "V6", SignalError),
    "amplitude": (lambda ecg: replace(ecg, signal=ecg.signal * 1000), None, SignalError),  # microvolts as millivolts
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_refused_by_its_name(kind: str) -> None:
    spoil, lead, error = FAULTS[kind]
    spoiled = spoil(make_ecg())
    with pytest.raises(error) as caught:
        Admission().admit(spoiled)
    assert (caught.value.kind, caught.value.lead) == (kind, lead)
    assert "rec" in str(caught.value)
    found = [f for f in Admission().findings(spoiled) if f.severity == "error"]
    assert kinds(found) == [(kind, lead)]
    with pytest.raises(error):
        RECIPE.apply([make_ecg(), spoiled])


def test_findings_tell_all_faults_at_once() -> None:
    ecg = changed(changed(make_ecg(duration=9), "V1", slice(0, 500), np.nan), "V5", slice(-100, None), np.nan)
    assert kinds(Admission().findings(ecg)) == [("too_short", None), ("gap", "V1"), ("gap", "V5")]
    ecg = changed(changed(make_ecg(), "V1", slice(None), 0), "V5", slice(None), 1)
    assert kinds(Admission().findings(ecg)) == [("flat_lead", "V1"), ("flat_lead", "V5")]


def test_a_gap_hides_nothing_else() -> None:
    """A lead that is flat, or in the wrong unit, is told so with gaps as without, by what is there of it."""
    ecg = changed(changed(make_ecg(), "V1", slice(None), 0.2), "V1", slice(0, 500), np.nan)
    assert kinds(Admission().findings(ecg)) == [("gap", "V1"), ("flat_lead", "V1")]
    ecg = changed(make_ecg(), "V1", slice(0, 500), np.nan)
    assert kinds(Admission().findings(replace(ecg, signal=ecg.signal * 1000))) == [("gap", "V1"), ("amplitude", None)]
    ecg = changed(changed(make_ecg(duration=9), "V1", slice(None), np.nan), "V2", slice(None), 1)
    assert kinds(Admission().findings(ecg)) == [("too_short", None), ("gap", "V1"), ("flat_lead", "V2")]
    gone = replace(ecg, signal=np.full_like(ecg.signal, np.nan))
    assert {kind for kind, _ in kinds(Admission().findings(gone))} == {"too_short", "gap"}
    signal = np.full((1, 20_000), np.nan, np.float32)
    signal[0, 5:7] = 0, 1  # that little, and not where every twentieth sample would be looked at
    assert kinds(Admission(("I",)).findings(ECG(signal, 500, ("I",)))) == [("gap", "I")]


def test_short_gaps_do_not_change_the_measured_amplitude() -> None:
    """Just within the limits and just beyond, the verdict is that of the samples that are there."""
    ecg = make_ecg()
    size = np.percentile(np.abs(ecg.signal[:, ::5] - np.median(ecg.signal[:, ::5], axis=1, keepdims=True)), 99.5)
    holes = ecg.signal.copy()
    holes[:, 1::5] = np.nan
    for factor, good in ((0.99, True), (1.02, False)):
        for signal in (ecg.signal, holes):
            scaled = replace(ecg, signal=signal * (20 * factor / size))
            found = {kind for kind, _ in kinds(Admission(max_gap=1).findings(scaled))}
            assert found - {"bridged_gaps"} == (set() if good else {"amplitude"})


def test_an_ecg_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    real = Admission._amplitude_faults
    monkeypatch.setattr(Admission, "_amplitude_faults", lambda *a: looked.append(1) or real(*a))
    Admission().findings(make_ecg())
    Admission().admit(make_ecg())
    assert len(looked) == 2


@pytest.mark.parametrize(
    ("factor", "good"), [(1, True), (5, True), (0.05, True), (1000, False), (0.001, False), (50, False)]
)
def test_amplitude_has_two_ends(factor: float, good: bool) -> None:
    ecg = make_ecg()
    size = np.percentile(np.abs(ecg.signal - np.median(ecg.signal, axis=1, keepdims=True)), 99.5)
    assert (0.05 <= size * factor <= 20) == good
    scaled = replace(ecg, signal=ecg.signal * factor)
    faults = [f.kind for f in Admission(flat_below=0).findings(scaled)]
    assert faults == ([] if good else ["amplitude"])


def test_an_offset_is_no_amplitude() -> None:
    ecg = make_ecg()
    assert Admission().findings(replace(ecg, signal=ecg.signal + 100)) == ()


def test_an_ecg_of_nothing_but_flat_lines_is_flat_not_small() -> None:
    ecg = make_ecg()
    assert set(kinds(Admission().findings(replace(ecg, signal=ecg.signal * 0)))) == {
        ("flat_lead", lead) for lead in STANDARD_LEADS
    }


@pytest.mark.parametrize("max_gap", [0.1, 100.0])
def test_a_lead_of_nothing_but_gaps_is_never_bridged(max_gap: float) -> None:
    ecg = changed(make_ecg(), "V3", slice(None), np.nan)
    with pytest.raises(SignalError) as caught:
        Admission(max_gap=max_gap).admit(ecg)
    assert (caught.value.kind, caught.value.lead) == ("gap", "V3")


def test_half_a_sample_of_duration_is_forgiven_a_whole_one_is_not() -> None:
    ecg = make_ecg(fs=257)
    assert Admission().findings(ecg) == ()
    whole = make_ecg(fs=500)
    one_less = replace(whole, signal=whole.signal[:, :-1])
    assert kinds(Admission().findings(one_less)) == [("too_short", None)]


def test_limb_leads_are_derived_and_noted() -> None:
    whole = make_ecg()
    eight = whole.select(["I", "II", *STANDARD_LEADS[6:]])
    admitted = Admission().admit(eight)
    assert kinds(admitted.findings)[-1] == ("derived_leads", None)
    assert all(lead in admitted.findings[-1].reason for lead in ("III", "aVR", "aVL", "aVF"))
    np.testing.assert_allclose(admitted.signal, whole.signal, atol=1e-6)
    with pytest.raises(SignalError, match="no II, III, aVR, aVL, aVF, V2"):
        Admission().admit(whole.select(["I", "V1"]))


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)))
def test_another_order_of_leads_gives_the_same_bits(order: list[int]) -> None:
    ecg = make_ecg()
    shuffled = replace(ecg, signal=ecg.signal[order], leads=tuple(ecg.leads[i] for i in order))
    first, second = RECIPE.apply([ecg]), RECIPE.apply([shuffled])
    np.testing.assert_array_equal(first.signal, second.signal)
    assert first.leads == second.leads == STANDARD_LEADS
    np.testing.assert_array_equal(RECIPE.cut(first.signal, 100), RECIPE.cut(second.signal, 100))


def test_a_short_gap_is_bridged_by_a_line_and_noted() -> None:
    ecg = changed(make_ecg(), "V2", slice(100, 150), np.nan)  # 100 ms: the longest allowed
    admitted = Admission().admit(ecg)
    line = np.linspace(ecg["V2"][99], ecg["V2"][150], 52)[1:-1]
    np.testing.assert_allclose(admitted["V2"][100:150], line, atol=1e-6)
    kept = ~np.isnan(ecg.signal)
    np.testing.assert_array_equal(admitted.signal[kept], ecg.signal[kept])
    (note,) = admitted.findings
    assert (note.kind, note.severity) == ("bridged_gaps", "warning")
    assert "0.100 s" in note.reason
    assert "V2" in note.reason
    assert np.isnan(ecg.signal).sum() == 50  # the caller's ECG is as it was


def test_a_gap_in_a_lead_that_is_not_needed_does_not_matter() -> None:
    ecg = changed(make_ecg(), "V2", slice(0, 2000), np.nan)
    assert kinds(Admission(leads=("I", "V1")).findings(ecg)) == [("extra_leads", None)]


# ---------------------------------------------------------------- numbers


def test_the_whole_way_in_float64_with_scipy() -> None:
    ecg = make_ecg()
    batch = RECIPE.apply([ecg])
    x = resample_poly(ecg.signal.astype(np.float64), 1, 5, axis=1)
    x = sosfiltfilt(butter(2, [0.5, 40], "bandpass", fs=100, output="sos"), x)
    assert (batch.fs, batch.leads, batch.record_ids, batch.start) == (100, STANDARD_LEADS, ("rec",), (0.0,))
    np.testing.assert_allclose(batch.signal[0], x, atol=2e-5)
    cut = RECIPE.cut(batch.signal, batch.fs)
    assert (cut.shape, cut.dtype, cut.flags.c_contiguous) == ((1, 7, 12, 250), np.float32, True)
    for w in range(7):
        piece = x[:, 125 * w : 125 * w + 250]
        np.testing.assert_allclose(cut[0, w], (piece - piece.mean()) / piece.std(), atol=2e-4)


def test_a_batch_is_its_records_one_by_one() -> None:
    ecgs = [make_ecg(seed, record_id=f"r{seed}") for seed in range(9)]
    batch = RECIPE.apply(ecgs)
    cut = RECIPE.cut(batch.signal, batch.fs)
    for k, ecg in enumerate(ecgs):
        alone = RECIPE.apply([ecg])
        np.testing.assert_allclose(alone.signal[0], batch.signal[k], atol=5e-6)
        np.testing.assert_allclose(RECIPE.cut(alone.signal, alone.fs)[0], cut[k], atol=2e-5)
    assert batch.record_ids == tuple(f"r{seed}" for seed in range(9))


def test_one_batch_has_one_grid() -> None:
    for other in (make_ecg(fs=250, record_id="odd"), make_ecg(duration=11, record_id="odd")):
        with pytest.raises(SignalError, match="odd: shape") as caught:
            RECIPE.apply([make_ecg(), other])
        assert caught.value.kind == "shape"


def test_rate_of_the_grid() -> None:
    assert (RECIPE.fs(500), RECIPE.fs(257), RECIPE.leads) == (100, 100, STANDARD_LEADS)
    assert Preprocessing(Admission(), (), Windows(1, 1)).fs(257) == 257


@pytest.mark.parametrize(
    ("ecg", "field"),
    [(make_ecg(duration=0.1), "band-pass"), (make_ecg(fs=100.003), "resample"), (make_ecg(duration=1), "windows")],
)
def test_what_a_step_cannot_take_is_an_error_of_ours(ecg: ECG, field: str) -> None:
    lax = replace(RECIPE, admission=Admission(min_duration=0.01))
    with pytest.raises(EcglensError, match=field):
        lax.cut(lax.apply([ecg]).signal, 100)
