# SPDX-License-Identifier: Apache-2.0
"""Bundles of every schema that was ever released still load, and say what they said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecglens import Bundle, predict, simulate_ecg

KEPT = sorted((Path(__file__).parent / "golden").glob("bundle-schema-*"))


def test_there_is_one_for_each_schema():
    from ecglens.bundle import BUNDLE_SCHEMA

    assert [folder.name for folder in KEPT] == [f"bundle-schema-{k}" for k in range(1, BUNDLE_SCHEMA + 1)]


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_old_bundles_load_and_agree(folder):
    bundle = Bundle.load(folder)
    told = predict(bundle, simulate_ecg("golden", "IMI").ecg)
    # Another processor or library may round differently; 1e-4 is far below what a reader could notice.
    assert told.probabilities == pytest.approx(json.loads((folder / "expected.json").read_text()), abs=1e-4)
    assert bundle.trained_on.overlap(["ptbxl:2", "ptbxl:9"], []) == {"train": 1, "valid": 0}
