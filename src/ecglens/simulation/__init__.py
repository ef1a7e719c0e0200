# SPDX-License-Identifier: Apache-2.0
"""ECGs whose truth is known: people, rhythms, conditions, noise and faults, and the evidence of each lesion."""

from ecglens.segments import SEGMENTS
from ecglens.simulation.cohort import DEFAULT_CLASSES, Simulated, simulate_cohort, simulate_ecg
from ecglens.simulation.evidence import Evidence, Interval
from ecglens.simulation.faults import FAULTS
from ecglens.simulation.marks import segment_samples
from ecglens.simulation.noise import Noise
from ecglens.simulation.pathologies import CONDITIONS
from ecglens.simulation.person import Demographics
from ecglens.simulation.rules import RULES, rules_met
from ecglens.simulation.shortcut import Shortcut

__all__ = [
    "CONDITIONS", "DEFAULT_CLASSES", "FAULTS", "RULES", "SEGMENTS", "Demographics", "Evidence", "Interval", "Noise",
    "Shortcut", "Simulated", "rules_met", "segment_samples", "simulate_cohort", "simulate_ecg",
]  # fmt: skip
