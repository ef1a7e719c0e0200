# SPDX-License-Identifier: Apache-2.0
import base64
import re
import time
from pathlib import Path

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, edit, kinds, refused
from hypothesis import given
from hypothesis import strategies as st
from samples import small_ecg
from samples.sierra import lzw, make_sierra, xli_chunk

from ecglens.ecg import ECG
from ecglens.errors import FormatError, SignalError
from ecglens.formats.read import read
from ecglens.formats.sierra import _half, _lzw, _undo_differences
from ecglens.leads import STANDARD_LEADS


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return make_sierra(tmp_path, small_ecg())


@pytest.mark.parametrize("encoding", ["XLI", "Base64", "Plain"])
def test_rhythm_by_lead_names_without_the_person(tmp_path: Path, encoding: str) -> None:
    ecg = assert_sound(make_sierra(tmp_path, small_ecg(), encoding=encoding))
    assert ecg.leads == STANDARD_LEADS
    assert kinds(ecg) == ["median_beats"]


@given(st.binary(min_size=1, max_size=5000) | st.binary(min_size=1, max_size=3).map(lambda b: b * 800))
def test_lzw_undoes_what_an_independent_encoder_did(data: bytes) -> None:
    assert _lzw(Path("x"), lzw(data), len(data)) == data


def test_lzw_with_a_code_that_defines_itself() -> None:
    codes = [97, 256, 257, 1023]  # a, aa, aaa: each uses the entry that it makes
    bits = "".join(f"{code:010b}" for code in codes)
    packed = int(bits, 2).to_bytes(5, "big")
    assert _lzw(Path("x"), packed, 6) == b"aaaaaa"
    with pytest.raises(FormatError, match="unpacked"):
        _lzw(Path("x"), packed, 5)


def test_ecgdatakit_unpacks_the_same_chunks() -> None:
    from ecgdatakit.parsing.codecs.xli import xli_decode

    samples = np.rint(small_ecg()["V2"] * 200).astype(int)
    chunk = xli_chunk(samples)
    np.testing.assert_array_equal(xli_decode(chunk)[0], samples)
    unpacked = _lzw(Path("x"), chunk[8:], 2 * samples.size)
    first = int.from_bytes(chunk[6:8], "little", signed=True)
    np.testing.assert_array_equal(_undo_differences(Path("x"), unpacked, first), samples)


def test_halves_are_cut_towards_zero() -> None:
    assert _half(np.array([-3, -2, -1, 0, 1, 2, 3])).tolist() == [-1, -1, 0, 0, 0, 1, 1]


def test_every_step_of_negative_sums_survives(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    signal = rng.integers(-50, 50, (12, 400)).astype(np.float32) / 1000
    made = ECG(signal, 500, STANDARD_LEADS)
    ecg = read(make_sierra(tmp_path, made))
    np.testing.assert_allclose(ecg.signal, signal, atol=1e-6)
    assert "limb_leads" in kinds(ecg, "warning")  # random leads contradict each other, and it is said


def test_the_calibration_pulse_is_cut_off(tmp_path: Path) -> None:
    for encoding in ("XLI", "Base64"):
        ecg = read(make_sierra(tmp_path, small_ecg(), pulse=True, encoding=encoding))
        np.testing.assert_allclose(ecg.signal, small_ecg().signal, atol=1e-6)
        assert kinds(ecg, "note") == ["calibration_pulse", "median_beats"]


def test_no_pulse_in_an_ecg_that_ends_flat(tmp_path: Path) -> None:
    flat = small_ecg()
    signal = flat.signal.copy()
    signal[:, 300:] = 0
    assert read(make_sierra(tmp_path, ECG(signal, 500, flat.leads))).n_samples == 500


def test_zero_and_sign_of_the_samples(tmp_path: Path) -> None:
    path = make_sierra(tmp_path, small_ecg(), encoding="Base64")
    plain = read(path).signal
    edit(path, "<signaloffset>0", "<signaloffset>100")
    refused(path, "contradiction")
    np.testing.assert_allclose(
        read(edit(path, 'signaloffset="0"', 'signaloffset="100"')).signal, plain - 0.1, atol=1e-6
    )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("<documentversion>1.04<", "<documentversion>2.00<", "unsupported"),
        ("<documenttype>PhilipsECG<", "<documenttype>Other<", "unsupported"),
        ("<samplingrate>500<", "<samplingrate>250<", "contradiction"),
        ('samplespersecond="500"', 'samplespersecond="5000"', "contradiction"),
        ("<resolution>1<", "<resolution>5<", "contradiction"),
        ('resolution="1"', 'resolution="x"', "contradiction"),
        ('bitspersample="16"', 'bitspersample="12"', "contradiction"),
        ('signalsigned="True"', 'signalsigned="maybe"', "contradiction"),
        ('numberofleads="12"', 'numberofleads="8"', "contradiction"),
        ('numberofleads="12"', 'numberofleads="0"', "length"),
        ('leadlabels="I II', 'leadlabels="II', "no_lead_name"),
        ('durationperchannel="1000"', 'durationperchannel="999"', "length"),
        ('durationperchannel="1000"', 'durationperchannel="998"', "length"),
        ('durationperchannel="1000"', 'durationperchannel="1002"', "length"),
        ('durationperchannel="1000"', 'durationperchannel="99999999"', "length"),
        ('durationperchannel="1000"', 'durationperchannel=""', "length"),
        ('compression="XLI"', 'compression="ZIP"', "unsupported"),
        ('compression="XLI"', "", "length"),
        ('dataencoding="Base64" compression="XLI"', 'dataencoding="Plain" compression="XLI"', "unsupported"),
        ('dataencoding="Base64" compression="XLI"', 'dataencoding=""', "unsupported"),
        ("<parsedwaveforms ", "<other/><parsedwaveforms x='&lt;' ", "base64"),
    ],
)
def test_refusals(record: Path, old: str, new: str, kind: str) -> None:
    edit(record, old, new)
    if kind == "base64":
        edit(record, "</parsedwaveforms>", "*</parsedwaveforms>")
    refused(record, kind)


