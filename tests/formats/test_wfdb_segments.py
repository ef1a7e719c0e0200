# SPDX-License-Identifier: Apache-2.0
"""Records of several segments: laid end to end, gaps where nothing is, nothing read that is not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from fuzz import mutate_text
from test_wfdb import edit, fuzz, kinds, refused

from ecglens.ecg import ECG
from ecglens.errors import InputError, SignalError, UnsafeError
from ecglens.formats.wfdb import read_header, read_wfdb, write_wfdb

LENGTHS = {"a": 500, "b": 300, "c": 700}


def part(name: str, leads: tuple[str, ...]) -> np.ndarray:
    seed = sorted(LENGTHS).index(name)
    return np.random.default_rng(seed).integers(-3000, 3000, (len(leads), LENGTHS[name])) / np.float32(1000)


def write_part(folder: Path, name: str, leads: tuple[str, ...]) -> np.ndarray:
    signal = part(name, leads)
    write_wfdb(ECG(signal, 500, leads, name), folder)
    return signal


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    """Three segments of two leads with a gap of 200 samples before the last."""
    for name in LENGTHS:
        write_part(tmp_path, name, ("II", "V1"))
    (tmp_path / "rec.hea").write_text("rec/4 2 500 1700\na 500\nb 300\n~ 200\nc 700\n")
    return tmp_path / "rec.hea"


@pytest.fixture
def variable(tmp_path: Path) -> Path:
    """Segments whose leads differ, below a list of all leads."""
    for name, leads in (("a", ("II",)), ("b", ("V1", "II")), ("c", ("V5", "V1"))):
        write_part(tmp_path, name, leads)
    lines = ["list 3 500 0", *(f"~ 0 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ("II", "V1", "V5"))]
    (tmp_path / "list.hea").write_text("\n".join(lines) + "\n")
    (tmp_path / "rec.hea").write_text("rec/5 3 500 1700\nlist 0\na 500\nb 300\n~ 200\nc 700\n")
    return tmp_path / "rec.hea"


def test_fixed_layout(fixed: Path) -> None:
    ecg = read_wfdb(fixed)
    leads = ("II", "V1")
    expected = np.concatenate([part("a", leads), part("b", leads), np.full((2, 200), np.nan), part("c", leads)], axis=1)
    np.testing.assert_array_equal(ecg.signal, expected.astype(np.float32))
    assert (ecg.leads, ecg.fs, ecg.record_id, ecg.metadata["format"]) == (leads, 500, "rec", "WFDB 16")
    assert ecg.findings == ()
    fixed.write_text("rec/3 2 500 1500\na 500\nb 300\nc 700\n")  # wfdb does not read gaps in this layout
    reference = wfdb.rdrecord(str(fixed.with_suffix("")))
    np.testing.assert_array_equal(read_wfdb(fixed).signal, reference.p_signal.T.astype(np.float32))


def test_variable_layout(variable: Path) -> None:
    ecg = read_wfdb(variable)
    expected = np.full((3, 1700), np.nan, np.float32)
    expected[0, :500] = part("a", ("II",))
    expected[[1, 0], 500:800] = part("b", ("V1", "II"))
    expected[[2, 1], 1000:] = part("c", ("V5", "V1"))
    np.testing.assert_array_equal(ecg.signal, expected)
    assert ecg.leads == ("II", "V1", "V5")
    reference = wfdb.rdrecord(str(variable.with_suffix("")))
    assert tuple(reference.sig_name) == ecg.leads
    np.testing.assert_array_equal(ecg.signal, reference.p_signal.T.astype(np.float32))


@pytest.mark.parametrize("stretch", [(0, 1), (0.5, 1.5), (0.9, 2.1), (1.7, 1.9), (1.0, 3.4), (3.39, 3.4)])
def test_a_stretch_is_the_crop_of_the_whole(variable: Path, stretch: tuple[float, float]) -> None:
    expected = read_wfdb(variable).crop(*stretch)
    ecg = read_wfdb(variable, start=stretch[0], stop=stretch[1])
    np.testing.assert_array_equal(ecg.signal, expected.signal)
    assert ecg.start == expected.start
    with pytest.raises(SignalError, match="crop"):
        read_wfdb(variable, start=3, stop=3.5)


def test_only_needed_segments_are_read(variable: Path) -> None:
    for name in "ac":
        variable.with_name(f"{name}.dat").unlink()
        variable.with_name(f"{name}.hea").write_text("nonsense")
    ecg = read_wfdb(variable, start=1.0, stop=1.6)
    assert ecg.findings == ()  # segment b wholly, and verified
    assert kinds(read_wfdb(variable, start=1.1, stop=1.6)) == ["not_verified"]
    refused(variable, "header")


def test_a_clock_that_does_not_begin_at_0(fixed: Path) -> None:
    edit(fixed, " 500 1700", " 500/1(10) 1700")
    assert read_wfdb(fixed).start == 10
    assert read_wfdb(fixed, start=11, stop=12).start == 11


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_missing_segment_is_a_gap_and_flagged(fixed: Path, name: str, suffix: str) -> None:
    whole = read_wfdb(fixed)
    fixed.with_name(name + suffix).unlink()
    ecg = read_wfdb(fixed)
    assert [(f.kind, f.severity) for f in ecg.findings] == [("missing_segment", "warning")]
    assert f"segment {name}" in ecg.findings[0].reason
    lost = slice(0, 500) if name == "a" else slice(500, 800)
    assert np.isnan(ecg.signal[:, lost]).all()
    rest = np.delete(ecg.signal, lost, axis=1)
    np.testing.assert_array_equal(rest, np.delete(whole.signal, lost, axis=1))


def test_no_segment_there_at_all(fixed: Path) -> None:
    for name in LENGTHS:
        fixed.with_name(f"{name}.dat").unlink()
    refused(fixed, "missing_file", InputError)
    for name in LENGTHS:
        fixed.with_name(f"{name}.hea").unlink()
    refused(fixed, "missing_file", InputError)
    fixed.write_text("rec/1 2 500 100\n~ 100\n")
    refused(fixed, "segments")


def test_a_missing_list_of_signals_is_refused(variable: Path) -> None:
    variable.with_name("list.hea").unlink()
    refused(variable, "missing_file", InputError)


def test_damage_in_a_segment_is_refused(fixed: Path) -> None:
    signals = fixed.with_name("b.dat")
    data = bytearray(signals.read_bytes())
    data[77] ^= 1
    signals.write_bytes(data)
    assert "b.dat" in str(refused(fixed, "checksum"))
    assert kinds(read_wfdb(fixed, verify=False)) == ["not_verified"]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("1700", "1701", "header"),
        ("rec/4", "rec/3", "header"),
        ("rec/4", "rec/0", "header"),
        ("rec/4", "rec/999999", "header"),
        ("b 300", "b 300 x", "header"),
        ("b 300", "b/2 300", "header"),
        ("b 300", "b -300", "header"),
        ("b 300", "rec 300", "segments"),
        ("a 500", "rec 500", "segments"),
        ("rec/4 2", "rec/4 3", "segments"),
        ("a 500\nb 300", "a 300\nb 500", "segments"),
        (" 500 1700", " 250 1700", "segments"),
        ("~ 200", "~ 1000000000", "header"),
        ("1700\na 500\nb 300\n~ 200", "1000001500\na 500\nb 300\n~ 1000000000", "too_large"),
    ],
)
def test_malformed(fixed: Path, old: str, new: str, kind: str) -> None:
    refused(edit(fixed, old, new), kind)


def test_segments_are_one_deep_and_inside_the_folder(fixed: Path) -> None:
    good = fixed.read_text()
    fixed.with_name("deep.hea").write_text(good.replace("rec/4", "deep/4"))
    fixed.write_text("rec/2 2 500 2000\ndeep 1700\nb 300\n")
    refused(fixed, "segments")
    fixed.write_text("rec/2 2 500 2000\nb 300\ndeep 1700\n")
    refused(fixed, "segments")
    fixed.write_text("rec/2 2 500 800\na 500\n../b 300\n")
    refused(fixed, "path", UnsafeError)
    fixed.with_name("link.hea").symlink_to(fixed.with_name("b.hea"))
    fixed.write_text("rec/2 2 500 800\na 500\nlink 300\n")
    refused(fixed, "link", UnsafeError)


def test_leads_must_fit(fixed: Path, variable: Path) -> None:
    edit(variable.with_name("b.hea"), " 0 V1", " 0 V6")
    refused(variable, "segments")


def test_leads_of_fixed_segments_must_be_the_same(fixed: Path) -> None:
    text = fixed.with_name("b.hea").read_text()
    fixed.with_name("b.hea").write_text(
        text.replace(" II\n", " x\n").replace(" V1\n", " II\n").replace(" x\n", " V1\n")
    )
    refused(fixed, "segments")


def test_findings_of_segments_are_told_once(fixed: Path) -> None:
    for name in LENGTHS:
        with fixed.with_name(f"{name}.dat").open("ab") as file:
            file.write(b"more")
    (finding,) = read_wfdb(fixed).findings
    assert finding.kind == "trailing_bytes"
    assert "and 2 more" in finding.reason


def test_header(variable: Path) -> None:
    header = read_header(variable)
    assert (header.n_signals, header.n_samples, header.signals) == (3, 1700, ())
    assert [tuple(segment) for segment in header.segments][:2] == [("list", 0), ("a", 500)]


def test_fuzzed_headers(variable: Path) -> None:
    mutants, were_read, silent = fuzz(variable, variable, mutate_text, read_wfdb, 31)
    assert mutants > 270
    assert were_read > 5
    # Two mutated bytes can name another segment of the same length or swap two of them: nothing else tells.
    assert len(silent) / mutants <= 0.02, silent
