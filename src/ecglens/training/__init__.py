# SPDX-License-Identifier: Apache-2.0
"""Training: one loop that fits on a screen, its loss, its augmentation, its checkpoints."""
