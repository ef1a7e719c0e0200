# SPDX-License-Identifier: Apache-2.0
"""Figures of the audit against what can be worked out by hand, or by another way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from ecglens import STANDARD_LEADS, Bundle, Output
from ecglens.auditing import faithfulness
from ecglens.auditing.attention import divergence, permuted, replaced, uniform
from ecglens.auditing.maps import Cases, maps_of
from ecglens.auditing.planted import truth_figures
from ecglens.auditing.randomization import cascade, redraw
from ecglens.auditing.similarity import spearman, ssim
from ecglens.auditing.specificity import ceilings, margin, spatial_specificity, temporal_curves
from ecglens.auditing.twins import Schedule
from ecglens.auditing.verdict import RULES, TestResult, Verdict, best_method, decide, untested
from ecglens.auditing.work import Size, Work
from ecglens.bundle import as_tensor
from ecglens.explainers.explain import explain
from ecglens.explainers.methods import EXPLAINERS
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet
from ecglens.preprocessing.pipeline import Admission, Preprocessing
from ecglens.preprocessing.windows import Windows
from ecglens.simulation import simulate_ecg

RNG = np.random.default_rng(0)


def cases(signals: np.ndarray, evidence: np.ndarray | None = None, n_outputs: int = 1) -> Cases:
    names = tuple(f"r{k}" for k in range(len(signals)))
    rows = np.eye(n_outputs)[np.zeros(len(signals), int)]
    leads = STANDARD_LEADS[: signals.shape[1]]
    return Cases(signals.astype(np.float32), 100.0, leads, names, names, ("A",) * len(signals), rows, evidence=evidence)


class Linear(nn.Module):
    """logit = sum of weight * signal: what every region carries is known."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return (signal * self.weight).sum(dim=(1, 2))[:, None]


def linear_bundle(weight: np.ndarray) -> Bundle:
    windows = Windows(weight.shape[1], weight.shape[1])
    return Bundle(Linear(weight), (Output("A"),), Preprocessing(Admission(), (), windows), 100.0)


# ----------------------------------------------------------------------------------------------------- planted truth


def test_a_constant_map_gets_chance_and_the_evidence_itself_gets_everything():
    evidence = RNG.random((6, 12, 200)) < 0.1
    for maps, mass in ((np.ones((6, 12, 200)), evidence.mean()), (evidence.astype(float), 1.0)):
        found = truth_figures(maps, cases(maps, evidence))
        assert found["mass"][0].mean() == pytest.approx(mass)
        assert found["rank"][0].mean() == pytest.approx(mass)
        np.testing.assert_allclose(found["mass"][1], evidence.mean(axis=(1, 2)))
    assert found["auroc"][0].min() == found["pointing"][0].min() == 1.0


def test_the_rank_figure_does_not_know_a_map_from_its_square():
    maps, evidence = RNG.normal(size=(4, 12, 300)), RNG.random((4, 12, 300)) < 0.05
    one, other = (truth_figures(m, cases(maps, evidence)) for m in (maps, maps**2))
    for name in ("rank", "pointing", "auroc"):
        np.testing.assert_allclose(one[name][0], other[name][0])
    assert np.abs(one["mass"][0] - other["mass"][0]).max() > 1e-3  # which is why mass does not decide


def test_rank_is_the_share_of_evidence_among_as_many_largest_values():
    maps, evidence = RNG.normal(size=(1, 3, 50)), RNG.random((1, 3, 50)) < 0.2
    k = int(evidence.sum())
    top = np.argsort(-np.abs(maps[0]).ravel())[:k]
    expected = evidence[0].ravel()[top].mean()
    assert truth_figures(maps, cases(maps, evidence))["rank"][0][0] == pytest.approx(expected)


def test_chance_of_mass_is_its_mean_over_all_circular_shifts():
    maps, evidence = np.abs(RNG.normal(size=(1, 4, 30))), RNG.random((1, 4, 30)) < 0.2
    shifted = [np.roll(maps, (a, b), axis=(1, 2)) for a in range(4) for b in range(30)]
    mean = np.mean([truth_figures(m, cases(maps, evidence))["mass"][0][0] for m in shifted])
    assert mean == pytest.approx(truth_figures(maps, cases(maps, evidence))["mass"][1][0])


# -------------------------------------------------------------------------------------------------------- faithfulness


