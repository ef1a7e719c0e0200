# SPDX-License-Identifier: Apache-2.0
"""The whole way: from recordings to aggregates, on people that are easy to tell apart, and on people that are not."""

from __future__ import annotations

import inspect
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.cli.app import run
from ecglens.cli.identify import _models as asked_models
from ecglens.cli.identify import identify as identify_verb
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, InputError, LeakError, UsageError
from ecglens.privacy import attackers
from ecglens.privacy.duplicates import refuse_doubled_recordings
from ecglens.privacy.figures import Tables, rank_over_folds
from ecglens.privacy.identify import MODELS, NAMED, identify
from ecglens.privacy.scoring import Heard
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.reporting.risk import headline, worst
from ecglens.runs import stopwatch
from ecglens.runs.files import read_json
from ecglens.runs.run import Run
from ecglens.statistics.classification import FIGURES
from ecglens.statistics.identification import Ranked
from ecglens.statistics.verification import pairs
from ecglens.training.augmentation import Augmentation

from .conftest import people_cohort, table_of


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch):
    cnn = attackers.ATTACKERS["cnn"]
    crop, sizes = Augmentation(crop=500, gain=0.05), {"widths": [8, 16], "kernel": 9, "pooling": "mean_max"}
    quick = replace(
        cnn, arguments=sizes, classify=replace(cnn.classify, augmentation=crop, epochs=12, batch=8, lr=1e-2),
        embed=replace(cnn.embed, augmentation=crop, epochs=8, patience=8, batch=8),
    )  # fmt: skip
    monkeypatch.setitem(attackers.ATTACKERS, "cnn", quick)
    monkeypatch.setattr(attackers, "STEPS_AN_EPOCH", 6)


@pytest.fixture(scope="module")
def people() -> Cohort:
    return people_cohort(12, 3)


HOW = {"n_folds": 3, "n_resamples": 60, "models": ["cnn"]}


def test_repeats_tell_what_other_seeds_would_have_given_and_change_nothing_else(people: Cohort, tmp_path: Path):
    once = identify([people], tmp_path / "once", **HOW | {"repeats": 1}).data
    twice = identify([people], tmp_path / "twice", **HOW | {"repeats": 2})
    assert once["repeats"] is None
    assert twice.data["models"] == once["models"]
    told = twice.data["repeats"]["cnn"]
    assert set(told) >= {"eer", "rank1"}
    for metric, each in told.items():
        assert len(each["values"]) == 2
        assert each["values"][0] == once["models"]["cnn"][metric]["value"]
        assert each["least"] <= each["mean"] <= each["largest"]
    assert any(each["values"][0] != each["values"][1] for each in told.values())
    page = render(identification_report(twice.run))
    assert "With other seeds" in page
    assert "--repeats 2" in page
    assert not (twice.run.folder / "work").exists()
    with pytest.raises(UsageError, match="1 to 20 trainings"):
        identify([people], tmp_path / "none", **HOW | {"repeats": 0})


@pytest.mark.parametrize(
    ("flags", "models", "repeats"),
    [
        (["--model", "transecg,cnn", "--full"], ["transecg", "cnn", "transecg-patch5"], 3),
        (["--model", "cnn", "--full", "--repeats", "5"], ["cnn"], 5),
        (["--model", "transecg"], ["transecg"], 1),
        ([], ["cnn-beats-5"], 1),
        (["--protocol", "closed-set"], ["cnn-beats"], 1),
        (["--task", "sex", "--model", "auto"], ["cnn-beats"], 1),
    ],
)
def test_full_is_three_trainings_and_the_finer_patches(flags, models, repeats, tmp_path, monkeypatch):
    asked = {}

    def noted(_cohorts, _out, **how):
        asked.update(how)
        raise InputError("identify", "data", "none", "some")

    monkeypatch.setattr("ecglens.privacy.identify.identify", noted)
    monkeypatch.setattr("ecglens.cli.identify._load", lambda where: None)
    out = str(tmp_path / "run")
    assert run(["identify", "--data", "made", "--purpose", "risk-assessment", "--out", out, *flags]) == 3
    assert (list(asked["models"]), asked["repeats"]) == (models, repeats)


