# SPDX-License-Identifier: Apache-2.0
"""Each method against an independent derivation: a formula, an identity, another library, all orders counted out."""

from __future__ import annotations

import itertools
import warnings
from math import factorial

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, GuidedBackprop, LayerGradCam
from captum.attr import IntegratedGradients as CaptumIG
from torch import Tensor, nn
from torch.nn.functional import conv_transpose1d, relu

from ecglens.cohort import Batch
from ecglens.errors import ContractError, SignalError, UsageError
from ecglens.explainers.baselines import energy, r_distance, random, slope
from ecglens.explainers.deeplift import deeplift
from ecglens.explainers.fillers import FILLERS, Recording
from ecglens.explainers.gradcam import gradcam, guided_gradcam
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad, gradient_x_input, guided_backprop, saliency
from ecglens.explainers.linter import complaints, refuse_unsuitable
from ecglens.explainers.lrp import LRP, fold_batch_norm
from ecglens.explainers.perturbation import Occlusion, Shapley
from ecglens.explainers.regions import Region, lead_groups, time_windows
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import STANDARD_LEADS, limb_residual
from ecglens.models.layers import Residual
from ecglens.models.lenet import LeNet
from ecglens.models.xresnet1d import XResNet1d

N = 200
EYE = np.eye(2)


@pytest.fixture(scope="module")
def batch() -> Batch:
    signal = np.random.default_rng(5).normal(size=(3, 12, N)).astype(np.float32)
    return Batch(signal, 100.0, STANDARD_LEADS, ("a", "b", "c"), (0.0, 0.0, 0.0))


def seeded(network: nn.Module, bias: bool = True) -> nn.Module:
    generator = torch.Generator().manual_seed(4)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            for tensor, low, high in ((layer.running_mean, -0.3, 0.3), (layer.running_var, 0.5, 2.0),
                                      (layer.weight.data, 0.5, 1.5), (layer.bias.data, -0.2, 0.2)):  # fmt: skip
                tensor.uniform_(low, high, generator=generator)
        elif isinstance(layer, nn.Conv1d | nn.Linear):
            layer.weight.data.uniform_(-0.4, 0.4, generator=generator)
            if layer.bias is not None:
                layer.bias.data.uniform_(-0.3, 0.3, generator=generator) if bias else layer.bias.data.zero_()
    return network.eval()


def linear() -> tuple[nn.Module, np.ndarray]:
    network = seeded(nn.Sequential(nn.Flatten(), nn.Linear(12 * N, 2, bias=False)))
    return network, network[1].weight.detach().numpy().reshape(2, 12, N)


def without_biases(residual: bool) -> nn.Module:
    """ReLU, maximum and mean, with or without a residual block, and not a bias anywhere."""
    path = nn.Sequential(
        nn.Conv1d(6, 6, 3, padding=1, bias=False), nn.ReLU(), nn.Conv1d(6, 6, 3, padding=1, bias=False)
    )
    middle = Residual(path) if residual else path
    return seeded(
        nn.Sequential(
            nn.Conv1d(12, 6, 5, bias=False), nn.ReLU(), nn.MaxPool1d(2), middle, nn.AvgPool1d(2),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False),
        )
    )  # fmt: skip


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


# --- a linear network: everything is known ---------------------------------------------------------------------------


def test_a_linear_network_is_explained_exactly(batch: Batch) -> None:
    network, weight = linear()
    product = weight[None] * np.asarray(batch.signal)[:, None]
    for explainer in (saliency, SmoothGrad(n=2)):
        close(explainer(network, batch, EYE).values, np.broadcast_to(weight, product.shape))
    for explainer in (gradient_x_input, IntegratedGradients(steps=3), deeplift, LRP(epsilon=1e-9)):
        close(explainer(network, batch, EYE).values, product)