def test_of_a_linear_network_deletion_and_insertion_are_the_sums_hidden_and_shown():
    weight, signals = RNG.normal(size=(12, 100)), RNG.normal(size=(2, 12, 100))
    work = Work(linear_bundle(weight), Size(), 0, Schedule())
    some = cases(signals)
    grid = faithfulness.grid_of(some)
    assert (grid.n_regions, grid.sizes().sum()) == (70, 1200)
    carried = grid.sums(weight * signals)  # zero filler: what a region carries
    ranked = np.argsort(-carried, axis=1)
    found = faithfulness.effects(work, some, grid, ranked)[0]  # zero
    for k, share in enumerate(faithfulness.SHARES):
        count = max(1, round(share * 70))
        expected = np.take_along_axis(carried, ranked[:, :count], axis=1).sum(axis=1)
        np.testing.assert_allclose(found[0][:, k], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[1][:, k], expected, rtol=1e-4, atol=1e-4)


def test_hiding_keeps_the_sums_of_limb_leads_and_touches_nothing_else():
    ecg = simulate_ecg("r1", "IMI", fs=100.0).ecg
    some = cases(ecg.signal[None])
    grid = faithfulness.grid_of(some)
    hidden = RNG.random(grid.n_regions) < 0.3
    for filler in ("line", "mean", "matched_noise", "zero"):
        out = grid.hide(grid.recordings(some.signals[0], some.leads, "r1"), hidden, filler)
        np.testing.assert_allclose(out[2], out[1] - out[0], atol=2e-3)
        limb = np.repeat(hidden.reshape(7, -1)[0], grid.window)[:1000]
        np.testing.assert_array_equal(out[:6, ~limb], ecg.signal[:6, ~limb])


def test_what_says_the_falls_correlates_fully_and_leaves_nothing():
    falls = RNG.normal(size=(3, len(faithfulness.SIZES) * faithfulness.SETS))
    assert faithfulness.correlations(falls, falls) == pytest.approx(np.ones(3))
    assert faithfulness.unexplained(5 * falls, falls) == pytest.approx(np.zeros(3))
    assert faithfulness.unexplained(-falls, falls) == pytest.approx(np.ones(3))
    assert faithfulness.unexplained(0 * falls, falls) == pytest.approx(np.ones(3))


# --------------------------------------------------------------------------------------------------------- regression


def test_the_ceiling_is_that_of_the_least_norm_solution_found_numerically():
    legs = RNG.normal(size=(2, 4000))
    i, ii = legs
    limb = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
    found = ceilings(STANDARD_LEADS)
    for row, lead in enumerate(STANDARD_LEADS[:6]):
        weights = np.linalg.lstsq(limb.T, limb[row], rcond=1e-9)[0]  # of all solutions the shortest
        assert abs(weights[row]) / np.linalg.norm(weights) == pytest.approx(found[lead], abs=1e-6)
    assert found["V1"] == 1.0


def test_spatial_specificity_of_a_map_in_its_lead_and_of_an_even_one():
    own = np.zeros((1, 12, 12, 40))
    for lead in range(12):
        own[0, lead, lead] = RNG.normal(size=40)
    assert spatial_specificity(own) == pytest.approx(np.ones((1, 12)))
    assert spatial_specificity(np.ones((1, 12, 12, 40))) == pytest.approx(np.full((1, 12), 12**-0.5))
    assert spatial_specificity(np.zeros((1, 12, 12, 40))) == pytest.approx(np.full((1, 12), 12**-0.5))


def test_a_map_inside_the_wave_passes_the_rule_of_time_and_one_on_r_does_not():
    beats = tuple(np.arange(1.0, 9.0) for _ in range(8))
    maps = 0.1 * np.abs(RNG.normal(size=(8, 12, 12, 1000)))
    for beat in beats[0]:
        maps[..., round((beat + 0.25) * 100)] += 2.0  # in T
    curves = temporal_curves(maps, beats, 100.0)
    assert np.linalg.norm(curves, axis=1) == pytest.approx(np.ones(8))
    people = tuple(f"p{k}" for k in range(8))
    inside, outside = (margin(curves, people, window, 100.0) for window in ((0.2, 0.3), (-0.05, 0.05)))
    assert inside.low > 0.5
    assert outside.high < -0.5


# ------------------------------------------------------------------------------------------------------- similarity


def test_rank_correlation_is_scipys_and_constant_pictures_are_one_picture():
    a, b = RNG.normal(size=(2, 12, 80)).round(1)
    assert spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert spearman(a, a) == spearman(np.ones((3, 4)), np.zeros((3, 4))) == 1.0
    assert ssim(a[None], a[None]) == pytest.approx([1.0])
    assert ssim(a[None], b[None])[0] < 0.5


