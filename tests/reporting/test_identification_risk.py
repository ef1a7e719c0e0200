# SPDX-License-Identifier: Apache-2.0
"""What stands first: the worst attacker by each figure, and before all that the figures are void or inflated."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from test_identification_page import a_run, figure

from ecglens.cli.identify import _in_words
from ecglens.privacy.identify import MODELS
from ecglens.reporting.html import render
from ecglens.reporting.identification import _attackers, identification_report
from ecglens.reporting.risk import among_how_many, first_section, headline, void, worst_by


def told(protocol: str = "verification", task: str = "person", **models: dict[str, float]) -> dict[str, Any]:
    controls = {"inflated": protocol == "paper", "attack_alive": None}
    return {
        "task": task, "protocol": protocol, "n_people": 90, "n_records": 300, "gallery_size": 30,
        "gallery_everybody": 90, "controls": controls, "explanations": None,
        "models": {name: {m: figure(v) for m, v in each.items()} for name, each in models.items()},
    }  # fmt: skip


# Whoever errs least when two are compared does not find most, nor most in the larger gallery.
THREE = told(
    cnn={"eer": 0.05, "fnmr_at_0.01": 0.3, "rank1": 0.7, "rank1_everybody": 0.5},
    bilstm={"eer": 0.10, "fnmr_at_0.01": 0.2, "rank1": 0.9, "rank1_everybody": 0.6},
    transecg={"eer": 0.20, "fnmr_at_0.01": 0.4, "rank1": 0.8, "rank1_everybody": 0.65},
)


def test_of_each_figure_the_worst_attacker_is_told():
    words = headline(THREE)
    assert words.startswith("bilstm finds 0.900 [0.850, 0.900] of recordings first among 30 people")
    assert "and cnn errs in 0.050" in words
    assert "0.700" not in words
    rows = {row[0]: row[1:3] for row in first_section(THREE).tables[0].rows}
    assert rows["equal error rate"] == ("cnn", "0.050 [0.000, 0.050]")
    assert rows["refused at 1 % strangers accepted"][0] == "bilstm"
    assert rows["found first, of 30"][0] == "bilstm"
    assert rows["found first in the gallery of everybody, of 90"][0] == "transecg"
    assert among_how_many(THREE).endswith(
        "bilstm finds 0.900 [0.850, 0.900] of recordings first among 30 people, and transecg 0.650 [0.600, 0.650] "
        "among everybody, 90."
    )


def test_one_attacker_that_is_worst_in_both_is_named_once():
    one = told(cnn={"eer": 0.05, "rank1": 0.9, "rank1_everybody": 0.5}, bilstm={"eer": 0.1, "rank1": 0.7})
    assert "(chance 0.500), and errs in 0.050" in headline(one)
    assert "people, and 0.500 [0.450, 0.500] among everybody" in among_how_many(one)
    assert among_how_many(told(cnn={"eer": 0.05, "rank1": 0.9})).endswith("among 30 people.")


def test_what_cannot_be_estimated_is_nobodys_worst():
    data = told(cnn={"eer": None, "rank1": 0.2}, bilstm={"eer": 0.4, "rank1": None})
    assert (worst_by(data, "eer"), worst_by(data, "rank1")) == ("bilstm", "cnn")


def dead() -> dict[str, Any]:
    data = told("paper", transecg={"accuracy": 0.7}, cnn={"accuracy": 0.97})
    return data | {"controls": data["controls"] | {"attack_alive": False}}


def test_a_dead_attack_is_void_before_anything_else(tmp_path: Path):
    words = headline(dead())
    assert words.startswith("VOID: transecg names 0.700 [0.650, 0.700] of windows rightly")
    assert "0.886 is needed" in words
    assert "proves nothing" in words
    assert "cnn names 0.970" in words
    assert _in_words(dead(), 60.0, tmp_path / "identify.html").startswith("VOID")
    assert first_section(dead()).title.startswith("Void")
    assert first_section(dead()).conclusion.startswith("VOID")
    page = render(identification_report(a_run(tmp_path / "run")))
    assert page.index("VOID: transecg names 0.700") < page.index("No two people" if "No two" in page else "2 pairs of")
    for alive in (True, None):
        data = dead() | {"controls": {"inflated": True, "attack_alive": alive}}
        assert void(data) is None
        assert "VOID" not in headline(data)
        assert first_section(data).title == "The worst attacker, inflated"


@pytest.mark.parametrize(("task", "honest"), [("person", "closed-set"), ("sex", "verification")])
def test_an_inflated_attacker_is_not_called_honest(task: str, honest: str):
    figures = {"accuracy": 0.9, "balanced_accuracy": 0.9}
    inflated, measured = (first_section(told(protocol, task, cnn=figures)) for protocol in ("paper", "closed-set"))
    said = " ".join((inflated.title, inflated.conclusion, *inflated.text))
    assert "honest attacker" not in said
    assert "lower bound" not in said
    assert f"--protocol {honest} gives honest ones" in said
    assert f"--protocol {honest} asks the same" in said
    assert measured.title == "The worst honest attacker"
    assert "lower bound of the risk" in measured.text[0]
    assert "inflated" not in measured.conclusion


def test_the_command_that_repeats_a_run_is_whole(tmp_path: Path):
    run = a_run(tmp_path / "run")
    about = run.read()["arguments"] | {"data": ["my ecgs/a", "b;c"], "precision": "bfloat16", "lead": "limb I"}
    run.note(arguments=about)
    words = shlex.split(dict(identification_report(run).provenance)["repeat"])
    given = [words[i + 1] for i, word in enumerate(words) if word == "--data"]
    assert given == ["my ecgs/a", "b;c"]
    assert words[words.index("--precision") + 1] == "bfloat16"
    assert words[words.index("--lead") + 1] == "limb I"
    assert "--precision" not in dict(identification_report(a_run(tmp_path / "other")).provenance)["repeat"]


def test_the_command_line_counts_the_people_of_each_class(tmp_path: Path):
    people = {"sex": {"female": 1200, "male": 7, "unknown": 2}, "age_groups": {"0-18": 3, "66+": 40}}
    for task, words in (("sex", "People by sex: female 1,200, male 7, unknown 2."), ("age", "0-18 3, 66+ 40.")):
        data = told("verification", task, cnn={"balanced_accuracy": 0.7}) | {"people": people}
        assert words in _in_words(data, 60.0, tmp_path / "identify.html")
    assert "People by" not in _in_words(THREE | {"people": people}, 60.0, tmp_path / "identify.html")


def test_stand_ins_are_named_so(tmp_path: Path):
    data = told(**{model: {"eer": 0.1, "rank1": 0.5} for model in MODELS})
    section = _attackers(a_run(tmp_path / "run"), data)
    rows = dict(next(table for table in section.tables if table.caption.startswith("What the attackers are")).rows)
    assert list(rows) == list(MODELS)
    assert all(rows.values())
    assert {name for name, what in rows.items() if "stand-in" in what} == {"bilstm", "cnn-ghazarian"}
