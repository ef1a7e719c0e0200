# SPDX-License-Identifier: Apache-2.0
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from samples import TARGETS, small_ecg
from samples.edf import make_edf
from samples.npy import make_npy
from samples.scp import make_scp

from ecglens.ecg import ECG
from ecglens.errors import FormatError, InputError, SignalError, UnsafeError
from ecglens.formats.read import READERS, read, record_paths
from ecglens.formats.wfdb import write_wfdb

WATCHED: list[list[str]] = []


def watch(event: str, _: object) -> None:
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.")):
        for seen in WATCHED:
            seen.append(event)


sys.addaudithook(watch)  # CPython reports here whatever opens a socket or looks up a host, from any library


@contextmanager
def reached() -> Iterator[list[str]]:
    """Collect what reaches for the network meanwhile."""
    WATCHED.append([])
    try:
        yield WATCHED[-1]
    finally:
        WATCHED.pop()


def make_record(folder: Path, name: str = "rec") -> Path:
    signal = np.arange(2000, dtype=np.float32).reshape(2, 1000) / 1000
    return write_wfdb(ECG(signal, 500, ("I", "II"), name), folder)


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_every_way_to_name_a_record(tmp_path: Path, suffix: str) -> None:
    path = make_record(tmp_path).with_suffix(suffix)
    for spelled in (path, str(path)):
        ecg = read(spelled)
        assert ecg.record_id == "rec"
        assert ecg.leads == ("I", "II")
        assert ecg["II"][-1] == np.float32(1.999)


def test_record_names_with_dots_and_odd_names(tmp_path: Path) -> None:
    header = make_record(tmp_path)
    for name in ("a.b", "two words", "-rf", "quo'te\"", "\u202egnp", "x" * 200, os.fsdecode(b"\xff")):
        other = tmp_path / f"{name}.hea"
        other.write_bytes(header.read_bytes())
        assert read(other).record_id == name
        assert read(tmp_path / name).record_id == name
        other.unlink()


