# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, kinds, refused
from samples import small_ecg
from samples.cardiosoft import make_cardiosoft

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.formats.read import read
from ecglens.leads import STANDARD_LEADS


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return make_cardiosoft(tmp_path, small_ecg())


def strip(path: Path, old: str, new: str) -> Path:
    """Exchange text behind `<StripData>`."""
    head, tail = path.read_text("latin-1").split("<StripData>")
    assert old in tail
    path.write_text(head + "<StripData>" + tail.replace(old, new, 1), "latin-1")
    return path


def test_rhythm_by_lead_names_without_the_person(record: Path) -> None:
    ecg = assert_sound(record)
    assert ecg.leads == STANDARD_LEADS
    assert kinds(ecg) == ["median_beats", "other_waveforms"]


def test_resolution(tmp_path: Path) -> None:
    counts = np.arange(-300, 300)
    ecg = ECG(np.tile(counts * 0.005, (2, 1)).astype(np.float32), 250, ("V1", "V2"))
    read_back = read(make_cardiosoft(tmp_path, ecg, step=5))
    np.testing.assert_allclose(read_back["V2"], counts * 0.005, rtol=1e-6)
    assert read_back.fs == 250


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('units="Hz">500', 'units="Hz">0', "sampling_rate"),
        ('units="Hz">500', 'units="Hz">nan', "sampling_rate"),
        ('units="Hz">500', 'units="kHz">500', "units"),
        ('units="uVperLsb">1', 'units="uVperLsb">0', "gain"),
        ('units="uVperLsb">1', ">1", "units"),
        ("<NumberOfLeads>12", "<NumberOfLeads>8", "length"),
        ("<ChannelSampleCountTotal>500", "<ChannelSampleCountTotal>501", "length"),
        ("<ChannelSampleCountTotal>500", "<ChannelSampleCountTotal>99999999999", "length"),
        ('lead="V1">', 'lead="V1">,', "number"),
        ('lead="V1">', 'lead="V1">1 2,', "number"),
        ('lead="V1">', 'lead="V1">99999,', "number"),
        ('lead="V1">', 'lead="V1">1,', "length"),
        ('lead="V1">', ">", "no_lead_name"),
        ("<StripData>", "<Strip>", "xml"),
        ("</StripData>", "</StripData><StripData/>", "no_rhythm"),
    ],
)
def test_refusals(record: Path, old: str, new: str, kind: str) -> None:
    if old == "<StripData>":
        record.write_text(record.read_text("latin-1").replace(old, new), "latin-1")
    else:
        strip(record, old, new)
    refused(record, kind)


def test_a_lead_twice(record: Path) -> None:
    refused(strip(record, 'lead="V1"', 'lead="V2"'), "duplicate_lead", SignalError)


def test_without_a_strip(record: Path) -> None:
    record.write_text(record.read_text("latin-1").replace("StripData", "VectorLoops"), "latin-1")
    refused(record, "no_rhythm")


def test_changes_that_are_flagged(tmp_path: Path) -> None:
    for old, new, kind in (
        ('lead="aVL"', 'lead="V7"', []),
        ('lead="V1"', 'lead="VQ"', ["unknown_lead"]),
        ('units="Hz">500', 'units="Hz">505', ["unusual_fs"]),
    ):
        assert kinds(read(strip(make_cardiosoft(tmp_path, small_ecg()), old, new)), "warning") == kind


def test_cut_files(record: Path) -> None:
    assert_refused_when_cut(record, 700)
