# SPDX-License-Identifier: Apache-2.0
"""Families: everybody is scored by a network that never saw them, and an average is the mean of its members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, LeakError, TableError, UsageError
from ecglens.prediction.evaluate import evaluate, people_of
from ecglens.prediction.family import compare, evaluate_family, folds_of
from ecglens.prediction.predict import predict_raw
from ecglens.preprocessing.prepare import prepare
from ecglens.reporting.html import render
from ecglens.reporting.run import build_run_report
from ecglens.runs.run import Run
from ecglens.training import family as module
from ecglens.training.family import Family, average, train_family, with_folds
from ecglens.training.recipes import recipe_for

RECIPE = replace(recipe_for("lenet"), epochs=1)


@pytest.fixture(scope="module")
def cohort(small_cohort: Cohort) -> Cohort:
    """The small cohort in three folds, so that a family is trained quickly."""
    thirds = small_cohort.metadata["fold"] % 3 + 1
    return replace(small_cohort, metadata=small_cohort.metadata.assign(fold=thirds))


@pytest.fixture(scope="module")
def folds(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return train_family(cohort, RECIPE, tmp_path_factory.mktemp("family") / "run", cross_validate=True)


@pytest.fixture(scope="module")
def seeds(small_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return train_family(small_cohort, RECIPE, tmp_path_factory.mktemp("family") / "run", seeds=2, seed=5)


def test_one_bundle_per_fold_none_of_which_saw_it(cohort: Cohort, folds: Family) -> None:
    assert list(folds.bundles) == ["fold-1", "fold-2", "fold-3", "final"]
    for fold in (1, 2, 3):
        saved = Bundle.load(folds.run.bundle_folder(f"fold-{fold}"))
        for other in (1, 2, 3):
            part = cohort.where(fold=other)
            seen = saved.trained_on.overlap(part.patient_keys, prepare(part, RECIPE.preprocessing).fingerprints)
            assert (sum(seen.values()) == 0) == (other == fold)


def test_each_record_is_scored_once_by_its_own_bundle(cohort: Cohort, folds: Family) -> None:
    whole, parts = evaluate_family(folds.run, cohort, n_resamples=200)
    assert sorted(whole.probabilities.index) == sorted(cohort.record_ids)
    for fold, part in parts.items():
        own = evaluate(folds.bundles[f"fold-{fold}"], cohort.where(fold=fold), n_resamples=200)
        np.testing.assert_array_equal(whole.probabilities.loc[own.labels.index], own.probabilities)
        assert part.scores.equals(own.scores)
    told = whole.as_dict()
    name = cohort.classes[0]
    assert told["per_class"][name]["auroc"]["value"] == pytest.approx(
        roc_auc_score(whole.labels[name], whole.probabilities[name])
    )
    called = np.concatenate(
        [(p.probabilities[name] >= p.thresholds[name]).to_numpy() & (p.labels[name] == 1) for p in parts.values()]
    )
    assert told["per_class"][name]["sensitivity"]["value"] == pytest.approx(called.sum() / whole.labels[name].sum())


def test_a_family_is_assessed_by_each_folds_own_decisions(cohort: Cohort, folds: Family) -> None:
    whole, parts = evaluate_family(folds.run, cohort, n_resamples=200)
    told = whole.as_dict()
    for k, name in enumerate(whole.labels.columns):
        said, truth = whole.probabilities[name].to_numpy(), whole.labels[name].to_numpy()
        assert told["calibration"]["per_class"][name]["brier"]["value"] == pytest.approx(np.mean((said - truth) ** 2))
        called = np.concatenate([(p.probabilities[name] >= p.thresholds[name]).to_numpy() for p in parts.values()])
        assert told["cooccurrence"]["true_and_called"][k][k] == (called & (truth == 1)).sum()
        for group in (entry for entry in told["subgroups"] if entry["class"] == name and entry["by"] == "sex"):
            women = (cohort.metadata.loc[whole.labels.index, "sex"] == group["group"]).to_numpy()
            if group["sensitivity"]["value"] is not None:
                share = (called & (truth == 1) & women).sum() / (truth[women] == 1).sum()
                assert group["sensitivity"]["value"] == pytest.approx(share)
                assert group["auroc"]["value"] == pytest.approx(roc_auc_score(truth[women], said[women]))


def test_the_average_of_all_folds_is_refused_on_anybody_of_them(cohort: Cohort, folds: Family) -> None:
    for fold in (1, 2, 3):
        with pytest.raises(LeakError, match="trained this bundle"):
            evaluate(folds.bundles["final"], cohort.where(fold=fold))


def test_records_that_were_not_there_are_left_out_and_listed(cohort: Cohort, folds: Family) -> None:
    renamed = ["new", *cohort.record_ids[1:]]
    other = replace(
        cohort, labels=cohort.labels.set_axis(renamed), metadata=cohort.metadata.set_axis(renamed),
        records=[replace(cohort[0], record_id="new"), *cohort.records[1:]],
    )  # fmt: skip
    known = folds_of(folds.run.folder, other)
    assert known is not None
    assert len(known) == len(cohort) - 1
    assert [(e.record_id, e.kind) for e in known.excluded] == [("new", "new_record")]
    assert folds_of(folds.run.folder, replace(cohort, name="another")) is None
    with pytest.raises(ContractError, match="final"):
        evaluate_family(folds.run, replace(cohort, name="another"))


def test_an_average_is_the_mean_of_its_members_logits(small_cohort: Cohort, seeds: Family) -> None:
    signals = prepare(small_cohort.where(fold=10), RECIPE.preprocessing).signals
    members = [predict_raw(seeds.bundles[name], signals) for name in ("seed-5", "seed-6")]
    np.testing.assert_allclose(predict_raw(seeds.bundles["final"], signals), np.mean(members, axis=0), atol=1e-6)
    assert evaluate(seeds.bundles["final"], small_cohort.where(fold=10), n_resamples=200).n > 0
    with pytest.raises(LeakError):
        evaluate(seeds.bundles["final"], small_cohort.where(fold=9))


def test_what_is_finished_is_not_trained_again(
    small_cohort: Cohort, seeds: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = module.train, []

    def broken_off(*args: object, **kwargs: object) -> object:
        calls.append(kwargs["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", broken_off)
    with pytest.raises(KeyboardInterrupt):
        train_family(small_cohort, RECIPE, tmp_path / "run", seeds=2, seed=5)
    again = train_family(small_cohort, RECIPE, tmp_path / "run", seeds=2, seed=5, resume=True)
    assert calls == [5, 6, 6]
    assert again.bundles["final"].weights_sha256 == seeds.bundles["final"].weights_sha256


def test_networks_that_differ_are_not_averaged(small_cohort: Cohort, seeds: Family) -> None:
    one = seeds.bundles["seed-5"]
    fewer = replace(one, outputs=tuple(replace(o, name=o.name.lower()) for o in one.outputs))
    with pytest.raises(UsageError, match="outputs"):
        average([one, fewer], "both", one.trained_on)
    with pytest.raises(UsageError, match="label_rule"):
        average([one, replace(one, label_rule="another")], "both", one.trained_on)


def test_a_family_of_one_is_refused(small_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--folds all"):
        train_family(small_cohort, RECIPE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_lost_in_reading_is_refused_before_the_first_member_is_trained(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ECGs of the last fold with MI cannot be read, which only the last of three members would meet."""
    read = prepare(cohort, RECIPE.preprocessing)
    lost = ((cohort.metadata["fold"] == 2) & (cohort.labels["MI"] == 1)).to_numpy()
    monkeypatch.setattr(module, "prepare", lambda *_, **__: read.part(cohort.take(np.flatnonzero(~lost))))
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("a member was trained"))
    with pytest.raises(TableError, match="nobody with"):
        train_family(cohort, RECIPE, tmp_path / "run", cross_validate=True)
    assert not (tmp_path / "run" / "run.json").exists()


