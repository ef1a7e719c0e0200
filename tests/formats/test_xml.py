# SPDX-License-Identifier: Apache-2.0
"""XML that attacks, lies about its encoding or is something else."""

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from fuzz import _peak

from ecglens.errors import EcglensError, FormatError, UnsafeError
from ecglens.formats.read import read
from ecglens.formats.xml import MAX_XML_BYTES, base64_bytes, has_root, integers, number, read_xml, whole

OPEN, CLOSE = '<AnnotatedECG xmlns="urn:hl7-org:v3">', "</AnnotatedECG>"
LAUGHS = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
TOP = "<!DOCTYPE AnnotatedECG"

UNSAFE = {
    "billion laughs": f'{TOP} [<!ENTITY a0 "ha">{LAUGHS}]><AnnotatedECG>&a9;{CLOSE}',
    "quadratic": f'{TOP} [<!ENTITY a "{"x" * 100_000}">]><AnnotatedECG>{"&a;" * 50_000}{CLOSE}',
    "a file": f'{TOP} [<!ENTITY x SYSTEM "file:///etc/passwd">]><AnnotatedECG>&x;{CLOSE}',
    "the network": f'{TOP} [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]><AnnotatedECG>&x;{CLOSE}',
    "parameter entity": f'{TOP} [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]>{OPEN}{CLOSE}',
    "external DTD": f'{TOP} SYSTEM "http://127.0.0.1:9/x.dtd">{OPEN}{CLOSE}',
    "DTD in another folder": f'{TOP} SYSTEM "../x.dtd">{OPEN}{CLOSE}',
    "public DTD": f'{TOP} PUBLIC "-//x" "x.dtd">{OPEN}{CLOSE}',
    "entity of a DTD": f'{TOP} SYSTEM "x.dtd"><AnnotatedECG>&secret;{CLOSE}',
    "depth": OPEN + "<a>" * 2_000_000,
    "elements": OPEN + "<a/>" * 1_000_000 + CLOSE,
    "attributes": OPEN + ("<a " + " ".join(f'b{i}=">"' for i in range(60_000)) + "/>") * 8 + CLOSE,
    "one tag": OPEN + "<" + "a" * (MAX_XML_BYTES - 200) + "/>" + CLOSE,
}
BROKEN = {
    "cut": (OPEN, "xml"), "empty elements": (OPEN + CLOSE, "no_rhythm"), "not closed": (OPEN + "<a></b>", "xml"),
    "UTF-7": ('<?xml version="1.0" encoding="utf-7"?>' + OPEN + CLOSE, "encoding"),
    "a codec that is none": ('<?xml version="1.0" encoding="rot13"?>' + OPEN + CLOSE, "encoding"),
    "an unknown encoding": ('<?xml version="1.0" encoding="nonsense"?>' + OPEN + CLOSE, "encoding"),
    "a wrong encoding": ('<?xml version="1.0" encoding="utf-16"?>' + OPEN + CLOSE, "xml"),
    "an unknown entity": (OPEN + "&nbsp;" + CLOSE, "xml"), "a NUL": (OPEN + "\x00" + CLOSE, "xml"),
    "too large": (OPEN + "x" * MAX_XML_BYTES, "too_large"),
}  # fmt: skip


