# SPDX-License-Identifier: Apache-2.0
"""What states are worth: against slow loops, scikit-learn, planted truth and calibrated chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, cohen_kappa_score, normalized_mutual_info_score

from ecglens import simulate_ecg
from ecglens.concepts.state_ablation import correlation, without_state
from ecglens.concepts.state_alignment import PARTS, align, every_shift, nmi, parts_of, table_of
from ecglens.concepts.state_certainty import aurc, by_probability, certainty_of, decision_doubt, risk_coverage
from ecglens.concepts.state_result import mean_figure, told_in_states
from ecglens.concepts.state_stability import ari_figure, ari_of_tables, matched, perturbed, tables_of
from ecglens.concepts.state_surrogate import RawWindows, agreement, forest, surrogate_table
from ecglens.errors import ContractError
from ecglens.fiducials import MARKS, Fiducials


def random_strip(generator, n=400, k=4, mean=15):
    """States in stretches, as strips have them."""
    lengths = 1 + generator.geometric(1 / mean, size=n)
    return np.repeat(generator.integers(k, size=n), lengths)[:n].astype(np.int16)


# ----------------------------------------------------------------------------------------------------------- alignment


def marks_at(*beats):
    times = np.full((2, len(beats), len(MARKS)), np.nan)
    for b, ends in enumerate(beats):
        for name, value in ends.items():
            times[:, b, MARKS.index(name)] = value
            times[1, b, MARKS.index(name)] += 0.002  # leads differ a little; the median lies between
    why = {(lead, b, wave): "by hand" for lead in ("I", "II") for b in range(len(beats)) for wave in ("P", "T")
           if f"{wave}_onset" not in beats[b]}  # fmt: skip
    return Fiducials(times, ("I", "II"), "by hand", absent=why)


def test_parts_of_the_beat_follow_the_marks():
    first = {"P_onset": 0.1, "P_offset": 0.2, "QRS_onset": 0.25, "QRS_offset": 0.35, "T_onset": 0.45, "T_offset": 0.6}
    second = {"QRS_onset": 1.0, "QRS_offset": 1.1}  # no P, no T
    third = {key: value + 1.9 for key, value in first.items()}
    parts = parts_of(marks_at(first, second, third), np.arange(300) / 100 + 0.005)
    at = lambda t: "-" if parts[int(t * 100)] < 0 else PARTS[parts[int(t * 100)]]  # noqa: E731
    assert [at(t) for t in (0.05, 0.15, 0.22, 0.3, 0.4, 0.5, 0.8)] == ["-", "P", "PQ", "QRS", "ST", "T", "TP"]
    assert [at(t) for t in (1.05, 1.5, 2.05, 2.7)] == ["QRS", "-", "P", "-"], "after the last T nothing is known"
    assert at(0.98) == "TP", "up to the next QRS where it has no P"


def test_shifts_are_counted_as_by_hand():
    generator = np.random.default_rng(0)
    strip, part = random_strip(generator, 37), random_strip(generator, 37, k=6, mean=4).astype(np.int8)
    part[:3] = -1
    strip[-2:] = -1
    tables = every_shift(strip, part, 4)
    for shift in (0, 1, 5, 36):
        moved = np.roll(strip, shift)
        by_hand = [[np.sum((moved == k) & (part == j)) for j in range(6)] for k in range(4)]
        assert np.array_equal(tables[shift], by_hand)


def test_information_and_lift_are_those_of_other_definitions():
    generator = np.random.default_rng(1)
    strip, part = random_strip(generator), random_strip(generator, k=6, mean=10).astype(np.int8)
    found = align([strip], [part], ["r"], 4, n_shifts=50)
    assert nmi(found.counts) == pytest.approx(normalized_mutual_info_score(strip, part), abs=1e-9)
    both, one, other = np.mean((strip == 1) & (part == 2)), np.mean(strip == 1), np.mean(part == 2)
    assert found.lift[1, 2] == pytest.approx(both / (one * other))
    assert found.share.sum(axis=1) == pytest.approx(1.0)
    table = table_of(found)
    assert len(table) == 24
    assert table.loc[(table["state"] == 2) & (table["part"] == "QRS"), "lift"].item() == pytest.approx(
        both / one / other
    )


def test_a_state_that_is_qrs_is_found_and_its_chance_is_low():
    part = np.tile(np.repeat(np.arange(6), [8, 4, 8, 8, 16, 36]), 12).astype(np.int8)[:900]
    knows = np.where(part == 2, 1, 0).astype(np.int16)
    found = align([knows] * 5, [part] * 5, list("abcde"), 2, n_shifts=400)
    assert found.p_values[1, 2] < 0.01
    assert found.information()["p"] < 0.01
    assert found.information()["nmi"] > found.information()["chance_high"]


def test_the_null_keeps_its_promise():
    """Strips that know nothing of the beat: p below 0.1 in about a tenth of them, for the table and for each cell."""
    generator = np.random.default_rng(3)
    part = np.tile(np.repeat(np.arange(6), [8, 4, 8, 8, 16, 36]), 13)[:1000].astype(np.int8)
    whole, cells = [], []
    for trial in range(150):
        strips = [random_strip(generator, 1000, 2) for _ in range(3)]
        parts = [np.roll(part, generator.integers(80)) for _ in range(3)]
        found = align(strips, parts, [f"{trial}{k}" for k in "abc"], 2, n_shifts=99, seed=trial)
        whole.append(found.information()["p"])
        cells.append(found.p_values[0, 2])
    for p in (np.array(whole), np.array(cells)):
        assert 0.03 <= np.mean(p <= 0.1) <= 0.19
        assert 0.4 < np.mean(p) < 0.62


def test_records_without_beats_count_for_nothing():
    strip, none = np.zeros(50, np.int16), np.full(50, -1, np.int8)
    assert align([strip], [none], ["r"], 2, n_shifts=5).n_records == 0


def test_simulated_marks_give_every_part():
    made = simulate_ecg("r", "NORM", seed=0)
    parts = parts_of(made.fiducials, np.arange(1000) / 100)
    assert set(parts) == {-1, *range(6)}
    share = np.bincount(parts[parts >= 0], minlength=6) / (parts >= 0).sum()
    assert 0.05 < share[PARTS.index("QRS")] < 0.25
    assert share[PARTS.index("TP")] > share[PARTS.index("PQ")]


# ---------------------------------------------------------------------------------------------------------- stability


def test_the_index_of_tables_is_that_of_scikit_learn():
    generator = np.random.default_rng(4)
    for k, other in ((3, 3), (2, 5)):
        one, two = generator.integers(k, size=300), generator.integers(other, size=300)
        two[:150] = one[:150] % other
        table = tables_of([one.astype(np.int16)], [two.astype(np.int16)], k, other)
        assert ari_of_tables(table)[0] == pytest.approx(adjusted_rand_score(one, two))
    assert np.isnan(ari_of_tables(np.array([[7.0]])))


def test_agreement_of_records_has_an_interval_around_it():
    generator = np.random.default_rng(5)
    strips = [random_strip(generator) for _ in range(12)]
    other = [np.where(generator.random(400) < 0.2, generator.integers(4, size=400), s).astype(np.int16) for s in strips]
    found = ari_figure(tables_of(strips, other, 4, 4), [str(k // 2) for k in range(12)])
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(adjusted_rand_score(np.concatenate(strips), np.concatenate(other)))


def test_states_of_another_network_are_matched_by_what_they_share():
    generator = np.random.default_rng(6)
    strip = random_strip(generator)
    names = np.array([2, 0, 3, 1])
    order = matched(tables_of([strip], [names[strip].astype(np.int16)], 4, 4)[0])
    assert order.tolist() == names.tolist()


def test_strips_that_move_with_the_signal_agree_and_those_of_the_clock_do_not():
    generator = np.random.default_rng(7)
    signals = [np.cumsum(generator.normal(size=(3, 300)), axis=1).astype(np.float32) for _ in range(4)]
    follows = lambda some: [(s[0] > 0).astype(np.int16) for s in some]  # noqa: E731
    clock = lambda some: [(np.arange(s.shape[1]) // 10 % 2).astype(np.int16) for s in some]  # noqa: E731
    ids = list("abcd")

    def whole_records_only(given):
        if given[0].shape[1] < signals[0].shape[1]:
            raise ContractError("record", "duration", "short", "a window", kind="too_short")
        return clock(given)

    left = perturbed(whole_records_only, signals, ids, ids, 2)
    assert {name.split("_")[0] for name in left} == {"noise", "one"}  # nothing to shift a window along
    moves, stands = perturbed(follows, signals, ids, ids, 2), perturbed(clock, signals, ids, ids, 2)
    assert moves["shift_7"]["value"] == pytest.approx(1.0)
    assert stands["shift_5"]["value"] < 0.05
    assert stands["noise_5_db"]["value"] == 1.0
    assert moves["noise_20_db"]["value"] > moves["noise_5_db"]["value"]
    assert set(moves) == {
        *(f"shift_{k}" for k in range(1, 8)),
        "noise_20_db",
        "noise_10_db",
        "noise_5_db",
        "one_lead_less",
    }


# ---------------------------------------------------------------------------------------------------------- surrogate


def test_agreement_is_that_of_scikit_learn():
    generator = np.random.default_rng(8)
    truth, said = (generator.integers(2, size=(80, 3)).astype(float) for _ in range(2))
    said[:50] = truth[:50]
    found = agreement(said, truth, np.ones((0, 80)))
    assert found["accuracy"][0] == pytest.approx((said == truth).mean())
    kappas = [cohen_kappa_score(said[:, k], truth[:, k]) for k in range(3)]
    assert found["kappa"][0] == pytest.approx(np.mean(kappas))


def test_resampled_agreement_is_that_of_the_resampled_records():
    generator = np.random.default_rng(9)
    truth, said = (generator.integers(2, size=(40, 2)).astype(float) for _ in range(2))
    weights = generator.integers(3, size=(5, 40))
    found = agreement(said, truth, weights)
    for b, drawn in enumerate(weights, 1):
        rows = np.repeat(np.arange(40), drawn)
        assert found["accuracy"][b] == pytest.approx((said[rows] == truth[rows]).mean())


def test_a_forest_on_shares_that_decide_is_faithful_and_one_on_noise_is_not():
    generator = np.random.default_rng(10)
    shares = generator.dirichlet(np.ones(3), size=240)
    called = (shares[:, :2] > 0.33).astype(float)
    people = [str(k // 2) for k in range(120)]
    knows = forest(shares[:120], called[:120], shares[120:], 60, 0)
    guesses = forest(generator.random((120, 3)), called[:120], generator.random((120, 3)), 60, 0)
    answers = {"states": (knows, knows), "noise": (guesses, guesses)}
    table = surrogate_table(answers, called[120:], called[120:], shares[120:, :2], people).set_index(
        ["features", "metric"]
    )
    value = table["value"]
    assert value["states", "fidelity"] > 0.9
    assert value["noise", "fidelity"] < 0.7
    assert value["network", "accuracy"] == 1.0
    assert abs(value["noise", "kappa"]) < 0.3
    assert value["majority", "fidelity"] == pytest.approx(
        np.maximum(called[120:].mean(0), 1 - called[120:].mean(0)).mean()
    )
    assert table["low"]["states", "fidelity"] <= value["states", "fidelity"] <= table["high"]["states", "fidelity"]
    assert set(table["n_patients"]) == {60}


def test_a_class_that_all_have_keeps_its_answer():
    assert (forest(np.zeros((5, 2)), np.ones((5, 1)), np.zeros((3, 2)), 5, 0) == 1).all()


def test_raw_windows_cluster_the_trace_and_their_shares_sum_to_one():
    quiet, loud = np.zeros((2, 200), np.float32), 5 * np.ones((2, 200), np.float32)
    half = np.concatenate([quiet[:, :100], loud[:, :100]], axis=1)
    raw = RawWindows([quiet, loud, half], 100.0, 2, 0)
    assert raw.length == 8
    found = raw.shares([quiet, loud, half])
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert sorted(found[0].tolist()) == [0.0, 1.0]
    assert np.allclose(found[0], 1 - found[1])
    assert found[2].tolist() == pytest.approx([0.5, 0.5], abs=0.03)


# ---------------------------------------------------------------------------------------------------------- certainty


def test_doubt_is_entropy_weighed_by_evidence():
    parts = np.array([[[3.0, -1.0, 0.0]]])  # one record, one class, three places
    u = np.array([[0.2, 0.8, 1.0]])
    weighed, weight = decision_doubt(parts, u)
    assert (weighed / weight)[0, 0] == pytest.approx((3 * 0.2 + 1 * 0.8) / 4)


def test_risk_and_coverage_by_hand_with_ties():
    wrong, doubt = np.array([1.0, 0, 0, 1]), np.array([0.5, 0.5, 0.1, 0.9])
    coverage, risk = risk_coverage(wrong, doubt)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0.25, 1 / 3, 0.5])
    assert aurc(wrong, doubt) == pytest.approx((0 + 0.25 + 1 / 3 + 0.5) / 4)
    assert aurc(wrong, np.zeros(4)) == pytest.approx(0.5), "no order: the error rate"
    assert aurc(wrong, wrong) < aurc(wrong, doubt) < aurc(wrong, -wrong)


def test_doubt_that_knows_finds_errors_and_is_told_apart_from_one_that_does_not():
    generator = np.random.default_rng(11)
    truth = generator.integers(2, size=(300, 2)).astype(float)
    wrong = generator.random((300, 2)) < 0.3
    decided = np.where(wrong, 1 - truth, truth)
    knows = wrong + generator.normal(size=wrong.shape)
    people = [str(k) for k in range(300)]
    found = certainty_of(decided, truth, {"states": knows, "probability": generator.random(wrong.shape)}, people)
    # two normals one standard deviation apart: Phi(1 / sqrt 2)
    assert found["states"]["auroc"]["value"] == pytest.approx(0.760, abs=0.05)
    assert abs(found["probability"]["auroc"]["value"] - 0.5) < 0.08
    assert found["difference"]["low"] > 0
    assert found["states"]["aurc"]["value"] < found["error_rate"]
    assert found["n_wrong"] == wrong.sum()
    assert found["states"]["risk"][-1] == pytest.approx(found["error_rate"])


def test_tied_doubts_have_no_order_in_resamples_either():
    truth, decided = np.zeros((200, 1)), np.zeros((200, 1))
    decided[:40] = 1  # the wrong ones stand first
    found = certainty_of(decided, truth, {"states": np.zeros((200, 1))}, [str(k) for k in range(200)])["states"]["aurc"]
    assert found["value"] == pytest.approx(0.2)
    assert found["low"] == pytest.approx(0.2 - 1.96 * np.sqrt(0.16 / 200), abs=0.015)
    assert found["high"] == pytest.approx(0.2 + 1.96 * np.sqrt(0.16 / 200), abs=0.015)


def test_unknown_labels_are_no_errors():
    truth = np.array([[1.0], [np.nan], [0.0], [0.0]])
    found = certainty_of(np.zeros((4, 1)), truth, {"a": np.zeros((4, 1)), "b": np.zeros((4, 1))}, list("abcd"))
    assert (found["n_decisions"], found["n_wrong"]) == (3, 1)
    assert by_probability(np.array([0.9, 0.2])).tolist() == pytest.approx([0.1, 0.2])


# ----------------------------------------------------------------------------------------------------------- ablation


def test_a_state_is_drawn_through_by_straight_lines():
    signal = np.stack([np.arange(10.0) ** 2, np.ones(10)]).astype(np.float32)
    strip = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1])
    out = without_state(signal, strip, 1)
    assert np.array_equal(out[:, strip == 0], signal[:, strip == 0]), "the rest stays"
    assert out[0, :2].tolist() == [4.0, 4.0], "level before the first"
    assert out[0, 4:7].tolist() == pytest.approx([9 + 10 * k for k in (1, 2, 3)])
    assert out[0, 8:].tolist() == [49.0, 49.0]
    assert np.allclose(out[1], 1)


def test_correlation_is_that_of_numpy():
    generator = np.random.default_rng(12)
    one = generator.normal(size=(30, 2, 3))
    other = one + generator.normal(size=one.shape)
    found = correlation(one, other, [str(k // 3) for k in range(30)])
    assert found["value"] == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert found["low"] < found["value"] < found["high"]
    assert correlation(one, np.zeros_like(one), [str(k) for k in range(30)])["value"] is None


# -------------------------------------------------------------------------------------------------------------- words


def test_a_mean_over_a_class_has_its_own_records_and_interval():
    values, here = np.array([1.0, 3.0, 100.0]), np.array([True, True, False])
    weights = np.array([[1, 1, 1], [2, 0, 0], [0, 0, 3]] * 30, float)
    found = mean_figure(values, here, weights)
    assert (found["value"], found["n"]) == (2.0, 2)
    assert found["low"] == 1.0
    assert mean_figure(values, np.zeros(3, bool), weights)["value"] is None


def test_a_record_told_in_states_adds_up():
    told = told_in_states(
        "r-1", "MI", 1.0, -0.5, np.array([1.2, 0.4, -0.1]), np.array([0.5, 0.25, 0.25]), ["QRS", "", ""]
    )
    assert "Record r-1:" in told
    assert "\u22120.50 for MI; state 1 (more often in QRS) adds +1.20 with a membership of 50%" in told
    assert "state 2 adds +0.40" in told
    assert "all others \u22120.10" in told
    assert told.endswith("Together +1.00.")
