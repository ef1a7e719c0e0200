# SPDX-License-Identifier: Apache-2.0
"""What can be simulated, and what is refused with the reason.

>>> recorder_for(("NORM",), seed=0, fs=50.0, duration=10.0, noise=None, severity=(1, 1), mode="A", lead="", faults={})
Traceback (most recent call last):
ecglens.errors.UsageError: simulation: fs: found 50.0 Hz; allowed: 100 to 4000 Hz
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

from ecglens.ecg import MAX_FS
from ecglens.errors import UsageError
from ecglens.leads import LIMB_LEADS, PRECORDIAL_LEADS
from ecglens.simulation.faults import check_faults
from ecglens.simulation.noise import Noise
from ecglens.simulation.pathologies import CONDITIONS
from ecglens.simulation.person import TYPICAL_QTC, Demographics
from ecglens.simulation.record import Mode, Recorder
from ecglens.simulation.shortcut import Shortcut

TASKS = ("superdiagnostic", "subdiagnostic")
MODES: dict[str, Mode] = {
    "dipolar": "dipolar", "planted": "planted", "shortcut": "shortcut", "A": "dipolar", "B": "planted", "C": "shortcut",
}  # fmt: skip
LOWEST_FS = 100.0  # the narrowest component (7 ms) reaches 50 Hz
LONGEST = 3600.0  # s
SLOWEST, FASTEST = 30.0, 220.0  # beats per minute
SHORTEST_WITH_RHYTHM = 5.0  # s


def recorder_for(
    conditions: Sequence[str],
    *,
    seed: int,
    fs: float,
    duration: float,
    noise: Noise | None,
    severity: tuple[float, float],
    mode: str,
    lead: str,
    shortcut: Shortcut | None = None,
    faults: Mapping[str, float],
    demographics: Mapping[str, Demographics] | None = None,
    age: int | None = None,
    sex: str | None = None,
    rate: float | None = None,
    qtc: float | None = None,
) -> Recorder:
    """Check what is asked for and return it as one thing. Raises UsageError, with the reason."""
    _check_numbers(seed, fs, duration, severity)
    _check_heart(rate, qtc, age, sex)
    if any(CONDITIONS[c].rhythm for c in conditions) and duration < SHORTEST_WITH_RHYTHM:
        names = ", ".join(c for c in conditions if CONDITIONS[c].rhythm)
        raise UsageError("simulation", "duration", f"{duration} s", f"{SHORTEST_WITH_RHYTHM:g} s or more for {names}")
    chosen = _checked_mode(conditions, mode, lead, shortcut, fs)
    check_faults(faults)
    low, high = severity
    return Recorder(
        int(seed), float(fs), float(duration), noise, (float(low), float(high)), chosen,
        lead if chosen == "planted" else "", shortcut, tuple(faults.items()), tuple((demographics or {}).items()),
        rate, qtc, sex, age,
    )  # fmt: skip


def _checked_mode(conditions: Sequence[str], mode: str, lead: str, shortcut: Shortcut | None, fs: float) -> Mode:
    if mode not in MODES:
        raise UsageError("simulation", "mode", mode, "dipolar (A), planted (B), shortcut (C)")
    chosen = MODES[mode]
    if (chosen == "shortcut") != (shortcut is not None):
        raise UsageError("simulation", "shortcut", shortcut, 'a Shortcut with mode="shortcut", and only with it')
    if shortcut is not None and shortcut.mark == "hum" and fs <= 112:
        raise UsageError("simulation", "fs", f"{fs:g} Hz", "above 112 Hz for a hum of 50 Hz", "or mark a bump")
    if chosen == "planted":
        if lead not in ("I", "II", *PRECORDIAL_LEADS):
            fix = "the other limb leads are sums of I and II" if lead in LIMB_LEADS else ""
            raise UsageError("simulation", "lead", lead, "I, II, V1 to V6", fix)
        timed = [c for c in conditions if CONDITIONS[c].changes_timing]
        if timed:
            found = ", ".join(timed)
            raise UsageError("simulation", "conditions", found, "lesions of amplitude", "timing is in all leads alike")
    return chosen


def check_counts(n: int, task: str, comorbidity: float, sessions: int | None) -> None:
    """Raise UsageError for a number of records, task, share or number of sessions that cannot be."""
    if not _is_whole(n) or n < 1:
        raise UsageError("simulate_cohort", "n", n, "a whole number, at least 1")
    if task not in TASKS:
        raise UsageError("simulate_cohort", "task", task, ", ".join(TASKS))
    if not 0.0 <= comorbidity <= 1.0:
        raise UsageError("simulate_cohort", "comorbidity", comorbidity, "a share, 0 to 1")
    if sessions is not None and (not _is_whole(sessions) or sessions < 1):
        raise UsageError("simulate_cohort", "sessions", sessions, "a whole number, at least 1, or None")


def _is_whole(value: object) -> bool:
    return isinstance(value, Real) and float(value).is_integer()


def _check_numbers(seed: int, fs: float, duration: float, severity: tuple[float, float]) -> None:
    if not _is_whole(seed):
        raise UsageError("simulation", "seed", seed, "a whole number")
    if not LOWEST_FS <= fs <= MAX_FS:
        raise UsageError("simulation", "fs", f"{fs} Hz", f"{LOWEST_FS:g} to {MAX_FS:g} Hz")
    if not 1.0 <= duration <= LONGEST:
        raise UsageError("simulation", "duration", f"{duration} s", f"1 to {LONGEST:g} s")
    low, high = severity
    if not 0.0 <= low <= high <= 1.0:
        raise UsageError("simulation", "severity", severity, "0 to 1, lowest first")


def _check_heart(rate: float | None, qtc: float | None, age: int | None, sex: str | None) -> None:
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        raise UsageError("simulation", "rate", f"{rate} per minute", f"{SLOWEST:g} to {FASTEST:g} per minute")
    if qtc is not None and not (math.isfinite(qtc) and qtc >= 250.0):
        raise UsageError("simulation", "qtc", f"{qtc} ms", "250 ms or more")
    if rate is not None or qtc is not None:
        rr = 60.0 / (rate or 60.0)
        qt = (qtc or TYPICAL_QTC) * math.cbrt(rr)
        if qt >= 1000.0 * rr:
            found = f"QT {qt:.0f} ms at {60.0 / rr:g} per minute"
            raise UsageError("simulation", "qtc", found, f"a QT shorter than RR, {1000.0 * rr:.0f} ms", kind="qt")
    if age is not None and not 20 <= age <= 89:
        raise UsageError("simulation", "age", age, "20 to 89 years")
    if sex not in (None, "female", "male"):
        raise UsageError("simulation", "sex", sex, "female, male")
