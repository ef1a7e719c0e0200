# SPDX-License-Identifier: Apache-2.0
"""Auditing: which explanation may be believed on this model? Tests whose answer is known, and a verdict per method."""
