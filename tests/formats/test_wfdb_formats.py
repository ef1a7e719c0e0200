# SPDX-License-Identifier: Apache-2.0
"""Every other storage format of WFDB: packed here as signal(5) tells it, and compared with the wfdb package."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb
from fuzz import mutate_bytes
from samples.wfdb import pack
from test_wfdb import edit, fuzz, kinds, refused

from ecglens.errors import EnvironmentFault, FormatError
from ecglens.formats.read import read
from ecglens.formats.wfdb import read_wfdb
from ecglens.formats.wfdb_flac import FlacFile
from ecglens.formats.wfdb_packing import GAPS
from ecglens.leads import STANDARD_LEADS

BITS = {8: 7, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 310: 10, 311: 10}


def values(number: int, n_leads: int, n: int) -> np.ndarray:
    """Return integers [lead, time] over the whole range of a format, one gap in each lead where it has gaps."""
    rng = np.random.default_rng(number)
    if number == 8:
        return rng.integers(-128, 128, (n_leads, n)).cumsum(axis=1)
    low = -(2 ** (BITS[number] - 1))
    raw = rng.integers(low + 1, -low, (n_leads, n))
    raw[:, n // 2] = low
    return raw


def write(folder: Path, number: int, raw: np.ndarray) -> Path:
    """Write raw integers [lead, time] in a format, with checksums."""
    if number == 8:
        data = np.diff(raw, axis=1, prepend=raw[:, :1]).T.astype(np.int8).tobytes()
    else:
        data = pack(number, raw.T.reshape(-1).tolist())
    (folder / "rec.dat").write_bytes(data)
    lines = [f"rec {len(raw)} 500 {raw.shape[1]}"]
    for lead, row in zip(STANDARD_LEADS, raw, strict=False):
        lines.append(f"rec.dat {number} 1000(5)/mV 0 0 {row[0]} {row.sum() % 65536} 0 {lead}")
    (folder / "rec.hea").write_text("\n".join(lines) + "\n")
    return folder / "rec.hea"


@pytest.mark.parametrize("number", BITS)
@pytest.mark.parametrize(("n_leads", "n"), [(1, 100), (2, 101), (3, 100), (4, 77)])
def test_samples_are_those_packed_and_those_of_wfdb(tmp_path: Path, number: int, n_leads: int, n: int) -> None:
    raw = values(number, n_leads, n)
    header = write(tmp_path, number, raw)
    ecg = read_wfdb(header)
    expected = np.where(raw == GAPS[number], np.nan, (raw - 5.0) / 1000).astype(np.float32)
    np.testing.assert_array_equal(ecg.signal, expected)
    np.testing.assert_array_equal(wfdb.rdrecord(str(tmp_path / "rec")).p_signal.T.astype(np.float32), expected)
    assert ecg.metadata["format"] == f"WFDB {number}"
    assert kinds(ecg) == (["weak_checksum"] if number in (24, 32) else [])
    part = read_wfdb(header, start=0.034, stop=0.09)
    np.testing.assert_array_equal(part.signal, expected[:, 17:45])
    signals = bytearray((tmp_path / "rec.dat").read_bytes())
    signals[12] ^= 4  # a lower byte in every format: of more than 16 bits, the checksum sees the lower 16
    (tmp_path / "rec.dat").write_bytes(signals)
    refused(header, "checksum")


@pytest.mark.parametrize("number", BITS)
def test_fuzzed_samples(tmp_path: Path, number: int) -> None:
    header = write(tmp_path, number, values(number, 2, 2000))
    mutants, _, silent = fuzz(header.with_suffix(".dat"), header, mutate_bytes, read_wfdb, number)
    assert mutants > 270
    assert len(silent) / mutants <= 0.012, len(silent)


def test_null_signals_and_skew_are_refused(tmp_path: Path) -> None:
    header = write(tmp_path, 61, values(61, 2, 100))
    edit(header, "rec.dat 61 ", "rec.dat 61:3 ", 2)
    assert "skew of 3" in str(refused(header, "unsupported"))
    edit(header, "rec.dat 61:3 ", "rec.dat 0 ", 2)
    assert "format 0" in str(refused(header, "unsupported"))


# --- FLAC ----------------------------------------------------------------------------------------------------------


def write_flac(folder: Path, number: int, n_leads: int = 3, n: int = 1000) -> tuple[Path, np.ndarray]:
    half = 2 ** (number - 500 - 1)
    raw = np.random.default_rng(number).integers(-half, half, (n_leads, n))
    wfdb.wrsamp(
        "rec", fs=500, units=["mV"] * n_leads, sig_name=list(STANDARD_LEADS[:n_leads]), d_signal=raw.T,
        fmt=[str(number)] * n_leads, adc_gain=[1000.0] * n_leads, baseline=[0] * n_leads, write_dir=str(folder),
    )  # fmt: skip
    return folder / "rec.hea", raw


@pytest.mark.parametrize("number", [508, 516, 524])
def test_flac(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecglens.formats.wfdb_flac.CHUNK", 300)
    header, raw = write_flac(tmp_path, number)
    expected = np.where(raw == GAPS[number], np.nan, raw / 1000).astype(np.float32)
    np.testing.assert_array_equal(read_wfdb(header).signal, expected)
    np.testing.assert_array_equal(wfdb.rdrecord(str(tmp_path / "rec")).p_signal.T.astype(np.float32), expected)
    np.testing.assert_array_equal(read_wfdb(header, start=0.5, stop=1.75).signal, expected[:, 250:875])
    assert kinds(read_wfdb(header)) == (["weak_checksum"] if number == 524 else [])


def test_flac_headers_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, _ = write_flac(tmp_path, 516)
    good = header.read_text()
    for old, new, kind in [
        (" 500 1000\n", " 500 1001\n", "truncated"), (" 500 1000\n", f" 500 {10**12}\n", "truncated"),
        ("rec.dat 516 ", "rec.dat 508 ", "layout"), ("rec.dat 516 ", "rec.dat 516+4 ", "layout"),
    ]:  # fmt: skip
        header.write_text(good.replace(old, new))
        refused(header, kind)
    header.write_text(good.replace(" 500 1000\n", " 500\n"))
    assert kinds(read_wfdb(header)) == ["length_from_file"]
    stream = bytearray((tmp_path / "rec.dat").read_bytes())
    stream[21:26] = b"\xff" * 5  # STREAMINFO now promises 2^36 samples
    (tmp_path / "rec.dat").write_bytes(stream)
    with pytest.raises(FormatError):
        read_wfdb(header)
    header.write_text(good.replace(" 500 1000\n", f" 500 {10**7}\n"))
    with pytest.raises(FormatError):
        read_wfdb(header)
    header.write_text(good)
    (tmp_path / "rec.dat").write_bytes(b"<!DOCTYPE html>")
    assert "HTML" in str(refused(header, "content"))


def test_decoded_flac_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecglens.formats.wfdb_flac.MAX_DECODED_BYTES", 4 * 3 * 999)
    header, _ = write_flac(tmp_path, 516)
    refused(header, "too_large")
    assert read_wfdb(header, stop=1).n_samples == 500


def test_flac_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, _ = write_flac(tmp_path, 516)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(EnvironmentFault, match=r'pip install "ecglens\[formats\]"'):
        read_wfdb(header)


def test_fuzzed_flac(tmp_path: Path) -> None:
    header, _ = write_flac(tmp_path, 516, 2, 2000)
    assert FlacFile.__module__ == "ecglens.formats.wfdb_flac"
    mutants, _, silent = fuzz(header.with_suffix(".dat"), header, mutate_bytes, read_wfdb, 516)
    assert mutants > 270
    assert len(silent) / mutants <= 0.012, len(silent)


# --- MATLAB --------------------------------------------------------------------------------------------------------


def write_challenge(folder: Path, raw: np.ndarray) -> Path:
    """Write a record as the PhysioNet Challenges of 2020 and 2021 have them."""
    head = struct.pack("<5i", 30, *raw.shape, 0, 4) + b"val\0"
    (folder / "A0001.mat").write_bytes(head + raw.T.astype("<i2").tobytes())
    lines = [f"A0001 {len(raw)} 500 {raw.shape[1]} 05-Feb-2020 11:39:16"]
    for lead, row in zip(STANDARD_LEADS, raw.astype(int), strict=False):
        lines.append(f"A0001.mat 16+24 1000/mV 16 0 {row[0]} {row.sum() % 65536} 0 {lead}")
    lines += ["#Age: 74", "#Sex: Male", "#Dx: 59118001", "#Rx: Unknown"]
    (folder / "A0001.hea").write_text("\n".join(lines) + "\n")
    return folder / "A0001.hea"


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    return write_challenge(tmp_path, np.random.default_rng(4).integers(-3000, 3000, (12, 5000)))


def test_challenge_record(challenge: Path) -> None:
    from scipy.io import loadmat

    expected = (loadmat(challenge.with_suffix(".mat"))["val"] / 1000).astype(np.float32)
    for path in (challenge, challenge.with_suffix(".mat"), challenge.with_suffix("")):
        ecg = read(path)
        np.testing.assert_array_equal(ecg.signal, expected)
        assert ecg.findings == ()
    np.testing.assert_array_equal(read(challenge, 2, 3).signal, expected[:, 1000:1500])
    reference = wfdb.rdrecord(str(challenge.with_suffix("")))
    np.testing.assert_array_equal(reference.p_signal.T.astype(np.float32), expected)


@pytest.mark.parametrize(("at", "value"), [(0, 0), (0, 1030), (4, 11), (8, 4999), (12, 1), (16, 3)])
def test_matlab_header_that_tells_of_another_matrix(challenge: Path, at: int, value: int) -> None:
    matrix = challenge.with_suffix(".mat")
    data = bytearray(matrix.read_bytes())
    data[at : at + 4] = struct.pack("<i", value)
    matrix.write_bytes(data)
    assert "MATLAB version 4" in str(refused(challenge, "layout"))


@pytest.mark.parametrize(
    "content", [b"MATLAB 5.0 MAT-file, Platform: GLNXA64", b"MATLAB 7.3 MAT-file", b"\x89HDF\r\n\x1a\n"]
)
def test_other_matlab_versions(challenge: Path, content: bytes) -> None:
    matrix = challenge.with_suffix(".mat")
    matrix.write_bytes(content.ljust(matrix.stat().st_size, b"\0"))
    refused(challenge, "content")


def test_a_matlab_file_alone(challenge: Path) -> None:
    challenge.unlink()
    with pytest.raises(Exception, match=r"A0001\.hea"):
        read(challenge.with_suffix(".mat"))
