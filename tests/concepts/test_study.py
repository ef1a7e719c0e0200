# SPDX-License-Identifier: Apache-2.0
"""The whole way, on a network whose use of a concept is built in; the verb; and what cannot be asked about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.concepts.answers import Directions
from ecglens.concepts.definition import Concept
from ecglens.concepts.result import ConceptTest
from ecglens.concepts.study import foresee, study_concepts
from ecglens.concepts.verdict import verdict_of
from ecglens.ecg import ECG
from ecglens.errors import ContractError, InputError, UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.family import folds_of
from ecglens.preprocessing.windows import Windows
from ecglens.reporting.concepts import concepts_report
from ecglens.reporting.html import render
from ecglens.runs.files import write_json
from ecglens.runs.run import Run
from ecglens.training.recipes import PREPROCESSING

N = 120
Cli = Callable[..., tuple[int, dict[str, Any], str]]


class Powers(nn.Module):
    """Squares of each lead, then a head that reads V1 for UP, against DOWN, and not V6."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Square()])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Linear(12, 2, bias=False)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[0, STANDARD_LEADS.index("V1")] = 1.0
            self.head.weight[1, STANDARD_LEADS.index("V1")] = -1.0

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.blocks[0](signal)))


class Square(nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal**2


@pytest.fixture(scope="module")
def world() -> tuple[Cohort, Bundle, dict[str, frozenset[str]]]:
    """Noise in 12 leads; V1 is louder where `loud` says so, V6 where `other` says so, independently of each other."""
    generator = np.random.default_rng(0)
    names = [f"r{k:03d}" for k in range(N)]
    loud, other = np.arange(N) % 2 == 0, np.arange(N) % 4 < 2
    ecgs = []
    for k, name in enumerate(names):
        signal = generator.standard_normal((12, 1000)).astype(np.float32)
        signal[STANDARD_LEADS.index("V1")] *= 1.5 if loud[k] else 1.0
        signal[STANDARD_LEADS.index("V6")] *= 1.5 if other[k] else 1.0
        ecgs.append(ECG(signal, 100.0, STANDARD_LEADS, name))
    labels = pd.DataFrame({"UP": 0.0 + (generator.random(N) < 0.5), "DOWN": 0.0 + (generator.random(N) < 0.5)},
                          index=names)  # fmt: skip
    metadata = pd.DataFrame({"patient_id": [f"p{k}" for k in range(N)]}, index=names)
    preprocessing = replace(PREPROCESSING, record_steps=(), windows=Windows(500, 250))
    bundle = Bundle(Powers(), (Output("UP", "multilabel"), Output("DOWN", "multilabel")), preprocessing, 100.0)
    lists = {"loud": loud, "other": other, "chance": generator.random(N) < 0.5}
    return (
        Cohort("world", ecgs, labels, metadata, "drawn"), bundle,
        {name: frozenset(np.array(names)[has]) for name, has in lists.items()},
    )  # fmt: skip


@pytest.mark.parametrize(("fit", "steps"), [("closed", "mean"), ("sgd", "mean")])
def test_what_is_read_is_found_with_its_sign_and_nothing_else(world, tmp_path: Path, fit: str, steps: str) -> None:
    cohort, bundle, lists = world
    concepts = [Concept(name, name, records=records) for name, records in lists.items()]
    how = Directions(fit=fit, steps=steps, n_cavs=4)
    found = study_concepts(bundle, cohort, concepts, tmp_path / "run", layers=["block-1"], how=how, n_random=400)
    cells = found.cells.set_index(["concept", "class"])
    assert cells.loc[("loud", "UP"), "verdict"] == "uses it for", cells.loc[("loud", "UP")].to_dict()
    assert cells.loc[("loud", "DOWN"), "verdict"] == "uses it against"
    assert cells.loc[("loud", "UP"), "score"] == 1
    assert cells.loc[("loud", "DOWN"), "score"] == 0
    assert cells.loc[("loud", "UP"), "accuracy"] > 0.95
    assert (cells.loc["chance", "verdict"] == "cannot tell").all()
    assert cells.loc["chance", "reason"].str.contains("does not show it").all()
    assert (cells.loc["other", "verdict"] == "cannot tell").all()  # the layer holds it, the head reads it not
    assert (cells.loc["other", "accuracy"] > 0.9).all()
    assert found.about["n"] == found.about["n_patients"] == N


def test_a_run_that_was_cut_off_ends_with_the_same_cells(world, tmp_path: Path) -> None:
    cohort, bundle, lists = world
    concepts = [Concept("loud", "loud", records=lists["loud"])]
    asked: dict[str, Any] = {"layers": ["pool"], "how": Directions(n_cavs=2), "n_random": 200}
    whole = study_concepts(bundle, cohort, concepts, tmp_path / "a", **asked)

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if stage == "asking networks":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study_concepts(bundle, cohort, concepts, tmp_path / "b", **asked, progress=stop)
    with pytest.raises(InputError):
        ConceptTest.open(tmp_path / "b")
    with pytest.raises(UsageError):
        study_concepts(bundle, cohort, concepts, tmp_path / "b", **asked)
    again = study_concepts(bundle, cohort, concepts, tmp_path / "b", **asked, resume=True)
    assert again.about == whole.about == ConceptTest.open(tmp_path / "b").about
    page = render(concepts_report(again))
    assert page.index("What goes along with what") < page.index("Verdicts")
    assert "120 records of 120 patients" in page


def test_what_cannot_be_asked_is_left_out_with_counts(world, tmp_path: Path) -> None:
    cohort, bundle, lists = world
    label = frozenset(cohort.labels.index[cohort.labels["UP"] == 1])
    opposite = frozenset(cohort.labels.index[cohort.labels["UP"] == 0])
    few = frozenset(list(cohort.record_ids)[:19])
    near = label - {min(label)}
    given = {"none": frozenset(), "label": label, "opposite": opposite, "few": few, "loud": lists["loud"], "near": near}
    concepts = [Concept(name, name, records=records) for name, records in given.items()]
    how = Directions(n_cavs=2)
    found = study_concepts(bundle, cohort, concepts, tmp_path / "a", layers=["pool"], how=how, n_random=100)
    told = {one["name"]: (one["kind"], one["reason"]) for one in found.about["left_out"]}
    assert {name: kind for name, (kind, _) in told.items()} == {
        "none": "empty_concept", "label": "concept_is_label", "opposite": "concept_is_label", "few": "too_few",
    }  # fmt: skip
    assert "19 records of 19 patients" in told["few"][1]
    (warning,) = [words for words in found.about["warnings"] if "Matthews" in words]
    assert warning.startswith("near nearly is UP (Matthews' correlation 0.9")
    with pytest.raises(InputError) as refused:
        study_concepts(bundle, cohort, concepts[:4], tmp_path / "b", layers=["pool"], how=how)
    assert refused.value.kind == "no_concepts"
    people = cohort.metadata.assign(patient_id=[f"p{k % 9}" for k in range(N)])
    crowd = replace(cohort, metadata=people)
    with pytest.raises(InputError, match="of 9 patients"):
        study_concepts(bundle, crowd, concepts[4:], tmp_path / "c", layers=["pool"], how=how)


def test_a_family_of_which_any_network_is_another_one_is_not_gone_on_with(world, tmp_path: Path) -> None:
    cohort, _, lists = world
    outputs = (Output("UP", "multilabel"), Output("DOWN", "multilabel"))
    about = {"schema": 1, "verb": "train", "bundles": {"fold-1": "", "fold-2": ""}, "data": {"name": cohort.name},
             "folds": {name: 1 + k % 2 for k, name in enumerate(cohort.record_ids)}}  # fmt: skip
    family = Run(tmp_path / "family")
    write_json(family.folder / "run.json", about)

    def save(name: str, seed: int) -> None:
        network = initialized(LeNet, {"n_outputs": 2}, seed)
        Bundle(network, outputs, PREPROCESSING, 100.0, "LeNet", {"n_outputs": 2}).save(family.bundle_folder(name))

    for seed, name in enumerate(("final", "fold-1", "fold-2")):
        save(name, seed)
    folds = folds_of(family.folder, cohort)
    assert folds is not None
    concepts = [Concept("loud", "loud", records=lists["loud"])]

    def stop(*_: object) -> None:
        raise TimeoutError

    def go_on(**options: Any) -> None:
        study_concepts(family, folds, concepts, tmp_path / "run", layers=["pool"], progress=stop, **options)

    with pytest.raises(TimeoutError):
        go_on()
    with pytest.raises(TimeoutError):  # the same networks: it goes on
        go_on(resume=True)
    save("fold-2", 7)
    with pytest.raises(ContractError, match="weights_sha256"):
        go_on(resume=True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"accuracy": 0.7}, "accuracy 0.70"), ({"low": 0.7, "high": 0.95}, "IQR 0.25"),
        ({"low": 0.4, "high": 0.5}, "0.5 lies within"), ({"p": 0.05}, "p = 0.05"), ({"effect": -1.0}, "mean slope"),
        ({"score": float("nan")}, "too few"),
    ],
)  # fmt: skip
def test_each_gate_can_close(changed: dict[str, float], words: str) -> None:
    open_gates = {"score": 0.9, "low": 0.8, "high": 1.0, "accuracy": 0.71, "effect": 1.0, "p": 0.049}
    assert verdict_of(**open_gates) == ("uses it for", "")
    assert verdict_of(**open_gates | {"low": 0.0, "high": 0.2, "effect": -1.0})[0] == "uses it against"
    verdict, reason = verdict_of(**open_gates | changed)
    assert verdict == "cannot tell"
    assert words in reason