def test_folds_are_drawn_by_patient_where_there_are_none(small_cohort: Cohort) -> None:
    bare = replace(small_cohort, metadata=small_cohort.metadata.assign(fold=None))
    drawn = with_folds(bare, seed=1)
    assert drawn.metadata.groupby("patient_id")["fold"].nunique().max() == 1
    assert set(drawn.metadata["fold"]) == set(range(1, 11))
    shuffled = bare.take(np.random.default_rng(0).permutation(len(bare)))
    assert with_folds(shuffled, seed=1).metadata["fold"].loc[drawn.metadata.index].equals(drawn.metadata["fold"])
    assert with_folds(small_cohort, seed=1) is small_cohort


def test_comparison_is_paired(small_cohort: Cohort, seeds: Family) -> None:
    part = small_cohort.where(fold=[10, 10])
    a, b = (evaluate(seeds.bundles[name], part, n_resamples=200) for name in ("seed-5", "seed-6"))
    people = dict(zip(part.record_ids, people_of(part), strict=True))
    same, there, back = compare(a, a, people), compare(a, b, people), compare(b, a, people)
    assert (same[["value", "low", "high"]].dropna() == 0).all(axis=None)
    np.testing.assert_allclose(there["value"], -back["value"])
    np.testing.assert_allclose(there["low"], -back["high"], atol=1e-12)
    np.testing.assert_allclose(there["value"], there["auroc_a"] - there["auroc_b"], atol=1e-12)
    other = replace(b, labels=1 - b.labels)
    with pytest.raises(ContractError, match="label rule"):
        compare(a, other, people)


