# SPDX-License-Identifier: Apache-2.0
"""A checkpoint gives back every bit, is written whole or not at all, and is refused where it is damaged."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path

import pytest
import torch

from ecglens.errors import EnvironmentFault, FormatError
from ecglens.models.lenet import LeNet, initialized
from ecglens.training.checkpoint import State, load_checkpoint, save_checkpoint


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        network(torch.randn(4, 12, 250)).square().mean().backward()
        optimizer.step()


def fresh(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.AdamW]:
    network = initialized(LeNet, {"n_outputs": 2}, seed)
    return network, torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, torch.nn.Module, torch.optim.AdamW, State]:
    network, optimizer = fresh()
    best = {}
    for seed in range(3):
        step(network, optimizer, seed)
        best = best or {name: value.clone() for name, value in network.state_dict().items()}
    state = State(3, 1, 0.75, best, [{"epoch": 1, "train_loss": 0.1, "valid_macro_auroc": 0.75}])
    save_checkpoint(tmp_path / "c.safetensors", network, optimizer, state)
    return tmp_path / "c.safetensors", network, optimizer, state


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def test_gives_back_every_bit_and_goes_on_alike(saved) -> None:
    path, network, optimizer, state = saved
    other, other_optimizer = fresh(9)
    found = load_checkpoint(path, other, other_optimizer)
    assert same(other.state_dict(), network.state_dict())
    assert same(found.best_weights, state.best_weights)
    assert not same(found.best_weights, other.state_dict())
    assert (found.epoch, found.best_epoch, found.best_score, found.history) == (3, 1, 0.75, state.history)
    for seed in range(3, 6):
        step(network, optimizer, seed)
        step(other, other_optimizer, seed)
    assert same(other.state_dict(), network.state_dict())  # moments and step counts came back, too


def test_before_the_first_best(tmp_path: Path) -> None:
    network, optimizer = fresh()
    save_checkpoint(tmp_path / "c", network, optimizer, State(0, 0, -math.inf, {}, []))
    assert load_checkpoint(tmp_path / "c", *fresh(1)) == State(0, 0, -math.inf, {}, [])


def test_a_damaged_checkpoint_is_refused(saved, tmp_path: Path) -> None:
    raw = saved[0].read_bytes()
    for damaged in (b"", raw[:7], raw[:1000], raw[:-1], raw + b"x", b"\xff" * 8 + raw[8:], raw[:9] + b"?" + raw[10:],
                    raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:]):  # fmt: skip
        (tmp_path / "d").write_bytes(damaged)
        with pytest.raises(FormatError) as caught:
            load_checkpoint(tmp_path / "d", *fresh())
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused(saved) -> None:
    network = LeNet(n_outputs=3)
    with pytest.raises(FormatError):
        load_checkpoint(saved[0], network, torch.optim.AdamW(network.parameters()))


def test_a_write_that_fails_leaves_the_old_one(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    path, network, optimizer, state = saved
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    step(network, optimizer, 77)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(EnvironmentFault) as caught:
                save_checkpoint(path, network, optimizer, copy.copy(state))
            assert caught.value.exit_code == 5
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file left
