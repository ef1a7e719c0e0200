# SPDX-License-Identifier: Apache-2.0
"""`python -m ecglens` is the command `ecglens`."""

from ecglens.cli import main

if __name__ == "__main__":
    main()
