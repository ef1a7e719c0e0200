# SPDX-License-Identifier: Apache-2.0
import base64
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, edit, kinds, refused
from samples import small_ecg
from samples.muse import EIGHT, make_muse

from ecglens.ecg import ECG
from ecglens.errors import UnsafeError
from ecglens.formats.read import read
from ecglens.leads import STANDARD_LEADS, derive_limb_lead


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return make_muse(tmp_path, small_ecg())


def test_rhythm_by_lead_names_without_the_person(tmp_path: Path) -> None:
    ecg = assert_sound(make_muse(tmp_path, small_ecg(), per_bit=1), 0.00051)
    assert ecg.leads == STANDARD_LEADS
    assert kinds(ecg) == ["median_beats", "derived_leads"]


def test_resolution_of_4_88_microvolts(tmp_path: Path) -> None:
    counts = np.arange(-500, 500)
    ecg = ECG(np.tile(counts * 0.00488, (12, 1)).astype(np.float32), 500, STANDARD_LEADS)
    read_back = read(make_muse(tmp_path, ecg))
    np.testing.assert_allclose(read_back["V6"], counts * 0.00488, rtol=1e-6)
    np.testing.assert_allclose(read_back["aVR"], -counts * 0.00488, rtol=1e-6)


def test_derived_leads_are_those_of_the_algebra(record: Path) -> None:
    ecg = read(record)
    for lead in ("III", "aVR", "aVL", "aVF"):
        np.testing.assert_array_equal(ecg[lead], derive_limb_lead(ecg.signal[:2], ("I", "II"), lead))
    assert next(f.reason for f in ecg.findings if f.kind == "derived_leads").startswith("III, aVR, aVL, aVF")


def test_ecgdatakit_reads_the_same(record: Path) -> None:
    from ecgdatakit import FileParser

    ecg, leads = read(record), FileParser().parse(record).leads
    assert [lead.label for lead in leads] == list(EIGHT)
    for lead in leads:
        np.testing.assert_allclose(ecg[lead.label], lead.to_physical().convert_units("mV").samples, atol=1e-6)


def test_twelve_stored_leads_are_compared(tmp_path: Path) -> None:
    path = make_muse(tmp_path, small_ecg(), leads=STANDARD_LEADS)
    assert kinds(read(path)) == ["median_beats"]
    for old, new in (("<LeadID>aVL<", "<LeadID>x<"), ("<LeadID>aVF<", "<LeadID>aVL<"), ("<LeadID>x<", "<LeadID>aVF<")):
        edit(path, old, new, 2)
    assert kinds(read(path), "warning") == ["limb_leads"]


def rhythm(path: Path, old: str, new: str) -> Path:
    """Exchange text in the rhythm waveform only."""
    head, tail = path.read_text("latin-1").split("<WaveformType>Rhythm")
    assert old in tail
    path.write_text(head + "<WaveformType>Rhythm" + tail.replace(old, new, 1), "latin-1")
    return path


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("<SampleBase>500<", "<SampleBase>0<", "sampling_rate"),
        ("<SampleBase>500<", "<SampleBase><", "sampling_rate"),
        ("<SampleBase>500<", "<SampleBase>-500<", "sampling_rate"),
        ("<SampleExponent>0<", "<SampleExponent>3<", "sampling_rate"),
        ("<SampleExponent>0<", "<SampleExponent>0.5<", "sampling_rate"),
        ("<SampleType>CONTINUOUS_SAMPLES<", "<SampleType>COMPRESSED<", "unsupported"),
        ("<NumberofLeads>8<", "<NumberofLeads>12<", "length"),
        ("<LeadByteCountTotal>1000<", "<LeadByteCountTotal>1002<", "length"),
        ("<LeadSampleCountTotal>500<", "<LeadSampleCountTotal>501<", "length"),
        ("<LeadSampleCountTotal>500<", "<LeadSampleCountTotal>999999999999<", "length"),
        ("<LeadSampleSize>2<", "<LeadSampleSize>4<", "unsupported"),
        ("<LeadSampleSize>2<", "<LeadSampleSize><", "length"),
        ("<LeadAmplitudeUnits>MICROVOLTS<", "<LeadAmplitudeUnits><", "units"),
        ("<LeadAmplitudeUnits>MICROVOLTS<", "<LeadAmplitudeUnits>FURLONGS<", "units"),
        ("<LeadAmplitudeUnitsPerBit>4.88<", "<LeadAmplitudeUnitsPerBit>0<", "gain"),
        ("<LeadAmplitudeUnitsPerBit>4.88<", "<LeadAmplitudeUnitsPerBit>nan<", "gain"),
        ("<LeadID>I<", "<LeadID><", "no_lead_name"),
        ("<WaveFormData>\n", "<WaveFormData>\n*", "base64"),
        ("<WaveFormData>\n", "<WaveFormData>\nAAAA", "length"),
        ("<LeadDataCRC32>", "<LeadDataCRC32>7</LeadDataCRC32><Old>", "xml"),
        ("<LeadDataCRC32>", "<LeadDataCRC32>x", "number"),
    ],
)
def test_refusals(record: Path, old: str, new: str, kind: str) -> None:
    refused(rhythm(record, old, new), kind)


