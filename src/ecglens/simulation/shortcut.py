# SPDX-License-Identifier: Apache-2.0
"""A shortcut: a mark in one lead that goes with a class in the training folds and not in the test fold.

A network that learns the mark is right for the wrong reason; an explanation worth having shows it.

>>> Shortcut("MI", rho=0.8).chance(has_class=True, fold=1), Shortcut("MI", rho=0.8).chance(has_class=False, fold=1)
(0.9, 0.09999999999999998)
>>> Shortcut("MI", rho=0.8).chance(has_class=True, fold=10)
0.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecglens.errors import UsageError
from ecglens.leads import PRECORDIAL_LEADS, STANDARD_LEADS
from ecglens.simulation.person import stream

BUMP = 0.06  # s


@dataclass(frozen=True)
class Shortcut:
    """How a mark is dealt out.

    label       the class (a column of the labels) that it goes with
    rho         strength, 0 to 1: of the training records with the class (1 + rho) / 2 have the mark, of those without
                (1 - rho) / 2; where both are as many, rho is the correlation
    mark        "bump": a half sine of 60 ms once a second, as of a calibration pulse; "hum": mains of 50 Hz
    lead        a chest lead, so that no other lead has it
    size        in mV
    test        in the test folds: "absent", "reversed" (the other way round), or "same" as in training
    test_folds  folds that are test
    """

    label: str
    rho: float = 0.9
    mark: Literal["bump", "hum"] = "bump"
    lead: str = "V6"
    size: float = 0.15
    test: Literal["absent", "reversed", "same"] = "absent"
    test_folds: tuple[int, ...] = (10,)

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[bool, str]] = {
            "rho": (0.0 <= self.rho <= 1.0, "0 to 1"),
            "mark": (self.mark in ("bump", "hum"), "bump, hum"),
            "lead": (self.lead in PRECORDIAL_LEADS, ", ".join(PRECORDIAL_LEADS)),
            "size": (0.0 < self.size <= 5.0, "above 0, at most 5 mV"),
            "test": (self.test in ("absent", "reversed", "same"), "absent, reversed, same"),
        }
        for name, (good, what) in allowed.items():
            if not good:
                raise UsageError("Shortcut", name, getattr(self, name), what)

    def chance(self, has_class: bool, fold: int) -> float:
        """Return the probability that a record of this fold has the mark."""
        towards = has_class
        if fold in self.test_folds and self.test != "same":
            if self.test == "absent":
                return 0.0
            towards = not has_class
        return (1.0 + self.rho) / 2 if towards else (1.0 - self.rho) / 2

    def draw(self, record_id: str, seed: int, times: np.ndarray, has_class: bool, fold: int) -> np.ndarray | None:
        """Return the mark in the twelve leads [12, time], in mV, or None, from (seed, record_id)."""
        generator = stream(seed, "shortcut", record_id)
        present, phase = generator.uniform() < self.chance(has_class, fold), generator.uniform()
        if not present:
            return None
        leads = np.zeros((12, len(times)))
        if self.mark == "hum":
            wave = np.sin(2 * np.pi * (50.0 * times + phase))
        else:
            since = np.mod(times - phase, 1.0)
            wave = np.where(since < BUMP, np.sin(np.pi * since / BUMP), 0.0)
        leads[STANDARD_LEADS.index(self.lead)] = self.size * wave
        return leads
