# SPDX-License-Identifier: Apache-2.0
"""Databases that give strangers away, and countings that are kinder than chance, are planted and seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecglens.privacy.compared import Compared, all_trials
from ecglens.privacy.identify import identify
from ecglens.privacy.owner_controls import DEALS, shuffled_owners, why_not, within_databases
from ecglens.privacy.scoring import Heard
from ecglens.privacy.windows import cut_windows
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.statistics.figures import interval
from ecglens.statistics.verification import equal_error_rate

from .conftest import people_cohort

HOW = {"n_resamples": 60, "seed": 0}


def compared(people: np.ndarray, databases: np.ndarray, alike: np.ndarray, across: bool = False) -> Compared:
    """The first recording of each person is in the gallery; `alike` [recording, recording]."""
    first = np.unique(people, return_index=True)[1]
    probes = np.setdiff1d(np.arange(len(people)), first)
    one, other = np.triu_indices(len(people), k=1)
    if across:
        one, other = np.repeat(probes, len(first)), np.tile(first, len(probes))
    return Compared(
        alike[one, other], one, other, alike[np.ix_(probes, first)], first, probes, people, databases, across
    )


def fold(
    seed: int, n_people: int = 20, n_recordings: int = 4, person: float = 0.0, database: float = 0.0, base: float = 0.0,
    across: bool = False,
) -> Heard:  # fmt: skip
    """Half of the people in either database; recordings of one person, or of one database, are that much more alike."""
    people = np.repeat(np.arange(n_people), n_recordings)
    databases = np.where(people % 2, "a", "b")
    noise = np.random.default_rng(seed).normal(size=(len(people), len(people)))
    alike = (noise + noise.T) / 2 + base + person * (people[:, None] == people)
    alike = alike + database * (databases[:, None] == databases)
    made = compared(people, databases, alike, across)
    return Heard(made.trials(), made.ranks(), compared=made)


@pytest.fixture(scope="module")
def two():
    return cut_windows([people_cohort(2, 1), people_cohort(2, 1, name="other", first=9)])


def test_what_the_database_alone_gives_away_is_gone_within_it(two):
    heard = [fold(seed, database=20.0) for seed in range(4)]
    # Nothing but the database shows. A share p of all pairs of one database is accepted: 1 - p of one person refused,
    # and p x P(one database) of strangers accepted, here 90 of 190 pairs of people: p = 1 / (1 + P).
    one_database = 90 / 190
    pooled = equal_error_rate(all_trials([each.compared for each in heard]))
    assert pooled == pytest.approx(one_database / (1 + one_database), abs=0.03)
    told = within_databases(heard, two, **HOW)
    assert set(told) == {"a", "b"}
    for each in told.values():
        assert each["eer"]["value"] == pytest.approx(0.5, abs=0.06)
        assert pooled + 0.05 < each["eer"]["low"] < each["eer"]["high"] < 0.6
        assert (each["eer"]["n_people"], each["eer"]["n_genuine"]) == (40, 4 * 10 * 6)
        assert each["eer"]["n_impostor"] == 4 * (40 * 39 // 2 - 10 * 6)
        assert each["rank1"]["chance"] == pytest.approx(0.1)
        assert each["rank1"]["value"] == pytest.approx(0.1, abs=0.06)
        assert (each["rank1"]["gallery_size"], each["rank1"]["n_asked"], each["rank1"]["n_people"]) == (10, 120, 40)


def test_people_that_show_are_found_within_their_database(two):
    told = within_databases([fold(0, person=20.0, database=5.0)], two, **HOW)
    for each in told.values():
        assert each["eer"]["value"] == each["eer_each_person"]["value"] == 0
        assert each["rank1"]["value"] == 1


def test_a_database_without_pairs_has_no_figure(two):
    people = np.array([0, 0, 1, 1, 2])
    alike = np.random.default_rng(0).normal(size=(5, 5))
    heard = [Heard(compared=compared(people, np.array(["a", "a", "a", "a", "b"]), alike))]
    told = within_databases(heard, two, **HOW)
    assert told["b"] == {"eer": None, "eer_each_person": None, "rank1": None}
    assert told["a"]["rank1"]["gallery_size"] == 2
    assert within_databases(heard, cut_windows([people_cohort(2, 1)]), **HOW) == {}


@pytest.mark.parametrize("across", [False, True])
def test_owners_dealt_out_anew_are_found_by_chance(across: bool):
    heard = [fold(seed, person=20.0, across=across) for seed in range(2)]
    assert equal_error_rate(all_trials([each.compared for each in heard])) == 0
    told = shuffled_owners(heard, 0)
    for name, level in (("eer", 0.5), ("rank1", 1 / 20)):
        figure = told[name]
        assert figure["chance"] == pytest.approx(level)
        assert figure["low"] <= level <= figure["high"]
        assert figure["value"] == pytest.approx(level, abs=0.03)
        assert (figure["n_deals"], figure["far_from_chance"]) == (DEALS, False)
    assert shuffled_owners(heard, 0) == told
    assert shuffled_owners(heard, 1) != told


def test_owners_that_were_not_dealt_out_are_far_from_chance(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Compared, "dealt", lambda self, random, by_role: self)
    told = shuffled_owners([fold(0, person=20.0)], 0)
    assert told["eer"]["far_from_chance"]
    assert told["rank1"]["far_from_chance"]


def test_folds_on_scales_of_their_own_are_kinder_than_chance():
    # As many pairs of one person in both, far fewer of strangers in the fold that scores high: nobody has to be known.
    heard = [fold(0, 6, 5, base=9.0), fold(1, 60, 2)]
    assert shuffled_owners(heard, 0)["eer"]["far_from_chance"]
    assert shuffled_owners(heard, 0)["eer"]["high"] < 0.45


def test_a_deal_keeps_how_many_recordings_each_has():
    made = fold(0).compared
    for by_role in (False, True):
        dealt = made.dealt(np.random.default_rng(0), by_role=by_role)
        assert sorted(dealt.people) == sorted(made.people)
        assert (dealt.people == made.people).mean() < 0.3
        assert (sorted(dealt.people[made.enrolled]) == sorted(made.people[made.enrolled])) or not by_role
        np.testing.assert_array_equal(dealt.scores, made.scores)
    assert (made.people == np.repeat(np.arange(20), 4)).all()


@pytest.mark.parametrize("always", [True, False])
def test_names_dealt_out_anew_are_right_by_chance(always: bool):
    """One person has half of the recordings; always naming that one is right as often as not, whatever the classes."""
    labels = np.repeat(np.r_[np.zeros(20, np.int64), np.arange(1, 21)], 3)  # three windows of each recording
    scores = np.eye(21)[np.zeros(120, np.int64) if always else labels]
    recordings = np.repeat(np.arange(40), 3).astype(str)
    about = {"people": labels.astype(str), "recordings": recordings, "databases": np.full(120, "a")}
    told = shuffled_owners([Heard(scores=scores, labels=labels, **about)], 0)["accuracy"]
    assert told["chance"] == pytest.approx(0.5 if always else 0.25 + 20 / 40**2)
    assert told["low"] <= told["chance"] <= told["high"]
    assert told["value"] == pytest.approx(told["chance"], abs=0.05)
    assert not told["far_from_chance"]
    assert (scores.argmax(axis=1) == labels).mean() == (0.5 if always else 1)  # before


def test_what_is_not_there_has_its_reason():
    def told(task: str, several: bool, compares: bool) -> dict[str, str]:
        return why_not({"within_database": {"cnn": {}} if several else None}, task, several=several, compares=compares)

    assert "fewer than 3 people with two recordings" in told("person", True, True)["leave_one_database_out"]
    assert "no name" in told("person", True, False)["leave_one_database_out"]
    assert told("person", False, True)["leave_one_database_out"] == "there is one database"
    assert told("sex", False, False)["label_from_database"] == "there is one database"
    assert "within_database" in told("person", False, True)
    assert "within_database" not in told("person", True, True)


@pytest.mark.parametrize("protocol", ["verification", "closed-set"])
def test_a_run_of_two_databases_tells_each_and_says_what_it_did_not_measure(tmp_path: Path, protocol: str):
    both = [people_cohort(6, 3), people_cohort(6, 3, name="other", first=30)]
    how = {"models": ["unveiled-lr"], "n_folds": 2, "n_resamples": 60, "protocol": protocol}
    run = identify(both, tmp_path / "run", **how).run
    told = identify(both, tmp_path / "run", **how, resume=True).data["controls"]
    within = told["within_database"]["unveiled-lr"]
    assert set(within) == {"toy", "other"}
    owners = told["shuffled_owners"]["unveiled-lr"]
    compares = protocol == "verification"
    assert set(owners) == ({"eer", "rank1"} if compares else {"accuracy"})
    if compares:
        assert (within["toy"]["eer"]["n_people"], within["toy"]["eer"]["n_genuine"]) == (6, 18)
        assert within["toy"]["rank1"]["n_asked"] == 12
        assert owners["eer"]["value"] == pytest.approx(0.5, abs=0.15)
    else:
        assert within["toy"]["n_people"] == 6
    why = {"label_from_database", "leave_one_database_out", "shuffled_labels"}
    assert set(told["why_not"]) == why - ({"leave_one_database_out"} if compares else set())
    page = render(identification_report(run))
    shown = ("Owners dealt out anew", "as by chance")
    if compares:
        elsewhere = told["leave_one_database_out"]["toy"]
        assert (elsewhere["eer"]["n_people"], elsewhere["eer_all"]["n_people"]) == (6, 6)
        for key, words in (("eer", "learnt elsewhere"), ("eer_all", "learnt on other people of all databases")):
            shown += (f"people of toy told apart, {words}", interval(elsewhere[key]))
    else:
        assert told["leave_one_database_out"] is None
    for words in (*told["why_not"].values(), *shown):
        assert words in page, words
    assert ("pairs of one person" in page) == compares
    alone = identify(both[:1], tmp_path / "one", **how).data["controls"]
    assert alone["within_database"] is None
    assert alone["shuffled_owners"]["unveiled-lr"]
    assert alone["why_not"]["database_prediction"] == "there is one database"