def refusal(path: Path, content: str | bytes) -> EcglensError:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before, begin = _peak(), time.process_time()
    with pytest.raises(EcglensError) as caught:
        read(path)
    assert time.process_time() - begin < 2
    assert _peak() - before < 2**28
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def connect(*_: object) -> None:
        raise AssertionError("a reader reached for the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path / "x.xml"


@pytest.mark.parametrize("name", UNSAFE)
def test_attacks_end_with_exit_code_4(victim: Path, name: str) -> None:
    error = refusal(victim, UNSAFE[name])
    assert isinstance(error, UnsafeError)
    assert error.exit_code == 4
    assert error.kind in ("entities", "nesting", "too_large")
    assert "root:" not in str(error)


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_documents_end_with_exit_code_3(victim: Path, name: str) -> None:
    content, kind = BROKEN[name]
    error = refusal(victim, content)
    assert isinstance(error, FormatError)
    assert error.kind == kind


def test_a_gigabyte_is_refused_unread(victim: Path) -> None:
    with victim.open("wb") as file:
        file.write(OPEN.encode())
        file.truncate(2**30)
    begin = time.process_time()
    with pytest.raises(FormatError) as caught:
        read(victim)
    assert caught.value.kind == "too_large"
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    said = {"utf-8-sig": "utf-8", "utf-16-le": "utf-16", "latin-1": "iso-8859-1"}.get(encoding, encoding)
    content = f'<?xml version="1.0" encoding="{said}"?>\n<a><b c="é">ü 1</b></a>'
    raw = content.encode(encoding)
    (tmp_path / "x.xml").write_bytes((b"\xff\xfe" if encoding == "utf-16-le" else b"") + raw)
    root = read_xml(tmp_path / "x.xml", "a")
    assert (root[0].text, root[0].get("c")) == ("ü 1", "é")


def test_a_document_type_that_names_a_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text('<!DOCTYPE a SYSTEM "a.dtd"><a/>')
    (tmp_path / "a.dtd").write_text('<!ENTITY x "y">')
    assert read_xml(tmp_path / "x.xml", "a").tag == "a"


def test_the_root_is_found_behind_prolog_comments_and_prefixes() -> None:
    for text in ("<a>", "<a/>", "<x:a ", "<?xml version='1.0'?><!-- <b> -->\n <!DOCTYPE a [<!ENTITY b '<c>'>]> <a>",
                 "<!DOCTYPE a [<!ENTITY b '"):  # fmt: skip
        for encoded in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
            assert has_root(encoded, "a"), encoded
            assert not has_root(encoded, "b")
    for text in ("", "a", "<", "<!-- <a> ", "<ab>", "\x00" * 4096, "<!" * 2000, "<!DOCTYPE", "<?" * 2048):
        assert not has_root(text.encode(), "a")
        assert not has_root(b"\xff\xfe" + text.encode(), "a")


def test_another_root(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<!DOCTYPE AnnotatedECG><RestingECG/>")
    with pytest.raises(FormatError, match="RestingECG"):
        read_xml(tmp_path / "x.xml", "AnnotatedECG")


def test_numbers() -> None:
    path = Path("f.xml")
    assert number(path, "f", "2.50", 0, 3) == 2.5
    assert whole(path, "f", "5.0", 0, 10) == 5
    assert integers(path, "f", " 1 -2\n+3\t4 ", 10).tolist() == [1, -2, 3, 4]
    assert integers(path, "f", "1,-2,\n3", 10, ",").tolist() == [1, -2, 3]
    for wrong in ("", "x", "nan", "inf", "1_0", "٣", "0x1", "1e400", "4", "-1", "1 2", "1,5"):
        with pytest.raises(FormatError, match="f:"):
            number(path, "f", wrong, 0, 3)
    with pytest.raises(FormatError, match="whole"):
        whole(path, "f", "2.5", 0, 3)
    for wrong in ("", " ", "1 x", "1-2", "1 -", "--1", "1.5", "nan", "99999999999999999999", "11", "٣"):
        with pytest.raises(FormatError, match="f:"):
            integers(path, "f", wrong, 10)
    for wrong in ("1,,2", ",1", "1,2,", "1 2,3", "1,-,2", "1, ,2"):
        with pytest.raises(FormatError, match="f:"):
            integers(path, "f", wrong, 10, ",")
    assert base64_bytes(path, "f", "QU\n FB") == b"AAA"[:2] + b"A"
    for wrong in ("Q", "QUF", "Q*==", "é"):
        with pytest.raises(FormatError, match="f:"):
            base64_bytes(path, "f", wrong)
    assert np.array_equal(integers(path, "f", "0 " * 3, 1), [0, 0, 0])
