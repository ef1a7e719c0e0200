# SPDX-License-Identifier: Apache-2.0
"""Families on the command line: `train --folds all`, `--seeds`, `evaluate --fold all`, `compare`; a paper's recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecglens.bundle import Bundle
from ecglens.cli.app import run
from ecglens.preprocessing.windows import Windows

Cli = Callable[..., tuple[int, dict[str, Any], str]]
FOLDS = (1, 2, 9, 10)


@pytest.fixture(scope="module")
def clinic(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small folder in four folds, so that a family is trained quickly; 9 and 10 as they were."""
    folder = tmp_path_factory.mktemp("clinic") / "clinic"
    shutil.copytree(data_folder, folder)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    fold = table["fold"].astype(int)
    table.assign(fold=fold.where(fold > 8, 1 + (fold > 4))).to_csv(folder / "table.csv", index=False)
    return folder


def trained(clinic: Path, out: Path, *arguments: str) -> Path:
    assert run(["train", "--data", str(clinic), "--epochs", "1", "--seed", "5", *arguments, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def family(clinic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(clinic, tmp_path_factory.mktemp("runs") / "family", "--folds", "all")


@pytest.fixture(scope="module")
def single(clinic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(clinic, tmp_path_factory.mktemp("runs") / "single")


def test_a_bundle_for_each_fold_and_their_average(cli: Cli, clinic: Path, family: Path, tmp_path: Path) -> None:
    names = [*(f"fold-{fold}" for fold in FOLDS), "final"]
    assert sorted(path.name for path in (family / "bundles").iterdir()) == sorted(names)
    code, told, err = cli("train", "--data", clinic, "--epochs", 1, "--seed", 5, "--folds", "all", "--out", family,
                          "--resume")  # fmt: skip
    assert code == 0, err
    assert list(told["bundles"]) == names
    assert not {"bundle", "best_epoch", "valid"} & set(told)
    code, told, _ = cli("train", "--data", clinic, "--folds", "some", "--out", tmp_path / "out")
    assert (code, told["error"]["error"]) == (2, "UsageError")
    assert not (tmp_path / "out").exists()


def test_everybody_is_scored_by_the_bundle_of_their_own_fold(
    cli: Cli, clinic: Path, family: Path, tmp_path: Path
) -> None:
    code, told, err = cli("evaluate", family, "--data", clinic, "--fold", "all")
    assert code == 0, err
    assert (told["fold"], told["n"]) == ("all", 66)
    assert list(map(int, told["per_fold"])) == list(FOLDS)
    whole = family / "evaluations" / "clinic-fold-all" / "predictions.csv"
    scores = pd.read_csv(whole, dtype={"record_id": str}).set_index("record_id").filter(like="probability ")
    seen = []
    for fold in FOLDS:
        code, alone, err = cli("evaluate", family / "bundles" / f"fold-{fold}", "--data", clinic, "--fold", fold,
                               "--out", tmp_path)  # fmt: skip
        assert code == 0, err
        assert told["per_fold"][str(fold)] == alone["macro_auroc"]
        own = pd.read_csv(tmp_path / f"clinic-fold-{fold}" / "predictions.csv", dtype={"record_id": str})
        own = own.set_index("record_id").filter(like="probability ")
        pd.testing.assert_frame_equal(scores.loc[own.index], own)
        seen += own.index.tolist()
    assert sorted(seen) == sorted(scores.index)
    code, refused, _ = cli("evaluate", family / "bundles" / "fold-1", "--data", clinic, "--fold", "2")
    assert (code, refused["error"]["kind"]) == (6, "leak")


def test_two_seeds_are_each_themselves_and_averaged(cli: Cli, clinic: Path, single: Path, tmp_path: Path) -> None:
    out = tmp_path / "seeds"
    code, told, err = cli("train", "--data", clinic, "--epochs", 1, "--seed", 5, "--seeds", 2, "--out", out)
    assert code == 0, err
    assert list(told["bundles"]) == ["seed-5", "seed-6", "final"]
    one, other = (Bundle.load(out / "bundles" / f"seed-{seed}") for seed in (5, 6))
    assert one.weights_sha256 == Bundle.load(single).weights_sha256 != other.weights_sha256
    assert Bundle.load(out).arguments["n_members"] == 2
    code, told, err = cli("evaluate", out, "--data", clinic)
    assert (code, told["fold"]) == (0, "10"), err
    assert "per_fold" not in told  # one network, so to speak


def test_a_family_is_compared_with_a_single_run_where_both_are_strangers(
    cli: Cli, clinic: Path, family: Path, single: Path
) -> None:
    """On fold 10 the family is the bundle that was trained without it."""
    code, told, err = cli("compare", family, single, "--data", clinic)
    assert code == 0, err
    (a, b) = (
        cli("evaluate", where, "--data", clinic, "--fold", "10")[1]
        for where in (family / "bundles" / "fold-10", single)
    )
    assert [one["class"] for one in told["differences"]] == [*a["per_class"], "macro"]
    for one in told["differences"]:
        auroc = [
            (each["macro_auroc"] if one["class"] == "macro" else each["per_class"][one["class"]]["auroc"])["value"]
            for each in (a, b)
        ]
        assert [one["auroc_a"], one["auroc_b"]] == pytest.approx(auroc)
        few = auroc[0] is None  # a class that fewer than two patients of fold 10 have has no figure
        assert one["value"] == (None if few else pytest.approx(auroc[0] - auroc[1]))
        assert one["n"] == (0 if few else a["n"])
    assert told["differences"][-1]["value"] is not None
    code, told, _ = cli("compare", family, single, "--data", clinic, "--fold", "all")
    assert (code, told["error"]["kind"]) == (6, "leak")  # the single run has seen folds 1, 2 and 9


def test_the_recipe_of_trustecg(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, told, err = cli("train", "--data", clinic, "--model", "ecgnet", "--recipe", "trustecg", "--epochs", 1,
                          "--out", out)  # fmt: skip
    assert code == 0, err
    assert told["best_epoch"] == 1
    recipe = json.loads((out / "run.json").read_text())["arguments"]["recipe"]
    kept = [
        recipe[name] for name in ("model", "epochs", "batch", "lr", "weight_decay", "schedule", "patience", "balance")
    ]
    assert kept == ["ecgnet", 1, 64, 1e-3, 1e-2, "plateau", 5, "sqrt"]
    bundle = Bundle.load(out)
    assert bundle.architecture == "ECGNet"
    assert bundle.preprocessing.windows == Windows(1000, 1000, "mean")  # the whole 10 s
    assert cli("evaluate", out, "--data", clinic)[0] == 0
