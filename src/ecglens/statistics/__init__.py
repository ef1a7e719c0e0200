# SPDX-License-Identifier: Apache-2.0
"""Figures and their uncertainty: metrics, patient bootstrap."""
