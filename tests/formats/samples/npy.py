# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays with a sidecar."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ecglens.ecg import ECG


def make_npy(folder: Path, ecg: ECG, name: str = "rec", *, sealed: bool = True, **keys: object) -> Path:
    """Write float32 mV and the sidecar; `sealed`: with the hash of the array. `keys` go into the sidecar."""
    path = folder / f"{name}.npy"
    np.save(path, ecg.signal)
    told = {"fs": ecg.fs, "leads": list(ecg.leads), "unit": "mV", **keys}
    if sealed:
        told["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(told))
    return path
