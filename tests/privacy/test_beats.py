# SPDX-License-Identifier: Apache-2.0
"""Mean beats lie where they should, whatever the rate, the sign and the gain; and `cnn-beats` is shown no other's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ecglens.ecg import ECG
from ecglens.models.cnn1d import CNN1d
from ecglens.privacy.attackers import ATTACKERS
from ecglens.privacy.beats import AFTER, BEFORE, mean_beats
from ecglens.privacy.scoring import Material, _means
from ecglens.privacy.windows import PREPARATIONS, Windowed, cut_windows
from ecglens.waveform.rpeaks import detect_r_peaks

from .conftest import people_cohort


def heart(interval: float, t_after: float, sign: float = 1.0, gain: float = 1.0) -> np.ndarray:
    """8 s [time] of a lead with R waves `interval` s apart and T waves `t_after` s behind them."""
    t = np.arange(2000) / 250
    signal = 0.002 * np.random.default_rng(0).normal(size=t.size)
    for at in np.arange(0.2, 8, interval):
        for centre, width, height in ((-0.15, 0.02, 0.1), (0, 0.010, 1.0), (0.035, 0.01, -0.3), (t_after, 0.04, 0.3)):
            signal += height * np.exp(-((t - at - centre) ** 2) / (2 * width**2))
    return (sign * gain * signal).astype(np.float32)


def windowed(*signals: np.ndarray, preparation: str = "paper") -> Windowed:
    table = pd.DataFrame({"recording": [f"r{i}" for i in range(len(signals))], "start": 0.0})
    return Windowed(np.stack(signals)[:, None], 250.0, table, PREPARATIONS[preparation])


def test_t_waves_of_slow_and_fast_hearts_meet() -> None:
    fast, slow = 0.7, 1.1  # T lies where the root of the interval has it
    usual = 0.06 + 0.24
    signals = [heart(each, 0.06 + 0.24 * np.sqrt(each / 0.8)) for each in (fast, slow)]
    made = mean_beats(windowed(*signals))
    for number in (0, 1):
        mean = made.signal[made.window == number, 0].mean(axis=0)
        late = BEFORE + round(0.15 * 250)
        peak = (late + int(np.argmax(mean[late:])) - BEFORE) / 250
        assert peak == pytest.approx(usual, abs=0.012)  # the centre of QRS lies a little behind R
    one, other = (made.signal[made.window == n, 0].mean(axis=0) for n in (0, 1))
    assert np.corrcoef(one, other)[0, 1] > 0.97
    first = (50 + 2 * round(250 * each) - BEFORE for each in (fast, slow))
    cut = [signal[begin : begin + BEFORE + AFTER] for signal, begin in zip(signals, first, strict=True)]
    assert np.corrcoef(cut[0], cut[1])[0, 1] < 0.9  # beats as they are do not


def test_neither_sign_nor_gain_moves_a_beat() -> None:
    made = mean_beats(windowed(heart(0.8, 0.3), heart(0.8, 0.3, sign=-1), heart(0.8, 0.3, gain=3)))
    one, turned, taller = (made.signal[made.window == n] for n in range(3))
    np.testing.assert_allclose(turned, -one, atol=0.02)
    np.testing.assert_allclose(taller, one, atol=1e-3)
    kept = mean_beats(windowed(heart(0.8, 0.3), heart(0.8, 0.3, gain=3), preparation="amplitude"))
    np.testing.assert_allclose(kept.signal[kept.window == 1], 3 * kept.signal[kept.window == 0], rtol=1e-3, atol=1e-4)


def test_three_beats_are_one_and_a_window_has_one_at_least() -> None:
    made = mean_beats(windowed(heart(0.8, 0.3), heart(7.0, 0.3)))
    whole = len([at for at in np.arange(0.2, 8, 0.8) if at * 250 >= BEFORE and at * 250 + AFTER <= 2000])
    assert np.bincount(made.window).tolist() == [whole // 3, 1]
    assert np.isfinite(made.signal).all()


@pytest.mark.parametrize("preparation", ["paper", "amplitude"])
def test_a_window_without_a_beat_gives_its_middle_and_a_flat_line_stays_flat(preparation: str) -> None:
    t = np.arange(2000) / 250
    slow, flat = (0.1 * np.sin(2 * np.pi * t / 8)).astype(np.float32), np.full(2000, 0.25, np.float32)
    for signal in (slow, flat):
        assert not len(detect_r_peaks(ECG(signal[None], 250.0, ("I",)), "pan_tompkins").samples)
    made = mean_beats(windowed(heart(0.8, 0.3), slow, flat, preparation=preparation))
    assert np.isfinite(made.signal).all()
    assert np.bincount(made.window)[1:].tolist() == [1, 1]
    of_slow, of_flat = made.signal[-2:, 0]
    middle = slow[1000 - BEFORE : 1000 + AFTER]
    assert np.corrcoef(of_slow, middle)[0, 1] == pytest.approx(1, abs=1e-5)
    assert of_slow[0] > of_slow[BEFORE] > of_slow[-1]  # the sine falls through its middle
    assert not of_flat.any()


def test_an_attacker_is_shown_beats_of_the_windows_asked_for_and_no_others() -> None:
    cut = cut_windows([people_cohort(4, 2)])
    material = Material(cut, cut.seen(), None)
    at = np.array([5, 2])
    signal, place = material.shown(ATTACKERS["cnn-beats"], at)
    for p, window in enumerate(at):
        alone = mean_beats(cut.take(np.array([window]))).signal
        np.testing.assert_array_equal(signal[place == p], alone)
    pupil = material.pupil(ATTACKERS["cnn-beats"], at, np.array([7, 9]))
    assert sorted(pupil.labels) == sorted(np.array([7, 9])[place])
    assert len(set(pupil.keys.tolist())) == len(place)
    windows, places = material.shown(ATTACKERS["cnn"], at)
    assert (windows.shape, places.tolist()) == ((2, 1, 2000), [0, 1])


def test_answers_are_the_mean_over_the_beats_of_a_window() -> None:
    values = np.arange(12.0).reshape(6, 2)
    np.testing.assert_allclose(_means(values, np.array([0, 0, 0, 1, 2, 2])), [[2, 3], [6, 7], [9, 10]])


@pytest.mark.parametrize(("length", "strides"), [(200, None), (201, [2, 1, 1]), (97, [1, 3, 1]), (256, [2, 2, 2])])
def test_a_network_that_pools_nothing_knows_how_much_is_left(length: int, strides: list[int] | None) -> None:
    torch.manual_seed(0)
    network = CNN1d(1, 5, (4, 4, 3), 9, 0.0, "none", strides, length).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, length)).shape == (2, 5)
        early = torch.zeros(1, 1, length)
        early[..., : length // 3] = torch.randn(length // 3)
        late = torch.roll(early, length // 2, dims=-1)
        assert not torch.allclose(network(early), network(late), atol=1e-3)  # it knows where something is
    with pytest.raises(ValueError, match="length"):
        CNN1d(pooling="none")
