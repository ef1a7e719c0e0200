# SPDX-License-Identifier: Apache-2.0
"""The audit is audited: what is known to be right passes, what is known to be wrong fails for the known reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecglens import Attribution, Bundle, Output, Run
from ecglens.auditing import attention, regression, work
from ecglens.auditing.audit import Audit, audit
from ecglens.auditing.verdicts import find_verdicts, read_audits
from ecglens.auditing.work import Size
from ecglens.errors import ContractError, LeakError
from ecglens.explainers.methods import EXPLAINERS, Method
from ecglens.models.lenet import initialized
from ecglens.models.registry import ARCHITECTURES
from ecglens.preprocessing.pipeline import Admission, Preprocessing, Resample, Standardize
from ecglens.preprocessing.windows import Windows
from ecglens.reporting.audit import audit_report
from ecglens.reporting.html import render

TINY = Size(simulated=60, measured=40, cases=6, redrawn=6, stable=3, regressed=6, seeds=2, epochs=1)


@pytest.fixture(scope="module")
def audited(learnt, planted_methods, deciding, size, tmp_path_factory) -> Audit:
    with pytest.MonkeyPatch.context() as patch:
        # Few records and epochs, so that tests stay quick: a P wave is then read less well than a real audit wants.
        patch.setattr(regression, "TWIN_MEASURES", 0.1)
        where = tmp_path_factory.mktemp("audit") / "run"
        return audit(learnt, where, methods=planted_methods, tests=deciding, size=size)


def test_the_simulators_own_evidence_passes(audited):
    told = audited.verdicts["oracle"]
    assert (told.verdict, audited.default_method) == ("passes", "oracle"), told.reason


def test_the_energy_of_the_signal_fails_since_it_is_no_better_than_itself_and_knows_no_weights(audited):
    told = audited.verdicts["energy"]
    assert told.verdict == "fails"
    assert told.tests["planted"].value == pytest.approx(0.0)
    assert told.tests["planted"].passed is told.tests["randomization"].passed is False
    assert told.tests["randomization"].value == 1.0


def test_an_edge_detector_fails_since_it_does_not_depend_on_the_weights(audited):
    told = audited.verdicts["edges"]
    assert (told.verdict, told.tests["randomization"].value) == ("fails", 1.0)


def test_a_constant_map_fails_everything(audited):
    told = audited.verdicts["constant"]
    assert told.verdict == "fails"
    assert [told.tests[name].passed for name in ("planted", "deletion", "randomization", "temporal")] == [False] * 4
    truth = told.tests["planted_rank"]
    assert truth.value == pytest.approx(truth.chance)


def test_guided_backprop_of_other_weights_fails_since_it_is_a_picture_of_the_ecg(audited):
    told = audited.verdicts["guided_of_a_stranger"]
    assert told.verdict == "fails"
    assert told.tests["randomization"].value == pytest.approx(1.0)
    assert "randomization" in told.reason


def test_a_network_with_random_weights_passes_nothing(ignorant, planted_methods, deciding, size, tmp_path):
    methods = planted_methods | {name: EXPLAINERS[name] for name in ("saliency", "gradient_x_input", "lrp")}
    quick = [test for test in deciding if test.name in ("deletion", "randomization")]
    found = audit(ignorant, tmp_path / "run", methods=methods, tests=quick, size=size)
    assert {told.verdict for told in found.verdicts.values()} == {"not tested"}
    assert all("macro AUROC" in told.reason for told in found.verdicts.values())
    assert found.default_method is None


# -------------------------------------------------------------------------------------------------- files, page, resume


def test_the_json_is_the_contract(audited):
    told = json.loads((audited.run.folder / "audit.json").read_text())
    assert told["schema"] == 1
    found = told["audits"][audited.weights_sha256]
    assert set(found) == {"bundle", "weights_sha256", "methods", "default_method"}
    for method in found["methods"].values():
        assert set(method) == {"verdict", "reason", "tests"}
        assert method["verdict"] in ("passes", "fails", "not tested")
        for test in method["tests"].values():
            assert set(test) == {"on", "value", "low", "high", "chance", "threshold", "passed", "n"}
            assert test["on"] in ("weights", "twins")
    assert read_audits(audited.run.folder / "audit.json")[audited.weights_sha256] == found
    assert find_verdicts(audited.weights_sha256, audited.run.folder)["oracle"] == "passes"
    assert find_verdicts("0" * 64, audited.run.folder)["oracle"] == "not tested"


def test_the_page_begins_with_the_table_and_ends_with_limits_and_counts(audited):
    page = audit_report(audited.run)
    titles = [section.title for section in page.sections]
    assert (titles[0], titles[-2:]) == ("Verdicts", ["What this audit cannot show", "Data and counts"])
    table = page.sections[0].tables[0]
    assert table.rows[0][:2] == ("oracle", "passes")
    assert {row[0] for row in table.rows} >= {"passes when", "chance", *audited.verdicts}
    assert page.sections[0].conclusion == "oracle passes; use oracle on this model."
    text = render(page)
    assert text.count("<img ") >= 7
    assert "<script" not in text
    assert "N = " in text


class Stop(BaseException):
    """As a kill would come: no Exception."""


def test_an_audit_that_is_cut_off_goes_on_with_the_same_result(learnt, deciding, tmp_path):
    quick = [test for test in deciding if test.name in ("deletion", "randomization")]
    few, calls = Size(simulated=60, cases=6, redrawn=6), []

    def once(network, batch, targets):
        calls.append(1)
        if len(calls) == 1:
            raise Stop
        return EXPLAINERS["energy"].explainer(network, batch, targets)

    methods = {"saliency": EXPLAINERS["saliency"], "energy": Method(once, "nothing of the network")}
    with pytest.raises(Stop):
        audit(learnt, tmp_path / "cut", methods=methods, tests=quick, size=few)
    resumed = audit(learnt, tmp_path / "cut", methods=methods, tests=quick, size=few, resume=True)
    methods["energy"] = EXPLAINERS["energy"]
    whole = audit(learnt, tmp_path / "whole", methods=methods, tests=quick, size=few)
    assert resumed.as_dict() == whole.as_dict()
    with pytest.raises(ContractError):
        audit(learnt, tmp_path / "cut", methods=methods, tests=quick, size=TINY, resume=True)


# ------------------------------------------------------------------------------------------------------------ bad input


def test_a_method_that_raises_leaves_its_own_cells_with_the_reason(learnt, deciding, tmp_path):
    def broken(network, batch, targets) -> Attribution:
        raise ZeroDivisionError("no such thing")

    quick = [test for test in deciding if test.name in ("deletion", "randomization")]
    methods = {"broken": Method(broken, "nothing"), "energy": EXPLAINERS["energy"]}
    few = Size(simulated=60, cases=6, redrawn=6)
    found = audit(learnt, tmp_path / "run", methods=methods, tests=quick, size=few).verdicts
    assert found["broken"].verdict == "not tested"
    assert "ZeroDivisionError: no such thing" in found["broken"].reason
    assert found["energy"].tests["randomization"].value == 1.0
    assert "ZeroDivisionError" in render(audit_report(Run(tmp_path / "run")))


def test_without_classes_that_can_be_simulated_the_weights_are_not_tested_and_twins_are(learnt, tmp_path):
    stranger = Bundle(learnt.network, tuple(Output(f"class {k}") for k in range(5)), learnt.preprocessing, 100.0,
                      learnt.architecture, learnt.arguments, "stranger")  # fmt: skip
    found = audit(stranger, tmp_path / "run", methods={"energy": EXPLAINERS["energy"]}, size=TINY)
    told = found.verdicts["energy"]
    assert told.verdict == "not tested"
    assert "allowed: NORM, MI" in told.tests["deletion"].reason
    assert "macro AUROC" in told.tests["planted"].reason  # one epoch teaches nothing, and the cell says so
    assert "unlearnable" in told.tests["temporal"].reason
    assert "Not tested" in render(audit_report(found.run))


def test_a_network_that_cannot_be_built_anew_has_no_twins(learnt, deciding, tmp_path):
    own = Bundle(learnt.network, learnt.outputs, learnt.preprocessing, 100.0)
    found = audit(own, tmp_path / "run", methods={"energy": EXPLAINERS["energy"]}, tests=deciding,
                  size=Size(simulated=60, measured=40, cases=6, redrawn=6))  # fmt: skip
    told = found.verdicts["energy"].tests
    assert told["randomization"].value == 1.0
    assert "registry" in told["planted"].reason


def test_one_class_alone_and_nobody_without_it_is_a_reason_in_the_cells(learnt, deciding, small_cohort, tmp_path):
    mine = small_cohort.where(small_cohort.labels["MI"].to_numpy() == 1)
    one = Bundle(learnt.network, learnt.outputs, learnt.preprocessing, 100.0, "LeNet", learnt.arguments)
    labels = mine.labels.reindex(columns=list(learnt.classes), fill_value=0.0)
    quick = [test for test in deciding if test.name == "deletion"]
    found = audit(one, tmp_path / "run", data=replace(mine, labels=labels), tests=quick, size=TINY,
                  methods={"energy": EXPLAINERS["energy"]})  # fmt: skip
    assert "no class that some have and some have not" in found.verdicts["energy"].reason


def test_a_bundles_own_patients_are_refused(trained, small_cohort, deciding, tmp_path):
    with pytest.raises(LeakError, match="trained this bundle"):
        audit(trained.bundle, tmp_path / "run", data=small_cohort, tests=deciding, size=TINY)


def test_methods_that_the_linter_refuses_are_told(learnt, tmp_path):
    found = audit(learnt, tmp_path / "run", tests=[], size=TINY)
    assert found.verdicts["attention"].reason == (
        "refused on this network: no attention over leads and time, as ECGNet has, and no class token, as TransECG"
    )
    assert set(found.verdicts) == set(EXPLAINERS)
    assert np.all([told.verdict == "not tested" for told in found.verdicts.values()])
    assert Path(found.run.folder / "audit.json").exists()


def test_attention_is_put_to_its_tests_and_found_exchangeable_where_it_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "KNOWS_ITS_TASK", 0.0)  # what attention does can be seen on a network that knows nothing
    arguments = {"n_leads": 12, "n_outputs": 5, "widths": [4, 4, 8], "hidden": 8, "lead_embedding": True}
    network = initialized(ARCHITECTURES["ECGNet"], arguments, 0)
    with torch.no_grad():
        network.temporal_attention.score[2].weight.zero_()  # even weights over time, whatever is seen
        network.lead_attention.score[2].weight.zero_()
    prepare = Preprocessing(Admission(), (Resample(100.0), Standardize()), Windows(500, 500))
    classes = tuple(map(Output, ("NORM", "MI", "STTC", "CD", "HYP")))
    even = Bundle(network, classes, prepare, 100.0, "ECGNet", arguments)
    found = audit(even, tmp_path / "run", methods={"attention": EXPLAINERS["attention"]}, tests=attention.TESTS,
                  size=Size(simulated=40, cases=15))  # fmt: skip
    tests = found.verdicts["attention"].tests
    assert set(tests) == set(attention.TESTS[0].figures)
    assert tests["attention_uniform"].value == pytest.approx(0.0, abs=1e-4)  # it was even before
    assert tests["attention_permuted"].value == pytest.approx(0.0, abs=1e-4)
    assert 0.05 < tests["attention_adversarial"].value <= np.log(2)  # another attention says the same
    assert 0.0 <= tests["attention_violation"].value <= 1.0
    assert found.verdicts["attention"].verdict == "not tested"  # these figures do not decide
    assert "Whether the answer hangs" in render(audit_report(found.run))
