# SPDX-License-Identifier: Apache-2.0
"""Writing DICOM waveform objects (PS3.3 §A.34.3-5) that say nothing of the person but age and sex."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import EnvironmentFault, SignalError, UsageError
from ecglens.formats.channels import GAP, to_integers
from ecglens.formats.dicom import LEAD_CODES
from ecglens.formats.dicom_seal import IMPLEMENTATION, PLACEHOLDERS, sealed
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.files import write_bytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CODES = {lead: number for number, lead in LEAD_CODES.items()}
_METHOD = ("ecglens: a new object made from samples, leads and rate", "kept beside them: age, sex, device, day")
_NO_DAY = "19000101"  # the standard wants a day; this one means that none is known


class _Class(NamedTuple):
    """A storage class and what it takes: leads, samples per lead, Hz."""

    uid: str
    leads: int
    samples: int
    low: float
    high: float


# In this order; PS3.3 A.34.3.4 (12-lead), A.34.4.4 (general), A.34.5.4 (ambulatory).
_TWELVE = _Class("1.2.840.10008.5.1.4.1.1.9.1.1", 13, 16384, 200, 1000)
_GENERAL = _Class("1.2.840.10008.5.1.4.1.1.9.1.2", 24, 2**31, 200, 1000)
_AMBULATORY = _Class("1.2.840.10008.5.1.4.1.1.9.1.3", 12, 2**31, 50, 1000)


def write_dicom(ecg: ECG, path: str | Path, *, gain: float = 1000.0) -> Path:
    """Write an ECG as a DICOM waveform object to `path` and return it.

    gain  steps per mV: 1000 stores whole microvolts, as `write_wfdb` does. Samples are 16-bit integers, gaps the
          declared padding value -32768.

    The class is 12-Lead ECG where all twelve leads are there, 200 to 1000 Hz and at most 16,384 samples each;
    else General ECG (up to 24 leads); below 200 Hz Ambulatory ECG (up to 12 leads). UIDs are made from the content:
    the same ECG gives the same file, and `read` refuses the file if a byte of it has changed.

    Name, id and birth date of the patient are empty, the object is marked as de-identified; age, sex, device and
    date are written where the metadata has them. The record id is not. An existing file is replaced, whole or not
    at all. Raises UsageError (gain), SignalError (amplitude beyond 16 bits, a rate or leads that no class takes),
    EnvironmentFault (no pydicom, disk full).
    """
    if not (math.isfinite(gain) and 1e-3 <= gain <= 1e6):
        raise UsageError("write_dicom", "gain", gain, "0.001 to 1e6 per mV", kind="gain")
    path = Path(path)
    kind = _class_of(ecg)
    raw = to_integers(ecg, gain)
    dataset = _patient_and_visit(ecg)
    dataset.SOPClassUID = kind.uid
    dataset.WaveformSequence = [_group(ecg, raw, gain)]
    write_bytes(path, sealed(_encoded(dataset)))
    return path


def _class_of(ecg: ECG) -> _Class:
    twelve = set(STANDARD_LEADS) <= set(ecg.leads)
    for kind in (_TWELVE, _GENERAL, _AMBULATORY) if twelve else (_GENERAL, _AMBULATORY):
        fits = len(ecg.leads) <= kind.leads and ecg.n_samples <= kind.samples and kind.low <= ecg.fs <= kind.high
        if fits:
            return kind
    raise SignalError(
        ecg.record_id or "ECG", "DICOM class", f"{len(ecg.leads)} leads at {ecg.fs:g} Hz",
        "up to 24 leads at 200 to 1000 Hz, up to 12 at 50 to 1000 Hz",
        "select leads or resample, or write WFDB", kind="dicom_class",
    )  # fmt: skip


def _patient_and_visit(ecg: ECG) -> Dataset:
    """Return the object without its waveform: what the standard wants, of the person nothing but age and sex."""
    dataset = _dataset()
    day = str(ecg.metadata.get("date") or "").replace("-", "")[:8]
    day = day if len(day) == 8 and day.isdecimal() else _NO_DAY
    study, series, frame, instance = PLACEHOLDERS
    values: dict[str, Any] = {
        "SOPInstanceUID": instance, "StudyInstanceUID": study, "SeriesInstanceUID": series, "Modality": "ECG",
        "StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "",
        "SeriesNumber": 1, "InstanceNumber": 1, "ContentDate": day, "ContentTime": "000000",
        "AcquisitionDateTime": f"{day}000000", "PatientName": "", "PatientID": "", "PatientBirthDate": "",
        "PatientSex": {"male": "M", "female": "F"}.get(str(ecg.metadata.get("sex")), ""),
        "PatientIdentityRemoved": "YES", "DeidentificationMethod": list(_METHOD),
        "Manufacturer": "", "ManufacturerModelName": _device(ecg), "AcquisitionContextSequence": [],
        "SynchronizationFrameOfReferenceUID": frame, "SynchronizationTrigger": "NO TRIGGER",
        "AcquisitionTimeSynchronized": "N", "SpecificCharacterSet": "ISO_IR 192",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if age := _age_text(ecg.metadata.get("age")):
        dataset.PatientAge = age
    return dataset


def _group(ecg: ECG, raw: np.ndarray, gain: float) -> Dataset:
    group = _dataset()
    group.MultiplexGroupTimeOffset = _decimal(1000 * ecg.start)
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = raw.shape
    group.SamplingFrequency = _decimal(ecg.fs)
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = [_channel(lead, gain) for lead in ecg.leads]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.add_new("WaveformPaddingValue", "OW", np.array(GAP, "<i2").tobytes())
    group.add_new("WaveformData", "OW", np.ascontiguousarray(raw.T, dtype="<i2").tobytes())
    return group


def _channel(lead: str, gain: float) -> Dataset:
    number = _CODES.get(lead)
    channel = _dataset()
    if number is not None:
        source = _code(f"2:{number}", "MDC", f"Lead {lead}")
    else:
        source = _code("OTHER", "99ECGLENS", lead[:64])
    channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity = _decimal(1000 / gain)
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = _dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _encoded(dataset: Dataset) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "ECGLENS_1"
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _dataset() -> Dataset:
    try:
        from pydicom.dataset import Dataset
    except ImportError:
        raise EnvironmentFault(
            "write_dicom", "pydicom", "not installed", "", 'pip install "ecglens[formats]"', kind="missing_package"
        ) from None
    return Dataset()


def _decimal(value: float) -> str:
    """Return a number as a DICOM decimal string, which has at most 16 characters."""
    for digits in range(17, 0, -1):
        written = f"{value:.{digits}g}"
        if len(written) <= 16:
            return written
    return "0"


def _age_text(age: Any) -> str:
    """Return an age in years as DICOM writes it, `058Y`; below two years in months, "" where it is unknown."""
    if not isinstance(age, int | float) or not 0 <= age < 1000:  # NaN compares as outside
        return ""
    return f"{round(12 * age):03d}M" if age < 2 else f"{round(age):03d}Y"


def _device(ecg: ECG) -> str:
    device = str(ecg.metadata.get("device") or "")
    return device.replace("\\", "/")[:64] if device.isprintable() else ""
