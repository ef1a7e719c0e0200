# SPDX-License-Identifier: Apache-2.0
"""What a noise-free simulated ECG measures, and which conditions' published rules it meets.

Measured with the exact marks on the typical ordinary beat (the one whose size is the median). This is the generator's
check of itself; it knows the truth and is no method for real ECGs.

>>> from ecglens.simulation.cohort import simulate_ecg
>>> made = simulate_ecg("a", "CLBBB", noise=None)
>>> made.measurements().qrs > 120, "CLBBB" in rules_met(made.measurements())
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecglens.leads import STANDARD_LEADS
from ecglens.simulation.marks import GRIDS, lobes, mark_beats

STEP = 1.0  # ms, of the grid
CONTIGUOUS = (("aVL", "I"), ("II", "aVF"), ("aVF", "III"), *((f"V{i}", f"V{i + 1}") for i in range(1, 6)))


@dataclass(frozen=True, eq=False)
class Measurements:
    """Intervals in ms, amplitudes in mV; per lead [12] in the order of `STANDARD_LEADS`.

    rr            of ordinary beats after ordinary beats
    pr, qrs, qt   global: from the earliest onset to the latest offset over the leads; NaN where there is no P
    axis          of QRS in the frontal plane, in degrees
    q_ms, q_mv    Q: duration and depth (positive); 0 where there is none
    qs            whether the complex has no positive lobe
    r_mv, r_ms, s_mv, s_ms, late_r_mv   R, S, and the largest positive lobe after S
    st20, st60, st80  level 20, 60 and 80 ms after J, against the level at the onset of QRS
    t_mv          T at its peak, signed; 0 where there is none
    p_force       of V1: depth times duration of the negative part of P, in mV s
    slope_ms      from the onset of QRS to its steepest slope in the lead with the largest R
    early         of each premature beat (of any kind): its RR over the usual, RR before and after over twice the
                  usual, QRS in ms, whether it has a P [beat, 4]
    f_waves       share of the power of V1's f waves that lies at 4 to 9 Hz; 0 where there are none
    """

    rr: np.ndarray
    pr: float
    qrs: float
    qt: float
    axis: float
    q_ms: np.ndarray
    q_mv: np.ndarray
    qs: np.ndarray
    r_mv: np.ndarray
    r_ms: np.ndarray
    s_mv: np.ndarray
    s_ms: np.ndarray
    late_r_mv: np.ndarray
    st20: np.ndarray
    st60: np.ndarray
    st80: np.ndarray
    t_mv: np.ndarray
    p_mv: np.ndarray
    p_ms: float
    p_force: float
    slope_ms: float
    early: np.ndarray
    f_waves: float

    def of(self, values: np.ndarray, *leads: str) -> np.ndarray:
        """Return the values of these leads."""
        return values[[STANDARD_LEADS.index(lead) for lead in leads]]


def measure_beats(
    every: Mapping[str, np.ndarray], beats: np.ndarray, kinds: Sequence[str], f_wave: np.ndarray, fs: float
) -> Measurements:
    """Measure a recording's beats, as `beat_curves` gives them; `f_wave` is V1's of fibrillation [time] at `fs`, Hz."""
    ordinary = [k for k, kind in enumerate(kinds) if kind in ("sinus", "fibrillation") and beats[k] > 0] or [0]
    sizes = [np.abs(every["QRS"][k]).max() for k in ordinary]
    typical = ordinary[int(np.argsort(sizes)[len(sizes) // 2])]
    curves, all_marks = {name: curve[typical] for name, curve in every.items()}, mark_beats(every)
    marks = all_marks[typical]
    onset, end = np.nanmin(marks[:, 3]), np.nanmax(marks[:, 7])
    p_onset = np.nanmin(marks[:, 0]) if not np.isnan(marks[:, 0]).all() else np.nan
    t_end = np.nanmedian(marks[:, 10]) if not np.isnan(marks[:, 10]).all() else np.nan
    qrs, p, t = curves["QRS"], curves["P"], curves["T"]
    columns = _lobes_of(qrs)
    frontal = dict(zip(STANDARD_LEADS, qrs.sum(axis=1), strict=True))
    st = {after: _level(curves, end + after / 1000.0) - _level(curves, onset) for after in (20, 60, 80)}
    usual = _usual_rr(beats, kinds)
    return Measurements(
        rr=1000 * usual,
        pr=1000 * float(onset - p_onset),
        qrs=1000 * float(end - onset),
        qt=1000 * float(t_end - onset),
        axis=float(np.degrees(np.arctan2(frontal["aVF"] * 2 / np.sqrt(3), frontal["I"]))),
        st20=st[20], st60=st[60], st80=st[80],
        t_mv=_extreme(t), p_mv=_extreme(p),
        p_ms=1000 * float(np.nanmax(marks[:, 2]) - p_onset) if not np.isnan(p_onset) else float("nan"),
        p_force=_terminal_force(p[STANDARD_LEADS.index("V1")], marks[:, 0], marks[:, 2]),
        slope_ms=_steepest(qrs, onset),
        early=_early(all_marks, beats, kinds, float(np.median(usual))),
        f_waves=_f_share(f_wave, fs),
        **columns,
    )  # fmt: skip


def rules_met(m: Measurements) -> tuple[str, ...]:
    """Return the conditions, NORM excepted, whose rule is met."""
    return tuple(name for name, rule in RULES.items() if rule(m))


def _q(m: Measurements, lead: str, ms: float, mv: float) -> bool:
    """Whether a lead has a Q that long and deep, or nothing but Q."""
    index = STANDARD_LEADS.index(lead)
    return bool(m.qs[index] or (m.q_ms[index] >= ms and m.q_mv[index] >= mv))


def _narrow(m: Measurements) -> bool:
    return m.qrs < 120


def _inferior(m: Measurements) -> bool:
    return _narrow_start(m) and sum(_q(m, lead, 30, 0.1) for lead in ("II", "III", "aVF")) >= 2


def _narrow_start(m: Measurements) -> bool:
    # Left bundle branch block and pre-excitation make Q of their own, which are no sign of infarction.
    return not _left_block(m) and not _preexcited(m)


def _anterior(m: Measurements) -> bool:
    return _narrow_start(m) and any(_q(m, lead, 20.01, 0.02) for lead in ("V2", "V3"))


def _lateral(m: Measurements) -> bool:
    groups = (("I", "aVL"), ("V4", "V5"), ("V5", "V6"))
    return _narrow_start(m) and any(all(_q(m, lead, 30, 0.1) for lead in pair) for pair in groups)


def _posterior(m: Measurements) -> bool:
    r, ms, s, t = (m.of(values, "V1", "V2") for values in (m.r_mv, m.r_ms, m.s_mv, m.t_mv))
    return bool(_narrow(m) and ((r >= s) & (ms > 40) & (t > 0)).any())


def _left_hypertrophy(m: Measurements) -> bool:
    sokolow = m.of(m.s_mv, "V1")[0] + m.of(m.r_mv, "V5", "V6").max()
    strain = (m.of(m.t_mv, "V5", "V6") < 0) & (m.of(m.st60, "V5", "V6") < -0.02)
    return bool(_narrow(m) and sokolow >= 3.5 and strain.any())


def _right_hypertrophy(m: Measurements) -> bool:
    r, s = m.of(m.r_mv, "V1")[0], m.of(m.s_mv, "V1")[0]
    return bool(_narrow(m) and (m.axis >= 90 or m.axis <= -150) and r > s and r >= 0.6)


def _left_block(m: Measurements) -> bool:
    v1 = STANDARD_LEADS.index("V1")
    negative = m.s_mv[v1] > 2 * m.r_mv[v1] or m.qs[v1]
    no_q = bool((m.of(m.q_mv, "I", "V5", "V6") < 0.05).all())
    return bool(m.qrs >= 120 and negative and no_q and m.of(m.t_mv, "V6")[0] < 0 < m.of(m.r_mv, "V6")[0])


def _right_block(m: Measurements) -> bool:
    late = bool((m.of(m.late_r_mv, "V1", "V2") > 0.1).any()) or bool(m.of(m.r_ms, "V1")[0] > 60)
    return bool(m.qrs >= 120 and late and (m.of(m.s_ms, "I", "V6") >= 40).all())


def _left_fascicle(m: Measurements) -> bool:
    r, s = m.of(m.r_mv, "II", "III", "aVF"), m.of(m.s_mv, "II", "III", "aVF")
    qr = m.of(m.q_mv, "aVL")[0] > 0.02 and m.of(m.r_mv, "aVL")[0] > m.of(m.s_mv, "aVL")[0]
    return bool(_narrow(m) and -90 <= m.axis <= -45 and qr and ((r > 0.02) & (s > r)).all())


def _preexcited(m: Measurements) -> bool:
    return bool(m.pr < 120 and m.qrs >= 110 and m.slope_ms >= 30)


def _depressed(m: Measurements) -> bool:
    low = (m.st60 <= -0.05) & (m.st80 <= -0.05) & (m.st80 <= m.st20 + 0.03)
    return bool(_narrow(m) and not _left_hypertrophy(m) and not _preexcited(m) and _neighbours(low))


def _inverted(m: Measurements) -> bool:
    low = (m.t_mv <= -0.1) & ((m.r_mv > m.s_mv) | (m.r_mv >= 0.5 * m.s_mv))
    others = _left_hypertrophy(m) or _right_hypertrophy(m) or _preexcited(m)
    return bool(_narrow(m) and not others and _neighbours(low))


def _fibrillating(m: Measurements) -> bool:
    return bool(np.isnan(m.pr) and len(m.rr) > 2 and m.rr.std() / m.rr.mean() > 0.12 and m.f_waves > 0.5)


def _premature_ventricular(m: Measurements) -> bool:
    return any(e[0] < 0.8 and 0.92 < e[1] < 1.08 and e[2] >= 120 and not e[3] for e in m.early)


def _premature_atrial(m: Measurements) -> bool:
    return any(e[0] < 0.8 and e[1] < 0.96 and e[2] < 120 and bool(e[3]) for e in m.early)


RULES: dict[str, Callable[[Measurements], bool]] = {
    "IMI": _inferior, "AMI": _anterior, "LMI": _lateral, "PMI": _posterior,
    "LVH": _left_hypertrophy, "RVH": _right_hypertrophy, "LAE": lambda m: m.p_force >= 0.004,
    "CLBBB": _left_block, "CRBBB": _right_block, "LAFB": _left_fascicle,
    "1AVB": lambda m: m.pr > 200, "WPW": _preexcited, "STD": _depressed, "INVT": _inverted,
    "AFIB": _fibrillating, "PVC": _premature_ventricular, "APC": _premature_atrial,
}  # fmt: skip


def _neighbours(holds: np.ndarray) -> bool:
    index = STANDARD_LEADS.index
    return any(bool(holds[index(one)] and holds[index(other)]) for one, other in CONTIGUOUS)


def _lobes_of(qrs: np.ndarray) -> dict[str, np.ndarray]:
    """Return what Q, R and S measure in each lead of `qrs` [12, time]."""
    q, r, s = lobes(qrs)
    at = np.arange(qrs.shape[1])

    def size(lobe: np.ndarray) -> np.ndarray:
        return np.where(lobe, np.abs(qrs), 0.0).max(axis=1)

    has_r, has_s = r.any(axis=1), s.any(axis=1)
    after_r = np.where(at > r.argmax(axis=1)[:, None], -qrs, 0.0).max(axis=1)
    past_s = at > (qrs.shape[1] - 1 - s[:, ::-1].argmax(axis=1))[:, None]
    late = np.where(past_s, qrs, 0.0).max(axis=1)
    return {
        "q_ms": q.sum(axis=1) * STEP, "q_mv": size(q), "qs": ~has_r & q.any(axis=1), "r_mv": size(r),
        "r_ms": r.sum(axis=1) * STEP, "s_ms": s.sum(axis=1) * STEP,
        "s_mv": np.where(has_r, np.where(has_s, after_r, 0.0), size(q)), "late_r_mv": np.where(has_s, late, 0.0),
    }  # fmt: skip


def _level(curves: Mapping[str, np.ndarray], at: float) -> np.ndarray:
    """Return the level of all waves of a beat together, in mV [12], `at` s from its reference."""
    rows = [[np.interp(at, GRIDS[name], row, 0.0, 0.0) for row in curve] for name, curve in curves.items()]
    return np.sum(rows, axis=0)


def _extreme(curves: np.ndarray) -> np.ndarray:
    """Return the value of largest size of each lead, signed."""
    at = np.abs(curves).argmax(axis=1)
    return np.take_along_axis(curves, at[:, None], axis=1)[:, 0]


def _terminal_force(p: np.ndarray, onset: np.ndarray, end: np.ndarray) -> float:
    """Return depth times duration, in mV s, of what is negative in the later half of P in V1 (`p`)."""
    if np.isnan(onset).all():
        return 0.0
    last = np.where(GRIDS["P"] >= (np.nanmin(onset) + np.nanmax(end)) / 2, -p, 0.0)
    return float(max(last.max(), 0.0) * (last > 0.01).sum() * STEP / 1000.0)


def _steepest(qrs: np.ndarray, onset: float) -> float:
    """Return when, after the onset of QRS, the lead with the largest R is steepest, in ms."""
    lead = int(qrs.max(axis=1).argmax())
    rising = np.gradient(qrs[lead, : int(qrs[lead].argmax()) + 1])
    return 1000.0 * float(GRIDS["QRS"][int(rising.argmax())] - onset)


def _usual_rr(beats: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Return RR between ordinary beats, in s."""
    plain = [k in ("sinus", "fibrillation") for k in kinds]
    pairs = [b - a for a, b, one, two in zip(beats, beats[1:], plain, plain[1:], strict=False) if one and two]
    return np.array(pairs or [float(np.median(np.diff(beats)))])


def _early(every: np.ndarray, beats: np.ndarray, kinds: Sequence[str], usual: float) -> np.ndarray:
    rows = []
    for k in range(1, len(beats) - 1):
        if kinds[k] in ("ventricular", "atrial"):
            marks = every[k]
            qrs = 1000 * float(np.nanmax(marks[:, 7]) - np.nanmin(marks[:, 3]))
            has_p = not np.isnan(marks[:, 0]).all()
            rows.append(((beats[k] - beats[k - 1]) / usual, (beats[k + 1] - beats[k - 1]) / (2 * usual), qrs, has_p))
    return np.array(rows, float).reshape(-1, 4)


def _f_share(f_wave: np.ndarray, fs: float) -> float:
    if not f_wave.any():
        return 0.0
    power = np.abs(np.fft.rfft(f_wave)) ** 2
    hertz = np.fft.rfftfreq(len(f_wave), 1 / fs)
    return float(power[(hertz >= 4) & (hertz <= 9)].sum() / power[hertz > 0].sum())
