# SPDX-License-Identifier: Apache-2.0
"""A cohort on the network's grid: order kept, each record counted once, the cache invisible but for the time."""

from __future__ import annotations

import ast
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort, Excluded, Lazy
from ecglens.datasets.folder import load_folder
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EnvironmentFault, InputError
from ecglens.formats.wfdb import read_wfdb, write_wfdb
from ecglens.leads import STANDARD_LEADS
from ecglens.preprocessing.pipeline import Admission, Bandpass, Preprocessing, Resample
from ecglens.preprocessing.prepare import Prepared, describe_exclusions, prepare
from ecglens.preprocessing.windows import Windows
from ecglens.runs.cache import Cache
from ecglens.training.recipes import PREPROCESSING

RECIPE = Preprocessing(Admission(min_duration=2), (Resample(100),), Windows(100, 50))


def make_ecg(i: int, duration: float = 2, fs: float = 500) -> ECG:
    walk = np.random.default_rng(i).standard_normal((12, round(duration * fs))).cumsum(axis=1) / 20
    return ECG(walk, fs, STANDARD_LEADS, f"r{i}")


def cohort_of(read, n: int, files=None) -> Cohort:
    ids = [f"r{i}" for i in range(n)]
    labels = pd.DataFrame({"MI": [float(i % 2) for i in range(n)]}, index=ids)
    metadata = pd.DataFrame({"patient_id": [f"p{i}" for i in range(n)]}, index=ids)
    return Cohort("toy", Lazy(read, range(n)), labels, metadata, files=files)


