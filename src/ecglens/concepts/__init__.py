# SPDX-License-Identifier: Apache-2.0
"""What networks make of what cardiologists look for: directions in layers, and how answers move along them."""
