# SPDX-License-Identifier: Apache-2.0
"""Format 212 (two 12-bit samples in three bytes) and reading by stretches, of either format."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import wfdb
from fuzz import mutate_bytes, mutate_text
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples.wfdb import pack_212
from test_wfdb import edit, fuzz, kinds, raw_12_leads, refused

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.formats.wfdb import read_wfdb, write_wfdb
from ecglens.formats.wfdb_packing import PACKINGS
from ecglens.formats.wfdb_signals import SignalFile
from ecglens.leads import STANDARD_LEADS

GAP_212 = -2048


def write_212(folder: Path, raw: np.ndarray, name: str = "rec") -> Path:
    """Write raw integers [lead, time] as a record in format 212 at 360 Hz, with checksums."""
    (folder / f"{name}.dat").write_bytes(pack_212(raw.T.reshape(-1)))
    lines = [f"{name} {len(raw)} 360 {raw.shape[1]}"]
    for lead, row in zip(STANDARD_LEADS, raw.astype(int), strict=False):
        lines.append(f"{name}.dat 212 200(1024)/mV 11 1024 {row[0]} {row.sum() % 65536} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


def walk(n_leads: int, n: int, seed: int = 0) -> np.ndarray:
    """Integers [lead, time] that use all 12 bits."""
    return np.random.default_rng(seed).integers(-2047, 2048, (n_leads, n))


raw_212 = hnp.arrays(np.int16, st.tuples(st.integers(1, 12), st.integers(1, 60)), elements=st.integers(-2048, 2047))


@settings(max_examples=80, deadline=None)
@given(raw=raw_212)
def test_what_is_packed_is_read(tmp_path_factory: pytest.TempPathFactory, raw: np.ndarray) -> None:
    ecg = read_wfdb(write_212(tmp_path_factory.mktemp("212"), raw))
    expected = np.where(raw == GAP_212, np.nan, (raw - 1024.0) / 200).astype(np.float32)
    np.testing.assert_array_equal(ecg.signal, expected)
    assert (ecg.fs, ecg.metadata["format"], ecg.findings) == (360, "WFDB 212", ())


@pytest.mark.parametrize(("n_leads", "n"), [(1, 1), (1, 7), (2, 1000), (3, 999), (3, 1000), (12, 501)])
def test_samples_are_those_of_wfdb(tmp_path: Path, n_leads: int, n: int) -> None:
    raw = walk(n_leads, n)
    raw[-1, n // 2] = GAP_212
    header = write_212(tmp_path, raw)
    reference = wfdb.rdrecord(str(header.with_suffix("")))
    np.testing.assert_array_equal(read_wfdb(header).signal, reference.p_signal.T.astype(np.float32))


def test_records_that_wfdb_wrote(tmp_path: Path) -> None:
    raw = walk(3, 1001)
    wfdb.wrsamp(
        "rec", fs=250, units=["mV"] * 3, sig_name=["I", "II", "V1"], d_signal=raw.T, fmt=["212"] * 3,
        adc_gain=[200.0] * 3, baseline=[0] * 3, write_dir=str(tmp_path),
    )  # fmt: skip
    ecg = read_wfdb(tmp_path / "rec")
    np.testing.assert_array_equal(ecg.signal, (raw / 200).astype(np.float32))
    assert ecg.findings == ()


def test_an_odd_last_sample_may_be_padded(tmp_path: Path) -> None:
    header = write_212(tmp_path, walk(1, 99))
    plain = read_wfdb(header)
    signals = header.with_suffix(".dat")
    signals.write_bytes(signals.read_bytes() + b"\0")
    np.testing.assert_array_equal(read_wfdb(header).signal, plain.signal)
    assert read_wfdb(header).findings == ()
    signals.write_bytes(signals.read_bytes() + b"\0")
    assert kinds(read_wfdb(header)) == ["trailing_bytes"]
    signals.write_bytes(signals.read_bytes()[:-3])
    assert "149 bytes" in str(refused(header, "truncated"))


@pytest.mark.parametrize(("n_leads", "n"), [(1, 99), (2, 100), (3, 33), (5, 77)])
def test_undeclared_length(tmp_path: Path, n_leads: int, n: int) -> None:
    header = edit(write_212(tmp_path, walk(n_leads, n)), f" 360 {n}\n", " 360\n")
    ecg = read_wfdb(header)
    assert ecg.n_samples == n
    assert kinds(ecg) == ["length_from_file"]
    if n_leads > 1:
        signals = header.with_suffix(".dat")
        signals.write_bytes(signals.read_bytes()[:-2])
        assert "whole frames" in str(refused(header, "truncated"))


def test_two_formats_in_one_record(tmp_path: Path) -> None:
    raw = np.vstack([raw_12_leads(2, 501)[:2], walk(1, 501)])
    reference = write_wfdb(ECG(raw[:2] / 1000, 360, ("I", "II"), "a"), tmp_path).read_text().splitlines()
    other = write_212(tmp_path, raw[2:], "b").read_text().splitlines()
    (tmp_path / "rec.hea").write_text("\n".join(["rec 3 360 501", *reference[1:], other[1].removesuffix(" I") + " V1"]))
    ecg = read_wfdb(tmp_path / "rec")
    np.testing.assert_array_equal(ecg.signal[:2], (raw[:2] / 1000).astype(np.float32))
    np.testing.assert_array_equal(ecg["V1"], ((raw[2] - 1024) / 200).astype(np.float32))
    assert ecg.metadata["format"] == "WFDB 16, 212"


def test_the_lowest_value_of_another_format_is_no_gap(tmp_path: Path) -> None:
    signal = np.full((1, 100), GAP_212 / 1000, np.float32)
    assert not np.isnan(read_wfdb(write_wfdb(ECG(signal, 500, ("I",), "rec"), tmp_path)).signal).any()


# --- stretches -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    n_leads=st.integers(1, 5),
    stretch=st.tuples(st.floats(1.0, 4.0), st.floats(1.0, 4.0)).map(sorted),
    format_212=st.booleans(),
)
def test_a_stretch_is_the_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, n_leads: int, stretch: list[float], format_212: bool
) -> None:
    header = write_212(tmp_path_factory.mktemp("crop"), walk(n_leads, 1001))
    if not format_212:
        whole = read_wfdb(header)
        header = write_wfdb(ECG(whole.signal, 360, whole.leads, "x"), header.parent, gain=200)
    header = edit(header, " 360 ", " 360/100(100) ")  # sample 0 lies at 1 s
    whole = read_wfdb(header)
    try:
        expected = whole.crop(*stretch)
    except SignalError:
        with pytest.raises(SignalError, match="crop"):
            read_wfdb(header, start=stretch[0], stop=stretch[1])
        return
    ecg = read_wfdb(header, start=stretch[0], stop=stretch[1])
    np.testing.assert_array_equal(ecg.signal, expected.signal)
    assert ecg.start == expected.start
    assert (ecg.fs, ecg.leads, ecg.record_id) == (expected.fs, expected.leads, expected.record_id)


@pytest.mark.parametrize(
    "stretch", [(-0.1, 1), (1, 1), (2, 1), (0, 3), (5, 6), (math.nan, 1), (0, math.nan), (0, math.inf), (-math.inf, 1)]
)
def test_a_stretch_outside_is_refused(tmp_path: Path, stretch: tuple[float, float]) -> None:
    header = write_212(tmp_path, walk(2, 720))
    with pytest.raises(SignalError, match=r"inside \[0, 2\) s") as caught:
        read_wfdb(header, start=stretch[0], stop=stretch[1])
    assert caught.value.kind == "crop"


def test_open_ends(tmp_path: Path) -> None:
    header = write_212(tmp_path, walk(3, 721))
    whole = read_wfdb(header)
    np.testing.assert_array_equal(read_wfdb(header, start=1.5).signal, whole.signal[:, 540:])
    np.testing.assert_array_equal(read_wfdb(header, stop=0.1).signal, whole.signal[:, :36])
    assert read_wfdb(header, start=0, stop=721 / 360).findings == ()  # all of it: verified


def test_only_the_bytes_of_the_stretch_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = write_212(tmp_path, walk(3, 36001))
    asked = []
    read_bytes = SignalFile._bytes
    monkeypatch.setattr(SignalFile, "_bytes", lambda file, a, b: asked.append((a, b)) or read_bytes(file, a, b))
    read_wfdb(header, start=50, stop=51)
    ((begin, end),) = asked
    assert 0 <= 18000 * 3 * 1.5 - begin < 3
    assert 0 <= end - 18360 * 3 * 1.5 < 3


def test_a_stretch_is_not_verified_and_says_so(tmp_path: Path) -> None:
    header = write_212(tmp_path, walk(2, 720))
    signals = header.with_suffix(".dat")
    damaged = bytearray(signals.read_bytes())
    damaged[1500] ^= 1
    signals.write_bytes(damaged)
    refused(header, "checksum")
    ecg = read_wfdb(header, start=0, stop=0.5)
    assert [(f.kind, f.severity) for f in ecg.findings] == [("not_verified", "note")]
    damaged[0] ^= 1  # the initial value lies in this stretch, so it is compared
    signals.write_bytes(damaged)
    with pytest.raises(Exception, match="initial value"):
        read_wfdb(header, start=0, stop=0.5)
    assert read_wfdb(header, start=0.1, stop=0.5).n_samples == 144


def test_several_samples_per_frame_are_one_faster_signal(tmp_path: Path) -> None:
    raw = walk(2, 720)
    header = write_212(tmp_path, raw)
    frames = raw.reshape(2, 180, 4).transpose(1, 0, 2)  # frame after frame: four of one lead, four of the other
    header.with_suffix(".dat").write_bytes(pack_212(frames.reshape(-1)))
    edit(edit(header, " 360 720", " 90 180"), ".dat 212 ", ".dat 212x4 ", 2)
    ecg = read_wfdb(header)
    assert ecg.fs == 360
    np.testing.assert_array_equal(ecg.signal, ((raw - 1024) / 200).astype(np.float32))
    part = read_wfdb(header, start=0.5 + 1 / 360, stop=1.25 + 1 / 360)
    np.testing.assert_array_equal(part.signal, ecg.crop(0.5 + 1 / 360, 1.25 + 1 / 360).signal)
    reference = wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    np.testing.assert_array_equal(ecg.signal, np.array(reference.e_p_signal, dtype=np.float32))
    edit(header, ".dat 212x4 ", ".dat 212x2 ")
    assert "where the first lead has 2" in str(refused(header, "unsupported"))


@pytest.mark.parametrize("number", PACKINGS)
@pytest.mark.parametrize("n", range(13))
def test_sizes_of_a_packing(number: int, n: int) -> None:
    packing = PACKINGS[number]
    assert n <= packing.samples_in(packing.bytes_for(n)) < n + packing.samples
    assert packing.bytes_for(packing.samples_in(packing.bytes_for(n))) == packing.bytes_for(n)
    assert packing.bytes_for(n) <= packing.padded(n) < packing.bytes_for(n) + packing.bytes
    assert len(packing.tail) == packing.samples


# --- fuzz ----------------------------------------------------------------------------------------------------------


def test_fuzzed_samples(tmp_path: Path) -> None:
    header = write_212(tmp_path, walk(2, 5000, 5))
    mutants, _, silent = fuzz(header.with_suffix(".dat"), header, mutate_bytes, read_wfdb, 21)
    assert mutants > 270
    assert len(silent) / mutants <= 0.012, len(silent)


def test_fuzzed_headers(tmp_path: Path) -> None:
    header = write_212(tmp_path, walk(12, 1000, 5))
    mutants, were_read, silent = fuzz(header, header, mutate_text, read_wfdb, 22)
    assert mutants > 270
    assert were_read > 5
    assert len(silent) / mutants <= 0.02, silent
