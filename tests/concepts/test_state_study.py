# SPDX-License-Identifier: Apache-2.0
"""`segment_states` from cohort to page: whom it fits on, what it writes, how it goes on, what it refuses."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ecglens import Bundle, Output, simulate_cohort
from ecglens.bundle import TrainedOn
from ecglens.concepts import state_records
from ecglens.concepts.state_records import HALF, OWN, Size, bundle_asked, family_asked
from ecglens.concepts.state_result import RESULT, Segmented
from ecglens.concepts.state_study import segment_states
from ecglens.errors import ContractError, InputError, LeakError, UsageError
from ecglens.models.average import Average
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.prediction.family import folds_of
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.pipeline import Admission, Preprocessing, Resample, Standardize
from ecglens.preprocessing.prepare import prepare
from ecglens.preprocessing.windows import Windows
from ecglens.reporting.html import render
from ecglens.reporting.states import states_report
from ecglens.runs.run import Run

CLASSES = ("NORM", "MI", "CD")
TINY = Size(fit=90, scored=40, places=1500, sweep=800, ks=(3, 4), seeds=3, halves=2, trees=10, aligned=12, shifts=60,
            perturbed=3, bridged=3)  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    made = simulate_cohort(120, classes=("NORM", "IMI", "CLBBB"), seed=4)
    return replace(made, records=list(made.records))


def bundle_for(train=(), seed=3, name="ResNet1d"):
    arguments = {"n_leads": 12, "n_outputs": 3} | ({"widths": [6, 8, 10, 12]} if name == "ResNet1d" else {})
    network = initialized(ARCHITECTURES[name], arguments, seed)
    steps = (Resample(100.0), Standardize())
    known = TrainedOn.of("salt", train=(train, ()), valid=((), ()))
    return Bundle(network, tuple(map(Output, CLASSES)), Preprocessing(Admission(), steps, Windows(250, 250)), 100.0,
                  name, arguments, "made for it", known)  # fmt: skip


@pytest.fixture(scope="module")
def asked(cohort):
    """A bundle that knows the people of folds 1 to 8, and whom it may be scored on."""
    seen = cohort.metadata["fold"].le(7).to_numpy()
    keys = [key for key, here in zip(cohort.patient_keys, seen, strict=True) if here]
    return bundle_for(keys), ~seen


@pytest.fixture(scope="module")
def found(asked, cohort, tmp_path_factory):
    bundle, scored = asked
    return segment_states(bundle, cohort, tmp_path_factory.mktemp("states") / "run", scored=scored, size=TINY)


def test_the_page_says_where_a_network_has_no_dropout(found):
    assert "passes with dropout" in render(states_report(found))
    certainty = {key: value for key, value in found.about["certainty"].items() if not key.startswith("dropout_")}
    none = replace(found, about=found.about | {"certainty": certainty | {"dropout": None}})
    page = render(states_report(none))
    assert "none, the network has no dropout" in page
    assert "under dropout" not in page


def test_an_average_is_split_as_a_whole(asked, cohort, tmp_path):
    bundle, scored = asked
    several = Average([bundle_for(seed=seed).network for seed in (3, 4)])
    arguments = {"architecture": "ResNet1d", "arguments": bundle.arguments, "n_members": 2}
    both = replace(bundle, network=several, architecture="Average", arguments=arguments)
    small = replace(TINY, trees=2, aligned=3, shifts=20, perturbed=1, bridged=1)
    found = segment_states(both, cohort, tmp_path / "run", scored=scored, size=small, k=3)
    about = found.about
    assert (about["members"], about["split"]) == (2, "exact")
    assert "random weights" in {row["features"] for row in about["surrogate"]}
    assert found.run.read()["arguments"]["weights_sha256"] == [both.weights_sha256]
    table = pd.read_csv(about["records"]).set_index("record_id")
    used = cohort.where(np.isin(cohort.record_ids, table.index))
    raw = predict_raw(both, prepare(used, both.preprocessing).signals)
    again = table.loc[list(used.record_ids), [f"adds_{k}_MI" for k in (1, 2, 3)]].sum(axis=1) + about["reference"]["MI"]
    assert np.abs(again - raw[:, CLASSES.index("MI")]).max() < 1e-5, "states add up to the logit of the average"
    page = render(states_report(found))
    assert "the average of 2, read side by side" in page
    assert "behind the average, each with states of its own, agree with" in page
    assert "The mean answer of the 2 networks behind the average" in page
    networks = about["stability"]["networks"]
    assert (networks["pairs"], networks["differ"]) == (1, "seeds")
    assert networks["least"] == networks["value"] == networks["greatest"] < 0.9, "other weights, other states"
    assert about["certainty"]["members"] == {"networks": 2}
    # How surely the members' disagreement finds errors, from what they answer alone.
    signals = prepare(used, both.preprocessing).signals
    one, other = (both.activate(predict_raw(replace(both, network=m), signals)) for m in several.members)

    def bits(p):
        return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))

    truth = used.labels[list(CLASSES)].to_numpy()
    decided = table.loc[list(used.record_ids), [f"called_{name}" for name in CLASSES]].to_numpy()
    doubt = bits((one + other) / 2) - (bits(one) + bits(other)) / 2
    areas = [
        roc_auc_score(decided[:, j] != truth[:, j], doubt[:, j])
        for j in range(3) if len(set(decided[:, j] != truth[:, j])) == 2
    ]  # fmt: skip
    assert about["certainty"]["members_information"]["auroc"]["value"] == pytest.approx(np.mean(areas), abs=1e-6)


def test_networks_of_an_average_that_are_the_same_find_the_same_states(asked, cohort, tmp_path):
    bundle, scored = asked
    twins = replace(
        bundle, network=Average([bundle.network, copy.deepcopy(bundle.network)]), architecture="", arguments={}
    )
    small = replace(TINY, trees=2, aligned=3, shifts=20, perturbed=1, bridged=1)
    about = segment_states(twins, cohort, tmp_path / "run", scored=scored, size=small, k=3).about
    assert about["stability"]["networks"]["value"] == pytest.approx(1.0)
    assert about["certainty"]["members_information"]["auroc"]["value"] == pytest.approx(0.5), "they never differ"


def test_own_training_people_are_fitted_on_and_strangers_scored(asked, cohort):
    bundle, scored = asked
    (one,) = bundle_asked(bundle, cohort, scored, TINY, 0)
    fold = cohort.metadata["fold"].to_numpy()
    assert one.fitted_on == OWN
    assert set(fold[one.fit]) <= set(range(1, 8))
    assert set(fold[one.scored]) <= {8, 9, 10}
    assert not set(cohort.metadata["patient_id"].iloc[one.fit]) & set(cohort.metadata["patient_id"].iloc[one.scored])


def test_without_them_the_unseen_are_halved_by_patient(cohort):
    (one,) = bundle_asked(bundle_for(), cohort, np.ones(len(cohort), bool), TINY, 0)
    people = cohort.metadata["patient_id"]
    assert one.fitted_on == HALF
    assert not set(people.iloc[one.fit]) & set(people.iloc[one.scored])
    assert min(len(one.fit), len(one.scored)) > 30


def test_nobody_whom_the_network_knows_is_scored(asked, cohort):
    with pytest.raises(LeakError):
        bundle_asked(asked[0], cohort, np.ones(len(cohort), bool), TINY, 0)


def test_whether_a_record_is_chosen_hangs_on_its_name_alone(cohort):
    few, more = (
        bundle_asked(bundle_for(), cohort, np.ones(len(cohort), bool), replace(TINY, scored=n), 0)[0].scored
        for n in (10, 20)
    )
    assert len(few) == 10
    assert set(few) < set(more)


def test_the_result_adds_up(found, asked, cohort):
    about = found.about
    bundle, _ = asked
    assert about["n"] == about["certainty"]["n"] > 20
    assert about["fitted_on"] == OWN
    assert about["k"] in (3, 4)
    assert len(about["states"]) == about["k"]
    assert sum(one["share"] for one in about["states"]) == pytest.approx(1.0)
    assert [one["id"] for one in about["states"]] == list(range(1, about["k"] + 1))
    assert about["split"] == "exact"
    assert about["certainty"]["dropout"] == {"passes": 20}
    assert {"value", "low", "high"} == set(about["certainty"]["dropout_entropy"]["auroc"])
    assert 0 < about["certainty"]["dropout_information"]["auroc"]["value"] < 1
    assert about["gap"] < 1e-9
    assert about["ablation"]["largest_difference"] < 1e-9
    assert about["ablation"]["features"]["value"] == pytest.approx(1.0)
    table = pd.read_csv(about["records"]).set_index("record_id")
    used = cohort.where(np.isin(cohort.record_ids, table.index))
    raw = predict_raw(bundle, prepare(used, bundle.preprocessing).signals)
    for j, name in enumerate(CLASSES):
        adds = table[[f"adds_{k + 1}_{name}" for k in range(about["k"])]].sum(axis=1)
        again = adds.loc[list(used.record_ids)].to_numpy() + about["reference"][name]
        assert np.abs(again - raw[:, j]).max() < 1e-5, "states add up to the logit that predict gives"
    mi = [record for record in table.index if cohort.labels.loc[record, "MI"] == 1]
    assert about["uncertainty"]["MI"]["value"] == pytest.approx(table.loc[mi, "uncertainty"].mean(), abs=1e-5)
    assert about["uncertainty"]["all"]["value"] == pytest.approx(table["uncertainty"].mean(), abs=1e-5)
    assert about["uncertainty"]["MI"]["n"] == len(mi)
    shares = table[[f"share_{k + 1}" for k in range(about["k"])]]
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    of_mi = table.loc[[r for r in table.index if cohort.labels.loc[r, "MI"] == 1], "adds_1_MI"]
    assert about["states"][0]["contribution"]["MI"]["value"] == pytest.approx(of_mi.mean())
    strength = about["states"][0]["strength"]["MI"]
    assert strength["value"] == pytest.approx(table["adds_1_MI"].sum() / table["share_1"].sum(), rel=1e-4)
    assert strength["low"] < strength["value"] < strength["high"]


def test_sequences_cover_each_record_once(found):
    table = found.sequences
    for _, rows in table.groupby("record_id"):
        assert rows["start_s"].iloc[0] == 0
        assert rows["stop_s"].iloc[-1] == pytest.approx(10.0)
        assert np.allclose(rows["stop_s"].to_numpy()[:-1], rows["start_s"].to_numpy()[1:])
        assert (rows["state"].to_numpy()[1:] != rows["state"].to_numpy()[:-1]).all()
    assert table["state"].between(1, found.about["k"]).all()
    assert table["uncertainty"].between(0, 1).all()


def test_baselines_stand_beside_the_states(found):
    table = pd.DataFrame(found.about["surrogate"])
    kinds = {"states", "pooled features", "random weights", "raw 80-ms windows", "network", "majority"}
    assert set(table["features"]) == kinds
    own = table[(table["features"] == "states") & (table["metric"] == "fidelity")]
    assert found.about["fidelity"]["value"] == own["value"].item()
    assert {one["k"] for one in found.about["sweep"]} == {3, 4}
    assert found.about["stability"]["networks"] is None


def test_a_resumed_run_does_nothing_twice_and_gives_the_same(found, asked, cohort, monkeypatch):
    bundle, scored = asked
    before = (found.run.folder / RESULT).read_text()
    told = json.loads((found.run.folder / "run.json").read_text())
    del told["finished"]
    (found.run.folder / "run.json").write_text(json.dumps(told))
    for dear in ("state_study.try_k", "state_study.fit_states", "state_study.read_records", "state_evidence.forest",
                 "state_study.ablation_of", "state_study.perturbed"):  # fmt: skip
        monkeypatch.setattr(f"ecglens.concepts.{dear}", lambda *_, **__: pytest.fail("done again"))
    again = segment_states(bundle, cohort, found.run.folder, scored=scored, size=TINY, resume=True)
    assert (again.run.folder / RESULT).read_text() == before
    with pytest.raises(ContractError, match="k was 'auto', now 5"):
        segment_states(bundle, cohort, found.run.folder, scored=scored, size=TINY, resume=True, k=5)


def test_the_page_says_what_was_found(found):
    page = render(states_report(found))
    assert "exact" in page
    assert page.count("<section") == 10
    assert "With age more of the time is in" in page
    assert "random weights" in page
    assert "is not tested: give a family" in page
    assert not re.search(r">[^<]*\bnan\b[^<]*<", page, flags=re.IGNORECASE)
    assert "a step sees" in page


def test_an_unfinished_run_is_not_read(tmp_path):
    Run.create(tmp_path / "run", "segment-states", {}, 0)
    with pytest.raises(InputError, match="not finished"):
        Segmented.open(tmp_path / "run")


# -------------------------------------------------------------------------------------------------------------- family


def test_a_family_reads_each_record_by_the_network_that_has_not_seen_it(cohort, tmp_path):
    cohort = cohort.where(fold=[1, 2, 3, 4, 5, 6])
    part = {record: 1 + int(fold) % 2 for record, fold in zip(cohort.record_ids, cohort.metadata["fold"], strict=True)}
    owner = {person: part[record] for record, person in zip(cohort.record_ids, cohort.patient_keys, strict=True)}
    part = {record: owner[person] for record, person in zip(cohort.record_ids, cohort.patient_keys, strict=True)}
    for fold in (1, 2):
        others = [key for key in cohort.patient_keys if owner[key] != fold]
        bundle_for(others, seed=fold).save(tmp_path / "family" / "bundles" / f"fold-{fold}")
    about = {"schema": 1, "verb": "train", "bundles": {"fold-1": "", "fold-2": ""}, "data": {"name": cohort.name},
             "folds": part}  # fmt: skip
    (tmp_path / "family" / "run.json").write_text(json.dumps(about))
    family, folds = Run(tmp_path / "family"), folds_of(tmp_path / "family", cohort)
    for one in family_asked(family, folds, TINY, 0):
        number = int(one.name.removeprefix("fold-"))
        assert {part[folds.record_ids[i]] for i in one.scored} == {number}
        assert {part[folds.record_ids[i]] for i in one.fit} == {3 - number}
    found = segment_states(family, folds, tmp_path / "out", size=TINY, k=3)
    told = found.run.read()["example"]  # adds up from the average features of the network that read it
    assert told["reference"] + sum(told["adds"]) == pytest.approx(told["logit"], abs=1e-4)
    assert found.about["networks"] == ["fold-1", "fold-2"]
    agreement = found.about["stability"]["networks"]
    assert agreement["pairs"] == 1
    assert -0.2 < agreement["value"] < 1
    table = pd.read_csv(found.about["records"])
    assert all(row["network"] == f"fold-{part[row['record_id']]}" for _, row in table.iterrows())
    assert found.about["n"] == len(table) == 2 * (TINY.scored // 2)
    known = [Bundle.load(family.bundle_folder(f"fold-{fold}")).weights_sha256 for fold in (1, 2)]
    assert found.run.read()["arguments"]["weights_sha256"] == known
    page = render(states_report(found))
    assert all(one[:16] in page for one in known)
    others = [key for key in cohort.patient_keys if owner[key] != 2]
    bundle_for(others, seed=9).save(family.bundle_folder("fold-2"))
    with pytest.raises(ContractError, match="weights_sha256"):
        segment_states(family, folds, tmp_path / "out", size=TINY, k=3, resume=True)


# ----------------------------------------------------------------------------------------------------------- bad input


def refused(error, kind, *arguments, **options):
    with pytest.raises(error) as raised:
        segment_states(*arguments, size=TINY, **options)
    assert raised.value.kind == kind
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_more_states_than_the_data_allow(cohort, tmp_path):
    few = cohort.take(range(20))
    small = replace(TINY, places=300)
    with pytest.raises(InputError) as raised:
        segment_states(bundle_for(), few, tmp_path / "run", k=60, size=small)
    assert raised.value.kind == "too_many_states"
    refused(UsageError, "usage", bundle_for(), few, tmp_path / "other", k=65)
    refused(UsageError, "usage", bundle_for(), few, tmp_path / "other", by="dbscan")
    assert not (tmp_path / "other").exists(), "refused before anything is written"


def test_a_head_that_cannot_be_split(cohort, tmp_path):
    refused(ContractError, "head", bundle_for(name="ECGNet"), cohort, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_records(cohort, tmp_path):
    line = refused(InputError, "too_few", bundle_for(), cohort.take(range(6)), tmp_path / "run")
    assert "8 or more" in line


def test_records_without_beats_are_listed_and_none_with_beats_is_refused(asked, cohort, tmp_path):
    bundle, scored = asked
    flat = [ecg if i % 3 else replace(ecg, signal=(0.02 * np.random.default_rng(i).normal(size=ecg.signal.shape))
                                      .astype(np.float32)) for i, ecg in enumerate(cohort.records)]  # fmt: skip
    lenient = replace(bundle, preprocessing=replace(
        bundle.preprocessing, admission=replace(bundle.preprocessing.admission, amplitude=(0.0, 20.0), flat_below=0.0)
    ))  # fmt: skip
    some = replace(cohort, records=flat, fiducials=None)
    found = segment_states(lenient, some, tmp_path / "some", scored=scored, size=replace(TINY, aligned=40), k=3)
    without = found.about["alignment"]["without_beats"]
    chosen = pd.read_csv(found.about["records"])["record_id"]
    expected = {name for i, name in enumerate(cohort.record_ids) if i % 3 == 0} & set(chosen)
    assert expected <= set(without), "noise has no beats"
    assert len(without) <= len(expected) + 2
    assert "no_beats" in render(states_report(found))
    none = replace(cohort, records=[flat[0] if not i % 2 else flat[3] for i in range(len(cohort))], fiducials=None)
    none = none.map(lambda ecg: ecg)
    unlike = replace(none, records=[replace(flat[0], record_id=name, signal=flat[3 * (i % 40)].signal)
                                    for i, name in enumerate(cohort.record_ids)])  # fmt: skip
    refused(InputError, "no_beats", lenient, unlike, tmp_path / "none", scored=scored, k=3)


# ---------------------------------------------------------------------------------------------------------------- verb


def test_the_verb_from_folder_to_page(cli, tiny_folder, data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(state_records, "QUICK", replace(TINY, ks=(3,)))
    out = tmp_path / "states"
    # the folder holds the very people that the tiny bundle learnt from
    code, told, _ = cli("segment-states", tiny_folder, "--data", data_folder, "--fold", "all", "--out", out)
    assert code == 6
    assert told["error"]["kind"] == "leak"
    for k in ("x", "\u00b2"):
        code, told, _ = cli(
            "segment-states", tiny_folder, "--data", "simulated", "--fold", "all", "--out", out, "--k", k
        )
        assert (code, told["error"]["kind"]) == (2, "usage")


def test_a_number_that_the_data_refuse_leaves_nothing_behind(asked, cohort, tmp_path):
    bundle, scored = asked
    few = replace(TINY, fit=10, places=60)
    with pytest.raises(InputError):
        segment_states(bundle, cohort, tmp_path / "run", scored=scored, size=few, k=40)
    small = replace(TINY, trees=2, aligned=3, shifts=20, perturbed=1, bridged=1)
    assert segment_states(bundle, cohort, tmp_path / "run", scored=scored, size=small, k=3).about["k"] == 3
