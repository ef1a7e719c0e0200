# SPDX-License-Identifier: Apache-2.0
"""Downloads from a server that breaks off, lies, stalls and redirects: the right file under its name, or none."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ecglens.cli.app import run as run_command
from ecglens.datasets import transfer
from ecglens.datasets.download import SUMS, Download, download
from ecglens.datasets.sources import SOURCES, Source
from ecglens.datasets.transfer import Client, fetch
from ecglens.errors import EcglensError, EnvironmentFault, FormatError, LockedError, UnsafeError, UsageError
from ecglens.runs.lock import writing

Trick = Callable[["Handler", bytes], None]
BIG = os.urandom(3 << 20)
FILES = {"RECORDS": b"rec/1\nrec/2\n", "rec/1.hea": b"1 1 500 5\n", "rec/1.dat": BIG, "rec/2 a+%.dat": b"\x00" * 5000}


class Handler(BaseHTTPRequestHandler):
    """An honest server with ranges, unless a trick is set for a path: then the next request gets the trick."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        from urllib.parse import unquote

        path = unquote(self.path.removeprefix("/set/"))
        self.server.asked.append((path, self.headers.get("Range")))
        content = self.server.content.get(path)
        if content is None:
            self.send_error(404)
            return
        tricks = self.server.tricks.get(path, [])
        (tricks.pop(0) if len(tricks) > 1 else tricks[0] if tricks else honest)(self, content)

    def answer(self, status: int, body: bytes, length: int | None = -1, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = dict(FILES)
        self.tricks: dict[str, list[Trick]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.stop_waiting = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/set/"
        self.list_files()

    def list_files(self) -> None:
        lines = [f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in self.content.items() if name != SUMS]
        self.content[SUMS] = "".join(lines).encode()

    def handle_error(self, *_: object) -> None:
        pass  # clients hang up on purpose


def honest(handler: Handler, content: bytes) -> None:
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if asked is None:
        handler.answer(200, content)
    elif int(asked[1]) >= len(content):
        handler.answer(416, b"", Content_Range=f"bytes */{len(content)}")
    else:
        start = int(asked[1])
        handler.answer(206, content[start:], Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")


def breaks_off(at: int) -> Trick:
    """Send `at` more bytes than the client has, announce all, hang up."""

    def trick(handler: Handler, content: bytes) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        told = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        handler.answer(206 if start else 200, content[start : start + at], len(content) - start, **told)
        handler.hang_up()

    return trick


def hangs_up(handler: Handler, content: bytes) -> None:
    handler.hang_up()


def stalls(handler: Handler, content: bytes) -> None:
    handler.answer(200, content[: len(content) // 2], len(content))
    handler.server.stop_waiting.wait(20)
    handler.close_connection = True


def says(status: int, **headers: str) -> Trick:
    return lambda handler, content: handler.answer(status, b"", **headers)


def sends(body: bytes, status: int = 200, length: int | None = -1, **headers: str) -> Trick:
    return lambda handler, content: handler.answer(status, body, length, **headers)


def endless(handler: Handler, content: bytes) -> None:
    handler.answer(200, b"", None, Connection="close")
    while True:  # until the client has enough
        handler.wfile.write(b"\x00" * 65536)


def ignores_ranges(handler: Handler, content: bytes) -> None:
    handler.answer(200, content)


def other_range(handler: Handler, content: bytes) -> None:
    handler.answer(206, content[7:], Content_Range=f"bytes 7-{len(content) - 1}/{len(content)}")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.stop_waiting.set()
        made.shutdown()
        thread.join()


def source_of(server: Server) -> Source:
    return replace(SOURCES["ludb"], name="tiny", url=server.url, size=None)


def client_of(server: Server, **settings: float) -> Client:
    return Client(server.url, **({"timeout": 5.0, "pause": 0.0} | settings), http_loopback=True)


def run(server: Server, folder: Path, *only: str, **settings: float) -> Download:
    return download(source_of(server), folder, only, client=client_of(server, **settings))


def state(done: Download) -> dict[str, str]:
    return {file.name: file.state for file in done.files}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def complete(server: Server) -> dict[str, bytes]:
    return dict(server.content)


# ------------------------------------------------------------------------------------------------ an honest server


def test_all_files_come_and_are_then_left_alone(server, tmp_path):
    seen = []
    done = download(source_of(server), tmp_path, client=client_of(server), progress=lambda *a: seen.append(a))
    assert set(state(done).values()) == {"fetched"}
    assert done.bytes == sum(map(len, FILES.values()))
    assert on_disk(tmp_path) == complete(server)
    assert seen[-1][:3] == ("downloading", 4, 4)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.dat")}
    server.asked.clear()
    again = run(server, tmp_path)
    assert set(state(again).values()) == {"present"}
    assert again.bytes == 0
    assert server.asked == [(SUMS, None)]
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_list_that_is_kept_satisfies_sha256sum(server, tmp_path):
    run(server, tmp_path, "rec/1*", "RECORDS")
    told = subprocess.run(
        ["sha256sum", "--check", "--ignore-missing", SUMS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.count("OK") == 3


def test_patterns_choose_files(server, tmp_path):
    assert set(state(run(server, tmp_path, "*.hea", "RECORDS"))) == {"RECORDS", "rec/1.hea"}
    with pytest.raises(UsageError, match=r"none of 4 like \*\.xyz; allowed: RECORDS, rec/\*"):
        run(server, tmp_path, "*.xyz")
    source = replace(source_of(server), only=("rec/*",))
    assert "RECORDS" not in state(download(source, tmp_path, client=client_of(server)))


def test_a_damaged_file_is_replaced_and_told(server, tmp_path):
    run(server, tmp_path)
    (tmp_path / "rec/1.hea").write_bytes(b"1 1 500 6\n")
    assert state(run(server, tmp_path))["rec/1.hea"] == "replaced"
    assert on_disk(tmp_path) == complete(server)


def test_one_connection_serves_all_files(server, tmp_path):
    made = []
    accept = server.get_request
    server.get_request = lambda: made.append(1) or accept()
    run(server, tmp_path)
    assert len(made) == 1


def test_zenodo_lists_are_read_and_checked_by_md5(server, tmp_path):
    entry = {
        "key": "exams.csv", "size": len(BIG), "checksum": f"md5:{hashlib.md5(BIG).hexdigest()}",
        "links": {"self": server.url + "rec/1.dat"},
    }  # fmt: skip
    server.content["record"] = json.dumps({"files": [entry]}).encode()
    source = replace(source_of(server), url=server.url + "record", listing="zenodo")
    assert state(download(source, tmp_path, client=client_of(server))) == {"exams.csv": "fetched"}
    assert (tmp_path / "exams.csv").read_bytes() == BIG
    for wrong in ({"size": len(BIG) - 1}, {"size": len(BIG) + 1}):
        server.content["record"] = json.dumps({"files": [entry | wrong | {"key": "other"}]}).encode()
        assert state(download(source, tmp_path, client=client_of(server))) == {"other": "failed"}
    for wrong in ({"checksum": "crc:00"}, {"size": -1}, {"links": {}}, {"size": "x"}):
        server.content["record"] = json.dumps({"files": [entry | wrong]}).encode()
        with pytest.raises(FormatError, match="record"):
            download(source, tmp_path, client=client_of(server))


# --------------------------------------------------------------------------------------- a server that breaks off


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.tricks["rec/1.dat"] = [breaks_off(1_000_000), breaks_off(1_000_000), honest]
    assert set(state(run(server, tmp_path)).values()) == {"fetched"}
    assert (tmp_path / "rec/1.dat").read_bytes() == BIG
    ranges = [asked for name, asked in server.asked if name == "rec/1.dat"]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_the_next_call_goes_on_with_the_part(server, tmp_path):
    server.tricks["rec/1.dat"] = [breaks_off(1_000_000), hangs_up]
    done = run(server, tmp_path, attempts=2)
    assert state(done)["rec/1.dat"] == "failed"
    assert state(done)["rec/2 a+%.dat"] == "fetched"
    assert not (tmp_path / "rec/1.dat").exists()
    assert (tmp_path / "rec/1.dat.part").read_bytes() == BIG[:1_000_000]
    server.tricks.clear()
    done = run(server, tmp_path)
    assert done.bytes == len(BIG) - 1_000_000
    assert on_disk(tmp_path) == complete(server)


def test_tries_are_counted_anew_while_bytes_come(server, tmp_path):
    server.tricks["rec/1.dat"] = [breaks_off(300_000)] * 10 + [honest]
    assert state(run(server, tmp_path, attempts=2))["rec/1.dat"] == "fetched"
    server.tricks["rec/2 a+%.dat"] = [breaks_off(10)]  # for ever, ten bytes at a time: given up
    (tmp_path / "rec/2 a+%.dat").unlink()
    assert state(run(server, tmp_path, attempts=3))["rec/2 a+%.dat"] == "failed"
    assert len([1 for name, _ in server.asked if name.startswith("rec/2")]) < 8


@pytest.mark.parametrize("trick", [hangs_up, says(503), says(429, Retry_After="0"), breaks_off(5)])
def test_passing_faults_are_tried_again(server, tmp_path, trick):
    server.tricks["RECORDS"] = server.tricks[SUMS] = [trick, honest]
    assert state(run(server, tmp_path, "RECORDS")) == {"RECORDS": "fetched"}


def test_a_stalled_server_is_left_and_asked_again(server, tmp_path):
    server.tricks["rec/1.dat"] = [stalls, honest]
    began = time.monotonic()
    assert state(run(server, tmp_path, timeout=0.3))["rec/1.dat"] == "fetched"
    assert time.monotonic() - began < 5
    assert ("rec/1.dat", f"bytes={len(BIG) // 2}-") in server.asked


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 3)])
def test_a_file_that_is_not_to_be_had_is_listed_and_the_others_come(server, tmp_path, status, tries):
    server.tricks["rec/1.hea"] = [says(status)]
    done = run(server, tmp_path, attempts=3)
    assert [name for name, one in state(done).items() if one == "failed"] == ["rec/1.hea"]
    assert f"the server says {status}" in str(done.errors[0])
    assert [name for name, _ in server.asked].count("rec/1.hea") == tries
    assert "rec/1.hea" not in on_disk(tmp_path)


def test_a_server_that_is_gone_is_not_asked_for_every_file(server, tmp_path):
    for name in [f"{letter}{k:02d}" for letter in "abc" for k in range(20)]:
        server.content[name] = name.encode()
        server.tricks[name] = [hangs_up if name.startswith("b") else honest]
    server.list_files()
    done = run(server, tmp_path, "a*", "b*", "c*", attempts=2)
    assert [done.count(word) for word in ("fetched", "failed")] == [20, 40]
    assert {name for name, _ in server.asked if name[0] in "bc"} == {"b00", "b01", "b02"}
    assert "not tried" in str(done.errors[-1])


def test_no_server_at_all(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        source = replace(SOURCES["ludb"], url=url)
        with pytest.raises(EnvironmentFault, match="refused") as told:
            download(source, tmp_path, client=Client(url, attempts=2, pause=0, http_loopback=True))
    assert told.value.kind == "network"


# --------------------------------------------------------------------------------------------- a server that lies

LIES = {
    "other content": [sends(b"x" * len(BIG))],
    "one byte off": [sends(BIG[:-1] + bytes([BIG[-1] ^ 1]))],
    "shorter": [sends(BIG[:-100])],
    "longer": [sends(BIG + b"more")],
    "nothing": [sends(b"")],
    "length too small": [sends(BIG, 200, 1000, Connection="close")],
    "gzip, not asked for": [sends(gzip.compress(BIG, 1), Content_Encoding="gzip")],
    "another range": [breaks_off(500_000), other_range],
    "a range without a start": [breaks_off(500_000), sends(BIG[500_000:], 206)],
    "a range of words": [breaks_off(500_000), sends(BIG[500_000:], 206, Content_Range="bytes all/all")],
    "a range when none was asked for": [sends(BIG, 206, Content_Range=f"bytes 0-{len(BIG) - 1}/{len(BIG)}")],
    "part of a range": [breaks_off(500_000), sends(b"\x00" * 99, 206, Content_Range=f"bytes 500000-500098/{len(BIG)}")],
    "no headers": [lambda handler, content: handler.wfile.write(b"hello\r\n\r\n") and handler.hang_up()],
    "many headers": [sends(b"", **{f"X{k}": "y" for k in range(200)})],
    "a login page": [sends(b"<html>log in</html>", Content_Type="text/html")],
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_never_becomes_a_file(server, tmp_path, lie):
    server.tricks["rec/1.dat"] = list(LIES[lie])
    done = run(server, tmp_path, attempts=3)
    assert state(done)["rec/1.dat"] == "failed", state(done)
    assert not (tmp_path / "rec/1.dat").exists()
    assert all(isinstance(error, EcglensError) for error in done.errors)
    server.tricks.clear()  # and honesty heals it, whatever the lie left behind
    assert state(run(server, tmp_path))["rec/1.dat"] == "fetched"
    assert on_disk(tmp_path) == complete(server)


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.tricks["rec/1.dat"] = [breaks_off(1_000_000), ignores_ranges]
    assert state(run(server, tmp_path))["rec/1.dat"] == "fetched"
    assert on_disk(tmp_path) == complete(server)


@pytest.mark.parametrize("stale", [b"old" * 1000, BIG[:-1] + b"?", BIG + b"tail", b"", BIG])
def test_a_part_of_something_else_is_started_over(server, tmp_path, stale):
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec/1.dat.part").write_bytes(stale)
    assert state(run(server, tmp_path))["rec/1.dat"] == "fetched"
    assert on_disk(tmp_path) == complete(server)


def test_an_endless_body_is_cut(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "NO_LENGTH_LIMIT", 1 << 20)
    server.tricks["rec/1.dat"] = [endless]
    done = run(server, tmp_path)
    assert state(done)["rec/1.dat"] == "failed"
    assert "more than 1048576 bytes" in str(done.errors[0])
    assert sum(map(len, on_disk(tmp_path).values())) < 1 << 20
    server.tricks[SUMS] = [endless]
    monkeypatch.setattr("ecglens.datasets.download.MAX_TEXT_BYTES", 1 << 20)
    with pytest.raises(FormatError, match="over 1048576 bytes"):
        run(server, tmp_path)


# ---------------------------------------------------------------------------------------------- redirects, addresses


def test_a_redirect_on_the_same_host_is_followed(server, tmp_path):
    server.content["mirror"] = BIG
    server.tricks["rec/1.dat"] = [says(302, Location="/set/mirror")]
    assert state(run(server, tmp_path, "rec/1.dat")) == {"rec/1.dat": "fetched"}


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/x", "http://localhost/x", "http://evil.example/x", "//evil.example/x",
        "https://" + "127.0.0.1.evil.example/x", "http://127.0.0.1:1/x", "http://127.0.0.1:x/", "data:,x", "",
        "http://" + "me:secret@127.0.0.1/x", "http://" + "[::1", "https://127.0.0.1/x",
    ],
)  # fmt: skip
def test_a_redirect_elsewhere_is_refused(server, tmp_path, location):
    if not location:
        server.tricks["RECORDS"] = [says(302, Location=server.url + "RECORDS")]  # round and round
        assert "redirects" in str(run(server, tmp_path, "RECORDS").errors[0])
        return
    for path in ("RECORDS", SUMS):
        server.tricks = {path: [says(302, Location=location)]}
        with pytest.raises(UnsafeError) as told:
            run(server, tmp_path, "RECORDS")
        assert told.value.exit_code == 4
        assert told.value.kind == "address"
        assert "RECORDS" not in on_disk(tmp_path)


def test_plain_http_and_other_hosts_are_refused_by_default(server, tmp_path):
    with pytest.raises(UnsafeError, match="https at 127"):
        download(source_of(server), tmp_path)  # without the switch for tests
    with pytest.raises(UnsafeError, match="https at"):
        download(replace(source_of(server), url="http://physionet.org/files/"), tmp_path)
    client = Client("http://evil.example/", http_loopback=True)  # the switch is for this machine alone
    with pytest.raises(UnsafeError):
        download(replace(source_of(server), url="http://evil.example/"), tmp_path, client=client)


def test_every_source_is_an_https_folder_with_licence_and_citation():
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.url.startswith(("https://physionet.org/files/", "https://zenodo.org/api/records/"))
        assert source.url.endswith("/") or source.listing == "zenodo"
        assert source.listing == "zenodo" or f"/{source.version}/" in source.url
        assert source.licence in ("ODC-By 1.0", "CC BY 4.0")
        assert len(source.citation) > 60


def test_credentialed_sets_are_not_fetched(server, tmp_path):
    with pytest.raises(UsageError, match="credentialed"):
        download(replace(source_of(server), access="credentialed"), tmp_path)
    assert server.asked == []


# --------------------------------------------------------------------------------------------------- names, the list


@pytest.mark.parametrize(
    "name",
    ["../out", "/etc/passwd", "a/../../out", "~/x", "a\\b", "link/x", "https://host/y", ".lock", "a\x01b", "a/.."],
)
def test_names_that_leave_the_folder_are_refused(server, tmp_path, name):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    server.content[name] = b"evil"
    server.list_files()
    with pytest.raises(UnsafeError) as told:
        run(server, folder)
    assert told.value.exit_code == 4
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "out").exists()
    assert set(on_disk(folder)) <= {SUMS}


def test_links_in_the_place_of_a_file_or_its_part_are_refused(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "RECORDS").symlink_to(victim)
    with pytest.raises(UnsafeError, match="link"):
        run(server, folder)
    (folder / "RECORDS").unlink()
    (folder / "RECORDS.part").symlink_to(victim)
    with pytest.raises(EcglensError):
        run(server, folder)
    (folder / "RECORDS.part").unlink()
    os.mkfifo(folder / "RECORDS.part")
    with pytest.raises(EcglensError):
        run(server, folder)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        b"<html>please log in</html>", b"\xff\xfe", b"abc RECORDS\n", b"0" * 64 + b"\n", b"0" * 64 + b"  \n",
        b"0" * 64 + b" a\n" + b"1" * 64 + b" a\n", b"[" * 9999,
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused(server, tmp_path, text):
    server.content[SUMS] = text
    with pytest.raises(FormatError, match="login page"):
        run(server, tmp_path)
    assert on_disk(tmp_path) == {}


def test_an_empty_list_has_nothing(server, tmp_path):
    server.content[SUMS] = b""
    with pytest.raises(UsageError, match="none of 0"):
        run(server, tmp_path)


def test_both_spellings_of_a_list_are_read(server, tmp_path):
    for spelling, state_then in ((" *", "fetched"), ("  ", "present")):
        server.list_files()
        lines = server.content[SUMS].decode().splitlines()
        server.content[SUMS] = "\r\n".join(line.replace(" ", spelling, 1) for line in lines).encode()
        assert set(state(run(server, tmp_path)).values()) == {state_then}


# ------------------------------------------------------------------------------------------ the disk, kills, a second


def test_too_little_space_is_told_before_a_byte_comes(server, tmp_path, monkeypatch):
    server.tricks["rec/1.dat"] = [sends(b"", 200, 10**15)]
    with pytest.raises(EnvironmentFault, match=r"1000000067108864 bytes for 1\.dat") as told:
        run(server, tmp_path)
    assert told.value.exit_code == 5
    source = replace(source_of(server), size=10**15)
    with pytest.raises(EnvironmentFault, match="about 8999999"):
        download(source, tmp_path, client=client_of(server))
    assert state(download(source, tmp_path, ["*.hea"], client=client_of(server))) == {"rec/1.hea": "present"}


CHILD = """
import resource, sys, time
from dataclasses import replace
from ecglens.datasets.download import download
from ecglens.datasets.sources import SOURCES
from ecglens.datasets.transfer import Client
from ecglens.errors import EcglensError
url, folder, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
source = replace(SOURCES["ludb"], url=url, size=None)
print("go", flush=True)
try:
    download(source, folder, client=Client(url, pause=0, http_loopback=True))
except EcglensError as error:
    print(error)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""


def child(server: Server, folder: Path, limit: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD, server.url, str(folder), str(limit)]
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "go\n"
    return started


def test_a_full_disk_ends_cleanly_and_the_next_call_goes_on(server, tmp_path):
    started = child(server, tmp_path, limit=1_000_000)
    told, _ = started.communicate(timeout=20)
    assert started.returncode == 5, told
    assert "rec/1.dat" not in on_disk(tmp_path)
    assert len(on_disk(tmp_path)["rec/1.dat.part"]) == 1_000_000
    done = run(server, tmp_path)
    assert state(done)["rec/1.dat"] == "fetched"
    assert done.bytes == len(BIG) - 1_000_000 + 5000
    assert on_disk(tmp_path) == complete(server)


def drips(handler: Handler, content: bytes) -> None:
    """Send slowly enough to be killed on the way."""
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    told = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
    handler.answer(206 if start else 200, b"", len(content) - start, **told)
    for at in range(start, len(content), 100_000):
        handler.wfile.write(content[at : at + 100_000])
        time.sleep(0.01)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_and_resumed(server, tmp_path, sign):
    server.tricks["rec/1.dat"] = [drips]
    part, size = tmp_path / "rec/1.dat.part", 0
    for _ in range(3):
        started = child(server, tmp_path)
        while started.poll() is None and (not part.exists() or part.stat().st_size < size + 300_000):
            time.sleep(0.005)
        started.send_signal(sign)
        started.communicate(timeout=20)
        assert started.returncode == (130 if sign == signal.SIGINT else -sign)
        assert not (tmp_path / "rec/1.dat").exists()
        assert BIG.startswith(part.read_bytes())
        assert part.stat().st_size > size  # each goes on where the last was stopped
        size = part.stat().st_size
    assert run(server, tmp_path).bytes == len(BIG) - size + 5000
    assert on_disk(tmp_path) == complete(server)


def test_a_second_downloader_is_turned_away(server, tmp_path):
    with writing(tmp_path), pytest.raises(LockedError, match="held by process"):
        run(server, tmp_path)
    assert server.asked == []
    assert set(state(run(server, tmp_path)).values()) == {"fetched"}


def test_one_file_by_itself_tells_its_progress(server, tmp_path):
    seen: list[tuple[int, int]] = []
    wanted = transfer.Wanted(server.url + "rec/1.dat", hashlib.sha256(BIG).hexdigest())
    client = client_of(server)
    came = fetch(client, wanted, tmp_path / "x", lambda there, size: seen.append((there, size)))
    client.close()
    assert came == len(BIG)
    assert seen[-1] == (len(BIG), len(BIG))
    assert [there for there, _ in seen] == sorted(there for there, _ in seen)


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(server, monkeypatch, capsys):
    """Run `ecglens data ...` against the server, with answers typed on a terminal or with nobody there."""

    def download_here(source: Source, folder: Path, only: list[str], **options: object) -> Download:
        return download(source, folder, only, client=client_of(server, attempts=2), **options)

    def command(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
        stdin = io.StringIO(typed or "")
        stdin.isatty = lambda: typed is not None
        monkeypatch.setattr("sys.stdin", stdin)
        code = run_command(["data", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    monkeypatch.setitem(SOURCES, "tiny", source_of(server))
    monkeypatch.setattr("ecglens.datasets.download.download", download_here)
    return command


def test_list_says_what_there_is_and_how_to_cite_it(command):
    code, out, _ = command("list")
    assert code == 0
    for source in SOURCES.values():
        assert source.title in out
        assert source.citation in out
    code, out, _ = command("list", "--json")
    told = json.loads(out)["datasets"]
    assert [one["name"] for one in told] == list(SOURCES)
    assert told[0] | {"citation": ""} == {
        "name": "ptbxl", "title": SOURCES["ptbxl"].title, "version": "1.0.3", "records": 21799, "people": 18869,
        "size": 3_200_000_000, "licence": "CC BY 4.0", "access": "open", "loader": True,
        "url": "https://physionet.org/files/ptb-xl/1.0.3/", "citation": "", "unconfirmed": ["size"],
    }  # fmt: skip


def test_the_licence_is_shown_and_agreed_to_before_anything_comes(command, server, tmp_path):
    for arguments, typed in ((["tiny"], None), (["tiny"], "n\n"), (["tiny"], "\n"), (["tiny"], "")):
        code, _, err = command("download", *arguments, str(tmp_path / "d"), typed=typed)
        assert code == 2
        assert err.index("Licence: ODC-By 1.0") < err.index("Cite: Kalyakulina") < len(err)
        assert server.asked == []
        assert not (tmp_path / "d").exists()
    assert command("download", "tiny", str(tmp_path / "d"), typed="yes\n")[0] == 0
    code, out, err = command("download", "tiny", str(tmp_path / "d"), "--yes")
    assert code == 0
    assert "all checksums are right" in out
    assert "Licence" in err
    assert on_disk(tmp_path / "d") == complete(server)


def test_what_failed_is_listed_and_the_exit_code_says_so(command, server, tmp_path):
    server.tricks["rec/1.hea"] = [says(404)]
    code, out, err = command("download", "tiny", str(tmp_path), "--yes")
    assert code == 7
    assert "rec/1.hea: download: found the server says 404" in out
    assert f"Next: ecglens data download tiny {tmp_path}" in err
    code, out, _ = command("download", "tiny", str(tmp_path), "--yes", "--json")
    told = json.loads(out)
    assert (code, told["present"], told["fetched"], told["files"]) == (7, 3, 0, 4)
    assert [one["file"] for one in told["failed"]] == ["rec/1.hea"]
    code, out, _ = command("download", "tiny", str(tmp_path / "none"), "--yes", "--only", "*.hea")
    assert code == 5  # nothing came at all
    server.tricks.clear()
    assert command("download", "tiny", str(tmp_path), "--yes")[0] == 0


def test_unknown_names_and_hostile_lists(command, server, tmp_path):
    code, _, err = command("download", "ptbx", str(tmp_path), "--yes")
    assert code == 2
    assert "did you mean ptbxl?" in err
    server.content["../x"] = b""
    server.list_files()
    assert command("download", "tiny", str(tmp_path), "--yes")[0] == 4
