# SPDX-License-Identifier: Apache-2.0
"""Physics of the simulator: the closed form, Dower, Einthoven and Goldberger, noise at the electrodes, the rules.

Figures of the conditions are re-measured here on the noise-free beat, sample by sample at 1 kHz.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import welch

from ecglens.leads import STANDARD_LEADS
from ecglens.simulation import CONDITIONS, Noise
from ecglens.simulation.dipole import (
    DOWER,
    DOWER_LEADS,
    Body,
    Component,
    Rhythm,
    adapt,
    dipole_moment,
    draw_body,
    draw_rhythm,
    leads_from_dipole,
    record_leads,
)
from ecglens.simulation.noise import (
    ELECTRODES,
    baseline_wander,
    lead_noise,
    leads_from_electrodes,
    mains_hum,
    muscle_noise,
    white_noise,
)
from ecglens.simulation.pathologies import NORMAL_BEAT

MS = np.arange(-400, 600)  # ms around the beat


def rows(leads: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(STANDARD_LEADS, leads, strict=True))


def one_beat(condition: str, body: Body | None = None, mean_rr: float = 1.0, wave: str | None = None) -> np.ndarray:
    """Return the noise-free beat [lead, ms] of a person, or one of its waves alone."""
    body = body or Body()
    parts = [c for c in adapt(CONDITIONS[condition].beat(), body, mean_rr) if wave in (None, c.wave)]
    return leads_from_dipole(body.matrix() @ dipole_moment(MS / 1000, np.zeros(1), parts))


def people(n: int) -> list[tuple[Body, float]]:
    generators = [np.random.default_rng(i) for i in range(n)]
    return [(body := draw_body(g, 10), 60.0 / body.resting_rate) for g in generators]


# ---------------------------------------------------------------- closed form


def test_closed_form_against_the_plain_double_sum():
    times, beats = np.arange(700) / 250.0, np.array([-0.3, 0.5, 1.37, 2.9])
    expected = np.zeros((3, 700))
    for beat in beats:
        for c in NORMAL_BEAT:
            for axis in range(3):
                expected[axis] += c.moment[axis] * np.exp(-(((times - beat) * 1000 - c.mu) ** 2) / (2 * c.sigma**2))
    np.testing.assert_allclose(dipole_moment(times, beats, NORMAL_BEAT), expected, atol=1e-15)


def test_any_rate_samples_the_same_curve():
    fine = dipole_moment(np.arange(2000) / 1000, np.array([0.7, 1.4]), NORMAL_BEAT)
    coarse = dipole_moment(np.arange(200) / 100, np.array([0.7, 1.4]), NORMAL_BEAT)
    np.testing.assert_allclose(fine[:, ::10], coarse, atol=1e-14)


def test_beats_outside_the_recording_reach_in_and_no_further():
    late = dipole_moment(np.arange(500) / 500, np.array([1.1]), NORMAL_BEAT)  # only its P lies inside
    assert np.abs(late).max() > 0.05
    assert not dipole_moment(np.arange(500) / 500, np.array([-3.0, 9.0]), NORMAL_BEAT).any()


# ---------------------------------------------------------------- leads


def test_dower_against_its_published_inverse():
    # Inverse Dower, row X, over V1..V6, I, II: published for the way back, derived apart from the forward matrix.
    published = [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010]
    np.testing.assert_allclose(np.linalg.pinv(DOWER)[0], published, atol=1e-3)
    assert DOWER_LEADS == ("V1", "V2", "V3", "V4", "V5", "V6", "I", "II")


def test_axes_point_left_down_and_back():
    leads = rows(leads_from_dipole(np.eye(3)))
    assert (leads["I"][0] > 0, leads["aVF"][1] > 0, leads["V2"][2] < 0) == (True, True, True)
    assert leads["aVR"][0] < 0


@pytest.mark.parametrize("condition", CONDITIONS)
def test_limb_laws_hold_to_float64(condition):
    lead = rows(one_beat(condition, *people(1)[0]))
    residuals = [
        lead["I"] + lead["III"] - lead["II"],  # Einthoven
        lead["aVR"] + lead["aVL"] + lead["aVF"],  # Goldberger
        lead["aVR"] + (lead["I"] + lead["II"]) / 2,
        lead["aVL"] - (lead["I"] - lead["III"]) / 2,
        lead["aVF"] - (lead["II"] + lead["III"]) / 2,
    ]
    assert np.abs(residuals).max() < 1e-12


def test_a_dipole_has_rank_three_and_noise_breaks_it():
    clean = record_leads(NORMAL_BEAT, Body(), Rhythm(np.arange(-1.0, 12), 1.0, 0.25, 0.0), np.arange(5000) / 500)
    noisy = clean + lead_noise(np.random.default_rng(0), 5000, 500.0, Noise(), 0.25)
    assert np.linalg.matrix_rank(clean, tol=1e-9) == 3
    assert np.linalg.matrix_rank(noisy, tol=1e-9) == 8


# ---------------------------------------------------------------- bodies and rhythms


def test_rotation_turns_and_axis_gains_scale_the_dipole():
    turned = Body(rotation=(0.0, 0.0, 90.0)).matrix() @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(turned, [0.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(Body(axis_gains=(2.0, 3.0, 4.0)).matrix(), np.diag([2.0, 3.0, 4.0]), atol=1e-12)
    singular = np.linalg.svd(draw_body(np.random.default_rng(1), 8).matrix(), compute_uv=False)
    gains = draw_body(np.random.default_rng(1), 8).axis_gains
    np.testing.assert_allclose(np.sort(singular), np.sort(gains))  # a rotation changes no length


def test_drawn_people_lie_in_the_stated_ranges():
    bodies = [body for body, _ in people(400)]
    rotation = np.array([b.rotation for b in bodies])
    assert (np.abs(rotation) <= 20).all()
    assert (np.abs(rotation).max(axis=0) > 19).all()
    assert np.log([b.axis_gains for b in bodies]).std() == pytest.approx(0.15, rel=0.1)
    assert max(abs(b.p_shift) for b in bodies) <= 15
    assert max(abs(b.t_shift) for b in bodies) <= 20
    assert all(0.85 <= g <= 1.15 for b in bodies for g in b.component_gains)


def test_t_follows_the_cube_root_of_rr_and_the_qrs_does_not():
    slow, fast = adapt(NORMAL_BEAT, Body(), 1.0), adapt(NORMAL_BEAT, Body(), 0.6)
    for before, after in zip(slow, fast, strict=True):
        factor = 0.6 ** (1 / 3) if before.wave == "T" else 1.0
        assert (after.mu, after.sigma) == pytest.approx((before.mu * factor, before.sigma * factor))
    assert slow == NORMAL_BEAT


def test_a_lesion_leaves_every_other_draw_of_the_body_alone():
    few, many = draw_body(np.random.default_rng(5), 8), draw_body(np.random.default_rng(5), 11)
    assert replace(many, component_gains=many.component_gains[:8]) == few


@pytest.mark.parametrize("duration", [5.0, 60.0])
def test_rhythm_covers_the_recording_at_50_to_100_per_minute(duration):
    for seed in range(60):
        generator = np.random.default_rng(seed)
        rhythm = draw_rhythm(generator, draw_body(generator, 8).resting_rate, duration)
        rr = np.diff(rhythm.beats)
        assert 50 <= 60 / rhythm.mean_rr <= 100
        assert rhythm.beats[0] < -rhythm.mean_rr < 0 < duration + 0.4 < rhythm.beats[-1]
        assert (rr > 0.8 * rhythm.mean_rr).all()
        assert (rr < 1.2 * rhythm.mean_rr).all()
        if duration > 30:
            assert 0.012 < rr.std() / rr.mean() < 0.06


def test_a_longer_recording_begins_with_the_shorter_one():
    short, long = (draw_rhythm(np.random.default_rng(2), 70.0, seconds).beats for seconds in (5.0, 30.0))
    np.testing.assert_array_equal(long[: len(short)], short)


# ---------------------------------------------------------------- the rules of the conditions


def qrs_duration(condition: str, body: Body | None = None, mean_rr: float = 1.0) -> int:
    """Return in ms how long QRS exceeds 0.05 mV in any lead."""
    loud = MS[(np.abs(one_beat(condition, body, mean_rr, "QRS")) > 0.05).any(axis=0)]
    return int(loud[-1] - loud[0])


def q_wave(lead: np.ndarray) -> tuple[int, float]:
    """Return duration (below -0.02 mV), in ms, and depth, in mV, of what goes down before anything goes up."""
    qrs = lead[(MS > -80) & (MS < 130)]
    up = np.flatnonzero(qrs > 0.02)
    before = qrs[: up[0]] if up.size else qrs
    return int((before < -0.02).sum()), float(-before.min(initial=0.0))


def has_inferior_q(leads: dict[str, np.ndarray]) -> bool:
    waves = [q_wave(leads[name]) for name in ("II", "III", "aVF")]
    return sum(ms >= 30 and mv >= 0.1 for ms, mv in waves) >= 2


def has_block(leads: dict[str, np.ndarray], duration: int) -> bool:
    v1 = leads["V1"][(MS > -80) & (MS < 130)]
    qs = v1.min() < -0.2 and v1[: v1.argmin()].max() < 0.05
    return duration >= 120 and qs and all(q_wave(leads[name])[1] < 0.03 for name in ("I", "V6"))


def test_figures_of_the_normal_beat():
    leads = rows(one_beat("NORM"))
    assert qrs_duration("NORM") == pytest.approx(86, abs=4)
    figures = {
        ("II", 0, -300, -90): 0.14, ("II", 0, -80, 130): 1.03, ("II", 0, 130, 500): 0.28,
        ("V1", 0, -80, 130): 0.23, ("V1", 1, -80, 130): -0.76, ("V2", 0, -80, 130): 0.35, ("V2", 1, -80, 130): -0.70,
        ("V5", 0, -80, 130): 1.46, ("V6", 0, -80, 130): 1.13, ("V6", 1, -80, 0): -0.08,
    }  # fmt: skip
    for (name, low, start, stop), expected in figures.items():
        part = leads[name][start + 400 : stop + 400]  # MS begins at -400
        assert (part.min() if low else part.max()) == pytest.approx(expected, abs=0.006), (name, start)
    sokolow = -leads["V1"].min() + leads["V5"].max()
    assert sokolow == pytest.approx(2.22, abs=0.01)
    r_over_s = {name: leads[name].max() > -leads[name].min() for name in ("V1", "V2", "V3", "V4")}
    assert r_over_s == {"V1": False, "V2": False, "V3": True, "V4": True}


@pytest.mark.parametrize(("lead", "depth", "duration"), [("II", 0.43, 32), ("III", 0.60, 40), ("aVF", 0.50, 34)])
def test_q_waves_of_inferior_infarction(lead, depth, duration):
    ms, mv = q_wave(rows(one_beat("IMI"))[lead])
    assert mv == pytest.approx(depth, abs=0.006)
    assert ms == pytest.approx(duration, abs=3)


def test_inferior_infarction_has_no_pathological_q_elsewhere():
    leads = rows(one_beat("IMI"))
    for name in ("I", "aVL", "V2", "V3", "V4", "V5", "V6"):
        assert q_wave(leads[name])[0] < 20, name
    assert qrs_duration("IMI") < 110


def test_left_bundle_branch_block():
    leads = rows(one_beat("CLBBB"))
    assert qrs_duration("CLBBB") == pytest.approx(164, abs=4)
    assert has_block(leads, qrs_duration("CLBBB"))
    st_t = (MS > 130) & (MS < 450)
    for name, sign in {"V1": 1, "V2": 1, "I": -1, "aVL": -1, "V5": -1, "V6": -1}.items():
        qrs, t = leads[name][(MS > -80) & (MS < 130)].sum(), leads[name][st_t].sum()
        assert np.sign(t) == sign == -np.sign(qrs), name  # T against QRS


def test_people_meet_the_rule_of_their_condition_and_normal_people_meet_none():
    met = {condition: [] for condition in CONDITIONS}
    for body, mean_rr in people(150):
        for condition in CONDITIONS:
            leads, duration = rows(one_beat(condition, body, mean_rr)), qrs_duration(condition, body, mean_rr)
            met[condition].append((has_inferior_q(leads), has_block(leads, duration), duration < 120))
    share = {condition: np.mean(flags, axis=0) for condition, flags in met.items()}
    assert share["NORM"].tolist() == [0.0, 0.0, 1.0]
    assert share["IMI"][0] >= 0.95
    assert share["IMI"][1:].tolist() == [0.0, 1.0]
    assert share["CLBBB"][1] >= 0.95


def test_conditions_are_data_whose_names_fit():
    names = [c.name for c in NORMAL_BEAT]
    for key, condition in CONDITIONS.items():
        beat = condition.beat()
        assert set(condition.replaced) <= set(names), key
        assert len({c.name for c in beat}) == len(beat), key
        assert [c.name for c in beat[: len(names)]] == names, key
    assert {key: c.superclass for key, c in CONDITIONS.items()} == {"NORM": "NORM", "IMI": "MI", "CLBBB": "CD"}
    assert CONDITIONS["NORM"].beat() == NORMAL_BEAT
    assert CONDITIONS["CLBBB"].beat()[2] == Component("septal", "QRS", -27.0, 8.0, (0.0, 0.0, 0.0))


# ---------------------------------------------------------------- noise


def test_noise_obeys_the_limb_laws_and_wilsons_terminal():
    potentials = np.random.default_rng(0).normal(size=(9, 40))
    leads, at = rows(leads_from_electrodes(potentials)), dict(zip(ELECTRODES, potentials, strict=True))
    np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"], atol=1e-12)
    np.testing.assert_allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(leads["aVF"], 1.5 * (at["LL"] - (at["RA"] + at["LA"] + at["LL"]) / 3), atol=1e-12)
    np.testing.assert_allclose(leads["V4"] - leads["V3"], at["V4"] - at["V3"], atol=1e-12)
    everywhere_alike = leads_from_electrodes(np.ones((9, 4)))
    np.testing.assert_allclose(everywhere_alike, 0, atol=1e-15)


@pytest.mark.parametrize("fs", [100.0, 500.0, 1000.0])
def test_size_and_band_of_each_kind_of_noise(fs):
    n = int(60 * fs)
    times = np.arange(n) / fs
    white = white_noise(np.random.default_rng(0), n, 0.02)
    muscle = muscle_noise(np.random.default_rng(0), n, fs, 0.02)
    wander = baseline_wander(np.random.default_rng(0), times, 0.1, 0.25)
    assert white.std() == pytest.approx(0.02, rel=0.02)
    assert muscle.std() == pytest.approx(0.02, rel=0.05)
    assert np.abs(wander).max() <= 0.1
    hertz, power = welch(muscle, fs, nperseg=int(fs))
    assert power[:, hertz < 10].sum() < 0.05 * power.sum()
    hertz, power = welch(wander, fs, nperseg=n)
    assert power[:, hertz > 1].sum() < 1e-3 * power.sum()


def test_hum_is_at_the_mains_and_absent_where_it_cannot_be_sampled():
    quiet = Noise(white=0, muscle=0, mains=0.02, wander=0)
    for mains in (50.0, 60.0):
        hum = mains_hum(np.random.default_rng(0), np.arange(5000) / 500, 0.02, mains)
        hertz = np.fft.rfftfreq(5000, 1 / 500)
        assert np.abs(hertz[np.abs(np.fft.rfft(hum)).argmax(axis=1)] - mains).max() <= 0.1
    assert lead_noise(np.random.default_rng(0), 5000, 500.0, quiet, 0.25).any()
    assert not lead_noise(np.random.default_rng(0), 1000, 100.0, quiet, 0.25).any()


def test_one_kind_of_noise_does_not_change_another():
    def made(**levels):
        zero = {"white": 0.0, "muscle": 0.0, "mains": 0.0, "wander": 0.0}
        return lead_noise(np.random.default_rng(7), 800, 500.0, Noise(**(zero | levels)), 0.25)

    levels = {"white": 0.01, "muscle": 0.02, "mains": 0.03, "wander": 0.04}
    np.testing.assert_allclose(made(**levels), sum(made(**{k: v}) for k, v in levels.items()), atol=1e-12)
    assert not made().any()
