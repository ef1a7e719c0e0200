# SPDX-License-Identifier: Apache-2.0
"""How large a group of records must be for anything to be said of it: what fewer show are anecdotes.

>>> is_too_small(20, 10), is_too_small(19, 19), is_too_small(200, 9)
(False, True, True)
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

LEAST_RECORDS, LEAST_PATIENTS = 20, 10


@overload
def is_too_small(n_records: int, n_patients: int) -> bool: ...
@overload
def is_too_small(n_records: NDArray[Any], n_patients: NDArray[Any]) -> NDArray[np.bool_]: ...
def is_too_small(n_records: Any, n_patients: Any) -> Any:
    """Tell whether a group, or each of several, has fewer than 20 records or 10 patients."""
    return (n_records < LEAST_RECORDS) | (n_patients < LEAST_PATIENTS)
