# SPDX-License-Identifier: Apache-2.0
"""The split of the logit: re-added it is the logit, and a state that is taken away takes what it added."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ecglens import Bundle, Output
from ecglens.concepts.state_field import grid_of, held_by, stacked
from ecglens.concepts.state_network import Fitted, laid_out, learn, read_records, with_random_weights
from ecglens.concepts.state_split import (
    CURVED,
    EXACT,
    MAXIMUM,
    ablated,
    contributions,
    evidence,
    head_of,
    onto_last,
)  # fmt: skip
from ecglens.concepts.states import States, entropy, fit_states
from ecglens.errors import ContractError, UsageError
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.pipeline import Admission, Preprocessing
from ecglens.preprocessing.windows import Windows

SMALL = {
    "ResNet1d": {"widths": [6, 8, 10, 12]},
    "LeNet": {"widths": [8, 12, 16], "hidden": 16},
    "XResNet1d": {"stem": [6, 6, 8], "stages": [1, 1, 1, 1], "width": 6},
    "ECGNet": {"widths": [6, 8, 10]},
}
KINDS = {"ResNet1d": EXACT, "LeNet": CURVED, "XResNet1d": MAXIMUM}
CLASSES = ("NORM", "MI", "CD")


def bundle_of(name, windows=Windows(250, 100)):  # noqa: B008
    arguments = SMALL[name] | {"n_leads": 12, "n_outputs": 3}
    network = initialized(ARCHITECTURES[name], arguments, 5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from the tidy values of a fresh network: batch norms that do something
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.copy_(0.3 * torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
                module.weight.copy_(0.5 + torch.rand(module.num_features, generator=generator))
                module.bias.copy_(0.3 * torch.randn(module.num_features, generator=generator))
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.mul_(8)  # logits of the size that trained networks have
    return Bundle(network, tuple(map(Output, CLASSES)), Preprocessing(Admission(), (), windows), 100.0, name, arguments)


def signals(n=4, length=610, seed=0):
    generator = np.random.default_rng(seed)
    return [(k + 1) / 2 * s for k, s in enumerate(generator.normal(size=(n, 12, length)).astype(np.float32))]


def fitted_of(bundle, blocks="last", k=3, by="soft"):
    grid = grid_of(bundle, blocks)
    head = head_of(bundle.network, "test", 12, 250)
    learnt = learn(bundle, bundle.network, grid, head, signals(6, seed=9), list("abcdef"), 600, 0)
    return Fitted(grid, head, learnt.axes, learnt.reference, fit_states(learnt.vectors, k, by, n_init=2))


@pytest.mark.parametrize("blocks", ["last", "last2", "last3"])
@pytest.mark.parametrize("name", list(KINDS))
def test_states_add_up_to_the_logit_that_the_bundle_gives(name, blocks):
    bundle = bundle_of(name)
    fitted = fitted_of(bundle, blocks)
    assert fitted.head.kind == KINDS[name]
    read = read_records(bundle, bundle.network, fitted, signals())
    reference = fitted.head.logits(torch.from_numpy(fitted.reference)[None]).numpy()
    again = reference + read.contributions.sum(axis=1)
    exact = predict_raw(bundle, signals())  # windows that overlap, the last one ends with the record: 0 100 200 300 360
    assert np.abs(again - exact).max() < (1e-5 if name != "LeNet" else 2e-2)
    assert np.abs(again + read.gap - exact).max() < 1e-5, "the gap that is told is the gap"
    assert np.abs(read.contributions).max() > 0.01, "and there is something to add up"


def test_the_gap_of_a_bent_head_shrinks_with_the_steps_of_the_way(monkeypatch):
    bundle = bundle_of("LeNet")
    fitted = fitted_of(bundle)
    gaps = []
    for steps in (2, 512):
        monkeypatch.setattr("ecglens.concepts.state_split.PATH_STEPS", steps)
        gaps.append(np.abs(read_records(bundle, bundle.network, fitted, signals()).gap).mean())
    assert gaps[1] < gaps[0] / 5


def test_parts_are_weights_times_features_by_hand():
    bundle = bundle_of("ResNet1d")
    fitted = fitted_of(bundle)
    (_, _, held), *_ = held_by(bundle, bundle.network, signals(1), fitted.grid.layers)
    h = held["block-4"].double().numpy()
    parts, logits, _ = evidence(fitted.head, held["block-4"], torch.from_numpy(fitted.reference))
    weight, bias = (tensor.detach().double().numpy() for tensor in bundle.network.head.parameters())
    for c in range(3):
        for s in range(h.shape[2]):
            by_hand = weight[c] @ (h[0, :, s] - fitted.reference) / h.shape[2]
            assert parts[0, c, s] == pytest.approx(by_hand, abs=1e-9)
        assert logits[0, c] == pytest.approx(weight[c] @ h[0].mean(axis=1) + bias[c], abs=1e-9)


@pytest.mark.parametrize(("name", "same"), [("ResNet1d", True), ("XResNet1d", False), ("LeNet", False)])
def test_taking_a_state_away_takes_what_it_added_where_the_head_is_linear_in_the_mean(name, same):
    bundle = bundle_of(name)
    fitted = fitted_of(bundle)
    reference = torch.from_numpy(fitted.reference)
    (_, _, held), *_ = held_by(bundle, bundle.network, signals(2), fitted.grid.layers)
    last = held[fitted.grid.layers[-1]]
    p, _ = fitted.states.assign(fitted.axes.of(stacked(fitted.grid, held)))
    added = contributions(evidence(fitted.head, last, reference)[0], p, fitted.grid.onto)
    falls = ablated(fitted.head, last, reference, p, fitted.grid.onto)
    assert (np.abs(falls - added).max() < 1e-9) == same


def test_one_state_adds_everything_and_is_certain():
    bundle = bundle_of("ResNet1d")
    read = read_records(bundle, bundle.network, fitted_of(bundle, k=1), signals())
    assert (read.uncertainty == 0).all()
    assert (read.shares == 1).all()
    assert (read.doubt == 0).all()


def test_states_in_another_order_are_the_same_states():
    bundle = bundle_of("ResNet1d")
    fitted = fitted_of(bundle)
    order = np.array([2, 0, 1])
    turned = Fitted(fitted.grid, fitted.head, fitted.axes, fitted.reference,
                    States("soft", fitted.states.centres[order], fitted.states.tau))  # fmt: skip
    plain = read_records(bundle, bundle.network, fitted, signals())
    other = read_records(bundle, bundle.network, turned, signals())
    expected = plain.permuted(order)
    for name in ("shares", "contributions", "undecided", "strips", "doubt", "uncertainty"):
        assert np.allclose(getattr(other, name), getattr(expected, name), atol=1e-6), name


def test_a_record_is_read_alike_alone_and_among_others_of_any_length():
    bundle = bundle_of("ResNet1d")
    fitted = fitted_of(bundle)
    some = [*signals(3), *signals(2, length=450, seed=4)]
    together = read_records(bundle, bundle.network, fitted, some)
    for i, signal in enumerate(some):
        alone = read_records(bundle, bundle.network, fitted, [signal])
        n = signal.shape[1]
        assert np.array_equal(alone.strips[0, :n], together.strips[i, :n])
        assert (together.strips[i, n:] == -1).all()
        for name in ("shares", "contributions", "logits", "doubt", "pooled"):
            assert np.allclose(getattr(alone, name)[0], getattr(together, name)[i], atol=1e-5), name


def test_memberships_on_a_finer_grid_still_sum_to_one_on_the_last():
    onto = np.arange(7) * 3 // 7
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 7))
    found = onto_last(p, onto, 3)
    assert np.allclose(found.sum(axis=2), 1)
    assert np.allclose(found[0, 1], p[0, onto == 1].mean(axis=0))


def test_a_flat_record_is_one_state():
    """Away from the ends of windows, where padding shows, nothing tells one instant of a flat line from another."""
    bundle = bundle_of("LeNet")  # its convolutions do not pad
    read = read_records(bundle, bundle.network, fitted_of(bundle), [np.zeros((12, 610), np.float32)])
    assert len(set(read.strips[0])) == 1


@pytest.mark.parametrize(("name", "field", "stride"), [("LeNet", (7, 31, 95), 8 * 4), ("ResNet1d", (105, 249), 16)])
def test_the_receptive_field_is_that_of_kernels_and_strides(name, field, stride):
    bundle = bundle_of(name)
    last = grid_of(bundle, "last")
    assert last.fields[-1] == field[-1]
    assert last.stride == pytest.approx(stride)
    if name == "LeNet":
        assert grid_of(bundle, "last3").fields == field
        assert grid_of(bundle, "last2").fields == field[1:]
        # without padding, step 0 looks at samples 0 to 94: its centre is sample 47, that of step 1 sample 79
        assert last.nearest[47] == 0
        assert last.nearest[79] == 1
        assert last.nearest[62] == 0
        assert last.nearest[64] == 1
    else:
        assert last.fields[-1] == bundle.network.receptive_field


def test_nothing_is_seen_beyond_the_window():
    assert grid_of(bundle_of("ResNet1d", Windows(120, 60)), "last").fields == (120,)  # alone it would see 249


def test_windows_that_contradict_each_other_are_uncertain():
    """Where windows overlap, the uncertainty of a sample is that of the mean of their memberships."""
    bundle = bundle_of("ResNet1d")  # whose windows do not begin at the same part of a step
    fitted = fitted_of(bundle)
    read = read_records(bundle, bundle.network, fitted, signals(2))
    (_, windows, held), *_ = held_by(bundle, bundle.network, signals(1), fitted.grid.layers)
    p, u = fitted.states.assign(fitted.axes.of(stacked(fitted.grid, held)))
    mean = laid_out(bundle, fitted.grid, p.reshape(windows, *p.shape[1:]), 610)
    own = laid_out(bundle, fitted.grid, u.reshape(windows, -1, 1), 610)[:, 0]
    np.testing.assert_allclose(read.doubts[0, :610], entropy(mean), atol=1e-5)
    assert (read.doubts[0, :610] - own).max() > 1e-3, "and some do contradict"


def test_a_head_that_attends_cannot_be_split():
    with pytest.raises(ContractError) as raised:
        head_of(bundle_of("ECGNet").network, "test", 12, 250)
    assert raised.value.kind == "head"
    assert "\n" not in str(raised.value)


def test_a_network_that_does_more_than_it_states_cannot_be_split():
    class Doubled(ARCHITECTURES["ResNet1d"]):
        def forward(self, signal):
            return 2 * super().forward(signal)

    with pytest.raises(ContractError, match="mean over time steps"):
        head_of(Doubled(widths=[4, 4], n_outputs=2), "test", 12, 250)


def test_a_layer_with_one_time_step_has_no_states():
    bundle = bundle_of("ResNet1d", Windows(16, 16))
    with pytest.raises(ContractError) as raised:
        grid_of(bundle, "last")
    assert raised.value.kind == "one_step"
    with pytest.raises(UsageError, match="last3"):
        grid_of(bundle, "all")


def test_random_weights_are_others_and_alive():
    bundle = bundle_of("ResNet1d")
    random = with_random_weights(bundle, signals(4), 0)
    assert not torch.allclose(random.head.weight, bundle.network.head.weight)
    norms = [module for module in random.modules() if isinstance(module, nn.BatchNorm1d)]
    assert all(float(norm.running_var.min()) > 0 for norm in norms)
    assert not np.allclose(norms[0].running_mean.numpy(), 0), "set to the signals"
    again = with_random_weights(bundle, signals(4), 0)
    assert torch.equal(random.head.weight, again.head.weight)
