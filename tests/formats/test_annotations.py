# SPDX-License-Identifier: Apache-2.0
"""Annotation files: decoded as the wfdb package does, refused where they are damaged, and made into Fiducials."""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import wfdb
from fuzz import mutate_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglens import read_annotations
from ecglens.ecg import ECG
from ecglens.errors import EcglensError, FormatError, InputError, UnsafeError
from ecglens.formats.annotations import SYMBOLS, read_marks
from ecglens.formats.wfdb import write_wfdb


def word(code: int, value: int = 0) -> bytes:
    return struct.pack("<H", code << 10 | value)


def write_record(folder: Path, leads: tuple[str, ...] = ("MLII", "V1"), seconds: int = 10) -> Path:
    return write_wfdb(ECG(np.zeros((len(leads), 360 * seconds)), 360, leads, "rec"), folder)


def write_marks(folder: Path, extension: str, marks: list[tuple[int, str]], aux: list[str] | None = None) -> Path:
    samples, symbols = zip(*marks, strict=True)
    wfdb.wrann("rec", "tmp", np.array(samples), list(symbols), aux_note=aux, write_dir=str(folder))
    return (folder / "rec.tmp").rename(folder / f"rec.{extension}")  # wfdb does not write names like .v1


mark = st.tuples(
    st.integers(0, 3_000_000), st.sampled_from(sorted(SYMBOLS.values())), st.integers(-128, 127), st.integers(0, 255),
    st.integers(0, 127), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(marks=st.lists(mark, min_size=1, max_size=30, unique_by=lambda m: m[0]))
def test_what_wfdb_writes_is_read(tmp_path_factory: pytest.TempPathFactory, marks: list) -> None:
    folder = tmp_path_factory.mktemp("marks")
    marks = [m for m in sorted(marks) if m[:2] != (0, '"')] or [(5, "N", 0, 0, 0, "")]
    samples, symbols, subtypes, channels, numbers, notes = zip(*marks, strict=True)
    wfdb.wrann(
        "rec", "atr", np.array(samples), list(symbols), subtype=np.array(subtypes), chan=np.array(channels),
        num=np.array(numbers), aux_note=list(notes), write_dir=str(folder),
    )  # fmt: skip
    found = read_marks(folder / "rec.atr")
    assert found.sample.tolist() == list(samples)
    assert found.symbol == symbols
    assert found.subtype.tolist() == list(subtypes)
    assert found.channel.tolist() == list(channels)
    assert found.number.tolist() == list(numbers)
    assert found.aux == notes


def test_every_field_by_hand(tmp_path: Path) -> None:
    """NUM and CHN hold until changed, SUB and AUX belong to one mark; SKIP is a 32-bit interval, high half first."""
    (tmp_path / "rec.atr").write_bytes(
        word(22) + word(63, 24) + b"## time resolution: 1000"
        + word(1, 100) + word(60, 5) + word(61, 0x3FF) + word(62, 200)
        + word(59) + struct.pack("<2H", 1, 2) + word(28, 1) + word(63, 5) + b"(AFIB\0"
        + word(59) + struct.pack("<2H", 0xFFFF, 0xFFFF) + word(42, 1)
        + word(0) + bytes(6)
    )  # fmt: skip
    found = read_marks(tmp_path / "rec.atr")
    assert found.fs == 1000
    assert found.sample.tolist() == [100, 65639, 65639]
    assert found.symbol == ("N", "+", "#42")
    assert found.subtype.tolist() == [-1, 0, 0]
    assert found.channel.tolist() == [200, 200, 200]
    assert found.number.tolist() == [5, 5, 5]
    assert found.aux == ("", "(AFIB", "")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "content"),
        (b"\0", "annotations"),
        (word(1, 5), "truncated"),
        (word(1, 5) + word(59) + b"\0\0", "truncated"),
        (word(1, 5) + word(63, 200) + b"x" * 20, "truncated"),
        (word(1, 5) + word(63, 0x3FF) + b"x" * 2000 + word(0), "truncated"),
        (word(1, 5) + word(0) + word(1, 5), "annotations"),
        (word(60, 5) + word(0), "annotations"),
        (word(63, 2) + b"xx" + word(0), "annotations"),
        (word(55, 5) + word(0), "annotations"),
        (word(59) + b"\xff\xff\xff\xff" + word(1) + word(0), "annotations"),
        (word(1, 9) + word(59) + b"\xff\xff\xf0\xff" + word(1) + word(0), "annotations"),
        (word(22) + word(63, 22) + b"## time resolution: -1" + word(0), "annotations"),
        (b"<!DOCTYPE html>", "content"),
        (b"version https://git-lfs.github.com/spec/v1\n", "content"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "rec.atr").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read_marks(tmp_path / "rec.atr")
    assert caught.value.kind == kind, str(caught.value)


def test_many_skips_end(tmp_path: Path) -> None:
    forward = word(59) + b"\xff\x7f\xff\xff"
    (tmp_path / "rec.atr").write_bytes(forward * 100_000 + word(1) + word(0))
    begin = time.process_time()
    with pytest.raises(FormatError):
        read_marks(tmp_path / "rec.atr")
    assert time.process_time() - begin < 2


# --- Fiducials -----------------------------------------------------------------------------------------------------