def test_one_flipped_sample_fails_the_checksum(record: Path) -> None:
    content = record.read_text("latin-1")
    at = content.index("<WaveFormData>", content.index("<WaveformType>Rhythm")) + 40
    record.write_text(content[:at] + ("B" if content[at] != "B" else "C") + content[at + 1 :], "latin-1")
    assert refused(record, "checksum").lead == "I"


def test_a_wrong_checksum(record: Path) -> None:
    head, tail = record.read_text("latin-1").split("<WaveformType>Rhythm")
    tail = re.sub(r"<LeadDataCRC32>\d+", "<LeadDataCRC32>7", tail, count=1)
    record.write_text(head + "<WaveformType>Rhythm" + tail, "latin-1")
    refused(record, "checksum", words="lead I, LeadDataCRC32: found 7")


def test_without_rhythm_or_with_two(record: Path) -> None:
    content = record.read_text("latin-1")
    for new in ("<WaveformType>Median", "<WaveformType>"):
        record.write_text(content.replace("<WaveformType>Rhythm", new), "latin-1")
        refused(record, "no_rhythm")
    record.write_text(content.replace("<WaveformType>Median", "<WaveformType>Rhythm"), "latin-1")
    refused(record, "no_rhythm")


def test_what_the_file_says_of_its_leads(record: Path) -> None:
    for old, new, kind in (
        ("<LeadOff>FALSE<", "<LeadOff>TRUE<", "lead_off"),
        ("<FirstSampleBaseline>0<", "<FirstSampleBaseline>12<", "offset"),
        ("<LeadAmplitudeUnitsPerBit>4.88<", "<LeadAmplitudeUnitsPerBit>2.44<", "odd_gain"),
        ("<SampleBase>500<", "<SampleBase>501<", "unusual_fs"),
    ):
        path = make_muse(record.parent, small_ecg(), "other")
        assert kinds(read(rhythm(path, old, new)), "warning") == [kind]
    content = record.read_text("latin-1")
    while "<LeadDataCRC32>" in content:
        begin = content.index("<LeadDataCRC32>")
        content = content[:begin] + content[content.index("</LeadDataCRC32>") + 16 :]
    record.write_text(content, "latin-1")
    assert kinds(read(record), "warning") == ["no_checksum"]


def test_little_endian_and_units_in_millivolts(record: Path) -> None:
    data = struct.pack("<500h", *range(500))
    content = record.read_text("latin-1")
    begin = content.index("<LeadDataCRC32>", content.index("<WaveformType>Rhythm"))
    end = content.index("</LeadData>", begin)
    encoded = f"<WaveFormData>{base64.b64encode(data).decode()}</WaveFormData>"
    lead = f"<LeadDataCRC32>{zlib.crc32(data)}</LeadDataCRC32>" + encoded
    record.write_text(content[:begin] + lead + content[end:], "latin-1")
    np.testing.assert_allclose(read(record)["I"], np.arange(500) * 0.00488, rtol=1e-6)


def test_a_document_type_with_contents(record: Path) -> None:
    edit(record, 'SYSTEM "restecg.dtd"', '[<!ENTITY x "y">]')
    refused(record, "entities", UnsafeError)


def test_cut_files(record: Path) -> None:
    assert_refused_when_cut(record, 500)