def test_people_that_differ_are_found_and_the_json_is_as_promised(people: Cohort, tmp_path: Path):
    found = identify([people], tmp_path / "run", **HOW)
    data = json.loads((tmp_path / "run" / "identification.json").read_text())
    assert set(data) == {"task", "protocol", "n_people", "n_records", "gallery_size", "gallery_everybody", "people",
                         "models", "controls", "explanations", "people_left_out", "records_left_out",
                         "feature_shares", "repeats", "sought"}  # fmt: skip
    assert (data["task"], data["protocol"], data["n_people"], data["n_records"]) == ("person", "verification", 12, 36)
    assert data["gallery_size"] == 4
    assert data["people"]["sex"] == {"female": 6, "male": 6}
    assert data["people"]["age_groups"] == {"0-18": 0, "19-35": 4, "36-50": 4, "51-65": 4, "66+": 0, "unknown": 0}
    figures = data["models"]["cnn"]
    assert set(figures) == {
        "eer", "eer_each_person", "fnmr_at_0.01", "fnmr_at_0.001", "rank1", "rank5", "rank1_everybody",
        "rank5_everybody",
    }  # fmt: skip
    assert data["gallery_everybody"] == 12
    assert figures["rank1_everybody"]["chance"] == pytest.approx(1 / 12)
    assert figures["rank1_everybody"]["low"] > 1 / 12
    assert all(set(figure) == {"value", "low", "high", "chance"} for figure in figures.values())
    assert figures["eer"]["value"] < 0.2 < figures["eer"]["chance"]
    assert figures["rank1"]["low"] > figures["rank1"]["chance"] == 0.25
    assert figures["fnmr_at_0.001"]["value"] is None  # too few strangers to tell
    assert figures["rank5"]["chance"] == 1
    assert found.as_dict()["models"]["cnn"]["eer"]["value"] == figures["eer"]["value"]
    assert not (tmp_path / "run" / "work").exists()  # networks that recognise people are not left behind


def test_nothing_that_is_written_says_whose_a_record_is(people: Cohort, tmp_path: Path):
    run = identify([people], tmp_path / "run", **HOW).run
    page = render(identification_report(run))
    written = [path.read_text() for path in run.folder.rglob("*") if path.suffix in (".json", ".csv")]
    for text in (page, *written):
        assert not re.search(r"toy:\d|p\d+r\d", text)
    assert not [path for path in run.folder.rglob("*") if path.suffix in (".safetensors", ".sqlite", ".npy")]


def test_a_run_that_was_cut_off_ends_with_the_same_figures(people: Cohort, tmp_path: Path):
    whole = identify([people], tmp_path / "whole", **HOW)

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if "fold-2" in stage and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identify([people], tmp_path / "cut", progress=stop, **HOW)
    told = []
    resumed = identify([people], tmp_path / "cut", resume=True, progress=lambda *said: told.append(said), **HOW)
    assert "what is finished is not done again" in next(said[3] for said in told if said[0] == "expected")
    assert json.dumps(resumed.data, sort_keys=True) == json.dumps(whole.data, sort_keys=True)
    with pytest.raises(ContractError, match="n_folds"):
        identify([people], tmp_path / "cut", resume=True, **HOW | {"n_folds": 4})


