# SPDX-License-Identifier: Apache-2.0
"""Physics of the simulator: the closed form, Dower, Einthoven and Goldberger, bodies, noise at the electrodes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import welch

from ecglens.leads import STANDARD_LEADS
from ecglens.simulation import CONDITIONS, Noise, simulate_ecg
from ecglens.simulation.dipole import DOWER, INDEPENDENT_LEADS, Waves, render, twelve_leads
from ecglens.simulation.noise import (
    ELECTRODES,
    TWELVE_FROM_ELECTRODES,
    baseline_wander,
    electrode_steps,
    lead_noise,
    leads_from_electrodes,
    mains_hum,
    muscle_noise,
    white_noise,
)
from ecglens.simulation.pathologies import NORMAL_BEAT
from ecglens.simulation.person import EFFECTS, Person, at_session, draw_person, lead_amplitudes


def rows(leads: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(STANDARD_LEADS, leads, strict=True))


# ---------------------------------------------------------------- closed form and leads


def test_closed_form_against_the_plain_double_sum():
    times, beats = np.arange(700) / 250.0, np.array([-0.3, 0.5, 1.37, 2.9])
    expected = np.zeros((8, 700))
    for beat in beats:
        for c in NORMAL_BEAT:
            bump = np.exp(-(((times - beat) * 1000 - c.mu) ** 2) / (2 * c.sigma**2))
            expected += np.outer(DOWER @ np.array(c.moment), bump)
    np.testing.assert_allclose(render(Waves.of(beats, NORMAL_BEAT), times), expected, atol=1e-9)


def test_any_rate_samples_the_same_curve():
    waves = Waves.of([0.7, 1.4], NORMAL_BEAT)
    fine, coarse = render(waves, np.arange(2000) / 1000), render(waves, np.arange(200) / 100)
    np.testing.assert_allclose(fine[:, ::10], coarse, atol=1e-9)


def test_beats_outside_the_recording_reach_in_and_no_further():
    late = render(Waves.of([1.1], NORMAL_BEAT), np.arange(500) / 500)  # only its P lies inside
    assert np.abs(late).max() > 0.05
    assert not render(Waves.of([-3.0, 9.0], NORMAL_BEAT), np.arange(500) / 500).any()


def test_dower_against_its_published_inverse():
    # Inverse Dower, row X, over V1..V6, I, II: published for the way back, derived apart from the forward matrix.
    published = [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010]
    order = [INDEPENDENT_LEADS.index(name) for name in ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")]
    np.testing.assert_allclose(np.linalg.pinv(DOWER[order])[0], published, atol=1e-3)


def test_axes_point_left_down_and_back():
    leads = rows(twelve_leads(DOWER @ np.eye(3)))
    assert (leads["I"][0] > 0, leads["aVF"][1] > 0, leads["V2"][2] < 0) == (True, True, True)
    assert leads["aVR"][0] < 0


@pytest.mark.parametrize("condition", CONDITIONS)
def test_limb_laws_hold_to_float64_before_noise(condition):
    lead = rows(simulate_ecg("x1", condition, fs=100.0).clean)
    residuals = [
        lead["I"] + lead["III"] - lead["II"],  # Einthoven
        lead["aVR"] + lead["aVL"] + lead["aVF"],  # Goldberger
        lead["aVR"] + (lead["I"] + lead["II"]) / 2,
        lead["aVL"] - (lead["I"] - lead["III"]) / 2,
        lead["aVF"] - (lead["II"] + lead["III"]) / 2,
    ]
    assert np.abs(residuals).max() < 1e-12


def test_a_bare_dipole_has_rank_three_and_a_chest_eight():
    bare = twelve_leads(render(Waves.of([0.5, 1.5], NORMAL_BEAT), np.arange(1000) / 500))
    made = simulate_ecg("x1", "NORM")
    assert np.linalg.matrix_rank(bare, tol=1e-9) == 3
    assert np.linalg.matrix_rank(made.clean, tol=1e-6) == 8
    # And not nearly three: the fourth direction holds more than a hundredth of the first.
    singular = np.linalg.svd(made.clean, compute_uv=False)
    assert 0.01 < singular[3] / singular[0] < 0.3


# ---------------------------------------------------------------- people


def test_a_rotation_turns_and_gains_scale_the_dipole():
    turned = Person("p", 60, "male", rotation=(0.0, 0.0, 90.0)).body() @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(turned, [0.0, 1.0, 0.0], atol=1e-12)
    scaled = Person("p", 60, "male", axis_gains=(2.0, 3.0, 4.0)).body()
    np.testing.assert_allclose(scaled, np.diag([2.0, 3.0, 4.0]), atol=1e-12)
    half = Person("p", 60, "male", rotation=(0.0, 0.0, 90.0)).body(turn=0.5) @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(half, [np.sqrt(0.5), np.sqrt(0.5), 0.0], atol=1e-12)


@pytest.fixture(scope="module")
def people():
    return [draw_person(f"p{i}", seed=0) for i in range(1500)]


@pytest.mark.parametrize("name", ["rate", "pr", "qtc", "qrs_stretch"])
def test_women_differ_by_what_is_stated(people, name):
    of = {sex: np.mean([getattr(p, name) for p in people if p.sex == sex]) for sex in ("female", "male")}
    effect = EFFECTS["qrs" if name == "qrs_stretch" else name][0]
    found = of["female"] - of["male"] if name in ("rate", "pr") else of["female"] / of["male"]
    assert found == pytest.approx(effect, abs=1.8 if name in ("rate", "pr") else 0.012)


def test_age_turns_the_axis_to_the_left_and_lengthens_pr(people):
    ages = np.array([p.age for p in people])
    per_decade = [10 * np.polyfit(ages, values, 1)[0] for values in (
        [p.rotation[2] for p in people], [p.pr for p in people])]  # fmt: skip
    assert per_decade == pytest.approx([EFFECTS["axis"][1], EFFECTS["pr"][1]], abs=1.5)


def test_age_and_sex_are_kept_where_they_are_given():
    person = draw_person("p1", 0, sex="female", age=33)
    assert (person.sex, person.age) == ("female", 33)


def test_a_session_changes_a_person_less_than_people_differ(people):
    def far(a, b):
        return sum(abs(x - y) for x, y in zip(a.rotation, b.rotation, strict=True))

    within = [far(at_session(p, "a", 0), at_session(p, "b", 0)) for p in people[:60]]
    between = [far(at_session(p, "a", 0), at_session(q, "b", 0)) for p, q in pairwise(people[:61])]
    assert np.median(within) < 0.3 * np.median(between)


def test_the_chest_adds_to_each_component_what_no_dipole_explains():
    person = draw_person("p1", 0)
    made = np.stack([lead_amplitudes(person, c, "r", 0) for c in NORMAL_BEAT])
    explained = made @ np.linalg.pinv(DOWER).T @ DOWER.T
    assert 0.03 < np.linalg.norm(made - explained) / np.linalg.norm(made) < 0.25
    assert np.linalg.matrix_rank(made, tol=1e-6) == 8


# ---------------------------------------------------------------- noise


def test_noise_obeys_the_limb_laws_and_wilsons_terminal():
    potentials = np.random.default_rng(0).normal(size=(9, 40))
    leads, at = rows(leads_from_electrodes(potentials)), dict(zip(ELECTRODES, potentials, strict=True))
    np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"], atol=1e-12)
    np.testing.assert_allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(leads["aVF"], 1.5 * (at["LL"] - (at["RA"] + at["LA"] + at["LL"]) / 3), atol=1e-12)
    np.testing.assert_allclose(leads["V4"] - leads["V3"], at["V4"] - at["V3"], atol=1e-12)
    np.testing.assert_allclose(leads_from_electrodes(np.ones((9, 4))), 0, atol=1e-15)
    np.testing.assert_allclose(TWELVE_FROM_ELECTRODES @ potentials, leads_from_electrodes(potentials), atol=1e-12)


@pytest.mark.parametrize("fs", [100.0, 500.0, 1000.0])
def test_size_and_band_of_each_kind_of_noise(fs):
    n = int(60 * fs)
    times = np.arange(n) / fs
    white = white_noise(np.random.default_rng(0), n, 0.02)
    muscle = muscle_noise(np.random.default_rng(0), n, fs, 0.02)
    wander = baseline_wander(np.random.default_rng(0), times, 0.1, 0.25)
    assert white.std() == pytest.approx(0.02, rel=0.02)
    assert muscle[3:].std() == pytest.approx(0.02, rel=0.05)
    assert muscle[:3].std() == pytest.approx(0.06, rel=0.05)
    assert np.abs(wander).max() <= 0.1
    hertz, power = welch(muscle, fs, nperseg=int(fs))
    assert power[:, hertz < 10].sum() < 0.05 * power.sum()
    hertz, power = welch(wander, fs, nperseg=n)
    assert power[:, hertz > 1].sum() < 1e-3 * power.sum()


def test_electrode_steps_jump_and_fade():
    times = np.arange(30000) / 500
    steps = electrode_steps(np.random.default_rng(1), times, 6.0)
    jumps = np.abs(np.diff(steps, axis=1))
    found = np.argwhere(jumps > 0.09)
    assert 2 <= len(found) <= 14
    electrode, at = found[0]
    assert abs(steps[electrode, at + 1 + 500]) < 0.1 * abs(steps[electrode, at + 1]) + 1e-9 or len(found) > 1
    assert not electrode_steps(np.random.default_rng(1), times, 0.0).any()


def test_hum_is_at_the_mains_and_absent_where_it_cannot_be_sampled():
    quiet = Noise(white=0, muscle=0, mains=0.02, wander=0, steps=0)
    for mains in (50.0, 60.0):
        hum = mains_hum(np.random.default_rng(0), np.arange(5000) / 500, 0.02, mains)
        hertz = np.fft.rfftfreq(5000, 1 / 500)
        assert np.abs(hertz[np.abs(np.fft.rfft(hum)).argmax(axis=1)] - mains).max() <= 0.1
    assert lead_noise(np.random.default_rng(0), 5000, 500.0, quiet, 0.25).total.any()
    assert not lead_noise(np.random.default_rng(0), 1000, 100.0, quiet, 0.25).total.any()


def test_one_kind_of_noise_does_not_change_another():
    def made(**levels):
        zero = {"white": 0.0, "muscle": 0.0, "mains": 0.0, "wander": 0.0, "steps": 0.0}
        return lead_noise(np.random.default_rng(7), 800, 500.0, Noise(**(zero | levels)), 0.25).total

    levels = {"white": 0.01, "muscle": 0.02, "mains": 0.03, "wander": 0.04, "steps": 60.0}
    np.testing.assert_allclose(made(**levels), sum(made(**{k: v}) for k, v in levels.items()), atol=1e-12)
    assert not made().any()
