# SPDX-License-Identifier: Apache-2.0
import os
import random
import re
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb
from fuzz import mutate_bytes, mutate_text
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecglens.ecg import ECG
from ecglens.errors import (
    EcglensError,
    EnvironmentFault,
    Finding,
    FormatError,
    InputError,
    SignalError,
    UnsafeError,
    UsageError,
)
from ecglens.formats.channels import GAP
from ecglens.formats.wfdb import read_header, read_wfdb, write_wfdb
from ecglens.formats.wfdb_signals import SignalFile
from ecglens.leads import STANDARD_LEADS

N = 1000


def raw_12_leads(seed: int = 0, n: int = N) -> np.ndarray:
    """Integer microvolts [lead, time]: a random walk, so that every sample matters and none is 0 for long."""
    walk = np.random.default_rng(seed).integers(-40, 41, (12, n)).cumsum(axis=1)
    return np.clip(walk, -30000, 30000).astype(np.int16)


def make_ecg(seed: int = 0, n: int = N, record_id: str = "rec") -> ECG:
    return ECG(raw_12_leads(seed, n).astype(np.float32) / np.float32(1000), 500, STANDARD_LEADS, record_id)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A good 12-lead record: the path of its header."""
    return write_wfdb(make_ecg(), tmp_path)


def edit(header: Path, old: str, new: str, count: int = 1) -> Path:
    text = header.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in the header: the test would test nothing"
    header.write_text(text.replace(old, new, count), encoding="utf-8")
    return header


def kinds(ecg: ECG) -> list[str]:
    return [finding.kind for finding in ecg.findings]


def refused(header: Path, kind: str, error: type[EcglensError] = FormatError) -> EcglensError:
    with pytest.raises(error) as caught:
        read_wfdb(header)
    assert caught.value.kind == kind, str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# --- right numbers -------------------------------------------------------------------------------------------------


def write_with_wfdb(folder: Path, gains: list[float], baselines: list[int], units: list[str], raw: np.ndarray) -> Path:
    wfdb.wrsamp(
        "rec", fs=500, units=units, sig_name=list(STANDARD_LEADS[: len(raw)]), d_signal=raw.T.astype(np.int64),
        fmt=["16"] * len(raw), adc_gain=gains, baseline=baselines, write_dir=str(folder),
    )  # fmt: skip
    return folder / "rec.hea"


@pytest.mark.parametrize(("gain", "baseline"), [(1000.0, 0), (200.0, 12), (1409.5, -37), (333.3333, 30000), (0.125, 5)])
def test_samples_are_those_of_wfdb(tmp_path: Path, gain: float, baseline: int) -> None:
    raw = raw_12_leads(1)
    raw[3, 17:40] = GAP
    raw[5, 0] = GAP
    write_with_wfdb(tmp_path, [gain] * 12, [baseline] * 12, ["mV"] * 12, raw)
    ecg, reference = read_wfdb(tmp_path / "rec"), wfdb.rdrecord(str(tmp_path / "rec"))
    expected = reference.p_signal.T.astype(np.float32)
    assert np.isnan(expected).sum() == 24
    np.testing.assert_array_equal(ecg.signal, expected)
    assert ecg.fs == reference.fs == 500
    assert ecg.leads == STANDARD_LEADS
    assert ecg.record_id == "rec"
    assert ecg.signal.dtype == np.float32
    assert ecg.findings == ()


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_path_may_be_record_header_or_signal_file(record: Path, suffix: str) -> None:
    ecg = read_wfdb(record.with_suffix(suffix))
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal)
    np.testing.assert_array_equal(ecg.signal, read_wfdb(str(record.with_suffix(suffix))).signal)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("mV", 1), ("uV", 1e-3), ("\u00b5V", 1e-3), ("\u03bcV", 1e-3), ("V", 1e3), ("nV", 1e-6), ("mv", 1), ("uv", 1e-3)],
)
def test_units_are_converted_to_millivolts(record: Path, unit: str, factor: float) -> None:
    plain = read_wfdb(record).signal
    ecg = read_wfdb(edit(record, "/mV", f"/{unit}", 12))
    np.testing.assert_allclose(ecg.signal, plain * factor, rtol=1e-6)
    assert ecg.findings == ()


def test_latin_1_micro_sign(record: Path) -> None:
    record.write_bytes(record.read_bytes().replace(b"/mV", b"/\xb5V"))
    np.testing.assert_allclose(read_wfdb(record).signal, make_ecg().signal / 1000, rtol=1e-6)


def test_units_mixed_within_a_record(record: Path) -> None:
    edit(record, "1000(0)/mV", "1(0)/uV", 1)  # the same calibration, spelled differently
    ecg = read_wfdb(record)
    np.testing.assert_allclose(ecg.signal, make_ecg().signal, rtol=1e-6)
    assert ecg.findings == ()


def test_unknown_unit_names_the_lead(record: Path) -> None:
    edit(record, "/mV 16 0", "/mmHg 16 0", 3)
    edit(record, "/mmHg 16 0", "/mV 16 0", 2)
    error = refused(record, "units")
    assert error.lead == "III"
    assert "mmHg" in str(error)
    assert "III" in str(error)


def test_signals_over_several_files(tmp_path: Path) -> None:
    raw = raw_12_leads(2)
    header = write_wfdb(make_ecg(2), tmp_path)
    (tmp_path / "limb.dat").write_bytes(raw[:6].T.tobytes())
    (tmp_path / "chest.dat").write_bytes(b"x" * 24 + raw[6:].T.tobytes())
    edit(header, "rec.dat 16", "limb.dat 16", 6)
    edit(header, "rec.dat 16", "chest.dat 16+24", 6)
    np.testing.assert_array_equal(read_wfdb(header).signal, make_ecg(2).signal)
    assert read_header(header).signals[7].byte_offset == 24


def test_undeclared_length_comes_from_the_file(record: Path) -> None:
    ecg = read_wfdb(edit(record, f" 500 {N}\n", " 500\n"))
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal)
    assert kinds(ecg) == ["length_from_file"]
    with record.with_suffix(".dat").open("ab") as file:
        file.write(b"123")
    assert "whole frames" in str(refused(record, "truncated"))


def test_undeclared_length_with_unequal_files(tmp_path: Path) -> None:
    raw = raw_12_leads()
    header = write_wfdb(make_ecg(), tmp_path)
    (tmp_path / "limb.dat").write_bytes(raw[:6].T.tobytes())
    (tmp_path / "chest.dat").write_bytes(raw[6:, :-1].T.tobytes())
    edit(edit(edit(header, "rec.dat", "limb.dat", 6), "rec.dat", "chest.dat", 6), f" 500 {N}\n", " 500\n")
    refused(header, "truncated")


def test_fewer_samples_declared_than_there_are(record: Path) -> None:
    raw = raw_12_leads()[:, :600]
    text = record.read_text().replace(f" {N}\n", " 600\n")
    for row, old in zip(raw, re.findall(r"(\d+) 0 \S+\n", text), strict=True):
        text = text.replace(f" {old} 0 ", f" {int(row.astype(np.int64).sum() % 65536)} 0 ", 1)
    record.write_text(text)
    ecg = read_wfdb(record)
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal[:, :600])
    assert kinds(ecg) == ["trailing_bytes"]


def test_checksum_may_be_spelled_signed_or_unsigned(record: Path) -> None:
    text = record.read_text()
    sums = [int(value) for value in re.findall(r"(\d+) 0 \S+\n", text)]
    assert max(sums) > 32767
    for value in sums:
        text = text.replace(f" {value} 0 ", f" {(value + 32768) % 65536 - 32768} 0 ")
    assert text != record.read_text()
    record.write_text(text)
    assert read_wfdb(record).findings == ()


def test_comments_clock_and_line_endings(record: Path) -> None:
    plain = record.read_text().rstrip("\n")
    commented = (
        "# <patient>: Jane Doe\n\n" + plain.replace(f" {N}\n", f" {N} 09:30:00.5 01/02/2003\n") + "\n# Jane Doe\n"
    )
    record.write_bytes(b"\xef\xbb\xbf" + commented.replace("\n", "\r\n").encode())
    ecg = read_wfdb(record)
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal)
    assert ecg.findings == ()
    for kept in (repr(ecg), repr(dict(ecg.metadata)), repr(read_header(record))):
        assert "Jane" not in kept
        assert "2003" not in kept


@pytest.mark.parametrize("rate", ["500", "500.0", "5e2", "500/500", "500/500.0(0)", "500/1(0)"])
def test_spellings_of_the_sampling_rate(record: Path, rate: str) -> None:
    ecg = read_wfdb(edit(record, " 500 ", f" {rate} "))
    assert ecg.fs == 500
    assert ecg.start == 0
    assert ecg.findings == ()


def test_header_fields(record: Path) -> None:
    edit(record, "rec.dat 16 1000(0)/mV 16 0", "rec.dat 16x1:0+0 -1000(-3)/mV 12 7")
    header = read_header(record)
    spec = header.signals[0]
    assert (header.record_name, header.n_signals, header.fs, header.n_samples) == ("rec", 12, 500.0, N)
    assert (spec.file_name, spec.format, spec.samples_per_frame, spec.skew, spec.byte_offset) == (
        "rec.dat",
        16,
        1,
        0,
        0,
    )
    assert (spec.gain, spec.baseline, spec.units, spec.adc_resolution, spec.adc_zero) == (-1000.0, -3, "mV", 12, 7)
    assert (spec.initial_value, spec.block_size, spec.lead) == (int(raw_12_leads()[0, 0]), 0, "I")
    assert spec.checksum == raw_12_leads()[0].astype(np.int64).sum() % 65536


def test_baseline_defaults_to_adc_zero(record: Path) -> None:
    edit(record, "1000(0)/mV 16 0 ", "1000/mV 16 100 ", 12)
    np.testing.assert_allclose(read_wfdb(record).signal, make_ecg().signal - 0.1, atol=1e-6)


# --- flagged -------------------------------------------------------------------------------------------------------


def numbers_left_out(header: Path, gain: str) -> Path:
    """Rewrite the signal lines as people write them by hand: file, format, gain, lead."""
    lines = header.read_text().splitlines()
    header.write_text("\n".join([lines[0]] + [f"rec.dat 16 {gain} {line.split()[-1]}" for line in lines[1:]]))
    return header


def test_missing_checksums_are_flagged(record: Path) -> None:
    ecg = read_wfdb(numbers_left_out(record, "1000/mV"))
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal)
    assert [(f.kind, f.severity) for f in ecg.findings] == [("no_checksum", "warning")]


def test_missing_gain_and_units_are_flagged(record: Path) -> None:
    ecg = read_wfdb(numbers_left_out(record, ""))
    np.testing.assert_allclose(ecg.signal, make_ecg().signal * 5, rtol=1e-6)
    found = {(f.kind, f.severity, f.lead) for f in ecg.findings}
    assert {("gain_assumed", "warning", "V6"), ("units_assumed", "note", "V6")} <= found
    ecg = read_wfdb(numbers_left_out(record, "1000"))
    assert set(kinds(ecg)) == {"units_assumed", "no_checksum"}


def test_trailing_bytes_are_flagged(record: Path) -> None:
    with record.with_suffix(".dat").open("ab") as file:
        file.write(b"more")
    ecg = read_wfdb(record)
    np.testing.assert_array_equal(ecg.signal, make_ecg().signal)
    assert kinds(ecg) == ["trailing_bytes"]
    assert "4 bytes" in ecg.findings[0].reason


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (" 0 V2\n", " 0 V22\n", "unknown_lead"),
        ("1000(0)", "1001(0)", "odd_gain"),
        ("/mV", "/uV", "odd_gain"),
        ("1000(0)", "1000(7)", "odd_baseline"),
        ("1000(0)", "1000(70000000)", "baseline"),
        ("1000(0)", "-1000(0)", "negative_gain"),
        (" 500 ", " 501 ", "unusual_fs"),
        ("rec 12", "rek 12", "record_name"),
    ],
)
def test_suspicious_headers_are_flagged(record: Path, old: str, new: str, kind: str) -> None:
    ecg = read_wfdb(edit(record, old, new))
    assert kind in kinds(ecg)
    assert all(f.severity == "warning" for f in ecg.findings)


def test_leads_calibrated_one_by_one_are_not_odd(record: Path) -> None:
    for i in range(12):
        edit(record, "1000(0)", f"{900 + i}({i % 4 == 1:d})")
    assert read_wfdb(record).findings == ()


def test_reading_without_verification_is_flagged(record: Path) -> None:
    edit(record, f" {raw_12_leads()[0].astype(np.int64).sum() % 65536} 0 I\n", " 1 0 I\n")
    assert refused(record, "checksum").lead == "I"
    assert kinds(read_wfdb(record, verify=False)) == ["not_verified"]


# --- refused -------------------------------------------------------------------------------------------------------


def test_truncated_signal_file_says_both_sizes(record: Path) -> None:
    os.truncate(record.with_suffix(".dat"), 12345)
    error = refused(record, "truncated")
    assert "12345" in str(error)
    assert str(24 * N) in str(error)


def test_every_flipped_byte_is_caught(record: Path) -> None:
    signals = record.with_suffix(".dat")
    good = signals.read_bytes()
    rng = random.Random(3)
    for position in [0, 1, len(good) - 1, *rng.sample(range(len(good)), 200)]:
        damaged = bytearray(good)
        damaged[position] ^= rng.randrange(1, 256)
        signals.write_bytes(damaged)
        assert refused(record, "checksum").lead == STANDARD_LEADS[position % 24 // 2]
    signals.write_bytes(good)
    assert read_wfdb(record).findings == ()


def test_wrong_initial_value(record: Path) -> None:
    first = int(raw_12_leads()[0, 0])
    edit(record, f" 16 0 {first} ", f" 16 0 {first + 1} ")
    assert "initial value" in str(refused(record, "checksum"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f" {N}\n", f" {10**12}\n"),
        (f" {N}\n", " 1" + "0" * 4000 + "\n"),
        ("rec 12", f"rec {10**8}"),
        ("rec 12", "rec 256"),
    ],
)
def test_huge_counts_cost_nothing(record: Path, old: str, new: str) -> None:
    edit(record, old, new)
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises((FormatError, UnsafeError)):  # unsafe where the header declares what no file holds
            read_wfdb(record)
        elapsed, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert elapsed < 0.2
    assert peak < 4 * 2**20


def test_sparse_file_as_large_as_declared(record: Path) -> None:
    os.truncate(record.with_suffix(".dat"), 24 * 10**9)
    refused(edit(record, f" {N}\n", f" {10**9}\n"), "too_large")


def test_header_size_is_capped(record: Path) -> None:
    with record.open("ab") as file:
        file.write(b"# padding\n" * 2**17)
    refused(record, "too_large")


OUTSIDE = ["../x.dat", "sub/../../x.dat", "/etc/passwd", "~/x.dat", "http://evil.example/x", "C:\\x.dat", "link.dat",
           "linked/rec.dat", "fifo.dat"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_signal_file_outside_or_no_regular_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "records"
    header = write_wfdb(make_ecg(), folder)
    write_wfdb(make_ecg(record_id="x"), tmp_path)
    (folder / "link.dat").symlink_to(folder / "rec.dat")
    (folder / "linked").symlink_to(folder)
    os.mkfifo(folder / "fifo.dat")
    edit(header, "rec.dat", name, 12)
    begin = time.process_time()
    with pytest.raises(UnsafeError) as caught:
        read_wfdb(header)
    assert caught.value.exit_code == 4
    assert time.process_time() - begin < 1


def test_device_as_signal_file_is_refused_by_name(record: Path) -> None:
    with pytest.raises(UnsafeError):
        read_wfdb(edit(record, "rec.dat", "/dev/zero", 12))


def test_linked_or_piped_header(tmp_path: Path, record: Path) -> None:
    (tmp_path / "other.hea").symlink_to(record)
    os.mkfifo(tmp_path / "pipe.hea")
    refused(tmp_path / "other.hea", "link", UnsafeError)
    refused(tmp_path / "pipe.hea", "not_regular", UnsafeError)


def test_missing_files(record: Path) -> None:
    record.with_suffix(".dat").unlink()
    assert "rec.dat" in str(refused(record, "missing_file", InputError))
    record.unlink()
    refused(record, "missing_file", InputError)


@pytest.mark.parametrize(
    "rate", ["0", "-500", "nan", "inf", "1e30", "4001", "49.9", "5_00", "500Hz", "٥٠٠", "500/0(1)x"]
)
def test_impossible_sampling_rates(record: Path, rate: str) -> None:
    refused(edit(record, " 500 ", f" {rate} "), "sampling_rate")


@pytest.mark.parametrize("counter", ["500/0", "500/-1(3)", "500/1(1e300)", "500/1e300(1)"])
def test_impossible_counters(record: Path, counter: str) -> None:
    refused(edit(record, " 500 ", f" {counter} "), "header")


@pytest.mark.parametrize("gain", ["0", "0.0", "-0", "nan", "inf", "1e999", "1e-300", "1,5", "0x10", "mV"])
def test_impossible_gains(record: Path, gain: str) -> None:
    error = refused(edit(record, "1000(0)", f"{gain}(0)"), "gain")
    assert error.lead == "I"
    assert "line 2" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("rec 12", "rec/2 12", "header"),
        ("rec 12", "rec 0", "header"),
        ("rec 12", "rec -1", "header"),
        ("rec 12", "rec 13", "header"),
        ("rec 12", "rec 11", "header"),
        ("rec 12 500 1000", "rec", "header"),
        ("rec 12 500 1000", "rec 12", "header"),
        (f" {N}\n", f" {N} Jane Doe\n", "header"),
        (f" {N}\n", " -5\n", "header"),
        (f" {N}\n", " 1_000\n", "header"),
        ("rec.dat 16 ", "rec.dat 212 ", "layout"),
        ("rec.dat 16 ", "rec.dat 16x2 ", "unsupported"),
        ("rec.dat 16 ", "rec.dat 16:3 ", "unsupported"),
        ("rec.dat 16 ", "rec.dat 17 ", "signal_format"),
        ("rec.dat 16 ", "rec.dat 16x000 ", "signal_format"),
        ("rec.dat 16 ", "rec.dat 16+2 ", "layout"),
        ("rec.dat 16 ", "rec.dat sixteen ", "signal_format"),
        ("/mV 16 0 ", "/mV sixteen 0 ", "header"),
        ("/mV 16 0 ", "/mV 33 0 ", "header"),
        (" 0 V1\n", " 0 V2\n", "duplicate_lead"),
        (" 0 V1\n", " 0 c2\n", "duplicate_lead"),
        (" 0 V1\n", " 0\n", "no_lead_name"),
        (" 0 V1\n", " 0 V\x001\n", "header"),
        (" 0 V1\n", " 0 V\x1b[31m1\n", "header"),
    ],
)
def test_malformed_headers(record: Path, old: str, new: str, kind: str) -> None:
    error = refused(edit(record, old, new), kind)
    assert str(record) in str(error)


def test_no_lead_names_at_all(record: Path) -> None:
    record.write_text(re.sub(r" 0 \S+\n", " 0\n", record.read_text()))
    assert "lead name" in str(refused(record, "no_lead_name"))


def test_one_file_in_two_places(record: Path) -> None:
    lines = record.read_text().splitlines()
    lines[5] = lines[5].replace("rec.dat", "other.dat")
    (record.parent / "other.dat").write_bytes(raw_12_leads()[4].tobytes())
    record.write_text("\n".join(lines))
    refused(record, "layout")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n# only a comment\n", "comments"),
        (b"<!DOCTYPE html><html>Not found</html>", "HTML"),
        (b"\n  <HTML>", "HTML"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x00\x01\x02", "control"),
        (b"\xff\xfer\x00e\x00c\x00", "control"),
        (random.Random(0).randbytes(2000), "control"),
    ],
)
def test_headers_that_are_none(record: Path, content: bytes, words: str) -> None:
    record.write_bytes(content)
    with pytest.raises(FormatError, match=words):
        read_wfdb(record)


@pytest.mark.parametrize(
    ("content", "words"), [(b"version https://git-lfs.github.com/spec/v1\n", "git-LFS"), (b"PK\x03\x04" * 8000, "zip")]
)
def test_signal_files_that_are_none(record: Path, content: bytes, words: str) -> None:
    record.with_suffix(".dat").write_bytes(content)
    assert words in str(refused(record, "content"))


@pytest.mark.parametrize("size", [24 * N + 1, 24 * N - 1, 0])
def test_file_that_changes_while_it_is_read(record: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    frames_of = SignalFile._frames

    def sized_then_changed(file: SignalFile, declared: int | None) -> tuple[int, tuple[Finding, ...]]:
        found = frames_of(file, declared)
        os.truncate(record.with_suffix(".dat"), size)
        return found

    monkeypatch.setattr(SignalFile, "_frames", sized_then_changed)
    refused(record, "changed")


# --- writing -------------------------------------------------------------------------------------------------------

integers = hnp.arrays(np.int16, st.tuples(st.integers(1, 12), st.integers(1, 60)), elements=st.integers(GAP, 32767))


@settings(max_examples=60, deadline=None)
@given(
    raw=integers,
    fs=st.floats(50, 4000),
    start=st.sampled_from([0.0, 2.5, 1 / 3, -7.125]),
    name=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    gain=st.sampled_from([1000.0, 200.0, 333.25]),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, raw: np.ndarray, fs: float, start: float, name: str, gain: float
) -> None:
    folder = tmp_path_factory.mktemp("round")
    signal = np.where(raw == GAP, np.nan, raw / gain).astype(np.float32)
    ecg = ECG(signal, fs, STANDARD_LEADS[: len(raw)], name, start)
    path = write_wfdb(ecg, folder, gain=gain)
    assert sorted(os.listdir(folder)) == sorted([f"{name}.dat", f"{name}.hea"])
    back = read_wfdb(path)
    np.testing.assert_array_equal(back.signal, ecg.signal)
    assert (back.fs, back.start, back.leads, back.record_id) == (ecg.fs, ecg.start, ecg.leads, name)
    assert set(kinds(back)) <= {"unusual_fs"}


def test_wfdb_reads_what_we_write(tmp_path: Path) -> None:
    signal = make_ecg().signal.copy()
    signal[2, 5:9] = np.nan
    ecg = replace(make_ecg(), signal=signal, fs=1000 / 3, start=1.5)
    write_wfdb(ecg, tmp_path)
    reference = wfdb.rdrecord(str(tmp_path / "rec"), physical=False)
    assert reference.calc_checksum() == reference.checksum
    assert reference.init_value == reference.d_signal[0].tolist()
    assert reference.fs == 1000 / 3
    assert tuple(reference.sig_name) == STANDARD_LEADS
    np.testing.assert_array_equal(wfdb.rdrecord(str(tmp_path / "rec")).p_signal.T.astype(np.float32), signal)


def test_refused_to_write(tmp_path: Path) -> None:
    ecg = make_ecg()
    for name in ("", "a b", "../a", "a/b", "a.b", "ä", "a\n", "rec\x00"):
        with pytest.raises(UsageError):
            write_wfdb(replace(ecg, record_id=name), tmp_path)
    for gain in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UsageError):
            write_wfdb(ecg, tmp_path, gain=gain)
    large = ecg.signal.copy()
    large[7, 3] = 33.0
    with pytest.raises(SignalError) as caught:
        write_wfdb(replace(ecg, signal=large), tmp_path)
    assert caught.value.lead == "V2"
    with pytest.raises(SignalError):
        write_wfdb(replace(ecg, leads=("I\n# x", *STANDARD_LEADS[1:])), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault):
        write_wfdb(ecg, tmp_path / "file")


def test_new_signals_under_an_old_header_are_caught(tmp_path: Path) -> None:
    old_header = write_wfdb(make_ecg(0), tmp_path).read_bytes()
    write_wfdb(make_ecg(1), tmp_path)
    (tmp_path / "rec.hea").write_bytes(old_header)  # as if killed between the two files
    refused(tmp_path / "rec.hea", "checksum")


# --- fuzz ----------------------------------------------------------------------------------------------------------


def fuzz(file: Path, record: Path, mutate: Callable[[bytes, random.Random], bytes], read: Callable[[Path], ECG],
         seed: int) -> tuple[int, int, list[bytes]]:  # fmt: skip
    """Read 300 mutants of `file`; return how many really were mutants, how many were read, and the silent ones."""
    good_ecg, good = read(record), file.read_bytes()
    rng = random.Random(seed)
    mutants, were_read, silent, errors = 0, 0, [], []
    for _ in range(300):
        mutant = mutate(good, rng)
        mutants += mutant != good
        file.write_bytes(mutant)
        begin = time.process_time()
        try:
            ecg = read(record)
        except EcglensError as error:
            errors.append(error)
        else:
            were_read += 1
            same = (
                ecg.fs == good_ecg.fs and ecg.leads == good_ecg.leads
                and np.array_equal(ecg.signal, good_ecg.signal, equal_nan=True)
            )  # fmt: skip
            if not same and not any(f.severity == "warning" for f in ecg.findings):
                silent.append(mutant)
        assert time.process_time() - begin < 2
    file.write_bytes(good)
    assert {error.exit_code for error in errors} <= {3, 4}
    assert not any("\n" in str(error) for error in errors)
    return mutants, were_read, silent


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_headers(record: Path, seed: int) -> None:
    mutants, were_read, silent = fuzz(record, record, mutate_text, read_wfdb, seed)
    assert mutants > 270
    assert were_read > 5  # else the mutants are too coarse to show anything
    assert len(silent) / mutants <= 0.02, silent


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_samples(record: Path, seed: int) -> None:
    mutants, _, silent = fuzz(record.with_suffix(".dat"), record, mutate_bytes, read_wfdb, seed)
    assert mutants > 270
    assert len(silent) / mutants <= 0.012, len(silent)


def test_the_fuzz_would_notice_a_reader_that_does_not_look(record: Path) -> None:
    def trusting(path: Path) -> ECG:
        return replace(read_wfdb(path, verify=False), findings=())

    def incumbent(path: Path) -> ECG:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = wfdb.rdrecord(str(path.with_suffix("")))
            return ECG(found.p_signal.T, found.fs, tuple(found.sig_name), found.record_name)
        except Exception as error:
            raise FormatError(path, "wfdb", error) from None

    mutants, _, silent = fuzz(record.with_suffix(".dat"), record, mutate_bytes, trusting, 1)
    assert len(silent) / mutants > 0.3
    mutants, _, silent = fuzz(record, record, mutate_text, incumbent, 1)
    assert len(silent) / mutants > 0.1
