# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samples import small_ecg
from samples.table import make_table

from ecglens.ecg import ECG
from ecglens.errors import EcglensError, FormatError
from ecglens.formats.read import read, record_paths


def table(folder: Path, text: str, name: str = "rec.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def kinds(ecg: ECG) -> list[str]:
    return [finding.kind for finding in ecg.findings]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize(
    ("delimiter", "decimal", "suffix"),
    [(",", ".", ".csv"), (";", ",", ".csv"), (";", ".", ".txt"), ("\t", ".", ".tsv"), ("\t", ",", ".csv")],
)
def test_delimiters_and_decimal_signs(tmp_path: Path, delimiter: str, decimal: str, suffix: str, timed: bool) -> None:
    signal = small_ecg().signal.copy()
    signal[3, 5:9] = np.nan
    ecg = replace(small_ecg(), signal=signal, start=1.5 * timed)
    path = make_table(tmp_path, ecg, delimiter=delimiter, decimal=decimal, suffix=suffix, timed=timed)
    back = read(path)
    np.testing.assert_array_equal(back.signal, signal)
    assert (back.fs, back.leads, back.start) == (500.0, ecg.leads, ecg.start)
    assert back.findings == ()


GOOD = "# fs = 500 Hz\n# unit = mV\nI,II\n" + "0.1,0.2\n" * 100


@pytest.mark.parametrize(
    "text",
    [
        GOOD, "\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), GOOD.replace("I,II", '"I","II"'), GOOD.rstrip(),
        GOOD.replace("I,II", "DI, Lead II "), GOOD.replace("0.1,0.2", "1e-1, +.2 "),
        GOOD.replace("fs =", "Sampling rate:"),
        GOOD.replace("# unit = mV\n", "").replace("I,II", "I [mV],II (mV)"),
        GOOD.replace("# unit = mV", "# Jane Doe\n# unit = uV").replace("0.1,0.2", "100,200"),
        GOOD.replace("I,II", "I,II,noise").replace("0.2\n", "0.2,7\n"),
    ],
)  # fmt: skip
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    ecg = read(table(tmp_path, text))
    np.testing.assert_allclose(ecg.signal, np.repeat([[0.1], [0.2]], 100, axis=1), rtol=1e-6)
    assert (ecg.leads, ecg.fs) == (("I", "II"), 500.0)
    assert kinds(ecg) == (["other_channel"] if "noise" in text else [])
    assert "Jane" not in repr(ecg.findings) + repr(ecg.metadata)


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("# fs = 500 Hz\n", "", "sampling_rate", "# fs = 500 Hz"),
        ("500", "5", "sampling_rate", "5 Hz"),
        ("# unit = mV\n", "", "units", r"I \(mV\)"),
        ("mV", "counts", "units", "counts"),
        ("I,II\n", "0.1,0.2\n", "no_lead_name", "line 3"),
        ("I,II\n", "a,b\n", "no_lead_name", "a, b"),
        ("I,II\n", "I,D1\n", "duplicate_lead", "lead I"),
        ("I,II\n", "I,II;V1\n", "table", "line 3"),
        ("0.1,0.2\n", "0.1\n", "table", "line 4: found 1 cells"),
        ("0.1,0.2\n", "0.1,0.2,0.3\n", "table", "line 4: found 3 cells"),
        ("0.1,0.2\n", "\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,=cmd|x\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,electrode off\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,1-2\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,1 2\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,inf\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,1e999\n", "table", "line 4"),
        ("0.1,0.2\n", "0.1,1nan2\n", "table", "line 4"),
        ("0.1,0.2\n", '0.1,"0.2"\n', "table", "line 4"),
        ("0.1,0.2\n", "0,1,0,2\n", "table", "decimal commas"),
        ("I,II\n", "I,II" + ",V1" * 10**6 + "\n", "too_large", "line 3"),
        ("I,II\n", "I,\x1bII\n", "table", "control"),
        (GOOD, "# fs = 500 Hz\n", "table", "only comments"),
        (GOOD, "", "content", "empty"),
        (GOOD, "<html>no table</html>", "content", "HTML"),
        (GOOD, "# fs = 500\nI (mV);II (mV)\n" + "1.000,1;2\n" * 9, "table", "decimal sign"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, kind: str, words: str) -> None:
    assert old in GOOD
    begin = time.process_time()
    with pytest.raises(FormatError, match=words) as caught:
        read(table(tmp_path, GOOD.replace(old, new, 1)))
    assert caught.value.kind == kind, str(caught.value)
    assert time.process_time() - begin < 2


def timed(times: list[float], header: str = "time (s)", comment: str = "") -> str:
    return f"{comment}{header},I (mV)\n" + "".join(f"{t:.6g},0.5\n" for t in times)


@pytest.mark.parametrize(
    ("header", "step", "digits", "fs"),
    [("time (s)", 1 / 500, 3, 500), ("t_ms", 1000 / 360, 0, 360), ("Time", 1 / 250, 4, 250), ("time", 4.0, 1, 250),
     ("ms", 1000 / 257, 3, 257), ("seconds", 1 / 333.25, 6, 333.25)],
)  # fmt: skip
def test_rates_by_the_times(tmp_path: Path, header: str, step: float, digits: int, fs: float) -> None:
    ecg = read(table(tmp_path, timed([round(k * step, digits) for k in range(2000)], header)))
    assert ecg.fs == pytest.approx(fs, rel=1e-6)
    assert ("time_unit" in kinds(ecg)) == (header.lower() == "time")


def test_times_that_are_not_uniform(tmp_path: Path) -> None:
    times = [k / 500 for k in range(1000)]
    for wrong in (
        [*times[:500], *[t + 0.1 for t in times[500:]]],
        times[::-1],
        [0.0] * 9,
        [*times[:4], times[2], *times[5:]],
    ):
        with pytest.raises(FormatError) as caught:
            read(table(tmp_path, timed(wrong)))
        assert caught.value.kind == "sampling_rate"
    with pytest.raises(FormatError, match="250"):
        read(table(tmp_path, timed(times, comment="# fs = 250 Hz\n")))


def test_a_sidecar_for_a_table_of_counts(tmp_path: Path) -> None:
    path = table(tmp_path, "I,II\n" + "1100,900\n" * 100)
    told = {"fs": 250, "unit": "mV", "gain": 200, "baseline": 1000, "age": 50, "sex": "male"}
    path.with_suffix(".json").write_text(json.dumps(told))
    ecg = read(path)
    np.testing.assert_allclose(ecg.signal[:, 0], [0.5, -0.5])
    assert dict(ecg.metadata) == {"format": "table", "age": 50.0, "sex": "male"}
    path.with_suffix(".json").write_text(json.dumps(told | {"leads": ["II", "I"]}))
    with pytest.raises(FormatError, match="leads"):
        read(path)


def test_a_gap_in_a_single_column(tmp_path: Path) -> None:
    ecg = read(table(tmp_path, "# fs = 500\nI (mV)\n" + "0.5\nNaN\n" * 50))
    assert np.isnan(ecg.signal).sum() == 50


def test_a_folder_lists_tables_of_leads_only(tmp_path: Path) -> None:
    path = make_table(tmp_path, small_ecg())
    table(tmp_path, "file,patient_id,labels\nrec.csv,1,NORM\n", "table.csv")
    (tmp_path / "linked.csv").symlink_to(path)
    assert record_paths(tmp_path) == [path]


@pytest.mark.parametrize(
    ("body", "allowed"),
    [("0,0\n" * 2_000_000, True), ("0,0\n" * 2_000_000 + "0,1-1\n", False), (",\n" * 4_000_000, True)],
)
def test_large_tables_are_quick(tmp_path: Path, body: str, allowed: bool) -> None:
    path = table(tmp_path, "# fs = 500\nI (mV),II (mV)\n" + body)
    begin = time.process_time()
    with contextlib.nullcontext() if allowed else pytest.raises(FormatError, match="line 2000003"):
        read(path)
    assert time.process_time() - begin < 4  # the bar is 2 s; machines differ


@pytest.mark.parametrize("cell", ["I" + " " * 7000 + "x", "I(" + " " * 600 + "x"])
def test_a_name_of_many_characters_takes_no_time(tmp_path: Path, cell: str) -> None:
    """Found by the fuzzer: the pattern for name and unit took time with the square of a cell's length."""
    path = tmp_path / "long.edf"  # what the first line holds decides
    path.write_text("neither,name\n1,2\n")
    with contextlib.suppress(EcglensError):
        read(path)  # what is imported at the first call is not counted
    path.write_text(f"{cell},II\n1,2\n")
    begin = time.process_time()
    with contextlib.suppress(EcglensError):
        read(path)
    assert time.process_time() - begin < 0.5