def test_seconds_are_those_of_all_sessions(people: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(stopwatch, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def an_epoch_takes_ten(stage: str, done: int, total: int, note: str = "") -> None:
        clock[0] += 10.0 * ("training" in stage)
        if "fold-2" in stage and done == 3 and clock[0] < 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identify([people], tmp_path / "run", progress=an_epoch_takes_ten, **HOW)
    clock[0] = 1000.0
    run = identify([people], tmp_path / "run", resume=True, progress=an_epoch_takes_ten, **HOW).run
    # Eight epochs a fold; an epoch's time is noted before it is told of, so 10 s are lost in either fold, and in the
    # run as a whole.
    assert run.read_table("cost")["seconds"].tolist() == [70 + (20 + 50) + 80]
    assert run.read()["seconds"] == 100 + 130


def test_the_run_time_is_told_before(people: Cohort, tmp_path: Path):
    told = []
    identify([people], tmp_path / "run", progress=lambda *said: told.append(said), **HOW)
    stages = [said[0] for said in told]
    assert told[stages.index("expected")][3].endswith("min in all")
    assert stages.index("expected") < min(i for i, stage in enumerate(stages) if "cnn" in stage)
    assert Run(tmp_path / "run").read()["expected_seconds"] > 0


@pytest.mark.parametrize(
    ("protocol", "figures"),
    [
        ("open-set", {"dir_at_0.1", "dir_at_0.01", "eer", "rank1"}),
        ("cross-session", {"eer", "rank1"}),
        ("closed-set", {"accuracy", "f1", "balanced_accuracy", "auroc", "rank1", "rank5"}),
        ("paper", {"accuracy", "rank1"}),
    ],
)
def test_each_protocol_has_its_figures(people: Cohort, tmp_path: Path, protocol: str, figures: set[str]):
    told = identify([people], tmp_path / "run", protocol=protocol, **HOW).data
    assert figures <= set(told["models"]["cnn"])
    assert told["controls"]["inflated"] == (protocol == "paper")
    page = render(identification_report(Run(tmp_path / "run")))
    assert ("inflated" in page) == (protocol == "paper")
    assert told["models"]["cnn"]["rank1"]["value"] > told["models"]["cnn"]["rank1"]["chance"]


def test_sex_that_shows_is_told_and_sex_that_does_not_is_not(tmp_path: Path):
    cohort = people_cohort(24, 1)
    for shows in (True, False):
        records = [
            replace(ecg, signal=ecg.signal - np.float32(shows and sex == "male") * np.roll(ecg.signal, 40))
            for ecg, sex in zip(cohort, cohort.metadata["sex"], strict=True)
        ]
        told = identify([replace(cohort, records=records)], tmp_path / str(shows), task="sex", **HOW).data
        figure = told["models"]["cnn"]["balanced_accuracy"]
        assert (figure["low"] > 0.5) == shows, figure
        assert told["gallery_size"] is None
        assert told["controls"]["shuffled_labels"]["low"] < 0.5 < told["controls"]["shuffled_labels"]["high"]


def test_table_one_has_a_line_an_attacker_and_the_page_its_curves(people: Cohort, tmp_path: Path):
    how = HOW | {"models": ["unveiled-lr", "unveiled-tree"]}
    for task, protocol, n_asked in (("age", "verification", 12), ("person", "closed-set", 24)):
        run = identify([people], tmp_path / task, task=task, protocol=protocol, **how).run
        told, cost = read_json(run.folder / "identification.json")["models"], run.read_table("cost").set_index("model")
        table, roc = run.read_table("table1").set_index("model"), run.read_table("roc")
        assert list(table.index) == how["models"]
        for model, line in table.iterrows():
            for metric in FIGURES:
                assert line[metric] == pytest.approx(told[model][metric]["value"])
            assert (line["n_people"], line["n_asked"]) == (12, n_asked)
            for column in ("parameters", "multiply_adds", "seconds"):
                assert line[column] == cost.loc[model, column]
            mean = roc[(roc["model"] == model) & (roc["class"] == "mean")]
            assert np.trapezoid(mean["tpr"], mean["fpr"]) == pytest.approx(line["auroc"], abs=5e-3)
        classes = {"19-35", "36-50", "51-65", "mean"} if task == "age" else {"mean"}  # people have no name there
        assert set(roc["class"]) == classes
        page = render(identification_report(run))
        assert "ROC curve of each attacker, mean over classes" in page
        assert bool(re.search("ROC curve of unveiled-.* by class", page)) == (task == "age")
        assert "Named rightly" in page


def test_of_two_databases_each_is_told_alone(tmp_path: Path):
    both = [people_cohort(9, 1), people_cohort(9, 1, name="other", first=30)]
    told = identify(both, tmp_path / "run", task="sex", **HOW).data
    assert set(told["controls"]["within_database"]["cnn"]) == {"toy", "other"}
    assert set(told["controls"]["leave_one_database_out"]) == {"toy", "other"}
    assert told["controls"]["database_prediction"] is not None
    one = identify(both[:1], tmp_path / "one", task="sex", **HOW).data
    assert one["controls"]["within_database"] is None


@pytest.mark.parametrize("model", ["unveiled-lr", "unveiled-tree"])
@pytest.mark.parametrize("protocol", ["verification", "closed-set"])
def test_models_that_can_be_read_are_asked_the_same(people: Cohort, tmp_path: Path, model: str, protocol: str):
    told = identify([people], tmp_path / "run", protocol=protocol, **HOW | {"models": [model]}).data
    assert told["models"][model]["rank1"]["value"] > told["models"][model]["rank1"]["chance"]


def test_one_recording_as_two_peoples_stops_the_run(people: Cohort, tmp_path: Path):
    records = list(people)
    records[4] = replace(records[0], record_id=records[4].record_id)
    with pytest.raises(LeakError, match="1 recording of toy under two names, those of 2 people") as caught:
        identify([replace(people, records=records)], tmp_path / "run", **HOW)
    assert not re.search(r"toy:|p\d+r\d", str(caught.value))  # how many, not who
    with pytest.raises(LeakError, match="those of 2 recordings") as caught:
        refuse_doubled_recordings(table_of(3).assign(fingerprint=[*"abcddfghijklmnopqr"]))
    assert "a:" not in str(caught.value)
    both = pd.concat([table_of(2), table_of(2, database="b")]).assign(fingerprint=[*"aabbccddeeffaabbgghhiijj"])
    with pytest.raises(LeakError, match="2 recordings of a and b under two names, those of 2 people"):
        refuse_doubled_recordings(both)
    assert not (tmp_path / "run" / "run.json").exists()


def test_what_cannot_be_asked(people: Cohort, tmp_path: Path):
    with pytest.raises(UsageError, match="model"):
        identify([people], tmp_path / "a", **HOW | {"models": ["gpt"]})
    with pytest.raises(UsageError, match="bfloat16"):
        identify([people], tmp_path / "a", **HOW | {"precision": "half"})
    with pytest.raises(InputError, match="no protocol for --task person"):
        identify([people_cohort(5, 1)], tmp_path / "b", **HOW)
    with pytest.raises(UsageError, match="cnn more than once"):
        identify([people], tmp_path / "a", **HOW | {"models": ["cnn", "unveiled-lr", "cnn"]})
    with pytest.raises(UsageError, match="open-set with --task sex"):
        identify(None, tmp_path / "a", task="sex", protocol="open-set", **HOW)  # before any data are looked at
    for wrong in ("all,cnn", "cnn,all", "auto,cnn"):
        with pytest.raises(UsageError, match=r"(all|auto), or names"):
            asked_models(wrong, {})
    assert asked_models(" all ", {}) == list(NAMED)


def test_help_names_all_attackers_in_full():
    told = inspect.signature(identify_verb).parameters["model"].default.help
    names = told.partition(";")[0].split(", ")
    assert names == list(MODELS)
    assert f"all: the six of TransECG's Table I: {', '.join(NAMED)}." in told


@pytest.mark.parametrize("model", ["cnn", "unveiled-lr"])
@pytest.mark.parametrize("protocol", ["verification", "cross-session", "open-set"])
def test_few_with_repeats_are_looked_for_among_everybody(tmp_path: Path, protocol: str, model: str):
    both = [people_cohort(6, 2), people_cohort(9, 1, name="once", first=50)]
    run = identify(both, tmp_path / "run", protocol=protocol, **HOW | {"models": [model], "n_folds": 3}).run
    told = read_json(run.folder / "identification.json")
    gallery = run.read_table("gallery")
    if protocol == "open-set":  # whose gallery lacks people on purpose
        assert told["gallery_everybody"] is None
        assert set(gallery["gallery"]) == {"unseen"}
        return
    assert (told["gallery_size"], told["gallery_everybody"]) == (5, 15)
    assert (told["n_people"], told["n_records"]) == (15, 21)
    ends = gallery.groupby("gallery", sort=False)["size"].max()
    assert ends.to_dict() == {"unseen": 5, "everybody": 15}
    first = gallery[gallery["rank"] == 1].set_index(["gallery", "size"])
    assert first.loc[("everybody", 15), "value"] == told["models"][model]["rank1_everybody"]["value"]
    assert first.loc[("unseen", 5), "value"] == told["models"][model]["rank1"]["value"]
    assert (first[["n_people", "n_probes"]] == 6).all(axis=None)
    assert first.loc["everybody", "value"].is_monotonic_decreasing
    page = render(identification_report(run))
    assert "among everybody, 15" in page
    assert f"Ranks of {model} against gallery size" in page
    assert "is among the first 1, 5, 10, by size" in page


def test_folds_are_ranked_each_in_its_own_gallery():
    one, other = (
        Ranked(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]), 3),
        Ranked(np.array([0]), np.array([0]), np.array([0]), 9),
    )
    told, chance = rank_over_folds([one, other], 1, n_resamples=60)
    assert told.value == pytest.approx(2 / 3)
    assert told.n_patients == 3
    assert chance == pytest.approx((0.25 + 0.25 + 0.1) / 3)
    smaller, level = rank_over_folds([one, other], 1, size=2, n_resamples=60)
    assert smaller.value == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert level == 0.5


