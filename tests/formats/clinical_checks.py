# SPDX-License-Identifier: Apache-2.0
"""What every reader of a clinical file is held to; the tests of each format call these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples import small_ecg
from samples.patient import FACTS, SECRETS

from ecglens.ecg import ECG
from ecglens.errors import EcglensError, FormatError
from ecglens.formats.read import read


def refused(path: Path, kind: str, error: type[EcglensError] = FormatError, words: str = "") -> EcglensError:
    """Read a file that must be refused with this kind and error."""
    with pytest.raises(error) as caught:
        read(path)
    assert caught.value.kind == kind, str(caught.value)
    assert "\n" not in str(caught.value)
    assert words in str(caught.value)
    return caught.value


def edit(path: Path, old: str, new: str, count: int = 1, encoding: str = "latin-1") -> Path:
    """Exchange text in a file; the text must be there."""
    content = path.read_text(encoding)
    assert old in content, f"{old!r} is not in the file: the test would test nothing"
    path.write_text(content.replace(old, new, count), encoding)
    return path


def kinds(ecg: ECG, severity: str = "") -> list[str]:
    return [finding.kind for finding in ecg.findings if severity in ("", finding.severity)]


def assert_sound(path: Path, tolerance: float = 1e-6) -> ECG:
    """Read the sample of `small_ecg`: its numbers, its facts, nothing of the person's name; no warning."""
    ecg, made = read(path), small_ecg()
    assert set(ecg.leads) == set(made.leads)
    for lead in made.leads:
        np.testing.assert_allclose(ecg[lead], made[lead], atol=tolerance)
    assert (ecg.fs, ecg.start, ecg.record_id) == (500, 0, path.stem)
    found = {key: value for key, value in ecg.metadata.items() if key != "format"}
    assert found == FACTS | {"device": FACTS["device"][: len(found["device"])]}
    assert kinds(ecg, "warning") == []
    told = repr(ecg) + repr(dict(ecg.metadata)) + repr(ecg.findings)
    assert not [secret for secret in SECRETS if secret in told]
    return ecg


def assert_refused_when_cut(path: Path, step: int) -> None:
    """Every shortened copy is refused with an error of ours, at once."""
    content = path.read_bytes()
    for size in range(0, len(content) - 20, step):
        path.write_bytes(content[:size])
        with pytest.raises(EcglensError):
            read(path)
    path.write_bytes(content)
