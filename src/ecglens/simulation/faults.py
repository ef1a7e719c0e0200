# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a heart and a file: electrodes swapped or lost, amplifiers saturated, units mistaken.

>>> fault = Fault("limb_reversal")
>>> names = dict(zip(STANDARD_LEADS, fault.matrix()))
>>> bool((names["II"] == np.eye(12)[STANDARD_LEADS.index("III")]).all())  # what is written as II is III
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecglens.errors import UsageError
from ecglens.leads import PRECORDIAL_LEADS, STANDARD_LEADS
from ecglens.simulation.person import stream

FAULTS = {
    "limb_reversal": "electrodes of the right and the left arm swapped",
    "swapped_leads": "two neighbouring chest electrodes swapped",
    "lost_lead": "a chest electrode off: a flat line",
    "clipping": "an amplifier that saturates, at half of the largest amplitude",
    "wrong_unit": "microvolts written as millivolts: a thousand times too large",
}


@dataclass(frozen=True)
class Fault:
    """A fault of one recording.

    name   key of `FAULTS`
    leads  the leads it hits: both of `swapped_leads`, that of `lost_lead`
    """

    name: str
    leads: tuple[str, ...] = ()

    def matrix(self) -> np.ndarray:
        """Return what of the true leads stands in each lead that is written [12, 12]."""
        matrix = np.eye(12)
        if self.name == "limb_reversal":
            return _reversal()
        rows = [STANDARD_LEADS.index(lead) for lead in self.leads]
        if self.name == "swapped_leads":
            matrix[rows] = matrix[rows[::-1]]
        elif self.name == "lost_lead":
            matrix[rows] = 0.0
        return matrix

    def distort(self, signal: np.ndarray) -> np.ndarray:
        """Return the twelve leads [12, time], in mV, with the part of the fault that is not linear in them."""
        if self.name == "clipping":
            limit = 0.5 * float(np.abs(signal).max())
            return np.clip(signal, -limit, limit)
        return signal * 1000.0 if self.name == "wrong_unit" else signal


def _reversal() -> np.ndarray:
    """Return the twelve leads under swapped arms: I turns over, II and III swap, so do aVR and aVL."""
    order = {"II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR"}
    matrix = np.zeros((12, 12))
    for row, lead in enumerate(STANDARD_LEADS):
        matrix[row, STANDARD_LEADS.index(order.get(lead, lead))] = -1.0 if lead == "I" else 1.0
    return matrix


def check_faults(faults: Mapping[str, float]) -> None:
    """Raise UsageError for an unknown fault, or shares that are not between 0 and 1, or above 1 together."""
    for name, share in faults.items():
        if name not in FAULTS:
            raise UsageError("simulation", "faults", name, ", ".join(FAULTS))
        if not 0.0 <= share <= 1.0:
            raise UsageError("simulation", f"faults[{name}]", share, "a share of the records, 0 to 1")
    if sum(faults.values()) > 1.0 + 1e-9:
        raise UsageError("simulation", "faults", sum(faults.values()), "shares that sum to at most 1")


def draw_fault(record_id: str, seed: int, faults: Mapping[str, float]) -> Fault | None:
    """Draw the fault of a record, or none, from (seed, record_id)."""
    generator = stream(seed, "fault", record_id)
    chance, first = generator.uniform(), int(generator.integers(5))
    for name, share in faults.items():
        if chance < share:
            pair = PRECORDIAL_LEADS[first : first + 2]
            leads = {"swapped_leads": pair, "lost_lead": pair[:1]}.get(name, ())
            return Fault(name, leads)
        chance -= share
    return None
