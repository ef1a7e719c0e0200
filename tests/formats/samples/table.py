# SPDX-License-Identifier: Apache-2.0
"""CSV and TSV with lead names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecglens.ecg import ECG


def make_table(folder: Path, ecg: ECG, name: str = "rec", *, delimiter: str = ",", decimal: str = ".",
               suffix: str = ".csv", timed: bool = True) -> Path:  # fmt: skip
    """Times in s (or a comment with the rate), leads in mV with three decimals, nothing where a sample is missing."""
    names = [f"{lead} (mV)" for lead in ecg.leads]
    lines = [delimiter.join(["time (s)", *names])] if timed else [f"# fs = {ecg.fs:g} Hz", delimiter.join(names)]
    for time, column in zip(ecg.times, ecg.signal.T, strict=True):
        cells = [f"{time:.4f}"] * timed + ["" if np.isnan(value) else f"{value:.3f}" for value in column]
        lines.append(delimiter.join(cell.replace(".", decimal) for cell in cells))
    path = folder / f"{name}{suffix}"
    path.write_text("\n".join(lines) + "\n")
    return path
