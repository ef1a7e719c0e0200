# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from clinical_checks import assert_refused_when_cut, assert_sound, edit, kinds, refused
from samples import small_ecg
from samples.aecg import ORDER, make_aecg

from ecglens.ecg import ECG
from ecglens.errors import SignalError
from ecglens.formats.read import read


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return make_aecg(tmp_path, small_ecg())


def test_rhythm_by_lead_names_without_the_person(record: Path) -> None:
    ecg = assert_sound(record)
    assert ecg.leads == ORDER
    assert kinds(ecg) == ["median_beats"]


def test_digits_are_those_that_elementtree_finds(tmp_path: Path) -> None:
    path = make_aecg(tmp_path, small_ecg(), scale=2.5)
    ecg, namespace = read(path), "{urn:hl7-org:v3}"
    sequences = ElementTree.parse(path).getroot().find(f"{namespace}component").iter(f"{namespace}sequence")
    for sequence in list(sequences)[1:13]:
        lead = sequence.find(f"{namespace}code").get("code").rpartition("_")[2]
        digits = sequence.find(f"{namespace}value/{namespace}digits").text.split()
        np.testing.assert_allclose(ecg[lead], np.array(digits, float) * 0.0025, atol=1e-6)


def test_ecgdatakit_reads_the_same(record: Path) -> None:
    from ecgdatakit import FileParser

    ecg = read(record)
    for lead in FileParser().parse(record).leads:
        np.testing.assert_allclose(ecg[lead.label], lead.to_physical().convert_units("mV").samples, atol=1e-6)


def test_origin_and_units(record: Path) -> None:
    plain = read(record)["V3"]
    edit(record, '<origin value="0" unit="uV"/>', '<origin value="0.25" unit="mV"/>', 5)
    edit(record, '<origin value="0.25" unit="mV"/>', '<origin value="0" unit="uV"/>', 4)
    ecg = read(record)
    np.testing.assert_allclose(ecg["V3"], plain + 0.25, atol=1e-6)
    assert kinds(ecg, "warning") == ["odd_baseline"]
    edit(record, '<scale value="1" unit="uV"/>', '<scale value="0.001" unit="mV"/>', 99)
    np.testing.assert_allclose(read(record)["V3"], plain + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("increment", "unit", "fs"),
    [("2", "ms", 500), ("0.0010", "s", 1000), ("0.0033", "s", 303), ("0.00333", "s", 300),
     ("0.00390625", "s", 256), ("4000", "us", 250), ("2e-3", "s", 500)],
)  # fmt: skip
def test_sampling_rates(record: Path, increment: str, unit: str, fs: float) -> None:
    edit(record, 'increment value="0.002" unit="s"', f'increment value="{increment}" unit="{unit}"')
    assert read(record).fs == pytest.approx(fs)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('increment value="0.002" unit="s"', 'increment value="0.002"', "sampling_rate"),
        ('increment value="0.002" unit="s"', 'increment value="0" unit="s"', "sampling_rate"),
        ('increment value="0.002" unit="s"', 'increment value="-0.002" unit="s"', "sampling_rate"),
        ('increment value="0.002" unit="s"', 'increment value="nan" unit="s"', "sampling_rate"),
        ('increment value="0.002" unit="s"', 'increment value="1" unit="s"', "sampling_rate"),
        ('scale value="1" unit="uV"', 'scale value="1" unit="mmHg"', "units"),
        ('scale value="1" unit="uV"', 'scale value="1"', "units"),
        ('scale value="1" unit="uV"', 'scale value="0" unit="uV"', "gain"),
        ('scale value="1" unit="uV"', 'scale unit="uV"', "gain"),
        ('origin value="0" unit="uV"', 'origin value="" unit="uV"', "gain"),
        ("<origin ", "<nothing ", "units"),
        ('code="TIME_ABSOLUTE"', 'code="MDC_ECG_LEAD_V7"', "layout"),
        ('code="MDC_ECG_LEAD_V1"', 'code="TIME_RELATIVE"', "layout"),
        ('code="MDC_ECG_LEAD_V1"', 'code="MDC_RESP"', "no_lead_name"),
        ('code="MDC_ECG_LEAD_V1"', "", "no_lead_name"),
        ("<digits>", "<digits>7 ", "length"),
        ("<digits>", "<digits>7.5 ", "number"),
        ("<digits>", "<digits>7e3 ", "number"),
        ("<digits>", "<digits>99999999999 ", "number"),
        ('code="RHYTHM"', 'code="REPRESENTATIVE_BEAT"', "no_rhythm"),
    ],
)
def test_refusals(record: Path, old: str, new: str, kind: str) -> None:
    refused(edit(record, old, new), kind)


