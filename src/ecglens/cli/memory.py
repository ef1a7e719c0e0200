# SPDX-License-Identifier: Apache-2.0
"""Memory that is given back is kept for the next array."""

from __future__ import annotations

import ctypes
import sys

# The names of glibc's malloc.h, and what it takes: an int.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST = -1, -3, 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory instead of handing each large array back to the system; tell whether it will.

    A network's activations are arrays of megabytes, made and freed at every layer. By default each comes from the
    system as pages to be zeroed on first touch: half of the time of a forward pass of ECGNet. What is done once and
    left is not larger for it, since arrays that are alive at once need the same; a process that is asked to stay
    keeps its largest size. Elsewhere than on Linux with glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all(mallopt(name, _LARGEST) == 1 for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
