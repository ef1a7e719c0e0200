# SPDX-License-Identifier: Apache-2.0
"""Probabilities instead of logits: each map against numbers worked out another way, the rest refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError, UsageError
from ecglens.explainers.explain import explain
from ecglens.explainers.gradient import IntegratedGradients
from ecglens.explainers.methods import EXPLAINERS, find_method
from ecglens.explainers.output import AsPredicted, activated, slopes
from ecglens.explainers.perturbation import Occlusion
from ecglens.models.average import Average
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.predict import predict_raw
from ecglens.training.recipes import PREPROCESSING

KINDS = {
    "multilabel": (Output("A", temperature=0.2, offset=-0.3), Output("B", temperature=0.5), Output("C", offset=0.4)),
    "multiclass": tuple(Output(name, "multiclass", temperature=0.3) for name in "ABC"),
}


def bundle_of(kind: str) -> Bundle:
    return Bundle(initialized(LeNet, {"n_outputs": 3}, 5), KINDS[kind], PREPROCESSING, 100.0)


@pytest.fixture(scope="module")
def ecg(small_cohort: Cohort) -> ECG:
    return small_cohort[1]


def prepared(bundle: Bundle, ecg: ECG) -> np.ndarray:
    return np.asarray(bundle.preprocessing.apply([ecg]).signal)[0]


def probabilities(bundle: Bundle, signals: list[np.ndarray]) -> np.ndarray:
    return bundle.activate(predict_raw(bundle, signals))


@pytest.mark.parametrize("kind", KINDS)
def test_activation_and_its_slopes(kind: str) -> None:
    bundle, z = bundle_of(kind), np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(activated(bundle.outputs, torch.from_numpy(z)).numpy(), bundle.activate(z), atol=1e-12)
    step = 1e-6
    for k in range(3):
        up, down = z[0].copy(), z[0].copy()
        up[k], down[k] = up[k] + step, down[k] - step
        expected = (bundle.activate(up[None]) - bundle.activate(down[None]))[0] / (2 * step)
        np.testing.assert_allclose(slopes(bundle, z[0])[:, k], expected, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_is_the_slope_of_the_probability(kind: str, ecg: ECG) -> None:
    """Against autograd through cutting, averaging and activation."""
    bundle = bundle_of(kind)
    signal = torch.from_numpy(prepared(bundle, ecg).copy()).requires_grad_(True)
    windows = bundle.preprocessing.windows
    cut = torch.stack([signal[:, s : s + windows.length] for s in windows.starts(signal.shape[1])])
    p = activated(bundle.outputs, bundle.network(cut).mean(dim=0))
    for target, row in (("A", [1, 0, 0]), ("B - C", [0, 1, -1])):
        expected = torch.autograd.grad((p * torch.tensor(row)).sum(), signal, retain_graph=True)[0].numpy()
        found = explain(bundle, ecg, [target], output="probability")[0]
        np.testing.assert_allclose(found.values, expected, atol=1e-5 * np.abs(expected).max())
        assert found.unit == "probability per unit of the prepared signal"
        assert found.parameters["output"] == "probability"


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_add_up_to_the_difference_of_probabilities(kind: str, ecg: ECG) -> None:
    bundle = bundle_of(kind)
    signal = prepared(bundle, ecg)
    here, at_zero = probabilities(bundle, [signal, np.zeros_like(signal)])
    for found in explain(bundle, ecg, ["all"], "integrated_gradients", output="probability"):
        k = "ABC".index(found.target)
        promised = here[k] - at_zero[k]
        assert found.values.sum() == pytest.approx(promised, abs=0.01 * abs(promised) + 1e-6)
        assert found.completeness_gap == pytest.approx(abs(promised - found.values.sum()), abs=1e-6)
        assert found.warnings == ()


def test_the_path_goes_through_the_activation_of_all_windows(ecg: ECG) -> None:
    """Not the logit's map times a number: the same integral, worked out point by point on the whole record."""
    bundle = bundle_of("multiclass")
    steps = 6
    method = replace(find_method("integrated_gradients"), explainer=IntegratedGradients(steps=steps, doublings=0))
    (found,) = explain(bundle, ecg, ["B"], method, output="probability")
    signal = torch.from_numpy(prepared(bundle, ecg).copy())
    windows = bundle.preprocessing.windows
    total = torch.zeros_like(signal)
    for node, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
        point = ((node + 1) / 2 * signal).requires_grad_(True)
        cut = torch.stack([point[:, s : s + windows.length] for s in windows.starts(signal.shape[1])])
        p = activated(bundle.outputs, bundle.network(cut).mean(dim=0))[1]
        total += weight / 2 * torch.autograd.grad(p, point)[0]
    expected = (total * signal).numpy()
    np.testing.assert_allclose(found.values, expected, atol=1e-5 * np.abs(expected).max())


