# SPDX-License-Identifier: Apache-2.0
"""The tables of README and docs, one file a subject."""
