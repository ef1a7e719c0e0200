# SPDX-License-Identifier: Apache-2.0
"""Every error ecglens raises on purpose: one line that says where, what, what is allowed and what to do.

The class decides the exit code of the command line, `kind` is the stable word that scripts can match.

>>> error = FormatError("rec.hea", "sampling rate", "0 Hz", "50 to 4000 Hz", "correct the header", kind="fs")
>>> print(error)
rec.hea: sampling rate: found 0 Hz; allowed: 50 to 4000 Hz; to do: correct the header
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something noticed about one ECG: what kind, in which lead (if one), how grave and why.

    `error` means the ECG is not used unless the caller insists, `warning` that it is used and flagged,
    `note` that something harmless was done to it (a lead derived, an unused lead left out).
    """

    kind: str
    severity: Severity
    reason: str
    lead: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason, 1000))  # it may hold what a file said

    def as_dict(self) -> dict[str, str | None]:
        """Return the finding as it stands in JSON output."""
        return {"kind": self.kind, "lead": self.lead, "severity": self.severity, "reason": self.reason}


class EcglensError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1
    default_kind = "error"

    def __init__(
        self,
        where: object,
        field: str,
        found: object,
        allowed: str = "",
        fix: str = "",
        *,
        kind: str | None = None,
        lead: str | None = None,
    ) -> None:
        """Say where (a file, a folder, an argument), which field, what was found, what is allowed, what to do."""
        # All of it may hold what a file said (lead names, paths), so all of it is made safe to print.
        self.where, self.field, self.found = printable(where), printable(field), printable(found)
        self.allowed, self.fix = printable(allowed, 1000), printable(fix, 1000)
        self.kind, self.lead = kind or self.default_kind, lead
        line = f"{self.where}: {self.field}: found {self.found}"
        if allowed:
            line += f"; allowed: {self.allowed}"
        if fix:
            line += f"; to do: {self.fix}"
        super().__init__(line)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone, which would break here: workers send errors by pickle.
        parts = (self.where, self.field, self.found, self.allowed, self.fix)
        return _rebuild, (type(self), parts, self.kind, self.lead)

    def as_dict(self) -> dict[str, str | None]:
        """Return the error as it stands in JSON output."""
        return {
            "error": type(self).__name__, "kind": self.kind, "where": self.where, "field": self.field,
            "lead": self.lead, "found": self.found, "allowed": self.allowed, "to_do": self.fix,
            "message": str(self),
        }  # fmt: skip

    def finding(self) -> Finding:
        """Return the error as a finding of severity `error`."""
        return Finding(self.kind, "error", str(self), self.lead)


class UsageError(EcglensError):
    """The call itself is wrong: an unknown option value, a target that does not exist."""

    exit_code, default_kind = 2, "usage"


class InputError(EcglensError):
    """The data cannot be used."""

    exit_code, default_kind = 3, "input"


class FormatError(InputError):
    """A file is not what it says it is: damaged, truncated, contradictory."""

    default_kind = "format"


class SignalError(InputError):
    """The numbers of an ECG cannot be an ECG, or cannot be prepared (gaps too long, a lead missing)."""

    default_kind = "signal"


class TableError(InputError):
    """A table of labels or metadata is missing or wrong."""

    default_kind = "table"


class UnsafeError(EcglensError):
    """Refused as unsafe: a path that leaves its folder, a device, altered weights, a hidden overlap."""

    exit_code, default_kind = 4, "unsafe"


class EnvironmentFault(EcglensError):
    """The machine, not the data: no space, no permission, a missing package."""

    exit_code, default_kind = 5, "environment"


class LockedError(EnvironmentFault):
    """Somebody else is writing there."""

    default_kind = "locked"


class ContractError(EcglensError):
    """The bundle and the data do not fit together."""

    exit_code, default_kind = 6, "contract"


class LeakError(ContractError):
    """The same patient would stand on both sides of a split or an evaluation."""

    default_kind = "leak"


def _rebuild(error: type[EcglensError], parts: tuple[str, ...], kind: str, lead: str | None) -> EcglensError:
    return error(*parts, kind=kind, lead=lead)


def printable(value: object, limit: int = 200) -> str:
    """Return `value` as one line that is safe on a terminal: control characters escaped, length capped.

    >>> printable("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    """
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."