def test_the_cascade_begins_at_the_head_ends_at_the_input_and_leaves_the_audited_weights():
    network = LeNet(n_outputs=3)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)  # no layer is as it begins
    before = {name: t.clone() for name, t in network.state_dict().items()}
    bundle = Bundle(network, tuple(map(Output, "ABC")), Preprocessing(Admission(), (), Windows(250, 250)), 100.0)
    stages = cascade(bundle, seed=0)
    assert stages[-1][0] == "all layers"
    changed = [
        {name.rsplit(".", 1)[0] for name, t in b.network.state_dict().items() if not torch.equal(t, before[name])}
        for _, b in stages
    ]
    assert all(a < b for a, b in pairwise(changed))
    assert all(name.startswith("head") for name in changed[0])
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_weights_that_belong_to_no_layer_are_redrawn_at_the_end():
    network = ECGNet(lead_embedding=True)
    before = network.embedding.detach().clone()
    redraw(network, set(), 0)
    assert torch.equal(network.embedding, before)
    redraw(network, set(), 0, everything=True)
    assert not torch.equal(network.embedding, before)


# --------------------------------------------------------------------------------------------------------- attention


def test_attention_can_be_replaced_and_comes_back():
    network, signal = ECGNet().eval(), as_tensor(RNG.normal(size=(2, 12, 250)))
    with torch.no_grad():
        own = network.attend(signal)
        with replaced(network, uniform, uniform):
            even = network.attend(signal)
        with replaced(network, permuted(0), None):
            moved = network.attend(signal)
        again = network.attend(signal)
    assert torch.allclose(even.temporal, torch.full_like(even.temporal, 1 / even.temporal.shape[-1]))
    assert torch.allclose(moved.temporal.sum(-1), torch.ones_like(moved.temporal[..., 0]))
    assert not torch.allclose(moved.temporal, own.temporal)
    assert torch.equal(own.logits, again.logits)
    assert not torch.allclose(own.logits, even.logits)


def test_divergence_is_nothing_for_equals_and_ln_2_for_strangers():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert float(divergence(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(divergence(a, b)) == pytest.approx(np.log(2), abs=1e-5)


# -------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("name", ["saliency", "lrp", "gradcam", "occlusion_lead", "energy"])
def test_maps_of_many_are_those_of_explain_one_by_one(tiny_bundle, name):
    ecgs = [simulate_ecg(f"r{k}", c, fs=500.0).ecg for k, c in enumerate(("IMI", "NORM", "CLBBB"))]
    batch = tiny_bundle.preprocessing.apply(ecgs)
    targets = ("MI", "NORM", "CD")
    rows = np.stack([tiny_bundle.target_row(t) for t in targets])
    some = Cases(np.asarray(batch.signal), batch.fs, batch.leads, batch.record_ids, batch.record_ids, targets, rows)
    found = maps_of(tiny_bundle, some, EXPLAINERS[name], name)
    for k, ecg in enumerate(ecgs):
        alone = explain(tiny_bundle, ecg, [targets[k]], name)[0].values
        np.testing.assert_allclose(found[k], alone, atol=1e-4 * np.abs(alone).max())


# ----------------------------------------------------------------------------------------------------------- verdicts


def all_hold() -> dict[str, TestResult]:
    return {name: TestResult(rule.on, 0.3, 0.2, 0.4, 0.0, rule.threshold, True, 20, 20) for name, rule in RULES.items()}


@pytest.mark.parametrize("name", list(RULES))
def test_a_method_passes_only_where_all_four_hold(name):
    assert decide(all_hold()).verdict == "passes"
    fails = decide(all_hold() | {name: TestResult("weights", threshold=0.0, passed=False)})
    assert (fails.verdict, fails.reason) == ("fails", f"fails {name}")
    gone = {key: result for key, result in all_hold().items() if key != name}
    assert decide(gone).verdict == "not tested"
    refused = decide(all_hold() | {name: untested("twins", "unlearnable", 0.0)})
    assert refused.verdict == "not tested"
    assert "unlearnable" in refused.reason


def test_a_rule_on_real_records_must_hold_as_well_and_figures_beside_a_rule_need_not():
    assert decide(all_hold() | {"temporal_real": TestResult("twins", threshold=0.0, passed=False)}).verdict == "fails"
    assert decide(all_hold() | {"temporal_real": untested("twins", "unlearnable", 0.0)}).verdict == "passes"
    assert decide(all_hold() | {"deletion_zero": TestResult("weights", -1.0, -2.0, -0.5)}).verdict == "passes"


def test_the_default_is_the_passing_method_with_the_highest_lower_bound_of_planted_truth():
    better = all_hold() | {"planted": TestResult("twins", 0.5, 0.3, 0.6, threshold=0.0, passed=True, n=9, n_patients=9)}
    made = {"a": decide(all_hold()), "b": decide(better), "c": Verdict("fails", "fails planted", better)}
    assert best_method(made) == "b"
    assert best_method({"c": made["c"]}) is None
