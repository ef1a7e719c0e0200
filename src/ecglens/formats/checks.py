# SPDX-License-Identifier: Apache-2.0
"""What a reader notices beyond what it must refuse: unusual rates, unknown leads, values that stand out, damage.

All of it is flagged, nothing changed: a rare recording and a damaged one can look alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ecglens.errors import Finding
from ecglens.formats.channels import Scale, standard_lead
from ecglens.leads import LIMB_LEADS, canonical_lead, limb_residual
from ecglens.shapes import Signal

# Rates that recorders and the public data sets use. Another one is possible, but more often a damaged header.
USUAL_FS = frozenset(
    (50, 60, 64, 75, 80, 100, 120, 125, 128, 150, 160, 180, 200, 240, 250, 256, 257, 300, 320, 333, 360, 400, 480, 500,
     512, 600, 640, 750, 800, 960, 977, 1000, 1024, 1200, 1250, 1500, 1600, 2000, 2048, 2400, 2500, 3000, 4000)
)  # fmt: skip

LONE = 0.3  # mV
_BLOCK = 2**17  # samples that are looked at together, so that what is computed from them stays in the cache


def rate_findings(fs: float) -> list[Finding]:
    """Flag a sampling rate, in Hz, that recorders do not commonly use."""
    if fs in USUAL_FS:
        return []
    return [Finding("unusual_fs", "warning", f"{fs:g} Hz is no rate that recorders commonly use")]


def lead_findings(leads: Sequence[str]) -> list[Finding]:
    """Flag lead names that are not known."""
    return [
        Finding("unknown_lead", "warning", f"{name!r} is not a lead name we know", canonical_lead(name))
        for name in leads
        if standard_lead(name) is None
    ]


def scale_findings(
    leads: Sequence[str | None],
    gains: Sequence[float],
    baselines: Sequence[float],
    units: tuple[str, str] = (" mV per step", " mV"),
) -> list[Finding]:
    """Flag a gain or baseline that differs where most leads agree: little else in a file guards these two.

    units  of gains and baselines, for the message
    """
    usual = _majority(gains)
    if usual is None:  # calibrated lead by lead, so baselines differ too
        return []
    found = _odd_ones("gain", units[0], usual, gains, leads)
    usual = _majority(baselines)
    return found if usual is None else found + _odd_ones("baseline", units[1], usual, baselines, leads)


def odd_scales(leads: Sequence[str], scales: Sequence[Scale]) -> list[Finding]:
    """Return `scale_findings` of the scales that `millivolts` takes."""
    gains = [scale.slope / scale.per_millivolt for scale in scales]
    return scale_findings(leads, gains, [scale.offset / scale.per_millivolt for scale in scales])


def signal_findings(signal: Signal, leads: Sequence[str]) -> list[Finding]:
    """Flag damaged samples and exchanged leads, in formats without a checksum: `limb_findings` and `lone_findings`."""
    return limb_findings(signal, leads) + lone_findings(signal, leads)


def limb_findings(signal: Signal, leads: Sequence[str]) -> list[Finding]:
    """Flag stored limb leads, in mV, that contradict each other by more than rounding explains.

    Rounded is to the smallest step between two samples: many recorders use every fifth of the values that their files
    could hold. What Einthoven's and Goldberger's laws cannot see: changes of I and II alike, and of the chest leads.
    """
    names = [canonical_lead(name) for name in leads]
    residual = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite, an ECG refuses
        for begin in range(0, signal.shape[1], _BLOCK):
            found = limb_residual(signal[:, begin : begin + _BLOCK], names)
            if found is None:
                return []
            residual = max(residual, found)
        steps = np.abs(np.diff(signal[[name in LIMB_LEADS for name in names], :_BLOCK]))
    allowed = 3 * float(steps[steps > 0].min(initial=0.1)) + 0.002
    if residual <= allowed:
        return []
    reason = f"limb leads contradict each other by up to {residual:.3g} mV, where rounding explains {allowed:.2g} mV"
    return [Finding("limb_leads", "warning", f"{reason}: leads exchanged, not simultaneous, or damaged")]


def lone_findings(signal: Signal, leads: Sequence[str]) -> list[Finding]:
    """Flag single samples, in mV, far off neighbours that agree: damage to one number, or a pacing spike."""
    findings = []
    for lead, row in zip(leads, signal, strict=True):
        at = _lone(row)
        if len(at):
            more = f" (and {len(at) - 1} more)" if len(at) > 1 else ""
            reason = f"sample {at[0]}{more} stands alone: damage or a pacing spike"
            findings.append(Finding("lone_sample", "warning", reason, lead))
    return findings


def _lone(row: np.ndarray) -> np.ndarray:
    """Return which samples of a lead, in mV, lie off the curve through two neighbours on each side.

    More than `LONE` off, and three times farther than these neighbours are from each other: a steep R peak of few
    samples passes, at 100 Hz too.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite, an ECG refuses
        # Off by that much, a sample is more than two thirds of it from the one before it: few are, and only they count.
        blocks = range(0, len(row), _BLOCK)
        jumps = [
            begin + np.flatnonzero(np.abs(np.diff(row[begin : begin + _BLOCK + 1])) > LONE * 2 / 3) for begin in blocks
        ]
        at = np.concatenate([*jumps, np.empty(0, np.int64)]) + 1
        at = at[(at >= 2) & (at < len(row) - 2)]
        far, before, here, after, beyond = (row[at + k].astype(np.float64) for k in range(-2, 3))
        off = np.abs(here - (4 * (before + after) - far - beyond) / 6)
        apart = np.max([np.abs(before - far), np.abs(after - before), np.abs(beyond - after)], axis=0)
        return at[(off > LONE) & (off > 3 * apart)]


def _majority(values: Sequence[float]) -> float | None:
    value, count = Counter(values).most_common(1)[0]
    return value if count >= 2 and 2 * count > len(values) else None


def _odd_ones(
    field: str, unit: str, usual: float, values: Sequence[float], leads: Sequence[str | None]
) -> list[Finding]:
    return [
        Finding(f"odd_{field}", "warning", f"{field} {value:g}{unit} where most leads have {usual:g}{unit}", lead)
        for value, lead in zip(values, leads, strict=True)
        if value != usual
    ]
