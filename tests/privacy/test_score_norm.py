# SPDX-License-Identifier: Apache-2.0
"""Comparisons on one scale: by hand, fair to recordings that resemble everybody; several networks as one attacker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.privacy import attackers as module
from ecglens.privacy import scoring
from ecglens.privacy.attackers import ATTACKERS
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.score_norm import cohort_scale, normed
from ecglens.privacy.scoring import Material, hear
from ecglens.privacy.windows import cut_windows
from ecglens.runs.progress import silent
from ecglens.statistics.verification import equal_error_rate, pairs

from .conftest import people_cohort


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_the_scale_is_that_of_the_nearest_of_the_cohort() -> None:
    generator = np.random.default_rng(1)
    units, cohort = unit(generator.normal(size=(3, 5))), unit(generator.normal(size=(9, 5)))
    mean, deviation = cohort_scale(units, cohort, 4)
    for k in range(3):
        nearest = sorted(float(units[k] @ person) for person in cohort)[-4:]
        assert mean[k] == pytest.approx(np.mean(nearest))
        assert deviation[k] == pytest.approx(np.std(nearest))


def test_recordings_that_resemble_everybody_are_refused_again() -> None:
    """Half of the recordings share a direction: their cosines are high, whoever they are compared with."""
    generator = np.random.default_rng(2)
    people = np.repeat(np.arange(40), 3)
    own = generator.normal(size=(40, 24))[people]
    common = np.zeros(24)
    common[0] = 1.0
    hubs = (people % 2)[:, None] * 9.0 * common
    units = unit(own + 0.9 * generator.normal(size=own.shape) + hubs)
    cohort = unit(generator.normal(size=(60, 24)) + np.arange(60)[:, None] % 2 * 9.0 * common)
    cosine = units @ units.T
    mean, deviation = cohort_scale(units, cohort)
    scaled = normed(cosine, (mean[:, None], deviation[:, None]), (mean[None], deviation[None]))
    np.testing.assert_allclose(scaled, scaled.T)
    plain, told = (equal_error_rate(pairs(each, people)) for each in (cosine, scaled))
    assert told < 0.75 * plain


def small(members: int, normed: bool):
    usual = ATTACKERS["cnn-beats"]
    return replace(
        usual, arguments=dict(usual.arguments) | {"widths": [4, 4, 4]}, members=members, normed=normed,
        embed=replace(usual.embed, epochs=2, patience=2, batch=6),
        classify=replace(usual.classify, epochs=2, patience=2, batch=16),
    )  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "STEPS_AN_EPOCH", 3)
    cut = cut_windows([people_cohort(8, 2)])
    material = Material(cut, cut.seen(), None)

    def ask(attacker, protocol: str = "verification", name: str = "a"):
        monkeypatch.setitem(scoring.ATTACKERS, "asked", attacker)
        split = make_splits(cut.table, protocol, n_folds=4)[0]
        return hear(
            "asked", material, split, cut.table["person"], sorted(set(cut.table["person"])), tmp_path / name, seed=0,
            progress=silent,
        )  # fmt: skip

    return ask


def test_several_networks_are_others_and_their_cosines_the_mean(told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine of embeddings side by side is the mean of the cosines of each network."""
    seeds = []
    monkeypatch.setattr(scoring, "derived_seed", lambda seed, what, number: seeds.append(number) or 100 + number)
    both = told(small(2, False), name="both")
    assert seeds == [0, 1]
    teach = scoring._taught
    for number in seeds:
        monkeypatch.setattr(
            scoring, "_taught", lambda a, f, j, s, t, number=number: teach(a, f, j, 100 + number, t)
        )  # fmt: skip
        one = told(small(1, False), name=f"alone-{number}")
        monkeypatch.setattr(scoring, "_taught", teach)
        seeds[number] = one.trials.scores
    np.testing.assert_allclose(both.trials.scores, (seeds[0] + seeds[1]) / 2, atol=1e-6)
    assert not np.allclose(seeds[0], seeds[1], atol=1e-3)
    assert both.cost["parameters"] == 2 * one.cost["parameters"]


def test_normed_comparisons_are_of_the_same_pairs_on_another_scale(told) -> None:
    plain, scaled = told(small(2, False), name="plain"), told(small(2, True), name="scaled")
    np.testing.assert_array_equal(plain.trials.first, scaled.trials.first)
    assert np.abs(plain.trials.scores).max() <= 1 + 1e-9
    assert np.corrcoef(plain.trials.scores, scaled.trials.scores)[0, 1] > 0.5
    assert scaled.trials.scores.std() > 0.3, "in standard deviations, not in cosines"


def test_several_networks_name_by_the_mean_of_what_each_says(told) -> None:
    heard = told(small(2, False), "paper", "named")
    np.testing.assert_allclose(heard.scores.sum(axis=1), 1, atol=1e-6)
    assert heard.cost["parameters"] % 2 == 0


def test_the_gallery_of_everybody_is_counted_by_plain_cosines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """People trained on would stand on a scale of themselves: ranks among them are those without any scale."""
    cut = cut_windows([people_cohort(9, 3)])
    material, split = Material(cut, cut.seen(), None), make_splits(cut.table, "verification", n_folds=3)[0]
    tables = [each + each.T for each in np.random.default_rng(4).normal(size=(2, 27, 27))]
    plain, scaled = (lambda one, other, t=t: t[one, other] for t in tables)

    def heard(alike, cosine):
        monkeypatch.setattr(scoring, "_embedded", lambda *_: (alike, cosine, None, {}))
        return scoring.tell_apart("cnn-beats-5", material, split, tmp_path, None, seed=0, progress=silent)

    both, alone, other = heard(scaled, plain), heard(plain, plain), heard(scaled, scaled)
    np.testing.assert_array_equal(both.everybody.better, alone.everybody.better)
    np.testing.assert_array_equal(both.ranks.better, other.ranks.better)
    assert (alone.everybody.better != other.everybody.better).any()
    assert both.everybody.n_others == 8
