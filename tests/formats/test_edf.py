# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from samples import small_ecg
from samples.edf import make_edf

from ecglens.ecg import ECG
from ecglens.errors import FormatError
from ecglens.formats.read import read
from ecglens.leads import STANDARD_LEADS

N_CHANNELS = 14  # twelve leads, breathing, annotations
FIXED = {"version": 0, "length": 184, "kind": 192, "records": 236, "duration": 244, "channels": 252}
# Where a column of the channels begins, by the sum of the widths before it.
COLUMNS = {"label": (0, 16), "unit": (96, 8), "physical minimum": (104, 8), "physical maximum": (112, 8),
           "digital minimum": (120, 8), "digital maximum": (128, 8), "samples": (216, 8)}  # fmt: skip


def patched(path: Path, at: int, text: str, width: int = 8) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at : at + width] = text.encode("latin-1").ljust(width)
    path.write_bytes(raw)
    return path


def with_field(path: Path, column: str, channel: int, text: str) -> Path:
    begin, width = COLUMNS[column]
    return patched(path, 256 + begin * N_CHANNELS + width * channel, text, width)


def kinds(ecg: ECG) -> list[str]:
    return [finding.kind for finding in ecg.findings]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_edf(tmp_path, small_ecg())


@pytest.mark.parametrize("plus", [True, False])
def test_samples_are_those_of_edfio(tmp_path: Path, plus: bool) -> None:
    path = make_edf(tmp_path, small_ecg(), plus=plus)
    ecg = read(path)
    for signal, lead in zip(edfio.read_edf(path).signals, ecg.leads, strict=False):
        assert signal.label == f"ECG {lead}"
        np.testing.assert_allclose(ecg[lead], signal.data / 1000, atol=1e-6)
    np.testing.assert_array_equal(ecg.signal, small_ecg().signal)
    assert (ecg.fs, ecg.leads, ecg.start) == (500.0, STANDARD_LEADS, 0.0)
    assert kinds(ecg) == ["other_channel", "annotations"][: 1 + plus]


def test_of_the_person_only_age_and_sex_stay(path: Path) -> None:
    ecg = read(path)
    assert dict(ecg.metadata) == {"format": "EDF+C", "age": 58.0, "sex": "female", "date": "2019-02-03"}
    told = repr(ecg) + repr(ecg.metadata) + repr(ecg.findings)
    assert not any(word in told for word in ("Doe", "Smith", "12345678", "1961", "cough"))


@pytest.mark.parametrize(
    ("field", "text", "kind"),
    [
        ("length", "3841", "edf"), ("records", "9", "trailing_bytes"), ("records", "11", "truncated"),
        ("records", "0", "edf"), ("records", "-2", "edf"), ("records", "nan", "edf"), ("duration", "0", "edf"),
        ("duration", "inf", "edf"), ("duration", "1e-9", "sampling_rate"), ("channels", "0", "edf"),
        ("channels", "15", "edf"), ("channels", "999", "edf"), ("version", "1", "unknown_format"),
    ],
)  # fmt: skip
def test_fixed_fields(path: Path, field: str, text: str, kind: str) -> None:
    width = 4 if field == "channels" else 8
    with pytest.raises(FormatError) as caught:
        read(patched(path, FIXED[field], text, width))
    assert caught.value.kind == kind, str(caught.value)


