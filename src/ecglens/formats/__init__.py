# SPDX-License-Identifier: Apache-2.0
"""Files <-> ECG: one file per format; `read.read` finds the reader.

`[time, lead]` exists only in here: what leaves this room is float32 [lead, time] in mV, leads by name.
"""
