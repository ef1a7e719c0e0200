# SPDX-License-Identifier: Apache-2.0
"""Explainers: from a network, a batch and targets to attributions; `explain` does everything around them."""