def test_beats_and_rhythms(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    marks = [(5, "+"), (360, "N"), (720, "V"), (900, "~"), (1000, "+"), (1080, "A"), (1100, "x"), (1200, '"')]
    write_marks(tmp_path, "atr", marks, ["(N\0", "", "", "", "(AFIB", "", "", "Jane Doe"])
    for path in (record, record.with_suffix(""), tmp_path / "rec.atr"):
        found = read_annotations(path)
        assert found.leads == ("MLII", "V1")
        for lead in found.leads:
            assert found[lead, "R_peak"].tolist() == [1.0, 2.0, 3.0]
        assert np.isfinite(found.times).sum() == 6
        assert found.beat_labels == ("N", "V", "A")
        assert found.rhythms == ((5 / 360, 1000 / 360, "N"), (1000 / 360, 10.0, "AFIB"))
        assert found.absent["V1", None, "P"] == "not marked in .atr"
        assert "same for all leads" in found.method
        assert "Jane" not in repr((found.method, found.rhythms, dict(found.absent)))


def test_times_are_on_the_clock_of_the_record_at_the_rate_of_the_file(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    record.write_text(record.read_text().replace(" 360 ", " 360/1(100) "))
    wfdb.wrann("rec", "qrs", np.array([500, 1500]), ["N", "N"], fs=1000, write_dir=str(tmp_path))
    found = read_annotations(record, "qrs")
    assert found["V1", "R_peak"].tolist() == [100.5, 101.5]
    assert found.rhythms == ()


def wave(onset: int | None, peak: int, offset: int | None, symbol: str) -> list[tuple[int, str]]:
    return [(t, s) for t, s in ((onset, "("), (peak, symbol), (offset, ")")) if t is not None]


def test_waves_of_each_lead(tmp_path: Path) -> None:
    record = write_record(tmp_path, ("II", "V1", "aVR"))
    write_marks(tmp_path, "ii", [
        *wave(300, 310, 320, "p"), *wave(350, 360, 370, "N"), *wave(420, 440, 460, "t"),
        *wave(650, 660, None, "p"), *wave(710, 720, 730, "N"), *wave(1000, 1020, 1030, "p"),
    ])  # fmt: skip
    write_marks(tmp_path, "v1", [
        *wave(710, 725, 731, "N"), *wave(None, 800, 820, "t"), *wave(1070, 1080, 1090, "N"),
    ])  # fmt: skip
    found = read_annotations(record)
    assert found.leads == ("II", "V1")  # aVR has no file
    seconds = np.round(found.times * 360)
    nan = np.nan
    expected = np.full((2, 3, 11), nan)
    expected[0, 0, [0, 1, 2, 3, 5, 7, 8, 9, 10]] = [300, 310, 320, 350, 360, 370, 420, 440, 460]
    expected[0, 1, [0, 1, 3, 5, 7]] = [650, 660, 710, 720, 730]
    expected[1, 1, [3, 5, 7, 9, 10]] = [710, 725, 731, 800, 820]
    expected[1, 2, [3, 5, 7]] = [1070, 1080, 1090]
    np.testing.assert_array_equal(seconds, expected)
    assert found.absent["V1", None, "QRS"] == "not marked in this lead"
    assert "1 P and T waves that belong to no beat" in found.method  # the P at 1020
    assert found.beat_labels is None
    only = read_annotations(record, "v1")
    assert only.leads == ("V1",)
    assert only.n_beats == 2
    assert read_annotations(tmp_path / "rec.v1").n_beats == 2


def test_beats_close_together_are_not_mixed_up(tmp_path: Path) -> None:
    record = write_record(tmp_path, ("II", "V1"))
    write_marks(tmp_path, "ii", [(t, "N") for t in (100, 130, 400)])
    write_marks(tmp_path, "v1", [(t, "N") for t in (110, 135, 405)])
    found = read_annotations(record)
    assert np.round(found["II", "R_peak"] * 360).tolist() == [100, 130, 400]
    assert np.round(found["V1", "R_peak"] * 360).tolist() == [110, 135, 405]


def test_refused(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    with pytest.raises(InputError, match=r"rec\.atr"):
        read_annotations(record)
    with pytest.raises(InputError):
        read_annotations(tmp_path / "nothing")
    with pytest.raises(InputError):
        read_annotations(record, "../x")
    write_marks(tmp_path, "atr", [(3601, "N")])
    with pytest.raises(FormatError, match="inside the record of 10 s"):
        read_annotations(record)
    (tmp_path / "rec.lnk").symlink_to(tmp_path / "rec.atr")
    os.mkfifo(tmp_path / "rec.fifo")
    for extension in ("lnk", "fifo"):
        with pytest.raises(UnsafeError):
            read_annotations(record, extension)


@pytest.mark.parametrize("seed", [41, 42])
def test_fuzzed(tmp_path: Path, seed: int) -> None:
    """Nothing guards these files with a checksum, so damage may go unseen; but it never crashes, hangs or invents."""
    record = write_record(tmp_path, seconds=100)
    marks = [(t, "N" if t % 5 else "+") for t in range(10, 36000, 97)]
    file = write_marks(tmp_path, "atr", marks, ["" if t % 5 else "(AFIB" for t, _ in marks])
    good, rng, errors = file.read_bytes(), random.Random(seed), []
    for _ in range(300):
        file.write_bytes(mutate_bytes(good, rng))
        begin = time.process_time()
        try:
            found = read_annotations(record)
        except EcglensError as error:
            errors.append(error)
        else:
            peaks = found["V1", "R_peak"]
            assert ((peaks >= 0) & (peaks <= 100)).all()
            assert (np.diff(peaks) >= 0).all()
        assert time.process_time() - begin < 2
    assert len(errors) > 150
    assert {error.exit_code for error in errors} <= {3, 4}
    assert not any("\n" in str(error) for error in errors)
