# SPDX-License-Identifier: Apache-2.0
"""Training: the same bits for the same seed, whatever happens to the process; nothing chosen on held-out patients."""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, EnvironmentFault, InputError, LockedError, TableError, UsageError
from ecglens.models.lenet import LeNet, count_parameters
from ecglens.prediction.calibration import fit_platt
from ecglens.prediction.evaluate import evaluate
from ecglens.prediction.predict import predict, predict_raw
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.journal import Journal
from ecglens.runs.progress import silent
from ecglens.simulation.cohort import simulate_cohort
from ecglens.statistics.metrics import fit_threshold_f1
from ecglens.training import train as module
from ecglens.training.augmentation import Augmentation
from ecglens.training.checkpoint import load_checkpoint
from ecglens.training.family import train_family
from ecglens.training.recipes import RECIPES, Recipe, recipe_for
from ecglens.training.train import Trained, one_cycle, split_for_training, train

EPOCHS = 3
# All that draws: crops, gains, noise, dropped leads, mixing, and dropout inside the network.
RECIPE = replace(recipe_for("lenet-wide"), epochs=EPOCHS, batch=32)


@pytest.fixture(scope="module")
def whole(small_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training that nothing interrupted."""
    return train(small_cohort, RECIPE, tmp_path_factory.mktemp("whole") / "run", seed=3)


# --- the same bits -------------------------------------------------------------------------------------------------


def test_same_seed_same_bits(whole: Trained, small_cohort: Cohort, tmp_path: Path) -> None:
    torch.manual_seed(12345)  # whatever state the global generators are in
    np.random.seed(7)  # noqa: NPY002
    again = train(small_cohort, RECIPE, tmp_path / "run", seed=3)
    for name in ("weights.safetensors", "config.json", "README.md"):
        one, other = (t.run.bundle_folder() / name for t in (whole, again))
        assert one.read_bytes() == other.read_bytes(), name
    assert again.valid == whole.valid


def test_another_seed_gives_another_network(whole: Trained, small_cohort: Cohort, tmp_path: Path) -> None:
    other = train(small_cohort, replace(RECIPE, epochs=1), tmp_path / "run", seed=4)
    assert other.bundle.weights_sha256 != whole.bundle.weights_sha256


def test_the_global_generators_are_left_alone(small_cohort: Cohort, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.random.get_rng_state()
    train(small_cohort, replace(RECIPE, epochs=1), tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_the_order_of_the_records_does_not_matter(small_cohort: Cohort, tmp_path: Path) -> None:
    """Every draw hangs on the record's name. (Signals are prepared once: their last bits hang on their neighbours.)"""
    parts = {n: prepare(p, RECIPE.preprocessing) for n, p in split_for_training(small_cohort, 0).items()}
    shuffled = parts["train"].take(np.random.default_rng(2).permutation(len(parts["train"].cohort)))
    weights = []
    for name, part in (("one", parts["train"]), ("other", shuffled)):
        (tmp_path / name).mkdir()
        with Journal(tmp_path / name / "journal.sqlite") as journal:
            network, _ = module.fit(RECIPE, part, parts["valid"], tmp_path / name, journal, 3, silent)
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# --- killed and resumed --------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from dataclasses import replace
import torch
from ecglens.simulation.cohort import simulate_cohort
from ecglens.training import checkpoint, train as module
from ecglens.training.recipes import recipe_for

torch.set_num_threads(1)  # as in conftest.py: the last bits of a sum depend on it
where, out, epochs = sys.argv[1:]
calls = {"epoch": 0, "loss": 0, "rename": 0}

def die_at(name, n):
    calls[name] += 1
    if calls[name] == n:
        os.kill(os.getpid(), signal.SIGKILL)

if where == "after a checkpoint":
    def progress(stage, *_):
        if stage == "training":
            die_at("epoch", 2)
else:
    def progress(*_):
        pass
if where == "within an epoch":
    loss = module.multilabel_loss
    def dying(*arguments):
        die_at("loss", 6)  # two steps an epoch: the second step of the third epoch
        return loss(*arguments)
    module.multilabel_loss = dying
if where == "before a rename":
    rename = os.replace
    def replace_file(a, b):
        if str(b).endswith("checkpoint.safetensors"):
            die_at("rename", 3)
        rename(a, b)
    os.replace = replace_file
recipe = replace(recipe_for("lenet-wide"), epochs=int(epochs), batch=32)
module.train(simulate_cohort(66, classes=("NORM", "IMI", "CLBBB")), recipe, out, seed=3, progress=progress)
"""


@pytest.mark.parametrize("where", ["after a checkpoint", "within an epoch", "before a rename"])
def test_a_killed_training_ends_with_the_same_bits(
    where: str, whole: Trained, small_cohort: Cohort, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, where, str(run), str(EPOCHS)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert (run / "checkpoint.safetensors").exists()
    assert not (run / "bundles").exists()
    with Journal(run / "journal.sqlite") as journal:
        done = set(journal.entries("epoch"))
    assert {"1"} <= done < set(map(str, range(1, EPOCHS + 1)))

    epochs: list[int] = []
    resumed = train(
        small_cohort, RECIPE, run, seed=3, resume=True,
        progress=lambda stage, done, total, note: epochs.append(done) if stage == "training" else None,
    )  # fmt: skip
    assert epochs == list(range(3, EPOCHS + 1))  # finished epochs are not done again
    assert resumed.bundle.weights_sha256 == whole.bundle.weights_sha256
    for name in ("config.json", "README.md"):
        assert (resumed.run.bundle_folder() / name).read_bytes() == (whole.run.bundle_folder() / name).read_bytes()
    assert resumed.run.read_table("history").equals(whole.run.read_table("history"))
    assert not list(run.rglob("*.part")) or where == "before a rename"


def test_resuming_a_finished_run_changes_nothing(trained: Trained, tmp_path: Path, small_cohort: Cohort) -> None:
    run = tmp_path / "run"
    recipe = replace(recipe_for("lenet"), epochs=1)
    first = train(small_cohort, recipe, run)
    again = train(small_cohort, recipe, run, resume=True)
    assert again.bundle.weights_sha256 == first.bundle.weights_sha256
    assert again.valid == first.valid


def test_resuming_what_never_began_is_a_fresh_run(small_cohort: Cohort, tmp_path: Path) -> None:
    assert train(small_cohort, replace(recipe_for("lenet"), epochs=1), tmp_path / "r", resume=True).best_epoch == 1


def test_resuming_with_other_arguments_is_refused(small_cohort: Cohort, tmp_path: Path) -> None:
    recipe = replace(recipe_for("lenet"), epochs=1)
    train(small_cohort, recipe, tmp_path / "run", arguments={"task": "a"})
    for changed in (
        {"recipe": replace(recipe, lr=1e-4)}, {"seed": 1}, {"arguments": {"task": "b"}},
        {"recipe": replace(recipe, augmentation=Augmentation(crop=250, noise=0.1))},
    ):  # fmt: skip
        given = {"recipe": recipe, "seed": 0, "arguments": {"task": "a"}} | changed
        with pytest.raises(ContractError, match="was") as caught:
            train(small_cohort, given.pop("recipe"), tmp_path / "run", resume=True, **given)
        assert (caught.value.exit_code, caught.value.kind) == (6, "resume")


def test_resuming_with_other_data_is_refused(small_cohort: Cohort, tmp_path: Path) -> None:
    recipe = replace(recipe_for("lenet"), epochs=1)
    train(small_cohort, recipe, tmp_path / "run")
    with pytest.raises(ContractError, match="SHA-256") as caught:
        train(simulate_cohort(66, classes=("NORM", "IMI", "CLBBB"), seed=5), recipe, tmp_path / "run", resume=True)
    assert (caught.value.exit_code, caught.value.kind) == (6, "resume")
    relabelled = small_cohort.labels.copy()
    relabelled.iloc[0] = 1.0 - relabelled.iloc[0]
    with pytest.raises(ContractError):
        train(replace(small_cohort, labels=relabelled), recipe, tmp_path / "run", resume=True)


def test_a_run_is_not_overwritten(trained: Trained, small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    before = (trained.run.folder / "run.json").read_bytes()
    with pytest.raises(UsageError, match="--resume"):
        train(small_cohort, tiny_recipe, trained.run.folder)
    assert (trained.run.folder / "run.json").read_bytes() == before
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        train(small_cohort, tiny_recipe, tmp_path)


def test_a_second_trainer_is_refused(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    raised: list[LockedError] = []

    def meanwhile(stage: str, *_: object) -> None:
        if stage == "training" and not raised:
            with pytest.raises(LockedError, match=f"process {os.getpid()}") as caught:
                train(small_cohort, tiny_recipe, tmp_path / "run", resume=True)
            raised.append(caught.value)

    train(small_cohort, replace(tiny_recipe, epochs=1), tmp_path / "run", progress=meanwhile)
    assert raised[0].exit_code == 5
    with (tmp_path / "run" / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and the lock is free again


def test_a_full_disk_keeps_the_last_epoch(whole: Trained, small_cohort: Cohort, tmp_path: Path) -> None:
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoint.safetensors"
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: list[bytes] = []

    def fill_up(stage: str, done: int, *_: object) -> None:
        if stage == "training" and done == 2:
            kept.append(checkpoint.read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept[0]) // 2, unlimited[1]))

    try:
        with pytest.raises(EnvironmentFault) as caught:
            train(small_cohort, RECIPE, run, seed=3, progress=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert (caught.value.exit_code, caught.value.kind) == (5, "disk")
    assert "checkpoint.safetensors" in str(caught.value)
    assert checkpoint.read_bytes() == kept[0]
    assert not list(run.rglob("*.part"))
    network = module._network(RECIPE, 12, 3, 3)
    assert load_checkpoint(checkpoint, network, torch.optim.AdamW(network.parameters())).epoch == 2
    resumed = train(small_cohort, RECIPE, run, seed=3, resume=True)
    assert resumed.bundle.weights_sha256 == whole.bundle.weights_sha256


# --- refusals ------------------------------------------------------------------------------------------------------


def test_divergence_names_the_epoch(small_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training loss in epoch 1") as caught:
        train(small_cohort, replace(RECIPE, lr=1e30, weight_decay=0.0), tmp_path / "run")
    assert (caught.value.kind, caught.value.exit_code) == ("diverged", 3)
    assert "learning rate" in str(caught.value)
    assert not (tmp_path / "run" / "bundles").exists()


def test_a_training_that_diverges_keeps_its_best_epoch_as_a_bundle(small_cohort: Cohort, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = replace(RECIPE, lr=1e9, warmup=0.9, weight_decay=0.0)
    with pytest.raises(InputError, match=r"epoch \d+.*the best epoch before, \d+, is kept as") as caught:
        train(small_cohort, recipe, run)
    assert caught.value.kind == "diverged"
    kept = Bundle.load(run / "bundles" / "last-good")
    assert int(kept.details["best_epoch"]) >= 1
    assert np.isfinite(evaluate(kept, small_cohort.where(fold=10), n_resamples=20).as_dict()["macro_auroc"]["value"])
    assert not (run / "bundles" / "final").exists()


def test_folds_that_some_records_lack_are_refused(small_cohort: Cohort, tmp_path: Path) -> None:
    folds = small_cohort.metadata["fold"].astype(float).copy()
    folds.iloc[5] = np.nan
    torn = replace(small_cohort, metadata=small_cohort.metadata.assign(fold=folds))
    for learn in (train, train_family):
        with pytest.raises(TableError, match=f"empty in 1 of {len(torn)} records, first {torn.record_ids[5]}"):
            learn(torn, RECIPE, tmp_path / "run", **({"seeds": 2} if learn is train_family else {}))
        assert not (tmp_path / "run" / "run.json").exists()


def without(cohort: Cohort, condition: Callable[[Cohort], np.ndarray]) -> Cohort:
    return cohort.take(np.flatnonzero(~condition(cohort)))


def test_a_class_nobody_has(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    fold, mi = small_cohort.metadata["fold"], small_cohort.labels["MI"] == 1
    for part, folds, labels in (
        ("train", fold.between(1, 8) & mi, None), ("valid", (fold == 9) & mi, None),
        ("train", fold < 0, small_cohort.labels.assign(NEVER=0.0)),
        ("train", fold < 0, small_cohort.labels.assign(UNKNOWN=np.nan)),
    ):  # fmt: skip
        cohort = small_cohort if labels is None else replace(small_cohort, labels=labels)
        with pytest.raises(TableError, match=f"{part} part.*nobody with") as caught:
            train(cohort.take(np.flatnonzero(~folds)), tiny_recipe, tmp_path / "run", resume=True)
        assert (caught.value.kind, caught.value.exit_code) == ("no_positives", 3)
    with pytest.raises(TableError, match="nobody without ALL") as caught:
        train(replace(small_cohort, labels=small_cohort.labels.assign(ALL=1.0)), tiny_recipe, tmp_path / "run",
              resume=True)  # fmt: skip
    assert caught.value.kind == "no_negatives"


def test_a_class_whose_only_ecgs_cannot_be_used(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    records = list(small_cohort.records)
    for k in np.flatnonzero((small_cohort.metadata["fold"] == 9) & (small_cohort.labels["CD"] == 1)):
        records[int(k)] = records[int(k)].crop(0, 3)
    with pytest.raises(TableError, match=r"valid part.*nobody with CD"):
        train(replace(small_cohort, records=records), tiny_recipe, tmp_path / "run")


def test_unusable_records_are_left_out_and_listed(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    records = list(small_cohort.records)
    bad = int(np.flatnonzero(small_cohort.metadata["fold"] == 1)[0])
    records[bad] = records[bad].crop(0, 3)
    trained = train(replace(small_cohort, records=records), replace(tiny_recipe, epochs=1), tmp_path / "run")
    assert [(e.record_id, e.kind) for e in trained.excluded] == [(small_cohort.record_ids[bad], "too_short")]
    table = trained.run.read_table("excluded")
    assert table[["record_id", "part", "kind"]].to_numpy().tolist() == [
        [small_cohort.record_ids[bad], "train", "too_short"]
    ]


def test_unknown_model() -> None:
    with pytest.raises(UsageError, match="lenet-wide"):
        recipe_for("resnet")


# --- who trains, who chooses, who is not touched -------------------------------------------------------------------


def test_parts_by_fold_and_by_patient(small_cohort: Cohort) -> None:
    fold = small_cohort.metadata["fold"]
    parts = split_for_training(small_cohort, 0)
    assert set(parts["train"].record_ids) == set(fold.index[fold.between(1, 8)])
    assert set(parts["valid"].record_ids) == set(fold.index[fold == 9])
    unfolded = simulate_cohort(150, classes=("NORM", "IMI", "CLBBB"))
    unfolded = replace(unfolded, metadata=unfolded.metadata.drop(columns="fold"))
    parts = split_for_training(unfolded, 0)
    people = {name: set(part.metadata["patient_id"]) for name, part in parts.items()}
    assert not people["train"] & people["valid"]
    assert len(people["train"]) / unfolded.n_patients == pytest.approx(0.8, abs=0.05)


def test_held_out_records_are_not_even_read(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    read: set[int] = set()

    class Watched:
        def __len__(self) -> int:
            return len(small_cohort)

        def __getitem__(self, index: int) -> object:
            read.add(int(index))
            return small_cohort.records[index]

    train(replace(small_cohort, records=Watched()), replace(tiny_recipe, epochs=1), tmp_path / "run")
    held_out = set(np.flatnonzero(small_cohort.metadata["fold"] == 10).tolist())
    assert read == set(range(len(small_cohort))) - held_out


def test_thresholds_and_scaling_come_from_validation_alone(trained: Trained, small_cohort: Cohort) -> None:
    valid = small_cohort.where(fold=9)
    prepared = prepare(valid, trained.bundle.preprocessing)
    raw, labels = predict_raw(trained.bundle, prepared.signals), valid.labels.to_numpy()
    for k, output in enumerate(trained.bundle.outputs):
        assert (output.temperature, output.offset) == pytest.approx(fit_platt(raw[:, k], labels[:, k]), rel=1e-6)
        probability = 1 / (1 + np.exp(-(raw[:, k] / output.temperature + output.offset)))
        assert output.threshold == pytest.approx(fit_threshold_f1(labels[:, k], probability), abs=1e-9)
    assert trained.valid["n"] == len(valid)


def test_early_stopping_keeps_the_best_epochs_weights(
    small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, seen = [0.5, 0.9, 0.9, 0.6, 0.99], []

    def scripted(network: torch.nn.Module, *_: object) -> float:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return scores[len(seen) - 1]

    monkeypatch.setattr(module, "macro_auroc", scripted)
    trained = train(small_cohort, replace(RECIPE, epochs=9, patience=2), tmp_path / "run")
    assert len(seen) == 4  # two epochs without a better score; the 0.99 is never reached
    assert trained.best_epoch == 2  # an equal score is no better one
    weights = trained.bundle.network.state_dict()
    assert all(torch.equal(weights[name], seen[1][name]) for name in weights)
    assert any(not torch.equal(weights[name], seen[3][name]) for name in weights)
    assert trained.run.read_table("history")["valid_macro_auroc"].tolist() == scores[:4]


def test_windows_are_averaged_on_validation(trained: Trained, small_cohort: Cohort) -> None:
    """The score that chose the epoch is that of the predictions: all windows, not one crop."""
    valid, history = small_cohort.where(fold=9), trained.run.read_table("history")["valid_macro_auroc"]
    scores = [list(predict(trained.bundle, ecg).probabilities.values()) for ecg in valid.records]
    assert roc_auc_score(valid.labels, scores) == pytest.approx(history.max(), abs=1e-12)
    assert trained.best_epoch == 1 + history.idxmax()


def test_it_learns(tmp_path: Path, small_cohort: Cohort) -> None:
    trained = train(small_cohort, replace(recipe_for("lenet"), epochs=10, batch=16), tmp_path / "run")
    losses = trained.run.read_table("history")["train_loss"]
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]


# --- the recipe ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_one_cycle(warmup: float) -> None:
    recipe, steps = replace(RECIPE, lr=0.1, warmup=warmup), 400
    rates = np.array([one_cycle(recipe, step, steps) for step in range(steps)])
    peak = round(warmup * steps)
    assert rates.max() <= 0.1 + 1e-12
    assert rates.min() > 0
    if warmup:
        assert rates[0] == pytest.approx(0.1 / 25)
        np.testing.assert_allclose(np.diff(rates[:peak]), 0.1 * (1 - 1 / 25) / peak)  # linear
    if warmup < 1:
        assert rates[peak] == pytest.approx(0.1)
        assert (np.diff(rates[peak:]) < 0).all()
        middle = peak + (steps - peak) // 2
        assert rates[middle] == pytest.approx(0.05, rel=0.02)
        assert rates[-1] < 1e-4


def test_the_schedule_reaches_the_optimizer(
    small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    step = torch.optim.AdamW.step

    def spying(self: torch.optim.AdamW, *arguments: object) -> object:
        used.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["weight_decay"] == RECIPE.weight_decay
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", spying)
    train(small_cohort, RECIPE, tmp_path / "run")
    per_epoch = math.ceil((small_cohort.metadata["fold"] <= 8).sum() / RECIPE.batch)
    assert used == [one_cycle(RECIPE, k, EPOCHS * per_epoch) for k in range(EPOCHS * per_epoch)]


def test_lenet_is_the_one_of_xai4ecg() -> None:
    assert count_parameters(LeNet(n_outputs=23)) == 73_271
    for recipe in RECIPES.values():
        assert (recipe.augmentation.crop, recipe.preprocessing.windows.length) == (250, 250)


# --- what is written -----------------------------------------------------------------------------------------------


def test_what_a_run_tells(trained: Trained) -> None:
    about = json.loads((trained.run.folder / "run.json").read_text())
    assert about["finished"] is True
    assert about["weights_sha256"] == trained.bundle.weights_sha256
    assert about["arguments"]["recipe"]["epochs"] == 3
    assert about["data"]["n_records"] == trained.bundle.details["n_records"]
    assert set(about["valid"]["per_class"]) == set(trained.bundle.classes)
    card = trained.bundle.card
    for words in ("not a medical device", "NORM", "macro AUROC", "optimistic", "Sameni"):
        assert words in card
    assert Bundle.load(trained.run.folder).card == card


def test_empty_classes_are_left_out_on_request_and_named(
    small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    labels = small_cohort.labels.assign(RARE=0.0)
    cohort = replace(small_cohort, labels=labels)
    with pytest.raises(TableError, match="nobody with RARE"):
        train(cohort, tiny_recipe, tmp_path / "refused")
    trained = train(cohort, tiny_recipe, tmp_path / "run", drop_empty_classes=True)
    assert trained.bundle.classes == small_cohort.classes
    assert "without RARE" in trained.bundle.label_rule


def test_rare_classes_are_counted_in_patients_not_records(
    small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Five records of two people are two patients; the validation part does not help a class above the bar."""
    fold = small_cohort.metadata["fold"].to_numpy()
    train_rows, valid_rows = np.flatnonzero(fold <= 8), np.flatnonzero(fold == 9)
    labels = small_cohort.labels.assign(TWO=0.0, THREE=0.0)
    metadata = small_cohort.metadata.copy()
    two, three = train_rows[:5], train_rows[5:8]
    metadata.iloc[two, metadata.columns.get_loc("patient_id")] = ["a", "a", "a", "b", "b"]
    metadata.iloc[three, metadata.columns.get_loc("patient_id")] = ["c", "d", "e"]
    for name, rows in (("TWO", two), ("THREE", three)):
        labels.iloc[[*rows, *valid_rows[:4]], labels.columns.get_loc(name)] = 1.0
    cohort = replace(small_cohort, labels=labels, metadata=metadata)
    recipe = replace(tiny_recipe, epochs=1)
    kept = train(cohort, recipe, tmp_path / "run", min_patients=3).bundle
    assert kept.classes == (*small_cohort.classes, "THREE")
    assert kept.label_rule.endswith("without TWO (fewer than 3 training patients)")
    assert train(cohort, recipe, tmp_path / "all", min_patients=2).bundle.classes == cohort.classes
    with pytest.raises(TableError, match="at least one class"):
        train(replace(cohort, labels=labels[[]]), recipe, tmp_path / "none", min_patients=2)


def test_refused_data_leave_no_run_behind(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TableError):
        train(replace(small_cohort, labels=small_cohort.labels.assign(RARE=0.0)), tiny_recipe, tmp_path / "run")
    assert train(small_cohort, tiny_recipe, tmp_path / "run").bundle.classes == small_cohort.classes


def test_one_record_left_over_is_learnt_with_the_batch_before(small_cohort: Cohort, tmp_path: Path) -> None:
    """Batch norm behind a pooled vector has nothing to normalise in a batch of one."""
    n = len(split_for_training(small_cohort, 0)["train"])
    recipe = replace(recipe_for("xresnet1d50"), epochs=1, batch=n - 1)
    trained = train(small_cohort, recipe, tmp_path / "run")
    assert trained.bundle.weights_sha256


def test_weights_that_are_no_numbers_stop_the_training(small_cohort: Cohort, tmp_path: Path) -> None:
    """One step an epoch: the loss was a number, what was learnt from it is none."""
    recipe = replace(RECIPE, lr=1e30, schedule="constant", batch=1000)
    with pytest.raises(InputError, match="no epoch was finished") as raised:
        train(small_cohort, recipe, tmp_path / "run")
    assert raised.value.kind == "diverged"
