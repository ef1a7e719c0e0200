# SPDX-License-Identifier: Apache-2.0
"""A small network that learnt simulated classes, and explainers whose faults are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from ecglens import Attribution, Batch, Bundle, Output
from ecglens.auditing import faithfulness, planted, randomization, regression
from ecglens.auditing.twins import Schedule, schedule_for, train_twin, untrained
from ecglens.auditing.work import Size, Test, Work
from ecglens.auditing.worlds import for_outputs, on_grid
from ecglens.auditing.worlds import planted as world_planted
from ecglens.explainers.gradient import guided_backprop, target_values
from ecglens.explainers.methods import Method
from ecglens.fiducials import MARKS
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Admission, Bandpass, Preprocessing, Resample, Standardize
from ecglens.preprocessing.windows import Windows

SMALL = {"widths": [16, 32, 48], "hidden": 0}
SIZE = Size(simulated=140, measured=120, cases=16, redrawn=8, stable=5, regressed=6, seeds=2, epochs=24)
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
# Those whose figures decide.
DECIDING = tuple(
    test
    for module in (faithfulness, randomization, planted, regression)
    for test in module.TESTS
    if test.name in ("deletion", "randomization", "planted", "temporal")
)


def small_bundle() -> Bundle:
    """A LeNet whose weights were never trained."""
    steps = (Resample(100.0), Bandpass(0.5, 40.0, 2), Standardize())
    prepare = Preprocessing(Admission(), steps, Windows(250, 250))
    network = initialized(ARCHITECTURES["LeNet"], SMALL | {"n_leads": 12, "n_outputs": 5}, 7)
    return Bundle(network, tuple(map(Output, CLASSES)), prepare, 100.0, "LeNet",
                  SMALL | {"n_leads": 12, "n_outputs": 5}, "small")  # fmt: skip


@pytest.fixture(scope="session")
def learnt() -> Bundle:
    """The same, trained on other simulated people than those it is asked about."""
    bundle = small_bundle()
    world = for_outputs(bundle, 140, seed=99)
    twin = untrained(bundle, CLASSES, "multilabel", 1)
    train_twin(twin, world.signals, world.labels, world.cohort.record_ids, Schedule(epochs=20), 1)
    return twin


@dataclass(frozen=True, eq=False)
class Oracle:
    """The simulator's own evidence, as far as the network at hand uses it.

    truths   evidence by record id, bool [lead, time]
    waves    what the networks that read amplitudes were trained to read; the truth is that wave in the target's lead

    Where hiding the evidence changes nothing there is nothing to show: then the map is noise of the weights' own.
    """

    truths: dict[str, np.ndarray]
    waves: dict[bytes, str]

    def __call__(self, network: nn.Module, batch: Batch, targets: np.ndarray) -> Attribution:
        signals = np.asarray(batch.signal)
        maps = np.empty((len(signals), len(targets), *signals.shape[1:]), np.float32)
        wave = self.waves.get(fingerprint(network), "")
        for k, signal in enumerate(signals):
            for j, row in enumerate(targets):
                mask = wave_mask(batch, k, wave)[int(row.argmax())] if wave else self.truths[batch.record_ids[k]]
                if wave:  # only the target's lead
                    mask = np.where(np.arange(len(signal))[:, None] == row.argmax(), mask, False)
                maps[k, j] = self._as_used(network, signal, mask, row, enough=0.0 if wave else 0.5)
        return Attribution(maps)

    def _as_used(
        self, network: nn.Module, signal: np.ndarray, mask: np.ndarray, row: np.ndarray, enough: float
    ) -> np.ndarray:
        hidden = np.where(mask, np.median(signal, axis=1, keepdims=True), signal)
        answers = target_values(network, torch.from_numpy(np.stack([signal, hidden]).astype(np.float32)), row[None])
        fall = abs(float(answers[0, 0] - answers[1, 0]))
        used = (min(fall / enough, 1.0) if enough else 1.0) * mask.any()
        noise = np.random.default_rng(int(np.frombuffer(answers.numpy().tobytes(), np.uint32).sum()))
        return used * mask + (1.01 - used) * 0.5 * noise.random(signal.shape)


def fingerprint(network: nn.Module) -> bytes:
    """Tell one network from another."""
    return b"".join(p.detach().numpy().tobytes() for p in network.parameters())


def wave_mask(batch: Batch, k: int, wave: str) -> np.ndarray:
    """Return where a wave is in record `k`, bool [lead, time]."""
    assert batch.fiducials is not None
    at = np.arange(batch.signal.shape[-1]) / batch.fs
    ends = batch.fiducials[k].times[:, :, [MARKS.index(f"{wave}_onset"), MARKS.index(f"{wave}_offset")]]
    return np.array([np.any([(at >= a) & (at < b) for a, b in lead], axis=0) for lead in ends])


def guided_of_a_stranger(network: nn.Module, batch: Batch, targets: np.ndarray) -> Attribution:
    """Guided backpropagation of other weights than those of the network that is explained."""
    arguments = SMALL | {"n_leads": 12, "n_outputs": targets.shape[1]}
    return guided_backprop(initialized(ARCHITECTURES["LeNet"], arguments, 5).eval(), batch, targets)


def constant(network: nn.Module, batch: Batch, targets: np.ndarray) -> Attribution:
    return Attribution(np.ones((len(batch.record_ids), len(targets), *batch.signal.shape[1:]), np.float32))


@pytest.fixture(scope="session")
def planted_methods(learnt: Bundle) -> dict[str, Method]:
    """One explainer that is right, and bad ones."""
    from ecglens.explainers.methods import EXPLAINERS

    truths = {}
    for world in (for_outputs(learnt, SIZE.simulated, 0), world_planted(learnt, SIZE.simulated, 0)):
        assert world.cohort.evidence is not None
        for k, record in enumerate(world.cohort.record_ids):
            truths[record] = on_grid(world.cohort.evidence[k].mask, world, 100.0)
    work = Work(learnt, SIZE, 0, schedule_for(learnt, SIZE.epochs))
    data = regression.simulated(work)
    readers = [regression._reader(work, data, k, name, "simulated") for k, name in enumerate(regression.WAVES)]
    waves = {fingerprint(r.twin.network): wave for r, wave in zip(readers, ("P", "QRS", "T"), strict=True)}
    return {
        "oracle": Method(Oracle(truths, waves), "share", sees="record"),
        "energy": EXPLAINERS["energy"],
        "edges": EXPLAINERS["slope"],
        "constant": Method(constant, "nothing"),
        "guided_of_a_stranger": Method(guided_of_a_stranger, "share"),
    }


@pytest.fixture(scope="session")
def deciding() -> tuple[Test, ...]:
    return DECIDING


@pytest.fixture(scope="session")
def size() -> Size:
    return SIZE


@pytest.fixture
def ignorant() -> Bundle:
    """A network with random weights."""
    return small_bundle()
