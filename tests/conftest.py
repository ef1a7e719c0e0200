# SPDX-License-Identifier: Apache-2.0
"""What several tests share: a small simulated cohort, and one tiny bundle trained on it, made once."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from ecglens.bundle import Bundle
from ecglens.cli.app import run
from ecglens.cohort import Cohort
from ecglens.formats.wfdb import write_wfdb
from ecglens.simulation.cohort import simulate_cohort
from ecglens.training.recipes import Recipe, recipe_for
from ecglens.training.train import Trained, train

Cli = Callable[..., tuple[int, dict[str, Any], str]]

# A slow machine is no failure, and a test that fails must fail again.
hypothesis.settings.register_profile("ecglens", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ecglens")

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C: some test just that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Networks here are tiny: more threads only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache of prepared signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECGLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_cohort() -> Cohort:
    """66 simulated records in 10 folds, in memory; classes NORM, MI, CD."""
    cohort = simulate_cohort(66, classes=("NORM", "IMI", "CLBBB"))
    return replace(cohort, records=list(cohort.records))


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return replace(recipe_for("lenet"), epochs=3)


@pytest.fixture(scope="session")
def trained(small_cohort: Cohort, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A finished run. Tests that change it copy it first."""
    arguments = {"data": "simulated", "task": "superdiagnostic", "min_likelihood": 0.0}
    return train(small_cohort, tiny_recipe, tmp_path_factory.mktemp("runs") / "tiny", arguments=arguments)


@pytest.fixture(scope="session")
def data_folder(small_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small cohort as a user would have it: WFDB files and a table. Tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("data") / "clinic"
    rows = ["file,patient_id,labels,age,sex,fold"]
    for k, ecg in enumerate(small_cohort.records):
        name, about = write_wfdb(ecg, folder).name, small_cohort.metadata.iloc[k]
        label = small_cohort.labels.columns[small_cohort.labels.iloc[k].argmax()]
        rows.append(f"{name},{about['patient_id']},{label},{about['age']},{about['sex']},{about['fold']}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(trained: Trained) -> Bundle:
    return trained.bundle


@pytest.fixture(scope="session")
def tiny_folder(trained: Trained) -> Path:
    """Where the tiny bundle lies. Tests that change it copy it first."""
    return trained.run.bundle_folder()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command with --json; return its exit code, its object and what stood on stderr."""

    def call(*arguments: object) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = run([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert out.count("\n") == 1, f"not one line on stdout: {out!r}"
        told = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert isinstance(told, dict)
        assert told["schema"] == 1
        assert "Traceback" not in err
        return code, told, err

    return call
