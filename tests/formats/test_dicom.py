# SPDX-License-Identifier: Apache-2.0
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from samples import small_ecg
from samples.dicom import make_dicom, make_foreign_dicom

from ecglens.ecg import ECG
from ecglens.errors import FormatError, SignalError, UnsafeError, UsageError
from ecglens.formats.dicom import LEAD_CODES, read_dicom
from ecglens.formats.dicom_writer import write_dicom
from ecglens.formats.read import read
from ecglens.formats.wfdb import read_wfdb, write_wfdb
from ecglens.leads import STANDARD_LEADS

IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
Change = Callable[[Dataset], object]


def changed(folder: Path, change: Change) -> Path:
    """Another maker's file whose rhythm group (the second) or whole was changed."""
    path = make_foreign_dicom(folder, small_ecg())
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def rhythm(**values: object) -> Change:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset.WaveformSequence[1], keyword, value)

    return change


def channel(k: int, **values: object) -> Change:
    def change(dataset: Dataset) -> None:
        described = dataset.WaveformSequence[1].ChannelDefinitionSequence[k]
        for keyword, value in values.items():
            if value is None:
                delattr(described, keyword)
            else:
                setattr(described, keyword, value)

    return change


def source(k: int, **values: str) -> Change:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset.WaveformSequence[1].ChannelDefinitionSequence[k].ChannelSourceSequence[0], keyword, value)

    return change


def kinds(ecg: ECG) -> list[str]:
    return [finding.kind for finding in ecg.findings]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_samples_are_those_of_pydicom(tmp_path: Path, syntax: str) -> None:
    path = make_foreign_dicom(tmp_path, small_ecg(), syntax=EXPLICIT)
    expected = pydicom.dcmread(path).waveform_array(1).T / 1000
    if syntax == BIG:  # pydicom leaves the order of samples to the writer
        dataset = pydicom.dcmread(path)
        for group in dataset.WaveformSequence:
            group.WaveformData = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()
            group.add_new("WaveformPaddingValue", "OW", b"\x80\x00")
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    elif syntax == IMPLICIT:
        make_foreign_dicom(tmp_path, small_ecg(), syntax=IMPLICIT)
    ecg = read(path)
    np.testing.assert_array_equal(ecg.signal, expected.astype(np.float32))
    assert (ecg.fs, ecg.leads, ecg.record_id) == (500.0, STANDARD_LEADS, "rec")
    assert kinds(ecg) == ["other_groups"]
    assert "MEDIAN BEAT" in ecg.findings[0].reason


def test_of_the_person_only_age_and_sex_stay(tmp_path: Path) -> None:
    ecg = read(make_foreign_dicom(tmp_path, small_ecg()))
    about = {"age": 58.0, "sex": "female", "device": "Maker Model 3", "date": "2019-02-03"}
    assert dict(ecg.metadata) == {"format": "DICOM waveform"} | about
    told = repr(ecg) + repr(ecg.metadata) + repr(ecg.findings)
    assert not any(word in told for word in ("Doe", "Jane", "12345678", "1961", "111213"))
    path = write_dicom(ecg, tmp_path / "new.dcm")
    assert not any(word in path.read_bytes() for word in (b"Doe", b"Jane", b"12345678", b"1961", b"111213", b"rec"))
    again = pydicom.dcmread(path)
    assert (again.PatientName, again.PatientID, again.PatientIdentityRemoved) == ("", "", "YES")
    assert (again.PatientAge, again.PatientSex) == ("058Y", "F")
    assert dict(read(path).metadata) == dict(ecg.metadata)


