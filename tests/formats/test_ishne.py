# SPDX-License-Identifier: Apache-2.0
import binascii
import struct
from pathlib import Path

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, kinds, refused
from samples import small_ecg
from samples.ishne import make_ishne

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.formats.read import read
from ecglens.leads import STANDARD_LEADS


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return make_ishne(tmp_path, small_ecg())


def header(path: Path, at: int, kind: str, *values: int) -> Path:
    """Change a field of the header and make its checksum right again."""
    data = bytearray(path.read_bytes())
    end = struct.unpack_from("<i", data, 22)[0]
    struct.pack_into(kind, data, at, *values)
    struct.pack_into("<H", data, 8, binascii.crc_hqx(bytes(data[10:end]), 0xFFFF))
    path.write_bytes(data)
    return path


def test_rhythm_by_lead_names_without_the_person(record: Path) -> None:
    ecg = assert_sound(record)
    assert ecg.leads == STANDARD_LEADS
    assert kinds(ecg) == []


def test_ecgdatakit_reads_the_same(tmp_path: Path) -> None:
    from ecgdatakit import FileParser

    path = make_ishne(tmp_path, small_ecg().select(("V1", "V5", "II")), step=2500)
    ecg = read(path)
    for lead in FileParser().parse(path).leads:
        np.testing.assert_allclose(ecg[lead.label], lead.to_physical().convert_units("mV").samples, atol=1e-6)


def test_resolution_and_gaps(tmp_path: Path) -> None:
    signal = np.tile(np.arange(-200, 200) * np.float32(0.0025), (3, 1))
    signal[1, 10:20] = np.nan
    made = ECG(signal, 200, ("X", "Y", "Z"))
    ecg = read(make_ishne(tmp_path, made, step=2500))
    np.testing.assert_allclose(ecg.signal, signal, atol=1e-6)
    assert (ecg.fs, ecg.leads, int(ecg.gaps.sum())) == (200, ("X", "Y", "Z"), 10)


@pytest.mark.parametrize(
    ("at", "kind", "values", "error"),
    [
        (272, "<h", (0,), "sampling_rate"),
        (272, "<h", (-500,), "sampling_rate"),
        (272, "<h", (30000,), "sampling_rate"),
        (156, "<h", (0,), "header"),
        (156, "<h", (13,), "header"),
        (156, "<h", (-1,), "header"),
        (156, "<h", (11,), "length"),
        (206, "<h", (0,), "header"),
        (206, "<h", (-9,), "header"),
        (14, "<i", (499,), "length"),
        (14, "<i", (2**31 - 1,), "length"),
        (14, "<i", (-1,), "length"),
        (10, "<i", (-1,), "header"),
        (10, "<i", (2**31 - 1,), "header"),
        (10, "<i", (0,), "header"),
        (18, "<i", (0,), "header"),
    ],
)
def test_refusals(record: Path, at: int, kind: str, values: tuple[int, ...], error: str) -> None:
    refused(header(record, at, kind, *values), error)


def test_offset_of_the_samples(record: Path) -> None:
    data = bytearray(record.read_bytes())
    struct.pack_into("<i", data, 22, 2**31 - 1)
    record.write_bytes(data)
    refused(record, "header")


def test_samples_may_be_counted_together(record: Path) -> None:
    plain = read(record).signal
    np.testing.assert_array_equal(read(header(record, 14, "<i", 12 * 500)).signal, plain)


def test_the_checksum_of_the_header(record: Path) -> None:
    data = bytearray(record.read_bytes())
    checksum = data[8:10]
    data[8:10] = checksum[::-1]
    record.write_bytes(data)
    assert kinds(read(record)) == []
    data[8:10] = b"\x00\x00"
    record.write_bytes(data)
    assert kinds(read(record), "warning") == ["no_checksum"]
    data[8:10] = checksum
    for at in (30, 130, 160, 210, 272, 500, 530):
        data[at] ^= 1
        record.write_bytes(data)
        refused(record, "checksum")
        data[at] ^= 1


def test_leads_without_names(record: Path) -> None:
    ecg = read(header(record, 158 + 2 * 8, "<2h", 0, 1))
    assert ecg.leads == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "ECG9", "ECG10", "V5", "V6")
    assert kinds(ecg, "warning") == ["no_lead_name", "no_lead_name"]
    refused(header(record, 158, "<2h", 5, 5), "duplicate_lead", SignalError)


def test_what_the_leads_say_of_each_other(record: Path) -> None:
    assert kinds(read(header(record, 206 + 2 * 7, "<h", 2000)), "warning") == ["odd_gain"]
    data = bytearray(record.read_bytes())
    data[-2000:-1000] = bytes(1000)
    record.write_bytes(data)
    assert "limb_leads" in kinds(read(record), "warning")


def test_unknown_stays_unknown(record: Path) -> None:
    header(record, 128, "<h", 0)
    ecg = read(header(record, 132, "<3h", -9, -9, -9))
    assert {"age", "sex"}.isdisjoint(ecg.metadata)


def test_cut_files(record: Path) -> None:
    assert_refused_when_cut(record, 250)