CONTENTS = [
    (b"<!DOCTYPE html><html><title>404</title>", "HTML page"),
    (b"\xef\xbb\xbf <html>", "HTML page"),
    (b"PK\x03\x04\x14\x00", "zip"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-LFS pointer"),
    (b"%PDF-1.7\n", "PDF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"", "empty file"),
    (bytes(128) + b"DICM", "DICOM"),
]


@pytest.mark.parametrize(("content", "words"), CONTENTS)
@pytest.mark.parametrize("name", ["x.hea", "x.dat", "x.xyz", "x"])
def test_says_what_a_file_really_is(tmp_path: Path, content: bytes, words: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FormatError, match=words) as caught:
        read(path)
    assert name in str(caught.value)
    assert caught.value.kind == "content"


@pytest.mark.parametrize(("content", "words"), [c for c in CONTENTS if c[0]])
def test_says_what_stands_in_for_the_signals(tmp_path: Path, content: bytes, words: str) -> None:
    header = make_record(tmp_path)
    size = header.with_suffix(".dat").stat().st_size
    for padded in (content, content.ljust(size, b"."), content.ljust(2 * size, b".")):
        header.with_suffix(".dat").write_bytes(padded)
        with pytest.raises(FormatError, match=words):
            read(header)


def test_a_stretch(tmp_path: Path) -> None:
    header = make_record(tmp_path)
    whole = read(header)
    part = read(header, 0.5, 1.25)
    assert (part.start, part.n_samples) == (0.5, 375)
    assert np.array_equal(part.signal, whole.signal[:, 250:625])
    assert read(header, 1.5).n_samples == 250
    assert read(header, stop=0.1).n_samples == 50
    for stretch in ((-1, 1), (1, 1), (0, 3), (np.nan, 1)):
        with pytest.raises(SignalError, match="crop"):
            read(header, *stretch)


def test_unknown_content(tmp_path: Path) -> None:
    (tmp_path / "x.xyz").write_bytes(b"some text")
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "x.xyz")
    assert caught.value.kind == "unknown_format"
    assert all(name in str(caught.value) for name in ("WFDB", *READERS))


def test_missing_folders_and_odd_paths(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.hea").mkdir()
    os.mkfifo(tmp_path / "pipe")
    make_record(tmp_path)
    (tmp_path / "alone.dat").write_bytes(b"\x01\x02" * 100)
    (tmp_path / "link.hea").symlink_to(tmp_path / "rec.hea")
    for name, error, kind in [
        ("nothing", InputError, "missing_file"), ("nothing.hea", InputError, "missing_file"),
        ("nothing.dat", InputError, "missing_file"), ("alone.dat", InputError, "missing_file"),
        ("folder", InputError, "empty_folder"), ("folder.hea", InputError, "empty_folder"),
        ("pipe", UnsafeError, "not_regular"), ("link.hea", UnsafeError, "link"), ("a\x00b", InputError, "missing_file"),
        ("x" * 300, InputError, "unreadable"), ("x" * 300 + ".hea", InputError, "unreadable"),
    ]:  # fmt: skip
        begin = time.process_time()
        with pytest.raises(error) as caught:
            read(tmp_path / name)
        assert caught.value.kind == kind, (name, str(caught.value))
        assert "\n" not in str(caught.value)
        assert time.process_time() - begin < 1
    with pytest.raises(InputError, match=r"alone\.hea"):
        read(tmp_path / "alone.dat")


def test_a_record_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    make_record(tmp_path)
    (tmp_path / "rec").mkdir()
    with pytest.raises(InputError, match="folder"):
        read(tmp_path / "rec")
    assert read(tmp_path / "rec.hea").record_id == "rec"


def test_record_paths(tmp_path: Path) -> None:
    inside = tmp_path / "data"
    for folder, name in (("b", "2"), ("b", "1"), ("a/deep", "9"), (".hidden", "8"), ("", "0")):
        make_record(inside / folder, name)
    outside = make_record(tmp_path / "outside", "7")
    (inside / "away").symlink_to(tmp_path / "outside")
    (inside / "b" / "loop").symlink_to(inside)
    (inside / "._0.hea").write_bytes(b"")
    assert [str(p.relative_to(inside)) for p in record_paths(inside)] == ["0.hea", "a/deep/9.hea", "b/1.hea", "b/2.hea"]
    assert record_paths(str(tmp_path / "outside")) == [outside]
    (inside / "linked.hea").symlink_to(outside)
    listed = record_paths(inside)
    assert listed[-1].name == "linked.hea"
    with pytest.raises(UnsafeError):
        read(listed[-1])


def test_record_paths_without_a_folder(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "nothing", "nothing there"), (make_record(tmp_path), "no folder")):
        with pytest.raises(InputError, match=words):
            record_paths(path)
    (tmp_path / "empty").mkdir()
    assert record_paths(tmp_path / "empty") == []


@pytest.mark.parametrize("name", [row[0] for row in TARGETS])
def test_no_reader_reaches_for_the_network(tmp_path: Path, name: str) -> None:
    make, read_it = next(row[1:3] for row in TARGETS if row[0] == name)
    path = make(tmp_path)[1]
    with reached() as seen:
        read_it(path)
    assert seen == []


def test_what_reaches_for_the_network_is_seen() -> None:
    with reached() as seen, socket.socket() as door:
        door.settimeout(0.1)
        door.connect_ex(("127.0.0.1", 9))
    assert "socket.connect" in seen


@pytest.mark.parametrize("name", ["rec.hea", "rec.edf", "rec.npy", "rec.scp"])
def test_a_size_that_no_file_has_is_unsafe(tmp_path: Path, name: str) -> None:
    if name == "rec.hea":
        header = make_record(tmp_path).read_text()
        n_samples = header.split()[3]
        (tmp_path / name).write_text(header.replace(f" {n_samples}\n", " 999999999999\n", 1))
    elif name == "rec.edf":
        good = make_edf(tmp_path, small_ecg()).read_bytes()
        (tmp_path / name).write_bytes(good[:236] + b"99999999" + good[244:])
    elif name == "rec.npy":
        good = make_npy(tmp_path, small_ecg(), sealed=False).read_bytes()
        (tmp_path / name).write_bytes(good.replace(b"(12, 500)", b"(12, 10000000000)").replace(b" " * 9, b" ", 1))
    else:
        good = make_scp(tmp_path, small_ecg()).read_bytes()
        (tmp_path / name).write_bytes(good[:2] + (2**31).to_bytes(4, "little") + good[6:])
    with pytest.raises(UnsafeError) as caught:
        read(tmp_path / name)
    assert (caught.value.kind, caught.value.exit_code) == ("declared_size", 4)
    assert "\n" not in str(caught.value)
