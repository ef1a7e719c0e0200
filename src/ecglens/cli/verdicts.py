# SPDX-License-Identifier: Apache-2.0
"""What an audit of these weights said of the methods asked for: which of them are drawn, and with what verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecglens.cli.console import say

if TYPE_CHECKING:
    from ecglens.auditing.verdicts import Verdicts
    from ecglens.bundle import Bundle
    from ecglens.explainers.methods import Method

UNAUDITED_DEFAULT = "saliency"  # where nobody has audited the weights


def verdicts_on(bundle: Bundle, where: str, audit: str) -> Verdicts:
    """Return the verdicts on a bundle's weights: from --audit, else from beside the bundle, else those shipped.

    Raises InputError where --audit has none for these weights.
    """
    from ecglens.auditing.verdicts import find_verdicts
    from ecglens.errors import InputError

    found = find_verdicts(bundle.weights_sha256, audit or where)
    if audit and not found.audited:
        raise InputError(
            audit, "audit", "none of these weights", f"one of {bundle.weights_sha256[:16]}",
            f"ecglens audit {where} --out {audit}", kind="missing_audit",
        )  # fmt: skip
    return found


def default_method(verdicts: Verdicts, even_if_failed: bool) -> str:
    """Return the method where none is asked for: the best that passed. Raises UnsafeError where none did."""
    from ecglens.errors import UnsafeError

    if verdicts.default_method or not verdicts.audited or even_if_failed:
        return verdicts.default_method or UNAUDITED_DEFAULT
    untested = _those(verdicts, "not tested")
    raise UnsafeError(
        "explain", "--method", "none given, and none passed the audit of these weights",
        f"one that was not tested ({untested})" if untested else "none",
        f"{'name one, or ' if untested else ''}add --even-if-failed to see a stamped map", kind="failed_audit",
    )  # fmt: skip


def verdict_of(method: Method, verdicts: Verdicts) -> str:
    """Return the verdict on a method: audits test methods with their usual parameters, others are not tested."""
    from ecglens.explainers.methods import EXPLAINERS
    from ecglens.explanation import NOT_TESTED

    usual = EXPLAINERS.get(method.title)
    return verdicts[method.title] if usual is not None and usual.explainer == method.explainer else NOT_TESTED


def drawn_methods(methods: Sequence[Method], verdicts: Verdicts, even_if_failed: bool) -> list[Method]:
    """Return the methods that may be drawn; the others are told. Raises UnsafeError where none is left."""
    from ecglens.errors import UnsafeError

    failed = [m for m in methods if verdict_of(m, verdicts) == "fails" and not even_if_failed]
    kept = [m for m in methods if m not in failed]
    for method in failed if kept else ():
        say(f"not drawn: {method.title} {verdicts.reasons[method.title]} in the audit (see --even-if-failed)")
    if not kept:
        why = "; ".join(f"{m.title} {verdicts.reasons[m.title]}" for m in failed)
        passing = _those(verdicts, "passes") or "none passes"
        raise UnsafeError(
            "explain", "--method", f"{why}, in the audit of these weights", f"a method that passes: {passing}",
            "choose one, or add --even-if-failed to see a stamped map", kind="failed_audit",
        )  # fmt: skip
    return kept


def _those(verdicts: Verdicts, verdict: str) -> str:
    """Return methods by verdict, without those that the linter refuses on this network."""
    suitable = [name for name in verdicts.of if not verdicts.reasons[name].startswith("refused")]
    return ", ".join(name for name in suitable if verdicts.of[name] == verdict)