def test_a_lead_twice(record: Path) -> None:
    refused(edit(record, 'code="MDC_ECG_LEAD_V1"', 'code="MDC_ECG_LEAD_V2"'), "duplicate_lead", SignalError)


def test_several_sets_are_not_one_recording(record: Path) -> None:
    content = record.read_text()
    begin, end = content.index("<component><sequenceSet>"), content.index("<derivation>")
    record.write_text(content[:end] + content[begin:end] + content[end:])
    refused(record, "unsupported")


def test_contradictions_are_flagged(tmp_path: Path) -> None:
    for old, new, kind in (
        ('high value="20190302101113"', 'high value="20190302101152"', "duration"),
        ('high value="20190302101112"', 'high value="20190302101152"', "duration"),
        ('head value="20190302101112.000"', 'head value="20190402101112.000"', "date"),
        ('value="57" unit="a"', 'value="75" unit="a"', "age"),
        ('birthTime value="19610704"', 'birthTime value="20610704"', "age"),
        ('value="57" unit="a"', 'value="7" unit="mo"', "age"),
        ('increment value="0.002"', 'increment value="0.0021"', "unusual_fs"),
        ('code="MDC_ECG_LEAD_V1"', 'code="MDC_ECG_LEAD_Q1"', "unknown_lead"),
    ):
        path = make_aecg(tmp_path, small_ecg())
        if old not in path.read_text():
            continue
        assert kinds(read(edit(path, old, new)), "warning") == [kind], old


def test_exchanged_limb_leads_and_single_digits_are_flagged(record: Path) -> None:
    edit(record, 'code="MDC_ECG_LEAD_III"', 'code="x"')
    edit(record, 'code="MDC_ECG_LEAD_AVF"', 'code="MDC_ECG_LEAD_III"')
    edit(record, 'code="x"', 'code="MDC_ECG_LEAD_AVF"')
    assert kinds(read(record), "warning") == ["limb_leads"]
    ecg = small_ecg()
    signal = np.zeros_like(ecg.signal)
    signal[9, 250] = 0.4
    path = make_aecg(record.parent, ECG(signal, 500, ecg.leads), "lone")
    assert kinds(read(path), "warning") == ["lone_sample"]
    assert [finding.lead for finding in read(path).findings if finding.kind == "lone_sample"] == ["V4"]


def test_unknown_stays_unknown(record: Path) -> None:
    edit(record, '<administrativeGenderCode code="F"/>', '<administrativeGenderCode code="UN"/>')
    edit(record, '<value xsi:type="PQ" value="57" unit="a"/>', '<value xsi:type="PQ" value="570" unit="a"/>')
    edit(record, '<birthTime value="19610704"/>', "")
    assert {"age", "sex"}.isdisjoint(read(record).metadata)


def test_age_by_the_date_of_birth(record: Path) -> None:
    edit(record, '<value xsi:type="PQ" value="57" unit="a"/>', "")
    assert read(record).metadata["age"] == 57
    assert read(edit(record, "19610704", "19610302")).metadata["age"] == 58
    assert read(edit(record, "19610302", "19610303")).metadata["age"] == 57


def test_missing_limb_leads_are_derived(tmp_path: Path) -> None:
    made = small_ecg()
    ecg = read(make_aecg(tmp_path, made.select(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))))
    assert ecg.leads == made.leads
    np.testing.assert_allclose(ecg["aVF"], made["II"] - made["I"] / 2, atol=1e-6)
    assert kinds(ecg) == ["median_beats", "derived_leads"]


def test_cut_files(record: Path) -> None:
    assert_refused_when_cut(record, 700)
