# SPDX-License-Identifier: Apache-2.0
"""The shipped bundles: each loads, fits into a wheel, credits its data, and works on a simulated ECG."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecglens.bundle import PRETRAINED, Bundle
from ecglens.errors import InputError
from ecglens.explainers.explain import explain
from ecglens.prediction.predict import predict
from ecglens.simulation.cohort import simulate_ecg

SUPER = ("NORM", "MI", "STTC", "CD", "HYP")
SUB = ("NORM", "IMI", "AMI", "LVH", "CLBBB", "CRBBB", "STTC")  # some of its classes
NOTICE = Path(__file__).parents[1] / "NOTICE"


@pytest.fixture(scope="module", params=["pretrained", "pretrained:ecgnet", "pretrained:sub"])
def pretrained(request: pytest.FixtureRequest) -> Bundle:
    return Bundle.load(request.param)


def test_named_after_its_folder(pretrained: Bundle) -> None:
    """A name that is no folder's is refused, with the names there are."""
    assert (PRETRAINED / pretrained.name / "weights.safetensors").exists()
    with pytest.raises(InputError, match="pretrained, pretrained:ecgnet, pretrained:sub"):
        Bundle.load("pretrained:nothing")


def test_classes_and_decisions(pretrained: Bundle) -> None:
    if pretrained.name == "sub":
        assert set(SUB) < set(pretrained.classes)
        assert not {"PMI", "WPW", "SEHYP"} & set(pretrained.classes)  # a handful of patients
        assert "fewer than 20 training patients" in pretrained.label_rule
    else:
        assert pretrained.classes == SUPER
    assert all(output.kind == "multilabel" for output in pretrained.outputs)
    assert all(threshold is not None and 0 < threshold < 1 for threshold in pretrained.thresholds)
    assert len(pretrained.preprocessing.leads) == 12


def test_predicts_and_explains_a_simulated_ecg(pretrained: Bundle) -> None:
    for condition in ("NORM", "IMI", "CLBBB"):
        ecg = simulate_ecg(f"sim-{condition}", condition).ecg
        prediction = predict(pretrained, ecg)
        assert tuple(prediction.probabilities) == pretrained.classes
        assert all(0 <= p <= 1 for p in prediction.probabilities.values())
        assert set(prediction.decisions) == set(pretrained.classes)
    block = "CLBBB" if pretrained.name == "sub" else "CD"
    assert abs(explain(pretrained, ecg, [block])[0].values).max() > 0


def test_a_block_looks_more_like_a_block_than_a_normal_ecg(pretrained: Bundle) -> None:
    """A complete left bundle branch block is the one lesion that no reader overlooks."""
    name = "CLBBB" if pretrained.name == "sub" else "CD"
    block, normal = (
        [predict(pretrained, simulate_ecg(f"s{k}", c, seed=k).ecg).probabilities[name] for k in range(5)]
        for c in ("CLBBB", "NORM")
    )
    assert sorted(block)[2] > sorted(normal)[2]


def test_small_enough_to_ship() -> None:
    for folder in PRETRAINED.glob("*/"):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size < 5_000_000, folder


def test_knows_whom_it_has_seen(pretrained: Bundle) -> None:
    for role, least in (("train", 1000), ("valid", 100)):
        assert len(pretrained.trained_on.patients[role]) > least
        assert len(pretrained.trained_on.recordings[role]) > least
    assert not set(pretrained.trained_on.patients["train"]) & set(pretrained.trained_on.patients["valid"])


def test_credits_its_data(pretrained: Bundle) -> None:
    notice = NOTICE.read_text()
    assert f"src/ecglens/weights/{pretrained.name}" in notice
    for text in (notice, pretrained.attribution, pretrained.card):
        for words in ("PTB-XL", "Wagner", "CC BY 4.0", "10.13026/kfzx-aw45"):
            assert words in text, words
    assert "not a medical device" in pretrained.card
    assert pretrained.label_rule
    assert (NOTICE.parent / "recipes" / "pretrained.py").exists()