def same(a: Prepared, b: Prepared) -> None:
    assert (a.cohort.record_ids, a.fs, a.fingerprints, a.excluded) == (
        b.cohort.record_ids, b.fs, b.fingerprints, b.excluded,
    )  # fmt: skip
    assert len(a.signals) == len(b.signals)
    for x, y in zip(a.signals, b.signals, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype == np.float32


# ---------------------------------------------------------------- what is kept, what is left out


def test_mixed_lengths_and_rates_keep_their_order() -> None:
    def read(i: int) -> ECG:
        return make_ecg(i, duration=2 + (i >= 67) * i % 3, fs=(500, 250)[(i >= 67) * i // 2 % 2])

    prepared = prepare(cohort_of(read, 80), RECIPE)  # a whole group of 64, a part of one, and many of one or two
    assert prepared.cohort.record_ids == tuple(f"r{i}" for i in range(80))
    assert prepared.fs == 100
    for i, signal in enumerate(prepared.signals):
        assert signal.shape == (12, 100 * (2 + (i >= 67) * i % 3))
        if i % 5 == 0 or i > 60:
            np.testing.assert_allclose(signal, RECIPE.apply([read(i)]).signal[0], atol=2e-6)
            assert prepared.fingerprints[i] == read(i).fingerprint()
    with pytest.raises(ContractError, match="200 to 400 samples") as caught:
        prepared.stack()
    assert caught.value.exit_code == 6
    assert prepared.take(range(67)).stack().shape == (67, 12, 200)


def spoiled(i: int) -> ECG:
    ecg = make_ecg(i)
    if i == 1:
        return replace(ecg, signal=ecg.signal * 0)
    if i == 3:
        return make_ecg(i, duration=1)
    if i == 4:
        raise InputError("r4.hea", "file", "nothing there", kind="missing_file")
    if i == 6:
        return make_ecg(i, fs=100.003)  # no ratio of integers leads to 100 Hz
    return ecg


def test_what_cannot_be_used_is_left_out_with_the_reason_and_counted_once() -> None:
    told = []
    prepared = prepare(cohort_of(spoiled, 8), RECIPE, progress=lambda *arguments: told.append(arguments))
    assert prepared.cohort.record_ids == ("r0", "r2", "r5", "r7")
    assert {e.record_id: e.kind for e in prepared.excluded} == {
        "r1": "flat_lead", "r3": "too_short", "r4": "missing_file", "r6": "signal",
    }  # fmt: skip
    assert len(prepared.excluded) + len(prepared.cohort) == 8
    assert all(e.reason for e in prepared.excluded)
    assert prepared.cohort.labels.index.tolist() == list(prepared.cohort.metadata.index) == ["r0", "r2", "r5", "r7"]
    assert [t[:3] for t in told] == [("reading", i, 8) for i in range(1, 9)]
    assert describe_exclusions([*prepared.excluded, Excluded("x", "signal", "")]) == {
        "signal": 2, "flat_lead": 1, "missing_file": 1, "too_short": 1,
    }  # fmt: skip


def test_a_filter_that_cannot_take_one_record_leaves_out_that_record() -> None:
    recipe = replace(RECIPE, record_steps=(Bandpass(0.5, 40, 2), Resample(100)))
    prepared = prepare(cohort_of(lambda i: make_ecg(i, fs=60 if i == 2 else 500), 4), recipe)  # 40 Hz at 60 Hz
    assert prepared.cohort.record_ids == ("r0", "r1", "r3")
    assert [e.record_id for e in prepared.excluded] == ["r2"]


def test_what_the_loader_left_out_is_not_counted_again() -> None:
    cohort = replace(cohort_of(spoiled, 3), excluded=(Excluded("gone", "absent", "not here"),))
    prepared = prepare(cohort, RECIPE)
    assert [e.record_id for e in prepared.cohort.excluded] == ["gone"]
    assert [e.record_id for e in prepared.excluded] == ["r1"]


def test_not_one_usable_record_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match="flat line") as caught:
        prepare(cohort_of(lambda i: spoiled(1), 3), RECIPE)
    assert caught.value.kind == "no_records"
    with pytest.raises(InputError, match="empty"):
        prepare(cohort_of(make_ecg, 3).take([]), RECIPE)


def test_two_rates_on_one_grid_are_refused() -> None:
    recipe = replace(RECIPE, record_steps=())
    with pytest.raises(ContractError, match="resample"):
        prepare(cohort_of(lambda i: make_ecg(i, fs=(500, 250)[i % 2]), 2), recipe)


def test_a_fault_of_the_machine_is_not_a_fault_of_the_record() -> None:
    def read(i: int) -> ECG:
        raise EnvironmentFault("disk", "reading", "Input/output error")

    with pytest.raises(EnvironmentFault):
        prepare(cohort_of(read, 2), RECIPE)


# ---------------------------------------------------------------- the cache


class Files:
    """Records on the disk, and how often they were read."""

    def __init__(self, folder: Path, n: int = 5) -> None:
        self.paths = [write_wfdb(make_ecg(i), folder) for i in range(n)]
        write_wfdb(make_ecg(1, duration=1), folder)  # r1 is too short
        self.reads = 0

    def read(self, i: int) -> ECG:
        self.reads += 1
        return read_wfdb(self.paths[i])

    def cohort(self) -> Cohort:
        return cohort_of(self.read, len(self.paths), [(p, p.with_suffix(".dat")) for p in self.paths])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_the_second_time_nothing_is_read_and_everything_is_equal(files: Files, cache: Cache) -> None:
    first = prepare(files.cohort(), RECIPE, cache=cache)
    told = []
    second = prepare(files.cohort(), RECIPE, cache=cache, progress=lambda *arguments: told.append(arguments))
    assert files.reads == 5
    assert told == [("reading", 5, 5, "from the cache")]
    same(first, second)
    same(first, prepare(files.cohort(), RECIPE))
    assert [e.kind for e in second.excluded] == ["too_short"]


def test_anything_that_could_change_the_numbers_is_another_entry(files: Files, cache: Cache) -> None:
    prepare(files.cohort(), RECIPE, cache=cache)
    changes = [
        lambda: prepare(files.cohort(), replace(RECIPE, record_steps=(Resample(125),)), cache=cache),
        lambda: prepare(files.cohort(), replace(RECIPE, admission=Admission(min_duration=1)), cache=cache),
        lambda: prepare(files.cohort().take([0, 1, 2, 4]), RECIPE, cache=cache),
        lambda: prepare(files.cohort().take([1, 0, 2, 3, 4]), RECIPE, cache=cache),
    ]
    for change in changes:
        before = files.reads
        change()
        assert files.reads > before
    write_wfdb(make_ecg(9), files.paths[0].parent)  # another file beside them is nobody's business
    before = files.reads
    prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == before


def test_a_changed_file_is_read_again(files: Files, cache: Cache) -> None:
    first = prepare(files.cohort(), RECIPE, cache=cache)
    path = files.paths[2]
    write_wfdb(replace(make_ecg(77), record_id="r2"), path.parent)
    second = prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 10
    np.testing.assert_array_equal(first.signals[0], second.signals[0])
    assert first.fingerprints[1] != second.fingerprints[1]
    os.utime(path)  # touched, but the same content
    prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 10


def test_a_damaged_entry_is_made_again_with_a_warning(
    files: Files, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepare(files.cohort(), RECIPE, cache=cache)
    first = replace(first, signals=[signal.copy() for signal in first.signals])  # not what the file will hold
    (values,) = cache.folder.glob("*/values.npy")
    data = bytearray(values.read_bytes())
    data[-5] ^= 1
    values.write_bytes(data)
    second = prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 10
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert cache.damaged == 1
    same(first, second)
    prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 10


def test_a_cache_that_cannot_be_written_costs_time_not_the_result(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    prepared = prepare(files.cohort(), RECIPE, cache=Cache(tmp_path / "file" / "cache"))
    same(prepared, prepare(files.cohort(), RECIPE))
    assert "not cached" in caplog.text


def test_a_vanished_file_is_left_out_and_nothing_is_cached(files: Files, cache: Cache) -> None:
    files.paths[3].with_suffix(".dat").unlink()
    prepared = prepare(files.cohort(), RECIPE, cache=cache)
    assert [e.kind for e in prepared.excluded] == ["too_short", "missing_file"]
    assert not cache.folder.exists()


def test_what_does_not_come_straight_from_files_is_never_cached(files: Files, cache: Cache) -> None:
    prepare(files.cohort().map(lambda ecg: replace(ecg, signal=-ecg.signal)), RECIPE, cache=cache)
    prepare(cohort_of(make_ecg, 3), RECIPE, cache=cache)
    assert not cache.folder.exists()


def test_labels_are_not_in_the_cache(files: Files, cache: Cache) -> None:
    prepare(files.cohort(), RECIPE, cache=cache)
    other = replace(files.cohort(), labels=1 - files.cohort().labels)
    assert prepare(other, RECIPE, cache=cache).cohort.labels["MI"].tolist() == [1, 1, 0, 1]
    assert files.reads == 5


def test_a_copied_folder_finds_the_same_entry(files: Files, cache: Cache, tmp_path: Path) -> None:
    first = prepare(files.cohort(), RECIPE, cache=cache)
    shutil.copytree(files.paths[0].parent, tmp_path / "copy")
    files.paths = [tmp_path / "copy" / path.name for path in files.paths]
    same(first, prepare(files.cohort(), RECIPE, cache=cache))
    assert files.reads == 5
    (tmp_path / "copy").rename(tmp_path / "moved")
    files.paths = [tmp_path / "moved" / path.name for path in files.paths]
    same(first, prepare(files.cohort(), RECIPE, cache=cache))
    assert files.reads == 5


@pytest.mark.parametrize("settled", [0.0, 1e9])
def test_an_edit_that_keeps_size_and_time_is_seen(
    files: Files, cache: Cache, monkeypatch: pytest.MonkeyPatch, settled: float
) -> None:
    """Both with the times of the files trusted (the change of the inode tells) and before they are (it is read)."""
    monkeypatch.setattr("ecglens.runs.cache.SETTLED", settled)
    first = prepare(files.cohort(), RECIPE, cache=cache)
    assert (cache.folder / "known").exists() == (settled == 0)
    path = files.paths[2].with_suffix(".dat")
    before, data = path.stat(), bytearray(path.read_bytes())
    data[24:26], data[48:50] = data[48:50], data[24:26]  # two samples swapped: the sum in the header stays right
    assert bytes(data) != path.read_bytes()
    time.sleep(0.02)  # a tick of the clock that the file system goes by
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    second = prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 10
    assert first.fingerprints[1] != second.fingerprints[1]


def test_unchanged_files_are_not_read_again_to_know_them(
    files: Files, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecglens.runs.cache.SETTLED", 0.0)
    prepare(files.cohort(), RECIPE, cache=cache)
    monkeypatch.setattr("ecglens.runs.cache.sha256", lambda path: pytest.fail("read"))
    prepare(files.cohort(), RECIPE, cache=cache)
    assert files.reads == 5


def test_a_file_that_changes_while_it_is_read_is_not_cached(files: Files, cache: Cache, caplog) -> None:
    def read(i: int) -> ECG:
        ecg = files.read(i)
        if i == 4:
            write_wfdb(replace(make_ecg(77), record_id="r0"), files.paths[0].parent)
        return ecg

    cohort = replace(files.cohort(), records=Lazy(read, range(5)))
    assert len(prepare(cohort, RECIPE, cache=cache).signals) == 4
    assert "changed while" in caplog.text
    assert not list(cache.folder.glob("*/values.npy"))
    assert not list(cache.folder.glob(".*"))


def test_how_records_are_read_is_part_of_the_key(files: Files, cache: Cache) -> None:
    """PTB-XL at 100 and at 500 Hz are the same files read in two ways."""

    def read_at(i: int, sign: int) -> ECG:
        ecg = files.read(i)
        return replace(ecg, signal=sign * ecg.signal)

    def at(sign: int) -> Cohort:
        return replace(files.cohort(), records=Lazy(partial(read_at, sign=sign), range(5)))

    up, down = prepare(at(1), RECIPE, cache=cache), prepare(at(-1), RECIPE, cache=cache)
    assert files.reads == 10
    np.testing.assert_allclose(up.signals[0], -down.signals[0], atol=1e-6)
    other = replace(files.cohort(), name="other")
    for sign in (1, -1, 1, -1):
        prepare(at(sign).concat(other), RECIPE, cache=cache)
    assert files.reads == 10 + 2 * 10
    prepare(at(1).take(range(5)).where(patient_id=at(1).metadata["patient_id"].tolist()), RECIPE, cache=cache)
    assert files.reads == 10 + 2 * 10


APART = """
import json, logging, os, resource, signal, sys, time
from pathlib import Path
from ecglens.datasets.folder import load_folder
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache

PREPROCESSING = Preprocessing.from_config(json.loads(CONFIG))  # importing the recipe itself would take a second

def run(cache):
    done = prepare(load_folder(sys.argv[1]), PREPROCESSING, cache=Cache(cache))
    return repr([len(done.signals), float(sum(abs(s).sum(dtype=float) for s in done.signals))])

folder = Path(sys.argv[2])
for word in sys.argv[4:]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:  # in a process of its own, without the second that imports take
        if sys.argv[3] == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(word), int(word)))
            os.write(2, (run(folder / word) + "\\n").encode())
        else:
            run(folder)
        os._exit(0)
    if sys.argv[3] == "kill":
        time.sleep(float(word))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def apart(data: Path, cache: Cache, what: str, *words: object) -> tuple[list[int], str]:
    """Prepare in processes of their own, each with a limit or killed after a while; return exit codes and words."""
    program = APART.replace("CONFIG", repr(json.dumps(PREPROCESSING.as_config())))
    arguments = [sys.executable, "-c", program, str(data), str(cache.folder), what, *map(str, words)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    return [int(line) for line in done.stdout.split()], done.stderr


def test_a_disk_that_fills_half_way_costs_the_cache_not_the_result(data_folder: Path, cache: Cache) -> None:
    """The limit falls at the header, inside an array, after the values and before the index."""
    truth = prepare(load_folder(data_folder), PREPROCESSING)
    values = sum(signal.nbytes for signal in truth.signals)
    expected = [len(truth.signals), sum(float(abs(signal).sum(dtype=float)) for signal in truth.signals)]
    limits = (50, values // 2 + 123, values + 50)
    codes, told = apart(data_folder, cache, "limit", *limits)
    assert codes == [0, 0, 0]
    assert told.count("not cached, kept in memory") == 3
    assert [ast.literal_eval(line) for line in told.splitlines() if line.startswith("[")] == [expected] * 3
    for limit in limits:
        assert [p.name for p in (cache.folder / str(limit)).iterdir() if p.name != "known"] == []


def test_kills_while_a_cohort_is_prepared_leave_whole_entries_or_none(data_folder: Path, cache: Cache) -> None:
    chance = random.Random(4)
    codes, _ = apart(data_folder, cache, "kill", *(chance.uniform(0, 0.6) for _ in range(4)))
    assert codes == [-SIGKILL] * 4 or 0 in codes
    assert -SIGKILL in codes
    for index in cache.folder.glob("[!.]*/index.json"):
        assert cache.load(index.parent.name) is not None
    done = prepare(load_folder(data_folder), PREPROCESSING, cache=cache)
    same(done, prepare(load_folder(data_folder), PREPROCESSING))
    assert cache.damaged == 0
