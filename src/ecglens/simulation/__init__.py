# SPDX-License-Identifier: Apache-2.0
"""ECGs whose truth is known: dipole, conditions, noise, and the cohort made of them."""

from ecglens.simulation.cohort import Simulated, simulate_cohort, simulate_ecg
from ecglens.simulation.noise import Noise
from ecglens.simulation.pathologies import CONDITIONS

__all__ = ["CONDITIONS", "Noise", "Simulated", "simulate_cohort", "simulate_ecg"]
