# SPDX-License-Identifier: Apache-2.0
"""What is hidden by which parameters, what is put in its place, and that limb leads stay those of a heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens import simulate_ecg
from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import SignalError, UsageError
from ecglens.explainers.explain import Marks, explain
from ecglens.explainers.fillers import FILLERS, Recording
from ecglens.explainers.methods import find_method, find_methods
from ecglens.explainers.perturbation import Occlusion
from ecglens.explainers.regions import Region, lead_groups, whole_leads
from ecglens.leads import LIMB_ALGEBRA, STANDARD_LEADS, limb_residual
from ecglens.prediction.predict import predict_raw
from ecglens.waveform.delineate import delineate

BEATS = np.array([60, 150, 245, 330, 420, 505])


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Six beats of another size and noise each; I and II are measured, the rest follows."""
    draw = np.random.default_rng(3)
    time = np.arange(600)
    beats = sum(draw.uniform(0.5, 1.5, (2, 1)) * np.exp(-0.5 * ((time - r) / 3) ** 2) for r in BEATS)
    one, two = beats + 0.1 * draw.normal(size=(2, 600))
    limb = np.stack([a * one + b * two for a, b in LIMB_ALGEBRA.values()])
    signal = np.concatenate([limb, draw.normal(size=(6, 600))]).astype(np.float32)
    return Recording(signal, STANDARD_LEADS, "a", BEATS)


def hidden(n: int = 600, first: int = 140, last: int = 260) -> np.ndarray:
    times = np.zeros(n, bool)
    times[first:last] = True
    return times


@pytest.mark.parametrize("times", [hidden(), hidden(first=0, last=600), hidden() | hidden(first=400, last=520)])
@pytest.mark.parametrize("name", FILLERS)
def test_limb_leads_stay_consistent(recording: Recording, name: str, times: np.ndarray) -> None:
    filled = FILLERS[name](recording, Region("limb", lead_groups(STANDARD_LEADS)["limb"], times))
    i, ii, iii, avr, avl, avf = filled[:6].astype(np.float64)
    for found, law in ((iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)):
        np.testing.assert_allclose(found, law, atol=2e-6)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=2e-6)
    np.testing.assert_array_equal(filled[:, ~times], recording.signal[:, ~times])
    np.testing.assert_array_equal(filled[6:], recording.signal[6:])


def test_a_median_by_lead_would_break_them_and_a_mean_would_not(recording: Recording) -> None:
    """Why the median is made on I and II: it is not linear. A mean is, so it keeps every sum by itself."""
    cut = recording.signal[:, BEATS[:, None] + np.arange(-30, 45)].astype(np.float64)  # [lead, beat, time]
    by_lead, mean = np.median(cut, axis=1), cut.mean(axis=1)
    assert limb_residual(by_lead.astype(np.float32), STANDARD_LEADS) > 0.01  # type: ignore[operator]
    assert limb_residual(mean.astype(np.float32), STANDARD_LEADS) < 1e-6  # type: ignore[operator]
    ours = recording.median_beats
    np.testing.assert_allclose(ours[0, BEATS[2] - 30 : BEATS[2] + 45], by_lead[0], atol=1e-6)
    np.testing.assert_allclose(ours[8, BEATS[2] - 30 : BEATS[2] + 45], by_lead[8], atol=1e-6)


def test_a_median_beat_removes_what_one_beat_has_alone() -> None:
    """Beats all alike but one: hidden, that one looks like the others; the others do not change."""
    time = np.arange(600)
    usual = sum(np.exp(-0.5 * ((time - r) / 3) ** 2) for r in BEATS)
    odd = usual + 2 * np.exp(-0.5 * ((time - BEATS[2] - 20) / 3) ** 2)
    limb = np.stack([a * odd + b * odd for a, b in LIMB_ALGEBRA.values()])
    signal = np.concatenate([limb, np.tile(odd, (6, 1))]).astype(np.float32)
    recording = Recording(signal, STANDARD_LEADS, "a", BEATS)
    region = Region("V2", (7,), hidden(first=BEATS[2] - 30, last=BEATS[2] + 45))
    np.testing.assert_allclose(FILLERS["median_beat"](recording, region)[7], usual, atol=1e-5)
    another = Region("V2", (7,), hidden(first=BEATS[4] - 30, last=BEATS[4] + 45))
    np.testing.assert_allclose(FILLERS["median_beat"](recording, another)[7], odd, atol=1e-5)


def test_a_median_needs_beats(recording: Recording) -> None:
    for peaks in (None, BEATS[:2]):
        with pytest.raises(SignalError) as caught:
            FILLERS["median_beat"](replace(recording, r_peaks=peaks), whole_leads(STANDARD_LEADS, 600)[0])
        assert caught.value.kind == "no_beats"


def test_other_limb_leads_alone_stay_consistent(recording: Recording) -> None:
    leads = ("II", "aVF", "aVL", "V1")
    rows = [STANDARD_LEADS.index(lead) for lead in leads]
    some = Recording(recording.signal[rows], leads, "a", BEATS)
    for name in FILLERS:
        filled = FILLERS[name](some, Region("limb", (0, 1, 2), hidden()))
        assert limb_residual(filled, leads) < 1e-5, name  # type: ignore[operator]


# --- through explain -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecg(small_cohort: Cohort) -> ECG:
    return small_cohort[1]


def test_segments_are_looked_for_where_no_marks_are_given(tiny_bundle: Bundle, ecg: ECG) -> None:
    own = explain(tiny_bundle, ecg, ["MI"], "occlusion_segment")[0]
    given = explain(tiny_bundle, ecg, ["MI"], "occlusion_segment", fiducials=delineate(ecg))[0]
    np.testing.assert_array_equal(own.values, given.values)
    assert 60 < own.resolution_ms < 400  # the longest wave
    for lead in STANDARD_LEADS:  # a handful of values: P, QRS, ST, T, the rest
        assert 2 <= len(np.unique(own[lead])) <= 5
    limb = own.values[:6]
    assert (limb == limb[0]).all()


