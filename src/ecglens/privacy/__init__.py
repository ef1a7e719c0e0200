# SPDX-License-Identifier: Apache-2.0
"""What a shared ECG gives away: who it is of, and which sex and age; attackers, honest splits, controls."""
