# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept: arrays made after others were freed cost no new pages."""

import subprocess
import sys

import pytest

PAGES = 9_766

COUNT = """
import resource, sys
from ecglens.cli.memory import keep_freed_memory

kept = sys.argv[1] == "kept" and keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    b"x" * 40_000_000  # 9,766 pages of 4 KiB
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True)
    kept, n = done.stdout.split()
    return int(kept), int(n)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux is asked")
def test_freed_memory_is_kept() -> None:
    """Twenty arrays, one after the other, cost the pages of one; without it, far more."""
    kept, few = pages("kept")
    _, many = pages("given back")
    assert kept == 1
    assert few < 2 * PAGES
    assert many > 10 * PAGES
