# SPDX-License-Identifier: Apache-2.0
"""How long a run takes goes by what is trained, and by the comparisons that intervals are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.privacy.attackers import ATTACKERS, PEOPLE_A_BATCH, STEPS_AN_EPOCH
from ecglens.privacy.expected import expected_seconds, learning_speed, n_comparisons
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.windows import PREPARATIONS, Windowed

from .conftest import table_of


def windowed(**how) -> Windowed:
    table = table_of(**how)
    return Windowed(np.zeros((len(table), 1, 4), np.float32), 250.0, table, PREPARATIONS["paper"])


def test_training_and_comparisons_are_added():
    made = windowed()
    for protocol in ("verification", "open-set", "cross-session"):
        splits = make_splits(made.table, protocol, n_folds=3)
        shown = sum(ATTACKERS["cnn"].embed.epochs * STEPS_AN_EPOCH * PEOPLE_A_BATCH for _ in splits)
        pairs = sum(n_comparisons(made.table, split) for split in splits)
        assert pairs > 0
        told = expected_seconds(["cnn"], made, splits, n_resamples=2000)
        assert told == pytest.approx(shown / learning_speed("cnn") + pairs * 2000 * 2 * 1.7e-8)
        assert expected_seconds(["cnn"], made, splits, n_resamples=0) == pytest.approx(shown / learning_speed("cnn"))
    (split,) = make_splits(made.table, "paper")
    assert n_comparisons(made.table, split) == 0
    named = ATTACKERS["cnn"].classify.epochs * len(split.train) / learning_speed("cnn")
    assert expected_seconds(["cnn"], made, [split]) == pytest.approx(named)


def test_comparisons_are_those_of_recordings():
    made = windowed()
    (split, *_) = make_splits(made.table, "verification", n_folds=3)
    people = made.table["person"].iloc[np.concatenate([split.enrol, split.probe])].nunique()
    assert n_comparisons(made.table, split) == 3 * people * (3 * people - 1) // 2  # of three recordings each
    (split, *_) = make_splits(made.table, "cross-session", n_folds=3)
    enrolled, probes = (made.table["recording"].iloc[part].nunique() for part in (split.enrol, split.probe))
    assert n_comparisons(made.table, split) == enrolled * probes


def test_runs_that_were_measured_are_told_within_a_factor_of_two():
    """PTB-XL's repeats took `cnn-beats-5` 512 s to learn, and a minute and a half for the intervals."""
    made = windowed(people=1233, recordings=1, windows=1)
    split = make_splits(windowed().table, "verification", n_folds=3)[0]
    half = replace(split, enrol=np.arange(1233), probe=np.arange(33))
    assert 600 / 2 < expected_seconds(["cnn-beats-5"], made, [half, half]) < 600 * 2


def test_five_networks_take_five_times_as_long_and_bfloat16_less():
    assert learning_speed("cnn-beats") == pytest.approx(5 * learning_speed("cnn-beats-5"))
    for model in ATTACKERS:
        assert learning_speed(model, "bfloat16") > learning_speed(model)
    made = windowed()
    splits = make_splits(made.table, "verification", n_folds=3)
    slow, fast = (expected_seconds(["transecg"], made, splits, precision=p) for p in ("float32", "bfloat16"))
    assert slow > 2 * fast


def test_windows_are_measured_once_for_all_models_that_can_be_read():
    made = windowed(people=12, windows=20)
    splits = make_splits(made.table, "paper")
    one, two = (expected_seconds(m, made, splits) for m in (["unveiled-lr"], ["unveiled-lr", "unveiled-tree"]))
    assert two - one == pytest.approx(10.0)
    assert one == pytest.approx(10.0 + 0.03 * len(made))


def test_two_cores_are_expected_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = []
    for cores in (1, 2):
        monkeypatch.setattr("torch.get_num_threads", lambda cores=cores: cores)
        speeds.append(learning_speed("transecg"))
    assert 1.2 < speeds[1] / speeds[0] < 2
