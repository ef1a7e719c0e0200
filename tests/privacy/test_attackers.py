# SPDX-License-Identifier: Apache-2.0
"""Attackers learn what they should, resume to the same bits, and are asked as they were taught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens.errors import EcglensError
from ecglens.models.bilstm import BiLSTM
from ecglens.models.cnn1d import CNN1d
from ecglens.models.cost import multiply_adds
from ecglens.models.lenet import count_parameters
from ecglens.models.registry import build_network
from ecglens.models.transecg import TransECG
from ecglens.privacy import attackers as module
from ecglens.privacy.attackers import (
    ATTACKERS,
    FEATURES,
    Attacker,
    Pupil,
    answers,
    train_to_name,
    train_to_tell_apart,
    window_error,
)
from ecglens.privacy.windows import cut_windows
from ecglens.runs.journal import Journal
from ecglens.runs.progress import silent
from ecglens.training.augmentation import Augmentation

from .conftest import people_cohort


def small(epochs: int = 6, patience: int = 6) -> Attacker:
    cnn = ATTACKERS["cnn"]
    how = {"epochs": epochs, "patience": patience, "batch": 8}
    crop = Augmentation(crop=500, gain=0.05, noise=0.01)
    return replace(
        cnn, arguments={"widths": [8, 16], "kernel": 9, "dropout": 0.0, "pooling": "mean_max"},
        classify=replace(cnn.classify, augmentation=crop, lr=1e-2, **how),
        embed=replace(cnn.embed, augmentation=crop, **how),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pupil() -> Pupil:
    made = cut_windows([people_cohort(8, 3)])
    people = np.unique(made.table["person"], return_inverse=True)[1]
    return Pupil.of(
        made.seen(), people, [f"{r}@{s}" for r, s in zip(made.table["recording"], made.table["start"], strict=True)]
    )


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STEPS_AN_EPOCH", 4)


def apart(folder: Path, pupil: Pupil, attacker: Attacker, seed: int = 0) -> torch.nn.Module:
    folder.mkdir(exist_ok=True)
    with Journal(folder / "journal.sqlite") as journal:
        return train_to_tell_apart(attacker, pupil, folder, journal, seed=seed, progress=silent)


def named(folder: Path, pupil: Pupil, valid: Pupil, attacker: Attacker) -> torch.nn.Module:
    folder.mkdir(exist_ok=True)
    with Journal(folder / "journal.sqlite") as journal:
        return train_to_name(attacker, pupil, valid, 8, folder, journal, seed=0, progress=silent)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def test_people_never_seen_are_told_apart(pupil: Pupil, tmp_path: Path):
    attacker = small(18, 18)
    strangers = cut_windows([people_cohort(8, 2, name="strangers", first=50)])
    people = np.unique(strangers.table["person"], return_inverse=True)[1]

    def error(network: torch.nn.Module) -> float:
        return window_error(answers(network, attacker.embed, strangers.seen(), unit=True), people)

    trained = apart(tmp_path / "a", pupil, attacker)
    assert error(trained) < 0.15
    untrained = module.built(attacker, 1, FEATURES, 500, 0)
    assert error(untrained) > error(trained)


def test_an_embedding_goes_on_to_the_same_bits(pupil: Pupil, tmp_path: Path):
    schedule = replace(small(4, 4).embed, schedule="constant")
    constant = replace(small(4, 4), embed=schedule)
    first = apart(tmp_path / "c1", pupil, constant)
    apart(tmp_path / "c2", pupil, replace(constant, embed=replace(schedule, epochs=2)))
    assert same(first, apart(tmp_path / "c2", pupil, constant))
    assert not same(first, apart(tmp_path / "other", pupil, constant, seed=1))


def test_the_last_weights_of_an_embedding_are_kept(pupil: Pupil, tmp_path: Path):
    assert not same(apart(tmp_path / "a", pupil, small(1)), apart(tmp_path / "b", pupil, small(2)))
    folder = tmp_path / "b"
    with Journal(folder / "journal.sqlite") as journal:
        assert list(journal.entries("epoch")) == ["1", "2"]


def test_both_trainings_heed_the_precision(pupil: Pupil, tmp_path: Path):
    usual = small(1)
    rounded = usual.at("bfloat16")
    assert not same(apart(tmp_path / "a", pupil, usual), apart(tmp_path / "b", pupil, rounded))
    assert not same(named(tmp_path / "c", pupil, pupil, usual), named(tmp_path / "d", pupil, pupil, rounded))
    assert same(apart(tmp_path / "a", pupil, usual), apart(tmp_path / "e", pupil, rounded.at("float32")))


def test_known_people_are_named_and_the_best_weights_kept(pupil: Pupil, tmp_path: Path):
    attacker = small(25, 25)
    attacker = replace(attacker, classify=replace(attacker.classify, batch=4, schedule="constant"))
    last = np.arange(len(pupil.labels)) % 3 == 0
    train, valid = (Pupil(pupil.signal[at], pupil.labels[at], pupil.keys[at]) for at in (~last, last))
    network = named(tmp_path / "a", train, valid, attacker)
    right = float((answers(network, attacker.classify, valid.signal).argmax(axis=1) == valid.labels).mean())
    with Journal(tmp_path / "a" / "journal.sqlite") as journal:
        scores = [entry["valid_accuracy"] for entry in journal.entries("epoch").values()]
    assert right == pytest.approx(max(scores))
    assert right > 0.6


def test_of_few_windows_an_epoch_shows_each_several_times(
    pupil: Pupil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lessons, shown = [], []
    monkeypatch.setattr(module, "learn", lambda network, lesson, *_, **__: lessons.append(lesson))

    def seen(how, drawn, signal, one_hot, keys, batch, seed, epoch):
        shown.append((epoch, batch, drawn.start[batch].tolist()))
        return apply(how, drawn, signal, one_hot, keys, batch, seed, epoch)

    apply = module.apply
    monkeypatch.setattr(module, "apply", seen)
    once = -(-len(pupil.signal) // small().classify.batch)
    for steps, passes in ((1, 1), (3 * once, 3)):
        attacker = replace(small(), steps_an_epoch=steps)
        assert attacker.passes(len(pupil.signal)) == passes
        train_to_name(attacker, pupil, pupil, 8, tmp_path, None, seed=0, progress=silent)
        shown.clear()
        losses = [records for epoch in (1, 2) for _, records in lessons[-1].losses(epoch)]
        assert len(losses) == 2 * lessons[-1].steps == 2 * passes * once
        assert sum(losses) == 2 * passes * len(pupil.signal)
        for number in range(2 * passes):  # each pass shows every window once, in an order and with crops of its own
            part = shown[number * once : (number + 1) * once]
            assert sorted(np.concatenate([batch for _, batch, _ in part]).tolist()) == list(range(len(pupil.signal)))
        of_one = [np.concatenate([start for e, _, start in shown if e == epoch]) for epoch in {e for e, _, _ in shown}]
        draws = {tuple(starts.tolist()) for starts in of_one}
        assert len(draws) == 2 * passes


def test_the_order_of_the_windows_does_not_matter(pupil: Pupil, tmp_path: Path):
    ids = [f"w{i}" for i in range(len(pupil.labels))]
    order = np.random.default_rng(0).permutation(len(ids))
    one = Pupil.of(pupil.signal, pupil.labels, ids)
    other = Pupil.of(pupil.signal[order], pupil.labels[order], [ids[i] for i in order])
    assert same(apart(tmp_path / "a", one, small(1)), apart(tmp_path / "b", other, small(1)))


def test_answers_are_the_mean_over_crops(pupil: Pupil):
    attacker = small()
    network = module.built(attacker, 1, 5, 500, 0).eval()
    signal = pupil.signal[:3]
    crops = [signal[..., s : s + 500] for s in range(0, 1501, 250)]
    with torch.no_grad():
        each = torch.stack([network(torch.from_numpy(np.ascontiguousarray(c))) for c in crops])
    np.testing.assert_allclose(answers(network, attacker.classify, signal), each.mean(0), atol=1e-5)
    unit = each / each.norm(dim=-1, keepdim=True)
    mean = unit.mean(0)
    expected = mean / mean.norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(answers(network, attacker.embed, signal, unit=True), expected, atol=1e-5)


@pytest.mark.parametrize("name", ATTACKERS)
def test_each_attacker_can_be_built_for_its_window(name: str):
    attacker = ATTACKERS[name]
    for recipe in (attacker.classify, attacker.embed):
        network = module.built(attacker, 1, 3, recipe.augmentation.crop, 0).eval()
        with torch.no_grad():
            assert network(torch.zeros(1, 1, recipe.augmentation.crop)).shape == (1, 3)
    assert attacker.embed.patience >= attacker.embed.epochs  # nothing is chosen


def test_patches_of_five_samples_make_four_hundred_tokens():
    network = module.built(ATTACKERS["transecg-patch5"], 1, 2, 2000, 0)
    assert network.positions.shape[0] == 401
    assert count_parameters(network) == 1_982_466 - 256 * 15 + 300 * 256


# ---------------------------------------------------------------------------------------------------------- networks


def test_the_stand_ins_have_the_sizes_they_say():
    widths, before, expected = (32, 64, 128, 128, 256), 1, 0
    for width in widths:
        expected += before * width * 15 + width + 2 * width
        before = width
    assert count_parameters(CNN1d(n_outputs=87)) == expected + 256 * 87 + 87
    per_layer = [4 * 128 * (w + 128 + 2) for w in (16, 128)]
    assert count_parameters(BiLSTM(n_outputs=87)) == 2 * sum(per_layer) + 4 * 16 + 16 + 4 * 128 + 2 * (128 * 87 + 87)


def test_what_a_direction_says_differs_between_windows_as_much_as_its_heads_need():
    torch.manual_seed(0)
    windows = torch.from_numpy(np.random.default_rng(0).normal(size=(16, 1, 2000)).astype(np.float32))
    network = BiLSTM(hidden=16).train()
    said: list[torch.Tensor] = []
    network.head[0].register_forward_hook(lambda _, args, __: said.append(args[0]))
    network(windows)
    assert (said[0].std(dim=0) > 0.2).all()  # means of states alone: some thousandths


def test_a_recurrent_network_is_asked_with_the_statistics_of_its_last_weights(pupil: Pupil, tmp_path: Path):
    """Its weights move by more than windows differ: with running means it answered one class for all."""
    base = ATTACKERS["bilstm"]
    attacker = replace(
        base, arguments={"hidden": 8, "stride": 20},
        classify=replace(base.classify, epochs=2, batch=8), embed=replace(base.embed, epochs=2, batch=8),
    )  # fmt: skip
    for train in ("name", "tell_apart"):
        folder = tmp_path / train
        folder.mkdir()
        with Journal(folder / "journal.sqlite") as journal:
            how = {"seed": 0, "progress": silent}
            if train == "name":
                network = train_to_name(attacker, pupil, pupil, 8, folder, journal, **how)
                crop = attacker.classify.augmentation.crop
            else:
                network = train_to_tell_apart(attacker, pupil, folder, journal, **how)
                crop = attacker.embed.augmentation.crop
        first = (pupil.signal.shape[2] - crop) // 2
        said: list[torch.Tensor] = []
        network.head[0].register_forward_hook(lambda _, args, __, said=said: said.append(args[0]))
        with torch.no_grad():
            network.eval()(torch.from_numpy(pupil.signal[:, :, first : first + crop].copy()))
        torch.testing.assert_close(said[0].mean(dim=0), torch.zeros(8), atol=0.05, rtol=0)


def test_the_two_ways_of_the_recurrent_network_never_mix():
    network = BiLSTM(hidden=8).eval()
    raw = torch.randn(2, 1, 400)
    signal = (raw - raw.mean(-1, keepdim=True)) / raw.std(-1, keepdim=True)
    with torch.no_grad():
        forwards = network.head[0](network.blocks[0](network.stem(signal).transpose(1, 2))[0].mean(dim=1))
        backwards = network.head[1](network.blocks[1](network.stem(signal).transpose(1, 2).flip(1))[0].mean(dim=1))
        torch.testing.assert_close(network(raw * 3 + 1), forwards + backwards)


def test_mean_and_maximum_stand_side_by_side():
    network = CNN1d(widths=(4,), kernel=3, dropout=0.0, pooling="mean_max").eval()
    assert network.head.in_features == 8
    constant = torch.ones(1, 1, 64)
    with torch.no_grad():
        inner = network.blocks[0](constant)
        expected = network.head(torch.cat([inner.mean(-1), inner.max(-1).values], 1))
        torch.testing.assert_close(network(constant), expected)


@pytest.mark.parametrize(
    ("name", "wrong"), [("CNN1d", {"pooling": "max"}), ("CNN1d", {"kernel": 0}), ("BiLSTM", {"hidden": 0})]
)
def test_what_cannot_be_built_is_refused(name: str, wrong: dict):
    with pytest.raises(EcglensError):
        build_network(name, wrong)


def test_multiply_adds_of_a_transformer_are_those_of_its_matrices():
    network = TransECG(width=12, heads=3, hidden=8, depth=2, length=100, patch=10)
    t, d = 11, 12
    block = 4 * t * d * d + 2 * t * t * d + 2 * t * d * 8
    assert multiply_adds(network, (1, 100)) == 10 * d * 10 + 2 * block + d * 2
    assert not any(layer._forward_hooks for layer in network.modules())
    lstm = BiLSTM(hidden=4, depth=2, n_outputs=3)
    steps = 25
    assert multiply_adds(lstm, (1, 100)) == 25 * 16 * 4 + 2 * steps * 16 * ((16 + 4) + (4 + 4)) + 2 * 4 * 3