def test_too_few_random_groups_are_said_and_give_no_verdict(world, tmp_path: Path) -> None:
    """Six tests of a concept: 1 / (N + 1), times six, is below 0.05 from N = 120 on, where the verdict is found."""
    cohort, bundle, lists = world
    concepts = [Concept("loud", "loud", records=lists["loud"])]
    asked: dict[str, Any] = {"layers": ["input", "block-1", "pool"], "how": Directions(n_cavs=2)}
    for n_random, enough in ((119, False), (120, True)):
        found = study_concepts(bundle, cohort, concepts, tmp_path / f"{n_random}", **asked, n_random=n_random)
        said = foresee(bundle, cohort, layers=asked["layers"], n_random=n_random)
        assert found.about["warnings"] == said
        assert len(said) == (not enough)
        told = found.cells[found.cells["layer"] == "block-1"]
        assert told["p_single"].tolist() == [1 / (n_random + 1)] * 2  # no random group does as much
        assert (told["verdict"] == "cannot tell").all() == (not enough)
        page = render(concepts_report(found))
        assert ("No verdict can come of this" in page) == (not enough)
        if not enough:
            assert told["reason"].str.startswith("too few random groups: 119 for 6 tests").all()
            assert "needs 120 or more" in said[0]
    half = np.arange(N) < 100  # the rest has too few records of each class: nothing to test, nothing to warn of
    assert foresee(bundle, cohort, layers=asked["layers"], n_random=100, fit=half) == []


