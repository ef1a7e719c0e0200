# SPDX-License-Identifier: Apache-2.0
"""What a cardiologist reads in an ECG: beats, waves, measurements."""
