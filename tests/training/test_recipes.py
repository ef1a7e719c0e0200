# SPDX-License-Identifier: Apache-2.0
"""Recipes say what the papers say, and the schedules do what their names say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens.cohort import Cohort
from ecglens.errors import UsageError
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Bandpass, Resample, Standardize
from ecglens.preprocessing.windows import Windows
from ecglens.training.augmentation import Augmentation
from ecglens.training.precision import PRECISIONS, at_precision
from ecglens.training.recipes import RECIPES, STYLES, recipe_for
from ecglens.training.train import halvings, learning_rate, train


def test_trustecg_as_its_report_and_as_its_code() -> None:
    report, code = recipe_for("ecgnet", "trustecg"), recipe_for("ecgnet", "trustecg-code")
    assert report.preprocessing.record_steps == (Resample(100.0), Bandpass(0.5, 40.0, 2), Standardize("record"))
    assert (report.lr, report.weight_decay, report.batch, report.epochs) == (1e-3, 1e-2, 64, 50)
    assert (report.plateau, report.patience, report.min_likelihood, report.balance) == (3, 5, 50.0, "sqrt")
    assert report.augmentation.crop == report.preprocessing.windows.length == 1000
    assert replace(code, batch=64, weight_decay=1e-2) == report


def test_xai4ecg_as_its_code() -> None:
    recipe = recipe_for("xresnet1d50", "xai4ecg")
    assert recipe.preprocessing.record_steps == (Resample(100.0),)  # millivolts as they are
    assert (recipe.lr, recipe.weight_decay, recipe.batch, recipe.epochs) == (1e-3, 1e-3, 128, 100)
    assert (recipe.schedule, recipe.balance, recipe.patience) == ("constant", "none", 100)
    assert recipe.preprocessing.windows == Windows(250, 250, "centre")
    assert (recipe.augmentation.crop, recipe.min_likelihood, recipe.keep_unlabelled) == (250, 0.0, True)
    assert recipe.augmentation == Augmentation(crop=250)  # and nothing else


def test_every_model_has_every_recipe() -> None:
    for style in STYLES:
        assert {recipe_for(model, style).model for model in RECIPES} == set(RECIPES)
    with pytest.raises(UsageError, match="ours, trustecg"):
        recipe_for("lenet", "mine")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_halves_when_pytorch_does(seed: int, patience: int) -> None:
    generator = np.random.default_rng(seed)
    scores = (0.9 + 0.02 * np.cumsum(generator.normal(size=40)) + 0.01 * generator.normal(size=40)).tolist()
    scores[7] = scores[6]  # a tie is not better
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=patience)
    for epoch in range(len(scores)):
        scheduler.step(scores[epoch])
        assert 0.5 ** halvings(scores[: epoch + 1], patience) == optimizer.param_groups[0]["lr"]


def test_constant_stays_and_one_cycle_rises_and_falls() -> None:
    constant, cycle = recipe_for("lenet", "xai4ecg"), recipe_for("lenet")
    assert {learning_rate(constant, step, 100, []) for step in range(100)} == {1e-3}
    rates = [learning_rate(cycle, step, 100, []) for step in range(101)]
    assert (int(np.argmax(rates)), max(rates)) == (25, cycle.lr)
    assert (rates[0], rates[-1]) == (pytest.approx(cycle.lr / 25), pytest.approx(0.0))


def test_the_centre_window_is_the_middle() -> None:
    windows = Windows(250, 250, "centre")
    assert [windows.starts(n) for n in (250, 251, 1000)] == [[0], [0], [375]]
    signal = np.arange(1000.0)[None, None]
    np.testing.assert_array_equal(windows.cut(signal)[0, 0, 0], np.arange(375.0, 625.0))
    joined = windows.join(np.ones((1, 1, 1, 250)), 1000)
    assert (joined.sum(), joined[0, 0, 375], joined[0, 0, 374]) == (250.0, 1.0, 0.0)


@pytest.mark.parametrize("style", ["trustecg", "xai4ecg"])
def test_the_papers_recipes_train(small_cohort: Cohort, tmp_path: Path, style: str) -> None:
    recipe = replace(recipe_for("lenet", style), epochs=2, batch=16)
    trained = train(small_cohort, recipe, tmp_path / "run")
    assert trained.bundle.preprocessing == recipe.preprocessing
    assert len(trained.run.read_table("history")) == 2  # type: ignore[arg-type]


def test_calibration_and_thresholds_reach_the_bundle(small_cohort: Cohort, tmp_path: Path) -> None:
    asked = replace(recipe_for("lenet"), epochs=1, calibration="temperature", thresholds="specificity-0.80")
    found = train(small_cohort, asked, tmp_path / "run").bundle
    kept = found.details["thresholds"]["specificity-0.80"]
    assert found.details["calibration"] == "temperature"
    assert [output.offset for output in found.outputs] == [0.0] * len(found.outputs)
    assert found.thresholds == tuple(kept[name] for name in found.classes)


@pytest.mark.parametrize(
    "wrong",
    [{"calibration": "isotonic"}, {"thresholds": "youden"}, {"thresholds": "specificity-2"}, {"precision": "half"}],
)
def test_what_cannot_be_calibrated_is_refused_before_training(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        replace(recipe_for("lenet"), **wrong)


def test_bfloat16_rounds_the_forward_pass_and_nothing_else() -> None:
    network = initialized(ARCHITECTURES["ECGNet"], {}, seed=1).eval()
    signal = torch.randn(4, 12, 250, generator=torch.Generator().manual_seed(2))
    exact, rounded = (at_precision(name, network, signal) for name in PRECISIONS)
    assert exact.dtype == rounded.dtype == torch.float32
    torch.testing.assert_close(exact, network(signal), rtol=0, atol=0)
    assert 0 < float((rounded - exact).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())
    rounded.sum().backward()
    assert {weight.grad.dtype for weight in network.parameters() if weight.grad is not None} == {torch.float32}


def test_precision_is_part_of_the_recipe_and_repeats_to_the_bit(small_cohort: Cohort, tmp_path: Path) -> None:
    usual = replace(recipe_for("lenet"), epochs=2, batch=16)
    asked = replace(usual, precision="bfloat16")
    assert "precision" not in usual.as_config()  # runs of before resume
    assert asked.as_config() == usual.as_config() | {"precision": "bfloat16"}
    plain, one, other = (
        train(small_cohort, recipe, tmp_path / name).bundle.weights_sha256
        for name, recipe in (("plain", usual), ("one", asked), ("other", asked))
    )
    assert one == other != plain
