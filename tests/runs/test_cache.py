# SPDX-License-Identifier: Apache-2.0
"""The cache gives back what was stored or nothing: no byte on the disk can change without being noticed."""

from __future__ import annotations

import contextlib
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
from ecglens.runs.cache import Cache, default_cache

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
    mapped = np.memmap
    monkeypatch.setattr(np, "memmap", lambda path, dtype, mode, **how: mapped(path, dtype, {"r": "r"}[mode], **how))
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


def test_arrays_are_written_as_they_come_and_read_from_the_file(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.writer("key") as writer:
        for k, array in enumerate(ARRAYS):
            writer.append(array)
            (part,) = tmp_path.glob(".key.*")
            assert (part / "values.npy").stat().st_size == 128 + 4 * sum(a.size for a in ARRAYS[: k + 1])
            assert [a.tolist() for a in writer.written()] == [a.tolist() for a in ARRAYS[: k + 1]]
            assert cache.load("key") is None
        arrays = writer.finish(FACTS)
    assert same((arrays, FACTS))
    assert same(cache.load("key"))
    assert cache.size() > 4 * sum(a.size for a in ARRAYS)
    assert os.listdir(tmp_path) == ["key"]
    with pytest.raises(ValueError, match="read-only"):
        arrays[0][0, 0] = 1


def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with Cache(tmp_path).writer("key") as writer:
        pass
    with contextlib.suppress(KeyboardInterrupt), Cache(tmp_path).writer("key") as writer:
        writer.append(ARRAYS[0])
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_an_empty_entry_is_an_entry(tmp_path: Path) -> None:
    Cache(tmp_path).store("none", [], {"a": 1})
    assert Cache(tmp_path).load("none") == ([], {"a": 1})
    Cache(tmp_path).store("empty", [np.zeros((2, 0), np.float32)], {})
    assert Cache(tmp_path).load("empty")[0][0].shape == (2, 0)


def test_folders_of_killed_writers_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    old = time.time() - 3600
    with Cache(tmp_path).writer("living") as living:
        living.append(ARRAYS[0])
        (alive,) = tmp_path.glob(".living.*")
        for name in (".dead.x", ".young.x", ".living.y"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "values.npy").write_bytes(b"half")
        (tmp_path / ".link.x").symlink_to(tmp_path)
        for name in (".dead.x", ".living.y", alive.name):
            os.utime(tmp_path / name / "values.npy", (old, old))
            os.utime(tmp_path / name, (old, old))
        Cache(tmp_path).store("next", ARRAYS, FACTS)
        assert set(os.listdir(tmp_path)) == {"next", ".young.x", alive.name, ".link.x"}
        living.finish(FACTS)


def test_without_locks_only_age_tells_who_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    for name, hours in ((".quiet.x", 2), (".dead.x", 48)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 3600 * hours,) * 2)
    Cache(tmp_path).store("next", ARRAYS, FACTS)
    assert set(os.listdir(tmp_path)) == {"next", ".quiet.x"}


def test_key_of_files_is_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, cache = tmp_path / "a", tmp_path / "b", Cache(tmp_path / "cache")
    a.write_bytes(b"12")
    b.write_bytes(b"34")
    key = cache.key_of_files([a, b])
    assert key == cache.key_of_files([a, b])
    assert not cache.folder.exists()  # changed a moment ago: the times do not tell the next change yet
    monkeypatch.setattr("ecglens.runs.cache.SETTLED", 0)
    assert key == cache.key_of_files([a, b])
    (known,) = (cache.folder / "known").iterdir()
    assert cache.key_of_files([b, a]) not in (None, key)
    os.utime(a, ns=(0, 0))
    assert cache.key_of_files([a, b]) == key
    known.write_text("../../elsewhere")  # damaged: read again
    for entry in (cache.folder / "known").iterdir():
        entry.write_text("f" * 63)
    assert cache.key_of_files([a, b]) == key
    time.sleep(0.02)
    a.write_bytes(b"13")
    os.utime(a, ns=(0, 0))
    assert cache.key_of_files([a, b]) not in (None, key)
    b.unlink()
    assert cache.key_of_files([a, b]) is None
    b.mkdir()
    assert cache.key_of_files([a, b]) is None


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECGLENS_CACHE", str(tmp_path / "a"))
    assert default_cache() == tmp_path / "a" / "prepared"
    monkeypatch.delenv("ECGLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_cache() == tmp_path / "b" / "ecglens" / "prepared"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "ecglens" / "prepared"
