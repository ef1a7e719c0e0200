# SPDX-License-Identifier: Apache-2.0
"""Beats as on another day: P, T and the time of repolarisation change as planted, QRS stays to the sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens.privacy.attackers import ATTACKERS, Pupil, train_to_tell_apart
from ecglens.privacy.other_days import N_NUMBERS, OtherDay, on_another_day
from ecglens.runs.journal import Journal

CENTRE = 55
LEVEL = 0.2  # of the line between P and QRS


def wave(at: float, width: float, height: float) -> np.ndarray:
    return height * np.exp(-(((np.arange(160) - at) / width) ** 2) / 2)


def beat() -> np.ndarray:
    """P at -30, R at 0, T at 60 samples from the centre."""
    shape = LEVEL + wave(CENTRE - 30, 3, 0.1) + wave(CENTRE, 2, 1.0) + wave(CENTRE + 60, 8, 0.3)
    return np.stack([shape, -shape])[None].astype(np.float32)  # [1, 2 leads, time]


def changed(how: OtherDay, *numbers: float) -> np.ndarray:
    return on_another_day(how, beat(), np.array([CENTRE]), np.array([numbers]))


def test_with_nothing_drawn_a_beat_stays_as_it_is():
    np.testing.assert_allclose(changed(OtherDay(), 0, 0, 0), beat(), atol=1e-6)
    np.testing.assert_allclose(changed(OtherDay(0, 0), 1, -2, 3), beat(), atol=1e-6)


def test_each_number_changes_its_own_part_of_both_leads():
    p, t = CENTRE - 30, CENTRE + 60
    qrs = slice(CENTRE - 10, CENTRE + 12)
    for lead, sign in ((0, 1), (1, -1)):
        taller_t = changed(OtherDay(0, 0.3), 0, 1, 0)[0, lead]
        assert taller_t[t] - sign * LEVEL == pytest.approx(sign * 0.3 * np.exp(0.3), rel=1e-3)
        taller_p = changed(OtherDay(0, 0.3), 0, 0, 1)[0, lead]
        assert taller_p[p] - sign * LEVEL == pytest.approx(sign * 0.1 * np.exp(0.3), rel=0.02)
        for other, here in ((taller_t, p), (taller_p, t)):
            assert other[here] == pytest.approx(beat()[0, lead, here], abs=1e-4)
        sooner = changed(OtherDay(0.06, 0), 2, 0, 0)[0, lead]  # read 12 % further on: T comes sooner
        expected = CENTRE + 20 + 40 / np.exp(0.12)
        assert np.abs(sign * sooner)[CENTRE + 30 :].argmax() + CENTRE + 30 == pytest.approx(expected, abs=1)
        for one in (taller_t, taller_p, sooner):
            np.testing.assert_allclose(one[qrs], beat()[0, lead, qrs], atol=0.02)


def test_each_beat_has_its_own_centre_and_numbers():
    both = np.concatenate([beat(), np.roll(beat(), 4, axis=2)])
    numbers = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    made = on_another_day(OtherDay(0, 0.3), both, np.array([CENTRE, CENTRE + 4]), numbers)
    np.testing.assert_allclose(made[1, 0, 10:150], made[0, 0, 6:146], atol=1e-4)
    alone = on_another_day(OtherDay(0, 0.3), both[1:], np.array([CENTRE + 4]), numbers[1:])
    np.testing.assert_array_equal(made[1:], alone)


def test_a_network_learns_what_stays_between_days(tmp_path: Path):
    """People differ in R alone; T is another each day. Learnt on one day each, T misleads unless days are made up."""
    random = np.random.default_rng(2)
    length = ATTACKERS["cnn-beats-5"].part[1] - ATTACKERS["cnn-beats-5"].part[0]

    def day(person: int, seed: int) -> np.ndarray:
        own, drawn = np.random.default_rng(person), np.random.default_rng([person, seed])
        at = np.arange(length) - (CENTRE + 4)
        height, low, tall = own.uniform(0.6, 1.4), own.uniform(0.0, 0.6), np.exp(0.5 * drawn.normal())
        shape = height * np.exp(-((at / 3) ** 2) / 2) - low * np.exp(-(((at - 8) / 3) ** 2) / 2)
        return shape + 0.35 * tall * np.exp(-(((at - 60) / 9) ** 2) / 2)

    def shown(people: range, seed: int, times: int) -> tuple[np.ndarray, np.ndarray]:
        beats = [day(person, seed) + 0.01 * random.normal(size=length) for person in people for _ in range(times)]
        return np.stack(beats)[:, None].astype(np.float32), np.repeat(np.arange(len(people)), times)

    signal, owners = shown(range(40), 0, 4)
    base = replace(ATTACKERS["cnn-beats-5"], members=1)
    base = replace(base, embed=replace(base.embed, epochs=4, patience=4))
    first, second = (shown(range(100, 140), seed, 1)[0] for seed in (1, 2))
    found = {}
    for name, how in (("without", None), ("with", OtherDay(0.0, 0.5))):
        attacker, folder = replace(base, other_day=how), tmp_path / name
        folder.mkdir()
        pupil = Pupil.of(signal, owners, [f"{i}" for i in range(len(signal))])
        with Journal(folder / "journal.sqlite") as journal:
            network = train_to_tell_apart(attacker, pupil, folder, journal, seed=0, progress=lambda *_: None)
        crop = attacker.embed.augmentation.crop
        units = [network.eval()(_tensor(part[..., 4 : 4 + crop])).detach().numpy() for part in (first, second)]
        units = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in units]
        nearest = (units[1] @ units[0].T).argmax(axis=1)
        found[name] = float((nearest == np.arange(40)).mean())
    assert found["with"] > found["without"] + 0.1, found


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def test_there_are_as_many_numbers_as_parts_that_change():
    with pytest.raises((ValueError, TypeError)):
        on_another_day(OtherDay(), beat(), np.array([CENTRE]), np.zeros((1, N_NUMBERS - 1)))
    assert np.isfinite(changed(OtherDay(), *[5.0] * N_NUMBERS)).all()
