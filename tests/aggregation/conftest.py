# SPDX-License-Identifier: Apache-2.0
"""A small cohort, explained once for the tests of averages and of their page."""

from __future__ import annotations

import pytest

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.explainers.cohort import explain_cohort
from ecglens.explainers.explained import ExplainedCohort
from ecglens.explainers.methods import find_methods
from ecglens.models.lenet import LeNet, initialized
from ecglens.training.recipes import PREPROCESSING


@pytest.fixture(scope="package")
def bundle() -> Bundle:
    outputs = (Output("NORM", threshold=0.5), Output("MI", threshold=0.5), Output("CD", threshold=0.5))
    return Bundle(initialized(LeNet, {"n_outputs": 3}, 3), outputs, PREPROCESSING, 100.0, "LeNet", {"n_outputs": 3})


@pytest.fixture(scope="package")
def explained(bundle: Bundle, small_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ExplainedCohort:
    folder = tmp_path_factory.mktemp("aggregation") / "maps"
    return explain_cohort(bundle, small_cohort, ["all"], find_methods("saliency", {}), folder)
