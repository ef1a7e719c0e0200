# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays (.npy) with a sidecar that says rate, leads and unit. Nothing that could run code is ever loaded."""

from __future__ import annotations

import io
import math
import os
import warnings
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG
from ecglens.errors import FormatError
from ecglens.formats.channels import frozen, millivolts, refuse_doubled, refuse_lying_size, refuse_rate, refuse_too_many
from ecglens.formats.checks import lead_findings, rate_findings, signal_findings
from ecglens.formats.sidecar import read_sidecar, sidecar_path, verify
from ecglens.leads import canonical_lead
from ecglens.runs.files import read_bytes

MAGIC = b"\x93NUMPY"
MAX_BYTES = 2**28
_TYPES = ("float32", "float64", "int16")
_EXAMPLE = '{"fs": 500, "leads": ["I", "II"], "unit": "mV"}'


def recognises_npy(head: bytes, path: Path) -> bool:
    """Tell whether a file begins like a NumPy array."""
    return head.startswith(MAGIC)


def is_listed_npy(head: bytes, path: Path) -> bool:
    """Tell whether an array found in a folder is an ECG: it has a sidecar. Other arrays lie in folders too."""
    return recognises_npy(head, path) and os.path.lexists(sidecar_path(path))


def read_npy(path: str | Path) -> ECG:
    """Read `rec.npy`, float32, float64 or int16 [lead, time], with its sidecar `rec.json`, as an ECG in mV.

    Raises FormatError: `npy` (header, shape, type; arrays of objects, which would be pickle), `sidecar` (missing or
    wrong), `truncated`, `trailing_bytes`, `checksum`, `too_large`.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    if sidecar is None:
        found = f"nothing at {sidecar_path(path).name}"
        raise FormatError(path, "sidecar", found, _EXAMPLE, "write it beside the array", kind="sidecar")
    if sidecar.fs is None or sidecar.leads is None or sidecar.scale is None:
        raise sidecar.fault("keys", "no fs, no leads or no unit", _EXAMPLE)
    content = read_bytes(path, MAX_BYTES)
    verify(path, content, sidecar)
    values = _array(path, content)
    _refuse_shape(path, values, sidecar.leads)
    refuse_too_many(path, *values.shape)
    refuse_rate(path, sidecar.fs)
    signal = millivolts(values.T, [sidecar.scale] * len(values), sidecar.gap)
    findings = rate_findings(sidecar.fs) + lead_findings(sidecar.leads) + signal_findings(signal, sidecar.leads)
    return ECG(frozen(signal), sidecar.fs, sidecar.leads, path.stem, sidecar.start,
               {"format": "npy"} | sidecar.metadata, tuple(findings))  # fmt: skip


def _array(path: Path, content: bytes) -> np.ndarray:
    """Return the array [lead, time], a view of `content`. Its size is compared with the header's before that."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, in_columns, kind = read_header[version](file)
    except Exception as error:  # numpy parses the header as Python, which fails in many ways
        raise FormatError(path, "header", error, "the header of a NumPy array", "write the file again",
                          kind="npy") from None  # fmt: skip
    if kind.hasobject or kind.name not in _TYPES:
        raise FormatError(path, "type", kind, ", ".join(_TYPES), "save it with astype('float32')", kind="npy")
    if len(shape) != 2 or min(shape) < 1:
        raise FormatError(path, "shape", shape, "[lead, time]", "save it with two axes", kind="npy")
    needed, available = math.prod(shape) * kind.itemsize, len(content) - file.tell()
    refuse_lying_size(path, needed, available)
    if needed != available:
        found, allowed = f"{available} bytes of samples", f"{needed}, as the header declares"
        raise FormatError(path, "size", found, allowed, "copy the file again",
                          kind="truncated" if available < needed else "trailing_bytes")  # fmt: skip
    flat = np.frombuffer(content, kind, math.prod(shape), file.tell())
    return flat.reshape(shape, order="F" if in_columns else "C")


def _refuse_shape(path: Path, values: np.ndarray, leads: tuple[str, ...]) -> None:
    refuse_doubled(path, [canonical_lead(lead) for lead in leads])
    if len(values) != len(leads):
        fix = "save the transposed array" if values.shape[1] == len(leads) else "correct the leads in the sidecar"
        raise FormatError(path, "shape", f"{values.shape} for {len(leads)} leads", "[lead, time]", fix, kind="npy")
