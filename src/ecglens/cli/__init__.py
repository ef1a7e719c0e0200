# SPDX-License-Identifier: Apache-2.0
"""The command line: one file per verb. Data on stdout, words on stderr, exit codes that scripts can rely on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from ecglens.cli.memory import keep_freed_memory

    keep_freed_memory()
    from ecglens.cli.app import run

    sys.exit(run(sys.argv[1:]))