@pytest.mark.parametrize("filler", ["zero", "mean"])
def test_occlusion_and_shapley_of_a_linear_network(batch: Batch, filler: str) -> None:
    network, weight = linear()
    signal = np.asarray(batch.signal)
    level = signal.mean(axis=2, keepdims=True) if filler == "mean" else 0.0
    product = weight[None] * (signal - level)[:, None]
    regions = time_windows(STANDARD_LEADS, N, 24, 24)
    expected = np.zeros_like(product)
    for region in regions:
        rows, columns = np.array(region.leads)[:, None], np.flatnonzero(region.times)
        total = product[:, :, rows, columns].sum(axis=(2, 3)) / (len(region.leads) * len(columns))
        expected[:, :, rows, columns] = total[:, :, None, None]
    close(Occlusion(length=0.24, stride=0.24, filler=filler)(network, batch, EYE).values, expected, 1e-4)
    shapley = Shapley(orders=2, by="window", length=0.24, filler=filler)(network, batch, EYE)
    close(shapley.values, expected, 1e-4)  # any single order is exact where contributions do not depend on it
    assert shapley.gap is not None
    assert np.abs(shapley.gap).max() < 1e-4


# --- gradient family -------------------------------------------------------------------------------------------------


def test_smoothgrad_of_one_copy_without_noise_is_the_gradient(batch: Batch) -> None:
    network = without_biases(residual=True)
    found = SmoothGrad(n=1, noise=0.0)(network, batch, EYE)
    np.testing.assert_array_equal(found.values, saliency(network, batch, EYE).values)
    assert found.error is None


def test_smoothgrads_error_is_that_of_its_mean(batch: Batch) -> None:
    network = without_biases(residual=False)
    draws = np.stack([SmoothGrad(n=8, noise=0.3, seed=seed)(network, batch, EYE).values for seed in range(24)])
    told = np.mean([SmoothGrad(n=8, noise=0.3, seed=s)(network, batch, EYE).error ** 2 for s in range(24)])  # type: ignore[operator]
    assert np.sqrt(told) == pytest.approx(np.sqrt(draws.var(axis=0, ddof=1).mean()), rel=0.1)


def test_integrated_gradients_add_up_and_agree_with_captum(batch: Batch) -> None:
    network = seeded(LeNet(n_outputs=2, widths=(6, 6, 6)))
    found = IntegratedGradients(steps=64, doublings=0)(network, batch, EYE)
    x = torch.from_numpy(np.asarray(batch.signal))
    theirs = CaptumIG(network).attribute(x, target=1, n_steps=64, method="gausslegendre").detach().numpy()
    close(found.values[:, 1], theirs, 1e-3)
    with torch.no_grad():
        difference = (network(x) - network(torch.zeros_like(x))).numpy()
    np.testing.assert_allclose(found.values.sum(axis=(2, 3)) + found.gap, difference, atol=1e-5)
    assert np.abs(found.gap).max() < 0.02 * np.abs(difference).max()  # type: ignore[arg-type]


def test_guided_backprop_and_gradcam_agree_with_captum(batch: Batch) -> None:
    network = seeded(LeNet(n_outputs=2, widths=(6, 6, 6)))
    x = torch.from_numpy(np.asarray(batch.signal))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns of the very hooks it is asked to set
        guided = GuidedBackprop(network).attribute(x, target=1).detach().numpy()
        coarse = LayerGradCam(network, network.blocks[-1]).attribute(x, target=1, relu_attributions=True)
    close(guided_backprop(network, batch, EYE).values[:, 1], guided)
    ours = gradcam(network, batch, EYE).values[:, 1]
    steps = coarse.shape[-1]
    centres = 47 + 32 * np.arange(steps)  # captum has no centres; each step sees 95 samples, the first from sample 0 on
    expected = np.stack([np.interp(np.arange(N), centres, row) for row in coarse.detach().numpy()[:, 0]])
    close(ours[:, 0], expected)
    assert (ours == ours[:, :1]).all()  # the same in all leads
    close(guided_gradcam(network, batch, EYE).values[:, 1], expected[:, None] * guided)


# --- LRP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
def test_lrp_without_biases_is_gradient_times_input_and_sums_to_the_logit(batch: Batch, residual: bool) -> None:
    network = without_biases(residual)
    found = LRP(epsilon=1e-9)(network, batch, EYE)
    close(found.values, gradient_x_input(network, batch, EYE).values, 1e-4)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.asarray(batch.signal))).numpy()
    np.testing.assert_allclose(found.values.sum(axis=(2, 3)), logits, rtol=1e-3)