def test_the_verb(cli: Cli, data_folder: Path, trained, small_cohort: Cohort, tmp_path: Path) -> None:
    bundle = Bundle.load(trained.run.bundle_folder())
    stranger = tmp_path / "bundle"
    replace(bundle, trained_on=type(bundle.trained_on)()).save(stranger)  # so that all 66 records may be scored
    file = tmp_path / "concepts.toml"
    some = [f"{name}.hea" for name in small_cohort.record_ids[::2]]
    file.write_text(f'schema = 1\n[concepts.half]\nrecords = {json.dumps(some)}\n[concepts.old]\nrule = "age > 55"\n')
    out = tmp_path / "run"
    command = ["test-concepts", stranger, "--data", data_folder, "--fold", "all", "--concepts", file, "--cavs", 2]
    code, told, err = cli(*command, "--random", 100, "--layers", "pool,head-1", "--out", out)
    assert code in (0, 7), err
    assert err.startswith("No verdict can come of this: too few random groups: 100 for 6 tests of a concept"), err
    assert told["warnings"] == [err.splitlines()[0]]
    assert {cell["layer"] for cell in told["cells"]} == {"pool", "head-1"}
    keys = {"layer", "class", "concept", "score", "iqr", "accuracy", "p", "verdict", "reason", "n", "n_patients"}
    assert all(keys <= set(cell) for cell in told["cells"])
    assert (told["n"], told["n_patients"], told["fold"]) == (66, small_cohort.n_patients, "all")
    for name in ("concepts.html", "concepts.json", "tables/cells.csv", "tables/association.csv", "tables/values.csv"):
        assert (out / name).exists()
    assert cli(*command, "--random", 100, "--layers", "pool,head-1", "--out", out, "--resume")[0] == code
    for wrong, expected in (
        (["--layers", "roof"], 2), (["--fit", "svm"], 2), (["--steps", "none"], 2), (["--cavs", 1], 2),
        (["--random", 1], 2), (["--fit-fold", "3"], 2), (["--fold", "77"], 2), (["--concepts", tmp_path / "no"], 3),
        (["--values", tmp_path / "no.csv"], 3),
    ):  # fmt: skip
        code, told, _ = cli(*command, *wrong, "--out", tmp_path / "wrong")
        assert (code, "error" in told) == (expected, True), wrong
        assert not (tmp_path / "wrong" / "concepts.json").exists()
    assert cli("test-concepts", trained.run.folder, *command[2:], "--out", tmp_path / "leak")[0] == 6
