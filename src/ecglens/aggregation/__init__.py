# SPDX-License-Identifier: Apache-2.0
"""From the maps of single ECGs to those of a cohort: soft cells, means, null models, groups."""