@pytest.mark.parametrize(
    ("column", "text", "kind"),
    [
        ("physical minimum", "32767", "gain"), ("physical minimum", "x", "edf"), ("digital minimum", "32767", "gain"),
        ("digital maximum", "-32769", "edf"), ("samples", "51", "truncated"), ("samples", "0", "edf"),
        ("samples", "99999999", "edf"), ("label", "ECG V3", "duplicate_lead"),
    ],
)  # fmt: skip
def test_columns_of_a_channel(path: Path, column: str, text: str, kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(with_field(path, column, 2, text))
    assert caught.value.kind == kind, str(caught.value)


def test_channels_that_are_no_ecg(path: Path) -> None:
    with_field(path, "label", 0, "EEG Fpz-Cz")
    with_field(path, "unit", 1, "mmHg")
    with_field(path, "label", 2, "EKG aux")
    ecg = read(path)
    assert ecg.leads == ("EKG aux", *STANDARD_LEADS[3:])
    left = [finding.reason for finding in ecg.findings if finding.kind == "other_channel"]
    assert len(left) == 3
    assert "mmHg" in left[1]
    for k in range(12):
        with_field(path, "unit", k, "mmHg")
    with pytest.raises(FormatError, match="uV"):
        read(path)


def test_units_labels_and_polarity(path: Path) -> None:
    plain = small_ecg().signal
    with_field(path, "unit", 0, "mV")
    with_field(path, "unit", 1, "\u00b5V")
    with_field(path, "label", 3, "aVR")
    with_field(path, "physical minimum", 4, "32767")
    with_field(path, "physical maximum", 4, "-32768")
    ecg = read(path)
    assert ecg.leads == STANDARD_LEADS
    np.testing.assert_allclose(ecg["I"], 1000 * plain[0], rtol=1e-5)
    np.testing.assert_array_equal(ecg["II"], plain[1])
    np.testing.assert_allclose(ecg["aVL"], -plain[4] - 0.001, atol=1e-5)
    assert {finding.lead for finding in ecg.findings if finding.kind == "odd_gain"} == {"I", "aVL"}


def test_undeclared_number_of_records(path: Path) -> None:
    ecg = read(patched(path, FIXED["records"], "-1"))
    np.testing.assert_array_equal(ecg.signal, small_ecg().signal)
    assert "length_from_file" in kinds(ecg)


def test_samples_outside_the_declared_range(path: Path) -> None:
    (finding,) = [
        f for f in read(with_field(path, "digital maximum", 1, "-30000")).findings if f.kind == "digital_range"
    ]
    assert finding.lead == "II"


def test_ecg_channels_of_two_rates(tmp_path: Path) -> None:
    signals = [
        edfio.EdfSignal(np.sin(np.arange(2 * fs)), fs, label=label, physical_dimension="mV", physical_range=(-2, 2))
        for label, fs in (("ECG I", 500), ("ECG II", 250))
    ]
    edfio.Edf(signals, data_record_duration=1).write(tmp_path / "x.edf")
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "x.edf")
    assert caught.value.kind == "sampling_rate"


def discontinuous(path: Path, record: int, onset: str) -> Path:
    """Give a record of the sample another time and call the file EDF+D."""
    raw = path.read_bytes()
    told = f"+0.{record}".encode()
    clock = raw.index(told + b"\x14\x14", 3840)
    path.write_bytes(raw[:clock] + onset.encode() + b"\x14\x14" + raw[clock + len(onset) + 2 :])
    return patched(path, FIXED["kind"], "EDF+D", 5)


def test_gaps_are_gaps(path: Path) -> None:
    ecg = read(discontinuous(path, 9, "+1.4"))  # the last record: 0.5 s late
    assert ecg.n_samples == 750
    np.testing.assert_array_equal(ecg.signal[:, :450], small_ecg().signal[:, :450])
    np.testing.assert_array_equal(ecg.signal[:, 700:], small_ecg().signal[:, 450:])
    assert np.isnan(ecg.signal[:, 450:700]).all()
    assert "discontinuous" in kinds(ecg)


@pytest.mark.parametrize(
    ("onset", "kind"),
    [
        ("+0.8", "discontinuous"),
        ("+0.85", "discontinuous"),
        ("+99999999", "too_large"),
        ("+99999999999", "edf"),
        ("x", "edf"),
    ],
)
def test_times_that_cannot_be(path: Path, onset: str, kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(discontinuous(path, 9, onset))
    assert caught.value.kind == kind, str(caught.value)


def test_gaps_in_a_file_that_says_it_has_none(path: Path) -> None:
    patched(discontinuous(path, 9, "+1.4"), FIXED["kind"], "EDF+C", 5)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert caught.value.kind == "discontinuous"


def test_only_annotations(tmp_path: Path) -> None:
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, None, "x")]).write(tmp_path / "x.edf")
    with pytest.raises(FormatError):
        read(tmp_path / "x.edf")


def test_a_long_recording_in_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signal = (rng.integers(-2000, 2000, (2, 3_000_000)) / 1000).astype(np.float32)
    ecg = replace(small_ecg(), signal=signal, leads=("I", "II"))
    np.testing.assert_array_equal(read(make_edf(tmp_path, ecg)).signal, signal)
