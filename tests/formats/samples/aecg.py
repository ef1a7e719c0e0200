# SPDX-License-Identifier: Apache-2.0
"""A small HL7 aECG: one rhythm series and one representative beat, leads in the order that recorders write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from samples.patient import ADDRESS, BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED

ORDER = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")


def _stamp(seconds: float = 0) -> str:
    year, month, day, hour, minute, second = RECORDED
    return f"{year:04d}{month:02d}{day:02d}{hour:02d}{minute:02d}{second + int(seconds):02d}"


def _sequences(ecg: ECG, leads: tuple[str, ...], scale: float) -> str:
    text = f"""<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">
<head value="{_stamp()}.000"/><increment value="{1 / ecg.fs:.6g}" unit="s"/></value></sequence></component>
"""
    for lead in leads:
        digits = np.rint(ecg[lead].astype(float) * 1000 / scale).astype(int)
        lines = "\n".join(" ".join(map(str, digits[i : i + 20])) for i in range(0, len(digits), 20))
        text += f"""<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value xsi:type="SLIST_PQ">
<origin value="0" unit="uV"/><scale value="{scale:g}" unit="uV"/>
<digits>{lines}</digits></value></sequence></component>
"""
    return text


def make_aecg(folder: Path, ecg: ECG, name: str = "rec", scale: float = 1.0) -> Path:
    """Write `name`.xml, `scale` in uV per digit; its representative beat is the ECG upside down."""
    order = tuple(lead for lead in ORDER if lead in ecg.leads)
    beat = ECG(-ecg.signal, ecg.fs, ecg.leads)
    born = "{:04d}{:02d}{:02d}".format(*BORN)
    path = folder / f"{name}.xml"
    path.write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- {NAME} {FAMILY} -->
<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="Observation">
<id root="61d1a24f-b47e-41aa-ae95-f8ac302f4eeb" extension="{HOSPITAL_ID}"/>
<effectiveTime><center value="{_stamp()}"/></effectiveTime>
<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>
<id root="1.2.3" extension="{HOSPITAL_ID}"/><subjectDemographicPerson><name>{NAME} {FAMILY}</name>
<administrativeGenderCode code="F"/><birthTime value="{born}"/><addr>{ADDRESS}</addr></subjectDemographicPerson>
</trialSubject></subject></subjectAssignment></componentOf></timepointEvent></componentOf>
<controlVariable><relatedObservation><code code="21612-7"/><value xsi:type="PQ" value="57" unit="a"/>
</relatedObservation></controlVariable>
<component><series><code code="RHYTHM"/>
<effectiveTime><low value="{_stamp()}"/><high value="{_stamp(ecg.duration)}"/></effectiveTime>
<author><seriesAuthor><manufacturedSeriesDevice>
<manufacturerModelName>{DEVICE}</manufacturerModelName>
</manufacturedSeriesDevice></seriesAuthor></author>
<component><sequenceSet>
{_sequences(ecg, order, scale)}</sequenceSet></component>
<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/><component><sequenceSet>
{_sequences(beat.crop(0, min(0.1, beat.duration)), order, scale)}</sequenceSet></component></derivedSeries></derivation>
</series></component></AnnotatedECG>
""")
    return path
