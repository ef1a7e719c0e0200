# SPDX-License-Identifier: Apache-2.0
"""Whom `find-subtypes` looks into and what it compares with: by hand, on a small PTB-XL, whatever a network knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecglens import Output
from ecglens.cli.evaluate import load_for
from ecglens.cli.find_subtypes import Asked, group_and_truth
from ecglens.errors import UsageError

STATEMENTS = """,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NORM,1,,,NORM,NORM
IMI,1,,,MI,IMI
ASMI,1,,,MI,AMI
LMI,1,,,MI,LMI
NDT,1,,,STTC,STTC
NST_,1,,,STTC,NST_
"""
CODES = {
    "1": {"ASMI": 100}, "2": {"IMI": 100}, "3": {"IMI": 100, "ASMI": 100}, "4": {"LMI": 100}, "5": {"NORM": 100},
    "6": {"IMI": 80, "NDT": 100}, "7": {"ASMI": 15, "NORM": 80}, "8": {"NST_": 100}, "9": {"IMI": 50, "ASMI": 35},
}  # fmt: skip


@pytest.fixture
def ptbxl(tmp_path) -> Path:
    rows = ["ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_hr"]
    for record, codes in CODES.items():
        rows.append(f'{record},{record},60,0,"{codes}",10,records500/{record}')
        path = tmp_path / "records500" / f"{record}.hea"
        path.parent.mkdir(exist_ok=True)
        path.touch()  # labels are read, signals are not
    (tmp_path / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "scp_statements.csv").write_text(STATEMENTS)
    return tmp_path


def chosen(bundle, folder, group, truth, task="subdiagnostic", alone=False):
    asked = Asked(str(folder), None, group, "signals", truth, task, "called", "", alone)
    cohort = load_for(bundle, asked.data, every_label=True)
    inside, sublabels = group_and_truth(bundle, cohort, asked)
    records = np.array(cohort.record_ids)
    compared = {} if sublabels is None else {str(k): str(v) for k, v in sublabels[inside].dropna().items()}
    return set(map(str, records[inside])), compared


def knowing(tiny_bundle, task, min_likelihood):
    """Return a network with the outputs and the label rule of a task."""
    names = {"superdiagnostic": ("NORM", "MI", "STTC"), "subdiagnostic": ("AMI", "IMI", "NORM")}[task]
    details = dict(tiny_bundle.details) | {"arguments": {"task": task, "min_likelihood": min_likelihood}}
    return replace(tiny_bundle, outputs=tuple(map(Output, names)), details=details)


@pytest.mark.parametrize("task", ["superdiagnostic", "subdiagnostic"])
def test_superclass_and_sublabels_are_the_same_whatever_the_network_knows(tiny_bundle, ptbxl, task):
    every = knowing(tiny_bundle, task, 0)
    assert chosen(every, ptbxl, "MI", "AMI,IMI") == ({"1", "2", "3", "4", "6", "7", "9"}, {"1": "AMI", "2": "IMI"})
    assert chosen(every, ptbxl, "AMI,IMI", "AMI,IMI")[0] == {"1", "2", "3", "6", "7", "9"}
    assert chosen(every, ptbxl, "STTC", "STTC,NST_") == ({"6", "8"}, {"8": "NST_"}), "the superclass, the sub-label"


@pytest.mark.parametrize("task", ["superdiagnostic", "subdiagnostic"])
def test_labels_are_held_to_the_networks_own_rule(tiny_bundle, ptbxl, task):
    graded = knowing(tiny_bundle, task, 50)
    assert chosen(graded, ptbxl, "MI", "AMI,IMI") == (
        {"1", "2", "3", "4", "6", "9"}, {"1": "AMI", "2": "IMI", "9": "IMI"}
    )  # fmt: skip


def test_what_the_data_do_not_have_is_refused_with_what_they_have(tiny_bundle, ptbxl):
    bundle = knowing(tiny_bundle, "subdiagnostic", 0)
    with pytest.raises(UsageError, match=r"--group.*XYZ.*MI, NORM, STTC, AMI, IMI, LMI, NST_"):
        chosen(bundle, ptbxl, "XYZ", "")
    for truth in ("AMI", "AMI,XYZ"):
        with pytest.raises(UsageError, match="two or more of AMI, IMI"):
            chosen(bundle, ptbxl, "MI", truth)
    with pytest.raises(UsageError, match="superdiagnostic, subdiagnostic"):
        chosen(bundle, ptbxl, "MI", "AMI,IMI", task="colour")


def test_alone_keeps_those_with_one_sub_label(tiny_bundle, ptbxl):
    bundle = knowing(tiny_bundle, "superdiagnostic", 0)
    everybody, one_label = chosen(bundle, ptbxl, "MI", "AMI,IMI")
    alone, compared = chosen(bundle, ptbxl, "MI", "AMI,IMI", alone=True)
    assert compared == one_label
    assert alone == set(one_label) == {"1", "2"}
    assert {"3", "4"} < everybody  # both at once; another infarction
    with pytest.raises(UsageError, match="--alone"):
        chosen(bundle, ptbxl, "MI", "", alone=True)


def test_a_folder_of_ones_own_may_have_labels_that_the_network_lacks(cli, tiny_folder, tmp_path):
    code, _, _ = cli("data", "simulate", tmp_path / "sub", "--n", 36, "--classes", "IMI,AMI", "--seed", 9,
                     "--task", "subdiagnostic")  # fmt: skip
    assert code == 0
    code, told, _ = cli("find-subtypes", tiny_folder, "--data", tmp_path / "sub", "--fold", "all", "--by", "signals",
                        "--group", "AMI,IMI", "--truth", "AMI,IMI", "--out", tmp_path / "out")  # fmt: skip
    assert code == 0
    assert told["n"] == told["n_labelled"] == 36
    assert set(told["per_class"]) == {"AMI", "IMI"}
