# SPDX-License-Identifier: Apache-2.0
"""Slopes of a record's logit against finite differences; scores against captum's TCAV on the same directions."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.concepts.answers import How, answers_of
from ecglens.concepts.cav import closed_form
from ecglens.concepts.network import Asked, bundle_asked, choose_layers, gather
from ecglens.concepts.verdict import slope_test
from ecglens.ecg import ECG
from ecglens.errors import LeakError, UsageError
from ecglens.models.activations import layers_of
from ecglens.models.average import Average
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.windows import Windows
from ecglens.training.recipes import PREPROCESSING

ARCHITECTURE = {"n_outputs": 2, "widths": [6, 8, 10], "hidden": 7}
OUTPUTS = (Output("A", "multilabel"), Output("B", "multilabel"))
N, SAMPLES = 48, 250


def made(windows: Windows) -> Bundle:
    network = initialized(LeNet, ARCHITECTURE, 3).eval()
    return Bundle(network, OUTPUTS, replace(PREPROCESSING, windows=windows), 100.0)


@pytest.fixture(scope="module")
def signals() -> list[np.ndarray]:
    drawn = np.random.default_rng(0).standard_normal((N, 12, 500)).astype(np.float32)
    drawn[: N // 3, 4] += np.sin(np.arange(500) / 3)  # what the concept is
    return list(drawn)


@pytest.fixture(scope="module")
def labels() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    return pd.DataFrame(generator.integers(0, 2, (N, 2)).astype(float), columns=["A", "B"])


def everything(bundle: Bundle) -> Asked:
    every = np.arange(N)
    return Asked("network", bundle, bundle.network, ((every, every),))


@pytest.mark.parametrize("steps", ["mean", "each"])
def test_a_slope_is_what_moving_the_layer_in_all_windows_does(
    steps: str, signals: list[np.ndarray], labels: pd.DataFrame
) -> None:
    bundle, step = made(Windows(SAMPLES, 125)), 1e-3
    layers = choose_layers(bundle.network)[1:]
    held = gather(everything(bundle), signals, layers, labels, steps)
    for layer in layers:
        size = held.held[layer].shape[1]
        direction = np.random.default_rng(2).standard_normal(size).astype(np.float32)

        def push(_: nn.Module, __: object, output: torch.Tensor, way: float, towards: np.ndarray) -> torch.Tensor:
            shape = output.shape[1:] if steps == "each" or output.ndim == 2 else (output.shape[1], 1)
            return output + way * torch.from_numpy(towards).reshape(shape)

        answers = []
        for way in (step, -step):
            module = layers_of(bundle.network)[layer]
            hook = module.register_forward_hook(lambda m, i, o, w=way, d=direction: push(m, i, o, w, d))
            answers.append(predict_raw(bundle, signals))
            hook.remove()
        found = (answers[0] - answers[1]) / (2 * step)
        for j in range(2):
            own = held.of_class[j]
            assert list(own) == list(np.flatnonzero(labels.iloc[:, j] == 1))
            expected = held.slopes[layer][j] @ direction
            error = np.abs(found[own, j] - expected)
            assert np.abs(expected).max() > 0
            assert np.median(error) < 0.05 * np.abs(expected).max()  # a ReLU or a maximum may turn on the way
            assert np.mean(error) < 0.1 * np.abs(expected).max()


def test_scores_are_captums_on_the_same_directions(
    signals: list[np.ndarray], labels: pd.DataFrame, tmp_path: Path
) -> None:
    from captum.concept import TCAV, Classifier
    from captum.concept import Concept as CaptumConcept

    class Closed(Classifier):
        """Our directions in captum's hands: rows of weights for concept and random group."""

        def __init__(self):
            self.rows = torch.empty(0)

        def train_and_eval(self, dataloader, test_split_ratio=0.33, **_):
            parts = list(dataloader)
            held, kind = torch.cat([x for x, _ in parts]).numpy(), torch.cat([y for _, y in parts]).numpy()
            direction = closed_form(held[kind == 0], held[kind == 1]).direction.astype(np.float32)
            self.rows = torch.from_numpy(np.stack([direction, -direction]))
            return {"accs": torch.tensor(1.0)}

        def weights(self):
            return self.rows

        def classes(self):
            return [0, 1]

    whole = [signal[:, :SAMPLES] for signal in signals]
    bundle = made(Windows(SAMPLES, SAMPLES))
    names = {"block-1": "blocks.0", "block-2": "blocks.1", "pool": "pool", "head-2": "head.1"}
    held = gather(everything(bundle), whole, list(names), labels, "each")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = [
            CaptumConcept(k, name, torch.from_numpy(np.stack(whole[a:b])).split(8))
            for k, (name, a, b) in enumerate((("concept", 0, 16), ("random", 16, 48)))
        ]
        tcav = TCAV(bundle.network, list(names.values()), classifier=Closed(), save_path=str(tmp_path))
        for j, name in enumerate(labels.columns):
            own = torch.from_numpy(np.stack([whole[i] for i in held.of_class[j]]))
            theirs = tcav.interpret(own, [sets], target=bundle.classes.index(name))["0-1"]
            for layer, place in names.items():
                direction = closed_form(held.held[layer][:16], held.held[layer][16:]).direction.astype(np.float32)
                ours = float((held.slopes[layer][j] @ direction > 0).mean())
                assert ours == pytest.approx(float(theirs[place]["sign_count"][0]), abs=1e-6)