def test_lrp_of_two_layers_is_the_formula(batch: Batch) -> None:
    first, second = nn.Linear(12 * N, 7), nn.Linear(7, 2)
    network = seeded(nn.Sequential(nn.Flatten(), first, nn.ReLU(), second))
    x = np.asarray(batch.signal).reshape(3, -1).astype(np.float64)
    w1, b1, w2, b2 = (p.detach().numpy().astype(np.float64) for p in network.parameters())
    epsilon = 0.01

    def stable(z: np.ndarray) -> np.ndarray:
        return z + epsilon * np.where(z >= 0, 1, -1)

    z1 = x @ w1.T + b1
    a1 = np.maximum(z1, 0)
    z2 = a1 @ w2.T + b2
    for k in range(2):
        r1 = a1 * w2[k] * (z2[:, k] / stable(z2[:, k]))[:, None]
        r0 = np.einsum("bi,ji,bj->bi", x, w1, r1 / stable(z1))
        found = LRP(epsilon=epsilon)(network, batch, EYE).values[:, k].reshape(3, -1)
        close(found, r0, 1e-4)


def test_z_plus_gives_nothing_negative_and_conserves(batch: Batch) -> None:
    network = nn.Sequential(nn.Conv1d(12, 6, 5, bias=False), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                            nn.Linear(6, 2, bias=False))  # fmt: skip
    seeded(network)
    network[4].weight.data.abs_()  # all relevance is for the logit, so that shares must be too
    found = LRP(epsilon=1e-9, z_plus=True)(network, batch, EYE)
    assert found.values.min() >= 0
    with torch.no_grad():
        logits = network(torch.from_numpy(np.asarray(batch.signal))).numpy()
    np.testing.assert_allclose(found.values.sum(axis=(2, 3)), logits, rtol=1e-4)


def test_a_folded_network_is_the_same_network(batch: Batch) -> None:
    x = torch.from_numpy(np.asarray(batch.signal))
    for network in (LeNet(n_outputs=2), XResNet1d(n_outputs=2, stem=(4, 5, 6), stages=(1, 2, 1, 1), width=4)):
        seeded(network)
        folded = fold_batch_norm(network)
        assert not any(isinstance(layer, nn.BatchNorm1d) for layer in folded.modules())
        with torch.no_grad():
            close(folded(x).numpy(), network(x).numpy(), 1e-4)


# --- DeepLIFT --------------------------------------------------------------------------------------------------------


def test_deeplift_adds_up_and_agrees_with_captum_without_maxima(batch: Batch) -> None:
    layers = [nn.Conv1d(12, 6, 5), nn.ReLU(), nn.Conv1d(6, 6, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()]
    network = seeded(nn.Sequential(*layers, nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)))
    found = deeplift(network, batch, EYE)
    x = torch.from_numpy(np.asarray(batch.signal))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DeepLift(network).attribute(x, torch.zeros_like(x), target=1).detach().numpy()
    close(found.values[:, 1], theirs, 1e-4)
    assert np.abs(found.gap).max() < 1e-5  # type: ignore[arg-type]


