# SPDX-License-Identifier: Apache-2.0
"""What is the same is answered once: copies of an ECG with something hidden share most of their windows and leads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
from torch import nn


@runtime_checkable
class ReadsLeads(Protocol):
    """A network that reads each lead by itself, and can be told that leads repeat."""

    leads_repeat: bool


def different(arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each different one of `arrays` [array, ...] stands first, and for each array which of them it is.

    >>> different(np.array([[1, 2], [3, 4], [1, 2]]))
    (array([0, 1]), array([0, 1, 0]))
    """
    numbers: dict[bytes, int] = {}
    which = np.array([numbers.setdefault(array.tobytes(), len(numbers)) for array in arrays])
    return np.unique(which, return_index=True)[1], which


@contextmanager
def leads_repeat(network: nn.Module) -> Iterator[None]:
    """Tell networks that read each lead by itself that many leads will be the same: each is then read once.

    Their layers see fewer rows than there are ECGs times leads, so nobody may listen to them meanwhile.
    """
    readers = [module for module in network.modules() if isinstance(module, ReadsLeads)]
    for reader in readers:
        reader.leads_repeat = True
    try:
        yield
    finally:
        for reader in readers:
            reader.leads_repeat = False