def test_answers_are_scores_of_the_directions_that_were_drawn(signals: list[np.ndarray], labels: pd.DataFrame) -> None:
    bundle = made(Windows(SAMPLES, 125))
    asked = bundle_asked(bundle, _cohort(labels))
    concept = (np.arange(N) < N // 3).astype(float)
    held = gather(asked[0], signals, ["block-1", "head-2"], labels, "mean")
    how, people, strata = How(n_cavs=3), np.arange(N), np.zeros((1, N), int)
    found = answers_of(asked[0], held, concept[None], strata, people, how)
    again = answers_of(asked[0], held, concept[None], strata, people, how)
    np.testing.assert_array_equal(found.signs, again.signs)
    assert len(asked[0].splits) == 5
    assert sorted(np.concatenate([s for _, s in asked[0].splits])) == list(range(N))
    assert found.scores.shape == (2, 1, 2, 15)
    for j in range(2):
        of_class = labels.iloc[:, j].to_numpy() == 1
        assert (np.isnan(found.signs[0, 0, j]) == ~of_class).all()
        sizes = np.repeat([of_class[score].sum() for _, score in asked[0].splits], 3)
        both = (sizes * np.nan_to_num(found.scores[0, 0, j])).sum() / sizes.sum()
        assert both == pytest.approx(np.nanmean(found.signs[0, 0, j]), abs=1e-5)
    # The slope of the test is the difference of means along what the logit reads, split by split.
    effect, p = slope_test([(asked[0], found)], concept, strata[0], people, 200, 0)
    by_hand = []
    for (fit, _), reads in zip(asked[0].splits, found.reads, strict=True):
        yes = fit[concept[fit] == 1]
        no = fit[concept[fit] == 0]
        by_hand.append(reads[..., yes].mean(axis=-1) - reads[..., no].mean(axis=-1))
    np.testing.assert_allclose(effect, np.mean(by_hand, axis=0), atol=1e-5)
    assert ((p > 0) & (p <= 1)).all()


def test_an_average_is_asked_member_by_member_and_own_patients_are_refused(labels: pd.DataFrame) -> None:
    from ecglens.bundle import TrainedOn

    cohort = _cohort(labels)
    members = [initialized(LeNet, ARCHITECTURE, k) for k in (1, 2)]
    bundle = Bundle(Average(members), OUTPUTS, PREPROCESSING, 100.0)
    assert [one.name for one in bundle_asked(bundle, cohort)] == ["member-1", "member-2"]
    assert choose_layers(bundle.network, ["pool"]) == ("pool",)
    with pytest.raises(UsageError):
        choose_layers(bundle.network, ["pool", "block-7"])
    seen = TrainedOn.of("salt", train=(cohort.patient_keys[:1], ()))
    taught = Bundle(members[0], OUTPUTS, PREPROCESSING, 100.0, trained_on=seen)
    with pytest.raises(LeakError):
        bundle_asked(taught, cohort)
    fit = np.arange(N) < 20
    asked = bundle_asked(taught, cohort, fit)  # fitted on, not scored
    assert list(asked[0].splits[0][1]) == list(range(20, N))
    for name, value in (("steps", "last"), ("fit", "svm"), ("n_cavs", 1)):
        with pytest.raises(UsageError):
            How(**{name: value})


def _cohort(labels: pd.DataFrame) -> Cohort:
    names = [f"r{k}" for k in range(N)]
    ecg = ECG(np.zeros((1, 500), np.float32), fs=100, leads=("I",))
    metadata = pd.DataFrame({"patient_id": [f"p{k}" for k in range(N)]}, index=names)
    return Cohort("drawn", [ecg] * N, labels.set_axis(names), metadata)