def test_deeplift_through_a_maximum_is_counted_out() -> None:
    """Captum's rule for a maximum behind a ReLU gives another map (as of 0.9); here it is worked out by hand."""
    torch.manual_seed(0)
    network = seeded(nn.Sequential(nn.Conv1d(12, 4, 5), nn.ReLU(), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(1),
                                   nn.Flatten(), nn.Linear(4, 2)))  # fmt: skip
    x = torch.randn(1, 12, 60)
    with torch.no_grad():
        z, z0 = network[0](x), network[0](torch.zeros_like(x))
        h, h0 = relu(z), relu(z0)
        given = torch.zeros_like(h)
        for channel in range(4):
            for t in range(h.shape[-1] // 2):
                a, b = (v[0, channel, 2 * t : 2 * t + 2] for v in (h, h0))
                top = max(a.max(), b.max())
                given[0, channel, 2 * t + int(a.argmax())] += top - b.max()
                given[0, channel, 2 * t + int(b.argmax())] += a.max() - top
        slopes = torch.where((h - h0).abs() > 1e-6, given / (h - h0), torch.zeros(1)) * torch.where(
            (z - z0).abs() > 1e-6, (h - h0) / (z - z0), torch.zeros(1)
        )
        back = slopes * (network[5].weight[1] / (h.shape[-1] // 2))[None, :, None]
        expected = (conv_transpose1d(back, network[0].weight) * x).numpy()
    found = deeplift(network, Batch(x.numpy(), 100.0, STANDARD_LEADS, ("a",)), EYE)
    close(found.values[:, 1], expected, 1e-4)
    assert np.abs(found.gap).max() < 1e-6  # type: ignore[arg-type]


# --- Shapley values --------------------------------------------------------------------------------------------------


class Counted(nn.Module):
    """A game of three leads: the product of two means, and the third by itself."""

    def forward(self, signal: Tensor) -> Tensor:
        means = signal.mean(dim=2)
        return torch.stack([means[:, 6] * means[:, 7] + means[:, 8], means[:, 6]], dim=1)


def test_shapley_values_are_those_of_all_orders() -> None:
    signal = np.full((1, 12, 50), 0.0, np.float32)
    signal[0, 6], signal[0, 7], signal[0, 8] = 2.0, 3.0, 5.0
    batch = Batch(signal, 100.0, STANDARD_LEADS, ("a",), (0.0,))
    found = Shapley(orders=64, by="window", length=0.5, filler="zero")(Counted(), batch, EYE)
    value = {6: 2.0, 7: 3.0, 8: 5.0}

    def game(players: set[int]) -> float:
        return (value[6] * value[7] if {6, 7} <= players else 0.0) + (value[8] if 8 in players else 0.0)

    expected = dict.fromkeys(value, 0.0)
    for order in itertools.permutations(value):
        for place, player in enumerate(order):
            before = set(order[:place])
            expected[player] += (game(before | {player}) - game(before)) / factorial(len(value))
    sums = found.values[0, 0].sum(axis=1)
    # An order and its reverse give each player of a product half of it, whatever the order.
    np.testing.assert_allclose([sums[6], sums[7], sums[8]], [expected[6], expected[7], expected[8]], atol=1e-5)
    assert np.abs(np.delete(sums, [6, 7, 8])).max() < 1e-6
    assert np.abs(found.gap).max() < 1e-5  # type: ignore[arg-type]


# --- regions and fillers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def einthoven() -> np.ndarray:
    generator = np.random.default_rng(1)
    one, two = generator.normal(size=(2, N)).cumsum(axis=1)
    chest = generator.normal(size=(6, N))
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([np.stack(limb), chest]).astype(np.float32)


@pytest.mark.parametrize("name", FILLERS)
def test_fillers_keep_the_limb_laws_and_leave_the_rest_alone(einthoven: np.ndarray, name: str) -> None:
    times = np.zeros(N, bool)
    times[30:50] = True
    region = Region("limb", lead_groups(STANDARD_LEADS)["limb"], times)
    filled = FILLERS[name](recorded(einthoven), region)
    residual = limb_residual(filled, STANDARD_LEADS)
    assert residual is not None
    assert residual < 1e-5
    np.testing.assert_array_equal(filled[:, ~times], einthoven[:, ~times])
    np.testing.assert_array_equal(filled[6:], einthoven[6:])
    assert not np.array_equal(filled[:6, times], einthoven[:6, times])


def test_hiding_iii_alone_breaks_them(einthoven: np.ndarray) -> None:
    region = Region("III", lead_groups(STANDARD_LEADS, together=False)["III"], np.ones(N, bool))
    assert limb_residual(FILLERS["zero"](recorded(einthoven), region), STANDARD_LEADS) > 0.1  # type: ignore[operator]


def recorded(signal: np.ndarray) -> Recording:
    return Recording(signal, STANDARD_LEADS, "a", np.array([20, 80, 145, 190]))


def test_windows_cover_every_sample_of_every_lead() -> None:
    for length, stride in ((20, 10), (7, 7), (N, N), (50, 33)):
        seen = np.zeros((12, N), int)
        for region in time_windows(STANDARD_LEADS, N, length, stride):
            seen[np.array(region.leads)[:, None], np.flatnonzero(region.times)] += 1
        assert seen.min() >= 1
    with pytest.raises(UsageError, match="stride"):
        time_windows(STANDARD_LEADS, N, 5, 6)


def marks(times: dict[str, float]) -> Fiducials:
    array = np.full((12, 1, len(MARKS)), np.nan)
    for name, at in times.items():
        array[:, 0, MARKS.index(name)] = at
    absent = {(lead, None, wave): "not marked" for lead in STANDARD_LEADS for wave in ("P", "T")}
    return Fiducials(array, STANDARD_LEADS, "by hand", absent=absent)


def test_segments_are_where_the_marks_say(batch: Batch) -> None:
    beat = marks({"P_onset": 0.1, "P_offset": 0.2, "QRS_onset": 0.3, "R_peak": 0.35, "QRS_offset": 0.4,
                  "T_onset": 0.5, "T_offset": 0.7})  # fmt: skip
    signal = np.zeros((1, 12, N), np.float32)
    signal[0, 6, 30:40] = 1.0  # V1 in QRS
    one = Batch(signal, 100.0, STANDARD_LEADS, ("a",), (0.0,), (beat,))
    falls = Occlusion(by="segment", filler="zero")(Counted(), one, EYE).values[0, 1]
    assert set(map(tuple, np.argwhere(np.abs(falls) > 1e-7).tolist())) == {(6, t) for t in range(30, 40)}
    with pytest.raises(SignalError, match="beats"):
        Occlusion(by="segment")(Counted(), batch, EYE)


# --- maps that know nothing ------------------------------------------------------------------------------------------


def test_baselines_know_nothing_of_network_and_target(batch: Batch) -> None:
    signal = np.asarray(batch.signal)
    for explainer in (random, energy, slope):
        found = explainer(nn.Identity(), batch, EYE).values
        np.testing.assert_array_equal(found[:, 0], found[:, 1])
    close(energy(nn.Identity(), batch, EYE).values[:, 0], signal**2)
    ramp = Batch(np.tile(np.arange(N, dtype=np.float32), (1, 12, 1)), 100.0, STANDARD_LEADS, ("a",), (0.0,))
    close(slope(nn.Identity(), ramp, EYE).values, np.full((1, 2, 12, N), 100.0))
    beat = Batch(ramp.signal, 100.0, STANDARD_LEADS, ("a",), (0.0,), (marks({"R_peak": 0.35}),))
    near = r_distance(nn.Identity(), beat, EYE).values[0, 0, 0]
    assert (int(near.argmax()), near[35], near[45]) == (35, pytest.approx(1.0), pytest.approx(np.exp(-1)))
    with pytest.raises(SignalError, match="R peak"):
        r_distance(nn.Identity(), batch, EYE)


# --- the linter ------------------------------------------------------------------------------------------------------


class Functional(nn.Module):
    """A ReLU and a sum written as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(12, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.pool, self.head = nn.AdaptiveAvgPool1d(1), nn.Linear(4, 2)

    def forward(self, signal: Tensor) -> Tensor:
        features = relu(self.first(signal))
        return self.head(self.pool(features + self.second(features)).flatten(1))


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.more = nn.Conv1d(12, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3)
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, signal: Tensor) -> Tensor:
        return self.head(self.act(self.more(self.act(self.conv(signal)))))


def test_the_linter_says_what_is_wrong() -> None:
    x = torch.randn(2, 12, 64)
    assert complaints(Functional(), "saliency", x) == []
    for method in ("deeplift", "lrp"):
        assert complaints(Functional(), method, x) == [
            "an operation that is no layer (Add)", "an operation that is no layer (Relu)",
        ]  # fmt: skip
    assert "a ReLU that is no layer" in complaints(Functional(), "guided_backprop", x)
    assert complaints(Reused(), "deeplift", x) == ["layer act is used 2 times"]
    odd = nn.Sequential(nn.Conv1d(12, 4, 3), nn.GELU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    assert complaints(odd, "lrp", x) == ["layer 1 is a GELU, for which there is no rule"]
    assert complaints(odd, "guided_backprop", x) == ["no ReLU to guide"]
    assert complaints(odd, "gradcam", x) == ["its last block leaves no time steps, or it states no blocks"]
    assert complaints(without_biases(residual=True), "lrp", x) == []
    with pytest.raises(ContractError, match="GELU"):
        refuse_unsuitable(odd, "lrp", x)


def test_what_the_linter_warns_of_is_really_wrong(batch: Batch) -> None:
    """The sum written as a function: without the linter LRP would not conserve, and nobody would see it."""
    network = seeded(Functional(), bias=False)
    found = LRP(epsilon=1e-9)(network, batch, EYE)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.asarray(batch.signal))).numpy()
    assert np.abs(found.values.sum(axis=(2, 3)) / logits - 1).max() > 0.1