def test_both_places_may_be_silent_of_the_other(record: Path) -> None:
    plain = read(record).signal
    for old in (' samplespersecond="500"', ' resolution="1"', ' bitspersample="16"', ' numberofleads="12"',
                ' signalsigned="True"', ' signaloffset="0"'):  # fmt: skip
        edit(record, old, "")
    np.testing.assert_array_equal(read(record).signal, plain)
    for old, kind in (("<resolution>1</resolution>", "gain"), ("<samplingrate>500</samplingrate>", "sampling_rate")):
        refused(edit(record, old, ""), kind)
        record.write_text(record.read_text().replace("<bitspersample>", f"{old}<bitspersample>"))


def test_names_by_the_set_of_leads(record: Path) -> None:
    content = re.sub(r'leadlabels="[^"]*"', "", record.read_text())
    record.write_text(content)
    refused(record, "no_lead_name")
    edit(record, "<signalsigned>", "<acquisitiontype>10-WIRE</acquisitiontype><signalsigned>")
    assert read(record).leads == STANDARD_LEADS


def test_a_lead_twice(record: Path) -> None:
    refused(edit(record, "V5 V6", "V5 V5"), "duplicate_lead", SignalError)


def with_data(path: Path, data: bytes) -> Path:
    text = path.read_text()
    begin = text.index(">", text.index("<parsedwaveforms")) + 1
    end = text.index("</parsedwaveforms>")
    path.write_text(text[:begin] + base64.b64encode(data).decode() + text[end:])
    return path


def test_chunks_that_lie(record: Path) -> None:
    good = b"".join(xli_chunk(np.zeros(500, int)) for _ in range(12))
    assert read(with_data(record, good)).n_samples == 500
    size = int.from_bytes(good[:4], "little")
    for data, kind in (
        (good[:-3], "compression"), (good + b"\x01", "compression"), (good * 2, "compression"),
        (bytes(4) + good[4:], "compression"), (b"\xff\xff\xff\xff" + good[4:], "compression"),
        (good[: 11 * (8 + size)], "length"), (good[:8] + b"\xff" * size + good[8 + size :], "length"),
        (good[:8] + b"\x50" * size + good[8 + size :], "compression"),
        (b"".join(xli_chunk(np.zeros(499, int)) for _ in range(12)), "length"),
        (b"".join(xli_chunk(np.zeros(501, int)) for _ in range(12)), "length"), (b"", "length"),
    ):  # fmt: skip
        refused(with_data(record, data), kind)


def test_a_bomb_is_not_unpacked(record: Path) -> None:
    packed = lzw(bytes(20_000))[:-2] * 300
    data = len(packed).to_bytes(4, "little") + b"\x01\x00\x00\x00" + packed
    begin = time.process_time()
    refused(with_data(record, data), "length")
    assert time.process_time() - begin < 1


def test_samples_beyond_16_bits(record: Path) -> None:
    samples = np.zeros(500, int)
    samples[100:] = np.arange(400) * 90
    refused(with_data(record, b"".join(xli_chunk(samples) for _ in range(12))), "compression", words="16 bits")


def test_cut_files(record: Path) -> None:
    assert_refused_when_cut(record, 250)
