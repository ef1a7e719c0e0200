# SPDX-License-Identifier: Apache-2.0
"""`audit.json`: verdicts, keyed by the SHA-256 of the weights they were made on; and where later verbs look for them.

{"schema": 1, "audits": {WEIGHTS_SHA256: {"bundle", "weights_sha256", "methods", "default_method"}}}

A verdict holds for these weights and no others. It never lies inside a bundle, which it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecglens.bundle import PRETRAINED
from ecglens.errors import FormatError
from ecglens.explanation import NOT_TESTED, VERDICTS
from ecglens.runs.files import read_json, write_json

AUDIT_FILE, AUDIT_SCHEMA = "audit.json", 1
SHIPPED = PRETRAINED / AUDIT_FILE  # of the bundles that come with ecglens


@dataclass(frozen=True)
class Verdicts:
    """What an audit found on some weights.

    of              verdict by method
    reasons         why, by method
    default_method  the best that passes, or None where none does
    audited         whether these weights were audited at all
    """

    of: Mapping[str, str]
    reasons: Mapping[str, str]
    default_method: str | None = None
    audited: bool = False

    def __getitem__(self, method: str) -> str:
        """Return the verdict of a method; "not tested" where there is none."""
        return self.of.get(method, NOT_TESTED)


UNAUDITED = Verdicts({}, {})


def find_verdicts(weights_sha256: str, *places: str | Path) -> Verdicts:
    """Return the verdicts on these weights: from `places` (an `audit.json`, or folders with one), else those shipped.

    A run folder is asked for RUN/audit.json and RUN/audit/audit.json. Raises FormatError for a file of another schema.
    """
    for path in (*_candidates(places), SHIPPED):
        if path.is_file():
            found = read_audits(path).get(weights_sha256)
            if found is not None:
                return _verdicts(found, path)
    return UNAUDITED


def read_audits(path: Path) -> dict[str, dict[str, Any]]:
    """Return the audits in a file by the SHA-256 of their weights. Raises FormatError for another schema."""
    told = read_json(path)
    if not isinstance(told, dict) or told.get("schema") != AUDIT_SCHEMA or not isinstance(told.get("audits"), dict):
        found = told.get("schema") if isinstance(told, dict) else type(told).__name__
        raise FormatError(path, "schema", found, str(AUDIT_SCHEMA), "audit the bundle again", kind="schema")
    return told["audits"]


def write_audit(path: Path, audit: Mapping[str, Any]) -> None:
    """Write an audit into the file at `path`, beside those of other weights that are there."""
    audits = read_audits(path) if path.exists() else {}
    write_json(path, {"schema": AUDIT_SCHEMA, "audits": audits | {str(audit["weights_sha256"]): dict(audit)}})


def _candidates(places: tuple[str | Path, ...]) -> list[Path]:
    out = []
    for place in map(Path, places):
        out += [place] if place.suffix == ".json" else [place / AUDIT_FILE, place / "audit" / AUDIT_FILE]
    return out


def _verdicts(found: Mapping[str, Any], path: Path) -> Verdicts:
    try:
        methods = found["methods"]
        of = {str(name): str(told["verdict"]) for name, told in methods.items()}
        reasons = {str(name): str(told["reason"]) for name, told in methods.items()}
        default = found["default_method"]
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(path, "audit", repr(error), "methods with verdict and reason", kind="schema") from None
    unknown = set(of.values()) - set(VERDICTS)
    if unknown or (default is not None and of.get(default) != "passes"):
        raise FormatError(
            path, "verdict", ", ".join(sorted(unknown)) or str(default), ", ".join(VERDICTS), kind="schema"
        )
    return Verdicts(of, reasons, None if default is None else str(default), True)
