# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from ecglens.errors import InputError
from ecglens.formats.wfdb import header_person


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        ("#Age: 56\n#Sex: Male", 56, "male"),
        ("# Age: 25\n# Sex: female\n# ECG date: 28.12.2004", 25, "female"),
        ("#<age>: 74\n#<sex>: M\n#<diagnoses>:\n#Rhythm: Sinus bradycardia.", 74, "male"),
        ("#<age>: 69 <sex>: F <diagnoses> none", 69, "female"),
        ("# 69 M 1085 1629 x1\n# Aldomet, Inderal", 69, "male"),
        ("# -1 M 742 654 x1\n# Diapres", None, "male"),
        ("# 23 F 2546 N/A x1", 23, "female"),
        ("# 89 F 1 2 x1\r\n# x", 89, "female"),
        ("#Age: 0\n#Sex: F", 0, "female"),
        ("#Age: 0.5", 0.5, None),
        ("#Age: NaN\n#Sex: Unknown", None, None),
        ("#Age: ?\n#Sex: ?", None, None),
        ("#<age>: ?  <sex>: ?", None, None),
        ("#Age: -1", None, None),
        ("#Age: 121", None, None),
        ("#Age: 300\n#Sex: 1", None, None),
        ("#Age: 56\n#Age: 57\n#Sex: M\n#Sex: F", None, None),
        ("#Age: 56\n#age: 56", 56, None),
        ("#Age:\n#Sex:", None, None),
        ("# Page: 12\n# Unisex: male", None, None),
        ("# 69 years old M", None, None),
        ("#Dx: 426783006", None, None),
        ("", None, None),
    ],
)
def test_published_forms(tmp_path: Path, comments: str, age: float | None, sex: str | None) -> None:
    header = tmp_path / "r.hea"
    header.write_bytes(f"r 1 500 10\nr.dat 16 200 12 0 0 0 0 I\n{comments}\n".encode("latin-1"))
    assert header_person(header) == {"age": age, "sex": sex}
    assert header_person(tmp_path / "r") == {"age": age, "sex": sex}


def test_only_comments_are_asked(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("Age: 56 Sex: Male\n")
    assert header_person(tmp_path / "r") == {"age": None, "sex": None}
    with pytest.raises(InputError):
        header_person(tmp_path / "none")
