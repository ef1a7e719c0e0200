# SPDX-License-Identifier: Apache-2.0
"""A simulated cohort on disk comes back as it was, truth and all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecglens.cli.app import run
from ecglens.datasets.load import load_cohort
from ecglens.datasets.simulated import write_simulated
from ecglens.errors import FormatError, InputError
from ecglens.simulation import Noise, simulate_cohort


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(8, classes=("NORM", "IMI", "AFIB"), duration=5.0, comorbidity=0.5, faults={"clipping": 0.3})


@pytest.fixture(scope="module")
def folder(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "clinic"
    write_simulated(cohort, folder)
    return folder


def test_what_is_written_is_read(cohort, folder):
    again = load_cohort(folder)
    assert again.classes == cohort.classes
    np.testing.assert_array_equal(again.labels.to_numpy(), cohort.labels.to_numpy())
    for name in ("patient_id", "age", "sex", "fold", "date"):
        assert [str(v) for v in again.metadata[name]] == [str(v) for v in cohort.metadata[name]]
    assert again.label_rule == cohort.label_rule
    for i in range(len(cohort)):
        np.testing.assert_allclose(again[i].signal, cohort[i].signal, atol=5.1e-4)  # steps of 1 uV
        np.testing.assert_array_equal(again.evidence[i].mask, cohort.evidence[i].mask)
        np.testing.assert_allclose(again.evidence[i].weight, cohort.evidence[i].weight, rtol=1e-3, atol=1e-6)
        assert again.evidence[i].intervals == cohort.evidence[i].intervals
        np.testing.assert_array_equal(again.fiducials[i].times, cohort.fiducials[i].times)
        assert dict(again.fiducials[i].absent) == dict(cohort.fiducials[i].absent)


def test_workers_write_the_same_files(cohort, folder, tmp_path):
    write_simulated(cohort, tmp_path / "two", workers=2)
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(names) == 8 * 6 + 2
    assert all((tmp_path / "two" / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_a_full_folder_is_refused(folder, cohort):
    with pytest.raises(InputError, match="empty"):
        write_simulated(cohort, folder)


def test_damaged_truth_is_refused(tmp_path):
    write_simulated(simulate_cohort(1, duration=1.0, noise=Noise()), tmp_path / "one")
    (tmp_path / "one" / "truth" / "sim-00001.npy").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="no array"):
        load_cohort(tmp_path / "one").evidence[0]
    (tmp_path / "one" / "simulation.json").write_text("{}")
    with pytest.raises(FormatError, match="schema"):
        load_cohort(tmp_path / "one")


def simulate(capsys, *arguments):
    code = run(["data", "simulate", *map(str, arguments), "--workers", "1", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_verb_warns_of_leads_that_are_not_unique(tmp_path, capsys):
    code, told = simulate(capsys, tmp_path / "a", "--n", 3, "--duration", 1, "--severity", "0.3,0.9")
    assert (code, told["records"]) == (0, 3)
    assert "rank 3" in told["warning"]
    assert "severity 0.3 to 0.9" in told["label_rule"]
    code, told = simulate(capsys, tmp_path / "b", "--n", 2, "--duration", 1, "--mode", "B", "--lead", "V2")
    assert (code, told["warning"]) == (0, None)
    code, told = simulate(capsys, tmp_path / "c", "--n", 2, "--duration", 1, "--mode", "C", "--rho", "0.5")
    assert (code, "goes with HYP" in told["label_rule"]) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--fs", "50"], "100 to 4000"),
        (["--classes", "NORM,CLBB"], "did you mean CLBBB"),
        (["--severity", "much"], "a number"),
        (["--mode", "Z"], "dipolar"),
        (["--faults", "2"], "0 to 1"),
    ],
)
def test_the_verb_refuses_nonsense(arguments, word, tmp_path, capsys):
    code, told = simulate(capsys, tmp_path / "x", *arguments)
    assert (code, word in told["error"]["message"]) == (2, True)
    assert not (tmp_path / "x").exists()
