# SPDX-License-Identifier: Apache-2.0
"""The page of an explained cohort says what the run folder holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecglens.explainers.cohort import explain_cohort
from ecglens.explainers.methods import find_methods
from ecglens.reporting.explained_cohort import explained_cohort_report
from ecglens.reporting.html import render


@pytest.fixture(scope="module")
def explained(tiny_bundle, small_cohort, tmp_path_factory):
    part = small_cohort.take([i for i in range(len(small_cohort)) if small_cohort.metadata["fold"].iloc[i] == 10])
    methods = find_methods("saliency,occlusion_lead,gradcam")
    return explain_cohort(tiny_bundle, part, ["MI", "CD"], methods, tmp_path_factory.mktemp("maps") / "run")


def test_each_cell_is_the_mean_over_records_that_carry_the_class(explained):
    section = explained_cohort_report(explained).sections[0]
    cells = {row[0]: row[1:] for row in section.tables[0].rows}
    for column, target in enumerate(("MI", "CD")):
        shares = explained.shares(target, "saliency").loc[explained.with_label(target)]
        for lead, mean in zip(explained.leads, shares.to_numpy().mean(axis=0), strict=True):
            assert cells[lead][column].startswith(f"{mean:.1%} [")
    assert f"{len(explained.with_label('MI'))} records (with MI)" in section.tables[0].caption


def test_what_a_method_cannot_tell_is_not_told(explained):
    report = explained_cohort_report(explained)
    together = next(s for s in report.sections if "occlusion_lead" in s.title)
    assert together.conclusion.startswith("The limb leads, hidden together, hold")
    assert "hidden together" in " ".join(together.text)
    coarse = next(s for s in report.sections if "gradcam" in s.title)
    assert coarse.figures == coarse.tables == ()
    assert "every lead the same map" in coarse.conclusion


def test_warnings_of_all_maps_are_told_once_and_those_of_some_are_not(explained):
    maps = explained.maps.copy()
    saliency = maps.index.get_level_values("method") == "saliency"
    maps["warnings"] = maps["warnings"].astype(object)
    maps.loc[saliency, "warnings"] = "is of a test"
    first = np.flatnonzero(saliency)[0]
    maps.iloc[first, maps.columns.get_loc("warnings")] = "is of a test; is odd"
    section = explained_cohort_report(replace(explained, maps=maps)).sections[0]
    assert section.text.count("Each map is of a test.") == 1
    assert "odd" not in " ".join(section.text)


def test_the_page_renders(explained):
    assert "Where the maps lie" in render(explained_cohort_report(explained, [("seed", "0")]))
