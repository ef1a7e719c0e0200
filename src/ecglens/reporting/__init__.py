# SPDX-License-Identifier: Apache-2.0
"""Pages: one file per page, and `html.py`, which turns a Report into one self-contained HTML file."""
