# SPDX-License-Identifier: Apache-2.0
"""What several tests share: a small simulated cohort, and one tiny bundle trained on it, made once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import torch

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.formats.wfdb import write_wfdb
from ecglens.simulation.cohort import simulate_cohort
from ecglens.training.recipes import Recipe, recipe_for
from ecglens.training.train import Trained, train

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