def test_a_family_has_a_page(cohort: Cohort, folds: Family) -> None:
    page = render(build_run_report(Run.open(folds.run.folder)))
    assert all(f"fold-{fold}" in page for fold in (1, 2, 3))
    assert "3 networks of one recipe" in page
    assert f"{len(cohort)} records" in page


def test_folds_have_the_same_classes_with_patients_enough_in_every_training_part(
    cohort: Cohort, tmp_path: Path
) -> None:
    """A class of one fold alone is missing where that fold is left out, however many patients it has elsewhere."""
    fold = cohort.metadata["fold"].to_numpy()
    everywhere = np.concatenate([np.flatnonzero(fold == k)[:4] for k in (1, 2, 3)])
    labels = cohort.labels.assign(SPREAD=0.0, LOCAL=0.0)
    labels.iloc[everywhere, labels.columns.get_loc("SPREAD")] = 1.0
    labels.iloc[[*np.flatnonzero(fold == 1)[:9], *everywhere[4:6], *everywhere[8:10]],
                labels.columns.get_loc("LOCAL")] = 1.0  # fmt: skip
    rare = replace(cohort, labels=labels)
    family = train_family(rare, RECIPE, tmp_path / "run", cross_validate=True, min_patients=3)
    assert {bundle.classes for bundle in family.bundles.values()} == {(*cohort.classes, "SPREAD")}
    assert "without LOCAL (fewer than 3 training patients)" in family.bundles["final"].label_rule


