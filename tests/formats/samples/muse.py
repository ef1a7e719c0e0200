# SPDX-License-Identifier: Apache-2.0
"""A small GE MUSE XML: eight leads, a median waveform before the rhythm, a document type as MUSE writes it."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from samples.patient import BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def _waveform(kind: str, ecg: ECG, leads: tuple[str, ...], per_bit: float) -> str:
    text = f"""<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(leads)}</NumberofLeads>
<SampleType>CONTINUOUS_SAMPLES</SampleType>
<SampleBase>{ecg.fs:g}</SampleBase>
<SampleExponent>0</SampleExponent>
"""
    for lead in leads:
        data = np.rint(ecg[lead].astype(float) * 1000 / per_bit).astype("<i2").tobytes()
        encoded = base64.encodebytes(data).decode()
        text += f"""<LeadData>
<LeadByteCountTotal>{len(data)}</LeadByteCountTotal>
<LeadTimeOffset>0</LeadTimeOffset>
<LeadSampleCountTotal>{len(data) // 2}</LeadSampleCountTotal>
<LeadAmplitudeUnitsPerBit>{per_bit:g}</LeadAmplitudeUnitsPerBit>
<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>
<LeadID>{lead}</LeadID>
<LeadOffsetFirstSample>0</LeadOffsetFirstSample>
<FirstSampleBaseline>0</FirstSampleBaseline>
<LeadSampleSize>2</LeadSampleSize>
<LeadOff>FALSE</LeadOff>
<LeadDataCRC32>{zlib.crc32(data)}</LeadDataCRC32>
<WaveFormData>
{encoded}</WaveFormData>
</LeadData>
"""
    return text + "</Waveform>\n"


def make_muse(folder: Path, ecg: ECG, name: str = "rec", per_bit: float = 4.88, leads: tuple[str, ...] = EIGHT) -> Path:
    """Write `name`.xml, `per_bit` in uV; its median beat is the ECG upside down."""
    median = ECG(-ecg.signal, ecg.fs, ecg.leads).crop(0, min(0.1, ecg.duration))
    path = folder / f"{name}.xml"
    path.write_text(
        f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE RestingECG SYSTEM "restecg.dtd">
<RestingECG>
<PatientDemographics>
<PatientID>{HOSPITAL_ID}</PatientID>
<PatientAge>57</PatientAge>
<AgeUnits>YEARS</AgeUnits>
<DateofBirth>{BORN[1]:02d}-{BORN[2]:02d}-{BORN[0]}</DateofBirth>
<Gender>FEMALE</Gender>
<PatientLastName>{FAMILY}</PatientLastName>
<PatientFirstName>{NAME}</PatientFirstName>
</PatientDemographics>
<TestDemographics>
<AcquisitionDevice>{DEVICE}</AcquisitionDevice>
<AcquisitionTime>{RECORDED[3]:02d}:{RECORDED[4]:02d}:{RECORDED[5]:02d}</AcquisitionTime>
<AcquisitionDate>{RECORDED[1]:02d}-{RECORDED[2]:02d}-{RECORDED[0]}</AcquisitionDate>
</TestDemographics>
{_waveform("Median", median, leads, per_bit)}{_waveform("Rhythm", ecg, leads, per_bit)}</RestingECG>
""",
        encoding="latin-1",
    )
    return path
