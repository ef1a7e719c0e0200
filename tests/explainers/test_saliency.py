# SPDX-License-Identifier: Apache-2.0
"""Saliency is the gradient of the very logit that `predict` combines, and leaves the network as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Batch, Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError, UsageError
from ecglens.explainers import explain as module
from ecglens.explainers.explain import EXPLAINERS, Method, explain, find_method
from ecglens.explainers.gradient import saliency
from ecglens.explanation import Attribution
from ecglens.leads import STANDARD_LEADS
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.predict import predict
from ecglens.preprocessing.windows import Windows
from ecglens.training.recipes import PREPROCESSING


class Linear(nn.Module):
    """Logit k of a window is the sum of weight[k] times the window."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return torch.einsum("blt,klt->bk", signal, self.weight)


def prepared(bundle: Bundle, ecg: ECG) -> np.ndarray:
    return np.asarray(bundle.preprocessing.apply([ecg]).signal)[0]


@pytest.fixture(scope="module")
def ecg(small_cohort: Cohort) -> ECG:
    return small_cohort[1]


@pytest.mark.parametrize("stride", [250, 125, 80, 333])
def test_exact_for_a_linear_network(ecg: ECG, stride: int) -> None:
    weight = np.random.default_rng(0).normal(size=(2, 12, 250))
    steps = replace(PREPROCESSING, windows=Windows(250, stride))
    bundle = Bundle(Linear(weight), (Output("A"), Output("B", temperature=3.0)), steps, 100.0)
    starts = sorted({*range(0, 751, stride), 750})
    expected = np.zeros((2, 12, 1000))
    for start in starts:
        expected[:, :, start : start + 250] += weight / len(starts)
    for k, explanation in enumerate(explain(bundle, ecg, ["A", "B"])):
        np.testing.assert_allclose(explanation.values, expected[k], rtol=0, atol=1e-5)


def combined_logit(bundle: Bundle, network: nn.Module, signal: torch.Tensor) -> torch.Tensor:
    """All windows, mean of the logits, in the precision of the input."""
    windows = bundle.preprocessing.windows
    cut = [signal[:, s : s + windows.length] for s in windows.starts(signal.shape[1])]
    return network(torch.stack(cut)).mean(dim=0)


def test_equals_finite_differences_of_the_combined_logit(tiny_bundle: Bundle, ecg: ECG) -> None:
    network = copy.deepcopy(tiny_bundle.network).double().eval()
    signal = torch.from_numpy(prepared(tiny_bundle, ecg).astype(np.float64))
    maps = np.stack([e.values for e in explain(tiny_bundle, ecg, list(tiny_bundle.classes))])
    generator = np.random.default_rng(3)
    step, largest = 1e-6, np.abs(maps).max()
    with torch.no_grad():
        for _ in range(60):
            lead, time = int(generator.integers(12)), int(generator.integers(signal.shape[1]))
            up, down = signal.clone(), signal.clone()
            up[lead, time] += step
            down[lead, time] -= step
            slope = (combined_logit(tiny_bundle, network, up) - combined_logit(tiny_bundle, network, down)) / (2 * step)
            np.testing.assert_allclose(maps[:, lead, time], slope.numpy(), rtol=0, atol=1e-4 * largest)


def test_equals_the_gradient_through_all_windows(tiny_bundle: Bundle, ecg: ECG) -> None:
    """The same, for every sample at once: autograd through cutting and averaging."""
    signal = torch.from_numpy(prepared(tiny_bundle, ecg).copy()).requires_grad_(True)
    logits = combined_logit(tiny_bundle, tiny_bundle.network, signal)
    for k, explanation in enumerate(explain(tiny_bundle, ecg, list(tiny_bundle.classes))):
        (gradient,) = torch.autograd.grad(logits[k], signal, retain_graph=True)
        np.testing.assert_allclose(
            explanation.values, gradient.numpy(), rtol=0, atol=1e-6 * float(gradient.abs().max()) + 1e-9
        )


def test_equals_captum_per_window(tiny_bundle: Bundle, ecg: ECG) -> None:
    windows = tiny_bundle.preprocessing.cut(prepared(tiny_bundle, ecg)[None], 100.0)[0]
    found = saliency(tiny_bundle.network, Batch(windows, 100.0, STANDARD_LEADS, ("w",) * len(windows)), np.eye(3))
    captum = Saliency(tiny_bundle.network)
    for k in range(3):
        expected = captum.attribute(torch.from_numpy(windows).requires_grad_(True), target=k, abs=False)
        np.testing.assert_allclose(
            found.values[:, k], expected.detach().numpy(), rtol=0, atol=1e-6 * float(expected.abs().max())
        )


def test_windows_together_are_windows_one_by_one(tiny_bundle: Bundle, ecg: ECG) -> None:
    windows = tiny_bundle.preprocessing.cut(prepared(tiny_bundle, ecg)[None], 100.0)[0]
    together = saliency(tiny_bundle.network, Batch(windows, 100.0, STANDARD_LEADS, ("w",) * 7), np.eye(3)).values
    for k, window in enumerate(windows):
        alone = saliency(tiny_bundle.network, Batch(window[None], 100.0, STANDARD_LEADS, ("w",)), np.eye(3)).values
        np.testing.assert_allclose(alone[0], together[k], rtol=0, atol=1e-6 * np.abs(alone).max())


def test_a_difference_is_the_difference_of_maps(tiny_bundle: Bundle, ecg: ECG) -> None:
    mi, norm, difference = explain(tiny_bundle, ecg, ["MI", "NORM", "MI - NORM"])
    scale = np.abs(mi.values).max()
    np.testing.assert_allclose(difference.values, mi.values - norm.values, rtol=0, atol=1e-6 * scale)
    assert difference.probability is None
    np.testing.assert_array_equal(difference.target_row, mi.target_row - norm.target_row)