@pytest.fixture(scope="module")
def both(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Family:
    out = tmp_path_factory.mktemp("family") / "run"
    return train_family(cohort, RECIPE, out, cross_validate=True, seeds=2)


def test_folds_of_several_seeds_are_read_back_as_one_average(cohort: Cohort, both: Family) -> None:
    saved = {name: Bundle.load(both.run.bundle_folder(name)) for name in both.bundles}
    assert {name: bundle.arguments["n_members"] for name, bundle in saved.items()} == {
        "fold-1": 2, "fold-2": 2, "fold-3": 2, "final": 6,
    }  # fmt: skip
    signals = prepare(cohort.where(fold=1), RECIPE.preprocessing).signals[:5]
    parts = [predict_raw(saved[f"fold-{fold}"], signals) for fold in (1, 2, 3)]
    np.testing.assert_allclose(predict_raw(saved["final"], signals), np.mean(parts, axis=0), atol=1e-5)
    whole, _ = evaluate_family(both.run, cohort, n_resamples=50)
    assert len(whole.probabilities) == len(cohort)


def test_the_average_of_folds_has_the_medians_of_what_its_members_were_scaled_by(folds: Family) -> None:
    final, members = folds.bundles["final"], [folds.bundles[f"fold-{k}"] for k in (1, 2, 3)]
    for k, output in enumerate(final.outputs):
        for what in ("temperature", "offset", "threshold"):
            assert getattr(output, what) == np.median([getattr(one.outputs[k], what) for one in members])
        for rule, kept in final.details["thresholds"].items():
            assert kept[output.name] == np.median([one.details["thresholds"][rule][output.name] for one in members])
    assert len({one.outputs[0].offset for one in members}) == 3, "and they differ"


def test_averages_have_a_card(folds: Family, seeds: Family) -> None:
    assert "has seen everybody" in folds.bundles["final"].card
    assert "optimistic" in seeds.bundles["final"].card
    assert all("not a medical device" in each.bundles["final"].card for each in (folds, seeds))


def test_a_family_decides_by_the_rule_that_is_asked_for(cohort: Cohort, folds: Family) -> None:
    plain, parts = evaluate_family(folds.run, cohort, n_resamples=50)
    strict, by_fold = evaluate_family(folds.run, cohort, rule="specificity-0.95", n_resamples=50)
    assert plain.probabilities.equals(strict.probabilities)
    for fold, part in by_fold.items():
        kept = folds.bundles[f"fold-{fold}"].details["thresholds"]["specificity-0.95"]
        assert part.thresholds == {name: kept[name] for name in cohort.classes}
    assert any(parts[k].thresholds != by_fold[k].thresholds for k in parts)


def test_operating_points_of_a_family_are_each_networks_own(cohort: Cohort, folds: Family) -> None:
    whole, parts = evaluate_family(folds.run, cohort, n_resamples=50)
    points = whole.as_dict()["operating_points"]
    assert {point["rule"] for point in points} == set(folds.bundles["fold-1"].details["thresholds"])
    for point in points:
        name, called = point["class"], []
        for fold, part in parts.items():
            cut = folds.bundles[f"fold-{fold}"].details["thresholds"][point["rule"]][name]
            called.append((part.probabilities[name] >= cut) & (part.labels[name] == 1))
        share = sum(int(each.sum()) for each in called) / whole.labels[name].sum()
        assert point["sensitivity"]["value"] == pytest.approx(share)
        assert point["threshold"] is None


def test_a_family_does_not_go_on_with_other_labels(cohort: Cohort, folds: Family) -> None:
    turned = replace(cohort, labels=1 - cohort.labels)
    before = folds.run.read()["data"]["sha256"]
    with pytest.raises(ContractError, match="SHA-256"):
        train_family(turned, RECIPE, folds.run.folder, cross_validate=True, resume=True)
    assert folds.run.read()["data"]["sha256"] == before


def test_a_class_that_one_fold_lacks_is_refused_before_anything_is_trained(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = cohort.labels.copy()
    labels.loc[cohort.metadata["fold"] == 2, labels.columns[0]] = 0.0  # fold 2 validates the last member
    monkeypatch.setattr(module, "train", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(TableError, match=str(labels.columns[0])):
        train_family(replace(cohort, labels=labels), RECIPE, tmp_path / "run", cross_validate=True)
    assert not (tmp_path / "run" / "run.json").exists()


def test_compared_areas_are_of_the_records_that_both_have_scored(cohort: Cohort, folds: Family) -> None:
    whole, parts = evaluate_family(folds.run, cohort, n_resamples=50)
    people = dict(zip(cohort.record_ids, people_of(cohort), strict=True))
    table = compare(whole, parts[1], people).set_index("class")
    np.testing.assert_allclose(table["value"], table["auroc_a"] - table["auroc_b"], atol=1e-12)
    assert (table["value"] == 0).all(), "on fold 1 they are the same network"
    assert not table["method"].drop("macro").str.contains("mean of").any()
