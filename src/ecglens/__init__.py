# SPDX-License-Identifier: Apache-2.0
"""ecglens: train, explain, audit and safely share deep-learning models for ECGs.

Research software, not a medical device.
"""

__version__ = "0.1.0"
