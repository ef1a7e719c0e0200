# SPDX-License-Identifier: Apache-2.0
"""Every method through `explain`: what is explained is what is predicted, for one network or an average of several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError
from ecglens.explainers.explain import EXPLAINERS, AsPredicted, Method, explain, find_method
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad
from ecglens.explainers.perturbation import Occlusion, Shapley
from ecglens.models.average import Average
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.predict import predict, predict_raw

FEWER = {
    "smoothgrad": SmoothGrad(n=2), "integrated_gradients": IntegratedGradients(steps=4, doublings=0),
    "occlusion": Occlusion(length=1.0, stride=1.0), "shapley": Shapley(orders=2, by="window", length=2.5),
}  # fmt: skip


@pytest.fixture(scope="module")
def ecg(small_cohort: Cohort) -> ECG:
    return small_cohort[1]


def quick(name: str) -> Method:
    return replace(find_method(name), explainer=FEWER.get(name, find_method(name).explainer))


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if not name.startswith("attention")])
def test_every_method_explains_the_prediction(tiny_bundle: Bundle, ecg: ECG, name: str) -> None:
    one, difference = explain(tiny_bundle, ecg, ["MI", "MI - NORM"], quick(name))
    assert one.probability == pytest.approx(predict(tiny_bundle, ecg).probabilities["MI"], abs=1e-6)
    assert difference.probability is None
    assert one.values.shape == (12, 1000)
    assert (one.fs, one.start) == (100.0, ecg.start)
    assert one.unit
    assert one.resolution_ms >= 10


def test_record_methods_see_the_record_as_it_is_predicted(tiny_bundle: Bundle, ecg: ECG) -> None:
    signal = np.asarray(tiny_bundle.preprocessing.apply([ecg]).signal)
    import torch

    found = AsPredicted(tiny_bundle)(torch.from_numpy(signal.copy())).numpy()
    np.testing.assert_allclose(found, predict_raw(tiny_bundle, [signal[0]]), atol=1e-6)


def test_gaps_are_those_of_the_combined_logit(tiny_bundle: Bundle, ecg: ECG) -> None:
    signal = np.asarray(tiny_bundle.preprocessing.apply([ecg]).signal)[0]
    logit, at_zero = predict_raw(tiny_bundle, [signal, np.zeros_like(signal)])
    k = tiny_bundle.classes.index("MI")
    for name, promised in (("deeplift", logit[k] - at_zero[k]), ("lrp", logit[k]), ("gradient_x_input", logit[k])):
        found = explain(tiny_bundle, ecg, ["MI"], name)[0]
        assert found.completeness_gap == pytest.approx(abs(promised - found.values.sum()), abs=1e-4), name


def test_a_sum_that_is_missed_is_said(tiny_bundle: Bundle, ecg: ECG) -> None:
    rough = replace(find_method("integrated_gradients"), explainer=IntegratedGradients(steps=1, doublings=0))
    fine = explain(tiny_bundle, ecg, ["MI"], "integrated_gradients")[0]
    assert fine.warnings == ()
    assert "does not add up" in explain(tiny_bundle, ecg, ["MI"], rough)[0].warnings[0]


@pytest.mark.parametrize("name", ["lrp", "deeplift", "gradcam", "guided_backprop", "saliency"])
def test_an_average_is_explained_by_its_members(tiny_bundle: Bundle, ecg: ECG, name: str) -> None:
    other = replace(tiny_bundle, network=initialized(LeNet, {"n_outputs": len(tiny_bundle.classes)}, 8))
    both = replace(tiny_bundle, network=Average([tiny_bundle.network, other.network]))
    maps = [explain(bundle, ecg, ["MI"], name)[0].values for bundle in (tiny_bundle, other, both)]
    np.testing.assert_allclose(maps[2], (maps[0] + maps[1]) / 2, atol=1e-5 * np.abs(maps[2]).max())


def test_smoothgrad_says_how_sure_it_is(tiny_bundle: Bundle, ecg: ECG) -> None:
    found = explain(tiny_bundle, ecg, ["MI"], quick("smoothgrad"))[0]
    assert found.error is not None
    assert found.error.shape == found.values.shape
    assert (found.error > 0).mean() > 0.9


def test_what_does_not_fit_is_refused_with_the_reason(tiny_bundle: Bundle, ecg: ECG) -> None:
    with pytest.raises(ContractError, match="ECGNet"):
        explain(tiny_bundle, ecg, ["MI"], "attention")


def test_maps_say_what_they_resolve(tiny_bundle: Bundle, ecg: ECG) -> None:
    coarse = explain(tiny_bundle, ecg, ["MI"], "gradcam")[0]
    assert not coarse.resolves_leads
    assert coarse.resolution_ms > 300
    assert explain(tiny_bundle, ecg, ["MI"], "lrp")[0].resolution_ms == 10
