# SPDX-License-Identifier: Apache-2.0
"""How large a group of records must be for anything to be said of it: what fewer show are anecdotes.

>>> is_too_small(20, 10), is_too_small(19, 19), is_too_small(200, 9)
(False, True, True)
"""

from __future__ import annotations

LEAST_RECORDS, LEAST_PATIENTS = 20, 10


def is_too_small(n_records: int, n_patients: int) -> bool:
    """Tell whether a group has fewer than 20 records or 10 patients."""
    return n_records < LEAST_RECORDS or n_patients < LEAST_PATIENTS
