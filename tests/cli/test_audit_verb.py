# SPDX-License-Identifier: Apache-2.0
"""`ecglens audit`, and what `ecglens explain` makes of its verdicts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ecglens import Bundle
from ecglens.auditing import work
from ecglens.auditing.verdict import FEWEST_PATIENTS, TestResult, decide, judge, rule_of
from ecglens.auditing.verdicts import SHIPPED, find_verdicts, read_audits, write_audit
from ecglens.auditing.work import Size
from ecglens.cli.app import run
from ecglens.errors import FormatError
from ecglens.explainers.explained import ExplainedCohort
from ecglens.reporting.explained_cohort import explained_cohort_report


@pytest.fixture
def ecg(data_folder) -> Path:
    return next(iter(sorted(data_folder.glob("*.hea"))))


def verdicts(bundle: Bundle, default: str | None = "smoothgrad", **of: str) -> dict:
    methods = {name: {"verdict": told, "reason": f"{told} here", "tests": {}} for name, told in of.items()}
    return {"bundle": "b", "weights_sha256": bundle.weights_sha256, "methods": methods, "default_method": default}


@pytest.fixture
def audited(tiny_bundle, tmp_path) -> Path:
    write_audit(tmp_path / "audit.json", verdicts(tiny_bundle, "energy", saliency="fails", energy="passes"))
    return tmp_path / "audit.json"


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_method_that_failed_is_refused_and_drawn_stamped_only_on_demand(tiny_folder, ecg, audited, tmp_path, capsys):
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--audit", str(audited), "--target", "MI", "--json"]
    assert run([*call, "--method", "saliency", "--out", str(tmp_path / "a")]) == 4
    refused = told(capsys)["error"]
    assert refused["kind"] == "failed_audit"
    assert "energy" in refused["message"]
    assert not list((tmp_path / "a").glob("*.png"))
    assert run([*call, "--method", "saliency", "--even-if-failed", "--out", str(tmp_path / "b")]) == 0
    found = told(capsys)["explanations"]
    assert [entry["verdict"] for entry in found] == ["fails"]
    assert "failed the audit" in Path(found[0]["page"]).read_text()


def test_of_several_methods_those_that_failed_are_left_out_and_told(tiny_folder, ecg, audited, tmp_path, capsys):
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--audit", str(audited), "--target", "MI", "--json"]
    assert run([*call, "--method", "saliency,energy,slope", "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr()
    assert {e["method"]: e["verdict"] for e in json.loads(printed.out)["explanations"]} == {
        "energy": "passes", "slope": "not tested",
    }  # fmt: skip
    assert "not drawn: saliency fails here" in printed.err


def test_verdicts_travel_with_the_maps_of_a_cohort(tiny_folder, data_folder, audited, tmp_path, capsys):
    out = tmp_path / "maps"
    call = ["explain", str(tiny_folder), "--data", str(data_folder), "--fold", "10", "--limit", "2", "--out", str(out)]
    call += ["--audit", str(audited), "--method", "saliency,energy,gradcam", "--target", "MI", "--json"]
    assert run([*call, "--even-if-failed"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"] == {"saliency": "fails", "energy": "passes", "gradcam": "not tested"}
    maps = ExplainedCohort.open(out)
    assert {e.method: e.verdict for name in maps.methods for e in maps.each("MI", name)} == told["verdicts"]
    by_title = {s.title: s for s in explained_cohort_report(maps).sections}
    assert "failed the audit" in by_title["Leads by class: saliency"].conclusion
    assert "passed the audit" in " ".join(by_title["Leads by class: energy"].text)
    assert "not tested" in " ".join(by_title["Leads by class: gradcam"].text)


def test_without_a_method_the_best_that_passed_is_taken(tiny_folder, ecg, audited, tmp_path, capsys):
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--target", "MI", "--json", "--out"]
    assert run([*call, str(tmp_path / "a"), "--audit", str(audited)]) == 0
    assert told(capsys)["explanations"][0]["method"] == "energy"
    assert run([*call, str(tmp_path / "b")]) == 0  # nobody audited it here
    found = told(capsys)["explanations"][0]
    assert (found["method"], found["verdict"]) == ("saliency", "not tested")


def test_where_none_passed_nothing_is_taken_by_itself(tiny_folder, tiny_bundle, ecg, tmp_path, capsys):
    write_audit(tmp_path / "audit.json", verdicts(tiny_bundle, None, saliency="fails", lrp="not tested"))
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--audit", str(tmp_path), "--target", "MI", "--json"]
    assert run([*call, "--out", str(tmp_path / "a")]) == 4
    assert "lrp" in told(capsys)["error"]["message"]
    assert run([*call, "--out", str(tmp_path / "a"), "--even-if-failed"]) == 0
    assert told(capsys)["explanations"][0]["verdict"] == "fails"


def test_other_parameters_than_the_audited_ones_were_not_tested(tiny_folder, ecg, tiny_bundle, tmp_path, capsys):
    write_audit(tmp_path / "audit.json", verdicts(tiny_bundle, None, occlusion_lead="fails"))
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--audit", str(tmp_path), "--target", "MI", "--json"]
    assert run([*call, "--method", "occlusion_lead", "--set", "filler=zero", "--out", str(tmp_path / "a")]) == 0
    assert told(capsys)["explanations"][0]["verdict"] == "not tested"


def test_an_audit_of_other_weights_is_no_audit_of_these(tiny_folder, ecg, tmp_path, capsys):
    write_audit(tmp_path / "audit.json", {"weights_sha256": "0" * 64, "methods": {}, "default_method": None})
    call = ["explain", str(ecg), "--bundle", str(tiny_folder), "--audit", str(tmp_path), "--json", "--out"]
    assert run([*call, str(tmp_path / "a")]) == 3
    assert told(capsys)["error"]["kind"] == "missing_audit"


def test_verdicts_are_found_in_the_run_and_files_hold_several_audits(tiny_bundle, tmp_path):
    write_audit(tmp_path / "audit" / "audit.json", verdicts(tiny_bundle, None, lrp="fails"))
    assert find_verdicts(tiny_bundle.weights_sha256, tmp_path)["lrp"] == "fails"
    write_audit(tmp_path / "audit" / "audit.json", {"weights_sha256": "1" * 64, "methods": {}, "default_method": None})
    assert set(read_audits(tmp_path / "audit" / "audit.json")) == {tiny_bundle.weights_sha256, "1" * 64}


@pytest.mark.parametrize(
    "text",
    ["[]", '{"schema": 2, "audits": {}}', '{"schema": 1}',
     '{"schema": 1, "audits": {"SHA": {"methods": {"a": {"verdict": "good", "reason": ""}}, "default_method": null}}}',
     '{"schema": 1, "audits": {"SHA": {"methods": {"a": {"verdict": "fails", "reason": ""}}, "default_method": "a"}}}',
     '{"schema": 1, "audits": {"SHA": {"methods": 3}}}'],
)  # fmt: skip
def test_a_damaged_or_contradictory_audit_is_refused(tiny_bundle, tmp_path, text):
    (tmp_path / "audit.json").write_text(text.replace("SHA", tiny_bundle.weights_sha256))
    with pytest.raises(FormatError):
        find_verdicts(tiny_bundle.weights_sha256, tmp_path)


def test_the_verb_writes_verdicts_where_explain_looks_for_them(trained, tmp_path, monkeypatch, capsys):
    tiny = Size(simulated=40, measured=30, cases=2, redrawn=2, stable=2, regressed=2, seeds=1, epochs=1)
    monkeypatch.setattr(work, "QUICK", tiny)
    own = tmp_path / "run"
    shutil.copytree(trained.run.folder, own)
    assert run(["audit", str(own), "--out", str(own / "audit"), "--json"]) == 0
    found = told(capsys)
    assert set(found) == {"schema", "bundle", "weights_sha256", "methods", "default_method"}
    assert found["default_method"] is None  # two records prove nothing
    assert {m["verdict"] for m in found["methods"].values()} == {"not tested"}
    for name in ("audit.json", "audit/audit.json", "audit/audit.html", "audit/evidence.json", "audit/tables/tests.csv"):
        assert (own / name).exists(), name
    assert find_verdicts(found["weights_sha256"], own).audited
    assert run(["audit", str(own), "--out", str(own / "audit"), "--json"]) == 2  # a run is there


def test_the_page_of_a_run_tells_the_verdicts_and_drops_what_has_failed_since(trained, ecg, tmp_path, capsys):
    own = tmp_path / "run"
    shutil.copytree(trained.run.folder, own)
    call = ["explain", str(ecg), "--bundle", str(own), "--method", "saliency", "--target", "MI", "--json"]
    assert run([*call, "--out", str(own / "explanations")]) == 0
    assert run(["report", str(own)]) == 0
    before = (own / "report.html").read_text()
    write_audit(own / "audit.json", verdicts(Bundle.load(own), None, saliency="fails", lrp="not tested"))
    assert run(["report", str(own)]) == 0
    after = (own / "report.html").read_text()
    assert "Which explanations may be believed" not in before
    assert "No method passes on these weights." in after
    assert "none of them shown" in after
    assert "by saliency" in before
    assert "by saliency" not in after


def test_the_shipped_network_was_audited_and_its_verdicts_follow_from_its_figures(tmp_path):
    found = find_verdicts(Bundle.load("pretrained").weights_sha256, tmp_path)
    assert found.audited
    methods = read_audits(SHIPPED)[Bundle.load("pretrained").weights_sha256]["methods"]
    for told in methods.values():
        tests = {name: TestResult(**test) for name, test in told["tests"].items()}
        if tests:
            again = decide(tests)
            assert (again.verdict, again.reason) == (told["verdict"], told["reason"])
            for name, test in tests.items():
                assert judge(rule_of(name), replace(test, n_patients=FEWEST_PATIENTS)).passed == test.passed