def test_age_from_the_date_of_birth(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        del dataset.PatientAge
        dataset.PatientBirthDate = "19270204"

    assert read(changed(tmp_path, change)).metadata["age"] == 91
    contradiction = read(changed(tmp_path, lambda ds: setattr(ds, "PatientAge", "040Y")))
    assert "age" in kinds(contradiction)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (rhythm(NumberOfWaveformSamples=100), "truncated"),
        (rhythm(NumberOfWaveformSamples=501), "truncated"),
        (rhythm(NumberOfWaveformSamples=2**31), "truncated"),
        (rhythm(NumberOfWaveformChannels=11), "dicom"),
        (rhythm(WaveformBitsAllocated=8), "dicom"),
        (rhythm(WaveformSampleInterpretation="MB"), "unsupported"),
        (rhythm(WaveformSampleInterpretation="AB"), "unsupported"),
        (rhythm(SamplingFrequency="0"), "sampling_rate"),
        (rhythm(SamplingFrequency="5000"), "sampling_rate"),
        (rhythm(WaveformData=b""), "truncated"),
        (rhythm(MultiplexGroupLabel="AVERAGE"), "no_rhythm"),
        (channel(3, ChannelSensitivity=None), "units"),
        (channel(3, ChannelSensitivityUnitsSequence=None), "units"),
        (channel(3, ChannelSensitivity="0"), "gain"),
        (channel(3, ChannelSampleSkew="40"), "unsupported"),
        (source(3, CodeValue="2:63", CodeMeaning="Lead aVL"), "duplicate_lead"),
        (source(6, CodeMeaning="Lead V2"), "lead_conflict"),
        (lambda ds: delattr(ds, "WaveformSequence"), "content"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, change: Change, kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(changed(tmp_path, change))
    assert caught.value.kind == kind, str(caught.value)


def test_scale_sources_and_offsets(tmp_path: Path) -> None:
    plain = small_ecg().signal

    def change(dataset: Dataset) -> None:
        first, second, third, fourth = dataset.WaveformSequence[1].ChannelDefinitionSequence[:4]
        first.ChannelSensitivity, first.ChannelSensitivityCorrectionFactor, first.ChannelBaseline = "2", "1.5", "-7"
        second.ChannelSensitivityUnitsSequence[0].CodeValue, second.ChannelSensitivity = "mV", "0.001"
        third.ChannelSourceSequence[0].CodeValue = "5.6.3-9-61"
        third.ChannelSourceSequence[0].CodingSchemeDesignator = "SCPECG"
        fourth.ChannelSourceSequence[0].CodeValue, fourth.ChannelSourceSequence[0].CodeMeaning = "2:65", "Lead -aVR"
        dataset.WaveformSequence[1].ChannelDefinitionSequence[5].ChannelOffset = 9
        dataset.WaveformSequence[1].ChannelDefinitionSequence[5].ChannelStatus = "QUESTIONABLE"
        dataset.WaveformSequence[1].MultiplexGroupTimeOffset = "1500"

    ecg = read(changed(tmp_path, change))
    np.testing.assert_allclose(ecg["I"], 3 * plain[0] - 0.007, atol=1e-6)
    np.testing.assert_array_equal(ecg["II"], plain[1])
    np.testing.assert_array_equal(ecg["III"], plain[2])
    np.testing.assert_array_equal(ecg["aVR"], -plain[3])
    assert np.isnan(ecg["aVF"]).sum() == 9
    assert ecg.start == 1.5
    assert {"odd_gain", "odd_baseline", "inverted_lead", "channel_offset", "channel_status"} <= set(kinds(ecg))


@pytest.mark.parametrize(("interpretation", "code", "bits"), [("SB", "i1", 8), ("UB", "u1", 8), ("US", "<u2", 16),
                                                              ("SL", "<i4", 32)])  # fmt: skip
def test_sample_interpretations(tmp_path: Path, interpretation: str, code: str, bits: int) -> None:
    raw = np.random.default_rng(0).integers(0, 120, (500, 12)).astype(code)

    def change(dataset: Dataset) -> None:
        group = dataset.WaveformSequence[1]
        group.WaveformSampleInterpretation, group.WaveformBitsAllocated = interpretation, bits
        group.WaveformData = raw.tobytes()
        del group.WaveformPaddingValue
        for described in group.ChannelDefinitionSequence:
            described.WaveformBitsStored = bits

    np.testing.assert_array_equal(read(changed(tmp_path, change)).signal, (raw.T / 1000).astype(np.float32))


def test_padding(tmp_path: Path) -> None:
    signal = small_ecg().signal.copy()
    signal[2, 30:40] = np.nan
    path = make_dicom(tmp_path, replace(small_ecg(), signal=signal))
    np.testing.assert_array_equal(read(path).signal, signal)
    # 0 as padding, which real samples have too: only what no channel has is missing.
    signal = np.where(np.isnan(signal), 0, signal)
    signal[:, 200:220] = 0
    make_foreign_dicom(tmp_path, replace(small_ecg(), signal=signal))
    dataset = pydicom.dcmread(path)
    dataset.WaveformSequence[1].WaveformPaddingValue = b"\0\0"
    dataset.save_as(path)
    ecg = read(path)
    assert np.isnan(ecg.signal).sum() == 12 * 20
    assert "padding_value" in kinds(ecg)


# --- hostile structure ---------------------------------------------------------------------------------------------


def hand_made(folder: Path, body: bytes, syntax: str = EXPLICIT) -> Path:
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\x02\x00\x10\x00UI" + len(name).to_bytes(2, "little") + name
    path = folder / "bad.dcm"
    path.write_bytes(bytes(128) + b"DICM" + meta + body)
    return path


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


NESTED = b"\x00\x54\x00\x01SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
BOMB = b"\x09\x00\x10\x00OB\0\0" + (2**30).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("body", "syntax", "kind"),
    [
        (deflated(BOMB + bytes(2**27)), DEFLATED, "too_large"),
        (deflated(bytes(1000))[:-3], DEFLATED, "dicom"),
        (b"\x07" * 50, DEFLATED, "dicom"),
        (NESTED * 10_000, EXPLICIT, "nesting"),
        (b"\x09\x00\x10\x00OB\0\0\xf0\xff\xff\xff", EXPLICIT, "declared_size"),
        (b"\x09\x00\x10\x00OB\0\0\xff\xff\xff\xff", EXPLICIT, "dicom"),
        (b"\x09\x00\x10\x00LO\xff\xff", EXPLICIT, "dicom"),
        (b"\x09\x00\x10\x00\xff\xff\xff\xff" * 100, IMPLICIT, "dicom"),
        (b"".join(b"\x09\x00" + k.to_bytes(2, "little") + b"LO\0\0" for k in range(60_000)), EXPLICIT, "too_large"),
        (b"\x08\x00\x16\x00UI\0\0\x08\x00\x16\x00UI\0\0", EXPLICIT, "dicom"),
        (b"", "1.2.840.10008.1.2.4.50", "unsupported"),
        (b"", "", "unsupported"),
        (b"\x08\x00", EXPLICIT, "dicom"),
    ],
)
def test_hostile_structures(tmp_path: Path, body: bytes, syntax: str, kind: str) -> None:
    path = hand_made(tmp_path, body, syntax)
    begin = time.process_time()
    with pytest.raises(UnsafeError if kind in ("too_large", "nesting", "declared_size") else FormatError) as caught:
        read(path)
    assert caught.value.kind == kind, str(caught.value)
    assert time.process_time() - begin < 2


def test_a_length_of_the_header_that_is_a_sequence(tmp_path: Path) -> None:
    """Found by the fuzzer: the element that should hold a number held items."""
    name = EXPLICIT.encode() + b"\0" * (len(EXPLICIT) % 2)
    item = b"\xfe\xff\x00\xe0" + (0).to_bytes(4, "little")
    meta = b"\x02\x00\x00\x00SQ\0\0" + len(item).to_bytes(4, "little") + item
    meta += b"\x02\x00\x10\x00UI" + len(name).to_bytes(2, "little") + name
    path = tmp_path / "bad.dcm"
    path.write_bytes(bytes(128) + b"DICM" + meta)
    with pytest.raises(FormatError):
        read(path)


def test_a_deflated_file(tmp_path: Path) -> None:
    path = make_foreign_dicom(tmp_path, small_ecg())
    raw = path.read_bytes()
    begin = raw.index(b"\x08\x00\x05\x00CS")
    path = hand_made(tmp_path, deflated(raw[begin:]), DEFLATED)
    np.testing.assert_array_equal(read(path).signal, small_ecg().signal)


def test_a_file_without_its_preamble_and_one_with_a_program_in_it(tmp_path: Path) -> None:
    path = make_foreign_dicom(tmp_path, small_ecg())
    raw = path.read_bytes()
    path.write_bytes(b"MZ" + raw[2:])
    assert "preamble" in kinds(read(path))
    for start in (132, raw.index(b"\x08\x00\x05\x00CS")):
        path.write_bytes(raw[start:])
        with pytest.raises(FormatError, match="DICM") as caught:
            read(path)
        assert caught.value.kind == "content"


# --- writing -------------------------------------------------------------------------------------------------------


def test_round_trip_and_the_same_through_wfdb(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    signal = (rng.standard_normal((12, 4000)) * 3).astype(np.float32)
    signal[4, 7:30] = np.nan
    for gain in (1000.0, 200.0, 409.6):
        ecg = ECG(signal, 500, STANDARD_LEADS, "rec", 2.5, {"age": 93, "sex": "male", "date": "2020-02-29"})
        path = write_dicom(ecg, tmp_path / "rec.dcm", gain=gain)
        back = read_dicom(path)
        assert np.nanmax(np.abs(back.signal - signal)) <= 0.5 / gain + 1e-6
        through_wfdb = read_wfdb(write_wfdb(ecg, tmp_path, gain=gain))
        np.testing.assert_allclose(back.signal, through_wfdb.signal, rtol=2e-7)
        if gain == 1000:
            np.testing.assert_array_equal(back.signal, through_wfdb.signal)
        assert (back.start, back.fs, back.leads) == (2.5, 500.0, STANDARD_LEADS)
        assert dict(back.metadata) == {"format": "DICOM waveform", "age": 93.0, "sex": "male", "date": "2020-02-29"}
        assert set(kinds(back)) == {"limb_leads", "lone_sample"}  # noise obeys no law of Einthoven's


def test_the_same_ecg_gives_the_same_file_and_another_another(tmp_path: Path) -> None:
    one, two = (write_dicom(small_ecg(), tmp_path / name).read_bytes() for name in ("a.dcm", "b.dcm"))
    assert one == two
    other = write_dicom(small_ecg(400), tmp_path / "c.dcm")
    assert pydicom.dcmread(other).SOPInstanceUID != pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID
    dataset = pydicom.dcmread(other)
    uids = {dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID}
    assert len(uids) == 3
    assert all(uid.is_valid for uid in uids)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_any_changed_byte_breaks_the_seal(tmp_path: Path) -> None:
    path = make_dicom(tmp_path, small_ecg())
    good = path.read_bytes()
    for at in np.random.default_rng(0).integers(len(good) - 8000, len(good), 50):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(FormatError) as caught:
            read(path)
        assert caught.value.kind == "checksum"


@pytest.mark.parametrize(
    ("leads", "fs", "n", "uid"),
    [
        (STANDARD_LEADS, 500, 5000, "1.1"),
        (STANDARD_LEADS, 500, 20_000, "1.2"),
        (("I", "II"), 360, 500, "1.2"),
        (("MLII", "V1", "my lead"), 128, 500, "1.3"),
    ],
)
def test_storage_classes(tmp_path: Path, leads: tuple[str, ...], fs: float, n: int, uid: str) -> None:
    ecg = ECG(np.zeros((len(leads), n), np.float32) + 0.5, fs, leads, "rec")
    path = write_dicom(ecg, tmp_path / "x.dcm")
    assert pydicom.dcmread(path).SOPClassUID.endswith(f".9.{uid}")
    assert read(path).leads == leads


def test_refused_to_write(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    for ecg, kind in (
        (replace(small_ecg(), signal=small_ecg().signal * 40), "amplitude"),
        (replace(small_ecg(), fs=2000), "dicom_class"),
        (ECG(np.zeros((30, 100), np.float32), 500, tuple(f"L{k}" for k in range(30))), "dicom_class"),
    ):
        with pytest.raises(SignalError) as caught:
            write_dicom(ecg, path)
        assert caught.value.kind == kind
    for gain in (0, -1, np.nan, 1e9):
        with pytest.raises(UsageError):
            write_dicom(small_ecg(), path, gain=gain)
    assert os.listdir(tmp_path) == []


def test_lead_codes_are_those_of_the_standard() -> None:
    from pydicom.sr._concepts_dict import concepts

    rows = [row for names in concepts["MDC"].values() for row in names.items()]
    meanings = {code: meaning for code, (meaning, cids) in rows if 3001 in cids}
    for number, lead in LEAD_CODES.items():
        meaning = meanings[f"2:{number}"].replace("\u2212", "-").removeprefix("Lead ").split(",")[0]
        assert meaning == lead
