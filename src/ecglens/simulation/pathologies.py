# SPDX-License-Identifier: Apache-2.0
"""The normal beat and the conditions, as data: each condition says which components it replaces and adds.

Amplitudes and widths are our own, fitted by hand so that the noise-free beat meets the textbook rule beside each
condition (the tests check it); only conditions with a checked rule are listed. One more condition is one more entry
of `CONDITIONS`.

>>> [c.name for c in CONDITIONS["IMI"].beat()][-1], CONDITIONS["CLBBB"].superclass
('inferior', 'CD')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ecglens.simulation.dipole import Component

# QRS 88 ms (0.05 mV in any lead); II: P .14, R 1.03, T .28 mV; V1 rS .23/-.76; V6 qR -.08/1.13; transition V3.
NORMAL_BEAT = (
    Component("P1", "P", -172.0, 18.0, (0.06, 0.08, -0.04)),
    Component("P2", "P", -145.0, 18.0, (0.06, 0.06, 0.02)),
    Component("septal", "QRS", -27.0, 8.0, (-0.10, -0.05, -0.24)),
    Component("anterior", "QRS", -10.0, 9.0, (0.15, 0.08, -0.20)),
    Component("main", "QRS", 0.0, 12.0, (1.15, 0.68, 0.33)),
    Component("basal", "QRS", 24.0, 10.0, (-0.12, -0.16, 0.45)),
    Component("T1", "T", 225.0, 48.0, (0.22, 0.13, -0.13)),
    Component("T2", "T", 275.0, 30.0, (0.15, 0.09, -0.08)),
)


@dataclass(frozen=True)
class Condition:
    """A diagnosis as changes of the normal beat.

    title       in words
    superclass  as in PTB-XL: NORM, MI, CD
    rule        what the noise-free beat shows, in words
    replaced    component of the normal beat -> what stands in its place; None takes it away
    added       further components
    """

    title: str
    superclass: str
    rule: str
    replaced: Mapping[str, Component | None] = field(default_factory=dict)
    added: tuple[Component, ...] = ()

    def beat(self) -> tuple[Component, ...]:
        """Return the components: those of the normal beat in its order (gone ones with moment 0), then the added.

        The order is kept so that the same draws meet the same component with and without the lesion.
        """
        return tuple(_instead(c, self.replaced) for c in NORMAL_BEAT) + self.added


CONDITIONS: dict[str, Condition] = {
    "NORM": Condition("normal ECG", "NORM", "QRS < 120 ms, no pathological Q"),
    "IMI": Condition(
        "inferior myocardial infarction",
        "MI",
        "Q of at least 30 ms and 0.1 mV in two or more of II, III, aVF",
        # The inferior wall no longer pulls towards the feet early in QRS.
        added=(Component("inferior", "QRS", -20.0, 11.0, (0.02, -0.55, 0.04)),),
    ),
    "CLBBB": Condition(
        "complete left bundle branch block",
        "CD",
        "QRS >= 120 ms, QS in V1, no q in I, V5, V6, T against QRS",
        # The septum is activated from the right, then the left ventricle slowly and late.
        replaced={
            "septal": None,
            "anterior": None,
            "main": Component("main", "QRS", 5.0, 24.0, (0.75, 0.35, 0.55)),
            "basal": Component("basal", "QRS", 62.0, 22.0, (0.60, 0.05, 0.45)),
            "T1": Component("T1", "T", 225.0, 48.0, (-0.22, -0.05, -0.20)),
            "T2": Component("T2", "T", 275.0, 30.0, (-0.15, -0.05, -0.14)),
        },
        added=(Component("ST", "ST", 150.0, 35.0, (-0.12, -0.02, -0.15)),),
    ),
}


def _instead(component: Component, replaced: Mapping[str, Component | None]) -> Component:
    if component.name not in replaced:
        return component
    return replaced[component.name] or replace(component, moment=(0.0, 0.0, 0.0))
