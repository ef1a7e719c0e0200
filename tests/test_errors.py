# SPDX-License-Identifier: Apache-2.0
"""Errors are one line, safe to print, carry their exit code, and survive the way back from a worker."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglens import errors
from ecglens.errors import EcglensError, Finding, FormatError, LeakError, SignalError, printable

# The table of exit codes in the docs: class -> code. A new class must be put here.
EXIT_CODES = {
    "EcglensError": 1, "UsageError": 2, "InputError": 3, "FormatError": 3, "SignalError": 3, "TableError": 3,
    "UnsafeError": 4, "EnvironmentFault": 5, "LockedError": 5, "ContractError": 6, "LeakError": 6,
}  # fmt: skip


def test_exit_code_of_every_class():
    classes = {
        c.__name__: c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)
    }
    assert classes == EXIT_CODES


def test_message_says_where_what_allowed_and_what_to_do():
    error = FormatError("rec.hea", "gain", 0, "above 0", "correct the header")
    assert str(error) == "rec.hea: gain: found 0; allowed: above 0; to do: correct the header"
    assert str(FormatError("rec.hea", "gain", 0)) == "rec.hea: gain: found 0"


def test_kind_defaults_to_the_class_and_can_be_given():
    assert (LeakError("a", "b", "c").kind, LeakError("a", "b", "c", kind="unknown_patient").kind) == (
        "leak",
        "unknown_patient",
    )


def test_error_as_dict_is_json_and_complete():
    said = json.loads(json.dumps(SignalError("rec", "lead V1", "flat", "a signal", "check V1", lead="V1").as_dict()))
    assert said["error"] == "SignalError"
    assert (said["kind"], said["lead"], said["to_do"]) == ("signal", "V1", "check V1")
    assert said["message"].startswith("rec: lead V1: found flat")


def test_error_becomes_a_finding():
    finding = SignalError("rec", "lead V1", "flat", kind="flat", lead="V1").finding()
    assert finding == Finding("flat", "error", "rec: lead V1: found flat", "V1")
    assert finding.as_dict() == {"kind": "flat", "lead": "V1", "severity": "error", "reason": finding.reason}


@pytest.mark.parametrize("name", EXIT_CODES)
def test_error_survives_pickling(name):
    error = getattr(errors, name)("a\nb", "field", 3, "4", "do", kind="special", lead="V2")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.as_dict(), str(again), again.exit_code) == (error.as_dict(), str(error), error.exit_code)


@pytest.mark.parametrize("position", range(5))
def test_no_part_of_an_error_can_reach_the_terminal_raw(position):
    parts = ["w", "f", "x", "a", "d"]
    parts[position] = "bad\x1b[31m\nname\u202e"
    line = str(EcglensError(*parts))
    assert line.isprintable()
    assert "bad\\x1b[31m\\nname\\u202e" in line


@given(st.text())
def test_printable_is_one_printable_line_of_bounded_length(text):
    said = printable(text)
    assert said.isprintable()
    assert len(said) <= 200


def test_printable_leaves_words_alone():
    assert printable("Ärztin, 3 µV") == "Ärztin, 3 µV"
    assert printable(b"\xff".decode(errors="surrogateescape")) == "\\udcff"
    assert printable("x" * 300) == "x" * 197 + "..."
