# SPDX-License-Identifier: Apache-2.0
import binascii
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, kinds, refused
from samples import small_ecg
from samples.scp import EIGHT, make_scp, record, section, sections_of

from ecglens.errors import EnvironmentFault
from ecglens.formats.read import read
from ecglens.formats.scp import MAX_SAMPLES
from ecglens.leads import STANDARD_LEADS, derive_limb_lead


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_scp(tmp_path, small_ecg())


def write(path: Path, sections: dict[int, bytes]) -> Path:
    path.write_bytes(record(sections))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_rhythm_by_lead_names_without_the_person(tmp_path: Path, packed: bool) -> None:
    ecg = assert_sound(make_scp(tmp_path, small_ecg(), packed=packed), 0.00051)
    assert ecg.leads == STANDARD_LEADS
    assert kinds(ecg) == ["derived_leads"]
    for lead in ("III", "aVR", "aVL", "aVF"):
        np.testing.assert_array_equal(ecg[lead], derive_limb_lead(ecg.signal[:2], ("I", "II"), lead))


def test_plain_and_packed_give_the_same(tmp_path: Path) -> None:
    one = read(make_scp(tmp_path, small_ecg(), "one", 2500))
    two = read(make_scp(tmp_path, small_ecg(), "two", 2500, packed=True))
    np.testing.assert_array_equal(one.signal, two.signal)
    np.testing.assert_allclose(one["V4"], np.rint(small_ecg()["V4"] / 0.0025) * 0.0025, atol=1e-6)


def test_resolution_and_rate(tmp_path: Path) -> None:
    sections = sections_of(small_ecg(), 4880)
    counts = np.rint(small_ecg()["I"].astype(float) * 1e6 / 4880)
    np.testing.assert_allclose(read(write(tmp_path / "a.scp", sections))["I"], counts * 0.00488, atol=1e-6)
    for interval, fs in ((1000, 1000), (4000, 250), (1953, 512), (3333, 300)):
        body = bytearray(sections[6][16:])
        struct.pack_into("<H", body, 2, interval)
        assert read(write(tmp_path / "a.scp", sections | {6: section(6, bytes(body))})).fs == fs


def test_minus_avr_is_turned(tmp_path: Path) -> None:
    ecg = small_ecg()
    sections = sections_of(ecg, leads=("I", "II", "aVR"))
    body = bytearray(sections[3][16:])
    body[2 + 9 * 2 + 8] = 65
    found = read(write(tmp_path / "a.scp", sections | {3: section(3, bytes(body))}))
    np.testing.assert_allclose(found["aVR"], -ecg["aVR"], atol=1e-6)
    assert "inverted_lead" in kinds(found, "note")


def test_every_flipped_byte_is_seen(good: Path) -> None:
    content = good.read_bytes()
    for at in np.random.default_rng(4).integers(0, len(content), 200).tolist():
        good.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(Exception) as caught:
            read(good)
        assert caught.value.kind in ("checksum", "truncated", "unknown_format"), at


def test_the_crc_of_each_section(good: Path) -> None:
    for number, content in sections_of(small_ecg()).items():
        damaged = bytearray(content)
        damaged[20] ^= 1
        write(good, sections_of(small_ecg()) | {number: bytes(damaged)})
        refused(good, "checksum", words=f"section {number}")


def resealed(path: Path, content: bytes) -> Path:
    """Write a record whose size, section 0 and record CRC are right again."""
    data = bytearray(content)
    struct.pack_into("<I", data, 2, len(data))
    length = struct.unpack_from("<I", data, 10)[0]
    if 6 + length <= len(data):
        struct.pack_into("<H", data, 6, binascii.crc_hqx(bytes(data[8 : 6 + length]), 0xFFFF))
    struct.pack_into("<H", data, 0, binascii.crc_hqx(bytes(data[2:]), 0xFFFF))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("size", "index"), [(0xFFFFFFFF, 143), (24, 0xFFFFFFFF), (24, 0), (3, 143), (2**31, 2**31)])
def test_pointers_beyond_the_file(good: Path, size: int, index: int) -> None:
    data = bytearray(good.read_bytes())
    struct.pack_into("<HII", data, 22 + 10, 1, size, index)
    refused(resealed(good, bytes(data)), "section")


