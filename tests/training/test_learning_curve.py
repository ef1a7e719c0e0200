# SPDX-License-Identifier: Apache-2.0
"""The learning curve trains on nested parts of the training patients, and on nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import UsageError
from ecglens.prediction.evaluate import evaluate
from ecglens.training.learning_curve import COLUMNS, learning_curve
from ecglens.training.recipes import Recipe

FRACTIONS = (0.4, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def curve(small_cohort: Cohort, tiny_recipe: Recipe, folder: Path) -> pd.DataFrame:
    recipe = replace(tiny_recipe, epochs=1)
    return learning_curve(small_cohort, recipe, folder, fractions=FRACTIONS, n_resamples=50)


def test_sizes_and_figures(curve: pd.DataFrame, small_cohort: Cohort, folder: Path) -> None:
    assert tuple(curve.columns) == COLUMNS
    train, test = small_cohort.where(fold=range(1, 9)), small_cohort.where(fold=10)
    assert curve["n_train_patients"].tolist() == [round(0.4 * train.n_patients), train.n_patients]
    assert curve["n_train"].tolist()[1] == len(train)
    assert (curve["n"] == len(test)).all()
    for fraction, value in zip(("0.4", "1"), curve["value"], strict=True):
        alone = evaluate(Bundle.load(folder / fraction), test, n_resamples=50).as_dict()
        assert alone["macro_auroc"]["value"] == value


def test_each_size_is_part_of_the_next_and_nobody_is_tested_who_trained(folder: Path, curve: pd.DataFrame) -> None:
    small, large = (Bundle.load(folder / name).trained_on for name in ("0.4", "1"))
    assert small.salt != large.salt  # so people are compared by what they were made from
    first, second = (Bundle.load(folder / name).details["n_patients"] for name in ("0.4", "1"))
    assert first["valid"] == second["valid"]
    assert first["train"] < second["train"]


def test_the_draw_depends_on_the_seed_alone_and_is_nested(small_cohort: Cohort) -> None:
    from ecglens.training.learning_curve import _kept

    kept = {f: _kept(small_cohort, f, 0) for f in (0.25, 0.5, 1.0)}
    assert (kept[0.25] <= kept[0.5]).all()
    assert (kept[0.5] <= kept[1.0]).all()
    fold = small_cohort.metadata["fold"].to_numpy()
    assert kept[0.25][fold == 9].all()
    assert not kept[1.0][fold == 10].any()
    assert (kept[0.25] == _kept(small_cohort, 0.25, 0)).all()
    assert (kept[0.25] != _kept(small_cohort, 0.25, 1)).any()
    people = pd.Series(small_cohort.patient_keys)
    assert not set(people[kept[0.25] & (fold < 9)]) & set(people[~kept[0.25] & (fold < 9)])  # all records of a person


@pytest.mark.parametrize("fractions", [(0.0, 1.0), (0.5, 1.5), (1.0, 0.5), (0.5, 0.5)])
def test_fractions_rise(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path, fractions: tuple) -> None:
    with pytest.raises(UsageError):
        learning_curve(small_cohort, tiny_recipe, tmp_path, fractions=fractions)
    without = replace(small_cohort, metadata=small_cohort.metadata.assign(fold=None))
    with pytest.raises(UsageError, match="fold"):
        learning_curve(without, tiny_recipe, tmp_path)
