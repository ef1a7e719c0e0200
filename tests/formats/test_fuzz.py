# SPDX-License-Identifier: Apache-2.0
"""Three hundred mutants of each kind of file; benchmarks/fuzz.py reads 20,000."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fuzz import fuzz, targets

from ecglens.formats.wfdb import read_wfdb

TARGETS = {target.name: target for target in targets()}
# The largest share that may be read as something else without a word: mistakes in a text that are as plausible as
# the truth, and sums of 16 bits that happen to agree.
# Files without a checksum of their samples: what neither the limb leads nor a sample's neighbours give away.
SILENT = {
    "WFDB header": 0.02, "WFDB header of segments": 0.02,
    "WFDB samples, format 16": 0.012, "WFDB samples, format 212": 0.012, "WFDB samples, format 310": 0.012,
    "WFDB annotations": 0.25,
    "DICOM by ecglens": 0.0, "DICOM by others": 0.03, "DICOM by others, start": 0.01, "EDF": 0.05, "EDF start": 0.02,
    "CSV": 0.04, "npy with its hash": 0.0, "npy without a hash": 0.08,
    "HL7 aECG": 0.04, "Philips Sierra XML": 0.05, "GE MUSE XML": 0.01, "GE CardioSoft XML": 0.04, "SCP-ECG": 0.0,
    "ISHNE Holter": 0.04, "ISHNE Holter, header": 0.04,
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutant_does_harm(tmp_path: Path, name: str) -> None:
    tally = fuzz(TARGETS[name], tmp_path, seed=1, n=300)
    assert not tally.defects, tally.defects
    assert tally.mutants == 300
    assert tally.silent <= SILENT[name], tally.outcomes
    assert tally.seconds < 2


def test_the_fuzzer_sees_what_is_silent(tmp_path: Path) -> None:
    def trusting(path: Path) -> Any:
        return replace(read_wfdb(path, verify=False), findings=())

    target = replace(TARGETS["WFDB samples, format 16"], read=trusting)
    assert fuzz(target, tmp_path, seed=1, n=300).silent > 0.3


def test_the_fuzzer_sees_defects(tmp_path: Path) -> None:
    def careless(path: Path) -> Any:
        header = path.read_text(encoding="utf-8", errors="replace")
        return float(header.split()[2])  # IndexError and ValueError, as any parser without care

    tally = fuzz(replace(TARGETS["WFDB header"], read=careless), tmp_path, seed=1, n=300)
    assert len(tally.defects) == tally.outcomes["defect"] > 5
    assert "ValueError" in " ".join(tally.defects)


def test_the_same_seed_gives_the_same_mutants(tmp_path: Path) -> None:
    tallies = [fuzz(TARGETS["WFDB header"], tmp_path / str(k), seed=3, n=100) for k in range(2)]
    assert tallies[0].outcomes == tallies[1].outcomes
