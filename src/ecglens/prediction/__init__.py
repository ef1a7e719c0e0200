# SPDX-License-Identifier: Apache-2.0
"""Using a bundle: predict, evaluate, thresholds, calibration."""
