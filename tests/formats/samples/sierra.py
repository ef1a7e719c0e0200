# SPDX-License-Identifier: Apache-2.0
"""A small Philips Sierra XML, with an encoder for its XLI compression (LZW of second differences)."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from ecglens.leads import LIMB_LEADS
from samples.patient import BORN, DEVICE, FAMILY, HOSPITAL_ID, NAME, RECORDED


def lzw(data: bytes) -> bytes:
    """Pack bytes with LZW in codes of 10 bits, highest bit first; 1023 ends the stream."""
    table = {bytes((value,)): value for value in range(256)}
    codes, current = [], b""
    for value in data:
        longer = current + bytes((value,))
        if longer in table:
            current = longer
            continue
        codes.append(table[current])
        if len(table) <= 1022:
            table[longer] = len(table)
        current = bytes((value,))
    codes += [table[current], 1023]
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def xli_chunk(samples: np.ndarray) -> bytes:
    """Pack one channel: its second differences (the first in the header), high bytes before low bytes."""
    x = samples.astype(np.int64)
    bends = 2 * x[1:-1] - x[:-2] - x[2:]
    codes = np.concatenate([x[:2], 64 + bends[1:], [64]]).astype("<i2")
    packed = lzw((codes >> 8).astype(np.uint8).tobytes() + (codes & 255).astype(np.uint8).tobytes())
    return len(packed).to_bytes(4, "little") + b"\x01\x00" + int(bends[0]).to_bytes(2, "little", signed=True) + packed


def xli(rows: dict[str, np.ndarray]) -> bytes:
    """Pack all leads, the four derived limb leads as what is left of them; four empty channels follow."""
    stored = dict(rows)
    if tuple(rows)[:6] == LIMB_LEADS:
        one, two, three = rows["I"], rows["II"], rows["III"]
        stored["III"] = two - one - three
        stored["aVR"] = -rows["aVR"] - np.trunc((one + two) / 2).astype(int)
        stored["aVL"] = np.trunc((one - three) / 2).astype(int) - rows["aVL"]
        stored["aVF"] = np.trunc((two + three) / 2).astype(int) - rows["aVF"]
    empty = np.zeros(len(next(iter(rows.values()))), int)
    return b"".join(xli_chunk(row) for row in (*stored.values(), *[empty] * 4))


def make_sierra(
    folder: Path, ecg: ECG, name: str = "rec", step: float = 1.0, encoding: str = "XLI", pulse: bool = False
) -> Path:
    """Write `name`.xml, `step` in uV, as `encoding` XLI, Base64 or Plain; with a calibration pulse if asked."""
    rows = {lead: np.rint(ecg[lead].astype(float) * 1000 / step).astype(int) for lead in ecg.leads}
    if pulse:
        high = round(1000 / step)
        tail = np.repeat([0, high, 0], [50, 100, 50])
        rows = {lead: np.concatenate([row, tail]) for lead, row in rows.items()}
    n_samples = len(next(iter(rows.values())))
    compression = ' compression="XLI"' if encoding == "XLI" else ""
    if encoding == "Plain":
        data = "\n".join(" ".join(map(str, row)) for row in rows.values())
    else:
        packed = xli(rows) if encoding == "XLI" else np.stack(list(rows.values())).astype("<i2").tobytes()
        data = base64.encodebytes(packed).decode()
    beat = base64.b64encode(np.full(50, 7, "<i2").tobytes()).decode()
    day, born = ("{:04d}-{:02d}-{:02d}".format(*date) for date in (RECORDED, BORN))
    clock = "{:02d}:{:02d}:{:02d}".format(*RECORDED[3:])
    path = folder / f"{name}.xml"
    path.write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<restingecgdata status="Confirmed">
<documentinfo>
<documenttype>PhilipsECG</documenttype>
<documentversion>1.04</documentversion>
</documentinfo>
<dataacquisition date="{day}" time="{clock}">
<machine machineid="0001">{DEVICE}</machine>
<signalcharacteristics>
<samplingrate>{ecg.fs:g}</samplingrate>
<resolution>{step:g}</resolution>
<bitspersample>16</bitspersample>
<signaloffset>0</signaloffset>
<signalsigned>True</signalsigned>
<numberchannelsvalid>{len(rows)}</numberchannelsvalid>
</signalcharacteristics>
</dataacquisition>
<patient><generalpatientdata>
<patientid>{HOSPITAL_ID}</patientid>
<name><lastname>{FAMILY}</lastname><firstname>{NAME}</firstname></name>
<age><dateofbirth>{born}</dateofbirth></age>
<sex>Female</sex>
</generalpatientdata></patient>
<waveforms>
<parsedwaveforms dataencoding="{"Plain" if encoding == "Plain" else "Base64"}"{compression} numberofleads="{len(rows)}"
 leadlabels="{" ".join(rows)}"
 durationperchannel="{n_samples * 1000 / ecg.fs:g}"
 samplespersecond="{ecg.fs:g}" resolution="{step:g}" signaloffset="0" signalsigned="True" bitspersample="16">
{data}</parsedwaveforms>
<repbeats dataencoding="Base64" samplespersec="500" resolution="5"><repbeat leadname="I">
<waveform duration="100">{beat}</waveform></repbeat></repbeats>
</waveforms>
</restingecgdata>
""")
    return path
