# SPDX-License-Identifier: Apache-2.0
"""Pictures: the ECG on paper, the map of an explanation on it, and curves. The only room that imports matplotlib."""
