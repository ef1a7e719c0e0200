# SPDX-License-Identifier: Apache-2.0
"""Public names: the golden file, lazy loading, and the stub that editors read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import ecglens

GOLDEN = Path(__file__).parent / "golden"


def test_public_names_and_signatures_are_those_of_the_golden_file():
    sys.path.insert(0, str(GOLDEN))
    try:
        from make_api import describe
    finally:
        sys.path.remove(str(GOLDEN))
    assert describe() == (GOLDEN / "api.txt").read_text(), "changed on purpose? run python tests/golden/make_api.py"


def test_the_stub_lists_exactly_the_public_names():
    stub = Path(ecglens.__file__).with_suffix(".pyi").read_text()
    named = {name: home for home, name in re.findall(r"^from ([\w.]+) import \w+ as (\w+)$", stub, flags=re.MULTILINE)}
    assert named == ecglens._HOMES


def test_importing_ecglens_loads_nothing_heavy():
    heavy = ["torch", "numpy", "pandas", "matplotlib", "scipy", "sklearn", "captum", "wfdb"]
    code = f"import sys, ecglens; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_two_public_names_share_a_home_by_accident():
    for name, home in ecglens._HOMES.items():
        value = getattr(ecglens, name)
        assert getattr(value, "__module__", home) == home, name
