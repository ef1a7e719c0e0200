# SPDX-License-Identifier: Apache-2.0
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samples import small_ecg
from samples.npy import make_npy

from ecglens.errors import EcglensError, FormatError
from ecglens.formats.read import read, record_paths


def array(folder: Path, values: np.ndarray, **keys: object) -> Path:
    path = folder / "rec.npy"
    np.save(path, values, allow_pickle=True)
    told = {"fs": 500, "leads": ["I", "II"], "unit": "mV"} | keys
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in told.items() if v != "absent"}))
    return path


def test_round_trip(tmp_path: Path) -> None:
    path = make_npy(tmp_path, small_ecg(), age=61, sex="female", start=2.5)
    ecg = read(path)
    np.testing.assert_array_equal(ecg.signal, small_ecg().signal)
    assert (ecg.fs, ecg.leads, ecg.start) == (500.0, small_ecg().leads, 2.5)
    assert dict(ecg.metadata) == {"format": "npy", "age": 61.0, "sex": "female"}


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i2", ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(tmp_path: Path, kind: str, order: str) -> None:
    counts = np.random.default_rng(0).integers(-900, 900, (2, 300))
    ecg = read(array(tmp_path, np.asarray(counts.astype(kind), order=order), unit="uV", gain=2, baseline=-10))
    np.testing.assert_allclose(ecg.signal, (counts + 10) / 2000, rtol=1e-6)


def test_gaps(tmp_path: Path) -> None:
    counts = np.arange(200, dtype=np.int16).reshape(2, 100)
    counts[1, 7] = -32768
    assert np.isnan(read(array(tmp_path, counts, unit="uV", gap=-32768)).signal).sum() == 1


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pickle-was-loaded",)


@pytest.mark.parametrize(
    ("values", "keys", "kind"),
    [
        (np.array([[Evil()] * 9] * 2, dtype=object), {}, "npy"),
        (np.zeros((2, 9), "i4"), {}, "npy"),
        (np.zeros((2, 9), "c8"), {}, "npy"),
        (np.zeros((2, 9), [("a", "f4")]), {}, "npy"),
        (np.zeros((9, 2), "f4"), {}, "npy"),
        (np.zeros(9, "f4"), {}, "npy"),
        (np.zeros((2, 0), "f4"), {}, "npy"),
        (np.full((2, 9), np.inf, "f4"), {}, "infinite"),
        (np.full((2, 9), 1e308), {}, "infinite"),
        (np.zeros((2, 9), "f4"), {"fs": "absent"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"unit": "absent"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"unit": "mmHg"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"fs": True}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"fs": 10**400}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"fs": float("nan")}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"gain": 0}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"gian": 200}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"name": "Jane Doe"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"leads": ["I", "D1"]}, "duplicate_lead"),
        (np.zeros((2, 9), "f4"), {"leads": "I,II"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"leads": ["I", 2]}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"sex": "unknown"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"date": "2024-5-1"}, "sidecar"),
        (np.zeros((2, 9), "f4"), {"sha256": "0" * 64}, "checksum"),
    ],
)
def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: np.ndarray, keys: dict, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EcglensError) as caught:
        read(array(tmp_path, values, **keys))
    assert caught.value.kind == kind, str(caught.value)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "pickle-was-loaded").exists()


def test_the_pickle_would_have_done_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / "pickle-was-loaded").exists()


def test_headers_that_lie(tmp_path: Path) -> None:
    path = make_npy(tmp_path, small_ecg(), sealed=False)
    good = path.read_bytes()
    for old, new, kind in (
        (b"(12, 500)", b"(12, 501)", "truncated"), (b"(12, 500)", b"(12, 499)", "trailing_bytes"),
        (b"(12, 500)", b"(12,9**9)", "npy"), (b"(12, 500)", b"(-2, 500)", "npy"), (b"'<f4'", b"'|O8'", "npy"),
        (b"(12, 500), }", b"(10**3, 500)", "npy"), (b"\x93NUMPY\x01", b"\x93NUMPY\x09", "npy"),
        (b"{'descr'", b"((((((((", "npy"), (b"False", b"maybe", "npy"),
    ):  # fmt: skip
        assert old in good
        path.write_bytes(good.replace(old, new, 1))
        with pytest.raises(FormatError) as caught:
            read(path)
        assert caught.value.kind == kind, str(caught.value)


def test_an_array_without_a_sidecar_is_no_ecg(tmp_path: Path) -> None:
    path = make_npy(tmp_path, small_ecg())
    np.save(tmp_path / "other.npy", np.zeros(3))
    assert record_paths(tmp_path) == [path]
    with pytest.raises(FormatError, match=r"other\.json"):
        read(tmp_path / "other.npy")


def test_a_sidecar_that_is_a_link(tmp_path: Path) -> None:
    path = make_npy(tmp_path, replace(small_ecg(), record_id="x"))
    (tmp_path / "away").mkdir()
    path.with_suffix(".json").rename(tmp_path / "away" / "rec.json")
    path.with_suffix(".json").symlink_to(tmp_path / "away" / "rec.json")
    with pytest.raises(EcglensError) as caught:
        read(path)
    assert caught.value.exit_code == 4
