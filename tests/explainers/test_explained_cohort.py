# SPDX-License-Identifier: Apache-2.0
"""A cohort explained: the same maps as one by one, the same bytes in any order and after any stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens.bundle import Bundle, Output, TrainedOn
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError, InputError, LeakError, UsageError
from ecglens.explainers.cohort import explain_cohort, explain_family, to_half
from ecglens.explainers.explain import explain
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explainers.methods import find_methods
from ecglens.models.lenet import LeNet, initialized
from ecglens.runs.journal import Journal
from ecglens.runs.run import Run
from ecglens.training.recipes import PREPROCESSING

METHODS = "saliency,occlusion_lead,shapley"
FASTER = {"orders": "2"}


def network(seed: int = 3) -> Bundle:
    outputs = (Output("NORM"), Output("MI", threshold=0.5), Output("CD", temperature=2.0))
    return Bundle(initialized(LeNet, {"n_outputs": 3}, seed), outputs, PREPROCESSING, 100.0, "LeNet", {"n_outputs": 3})


@pytest.fixture(scope="module")
def cohort(small_cohort: Cohort) -> Cohort:
    """18 records: a flat one, one without beats, one that is shorter."""
    some = small_cohort.take(range(18))
    ecgs = list(some.records)
    noise = np.random.default_rng(0).normal(scale=0.3, size=(12, 1000)).astype(np.float32)
    ecgs[2] = replace(ecgs[2], signal=np.zeros_like(ecgs[2].signal))
    ecgs[5] = ECG(noise, 100.0, ecgs[5].leads, ecgs[5].record_id)
    ecgs[9] = ecgs[9].crop(0, 11) if ecgs[9].duration > 11 else ecgs[9].crop(0, 10)
    return replace(some, records=ecgs)


@pytest.fixture(scope="module")
def explained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ExplainedCohort:
    folder = tmp_path_factory.mktemp("explained") / "run"
    return explain_cohort(network(), cohort, ["all", "MI - NORM"], find_methods(METHODS, FASTER), folder)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*")) if p.suffix in (".npy", ".csv")
    }


def test_maps_are_those_of_explain(explained: ExplainedCohort, cohort: Cohort) -> None:
    assert explained.methods == ("saliency", "occlusion_lead", "shapley")
    assert explained.targets == ("NORM", "MI", "CD", "MI - NORM")
    for i in (0, 9, 17):
        expected = explain(network(), cohort[i], explained.targets, find_methods(METHODS, FASTER))
        for one in expected:
            found = explained.explanation(one.record_id, one.target, one.method)
            largest = np.abs(one.values).max()
            np.testing.assert_allclose(found.values, one.values, rtol=0, atol=largest * 2**-11)
            assert found.values.shape == one.values.shape
            for name in ("fs", "leads", "start", "unit", "baseline", "resolution_ms", "resolves_leads", "warnings"):
                assert getattr(found, name) == getattr(one, name), name
            assert found.probability == pytest.approx(one.probability, abs=1e-6)
            assert found.completeness_gap == pytest.approx(one.completeness_gap, abs=1e-5)
            np.testing.assert_array_equal(found.target_row, one.target_row)
            assert (found.error is None) == (one.error is None)
            if one.error is not None:
                np.testing.assert_allclose(found.error, one.error, rtol=0, atol=largest * 2**-10)
            assert found.share_by_lead() == pytest.approx(one.share_by_lead(), abs=1e-3)
            written = explained.shares(one.target, one.method).loc[one.record_id].to_dict()
            assert written == pytest.approx(one.share_by_lead(), abs=1e-5)  # float32 logits


def test_what_is_left_out_says_why(explained: ExplainedCohort, cohort: Cohort) -> None:
    told = {(r.record_id, r.part): r.kind for r in explained.excluded.itertuples()}
    assert told == {
        (cohort.record_ids[2], "preparing"): "flat_lead",
        (cohort.record_ids[5], "shapley"): "no_beats",
    }
    assert len(explained) == 17
    assert len(list(explained.each("MI", "shapley"))) == 16
    with pytest.raises(InputError, match="excluded"):
        explained.explanation(cohort.record_ids[5], "MI", "shapley")
    assert explained.explanation(cohort.record_ids[5], "MI", "saliency").values.any()


def test_any_order_gives_the_same_bytes(explained: ExplainedCohort, cohort: Cohort, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(len(cohort))
    methods = find_methods(METHODS, FASTER)
    explain_cohort(network(), cohort.take(order), ["all", "MI - NORM"], methods, tmp_path / "run")
    assert bytes_of(tmp_path / "run") == bytes_of(explained.run.folder)


KILLED = """
import os, signal, sys
from ecglens.runs.rows import RowFile
import test_explained_cohort as t
from ecglens.simulation.cohort import simulate_cohort
from dataclasses import replace
cohort = simulate_cohort(66, classes=("NORM", "IMI", "CLBBB")).take(range(20))
write, left = RowFile.write, [int(sys.argv[2])]
def killing(self, row, values):
    left[0] -= 1
    if left[0] == 0:
        os.pwrite(self._handle, b"half", len(self._header) + row * values.nbytes)  # what a kill amid writing may leave
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, row, values)
RowFile.write = killing
t.explain_cohort(t.network(), cohort, ["MI"], t.find_methods("saliency,energy"), sys.argv[1], resume=True)
"""


def test_a_kill_at_any_moment_changes_no_byte(small_cohort: Cohort, tmp_path: Path) -> None:
    cohort, methods = small_cohort.take(range(20)), find_methods("saliency,energy")
    explain_cohort(network(), cohort, ["MI"], methods, tmp_path / "whole")
    for writes in ("1", "70"):  # before anything is finished, and in the second block
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "killed"), writes], cwd=Path(__file__).parent, timeout=100
        )
        assert child.returncode == -signal.SIGKILL
    with Journal(tmp_path / "killed" / "journal.sqlite") as journal:
        assert journal.keys("block") == {"000000000"}
    with pytest.raises(InputError, match="not finished"):
        ExplainedCohort.open(tmp_path / "killed")
    said: list[tuple[int, int, str]] = []
    explain_cohort(
        network(), cohort, ["MI"], methods, tmp_path / "killed", resume=True,
        progress=lambda _, done, total, note: said.append((done, total, note)),
    )  # fmt: skip
    assert said == [(4, 4, "16 done before")]
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    before = bytes_of(tmp_path / "killed")
    explain_cohort(network(), cohort, ["MI"], methods, tmp_path / "killed", resume=True)  # finished: nothing to do
    assert bytes_of(tmp_path / "killed") == before


def test_another_run_is_not_resumed(explained: ExplainedCohort, cohort: Cohort) -> None:
    folder, methods = explained.run.folder, find_methods(METHODS, FASTER)
    targets = ["all", "MI - NORM"]
    for change in (
        lambda: explain_cohort(network(4), cohort, targets, methods, folder, resume=True),
        lambda: explain_cohort(network(), cohort, ["MI"], methods, folder, resume=True),
        lambda: explain_cohort(network(), cohort, targets, methods[:1], folder, resume=True),
        lambda: explain_cohort(network(), cohort, targets, find_methods(METHODS), folder, resume=True),
        lambda: explain_cohort(network(), cohort.take(range(17)), targets, methods, folder, resume=True),
    ):
        with pytest.raises(ContractError, match="resumed"):
            change()
    with pytest.raises(UsageError, match="--resume"):
        explain_cohort(network(), cohort, targets, methods, folder)


def test_patients_the_bundle_has_seen(tiny_bundle: Bundle, small_cohort: Cohort, tmp_path: Path) -> None:
    saliency = find_methods("saliency")
    with pytest.raises(LeakError):
        explain_cohort(tiny_bundle, small_cohort, ["MI"], saliency, tmp_path / "a")
    strangers = small_cohort.where(fold=10)
    seen = replace(small_cohort[0], record_id=strangers.record_ids[0])  # the recording under another name
    disguised = replace(strangers, records=[seen, *list(strangers.records)[1:]])
    found = explain_cohort(tiny_bundle, disguised, ["MI"], saliency, tmp_path / "b")
    assert found.excluded["kind"].tolist() == ["leak"]
    assert not (tmp_path / "a").exists()


def test_longer_records_are_left_out(small_cohort: Cohort, tmp_path: Path) -> None:
    ecgs = [small_cohort[i] for i in range(3)]
    ecgs[1] = replace(ecgs[1], signal=np.concatenate([ecgs[1].signal] * 2, axis=1))
    mixed = replace(small_cohort.take(range(3)), records=ecgs)
    found = explain_cohort(network(), mixed, ["MI"], find_methods("saliency"), tmp_path / "run")
    assert found.excluded["kind"].tolist() == ["too_long"]
    assert len(found) == 2


def test_nothing_to_explain(small_cohort: Cohort, tmp_path: Path) -> None:
    flat = small_cohort.take([0]).map(lambda ecg: replace(ecg, signal=np.zeros_like(ecg.signal)))
    with pytest.raises(InputError, match="none of 1 explained"):
        explain_cohort(network(), flat, ["MI"], find_methods("saliency"), tmp_path / "run")


def test_halves_keep_three_digits_whatever_the_size() -> None:
    values = np.random.default_rng(0).normal(size=(4, 12, 50)) * np.array([1e-30, 1e-6, 1.0, 1e20])[:, None, None]
    halves, scale = to_half(values.astype(np.float32))
    assert (np.log2(scale.astype(float)) % 1 == 0).all()
    assert ((np.abs(halves).max(axis=(1, 2)) > 0.49) & (np.abs(halves).max(axis=(1, 2)) <= 1)).all()
    back = halves.astype(np.float32) * scale[:, None, None]
    largest = np.abs(values).max(axis=(1, 2), keepdims=True)
    assert (np.abs(back - values) / largest).max() < 2**-11
    assert to_half(np.zeros((1, 12, 5)))[1].tolist() == [1.0]


# --- per class -------------------------------------------------------------------------------------------------------


def test_mean_shares_count_patients_not_records(explained: ExplainedCohort) -> None:
    table = explained.mean_shares("MI", "saliency", explained.with_label("MI"), n_resamples=400)
    names = explained.with_label("MI")
    own = explained.shares("MI", "saliency").loc[names]
    assert table["lead"].tolist() == list(own.columns)
    np.testing.assert_allclose(table["mean"], own.mean(axis=0))
    np.testing.assert_allclose(table["median"], own.median(axis=0))
    assert table["mean"].sum() == pytest.approx(1)
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()
    assert (table["n"] == len(names)).all()
    alone = explained.mean_shares("MI", "saliency", names[:1])
    assert alone[["low", "high"]].isna().all(axis=None)
    # the same record many times is one patient still: the interval does not shrink
    doubled = replace(explained, records=explained.records.assign(patient="one person"))
    assert doubled.mean_shares("MI", "saliency", names)["low"].isna().all()


def test_what_was_not_asked_for(explained: ExplainedCohort) -> None:
    assert set(explained.called("MI")) | set(explained.called("MI", 0)) == set(explained.records.index)
    for ask in (
        lambda: explained.shares("STTC", "saliency"), lambda: explained.shares("MI", "lrp"),
        lambda: explained.with_label("STTC"),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            ask()
    with pytest.raises(InputError):
        explained.mean_shares("MI", "saliency", [])


# --- families --------------------------------------------------------------------------------------------------------


def test_each_record_by_the_bundle_that_has_not_seen_its_patient(small_cohort: Cohort, tmp_path: Path) -> None:
    """Two bundles, each marked as trained on the other fold's people: any other choice would be refused as a leak."""
    cohort = small_cohort.take(range(12))
    people = sorted(set(cohort.patient_keys))  # type: ignore[type-var]
    folds = {
        record: 1 + people.index(key) % 2 for record, key in zip(cohort.record_ids, cohort.patient_keys, strict=True)
    }
    run = Run.create(tmp_path / "family", "train", {}, 0)
    bundles = {}
    for fold in (1, 2):
        seen = [key for key, own in zip(cohort.patient_keys, folds.values(), strict=True) if own != fold]
        bundles[fold] = replace(network(fold), trained_on=TrainedOn.of("salt", train=(seen, [])))
        bundles[fold].save(run.bundle_folder(f"fold-{fold}"))
    run.note(bundles={"fold-1": "", "fold-2": ""}, data={"name": cohort.name}, folds=folds)
    found = explain_family(run, cohort, ["MI"], find_methods("saliency"), tmp_path / "maps")
    assert len(found) == 12
    for k in (0, 1, 6, 11):
        expected = explain(bundles[folds[cohort.record_ids[k]]], cohort[k], ["MI"])[0]
        own = found.explanation(cohort.record_ids[k], "MI", "saliency")
        np.testing.assert_allclose(own.values, expected.values, atol=2**-10 * np.abs(expected.values).max())
        assert found.records.loc[cohort.record_ids[k], "fold"] == folds[cohort.record_ids[k]]
    with pytest.raises(LeakError):
        explain_cohort(bundles[1], cohort, ["MI"], find_methods("saliency"), tmp_path / "all")
