# SPDX-License-Identifier: Apache-2.0
"""ECG -> network input, as data: one code path for training, prediction and explanation."""
