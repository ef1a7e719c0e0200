# SPDX-License-Identifier: Apache-2.0
"""Standard leads, their aliases, and the algebra of the limb leads (Einthoven, Goldberger).

Leads are always picked by name. Two limb leads determine the other four:
III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.

>>> canonical_lead("AVF"), canonical_lead("dII"), canonical_lead("V9")
('aVF', 'II', 'V9')
>>> derivable(("I", "II", "V1"), "aVR")
True
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecglens.shapes import Signal

LIMB_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF")
PRECORDIAL_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
STANDARD_LEADS = LIMB_LEADS + PRECORDIAL_LEADS

# Leads that no 12-lead ECG has but that are no surprise: modified limb and chest leads, Frank's, posterior, right.
OTHER_LEADS = frozenset(
    ("MLI", "MLII", "MLIII", "MCL1", "MCL6", "X", "Y", "Z", "VX", "VY", "VZ", "V7", "V8", "V9",
     "V3R", "V4R", "V5R", "V6R", "ECG", "ECG1", "ECG2")
)  # fmt: skip

# Each limb lead as a combination of I and II.
LIMB_ALGEBRA = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}

_ALIASES = {name.upper(): name for name in STANDARD_LEADS}
_ALIASES |= {f"D{name}": name for name in ("I", "II", "III")} | {
    f"D{i}": n for i, n in enumerate(("I", "II", "III"), 1)
}
_ALIASES |= {f"LEAD {name.upper()}": name for name in STANDARD_LEADS}
_ALIASES |= {f"C{i}": f"V{i}" for i in range(1, 7)}


def canonical_lead(name: str) -> str:
    """Return the standard name of a lead, or `name` itself (stripped) where it is no standard lead.

    Case, the prefixes `D`, `Lead` and `C` (IEC) are understood. Modified leads (MLII) stay what they are.
    """
    stripped = name.strip()
    return _ALIASES.get(stripped.upper(), stripped)


def derivable(available: Sequence[str], lead: str) -> bool:
    """Tell whether `lead` is a limb lead that two of the `available` limb leads determine."""
    return lead in LIMB_LEADS and len(_limb_pair(available)) == 2


def derive_limb_lead(signal: Signal, leads: Sequence[str], lead: str) -> np.ndarray:
    """Return a limb lead [time], in the unit of `signal` [lead, time], from two others.

    Raises KeyError where fewer than two limb leads are there (see `derivable`).
    """
    pair = _limb_pair(leads)
    if lead not in LIMB_LEADS or len(pair) < 2:
        raise KeyError(lead)
    basis = np.array([LIMB_ALGEBRA[name] for name in pair])
    weights = np.array(LIMB_ALGEBRA[lead]) @ np.linalg.inv(basis)
    rows = [signal[list(leads).index(name)].astype(np.float64) for name in pair]
    return (weights[0] * rows[0] + weights[1] * rows[1]).astype(np.float32)


def limb_residual(signal: Signal, leads: Sequence[str]) -> float | None:
    """Return the largest violation of Einthoven's and Goldberger's laws, in the unit of `signal`.

    None where fewer than three limb leads are there. Gaps (NaN) are passed over.
    """
    present = [name for name in LIMB_LEADS if name in leads]
    if len(present) < 3:
        return None
    worst = 0.0
    for name in present[2:]:
        derived = derive_limb_lead(signal, leads, name)
        gap = np.abs(derived - signal[list(leads).index(name)])
        worst = max(worst, float(np.nanmax(gap)) if np.isfinite(gap).any() else 0.0)
    return worst


def _limb_pair(available: Sequence[str]) -> list[str]:
    """Return the first two limb leads, in standard order: any two are linearly independent."""
    return [name for name in LIMB_LEADS if name in available][:2]
