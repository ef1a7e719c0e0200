# SPDX-License-Identifier: Apache-2.0
"""Labels of PTB-XL from its SCP-ECG statements: tasks, likelihoods, and the rule in words.

The benchmark of Strodthoff et al. (2021) counts every statement that a record carries, whatever its likelihood
(0 means "present, not graded"); TrustECG counts those with a likelihood of 50 or more. The two label sets differ
(MI falls from 553 to 415 of the test records), so scores on one do not compare with scores on the other, and the
rule is printed with every number.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.errors import TableError, UsageError

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
# Column of scp_statements.csv that selects a task's statements, and the column that names its classes.
TASKS: dict[str, tuple[str, str]] = {
    "superdiagnostic": ("diagnostic", "diagnostic_class"),
    "subdiagnostic": ("diagnostic", "diagnostic_subclass"),
    "diagnostic": ("diagnostic", ""),
    "form": ("form", ""),
    "rhythm": ("rhythm", ""),
    "all": ("", ""),
}


def task_classes(statements: pd.DataFrame, task: str, where: object) -> dict[str, str]:
    """Return {statement: class} of a task, from scp_statements.csv (index = statement)."""
    if task not in TASKS:
        raise UsageError("labels", "task", task, ", ".join(TASKS))
    select, name = TASKS[task]
    missing = [column for column in (select, name) if column and column not in statements]
    if missing:
        raise TableError(where, "columns", f"no {', '.join(missing)}", "PTB-XL's scp_statements.csv")
    chosen = statements[statements[select] == 1] if select else statements
    named = chosen[name] if name else chosen.index.to_series()
    return {str(code): str(value) for code, value in named.items() if isinstance(value, str)}


def class_order(classes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the classes of a task in a fixed order: superclasses as usual, others alphabetically."""
    names = set(classes.values())
    return SUPERCLASSES if names == set(SUPERCLASSES) else tuple(sorted(names))


def parse_codes(texts: pd.Series, known: pd.Index, where: Path) -> list[dict[str, float]]:
    """Return {statement: likelihood} per row of `scp_codes`. Raises TableError for unknown codes or another form."""
    parsed = []
    for record, text in texts.items():
        try:
            codes = ast.literal_eval(text)
            codes = {str(code): float(likelihood) for code, likelihood in codes.items()}
        except (ValueError, SyntaxError, AttributeError, TypeError, OverflowError, MemoryError, RecursionError):
            raise TableError(
                where, f"scp_codes of record {record}", repr(text), "a dictionary like {'NORM': 100.0}", kind="codes"
            ) from None
        unknown = [code for code in codes if code not in known]
        if unknown:
            raise TableError(
                where, f"scp_codes of record {record}", ", ".join(unknown), "statements of scp_statements.csv",
                "use the scp_statements.csv of the same release", kind="unknown_code",
            )  # fmt: skip
        parsed.append(codes)
    return parsed


def label_matrix(
    codes: list[dict[str, float]], classes: Mapping[str, str], order: tuple[str, ...], min_likelihood: float
) -> np.ndarray:
    """Return labels [record, class] of 0 and 1: 1 where a statement of the class has at least `min_likelihood`."""
    column = {name: k for k, name in enumerate(order)}
    labels = np.zeros((len(codes), len(order)))
    for row, record in enumerate(codes):
        for code, likelihood in record.items():
            if code in classes and likelihood >= min_likelihood:
                labels[row, column[classes[code]]] = 1.0
    return labels


def rule_in_words(task: str, min_likelihood: float, keep_unlabelled: bool) -> str:
    """Return the label rule as it stands beside every number."""
    which = "any statement, whatever its likelihood"
    if min_likelihood > 0:
        which = f"diagnostic statements of likelihood >= {min_likelihood:g}, others are not graded"
    rest = "kept as all-negative" if keep_unlabelled else "left out"
    return f"PTB-XL {task}, {which} (min_likelihood={min_likelihood:g}); records without a label {rest}"
