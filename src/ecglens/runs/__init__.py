# SPDX-License-Identifier: Apache-2.0
"""What keeps work from being lost: atomic files, containment, run folders, journal, locks, cache, progress."""
