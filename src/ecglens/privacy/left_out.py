# SPDX-License-Identifier: Apache-2.0
"""Records that give no window: why, in words that name none of them, and what to do where a data set has no other.

>>> in_words(by_reason({"missing_lead": 2, "checksum": 1}))
'2 (without the lead), 1 (cannot be used: checksum)'
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.folder import table_of
from ecglens.errors import InputError
from ecglens.preprocessing.prepare import describe_exclusions

BEYOND = "beyond_cap"  # nothing is wrong with them: so many windows a person were asked for
# The reason of a single record may name it, and so its person: what is counted is said by kind.
REASONS: Mapping[str, str] = {
    "missing_lead": "without the lead",
    "unknown_patient": "whose they are is not known",
    BEYOND: "beyond the windows a person, of people with more records than that",
    "too_short": "no 8 s without a blank",
    "no_beats": "no beat was found",
    "gap": "samples missing for longer than may be bridged",
    "flat_lead": "a lead that hardly moves",
    "amplitude": "too large or too small for mV",
    "infinite": "infinite samples",
}


def by_reason(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return kind, n and reason of records left out, of `counts` by kind, in that order; no record is named."""
    told = {kind: REASONS.get(kind, f"cannot be used: {kind.replace('_', ' ')}") for kind in counts}
    return [{"kind": kind, "n": int(n), "reason": told[kind]} for kind, n in counts.items()]


def in_words(left_out: Sequence[Mapping[str, Any]] | None) -> str:
    """Return how many were left out, and why: people or records with n and reason."""
    return ", ".join(f"{each['n']:,} ({each['reason']})" for each in left_out or ()) or "none"


def unsuitable(left_out: Sequence[Mapping[str, Any]] | None) -> bool:
    """Tell whether a record was left out that could not be used, and not only more than were asked for."""
    return any(each["kind"] != BEYOND for each in left_out or ())


def nothing_usable(
    cohort: Cohort, excluded: Sequence[Excluded], leads: Collection[str], accepted: Sequence[str], *,
    auto: bool, by_auto: Sequence[str], several: bool,
) -> InputError:  # fmt: skip
    """Return the refusal of a data set that gives no window: nobody may think that it was asked about.

    leads     those that its records have
    accepted  those that would have done, chosen by --lead auto where `auto`
    by_auto   those that --lead auto would take; of I and II, or of none, whatever lead there is
    several   whether it is one of several data sets, so that the others could be asked about without it
    """
    counts = {kind: n for kind, n in describe_exclusions(excluded).items() if kind != BEYOND}
    reasons, tried = by_reason(counts), sum(counts.values())
    why = f": {reasons[0]['reason'] if len(reasons) == 1 else in_words(reasons)}" if reasons else ""
    found, allowed = f"{tried:,} records, none usable{why}", "at least one"
    mostly = next(iter(counts), "")
    if mostly == "missing_lead":
        field, allowed = "lead", ", ".join(name for name in leads if name not in accepted)
        found = f"no {' or '.join(accepted)} in {counts[mostly]:,} of {tried:,} records"
        found += ", and none usable" if len(counts) > 1 else ""
        would_do = set(by_auto) in (set(), {"I", "II"}) or set(by_auto) & set(leads)
        fix = "name one of these (--lead)" if auto or not would_do else "--lead auto, or one of these"
        if several:  # --lead holds for all of them
            fix = "leave this data set out, or ask it alone by --lead" if auto or not would_do else (
                "--lead auto, or leave this data set out"
            )  # fmt: skip
    else:
        field, fix = "records", _to_do(cohort, mostly) + (", or leave this data set out" if several else "")
    return InputError(cohort.name, field, found, allowed, fix, kind="no_records")


def _to_do(cohort: Cohort, kind: str) -> str:
    if kind == "unknown_patient":
        table = table_of(cohort)
        return f"say whose each is in a column `patient_id` of {table}" if table else "give data that say whose each is"
    if kind == "too_short":
        return "give recordings with 8 s or more without a blank (missing samples, or one value for a second)"
    return "`ecglens check` says what is wrong with each of its files"
