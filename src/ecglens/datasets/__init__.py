# SPDX-License-Identifier: Apache-2.0
"""Named cohorts. Only this room knows how data sets lay out their files."""
