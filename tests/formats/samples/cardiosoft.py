# SPDX-License-Identifier: Apache-2.0
"""A small GE CardioSoft XML: strip data, median samples and full disclosure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from samples.patient import BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED


def _leads(ecg: ECG, step: float) -> str:
    lines = []
    for lead in ecg.leads:
        samples = np.rint(ecg[lead].astype(float) * 1000 / step).astype(int)
        values = ",\n".join(",".join(map(str, samples[i : i + 20])) for i in range(0, len(samples), 20))
        lines.append(f'<WaveformData lead="{lead}">{values}</WaveformData>')
    return f"""<NumberOfLeads>{len(ecg.leads)}</NumberOfLeads>
<SampleRate units="Hz">{ecg.fs:g}</SampleRate>
<ChannelSampleCountTotal>{ecg.n_samples}</ChannelSampleCountTotal>
<Resolution units="uVperLsb">{step:g}</Resolution>
""" + "\n".join(lines)


def make_cardiosoft(folder: Path, ecg: ECG, name: str = "rec", step: float = 1.0) -> Path:
    """Write `name`.xml, `step` in uV; its median beat is the ECG upside down."""
    median = ECG(-ecg.signal, ecg.fs, ecg.leads).crop(0, min(0.1, ecg.duration))
    hour, minute, second = RECORDED[3:]
    path = folder / f"{name}.xml"
    path.write_text(f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<CardiologyXML>
<ObservationDateTime>
<Hour>{hour}</Hour>
<Minute>{minute}</Minute>
<Second>{second}</Second>
<Day>{RECORDED[2]}</Day>
<Month>{RECORDED[1]}</Month>
<Year>{RECORDED[0]}</Year>
</ObservationDateTime>
<ClinicalInfo><DeviceInfo><Desc>{DEVICE}</Desc></DeviceInfo></ClinicalInfo>
<PatientInfo>
<PID>{HOSPITAL_ID}</PID>
<Name><FamilyName>{FAMILY}</FamilyName><GivenName>{NAME}</GivenName></Name>
<Age units="YEARS">57</Age>
<BirthDateTime><Day>{BORN[2]}</Day><Month>{BORN[1]}</Month><Year>{BORN[0]}</Year></BirthDateTime>
<Gender>FEMALE</Gender>
</PatientInfo>
<RestingECGMeasurements><MedianSamples>
{_leads(median, step)}
</MedianSamples></RestingECGMeasurements>
<StripData>
{_leads(ecg, step)}
</StripData>
<FullDisclosure><FullDisclosureData>0,0,0</FullDisclosureData></FullDisclosure>
</CardiologyXML>
""")
    return path
