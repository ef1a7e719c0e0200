# SPDX-License-Identifier: Apache-2.0
"""The whole way with explanations: a tiny TransECG, what it looks at, what attackers need, and how it is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.cli.app import run as command
from ecglens.errors import UsageError
from ecglens.models.lenet import initialized
from ecglens.models.transecg import TransECG
from ecglens.privacy import attackers, flattening
from ecglens.privacy.attention_study import PAPER, look, summarize
from ecglens.privacy.enrichment import enrichment, masses, shift_p, shifted
from ecglens.privacy.explanations import expected_more
from ecglens.privacy.identify import identify
from ecglens.privacy.intervals import INTERVALS, PARTITION, measure_windows
from ecglens.privacy.mean_beat import mean_beat, over_people, peak_times
from ecglens.privacy.windows import cut_windows
from ecglens.reporting.beat_parts import looked_at, needed, paper_verdict
from ecglens.reporting.html import render
from ecglens.reporting.identification import identification_report
from ecglens.runs.files import read_json
from ecglens.runs.run import Run
from ecglens.statistics.figures import clean
from ecglens.statistics.multiplicity import holm

from .conftest import people_cohort

SIZES = {"width": 24, "depth": 2, "heads": 3, "hidden": 16}
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch):
    whole = attackers.ATTACKERS["transecg"]
    quick = replace(
        whole, arguments=SIZES, classify=replace(whole.classify, epochs=3, batch=16, lr=3e-3),
        embed=replace(whole.embed, epochs=2, patience=2, batch=8, lr=3e-3),
    )  # fmt: skip
    monkeypatch.setitem(attackers.ATTACKERS, "transecg", quick)
    monkeypatch.setattr(attackers, "STEPS_AN_EPOCH", 3)
    monkeypatch.setattr(flattening, "PARTITION", ("S-T", "T-P"))


@pytest.fixture(scope="module")
def people():
    return people_cohort(6, 3)


HOW = {"n_folds": 2, "n_resamples": 60, "per_person": 3}


@pytest.fixture(scope="module")
def studied(people):
    windowed = cut_windows([people], per_person=3)
    marked, seen = measure_windows(windowed), windowed.seen()
    made, floor = (initialized(TransECG, SIZES | {"n_outputs": 6}, seed).eval() for seed in (1, 2))
    who = windowed.table["person"].to_numpy()
    return windowed, marked, [look(made, floor, seen, marked, who, 250.0, "fold-1", embeds=e) for e in (False, True)]


def test_a_network_without_training_looks_everywhere_alike(studied):
    _, _, looked = studied
    for part in looked:
        told = summarize([part], "person", n_resamples=60)
        for row in told["intervals"]:
            assert row["value"] == pytest.approx(1, abs=0.1)
            assert row["mass"] == pytest.approx(row["value"] * row["time"])
        assert 0.5 < told["covered"] < 1
        assert told["patch_ms"] == 80
        resolved = {row["interval"]: row["resolved"] for row in told["intervals"]}
        assert not resolved["Q-R"]
        assert not resolved["R-S"]
        assert resolved["S-T"]
        assert max(row["value"] for row in told["heads"]) == 1
        assert {row["interval"] for row in told["paper"]} == set(PAPER["person"])
        assert sum(row["value"] for row in told["paper"]) == pytest.approx(1)


def test_occlusion_is_the_change_of_the_answer(studied):
    windowed, marked, looked = studied
    part, seen = looked[0], windowed.seen()
    k = PARTITION.index("S-T")
    hidden = seen[:1].copy()
    for begin, end in np.rint(marked.stretches[0]["S-T"]).astype(int):
        hidden[0, 0, begin : end + 1] = np.linspace(seen[0, 0, begin], seen[0, 0, end], end - begin + 1)
    made = initialized(TransECG, SIZES | {"n_outputs": 6}, 1).eval()
    before, after = (
        attackers.answers(made, attackers.ATTACKERS["transecg"].classify, x)[0] for x in (seen[:1], hidden)
    )
    named = before.argmax()
    assert part.occlusion[0, k] == pytest.approx(abs(before[named] - after[named]), abs=1e-5)
    assert part.rollout.shape == part.gradient.shape == (len(seen), 100)
    assert (part.gradient >= 0).all()
    assert part.gradient.sum() > 0


def test_attention_on_one_stretch_is_told_and_the_mean_beat_shows_it(studied):
    windowed, marked, looked = studied
    t_wave = looked[0].laid.overlaps[:, INTERVALS.index("S-T")].astype(float) + 1e-6
    heads = replace(
        looked[0].heads, attention=np.repeat(t_wave[:, None] / t_wave.sum(axis=1)[:, None, None], 3, axis=1)
    )
    told = clean(summarize([replace(looked[0], heads=heads)], "sex", n_resamples=60))
    row = next(row for row in told["intervals"] if row["interval"] == "S-T")
    assert row["low"] > 2 > 1 > told["intervals"][0]["high"]
    assert row["p"] == pytest.approx(5 * 2 / 1000)
    assert looked_at(told).startswith("It looks at S-T (")
    assert "not hold here" in paper_verdict(told["paper"], "sex")
    beats = mean_beat(
        windowed.seen()[:, 0], {"attention": heads.mean}, marked.marks, windowed.table["person"].to_numpy(), 250.0
    )
    drawn = over_people([beats], n_resamples=60)
    peaks = peak_times([beats])
    assert peaks["R"] == 0
    assert -0.2 < peaks["P"] < -0.1 < 0.2 < peaks["T"] < 0.35
    attention = drawn[drawn["series"] == "attention"].set_index("time")["value"]
    assert attention.loc[0.1:0.2].mean() > 2 > 0.5 > attention.loc[0.4:0.5].mean()
    trace = drawn[drawn["series"] == "trace"].set_index("time")["value"]
    assert abs(trace.idxmax()) <= 0.008
    few = mean_beat(windowed.seen()[:9, 0], {}, marked.marks[:9], windowed.table["person"].to_numpy()[:9], 250.0)
    assert over_people([few]) is None  # the mean beat of three people is somebody's
    some = {"attention": heads.mean[:9], "head 1": heads.mean[:9]}
    few = mean_beat(windowed.seen()[:9, 0], some, marked.marks[:9], windowed.table["person"].to_numpy()[:9], 250.0)
    both = over_people([few, replace(few, people=np.array(["x", "y", "z"]))], n_resamples=60)
    assert set(both["series"]) == {"trace", "attention"}  # heads are of one network, which saw three people


def test_one_head_among_many_must_be_clearer_than_one_alone(studied):
    _, marked, looked = studied
    patches = looked[0].heads.attention.shape[2]
    random = np.random.default_rng(3)
    even = np.full((len(marked.marks), 1, patches), 1 / patches)
    on_t = looked[0].laid.overlaps[:, None, INTERVALS.index("S-T")].astype(float) + 1e-6
    attention = np.concatenate([on_t / on_t.sum(axis=2, keepdims=True), *(
        turned / turned.sum(axis=2, keepdims=True) for turned in (random.random((5, *even.shape)) + 1)
    )], axis=1)  # fmt: skip
    weights = np.repeat(looked[0].heads.value[:, :1], 6, axis=1)
    heads = replace(
        looked[0].heads, attention=attention, to_itself=weights, value=weights, ablation=weights,
        projection=np.ones(6),
    )  # fmt: skip
    rows = summarize([replace(looked[0], heads=heads)], "sex", n_resamples=60)["heads"]
    p = np.array([[each["p"] for each in row["intervals"]] for row in rows])
    assert p.shape == (6, 5)
    assert p[0, PARTITION.index("S-T")] == pytest.approx(30 * 2 / 5000)  # the clearest of thirty, and still below 5 %
    alone = [shift_p(enrichment(masses(attention[:, h], looked[0].laid.overlaps), looked[0].laid, n_resamples=2,
                                seed=0)[k].value,
                     shifted(attention[:, h], looked[0].laid, n_shifts=4999, seed=0)[:, k])
             for h in range(6) for k in range(5)]  # fmt: skip
    assert p.ravel() == pytest.approx(holm(alone))
    assert (p[1:] > 0.05).all()


def keys(value) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(keys, value)) if value else set()
    return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()


def test_the_run_explains_itself_and_says_nothing_of_anybody(people, tmp_path: Path):
    how = HOW | {"protocol": "closed-set", "models": ["transecg"], "explain": True, "causal": True}
    found = identify([people], tmp_path / "run", **how)
    told = read_json(tmp_path / "run" / "identification.json")["explanations"]
    assert told == found.data["explanations"]
    study = told["attention"]["transecg"]
    assert [row["interval"] for row in study["intervals"]] == list(INTERVALS)
    assert len(study["heads"]) == 3
    assert [row["interval"] for row in told["flattening"]] == ["S-T", "T-P"]
    assert {row["metric"] for row in told["flattening"]} == {"accuracy"}
    untouched = found.data["models"]["transecg"]["accuracy"]["value"]
    assert {row["untouched"] for row in told["flattening"]} == {untouched}
    documented = set(re.findall(r"`([^`\n]+)`", DOCS.read_text()))
    assert keys(told) - {"transecg"} - documented == set()
    page = render(identification_report(Run(tmp_path / "run")))
    assert "Which part of the beat is needed?" in page
    assert "Where does transecg look?" in page
    assert "--explain --causal" in page
    assert "not in this run" not in page
    written = [path.read_text() for path in (tmp_path / "run").rglob("*") if path.suffix in (".json", ".csv")]
    for text in (page, *written):
        assert not re.search(r"toy:\d|p\d+r\d", text)
    assert not (tmp_path / "run" / "work").exists()
    assert {path.stem for path in (tmp_path / "run" / "tables").iterdir()} >= {"flattening", "mean_beat", "enrichment"}


def test_a_run_cut_off_while_explaining_ends_the_same(people, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flattening, "PARTITION", ("S-T",))
    how = HOW | {"protocol": "verification", "models": ["transecg"], "explain": True, "causal": True}

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage.startswith("flattening S-T elsewhere"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identify([people], tmp_path / "cut", progress=stop, **how)
    resumed = identify([people], tmp_path / "cut", resume=True, **how).data
    whole = identify([people], tmp_path / "whole", **how).data
    assert json.dumps(resumed, sort_keys=True) == json.dumps(whole, sort_keys=True)
    assert {row["metric"] for row in whole["explanations"]["flattening"]} == {"rank1"}
    assert {row["fold"] for row in whole["explanations"]["attention"]["transecg"]["networks"]} == {"fold-1", "fold-2"}


def test_readable_attackers_lose_stretches_too(people, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flattening, "PARTITION", ("S-T",))
    how = HOW | {"protocol": "closed-set", "models": ["unveiled-lr"], "causal": True}
    told = identify([people], tmp_path / "run", **how).data["explanations"]
    assert told["attention"] is None
    assert [row["interval"] for row in told["flattening"]] == ["S-T"]
    assert "not in this run (--explain" in render(identification_report(Run(tmp_path / "run")))


def test_attention_is_not_asked_of_what_has_none(people, tmp_path: Path, capsys):
    with pytest.raises(UsageError, match="transecg"):
        identify([people], tmp_path / "run", models=["cnn"], explain=True)
    assert not (tmp_path / "run").exists()
    call = ["identify", "--data", str(tmp_path), "--explain", "--purpose", "risk-assessment", "--out", "x", "--json"]
    assert command(call) in (2, 3)


def test_the_time_is_told_before(people):
    class Part:
        enrol, probe = np.arange(10), np.arange(20)

    assert expected_more("cnn", [Part()], 60.0, 400.0, explain=True, causal=False) == 0
    assert expected_more("cnn", [Part()], 60.0, 400.0, explain=False, causal=True) == 600
    assert expected_more("transecg", [Part()], 60.0, 86.0, explain=True, causal=False) > 1


def row(interval: str, beyond: float, low: float) -> dict:
    return {"model": "cnn", "interval": interval, "beyond": beyond, "beyond_low": low}


def test_words_say_what_the_figures_say():
    assert needed([row("S-T", 0.2, 0.1), row("P-Q", 0.1, -0.1)]) == (
        "cnn loses more without S-T (0.200 more) than without as much of the ECG elsewhere."
    )
    assert needed([row("S-T", 0.2, -0.1), {**row("P-Q", 0, 0), "beyond_low": None}]).startswith("Of cnn it is not")
    told = paper_verdict(shares(0.55, 0.25, 0.2), "sex")
    assert "58.3 %" in told
    assert "That share holds here. By share it is first here too; per time QRS has most." in told
    assert (
        "it is first here too (not surely: the 95 % intervals of QRS and S-T and P-Q overlap); per time QRS has most "
        "(not surely: the"
    ) in paper_verdict(shares(0.3, 0.25, 0.2), "sex")
    assert "does not hold here. By share it is not first here: S-T is; per time S-T has most." in paper_verdict(
        shares(0.2, 0.6, 0.2), "sex"
    )
    assert "not first here: S-T is (not surely: the 95 % intervals of S-T and QRS overlap); per" in paper_verdict(
        shares(0.3, 0.35, 0.1), "sex"
    )
    told = paper_verdict([{**row, "low": None, "high": None} for row in shares(0.55, 0.25, 0.2)], "sex")
    assert "first here too (of too few people to tell how surely); per time QRS has most." in told


def shares(*values: float) -> list[dict]:
    """Return what the three intervals of the paper have, 0.05 on each side, and the same by time."""
    figures = [{"value": value, "low": value - 0.05, "high": value + 0.05} for value in values]
    return [
        {"interval": name, "paper": paper, "length_alone": 0.3, "per_time": figure, **figure}
        for name, paper, figure in zip(("QRS", "S-T", "P-Q"), (0.5829, 0.2428, 0.1743), figures, strict=True)
    ]