# -------------------------------------------------------------------------------------------------- page and verb


def test_the_worst_attacker_comes_first():
    def figure(value):
        return {"value": value, "low": None, "high": None, "chance": 0.5}

    data = {"task": "person", "protocol": "verification", "gallery_size": 9, "controls": {"inflated": False},
            "models": {"a": {"eer": figure(0.3), "rank1": figure(0.2)}, "b": {"eer": figure(0.1), "rank1": figure(0.6)},
                       "c": {"eer": figure(None), "rank1": figure(None)}}}  # fmt: skip
    assert worst(data) == ("b", "eer")
    assert headline(data).startswith("b finds 0.6")
    data |= {"task": "sex", "models": {m: {"balanced_accuracy": figure(v)} for m, v in (("a", 0.9), ("b", 0.6))}}
    assert worst(data) == ("a", "balanced_accuracy")


@pytest.fixture
def folder(people: Cohort, tmp_path: Path) -> Path:
    from ecglens import write_wfdb

    rows = ["file,patient_id,age,sex,date"]
    for ecg, about in zip(people, people.metadata.itertuples(), strict=True):
        rows.append(f"{write_wfdb(ecg, tmp_path / 'own').name},{about.patient_id},{about.age},{about.sex},{about.date}")
    (tmp_path / "own" / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "own"


def test_the_verb_prints_aggregates_and_writes_the_page(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "risk"
    call = ["identify", "--data", str(folder), "--folds", "3", "--out", str(out), "--purpose", "risk-assessment"]
    assert run([*call, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told.pop("schema") == 1
    assert told == read_json(out / "identification.json")
    assert "Expected: about" in printed.err
    page = (out / "identify.html").read_text()
    assert "The worst honest attacker" in page
    assert "lower bound of the risk" in page
    assert not re.search(r"anonymous|is safe", page, re.IGNORECASE)


def test_the_purpose_must_be_said(folder: Path, tmp_path: Path, capsys):
    call = ["identify", "--data", str(folder), "--out", str(tmp_path / "x"), "--purpose", "curiosity", "--json"]
    assert run(call) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "purpose"


def test_a_run_that_goes_on_with_other_people_is_refused(people: Cohort, tmp_path: Path):
    folder = tmp_path / "run"
    identify([people], folder, **HOW)
    before = (folder / "identification.json").stat().st_mtime_ns
    again = identify([people], folder, **HOW, resume=True)
    assert again.as_dict() == read_json(folder / "identification.json")
    assert (folder / "identification.json").stat().st_mtime_ns == before  # what is finished is not done again
    fewer = people.take(range(len(people) - 3))  # a person less: the folds would be dealt anew
    with pytest.raises(ContractError, match="as when the run began"):
        identify([fewer], folder, **HOW, resume=True)


@pytest.mark.parametrize("protocol", ["verification", "paper"])
def test_sex_is_not_asked_where_it_is_unknown(people: Cohort, tmp_path: Path, protocol: str):
    unknown = replace(people, metadata=people.metadata.assign(sex=None))
    with pytest.raises(InputError, match="people of two classes"):
        identify([unknown], tmp_path / "run", task="sex", protocol=protocol, models=["unveiled-lr"], n_folds=3)


def test_an_inflated_figure_is_not_told_of_people_never_seen():
    figure = {"value": 0.7, "low": 0.6, "high": 0.8, "chance": 0.5}
    told = {"task": "sex", "protocol": "paper", "controls": {"inflated": True}, "gallery_size": None,
            "models": {"cnn": {"accuracy": {**figure, "value": 0.95}, "balanced_accuracy": figure}}}  # fmt: skip
    assert "balanced accuracy of 0.700" in headline(told)
    assert "never seen" not in headline(told)
    assert "never seen" in headline(told | {"protocol": "verification", "controls": {"inflated": False}})


def test_the_curve_has_points_where_strangers_are_rarely_accepted():
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 3)
    similarity = 0.8 * (people[:, None] == people) + random.normal(size=(180, 180))
    tables = Tables()
    cost = {"parameters": 1.0, "multiply_adds": 1.0, "seconds": 1.0}
    tables.add("cnn", [Heard(pairs((similarity + similarity.T) / 2, people), cost=cost)], 20, 0)
    fmr = np.array([row["fmr"] for row in tables.det])
    assert ((fmr > 1e-3) & (fmr < 1e-2)).sum() > 20
    assert fmr.min() == 0
    assert fmr.max() == 1