def test_a_lead_without_weights_gets_nothing(ecg: ECG) -> None:
    network = initialized(LeNet, {"n_outputs": 2}, 4)
    with torch.no_grad():
        network.blocks[0][0].weight[:, STANDARD_LEADS.index("V3")] = 0
    bundle = Bundle(network, (Output("A"), Output("B")), PREPROCESSING, 100.0)
    for explanation in explain(bundle, ecg, ["A", "B", "A - B"]):
        assert (explanation["V3"] == 0).all()
        assert explanation.share_by_lead()["V3"] == 0
        assert all((explanation[lead] != 0).any() for lead in STANDARD_LEADS if lead != "V3")


def test_the_probability_is_the_predicted_one(tiny_bundle: Bundle, ecg: ECG) -> None:
    probabilities = predict(tiny_bundle, ecg).probabilities
    for explanation in explain(tiny_bundle, ecg, list(tiny_bundle.classes)):
        assert explanation.probability == pytest.approx(probabilities[explanation.target], abs=1e-6)


def test_says_what_how_and_how_finely(tiny_bundle: Bundle, ecg: ECG) -> None:
    later = replace(ecg, start=12.5)
    (told,) = explain(tiny_bundle, later, ["MI"])
    assert told.values.shape == (12, 1000)
    assert told.values.dtype == np.float32
    assert (told.fs, told.start, told.leads, told.record_id) == (100.0, 12.5, STANDARD_LEADS, ecg.record_id)
    assert (told.method, told.verdict, told.resolves_leads, told.resolution_ms) == ("saliency", "not tested", True, 10)
    assert told.baseline is None
    assert told.completeness_gap is None
    assert "logit" in told.unit


def test_the_order_of_leads_and_the_temperature_do_not_matter(tiny_bundle: Bundle, ecg: ECG) -> None:
    (expected,) = explain(tiny_bundle, ecg, ["MI"])
    (shuffled,) = explain(tiny_bundle, ecg.select(STANDARD_LEADS[::-1]), ["MI"])
    np.testing.assert_array_equal(shuffled.values, expected.values)
    warm = replace(tiny_bundle, outputs=tuple(replace(o, temperature=7.0) for o in tiny_bundle.outputs))
    np.testing.assert_array_equal(explain(warm, ecg, ["MI"])[0].values, expected.values)


def test_names_with_the_nearest_known_one(tiny_bundle: Bundle, ecg: ECG) -> None:
    with pytest.raises(UsageError, match="did you mean NORM"):
        explain(tiny_bundle, ecg, ["MI", "NRM"])
    with pytest.raises(UsageError, match="did you mean saliency"):
        explain(tiny_bundle, ecg, ["MI"], "salience")
    with pytest.raises(UsageError) as caught:
        find_method("gradient of all")
    assert "did you mean" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_refuses_what_predict_refuses(tiny_bundle: Bundle, ecg: ECG) -> None:
    with pytest.raises(ContractError) as caught:
        explain(tiny_bundle, ecg.crop(0, 3), ["MI"])
    assert caught.value.kind == "too_short"


# --- the network is left as it was ---------------------------------------------------------------------------------


def state_of(network: nn.Module) -> tuple:
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    return (
        weights,
        [module.training for module in network.modules()],
        [(w.requires_grad, w.grad is None) for w in network.parameters()],
        [[list(hooks) for hooks in module._hooks(m)] for m in network.modules()],
    )


def same(before: tuple, after: tuple) -> bool:
    weights = all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    return weights and before[1:] == after[1:]


@pytest.fixture
def own(tiny_bundle: Bundle) -> Iterator[Bundle]:
    """The tiny bundle with a network of its own, in an odd but legal state."""
    network = copy.deepcopy(tiny_bundle.network)
    bundle = replace(tiny_bundle, network=network)
    network.train()
    network.blocks[1].eval()
    next(network.parameters()).requires_grad_(False)
    network.head.register_forward_hook(lambda *_: None)
    return bundle


def vandal(network: nn.Module, batch: Batch, targets: np.ndarray) -> Attribution:
    """An explainer that does everything it should not, and then fails."""
    assert not any(module.training for module in network.modules())
    network.train()
    for weight in network.parameters():
        weight.requires_grad_(True)
    network.head.register_forward_hook(lambda *_: None)
    network.blocks[0].register_full_backward_hook(lambda *_: None)
    network.blocks[0].register_forward_pre_hook(lambda *_: None)
    raise RuntimeError("out of ideas")


def test_leaves_the_network_as_it_was(own: Bundle, ecg: ECG, tiny_bundle: Bundle) -> None:
    before = state_of(own.network)
    assert True in before[1]
    assert False in before[1]
    found = explain(own, ecg, ["MI", "MI - CD"])
    assert same(before, state_of(own.network))
    expected = explain(tiny_bundle, ecg, ["MI", "MI - CD"])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.values, b.values)  # explained in evaluation mode, dropout or not
        assert a.probability == b.probability


def test_also_after_an_exception(own: Bundle, ecg: ECG, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPLAINERS, "vandal", Method(vandal, "none"))
    before = state_of(own.network)
    with pytest.raises(RuntimeError, match="out of ideas"):
        explain(own, ecg, ["MI"], "vandal")
    assert same(before, state_of(own.network))


def test_randomized_weights_change_the_map(tiny_bundle: Bundle, ecg: ECG) -> None:
    random = replace(tiny_bundle, network=initialized(LeNet, {"n_outputs": 3}, 99))
    one, other = explain(tiny_bundle, ecg, ["MI"])[0].values, explain(random, ecg, ["MI"])[0].values
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3
