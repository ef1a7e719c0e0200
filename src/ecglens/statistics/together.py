# SPDX-License-Identifier: Apache-2.0
"""Which labels come together, in truth and in what is called: records have several labels, and errors travel along.

>>> both = cooccurrence([[1, 1], [1, 0], [0, 1]], [[1, 1], [1, 1], [0, 0]])
>>> both.true_and_true.tolist(), both.true_and_called.tolist()
([[2, 1], [1, 2]], [[2, 2], [1, 1]])
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecglens.errors import UsageError


class Cooccurrence(NamedTuple):
    """Counts of records [class, class]: row i truly has label i; column j has label j, or was called j.

    Records count where both entries are known. The diagonal of `true_and_true` is how many have each label, that of
    `true_and_called` how many of them were found.
    """

    true_and_true: NDArray[np.int64]
    true_and_called: NDArray[np.int64]


def cooccurrence(labels: ArrayLike, decisions: ArrayLike) -> Cooccurrence:
    """Count which labels and which calls come together.

    labels, decisions   [record, class]: 1, 0, NaN for unknown, or where nothing was decided
    Raises UsageError on shapes that differ.
    """
    truth, called = np.asarray(labels, float), np.asarray(decisions, float)
    if truth.ndim != 2 or truth.shape != called.shape:
        raise UsageError("cooccurrence", "decisions", f"shape {called.shape}", f"[record, class]: {truth.shape}")
    has = (truth == 1).astype(np.int64)
    return Cooccurrence(has.T @ has, has.T @ (called == 1).astype(np.int64))
