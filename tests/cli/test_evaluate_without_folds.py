# SPDX-License-Identifier: Apache-2.0
"""Data without folds: who was held out in training is who is tested, and the others are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecglens.cli.evaluate import strangers_to
from ecglens.cohort import Cohort
from ecglens.prediction.evaluate import evaluate
from ecglens.training.recipes import recipe_for
from ecglens.training.train import split_for_training, train


def test_those_who_were_held_out_are_scored(small_cohort: Cohort, tmp_path: Path) -> None:
    bare = replace(small_cohort, metadata=small_cohort.metadata.assign(fold=np.nan))
    bundle = train(bare, replace(recipe_for("lenet"), epochs=1), tmp_path / "run").bundle
    part, name = strangers_to(bundle, bare)
    learnt = split_for_training(bare, 0)
    assert name == "unseen"
    assert 0 < len(part) < len(bare)
    assert sorted(part.record_ids) == sorted(set(bare.record_ids) - {r for p in learnt.values() for r in p.record_ids})
    left = [entry for entry in part.excluded if entry.kind == "own_patient"]
    assert {entry.record_id for entry in left} == {r for p in learnt.values() for r in p.record_ids}
    assert evaluate(bundle, part, n_resamples=50).n == int(part.labels.notna().any(axis=1).sum())


def test_others_data_are_scored_whole_and_ones_own_refused_by_scoring(small_cohort: Cohort, tmp_path: Path) -> None:
    bare = replace(small_cohort, metadata=small_cohort.metadata.assign(fold=np.nan))
    bundle = train(bare, replace(recipe_for("lenet"), epochs=1), tmp_path / "run").bundle
    strangers, _ = strangers_to(bundle, bare)
    assert strangers_to(bundle, strangers) == (strangers, "all")
    own = split_for_training(bare, 0)["train"]
    assert strangers_to(bundle, own) == (own, "all")