def test_occlusion_asks_for_probabilities(ecg: ECG) -> None:
    bundle = bundle_of("multilabel")
    method = replace(find_method("occlusion_lead_zero"), explainer=Occlusion(by="lead", filler="zero", together=False))
    (found,) = explain(bundle, ecg, ["B"], method, output="probability")
    signal = prepared(bundle, ecg)
    without = signal.copy()
    without[7] = 0.0
    here, hidden = probabilities(bundle, [signal, without])[:, 1]
    assert found["V2"].sum() == pytest.approx(here - hidden, abs=1e-6)
    assert (found.unit, found.baseline) == ("probability", "zero")


@pytest.mark.parametrize("name", ["gradcam", "guided_backprop"])
def test_layer_methods_of_an_average_follow_the_chain_rule(name: str, ecg: ECG) -> None:
    """One class of a multilabel network: the logit's map times dp/dz, whatever the number of members."""
    bundle = bundle_of("multilabel")
    both = replace(bundle, network=Average([bundle.network, initialized(LeNet, {"n_outputs": 3}, 6)]))
    z = predict_raw(both, [prepared(both, ecg)])[0]
    (logit,), (found,) = (explain(both, ecg, ["A"], name, output=o) for o in ("logit", "probability"))
    expected = logit.values * slopes(both, z)[0, 0]
    np.testing.assert_allclose(found.values, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name, method in EXPLAINERS.items() if not method.probability])
def test_methods_without_a_rule_are_refused(name: str, ecg: ECG) -> None:
    with pytest.raises(ContractError, match="--output logit") as caught:
        explain(bundle_of("multilabel"), ecg, ["A"], name, output="probability")
    assert caught.value.kind == "method"


def test_outputs_that_are_no_probabilities_are_refused(ecg: ECG) -> None:
    outputs = (Output("A"), Output("age", "regression", "years"), Output("C"))
    bundle = replace(bundle_of("multilabel"), outputs=outputs)
    with pytest.raises(ContractError, match="no probability of age"):
        explain(bundle, ecg, ["age"], output="probability")
    assert explain(bundle, ecg, ["A"], output="probability")[0].values.any()
    with pytest.raises(UsageError, match="logit, probability"):
        explain(bundle, ecg, ["A"], output="odds")


def test_windows_that_copies_share_are_answered_once(ecg: ECG) -> None:
    bundle = bundle_of("multilabel")
    signal = prepared(bundle, ecg)
    copies = np.stack([signal] * 4)
    copies[1, 0, :100] = 5.0  # in the first window alone
    copies[2, :, -100:] += 5.0  # in the last
    n_windows = bundle.preprocessing.cut(copies, bundle.fs).shape[1]
    seen: list[int] = []
    hook = bundle.network.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    answers = AsPredicted(bundle)(torch.from_numpy(copies)).numpy()
    hook.remove()
    assert seen == [n_windows + 2]
    np.testing.assert_allclose(answers, predict_raw(bundle, list(copies)), atol=1e-5)
    assert np.abs(answers[1:3] - answers[0]).max(axis=1).min() > 1e-3
    assert (answers[3] == answers[0]).all()
