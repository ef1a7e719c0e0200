# SPDX-License-Identifier: Apache-2.0
"""`find_subtypes` on simulated infarctions: mean beats by hand, groups that are there, what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats.contingency import association

from ecglens import Bundle, Output, simulate_cohort
from ecglens.bundle import TrainedOn
from ecglens.concepts import subtype_study
from ecglens.concepts.subtype_beats import cells_that_differ, mean_beats
from ecglens.concepts.subtype_covariates import goes_with
from ecglens.concepts.subtype_study import Subtyped, find_subtypes
from ecglens.concepts.subtype_vectors import Reader, alike, gather, mean_beat, turned
from ecglens.errors import ContractError, InputError, LeakError, UsageError
from ecglens.models.average import Average
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Admission, Preprocessing, Resample
from ecglens.preprocessing.prepare import prepare
from ecglens.preprocessing.windows import Windows
from ecglens.reporting.html import render
from ecglens.reporting.subtypes import subtypes_report


@pytest.fixture(scope="module")
def cohort():
    made = simulate_cohort(48, classes=("IMI", "AMI"), seed=2)
    return replace(made, records=list(made.records))


def bundle_for(train=()):
    arguments = {"n_leads": 12, "n_outputs": 2, "widths": [6, 8, 10, 12]}
    network = initialized(ARCHITECTURES["ResNet1d"], arguments, 3)
    known = TrainedOn.of("salt", train=(train, ()), valid=((), ()))
    prepared = Preprocessing(Admission(), (Resample(100.0),), Windows(250, 250))
    outputs = (Output("MI"), Output("NORM"))
    return Bundle(network, outputs, prepared, 100.0, "ResNet1d", arguments, "made for it", known)


def kinds(cohort):
    return pd.Series([str(one).split("+")[0] for one in cohort.metadata["conditions"]], index=cohort.labels.index)


def test_a_mean_beat_is_the_mean_of_the_stretches_round_r():
    values = np.random.default_rng(0).normal(size=(2, 400))
    peaks = np.array([0.1, 1.0, 2.0, 3.7])  # the first and the last are cut off
    found = mean_beat(values, peaks, 100.0, 100.0)
    assert np.allclose(found, (values[:, 70:150] + values[:, 170:250]) / 2)
    assert mean_beat(values, np.array([0.1]), 100.0, 100.0) is None


def test_features_of_a_turned_network_come_back():
    generator = np.random.default_rng(1)
    first = generator.normal(size=(40, 5))
    rotation, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    other = 3.0 * first @ rotation + 7.0
    assert np.allclose(turned(other, first, other[:4]), first[:4])


@pytest.mark.parametrize("by", ["attributions", "features"])
def test_a_record_has_the_same_vector_alone_and_among_others(cohort, by):
    bundle = bundle_for()
    few = prepare(cohort.take(range(5)), bundle.preprocessing)
    together = gather([Reader(bundle, np.arange(5))], few, by)
    alone = gather([Reader(bundle, np.arange(1))], prepare(cohort.take([2]), bundle.preprocessing), by)
    assert np.allclose(together.values[2], alone.values[0], atol=1e-6)
    assert together.values.shape[1:] == ((12, 80) if by == "attributions" else (12,))


def test_features_of_an_average_are_those_of_its_networks_side_by_side(cohort):
    bundle, other = bundle_for(), bundle_for()
    with torch.no_grad():
        next(other.network.parameters()).add_(0.1)
    arguments = {"architecture": "ResNet1d", "arguments": bundle.arguments, "n_members": 2}
    both = replace(
        bundle, network=Average([bundle.network, other.network]), architecture="Average", arguments=arguments
    )
    few = prepare(cohort.take(range(4)), bundle.preprocessing)
    one, two, together = (gather([Reader(b, np.arange(4))], few, "features").values for b in (bundle, other, both))
    assert np.allclose(together, np.concatenate([one, two], axis=1))


def test_infarctions_in_other_walls_are_told_apart_by_their_signals(tmp_path):
    cohort = simulate_cohort(72, classes=("IMI", "AMI"), seed=2)
    truth = kinds(cohort)
    assert set(truth) == {"IMI", "AMI"}
    found = find_subtypes(bundle_for(), cohort, np.ones(len(cohort), bool), tmp_path / "run", name="MI", by="signals",
                          truth=truth, ks=(2,))  # fmt: skip
    about = found.about
    assert about["accuracy"]["low"] > about["majority"] == 0.5
    assert about["upper_bound"]["accuracy"]["value"] >= about["accuracy"]["value"]
    assert sum(one["n"] for one in about["clusters"]) == about["n"] == len(cohort)
    assert len(about["grid"]) == 3  # a candidate per method
    apart = {one["covariate"]: one for one in about["differences"]}
    assert set(apart) >= {"share_female", "age", "probability_MI", "probability_NORM"}
    means = [one["age"]["value"] for one in about["clusters"]]
    assert apart["age"]["value"] == pytest.approx(max(means) - min(means))
    assert pd.read_csv(tmp_path / "run" / "tables" / "differences.csv")["covariate"].tolist() == list(apart)
    table = pd.read_csv(about["records"])
    assert table["sublabel"].tolist() == truth.tolist()
    assert any(cell["p"] < 0.05 for cell in about["cells"])
    page = render(subtypes_report(found))
    assert "upper bound: chosen by the labels" in page
    assert "Largest difference" in page
    assert ("no mixture was left" in page) == (about["bic_of_one_normal"] < min(c["bic"] or 1e9 for c in about["grid"]))
    assert not re.search(r">[^<]*\bnan\b[^<]*<", page, flags=re.IGNORECASE)


def test_a_run_cut_off_goes_on_to_the_same_result_without_asking_the_network_again(cohort, tmp_path, monkeypatch):
    every, how = np.ones(len(cohort), bool), {"name": "MI", "ks": (2,)}
    whole = find_subtypes(bundle_for(), cohort, every, tmp_path / "whole", **how)
    asked, gathered = [], subtype_study.gather

    def counted(*arguments):
        asked.append(1)
        return gathered(*arguments)

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subtype_study, "gather", counted)
    with monkeypatch.context() as patch:
        patch.setattr(subtype_study, "try_all", cut_off)
        with pytest.raises(KeyboardInterrupt):
            find_subtypes(bundle_for(), cohort, every, tmp_path / "cut", **how)
    with pytest.raises(InputError, match="not finished"):
        Subtyped.open(tmp_path / "cut")
    resumed = find_subtypes(bundle_for(), cohort, every, tmp_path / "cut", resume=True, **how)
    assert len(asked) == 1
    one, other = ({k: v for k, v in run.about.items() if k != "records"} for run in (whole, resumed))
    assert one == other
    with pytest.raises(ContractError):
        find_subtypes(bundle_for(), cohort, every, tmp_path / "cut", resume=True, **how | {"ks": (3,)})
    other = bundle_for()
    with torch.no_grad():
        next(other.network.parameters()).add_(0.1)
    with pytest.raises(ContractError, match="weights_sha256"):
        find_subtypes(other, cohort, every, tmp_path / "cut", resume=True, **how)


def test_a_recording_that_was_trained_on_is_refused_under_another_name(cohort, tmp_path):
    known = TrainedOn.of("salt", train=((), [cohort[0].fingerprint()]), valid=((), ()))
    bundle = replace(bundle_for(), trained_on=known)
    with pytest.raises(LeakError):
        find_subtypes(bundle, cohort, np.ones(len(cohort), bool), tmp_path / "run", name="MI", by="signals", ks=(2,))


def test_cells_that_were_planted_are_the_surest_and_noise_has_none():
    generator = np.random.default_rng(2)
    values, labels = generator.normal(size=(80, 2, 80)), np.repeat([0, 1], 40)
    people = [str(k) for k in range(80)]
    assert not any(cell["p"] < 0.05 for cell in cells_that_differ(values, labels, people, 100.0, ("I", "V2")))
    values[:40, 1, 32:36] += 2.0  # 20 to 60 ms after R
    first = cells_that_differ(values, labels, people, 100.0, ("I", "V2"))[0]
    assert (first["lead"], first["start_ms"], first["stop_ms"]) == ("V2", 20.0, 60.0)
    assert first["low"] < 2.0 < first["high"]
    assert first["p"] < 0.001


def test_bands_lie_round_mean_beats_and_are_those_of_a_mean_of_people():
    generator = np.random.default_rng(5)
    beats, labels = generator.normal(size=(90, 2, 30)), np.repeat([0, 1], [60, 30])
    means, bands = mean_beats(beats, labels, [str(k) for k in range(90)])
    assert np.allclose(means[1], beats[60:].mean(axis=0))
    assert (bands[0] < means).all()
    assert (means < bands[1]).all()
    half = (bands[1] - bands[0])[0].mean() / 2
    assert half == pytest.approx(1.96 / np.sqrt(60), rel=0.05)
    twice = mean_beats(np.repeat(beats, 2, axis=0), np.repeat(labels, 2), [str(k // 2) for k in range(180)])[1]
    assert (twice[1] - twice[0])[0].mean() / 2 == pytest.approx(half, rel=0.05), "records of one person are one"


def test_what_it_refuses_is_one_line(cohort, tmp_path):
    few = np.arange(len(cohort)) < 29
    with pytest.raises(InputError, match="29; allowed: 30 or more"):
        find_subtypes(bundle_for(), cohort, few, tmp_path / "few", name="MI")
    every = np.ones(len(cohort), bool)
    with pytest.raises(UsageError, match="attributions, signals, features"):
        find_subtypes(bundle_for(), cohort, every, tmp_path / "by", name="MI", by="colour")
    with pytest.raises(LeakError):
        find_subtypes(bundle_for(cohort.patient_keys[:3]), cohort, every, tmp_path / "leak", name="MI")


def test_the_verb_from_folder_to_page(cli, tiny_folder, tmp_path):
    code, _, _ = cli("data", "simulate", tmp_path / "groups", "--n", 32, "--classes", "IMI,AMI", "--seed", 9)
    assert code == 0
    out = tmp_path / "subtypes"
    asked = ("find-subtypes", tiny_folder, "--data", tmp_path / "groups", "--fold", "all", "--out", out, "--group")
    code, told, _ = cli(*asked, "MI", "--by", "signals")
    assert code == 0
    assert (told["n"], told["accuracy"]) == (32, None)
    assert (out / "subtypes.html").exists()
    code, told, _ = cli(*asked, "XYZ")
    assert (code, told["error"]["kind"]) == (2, "usage")


def test_maps_of_networks_of_other_sizes_are_made_alike():
    """One network's gradients are ten times the other's, about another mean: planted clusters lie across both."""
    generator = np.random.default_rng(5)
    networks, truth = np.arange(120) % 2, np.arange(120) // 2 % 2
    maps = generator.normal(size=(120, 3, 10)) + 4.0 * truth[:, None, None]
    spoilt = np.where(networks[:, None, None] == 1, 10 * maps + 50, maps)
    mended = alike(spoilt, networks)
    sizes = [np.linalg.norm(mended[networks == k] - mended[networks == k].mean(axis=0)) for k in (0, 1)]
    assert sizes[0] == pytest.approx(sizes[1])
    np.testing.assert_allclose(mended.mean(axis=0), spoilt.mean(axis=0))
    for k in (0, 1):  # within a network nothing but one size and one mean has changed
        one, other = (each[networks == k].reshape(60, -1) for each in (maps, mended))
        assert np.corrcoef(one.ravel() - one.mean(), other.ravel() - other.mean())[0, 1] > 0.99
    np.testing.assert_array_equal(alike(maps, np.zeros(120, int)), maps)


def test_clusters_that_are_the_networks_are_known_as_such():
    generator = np.random.default_rng(6)
    people = [str(k // 2) for k in range(200)]
    networks = np.arange(200) // 2 % 5
    same = goes_with((networks > 2).astype(int), networks, people, n_deals=199)
    assert (same["v"], same["p"], same["groups"]) == (pytest.approx(1.0), 1 / 200, 5)
    other = goes_with(generator.integers(0, 2, 200), networks, people, n_deals=199)
    assert other["v"] < 0.3
    assert other["p"] > 0.01
    assert goes_with(networks, np.zeros(200, int), people) is None


def test_cramers_v_is_that_of_scipy():
    one, other = np.random.default_rng(7).integers(0, 3, 90), np.random.default_rng(8).integers(0, 4, 90)
    table = np.histogram2d(one, other, (3, 4))[0]
    told = goes_with(one, other, [str(k) for k in range(90)], n_deals=9)
    assert told["v"] == pytest.approx(association(table.astype(int), method="cramer"))
