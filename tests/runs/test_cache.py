# SPDX-License-Identifier: Apache-2.0
"""The cache gives back what was stored or nothing: no byte on the disk can change without being noticed."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ecglens.errors import EnvironmentFault
from ecglens.runs.cache import Cache, default_cache, files_key

ARRAYS = [np.random.default_rng(i).standard_normal((2, 3 + i)).astype(np.float32) for i in range(3)]
FACTS = {"fs": 100.0, "kept": [0, 2], "excluded": [{"record_id": "ü", "kind": "gap"}]}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.store("key", ARRAYS, FACTS)
    return made


def same(found: tuple | None) -> bool:
    return (
        found is not None
        and found[1] == FACTS
        and len(found[0]) == len(ARRAYS)
        and all(
            a.dtype == np.float32 and a.shape == b.shape and bool((a == b).all())
            for a, b in zip(found[0], ARRAYS, strict=True)
        )
    )


def test_hit_and_miss(cache: Cache, tmp_path: Path) -> None:
    assert same(cache.load("key"))
    assert cache.load("other") is None
    assert Cache(tmp_path / "nowhere").load("key") is None
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(ValueError, match="read-only"):
        cache.load("key")[0][0][0, 0] = 1
    assert os.listdir(cache.folder) == ["key"]


def test_the_values_are_a_plain_npy_file(cache: Cache) -> None:
    flat = np.load(cache.folder / "key" / "values.npy", allow_pickle=False)
    np.testing.assert_array_equal(flat, np.concatenate([a.ravel() for a in ARRAYS]))


def test_layout_of_the_memory_does_not_matter(tmp_path: Path) -> None:
    turned = [np.asfortranarray(a) for a in ARRAYS]
    Cache(tmp_path).store("key", turned, FACTS)
    assert same(Cache(tmp_path).load("key"))


@pytest.mark.parametrize("name", ["values.npy", "index.json"])
def test_every_single_flipped_byte_is_noticed(cache: Cache, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = cache.folder / "key" / name
    good = path.read_bytes()
    noticed = 0
    for place in range(len(good)):
        for flip in (0x01, 0x02, 0x80):
            cache.store("key", ARRAYS, FACTS)
            path.write_bytes(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :])
            found = cache.load("key")
            if found is None:
                noticed += 1
                assert not (cache.folder / "key").exists()
            else:
                assert same(found), f"byte {place} of {name}"
    assert noticed > 2.5 * len(good)
    assert len(caplog.records) == noticed
    assert "will be made again" in caplog.records[0].message


@pytest.mark.parametrize("size", [0, 1, 64, 128, 150, -4, -1])
@pytest.mark.parametrize("name", ["values.npy", "index.json"])
def test_half_a_file_or_none_is_noticed_and_made_again(cache: Cache, name: str, size: int, caplog) -> None:
    path = cache.folder / "key" / name
    path.write_bytes(path.read_bytes()[:size])
    assert cache.load("key") is None
    assert caplog.records[0].levelno == logging.WARNING
    cache.store("key", ARRAYS, FACTS)
    assert same(cache.load("key"))
    path.unlink()  # as cleaners of old files do
    assert cache.load("key") is None
    cache.store("key", ARRAYS, FACTS)
    assert same(cache.load("key"))


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", '{"index": {}, "crc32": 0}', "[" * 100_000, '{"index": [], "crc32": {}}']
)
def test_an_index_of_another_kind_is_no_entry(cache: Cache, text: str) -> None:
    (cache.folder / "key" / "index.json").write_text(text)
    assert cache.load("key") is None


def test_second_writer_leaves_the_first_entry(cache: Cache) -> None:
    before = os.stat(cache.folder / "key").st_ino
    cache.store("key", ARRAYS, FACTS)
    assert os.stat(cache.folder / "key").st_ino == before
    assert os.listdir(cache.folder) == ["key"]


WRITER = (
    "import sys, shutil; from pathlib import Path; import numpy as np; from ecglens.runs.cache import Cache\n"
    "cache = Cache(Path(sys.argv[1])); arrays = [np.full((12, 1000), i, np.float32) for i in range(50)]\n"
    "print('go', flush=True)\n"
    "for i in range(int(sys.argv[2])):\n"
    "  cache.store(f'k{i % 7}', arrays, {'n': 50})\n"
    "  shutil.rmtree(cache.folder / f'k{(i + 3) % 7}', ignore_errors=True)\n"
)


def whole_entries(folder: Path) -> int:
    count = 0
    for entry in folder.glob("k*"):
        arrays, facts = Cache(folder).load(entry.name)  # None would be half an entry
        assert facts == {"n": 50}
        assert all((a == i).all() and a.shape == (12, 1000) for i, a in enumerate(arrays))
        count += 1
    return count


def test_two_writers_and_kills_leave_whole_entries(tmp_path: Path) -> None:
    chance = random.Random(2)
    for _ in range(4):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "100000"], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.15))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            assert writer.returncode == -signal.SIGKILL  # nobody failed before
        # A removal that was killed half way is damage; a half-written entry would be, too, but has no place.
        for entry in tmp_path.glob("k*"):
            if len(os.listdir(entry)) == 2:
                assert Cache(tmp_path).load(entry.name) is not None
    assert any(tmp_path.glob("k*"))


def test_kill_of_a_writer_leaves_no_half_entry(tmp_path: Path) -> None:
    code = WRITER.replace("shutil.rmtree(cache.folder / f'k{(i + 3) % 7}', ignore_errors=True)", "None").replace(
        "% 7", "% 900"
    )
    for delay in (0.0, 0.01, 0.03, 0.08):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "900"], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(delay)
            writer.kill()
        whole_entries(tmp_path)
    assert whole_entries(tmp_path) > 0


def test_limit_on_file_size_is_a_fault_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np; from ecglens.runs.cache import Cache\n"
        "from ecglens.errors import EnvironmentFault\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: Cache(Path(sys.argv[1])).store('k', [np.ones((12, 100_000), np.float32)], {})\n"
        "except EnvironmentFault as fault: sys.exit(fault.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert os.listdir(tmp_path) == []


def test_storing_never_writes_through_a_memory_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a full disk a write through a map is SIGBUS: the process dies instead of reporting ENOSPC.
    monkeypatch.setattr(np, "memmap", lambda *_, **__: pytest.fail("a memory map"))
    Cache(tmp_path).store("key", ARRAYS, FACTS)
    monkeypatch.undo()
    assert same(Cache(tmp_path).load("key"))


@pytest.mark.parametrize("step", ["mkdir", "mkdtemp", "open", "write_text", "rename"])
def test_every_step_of_storing_may_fail(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(
            "tempfile.mkdtemp" if step == "mkdtemp" else Path, *((full,) if step == "mkdtemp" else (step, full))
        )
        with pytest.raises(EnvironmentFault, match="free some space"):
            Cache(tmp_path).store("key", ARRAYS, FACTS)
    assert os.listdir(tmp_path) == []
    assert Cache(tmp_path).load("key") is None


def test_key_of_files_changes_with_each_touch(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12")
    first = files_key([path])
    assert files_key([path]) == first
    os.utime(path, ns=(0, first[0][2] + 1))
    assert files_key([path]) != first
    path.write_bytes(b"123")
    os.utime(path, ns=(0, first[0][2]))
    assert files_key([path]) != first


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECGLENS_CACHE", str(tmp_path / "a"))
    assert default_cache() == tmp_path / "a" / "prepared"
    monkeypatch.delenv("ECGLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_cache() == tmp_path / "b" / "ecglens" / "prepared"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "ecglens" / "prepared"