def test_shapley_is_by_segment_and_says_how_sure(tiny_bundle: Bundle, ecg: ECG) -> None:
    found = explain(tiny_bundle, ecg, ["MI"], find_methods("shapley", {"orders": "4"}))[0]
    assert found.parameters["by"] == "segment"
    assert found.error is not None
    assert found.completeness_gap == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", ["occlusion_segment", "shapley"])
def test_without_beats_there_are_no_segments(tiny_bundle: Bundle, ecg: ECG, name: str) -> None:
    noise = np.random.default_rng(0).normal(scale=0.3, size=ecg.signal.shape).astype(np.float32)
    with pytest.raises(SignalError, match="--set by=window") as caught:
        explain(tiny_bundle, replace(ecg, signal=noise), ["MI"], name)
    assert (caught.value.kind, caught.value.exit_code) == ("no_beats", 3)
    assert ecg.record_id in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fill", "together"),
    [("occlusion_lead", "mean", True), ("occlusion_lead_zero", 0.0, False), ("occlusion_lead_mean", "mean", False)],
)
def test_whole_leads(tiny_bundle: Bundle, ecg: ECG, name: str, fill: str | float, together: bool) -> None:
    """What is left of the logit without a lead, counted out by hand; a line through nothing is the mean."""
    (found,) = explain(tiny_bundle, ecg, ["MI"], name)
    signal = np.asarray(tiny_bundle.preprocessing.apply([ecg]).signal)[0]
    for rows in ([2], [7]) if not together else (list(range(6)), [7]):
        without = signal.copy()
        without[rows] = signal[rows].mean(axis=1, keepdims=True) if fill == "mean" else fill
        here, hidden_ = predict_raw(tiny_bundle, [signal, without])[:, tiny_bundle.classes.index("MI")]
        assert found.values[rows].sum() == pytest.approx(here - hidden_, abs=1e-5)
    assert found.resolution_ms == 1000 * ecg.duration
    assert find_method(name).parameters["together"] is together


def test_one_preparation_serves_all_methods(tiny_bundle: Bundle, ecg: ECG, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["saliency", "occlusion_segment", "r_distance", "energy"]
    each = [found for method in methods for found in explain(tiny_bundle, ecg, ["MI", "NORM"], method)]
    calls: list[str] = []
    marked = Marks.for_method

    def counted(self: Marks, method: object) -> object:
        before = len(self._found)
        found = marked(self, method)  # type: ignore[arg-type]
        calls.extend("found" for _ in range(len(self._found) - before))
        return found

    monkeypatch.setattr(Marks, "for_method", counted)
    together = explain(tiny_bundle, ecg, ["MI", "NORM"], methods)
    assert [(e.method, e.target) for e in together] == [(e.method, e.target) for e in each]
    for a, b in zip(together, each, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    assert calls == ["found", "found"]  # waves for the segments, R peaks for the distance, each once


# --- parameters as text ----------------------------------------------------------------------------------------------


def test_parameters_by_name() -> None:
    occlusion, lrp = find_methods("occlusion,lrp", {"filler": "matched_noise", "epsilon": "1e-6", "together": "false"})
    assert occlusion.parameters["filler"] == occlusion.absence == "matched_noise"
    assert occlusion.parameters["together"] is False
    assert lrp.parameters == {"epsilon": 1e-6, "z_plus": False}
    assert find_method("occlusion").parameters["filler"] == "line"  # the registry is as it was
    assert find_methods("occlusion", {"filler": "median_beat"})[0].marks == "beats"
    assert find_methods("occlusion", {"by": "segment"})[0].marks == "waves"


@pytest.mark.parametrize(
    ("methods", "given", "words"),
    [
        ("occlusion", {"fillr": "zero"}, "did you mean filler"),
        ("saliency", {"filler": "zero"}, "none"),
        ("occlusion", {"filler": "water"}, "median_beat"),
        ("occlusion", {"length": "long"}, "a number"),
        ("occlusion", {"length": "-1"}, "positive"),
        ("occlusion", {"length": "nan"}, "positive"),
        ("occlusion", {"length": "inf"}, "positive"),
        ("occlusion", {"length": "0.05"}, "stride"),
        ("occlusion", {"by": "beat"}, "window, segment, lead"),
        ("occlusion", {"together": "perhaps"}, "true, false"),
        ("shapley", {"orders": "1"}, "2 or more"),
        ("shapley", {"orders": "2.5"}, "a whole number"),
        ("smoothgrad", {"n": "0"}, "1 copy"),
        ("integrated_gradients", {"steps": "0"}, "1 or more"),
        ("lrp", {"epsilon": "0"}, "above 0"),
        ("oclusion", {}, "did you mean occlusion"),
    ],
)
def test_wrong_parameters_are_one_line(methods: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_methods(methods, given)


def test_a_hidden_premature_beat_changes_the_map(tiny_bundle: Bundle) -> None:
    """The filler is used: other fillers give other maps."""
    ecg = simulate_ecg("sim-1", "NORM").ecg
    maps = [explain(tiny_bundle, ecg, ["MI"], find_methods("occlusion_segment", {"filler": f}))[0] for f in FILLERS]
    for k, one in enumerate(maps):
        assert one.baseline == list(FILLERS)[k]
        assert all(not np.allclose(one.values, other.values, atol=1e-9) for other in maps[k + 1 :])
    assert Occlusion(by="segment") == find_method("occlusion_segment").explainer
