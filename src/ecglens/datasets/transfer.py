# SPDX-License-Identifier: Apache-2.0
"""One file over HTTPS, resumed where it broke off, under its name only when its checksum is right.

The server is not trusted: not its redirects, not its lengths, not its ranges. What it sends goes to `NAME.part`, and
becomes `NAME` when the checksum of the list fits. Everything else is tried again, a bounded number of times.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from ecglens.errors import EnvironmentFault, FormatError, UnsafeError
from ecglens.runs.files import PART, disk_fault, open_regular

BLOCK = 1 << 18
NO_LENGTH_LIMIT = 64 << 20  # a body whose length the server does not tell is read no further
SPARE = 64 << 20  # bytes of the disk that are left free
_REDIRECTS = 5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALLIED = {"physionet.org": ("www.physionet.org",), "zenodo.org": ("www.zenodo.org",)}  # same publisher, other name
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # states of a server that pass


class TransferFault(Exception):
    """Something went wrong on the way: worth another try, unless `final`."""

    def __init__(self, reason: str, *, final: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.final, self.wait = final, wait


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: its address, the checksum its list gives, and its size in bytes where the list gives one."""

    url: str
    digest: str
    algorithm: str = "sha256"
    size: int | None = None


@dataclass
class Client:
    """Gets addresses of one publisher over a connection that stays open.

    origin         an address of the publisher: only its host may be talked to
    timeout        s without a byte before a connection is given up
    attempts       tries per file that bring nothing new before it is given up
    pause          s before the second try; doubled for each further one, at most a minute
    http_loopback  allow plain http to this very machine: for tests
    """

    origin: str
    timeout: float = 60.0
    attempts: int = 5
    pause: float = 1.0
    http_loopback: bool = False
    _open: tuple[tuple[str, str], http.client.HTTPConnection] | None = field(default=None, repr=False)

    @contextlib.contextmanager
    def get(self, url: str, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        """Give the response to a GET, redirects followed. Raises UnsafeError, TransferFault, EnvironmentFault."""
        response = None
        try:
            response = self._follow(url, headers or {})
            yield response
        except ssl.SSLCertVerificationError as error:
            fix = "check the clock of this machine, and whether a proxy replaces certificates"
            raise EnvironmentFault(
                url, "certificate", error.verify_message, "a valid one", fix, kind="network"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise TransferFault(_in_words(error)) from error
        finally:
            if response is not None and (response.isclosed() or response.length == 0):
                response.close()
            else:
                self.close()  # what is left of the body would be taken for the next answer

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _follow(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        first = url
        for _ in range(_REDIRECTS):
            response = self._request(self._checked(url, first), headers)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            url = _joined(url, response.getheader("Location") or "", first)
            self.close()
        raise TransferFault(f"more than {_REDIRECTS} redirects", final=True)

    def _checked(self, url: str, first: str) -> SplitResult:
        """Return the parts of an address that may be talked to."""
        home, parts = urlsplit(self.origin), _split(url, first)
        hosts = (home.hostname, *_ALLIED.get(home.hostname or "", ()))
        plain = self.http_loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK
        same = parts.hostname in hosts and parts.port == home.port and "@" not in parts.netloc
        if not (parts.scheme == "https" or plain) or not same:
            raise UnsafeError(
                first, "address", url if url == first else f"a redirect to {url}", f"https at {home.hostname}",
                "if a login page of your network answers, log in first", kind="address",
            )  # fmt: skip
        return parts

    def _request(self, parts: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
        key = (parts.scheme, parts.netloc)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        asked = {"Accept-Encoding": "identity", "User-Agent": "ecglens", **headers}
        kept = self._open is not None and self._open[0] == key
        for fresh in (False, True) if kept else (True,):
            if fresh:
                self.close()
                self._open = (key, self._connection(parts))
            assert self._open is not None
            try:
                self._open[1].request("GET", path, headers=asked)
                return self._open[1].getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                if fresh:  # else the server had closed the idle connection, which is its right
                    raise
        raise AssertionError

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self.timeout)
        trust = ssl.create_default_context()
        proxy = urlsplit(getproxies().get("https", ""))
        if not proxy.hostname or proxy_bypass(host):
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=trust)
        through = http.client.HTTPSConnection(proxy.hostname, proxy.port or 3128, timeout=self.timeout, context=trust)
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}" if proxy.username else ""
        told = {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
        through.set_tunnel(host, port, told)
        return through


def read_small(client: Client, url: str, limit: int) -> bytes:
    """Return the body behind an address, of at most `limit` bytes. Raises EnvironmentFault, FormatError."""
    for attempt in range(client.attempts):
        try:
            with client.get(url) as response:
                _check_state(response, (200,))
                body = b"".join(_blocks(response, limit + 1))
                if response.length and len(body) <= limit:  # bytes that were announced and did not come
                    raise TransferFault("the answer broke off")
        except TransferFault as fault:
            if fault.final or attempt + 1 == client.attempts:
                raise network_fault(url, fault) from fault
            time.sleep(_wait(client, attempt, fault))
            continue
        if len(body) > limit:
            raise FormatError(url, "size", f"over {limit} bytes", f"at most {limit}", kind="too_large")
        return body
    raise AssertionError


def network_fault(url: str, fault: TransferFault) -> EnvironmentFault:
    """Say in one line why an address gave nothing."""
    return EnvironmentFault(url, "download", fault, "", "give the same command again later", kind="network")


def fetch(client: Client, wanted: Wanted, path: Path, said: Callable[[int, int], None]) -> int:
    """Fetch a file to `path`, going on with `NAME.part` where there is one; return the bytes that came.

    said  called with (bytes there, bytes in all or 0) as they come

    Raises TransferFault when all tries are used up, UnsafeError for an address elsewhere, EnvironmentFault where the
    disk does not allow it. In each case nothing new stands under the name itself.
    """
    part = path.with_name(path.name + PART)
    came, best, failed, wrong = 0, _size(part), 0, 0
    while True:
        try:
            came += _pull(client, wanted, part, said)
            if file_digest(part, wanted.algorithm) == wanted.digest:
                _put_in_place(part, path)
                return came
            part.unlink()
            wrong += 1  # a first time may be an old part, or a file that changed meanwhile
            raise TransferFault(f"its {wanted.algorithm.upper()} is not that of the list", final=wrong > 1)
        except TransferFault as fault:
            better = _size(part) >= best + BLOCK
            best, failed = max(best, _size(part)), 1 if better else failed + 1
            if fault.final or failed >= client.attempts:
                raise
            time.sleep(_wait(client, failed - 1, fault))


def file_digest(path: Path, algorithm: str) -> str:
    """Return the checksum of a file, in hex."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _pull(client: Client, wanted: Wanted, part: Path, said: Callable[[int, int], None]) -> int:
    """Bring the part as far as one answer goes; return how many bytes came. Raises TransferFault if it breaks off."""
    start = _size(part)
    if start and start == wanted.size:
        return 0
    with client.get(wanted.url, {"Range": f"bytes={start}-"} if start else {}) as response:
        if response.status == 416:  # the part is whole, which its checksum will tell, or too long
            return 0
        _check_state(response, (200, 206) if start else (200,))
        start = start if response.status == 206 else 0
        total = _total(response, start, part)
        if wanted.size is not None and total not in (None, wanted.size):
            raise TransferFault(f"{total} bytes where the list says {wanted.size}", final=True)
        limit = wanted.size if wanted.size is not None else total
        _check_space(part, (limit or 0) - start)
        came = _write(response, part, start, limit, lambda there: said(there, limit or 0))
    if limit is not None and start + came < limit:
        raise TransferFault(f"the connection broke off after {start + came} of {limit} bytes")
    return came


def _check_state(response: http.client.HTTPResponse, allowed: tuple[int, ...]) -> None:
    """Refuse an answer that is not what was asked for."""
    if response.status not in allowed:
        wait = response.getheader("Retry-After", "")
        reason = f"the server says {response.status} {response.reason}"
        passing = response.status in _PASSING
        raise TransferFault(reason, final=not passing, wait=float(wait) if re.fullmatch(r"\d{1,4}", wait) else 0.0)
    encoding = response.getheader("Content-Encoding", "identity")
    if encoding != "identity":
        raise TransferFault(f"the server sends {encoding}, which was not asked for", final=True)


def _total(response: http.client.HTTPResponse, start: int, part: Path) -> int | None:
    """Return the size of the whole file as the answer tells it, or None."""
    if response.status != 206:
        return response.length
    told = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.getheader("Content-Range", ""))
    if told is None or int(told[1]) != start:
        _drop(part)
        raise TransferFault("the server sends another range than it was asked for")
    return int(told[2]) + 1 if told[3] == "*" else int(told[3])


def _write(
    response: http.client.HTTPResponse, part: Path, start: int, limit: int | None, said: Callable[[int], None]
) -> int:
    """Write a body behind the first `start` bytes of the part; return how many came."""
    came, most = 0, (NO_LENGTH_LIMIT if limit is None else limit) - start
    blocks = _blocks(response, most + 1)
    with _opened(part, start) as handle:
        for block in blocks:
            came += len(block)
            if came > most:
                os.ftruncate(handle, 0)
                raise TransferFault(f"the server sends more than {start + most} bytes", final=True)
            try:
                _write_all(handle, block)
            except OSError as error:
                raise disk_fault(part, error) from error
            said(start + came)
    return came


@contextlib.contextmanager
def _opened(part: Path, start: int) -> Iterator[int]:
    """Open the part, cut to its first `start` bytes. A link in its place is refused."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(part, flags, 0o666)
    except OSError as error:
        raise disk_fault(part, error) from error
    try:
        try:
            os.ftruncate(handle, start)  # EINVAL where it is a pipe
            os.lseek(handle, start, os.SEEK_SET)
        except OSError as error:
            raise disk_fault(part, error) from error
        yield handle
    finally:
        os.close(handle)


def _write_all(handle: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(handle, view) :]


def _blocks(response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """Yield the body as it comes, at most `limit` bytes of it."""
    left = limit
    while left > 0:
        block = response.read1(min(BLOCK, left))
        if not block:
            return
        left -= len(block)
        yield block


def _put_in_place(part: Path, path: Path) -> None:
    try:
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise disk_fault(path, error) from error


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed + SPARE > free:
        raise EnvironmentFault(
            part.parent, "disk space", f"{free} bytes free", f"{needed + SPARE} bytes for {part.stem}",
            "free some space, or download elsewhere", kind="disk",
        )  # fmt: skip


def _size(part: Path) -> int:
    try:
        return part.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _drop(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink()


def _wait(client: Client, failed: int, fault: TransferFault) -> float:
    return min(60.0, max(client.pause * 2**failed, fault.wait if client.pause else 0.0))


def _joined(url: str, location: str, first: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UnsafeError(first, "address", location, "an https address", kind="address") from None


def _split(url: str, first: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
        return parts
    except ValueError:
        raise UnsafeError(first, "address", url, "an https address", kind="address") from None


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return str(error) or type(error).__name__