def test_sections_twice_or_over_each_other(good: Path) -> None:
    data = bytearray(good.read_bytes())
    pointer = bytes(data[22 + 10 * 3 : 22 + 10 * 4])
    data[22 + 10 * 4 : 22 + 10 * 5] = pointer
    refused(resealed(good, bytes(data)), "section")
    data[22 + 10 * 4 : 22 + 10 * 5] = struct.pack("<H", 40) + pointer[2:]
    refused(resealed(good, bytes(data)), "section", words="over another")
    for length in (0, 1, 25, 2**31):
        data = bytearray(good.read_bytes())
        struct.pack_into("<I", data, 10, length)
        refused(resealed(good, bytes(data)), "unknown_format")


def test_missing_sections(tmp_path: Path) -> None:
    for number in (3, 6):
        sections = sections_of(small_ecg())
        del sections[number]
        refused(write(tmp_path / "a.scp", sections), "no_rhythm")


def changed(number: int, at: int, kind: str, *values: int, packed: bool = False) -> dict[int, bytes]:
    sections = sections_of(small_ecg(), packed=packed)
    body = bytearray(sections[number][16:])
    struct.pack_into(kind, body, at, *values)
    return sections | {number: section(number, bytes(body))}


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        (changed(3, 0, "<B", 0), "length"),
        (changed(3, 0, "<B", 255), "length"),
        (changed(3, 0, "<B", 7), "length"),
        (changed(3, 6, "<I", 501), "length"),
        (changed(3, 6, "<I", 0xFFFFFFFF), "length"),
        (changed(3, 2, "<I", 0), "length"),
        (changed(6, 0, "<H", 0), "gain"),
        (changed(6, 2, "<H", 0), "sampling_rate"),
        (changed(6, 2, "<H", 65535), "sampling_rate"),
        (changed(6, 4, "<B", 7), "damaged"),
        (changed(6, 6, "<H", 0), "length"),
        (changed(6, 6, "<H", 65535), "length"),
        (changed(6, 6, "<H", 998), "length"),
        (changed(2, 0, "<H", 0, packed=True), "compression"),
        (changed(2, 0, "<H", 1, packed=True), "damaged"),
        (changed(2, 0, "<H", 65535, packed=True), "damaged"),
    ],
)  # fmt: skip
def test_counts_that_lie(tmp_path: Path, sections: dict[int, bytes], kind: str) -> None:
    begin = time.process_time()
    refused(write(tmp_path / "a.scp", sections), kind)
    assert time.process_time() - begin < 1


def test_a_huffman_table_that_never_ends(tmp_path: Path) -> None:
    sections = sections_of(small_ecg(), packed=True)
    switch = struct.pack("<HH", 1, 1) + struct.pack("<BBBhI", 1, 1, 0, 1, 0)  # bit 0: go on with table 1
    begin = time.process_time()
    refused(write(tmp_path / "a.scp", sections | {2: section(2, switch)}), "damaged")
    assert time.process_time() - begin < 1


def test_more_samples_than_can_be_decoded_in_time(tmp_path: Path) -> None:
    count = MAX_SAMPLES // 8 + 1
    described = bytes([8, 0x44]) + b"".join(struct.pack("<IIB", 1, count, code) for code in range(1, 9))
    refused(write(tmp_path / "a.scp", sections_of(small_ecg(), packed=True) | {3: section(3, described)}), "length")
    beats = struct.pack("<3H", 1000, 500, 65535)
    refused(write(tmp_path / "a.scp", sections_of(small_ecg()) | {4: section(4, beats)}), "too_large")


def test_bytes_behind_the_record(good: Path) -> None:
    good.write_bytes(good.read_bytes() + b"more")
    assert kinds(read(good), "warning") == ["trailing_bytes"]


def test_limb_leads_that_contradict_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.scp", sections_of(small_ecg(), leads=("I", "II", "III", *EIGHT[2:])))
    assert kinds(read(path), "warning") == []
    sections = sections_of(small_ecg(), leads=("I", "II", "III"))
    body = bytearray(sections[3][16:])
    body[2 + 8 :: 9] = bytes([2, 1, 61])
    assert kinds(read(write(path, sections | {3: section(3, bytes(body))})), "warning") == ["limb_leads"]


def test_without_ecgdatakit_the_extra_is_named(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ecgdatakit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ecgdatakit", None)
    error = refused(good, "missing_package", EnvironmentFault)
    assert 'pip install "ecglens[formats]"' in str(error)


def test_cut_files(good: Path) -> None:
    assert_refused_when_cut(good, 150)
